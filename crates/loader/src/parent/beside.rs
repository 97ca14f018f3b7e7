//! Additions of the machine to an image: small files that the worker reads, and the running
//! kernel's consoles.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ukexec_kexec::{Folder, shown_path};
use ukexec_layout::DeviceTree;

use crate::after_exec::MASKS;
use crate::config::policy::SmbiosPolicy;
use crate::config::running_cmdline;
use crate::console::Console;
use crate::error::Result;
use crate::files::{bounded, read_regular};
use crate::options::{LoaderOptions, Purpose};
use crate::protocol::beside::{Beside, SmbiosText};
use crate::protocol::bundle::{Bundle, Bundled};
use crate::report::failure::sentence;

/// The SMBIOS structures, and how many bytes they may have.
const SMBIOS: (&str, u64) = ("sys/firmware/dmi/tables/DMI", 1 << 20);

/// The device tree that firmware gave the running kernel.
const FDT: (&str, u64) = ("sys/firmware/fdt", DeviceTree::MAX_LEN);

/// The folder that systemd-stub left for the running system, and the files in there.
const STUB: &str = "run/systemd/stub";
const SECRET: (&str, u64) = ("boot-secret", 32);
const OS_RELEASE: (&str, u64) = ("os-release", 64 << 10);

/// A virtual machine whose memory its host cannot read has one of these.
const CONFIDENTIAL: [&str; 2] = ["dev/sev-guest", "dev/tdx_guest"];

/// The machine whose files lie below a root.
pub(crate) struct Machine<'a> {
    pub(crate) root: &'a Path,
    pub(crate) console: &'a dyn Console,
}

impl Machine<'_> {
    /// Adds to `beside` what goes along with an image that is taken apart for `purpose`.
    pub(crate) fn add(
        &self,
        options: &LoaderOptions,
        smbios: SmbiosPolicy,
        purpose: &Purpose,
        bundle: &mut Bundle,
        beside: &mut Beside,
    ) -> Result<()> {
        let is_load = matches!(purpose, Purpose::Load { .. });
        let is_there = |path: &&str| fs::symlink_metadata(self.root.join(path)).is_ok();
        beside.smbios_text = match smbios {
            SmbiosPolicy::None => SmbiosText::Unwanted,
            SmbiosPolicy::Auto if CONFIDENTIAL.iter().any(is_there) => SmbiosText::Confidential,
            SmbiosPolicy::Auto => SmbiosText::Added,
        };
        beside.smbios = self.add_file(SMBIOS, bundle)?;
        beside.fdt = self.add_file(FDT, bundle)?;
        if is_load && options.boot_secret {
            self.add_secret(bundle, beside)?;
        }
        beside.keep_console = options.keep_console;
        if options.mask_stale {
            beside.masks = MASKS.map(str::to_owned).to_vec();
        }
        if options.keep_console {
            beside.console = running_cmdline::consoles()?;
        } else if is_load {
            // They are for a note alone.
            beside.console = running_cmdline::consoles().unwrap_or_default();
        }
        Ok(())
    }

    /// Adds a file that a machine need not have, and that root alone may read.
    fn add_file(&self, (path, max): (&str, u64), bundle: &mut Bundle) -> Result<Option<Bundled>> {
        let path = self.root.join(path);
        match read_regular(&path, max) {
            Ok(bytes) => bundle.add(shown_path(&path), &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let path = shown_path(&path);
                self.console.warn(&format!("cannot read {path}: {error}"));
                Ok(None)
            }
        }
    }

    /// Adds the secret of the running boot, and the name of its system.
    fn add_secret(&self, bundle: &mut Bundle, beside: &mut Beside) -> Result<()> {
        let folder = self.root.join(STUB);
        if !folder.is_dir() {
            return Ok(());
        }
        let folder = match Folder::open(&folder) {
            Ok(folder) => folder,
            Err(error) => {
                let why = sentence(&error);
                let text = format!("the secret of this boot does not go along: {why}");
                self.console.warn(&text);
                return Ok(());
            }
        };
        let mut add = |(name, max): (&str, u64)| match of_root(&folder, name, max) {
            Ok(bytes) => {
                let path = shown_path(&folder.path().join(name));
                bundle.add(path, &bytes).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let path = shown_path(&folder.path().join(name));
                let text = format!("the secret of this boot does not go along: {path}: {error}");
                self.console.warn(&text);
                Ok(None)
            }
        };
        beside.boot_secret = add(SECRET)?;
        if beside.boot_secret.is_some() {
            beside.os_release = add(OS_RELEASE)?;
        }
        Ok(())
    }
}

