//! Boot entries: this process opens the files of the partitions, a worker reads them.
//!
//! Nothing outside the partitions is opened, and nothing on them is written.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ukexec_entries::{
    BootFiles, Boots, Entry, ImageSummary, LoaderConf, Menu, Partition, PassedOver, Running, Type1,
    Wanted,
};
use ukexec_kexec::{Folder, MachineState, shown_path};
use ukexec_stub::{os_id, takes_load_options};
use ukexec_unfold::selector_of;

use crate::config::boot_partitions::{BootPartitions, BootPlaces};
use crate::config::loader_variables::LoaderVariables;
use crate::config::trust;
use crate::console::Console;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::files::{IMAGE_LEN_MAX, read_regular};
use crate::options::{CmdlineFrom, EntryName, LoaderOptions};
use crate::parent::input::InputFile;
use crate::parent::worker_process::WorkerProcess;
use crate::protocol::facts::{Facts, FactsOf};
use crate::report::EntriesReport;

/// Bytes of a file of keys.
const CONFIG_MAX: u64 = 64 << 10;

/// Initrds of an entry, or extra files: each is open while it is copied, and initrds stay open.
const PARTS_MAX: usize = 256;

/// The boot entries of a machine.
#[derive(Debug)]
pub struct BootEntries {
    menu: Menu,
    partitions: BootPartitions,
    /// Folders that are passed over.
    folders: Vec<PassedOver>,
}

/// A boot entry whose files are open.
#[derive(Debug)]
pub struct ChosenEntry {
    pub(crate) image: InputFile,
    pub(crate) parts: EntryParts,
    /// The root of its partition.
    partition: PathBuf,
    entry: Entry,
    /// The entries of its file: one for each profile.
    profiles: Vec<Entry>,
}

/// The files of a boot entry beside its image.
#[derive(Debug, Default)]
pub(crate) struct EntryParts {
    /// In order.
    pub(crate) initrds: Vec<InputFile>,
    /// Files for the initrd, with their names, in order.
    pub(crate) extra: Vec<(String, InputFile)>,
    /// Why the kernel does not get the entry's device tree, in words.
    pub(crate) device_tree: Option<String>,
    /// Other things worth a look.
    pub(crate) notes: Vec<String>,
}

impl BootEntries {
    /// Reads the entries of `places`, with a worker. Of `options`, the sandbox, the budget
    /// and the configuration count.
    ///
    /// # Errors
    ///
    /// There are no partitions, or one cannot be read. A fault of a file is in the report.
    pub fn read(
        places: &BootPlaces,
        options: &LoaderOptions,
        console: &Arc<dyn Console>,
    ) -> Result<Self> {
        let partitions = BootPartitions::find(places)?;
        let config = trust::config(options)?;
        let variables = LoaderVariables::open(config.efivars.as_deref())?;
        // Where that is unknown, the sandbox has to be complete as well.
        let required = trust::is_required(&config).unwrap_or(true);
        let work = WorkerProcess::start(options, required, console)?;
        let mut files = EntryFiles {
            partitions: &partitions,
            work: &work,
            images: HashMap::new(),
            folders: Vec::new(),
        };
        let menu = match &places.root {
            // Another system's, which does not run.
            Some(_) => Menu::read(&mut files, &(), &Running::default()),
            None => Menu::read(&mut files, &variables, &running(Path::new("/"))),
        };
        let folders = files.folders;
        let menu = work.end(menu)?;
        Ok(Self {
            menu,
            partitions,
            folders,
        })
    }

    /// Returns the report.
    #[must_use]
    pub fn report(&self) -> EntriesReport {
        let path = |it| self.partitions.folder(it).map(Folder::path);
        let paths = [Partition::Esp, Partition::Xbootldr].map(path);
        EntriesReport::new(&self.menu, &self.folders, paths)
    }

    /// Returns the entries that can be loaded, best first. Several may have one ID.
    pub fn loadable(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.menu.entries().iter();
        entries.filter(|entry| entry.reason.is_none())
    }

