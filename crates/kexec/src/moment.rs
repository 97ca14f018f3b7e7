//! A moment in the life of the running system.

use std::fs;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// A moment by the boot that it is in, and the time since then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The boot ID: a UUID in lower case. Each boot has its own.
    pub boot_id: String,
    /// Seconds since the boot, those of sleep included.
    pub seconds: u64,
}

impl Moment {
    /// Returns the present, as far as `root` shows the boot ID; it is `/` but for
    /// tests.
    #[must_use]
    pub fn now(root: &Path) -> Option<Self> {
        let boot_id = fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).ok()?;
        let boot_id = boot_id.trim();
        let seconds = clock_gettime(ClockId::Boottime).tv_sec.try_into().ok()?;
        is_boot_id(boot_id).then(|| Self {
            boot_id: boot_id.to_owned(),
            seconds,
        })
    }
}

/// Returns whether `text` has the form of a UUID in lower case.
fn is_boot_id(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_is_in_this_boot() {
        let root = Path::new("/");
        let (one, two) = (Moment::now(root).unwrap(), Moment::now(root).unwrap());
        assert_eq!(one.boot_id, two.boot_id);
        assert!(one.seconds <= two.seconds);
    }

    #[test]
    fn without_a_boot_id_it_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Moment::now(root.path()), None);
        let folder = root.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&folder).unwrap();
        let now = |boot_id: &str| {
            fs::write(folder.join("boot_id"), boot_id).unwrap();
            Moment::now(root.path()).map(|now| now.boot_id)
        };
        let boot_id = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(now(&format!("{boot_id}\n")).as_deref(), Some(boot_id));
        for nonsense in [
            "",
            "0123",
            &boot_id.to_uppercase(),
            &boot_id.replace('-', ""),
        ] {
            assert_eq!(now(nonsense), None);
        }
    }
}