/// Returns the bytes of the file `name` if it is root's and nobody else may write it. A
/// secret has exactly `max` of them.
fn of_root(folder: &Folder, name: &str, max: u64) -> io::Result<Vec<u8>> {
    let file = folder.regular(name.as_ref())?;
    let found = file.metadata()?;
    let fault = if found.uid() != 0 {
        format!(
            "expected a file of root's, found one of user {}",
            found.uid()
        )
    } else if found.mode() & 0o022 != 0 {
        format!(
            "expected that root alone may write it, found mode {:o}",
            found.mode() & 0o7777
        )
    } else if name == SECRET.0 && found.len() != max {
        format!("expected {max} bytes, found {}", found.len())
    } else {
        return bounded(file, max);
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, fault))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Mutex;

    use super::*;
    use crate::console::Progress;
    use crate::options::LoadRoom;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Console for Heard {
        fn warn(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }

        fn log(&self, _line: &str) {}

        fn progress(&self, _what: &str, _len: Option<u64>) -> Box<dyn Progress> {
            Box::new(())
        }
    }

    /// Returns what a load gets of a machine with `files`, and the warnings.
    fn added(root: &Path, files: &[(&str, &[u8])], smbios: SmbiosPolicy) -> (Beside, Vec<String>) {
        for (path, bytes) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let console = Heard::default();
        let machine = Machine {
            root,
            console: &console,
        };
        let (mut bundle, mut beside) = (Bundle::new().unwrap(), Beside::default());
        let options = LoaderOptions::default();
        let purpose = Purpose::Load {
            room: LoadRoom::default(),
            platform: None,
            hash: false,
        };
        machine
            .add(&options, smbios, &purpose, &mut bundle, &mut beside)
            .unwrap();
        let root = root.display().to_string();
        let warnings = console.0.into_inner().unwrap();
        let warnings = warnings.iter().map(|it| it.replace(&root, ""));
        (beside, warnings.collect())
    }

    fn len(file: Option<&Bundled>) -> Option<u64> {
        file.map(|file| file.range.end - file.range.start)
    }

    #[test]
    fn a_machine_may_have_nothing_to_add() {
        let root = tempfile::tempdir().unwrap();
        let (beside, warnings) = added(root.path(), &[], SmbiosPolicy::Auto);
        assert_eq!(beside.smbios_text, SmbiosText::Added);
        let files = [
            beside.smbios,
            beside.fdt,
            beside.boot_secret,
            beside.os_release,
        ];
        assert!(files.iter().all(Option::is_none) && warnings.is_empty());
    }

    #[test]
    fn tables_and_trees_go_along_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        let files: [(&str, &[u8]); 2] = [(SMBIOS.0, b"tables"), (FDT.0, b"tree")];
        let (beside, _) = added(root.path(), &files, SmbiosPolicy::None);
        assert_eq!(beside.smbios_text, SmbiosText::Unwanted);
        assert_eq!(len(beside.smbios.as_ref()), Some(6));
        assert_eq!(len(beside.fdt.as_ref()), Some(4));
        let long = vec![0; (1 << 20) + 1];
        let (beside, warnings) = added(root.path(), &[(SMBIOS.0, &long)], SmbiosPolicy::Auto);
        assert!(beside.smbios.is_none());
        assert_eq!(
            warnings,
            [
                "cannot read /sys/firmware/dmi/tables/DMI: expected at most 1048576 bytes, found more"
            ]
        );
    }

    #[test]
    fn the_host_of_a_confidential_machine_is_not_heard() {
        for device in CONFIDENTIAL {
            let root = tempfile::tempdir().unwrap();
            for (policy, expected) in [
                (SmbiosPolicy::Auto, SmbiosText::Confidential),
                (SmbiosPolicy::None, SmbiosText::Unwanted),
            ] {
                let (beside, _) = added(root.path(), &[(device, b"")], policy);
                assert_eq!(beside.smbios_text, expected);
            }
        }
    }

    #[test]
    fn a_boot_secret_is_roots_and_has_32_bytes() {
        let root = tempfile::tempdir().unwrap();
        if root.path().metadata().unwrap().uid() != 0 {
            return;
        }
        let secret = "run/systemd/stub/boot-secret";
        let path = root.path().join(secret);
        let files: [(&str, &[u8]); 2] = [
            (secret, &[7; 32]),
            ("run/systemd/stub/os-release", b"ID=x\n"),
        ];
        let (beside, warnings) = added(root.path(), &files, SmbiosPolicy::Auto);
        assert_eq!(len(beside.boot_secret.as_ref()), Some(32));
        assert_eq!(len(beside.os_release.as_ref()), Some(5));
        assert!(warnings.is_empty());
        let why = |files: &[(&str, &[u8])]| {
            let (beside, warnings) = added(root.path(), files, SmbiosPolicy::Auto);
            assert!(beside.boot_secret.is_none() && beside.os_release.is_none());
            warnings.join("; ")
        };
        let prefix =
            "the secret of this boot does not go along: /run/systemd/stub/boot-secret: expected";
        assert_eq!(
            why(&[(secret, b"short")]),
            format!("{prefix} 32 bytes, found 5")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let found = format!("{prefix} that root alone may write it, found mode 666");
        assert_eq!(why(&[]), found);
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert_eq!(
            why(&[]),
            format!("{prefix} a file of root's, found one of user 12345")
        );
        fs::remove_file(&path).unwrap();
        symlink("os-release", &path).unwrap();
        assert!(why(&[]).contains("symbolic links"));
        fs::remove_file(&path).unwrap();
        assert_eq!(why(&[]), "");
    }
}