    /// Returns the entry that is `wanted`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find(&self, wanted: &Wanted) -> Result<&Entry> {
        if self.menu.entries().is_empty() {
            let folders =
                [Partition::Esp, Partition::Xbootldr].map(|it| self.partitions.folder(it));
            let folders = folders.into_iter().flatten();
            let paths: Vec<_> = folders.map(|it| shown_path(it.path())).collect();
            let text = format!(
                "there are no boot entries in {}: expected files in loader/entries or EFI/Linux; \
                 --esp DIR names another place",
                paths.join(" and ")
            );
            return Err(LoaderError::new(text).of_kind(ErrorKind::File));
        }
        self.menu.find(wanted).map_err(LoaderError::new)
    }

    /// Returns where the definition of an `entry` is.
    #[must_use]
    pub fn path(&self, entry: &Entry) -> PathBuf {
        let root = self.partitions.folder(entry.partition);
        let root = root.map_or(Path::new("/"), Folder::path);
        root.join(&entry.path)
    }

    /// Opens the files of an `entry` of this machine.
    ///
    /// # Errors
    ///
    /// It cannot be loaded, or a file of it is not there.
    pub fn choose(&self, entry: &Entry, console: &dyn Console) -> Result<ChosenEntry> {
        let failed = || format!("cannot load the boot entry {}", entry.id);
        if let Some(reason) = &entry.reason {
            let error = LoaderError::new(format!("{}: {reason}", failed()));
            return Err(error.of_kind(ErrorKind::File));
        }
        let chosen = self.open(entry, console).context(failed);
        chosen.map_err(|error| error.of_kind(ErrorKind::File))
    }

    fn open(&self, entry: &Entry, console: &dyn Console) -> Result<ChosenEntry> {
        let root = self.partitions.folder(entry.partition);
        let root = root.context(|| "its partition is gone")?;
        let open = |path: &String| {
            let shown = root.path().join(relative(path));
            let file = open_below(root, path);
            let file =
                file.map_err(|why| LoaderError::new(format!("{}: {why}", shown_path(&shown))));
            InputFile::of_file(file?, &shown, console)
        };
        let path = match &entry.boots {
            Boots::Linux(path) | Boots::Uki(path) => path,
            Boots::Efi(_) | Boots::UkiUrl(_) | Boots::Nothing => {
                return Err(LoaderError::new("it is no kernel"));
            }
        };
        let count = entry.initrds.len().max(entry.extra.len());
        if count > PARTS_MAX {
            let text = format!("it names {count} files; expected at most {PARTS_MAX}");
            return Err(LoaderError::new(text));
        }
        let is_linux = matches!(entry.boots, Boots::Linux(_));
        let initrds = entry.initrds.iter().filter(|_| is_linux).map(open);
        let extra = entry.extra.iter().filter(|_| !is_linux).map(|path| {
            let name = Path::new(path).file_name().unwrap_or_default();
            Ok((name.to_string_lossy().into_owned(), open(path)?))
        });
        Ok(ChosenEntry {
            image: open(path)?,
            parts: EntryParts {
                initrds: initrds.collect::<Result<_>>()?,
                extra: extra.collect::<Result<_>>()?,
                device_tree: device_tree_note(entry),
                notes: notes(entry),
            },
            partition: root.path().to_owned(),
            entry: entry.clone(),
            profiles: self.profiles(entry),
        })
    }

    /// Returns the entries that have the file of `entry`.
    fn profiles(&self, entry: &Entry) -> Vec<Entry> {
        let all = self.menu.entries().iter();
        let of_file = all.filter(|it| it.partition == entry.partition && it.path == entry.path);
        of_file.cloned().collect()
    }
}

