//! The records of what was loaded, so that `status` can name it: one file for each
//! [`LoadKind`] in `/run/ukexec`.
//!
//! A record decides nothing, and ukexec works without: another tool may have
//! loaded another kernel since. It holds no command line and nothing secret. The warnings
//! of the load are in it, which `exec` repeats.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ukexec_boot::RELEASE_MAX;
use ukexec_kexec::{
    LoadCall, LoadKind, MachineState, Moment, PrivateFolder, Readers, unload_by_any_call,
    unload_segments,
};

use crate::error::{Context as _, LoaderError, Result};
use crate::files::base_name;
use crate::protocol::line::cut;
use crate::report::failure::sentence;

/// Drops the kernel that is loaded for `kind`, by `call` or by the one that the running kernel
/// has, and its record. It is no error if there is none. Returns a note where the record stays.
///
/// # Errors
///
/// The running kernel refuses.
pub fn unload(kind: LoadKind, call: Option<LoadCall>) -> Result<Option<String>> {
    let unload = || {
        let done = match call {
            None => unload_by_any_call(kind),
            Some(LoadCall::KexecFileLoad) => ukexec_kexec::unload(kind),
            Some(LoadCall::KexecLoad) => unload_segments(kind),
        };
        Ok(done?)
    };
    Records::below(Path::new("/")).around(kind, None, unload)
}

/// Returns a note if an operation on records failed.
fn note(effect: &str, result: Result<()>) -> Option<String> {
    let error = result.err()?;
    Some(format!("{effect}: {}", sentence(&error)))
}

/// What is known about the kernels that are loaded.
#[derive(Clone, Debug)]
pub struct LoadedKernels {
    pub(crate) reboot: Loaded,
    pub(crate) crash: Loaded,
}

impl LoadedKernels {
    /// Reads it below `root`, which is `/` but for tests, and whose state is
    /// `machine`. Returns notes about records that cannot be used.
    #[must_use]
    pub fn read(root: &Path, machine: &MachineState) -> (Self, Vec<String>) {
        let records = Records::below(root);
        let mut notes = Vec::new();
        let mut loaded = |kind, loaded| {
            let loaded = match machine.kexec {
                Some(false) => Some(false),
                _ => loaded,
            };
            let (loaded, used) = records.loaded(kind, loaded);
            notes.extend(note("a record of what was loaded is passed over", used));
            loaded
        };
        let kernels = Self {
            reboot: loaded(LoadKind::Reboot, machine.loaded),
            crash: loaded(LoadKind::Crash, machine.crash_loaded),
        };
        // Both fail alike for the folder.
        notes.dedup();
        (kernels, notes)
    }

    /// Returns what will not work after a boot of the kernel that is loaded for a reboot,
    /// as its load said.
    #[must_use]
    pub fn boot_warnings(&self) -> &[String] {
        match &self.reboot {
            Loaded::Recorded(image) => &image.warnings,
            _ => &[],
        }
    }
}

/// What is known about the kernel that is loaded for a [`LoadKind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// There is none.
    Nothing,
    /// The machine does not show whether there is one.
    Unknown,
    /// There is one without a record.
    Unrecorded,
    /// There is one, and only root may read its record.
    Hidden,
    /// ukexec loaded it, unless another tool has replaced it since.
    Recorded(LoadedImage),
    /// ukexec loaded it last, but the machine does not show whether there is one.
    Last(LoadedImage),
}

impl Loaded {
    /// Returns the kernel, if it is known.
    pub(crate) fn image(&self) -> Option<&LoadedImage> {
        match self {
            Self::Recorded(image) | Self::Last(image) => Some(image),
            _ => None,
        }
    }
}

/// A kernel that ukexec loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LoadedImage {
    /// Name of the image's file.
    pub(crate) image: String,
    /// What `uname -r` prints under it.
    pub(crate) release: Option<String>,
    /// ID of the boot entry that it was loaded by.
    pub(crate) entry: Option<String>,
    pub(crate) seconds_ago: u64,
    /// Parts of the next system that fail after its boot.
    #[serde(skip)]
    pub(crate) warnings: Vec<String>,
}

/// A load to record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLoad<'a> {
    pub(crate) image: &'a Path,
    pub(crate) release: Option<&'a str>,
    pub(crate) entry: Option<&'a str>,
    pub(crate) warnings: &'a [String],
}

/// The records of a machine.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    root: &'a Path,
}

impl<'a> Records<'a> {
    /// Returns those of the machine below `root`, which is `/` but for tests.
    pub(crate) fn below(root: &'a Path) -> Self {
        Self { root }
    }

