//! Who may read what comes out of a file.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, fchmod, fstat};

/// Who may read, and write, a file that is made of others: nobody who may not do
/// so with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readers {
    /// Permission bits, at most 0666.
    mode: u32,
    /// Whose the group's bits are.
    group: u32,
}

impl Readers {
    /// The owner alone.
    pub const OWNER: Self = Self {
        mode: 0o600,
        group: 0,
    };

    /// Returns those of `file`; of what has no permissions to go by, such as a
    /// pipe, they are the owner alone.
    ///
    /// # Errors
    ///
    /// That of `fstat(2)`.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(Self {
            mode: if is_file { stat.st_mode & 0o666 } else { 0o600 },
            group: stat.st_gid,
        })
    }

    /// Returns those of a file that is made of no other: everybody.
    #[must_use]
    pub const fn everybody() -> Self {
        Self {
            mode: 0o666,
            // Everybody's bits are those of every group.
            group: u32::MAX,
        }
    }

    /// Returns those who are among the `other` as well.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            mode: self.mode & other.mode_in(self.group),
            group: self.group,
        }
    }

    /// Lets them, less those that the umask takes away, use `file`, which only
    /// its owner could so far.
    pub(crate) fn admit_to(self, file: impl AsFd) -> io::Result<()> {
        let stat = fstat(&file)?;
        let mode = self.mode_in(stat.st_gid) & !umask();
        Ok(fchmod(file, Mode::from_raw_mode(mode))?)
    }

    /// Returns the bits for a file of `group`: another group gets what everybody
    /// has.
    fn mode_in(self, group: u32) -> u32 {
        if group == self.group {
            self.mode
        } else {
            self.mode & (0o606 | (self.mode & 0o006) << 3)
        }
    }
}

/// Returns the bits that new files do not have; where that is not known, all but
/// the owner's.
pub(crate) fn umask() -> u32 {
    let known = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(mask.trim(), 8).ok()
    };
    known().unwrap_or(0o077)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn readers(mode: u32, group: u32) -> Readers {
        Readers { mode, group }
    }

    #[test]
    fn of_a_file_and_of_what_has_no_permissions() {
        let file = tempfile::tempfile().unwrap();
        file.set_permissions(Permissions::from_mode(0o755)).unwrap();
        let found = Readers::of(&file).unwrap();
        assert_eq!(found, readers(0o644, file.metadata().unwrap().gid()));
        let (pipe, _writer) = std::io::pipe().unwrap();
        assert_eq!(Readers::of(&pipe).unwrap().mode, 0o600);
        assert_eq!(
            Readers::of(File::open("/dev/null").unwrap()).unwrap().mode,
            0o600
        );
    }

    #[test]
    fn of_several_files_are_those_of_each() {
        let all = readers(0o666, 1);
        assert_eq!(all.and(readers(0o400, 1)), readers(0o400, 1));
        assert_eq!(readers(0o640, 1).and(all), readers(0o640, 1));
        // Another group's rights are not this group's.
        assert_eq!(all.and(readers(0o640, 2)), readers(0o600, 1));
        assert_eq!(all.and(readers(0o664, 2)), readers(0o644, 1));
    }

    #[test]
    fn another_group_has_what_everybody_has() {
        let file = tempfile::tempfile().unwrap();
        let mode = || file.metadata().unwrap().mode() & 0o777;
        let group = file.metadata().unwrap().gid();
        let rest = !umask();
        for (of, expected) in [
            (readers(0o640, group), 0o640),
            (readers(0o640, group + 1), 0o600),
            (readers(0o664, group + 1), 0o644),
            (readers(0o400, group), 0o400),
        ] {
            of.admit_to(&file).unwrap();
            assert_eq!(mode(), expected & rest, "{of:?}");
        }
    }
}