impl ChosenEntry {
    /// Returns its ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.entry.id
    }

    /// Adds to `options` what the entry says and the caller did not.
    pub fn add_to(&self, options: &mut LoaderOptions) {
        let Entry {
            profile,
            options: line,
            initrds,
            ..
        } = &self.entry;
        if options.profile.is_none() && *profile > 0 && !loses_profile(&self.entry) {
            options.profile = Some(profile.to_string());
        }
        if let (CmdlineFrom::Image, Some(line)) = (&options.cmdline, line) {
            options.cmdline = CmdlineFrom::Entry(line.clone().into_bytes());
        }
        options.partitions = vec![self.partition.clone()];
        let of_line = match &options.cmdline {
            CmdlineFrom::Caller(line) => selector_of(line),
            _ => None,
        };
        let asked = options.profile.as_ref().map(String::as_bytes);
        let named = self.of_profile(asked.or(of_line));
        let is_of_profile = named.is_some();
        let named = named.unwrap_or(&self.entry);
        options.entry = Some(EntryName {
            id: named.id.clone(),
            systemd_boot_id: named.systemd_boot_id().to_owned(),
            title: named.title.clone(),
            selected: named.selected && is_of_profile,
            linux: matches!(self.entry.boots, Boots::Linux(_)).then(|| initrds.clone()),
        });
    }

    /// Returns the entry of the profile that is `asked` for, which the caller may have named
    /// beside the entry.
    fn of_profile(&self, asked: Option<&[u8]>) -> Option<&Entry> {
        let Some(asked) = asked else {
            return Some(&self.entry);
        };
        // As systemd-stub does, a number before an ID.
        let number = str::from_utf8(asked).ok().and_then(|it| it.parse().ok());
        let profiles = || [&self.entry].into_iter().chain(&self.profiles);
        let by_number = profiles().find(|it| number == Some(it.profile));
        by_number.or_else(|| {
            profiles().find(|it| it.profile_id.as_ref().map(String::as_bytes) == Some(asked))
        })
    }
}

/// Returns whether the stub in the image of `entry` does not hear of the profile, which the
/// boot loader puts in front of the options.
fn loses_profile(entry: &Entry) -> bool {
    let line = entry.options.as_deref().unwrap_or_default();
    matches!(entry.boots, Boots::Uki(_)) && entry.profile > 0 && !takes_load_options(line)
}

/// Returns things about `entry` that are worth a look where it is booted.
fn notes(entry: &Entry) -> Vec<String> {
    let id = &entry.id;
    let has_none_left = entry.counter.is_some_and(|it| it.left == 0);
    let tries = has_none_left.then(|| {
        format!("the boot entry {id} has no tries left: no boot of it was called a good one")
    });
    let profile = loses_profile(entry).then(|| {
        format!(
            "profile {} of the boot entry {id} does not count: its options have control \
             characters, for which systemd-stub ignores both",
            entry.profile
        )
    });
    tries.into_iter().chain(profile).collect()
}

fn device_tree_note(entry: &Entry) -> Option<String> {
    let (path, id) = (entry.devicetree.as_ref()?, &entry.id);
    Some(format!(
        "the device tree {path} of the boot entry {id} stays here; --dtb FILE takes one along, by kexec_load on arm64 and riscv64"
    ))
}

/// The files of the partitions, which a worker reads.
struct EntryFiles<'a> {
    partitions: &'a BootPartitions,
    work: &'a WorkerProcess,
    /// Several entries may boot one image.
    images: HashMap<(Partition, String), Result<ImageSummary, String>>,
    /// Folders that lead elsewhere.
    folders: Vec<PassedOver>,
}

impl EntryFiles<'_> {
    /// Has the worker read the file at `path`, unless it has more than `max` bytes.
    fn facts(
        &self,
        partition: Partition,
        path: &str,
        of: FactsOf,
        max: u64,
    ) -> Result<Result<Facts, String>> {
        let Some(root) = self.partitions.folder(partition) else {
            return Ok(Err("no such partition".to_owned()));
        };
        let opened = open_below(root, path).and_then(|file| {
            let len = file.metadata().map_err(|error| error.to_string())?.len();
            Ok((file, len))
        });
        let (file, len) = match opened {
            Ok((_, len)) if len > max => {
                return Ok(Err(format!("expected at most {max} bytes, found {len}")));
            }
            Ok(opened) => opened,
            Err(reason) => return Ok(Err(reason)),
        };
        self.work.facts(of, len, file.as_fd()).map(Ok)
    }
}