    /// Returns what is known about the kernel that is loaded for `kind`, where the
    /// machine says that one is loaded or not (`loaded`). A record that cannot be
    /// used is an error beside it.
    pub(crate) fn loaded(&self, kind: LoadKind, loaded: Option<bool>) -> (Loaded, Result<()>) {
        if loaded == Some(false) {
            return (Loaded::Nothing, Ok(()));
        }
        let unnamed = match loaded {
            Some(_) => Loaded::Unrecorded,
            None => Loaded::Unknown,
        };
        match (self.read(kind), loaded) {
            // Root need not see one either.
            (Ok(Some(Loaded::Hidden)), None) => (unnamed, Ok(())),
            (Ok(Some(Loaded::Recorded(image))), None) => (Loaded::Last(image), Ok(())),
            (Ok(Some(record)), _) => (record, Ok(())),
            (Ok(None), _) => (unnamed, Ok(())),
            (Err(error), _) => (unnamed, Err(error)),
        }
    }

    fn read(&self, kind: LoadKind) -> Result<Option<Loaded>> {
        let folder = match PrivateFolder::open(&self.folder())? {
            PrivateFolder::Open(folder) => folder,
            PrivateFolder::Denied => return Ok(Some(Loaded::Hidden)),
            PrivateFolder::Absent => return Ok(None),
        };
        let Some(bytes) = folder.read(name(kind), RECORD_MAX)? else {
            return Ok(None);
        };
        let path = || self.folder().join(name(kind)).display().to_string();
        let record = Record::parse(&bytes).context(path)?;
        let image = record.at(&self.now()?).context(path)?;
        Ok(image.map(Loaded::Recorded))
    }

    /// Has `change` replace the kernel that is loaded for `kind` by a `new` one, or by
    /// none, and keeps the record true. Returns a note where that fails.
    ///
    /// The old record goes before the call: should this process end meanwhile, no
    /// record names a kernel that is gone. It returns if its kernel stays loaded.
    pub(crate) fn around(
        &self,
        kind: LoadKind,
        new: Option<NewLoad<'_>>,
        change: impl FnOnce() -> Result<()>,
    ) -> Result<Option<String>> {
        let old = self.take(kind);
        if let Err(error) = change() {
            // A refused load leaves the kernel for a reboot, but mostly not one for a
            // crash: Linux reuses its memory.
            if let (Ok(Some(old)), Some(true)) = (&old, self.is_loaded(kind)) {
                // `status` then says that there is no record, which is true.
                let _unnamed = self.store(kind, old);
            }
            return Err(error);
        }
        let written = new.map(|new| self.write(kind, new));
        Ok(match (old, written) {
            (_, Some(Ok(()))) | (Ok(_), None) => None,
            (Ok(_), Some(written)) => note("`ukexec status` will not name the kernel", written),
            (Err(error), _) => note(
                "`ukexec status` may name the kernel that was loaded before",
                Err(error),
            ),
        })
    }

    /// Returns whether the machine says that a kernel is loaded for `kind`.
    fn is_loaded(&self, kind: LoadKind) -> Option<bool> {
        let machine = MachineState::of_loads(self.root);
        match kind {
            LoadKind::Reboot => machine.loaded,
            LoadKind::Crash => machine.crash_loaded,
        }
    }

    /// Records that the kernel of a `new` load is loaded for `kind` now.
    fn write(&self, kind: LoadKind, new: NewLoad<'_>) -> Result<()> {
        let record = Record::new(new, self.now()?);
        self.store(kind, &serde_json::to_vec(&record)?)
    }

    fn store(&self, kind: LoadKind, record: &[u8]) -> Result<()> {
        let new = PrivateFolder::make(&self.folder())?.new_file()?;
        Ok(new.complete(name(kind), record, Readers::OWNER)?)
    }

    /// Removes the record of `kind` and returns it, if there is one that can be read.
    fn take(&self, kind: LoadKind) -> Result<Option<Vec<u8>>> {
        let folder = match PrivateFolder::open(&self.folder())? {
            PrivateFolder::Open(folder) => folder,
            PrivateFolder::Absent => return Ok(None),
            PrivateFolder::Denied => {
                let folder = self.folder();
                let folder = folder.display();
                return Err(LoaderError::new(format!("{folder} is root's own")));
            }
        };
        // One that cannot be read goes as well.
        let record = folder.read(name(kind), RECORD_MAX).unwrap_or_default();
        folder.remove(name(kind))?;
        Ok(record)
    }

