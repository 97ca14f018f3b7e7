//! Partitions, as udev and the kernel know them.
//!
//! Spec: udev(7); the file of a device is the one in systemd's database.

use std::fs;
use std::path::Path;

/// The major and minor number of a block device.
pub(crate) type Device = (u32, u32);

/// Returns the property `name` of the block device, such as `ID_PART_ENTRY_UUID`.
pub(crate) fn property((major, minor): Device, name: &str, root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(format!("run/udev/data/b{major}:{minor}"))).ok()?;
    let mut lines = text.lines();
    let value = lines.find_map(|line| {
        line.strip_prefix("E:")?
            .strip_prefix(name)?
            .strip_prefix('=')
    });
    value.map(str::to_owned)
}

/// Returns the UUID of the partition that is the block device, in small letters.
pub(crate) fn partition_uuid(device: Device, root: &Path) -> Option<String> {
    let kernels = || {
        let text = fs::read_to_string(sys(device, root).join("uevent")).ok()?;
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("PARTUUID=").map(str::to_owned))
    };
    let uuid = property(device, "ID_PART_ENTRY_UUID", root).or_else(kernels)?;
    Some(uuid.to_ascii_lowercase())
}

/// Returns whether the partition of this `uuid` is on the disk of the partition `device`.
pub(crate) fn is_on_disk_of(device: Device, uuid: &str, root: &Path) -> bool {
    let of_disk = || {
        let partition = fs::canonicalize(sys(device, root)).ok()?;
        fs::read_dir(partition.parent()?).ok()
    };
    let numbers = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim_end().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let partitions = of_disk()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(numbers);
    partitions
        .filter_map(|it| partition_uuid(it, root))
        .any(|it| it.eq_ignore_ascii_case(uuid))
}

fn sys((major, minor): Device, root: &Path) -> std::path::PathBuf {
    root.join(format!("sys/dev/block/{major}:{minor}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_partition_is_known_by_udev_or_by_the_kernel() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for folder in ["run/udev/data", "sys/dev/block"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (name, minor, uuid) in [("sda1", 1, "PARTUUID=aa\n"), ("sda2", 2, "MINOR=2\n")] {
            let dir = root.join("sys/devices/sda").join(name);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("dev"), format!("8:{minor}\n")).unwrap();
            fs::write(dir.join("uevent"), uuid).unwrap();
            symlink(&dir, root.join(format!("sys/dev/block/8:{minor}"))).unwrap();
        }
        let uuid = |minor| partition_uuid((8, minor), root);
        assert_eq!([1, 2, 3].map(uuid), [Some("aa".to_owned()), None, None]);
        let data = "S:disk/x\nE:ID_PART_ENTRY_UUID=BB\nE:ID_PART_ENTRY_UUIDX=c\n";
        fs::write(root.join("run/udev/data/b8:2"), data).unwrap();
        assert_eq!(uuid(2).as_deref(), Some("bb"));
        assert!(is_on_disk_of((8, 2), "AA", root) && is_on_disk_of((8, 1), "bb", root));
        assert!(!is_on_disk_of((8, 1), "cc", root) && !is_on_disk_of((9, 1), "aa", root));
    }
}