impl BootFiles for EntryFiles<'_> {
    type Error = LoaderError;

    fn names(
        &mut self,
        partition: Partition,
        folder: &str,
        each: &mut dyn FnMut(&[u8], Option<&'static str>),
    ) -> Result<()> {
        let Some(root) = self.partitions.folder(partition) else {
            return Ok(());
        };
        let path = root.path().join(folder);
        let failed = || format!("cannot look for boot entries in {}", shown_path(&path));
        let of_file = |error: LoaderError| error.of_kind(ErrorKind::File);
        let folder = match root.folder_below(Path::new(folder)) {
            Err(error) if is_absent(&error) => return Ok(()),
            // It leads elsewhere.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.folders.push(PassedOver {
                    partition,
                    path: folder.to_owned(),
                    reason: error.to_string(),
                });
                return Ok(());
            }
            found => found.context(failed).map_err(of_file)?,
        };
        for entry in folder.entries().context(failed).map_err(of_file)? {
            let entry = entry.context(failed).map_err(of_file)?;
            each(entry.name.as_bytes(), entry.other);
        }
        Ok(())
    }

    fn loader_conf(&mut self) -> Result<LoaderConf> {
        let path = "loader/loader.conf";
        match self.facts(Partition::Esp, path, FactsOf::LoaderConf, CONFIG_MAX)? {
            Ok(Facts::LoaderConf(found)) => Ok(found.unwrap_or_default()),
            _ => Ok(LoaderConf::default()),
        }
    }

    fn type1(&mut self, partition: Partition, path: &str) -> Result<Result<Type1, String>> {
        Ok(
            match self.facts(partition, path, FactsOf::Type1, CONFIG_MAX)? {
                Ok(Facts::Type1(found)) => *found,
                Ok(_) => Err(NOT_READ.to_owned()),
                Err(reason) => Err(reason),
            },
        )
    }

    fn image(&mut self, partition: Partition, path: &str) -> Result<Result<ImageSummary, String>> {
        let key = (partition, path.to_owned());
        if let Some(known) = self.images.get(&key) {
            return Ok(known.clone());
        }
        let found = match self.facts(partition, path, FactsOf::Image, IMAGE_LEN_MAX)? {
            Ok(Facts::Image(found)) => found,
            Ok(_) => Err(NOT_READ.to_owned()),
            Err(reason) => Err(reason),
        };
        if self.images.len() < IMAGES_MAX {
            self.images.insert(key, found.clone());
        }
        Ok(found)
    }
}

const NOT_READ: &str = "the worker did not read it";

/// The facts of so many images are kept: those of one may take 100 KiB.
const IMAGES_MAX: usize = 128;

/// Returns the path of a file from its partition's root: entries write it with a `/` or
/// without, and with `\` as firmware does.
fn relative(path: &str) -> PathBuf {
    let path = path.replace('\\', "/");
    PathBuf::from(path.trim_start_matches('/'))
}

/// Opens the file at `path` of the partition with this `root`, or says why not.
fn open_below(root: &Folder, path: &str) -> Result<File, String> {
    let opened = root.regular_below(&relative(path));
    opened.map_err(|error| match is_absent(&error) {
        true => "no such file".to_owned(),
        false => error.to_string(),
    })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Returns what runs below `root`.
fn running(root: &Path) -> Running {
    let text = |path: &str| read_regular(&root.join(path), 64 << 10).ok();
    let os_release = text("etc/os-release").or_else(|| text("usr/lib/os-release"));
    let machine_id = text("etc/machine-id").and_then(|it| String::from_utf8(it).ok());
    let machine_id = machine_id.map(|it| it.trim().to_owned());
    let machine = MachineState::read(root);
    Running {
        release: machine.release,
        architecture: machine.machine,
        machine_id: machine_id.filter(|it| !it.is_empty()),
        sort_key: os_release.and_then(|it| os_id(&it)),
    }
}