    fn now(&self) -> Result<Moment> {
        Moment::now(self.root).context(|| "the boot ID is unknown")
    }

    fn folder(&self) -> PathBuf {
        self.root.join("run/ukexec")
    }
}

fn name(kind: LoadKind) -> &'static OsStr {
    OsStr::new(match kind {
        LoadKind::Reboot => "load.json",
        LoadKind::Crash => "panic.json",
    })
}

/// A record, as it is written.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    boot_id: String,
    /// Seconds from the boot to the load.
    seconds: u64,
    image: String,
    release: Option<String>,
    entry: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

impl Record {
    fn new(new: NewLoad<'_>, now: Moment) -> Self {
        let warnings = new.warnings.iter().take(WARNINGS_MAX);
        Self {
            boot_id: now.boot_id,
            seconds: now.seconds,
            image: base_name(new.image),
            release: new.release.map(str::to_owned),
            entry: new.entry.map(|id| cut(id, NAME_MAX)),
            warnings: warnings.map(|text| cut(text, WARNING_MAX)).collect(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let record: Self = serde_json::from_slice(bytes).context(|| "expected a record in JSON")?;
        let bounds = [
            ("image", Some(&record.image), IMAGE_MAX),
            ("release", record.release.as_ref(), RELEASE_MAX),
            ("entry", record.entry.as_ref(), NAME_MAX + "…".len()),
        ];
        if record.warnings.len() > WARNINGS_MAX {
            let found = record.warnings.len();
            return Err(LoaderError::new(format!(
                "warnings: expected at most {WARNINGS_MAX}, found {found}"
            )));
        }
        let warnings = record.warnings.iter();
        let warnings = warnings.map(|it| ("warnings", Some(it), WARNING_MAX + "…".len()));
        for (field, text, max) in bounds.into_iter().chain(warnings) {
            let len = text.map_or(0, String::len);
            if len > max {
                return Err(LoaderError::new(format!(
                    "{field}: expected at most {max} bytes, found {len}"
                )));
            }
        }
        Ok(record)
    }

    /// Returns the image, as seen `now`; `None` if it was loaded in another boot.
    fn at(self, now: &Moment) -> Result<Option<LoadedImage>> {
        if self.boot_id != now.boot_id {
            return Ok(None);
        }
        let seconds_ago = now.seconds.checked_sub(self.seconds);
        let seconds_ago = seconds_ago.context(|| {
            let (then, now) = (self.seconds, now.seconds);
            format!("seconds: expected at most {now}, the present, found {then}")
        })?;
        Ok(Some(LoadedImage {
            image: self.image,
            release: self.release,
            entry: self.entry,
            seconds_ago,
            warnings: self.warnings,
        }))
    }
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Unknown => "unknown",
            Self::Unrecorded => "a kernel that ukexec has no record of",
            Self::Hidden => "loaded; root can see what",
            Self::Recorded(image) => {
                return write!(f, "{image}; another tool may have replaced it since");
            }
            Self::Last(image) => return write!(f, "unknown; the last was {image}"),
        })
    }
}

impl fmt::Display for LoadedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.image)?;
        if let Some(entry) = &self.entry {
            write!(f, " of entry {entry}")?;
        }
        if let Some(release) = &self.release {
            write!(f, ", Linux {release}")?;
        }
        write!(f, ", {}", Ago(self.seconds_ago))
    }
}

/// A time span of so many seconds up to now.
struct Ago(u64);

impl fmt::Display for Ago {
    /// Writes it in the largest unit of which there are two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(seconds) = *self;
        let units = [("days", 86_400), ("hours", 3_600), ("minutes", 60)];
        match units.iter().find(|(_, unit)| seconds >= 2 * unit) {
            Some((name, unit)) => write!(f, "{} {name} ago", seconds / unit),
            None if seconds == 1 => f.write_str("1 second ago"),
            None => write!(f, "{seconds} seconds ago"),
        }
    }
}

/// Bytes of a record.
const RECORD_MAX: u64 = 16 << 10;

/// So many warnings are kept, of so many bytes each.
const WARNINGS_MAX: usize = 12;
const WARNING_MAX: usize = 400;

/// Bytes of a file name (Linux, `include/uapi/linux/limits.h`).
const NAME_MAX: usize = 255;

/// Bytes of a file name in escapes, six for a byte (`\u{1b}`).
const IMAGE_MAX: usize = 6 * NAME_MAX;

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::ffi::OsStringExt as _;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const BOOT_ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    /// A machine with a boot ID and `/run`.
    fn machine() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let random = root.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        fs::write(random.join("boot_id"), BOOT_ID).unwrap();
        fs::create_dir(root.path().join("run")).unwrap();
        root
    }

    fn image<'a>(release: Option<&'a str>) -> NewLoad<'a> {
        NewLoad {
            image: Path::new("/boot/efi/debian.efi"),
            release,
            entry: None,
            warnings: &[],
        }
    }

    #[test]
    fn what_was_loaded_is_remembered_by_kind_until_it_is_removed() {
        let root = machine();
        let records = Records::below(root.path());
        let loaded = |kind| {
            let (loaded, used) = records.loaded(kind, Some(true));
            used.unwrap();
            loaded
        };
        let (reboot, crash) = (LoadKind::Reboot, LoadKind::Crash);
        assert_eq!(loaded(reboot), Loaded::Unrecorded);
        records.take(reboot).unwrap();
        records.write(reboot, image(Some("6.1"))).unwrap();
        records.write(reboot, image(None)).unwrap();
        let stdin = NewLoad {
            image: Path::new("-"),
            ..image(Some("6.12"))
        };
        records.write(crash, stdin).unwrap();
        let named = |kind| match loaded(kind) {
            Loaded::Recorded(image) => (image.image, image.release, image.entry),
            other => panic!("{other:?}"),
        };
        assert_eq!(named(reboot), ("debian.efi".to_owned(), None, None));
        let (name, release, _) = named(crash);
        assert_eq!(
            (name.as_str(), release.as_deref()),
            ("standard input", Some("6.12"))
        );
        records.take(reboot).unwrap();
        assert_eq!(loaded(reboot), Loaded::Unrecorded);
        assert_eq!(named(crash).0, "standard input");
        let entries = fs::read_dir(root.path().join("run/ukexec")).unwrap();
        assert_eq!(entries.count(), 1);
    }

    /// Has the machine below `root` say whether kernels are loaded.
    fn say(root: &TempDir, reboot: bool, crash: bool) {
        let sys = root.path().join("sys/kernel");
        fs::create_dir_all(&sys).unwrap();
        let says = |loaded| if loaded { "1\n" } else { "0\n" };
        fs::write(sys.join("kexec_loaded"), says(reboot)).unwrap();
        fs::write(sys.join("kexec_crash_loaded"), says(crash)).unwrap();
    }

    #[test]
    fn a_load_is_recorded_when_it_is_done_and_no_record_stays_meanwhile() {
        let root = machine();
        let records = Records::below(root.path());
        let path = root.path().join("run/ukexec/load.json");
        let around = |new, done: bool| {
            records.around(LoadKind::Reboot, new, || {
                assert!(!path.exists());
                done.then_some(()).context(|| "refused")
            })
        };
        let load = |done| around(Some(image(None)), done);
        assert_eq!(load(true).unwrap(), None);
        assert!(path.exists());
        // An unload drops the kernel.
        assert_eq!(around(None, true).unwrap(), None);
        assert!(!path.exists());
        // Where the machine does not say that the old kernel stays, nor does its record.
        load(true).unwrap();
        let error = load(false).unwrap_err();
        assert_eq!(error.to_string(), "refused");
        assert!(!path.exists());
        // A place that is no place is worth a note, and the load is done.
        fs::remove_dir(root.path().join("run/ukexec")).unwrap();
        fs::write(root.path().join("run/ukexec"), "").unwrap();
        let note = |result: Result<Option<String>>| {
            let note = result.unwrap().unwrap();
            note.replace(&root.path().display().to_string(), "")
        };
        for result in [load(true), around(None, true)] {
            expect!["`ukexec status` may name the kernel that was loaded before: /run/ukexec: opening the folder: Not a directory (os error 20)"].assert_eq(&note(result));
        }
        fs::remove_file(root.path().join("run/ukexec")).unwrap();
        fs::remove_dir(root.path().join("run")).unwrap();
        expect!["`ukexec status` will not name the kernel: /run/ukexec: making the folder: No such file or directory (os error 2)"].assert_eq(&note(load(true)));
        assert_eq!(around(None, true).unwrap(), None);
    }

    #[test]
    fn warnings_of_a_load_are_repeated_while_its_kernel_is_loaded() {
        let root = machine();
        let records = Records::below(root.path());
        let warnings = ["disks stay locked".to_owned()];
        let new = NewLoad {
            entry: Some("debian.efi@main"),
            warnings: &warnings,
            ..image(None)
        };
        records.write(LoadKind::Reboot, new).unwrap();
        let read = |loaded| {
            let mut state = MachineState::default();
            state.loaded = loaded;
            LoadedKernels::read(root.path(), &state).0
        };
        let loaded = read(Some(true));
        assert_eq!(loaded.boot_warnings(), warnings);
        let entry = loaded.reboot.image().unwrap().entry.as_deref();
        assert_eq!(entry, Some("debian.efi@main"));
        for loaded in [Some(false), None] {
            assert_eq!(read(loaded).boot_warnings(), [""; 0]);
        }
    }

    #[test]
    fn a_refused_load_leaves_the_record_of_a_kernel_that_stays() {
        let root = machine();
        let records = Records::below(root.path());
        let refused = |kind, reboot, crash| {
            records.write(kind, image(Some("6.1"))).unwrap();
            let new = Some(NewLoad {
                image: Path::new("other.efi"),
                ..image(None)
            });
            let refused = records.around(kind, new, || {
                say(&root, reboot, crash);
                Err(LoaderError::new("refused"))
            });
            refused.unwrap_err();
            let loaded = records.is_loaded(kind);
            match records.loaded(kind, loaded).0 {
                Loaded::Recorded(image) => assert_eq!(image.image, "debian.efi"),
                other => {
                    assert_eq!(other, Loaded::Nothing);
                    // Nor if another tool loads a kernel next.
                    assert_eq!(records.loaded(kind, Some(true)).0, Loaded::Unrecorded);
                }
            }
            loaded
        };
        assert_eq!(refused(LoadKind::Reboot, true, false), Some(true));
        assert_eq!(refused(LoadKind::Reboot, false, true), Some(false));
        assert_eq!(refused(LoadKind::Crash, true, false), Some(false));
        assert_eq!(refused(LoadKind::Crash, false, true), Some(true));
    }

    #[test]
    fn the_machine_and_the_boot_have_the_last_word() {
        let root = machine();
        let records = Records::below(root.path());
        records.write(LoadKind::Reboot, image(None)).unwrap();
        let loaded = |says| records.loaded(LoadKind::Reboot, says).0;
        assert_eq!(loaded(Some(false)), Loaded::Nothing);
        assert!(matches!(loaded(Some(true)), Loaded::Recorded(_)));
        assert!(matches!(loaded(None), Loaded::Last(_)));
        let boot_id = root.path().join("proc/sys/kernel/random/boot_id");
        fs::write(boot_id, BOOT_ID.replace('0', "f")).unwrap();
        assert_eq!(loaded(Some(true)), Loaded::Unrecorded);
        assert_eq!(loaded(None), Loaded::Unknown);
        let mut state = MachineState::default();
        state.kexec = Some(false);
        let (kernels, notes) = LoadedKernels::read(root.path(), &state);
        assert_eq!(kernels.reboot, Loaded::Nothing);
        assert_eq!(notes, [""; 0]);
    }

    /// Compares why a record of these bytes is not used.
    fn check(bytes: &[u8], expected: &Expect) {
        let root = machine();
        let records = Records::below(root.path());
        records.write(LoadKind::Reboot, image(None)).unwrap();
        let path = root.path().join("run/ukexec/load.json");
        fs::write(&path, bytes).unwrap();
        let (loaded, used) = records.loaded(LoadKind::Reboot, Some(true));
        assert_eq!(loaded, Loaded::Unrecorded);
        let error = sentence(&used.unwrap_err());
        expected.assert_eq(&error.replace(&root.path().display().to_string(), ""));
        // It is no obstacle.
        records.write(LoadKind::Reboot, image(None)).unwrap();
        assert!(matches!(
            records.loaded(LoadKind::Reboot, Some(true)).0,
            Loaded::Recorded(_)
        ));
    }

    #[test]
    fn a_malformed_record_is_passed_over() {
        let record = |image: &str, release: &str| {
            format!(
                r#"{{"boot_id":"{BOOT_ID}","seconds":0,"image":"{image}","release":"{release}"}}"#
            )
            .into_bytes()
        };
        check(
            b"",
            &expect![
                "/run/ukexec/load.json: expected a record in JSON: EOF while parsing a value at line 1 column 0"
            ],
        );
        check(
            b"\xff",
            &expect![
                "/run/ukexec/load.json: expected a record in JSON: expected value at line 1 column 1"
            ],
        );
        check(
            b"{}",
            &expect![
                "/run/ukexec/load.json: expected a record in JSON: missing field `boot_id` at line 1 column 2"
            ],
        );
        check(
            &record(&"a".repeat(2000), "6.1"),
            &expect!["/run/ukexec/load.json: image: expected at most 1530 bytes, found 2000"],
        );
        check(
            &record("a", &"6".repeat(65)),
            &expect!["/run/ukexec/load.json: release: expected at most 64 bytes, found 65"],
        );
        check(
            &[b' '; 17_000],
            &expect!["/run/ukexec/load.json: expected at most 16384 bytes, found more"],
        );
    }

    #[test]
    fn a_record_of_the_future_is_passed_over() {
        let at = |seconds| Moment {
            boot_id: BOOT_ID.to_owned(),
            seconds,
        };
        let seen = |seconds| Record::new(image(None), at(7)).at(&at(seconds));
        assert_eq!(seen(9).unwrap().unwrap().seconds_ago, 2);
        expect!["seconds: expected at most 6, the present, found 7"]
            .assert_eq(&seen(6).unwrap_err().to_string());
    }

    #[test]
    fn a_machine_without_a_place_for_records_keeps_none() {
        let root = machine();
        let records = Records::below(root.path());
        let write = || {
            let error = records.write(LoadKind::Reboot, image(None)).unwrap_err();
            sentence(&error).replace(&root.path().display().to_string(), "")
        };
        fs::remove_dir(root.path().join("run")).unwrap();
        expect!["/run/ukexec: making the folder: No such file or directory (os error 2)"]
            .assert_eq(&write());
        records.take(LoadKind::Reboot).unwrap();
        fs::remove_dir_all(root.path().join("proc")).unwrap();
        expect!["the boot ID is unknown"].assert_eq(&write());
    }

    #[test]
    fn a_kernel_that_is_loaded_is_named_in_one_line() {
        let image = |image: &str, release: Option<&str>, seconds_ago| LoadedImage {
            image: image.to_owned(),
            release: release.map(str::to_owned),
            entry: release.map(|_| "debian.efi@main".to_owned()),
            seconds_ago,
            warnings: Vec::new(),
        };
        let lines = [
            Loaded::Recorded(image("debian.efi", Some("6.1.0-56-amd64"), 12 * 60 + 59)),
            Loaded::Recorded(image("vmlinuz", None, 0)),
            Loaded::Last(image("vmlinuz", None, 7)),
            Loaded::Nothing,
            Loaded::Unknown,
            Loaded::Unrecorded,
            Loaded::Hidden,
        ];
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        expect![[r#"
            debian.efi of entry debian.efi@main, Linux 6.1.0-56-amd64, 12 minutes ago; another tool may have replaced it since
            vmlinuz, 0 seconds ago; another tool may have replaced it since
            unknown; the last was vmlinuz, 7 seconds ago
            nothing
            unknown
            a kernel that ukexec has no record of
            loaded; root can see what"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_time_is_rounded_down_to_two_or_more_of_a_unit() {
        for (seconds, text) in [
            (0, "0 seconds ago"),
            (1, "1 second ago"),
            (119, "119 seconds ago"),
            (120, "2 minutes ago"),
            (7199, "119 minutes ago"),
            (7200, "2 hours ago"),
            (172_800, "2 days ago"),
            (u64::MAX, "213503982334601 days ago"),
        ] {
            assert_eq!(Ago(seconds).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn the_record_of_any_file_is_read_back(
            name in proptest::collection::vec(any::<u8>(), 1..=NAME_MAX),
            release in proptest::option::of("[!-~]{1,64}"),
            entry in proptest::option::of(".{0,300}"),
            warnings in proptest::collection::vec(".{0,500}", 0..15),
            seconds: u64,
        ) {
            let now = Moment { boot_id: BOOT_ID.to_owned(), seconds };
            let image = PathBuf::from(OsString::from_vec(name));
            let new = NewLoad {
                image: &image,
                release: release.as_deref(),
                entry: entry.as_deref(),
                warnings: &warnings,
            };
            let record = Record::new(new, now);
            let bytes = serde_json::to_vec(&record).unwrap();
            prop_assert!(bytes.len() as u64 <= RECORD_MAX);
            prop_assert_eq!(Record::parse(&bytes).unwrap(), record);
        }

        #[test]
        fn no_bytes_are_read_as_more_than_a_record(bytes: Vec<u8>) {
            if let Ok(record) = Record::parse(&bytes) {
                prop_assert!(record.image.len() <= IMAGE_MAX);
            }
        }
    }
}
