//! The plan that the arguments of `kexec` ask for.

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use ukexec_kexec::{BeforeBoot, MoreFlags};
use ukexec_loader::{LoadKind, Syscall, is_stdin};

use super::definition::{Class, KERNEL, ROWS};

/// The steps of a call, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) question: Option<Question>,
    /// Whether the loaded kernel is dropped first.
    pub(super) unload: bool,
    pub(super) load: Option<Load>,
    pub(super) then: Then,
    pub(super) kind: LoadKind,
    pub(super) call: Syscall,
    pub(super) debug: bool,
    /// Whether nothing is done but a report of what would be loaded.
    pub(super) dry_run: bool,
}

/// Something that is answered, and nothing else done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether a kernel of this kind is loaded.
    Status(LoadKind),
    /// How much memory is reserved for a crash kernel.
    CrashRegion,
}

/// The step behind a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The boot, at once.
    Exec(BeforeBoot),
    /// `shutdown -r now`.
    Shutdown,
}

/// A kernel to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) kernel: Option<PathBuf>,
    pub(super) initrds: Vec<PathBuf>,
    /// Whether the running kernel's line is taken.
    pub(super) reuse_cmdline: bool,
    /// The caller's line, which may be empty.
    pub(super) cmdline: Option<Vec<u8>>,
    /// The kind that the caller says the kernel is of.
    pub(super) type_name: Option<String>,
    /// The device tree that the kernel gets.
    pub(super) device_tree: Option<PathBuf>,
    /// The addresses that a kernel may be placed at.
    pub(super) window: Option<Range<u64>>,
    /// Whether UEFI is left out.
    pub(super) no_efi: bool,
    /// The options given that `kexec_file_load(2)` does not take.
    pub(super) of_other_call: Vec<&'static str>,
    pub(super) hotplug: bool,
    pub(super) more_flags: MoreFlags,
    /// Options that make no difference, and why.
    pub(super) notes: Vec<String>,
    /// Why it is refused by an option.
    pub(super) refused: Option<String>,
}

impl Load {
    /// Returns whether the caller gives parts of what is booted: then nothing goes along
    /// that was not asked for.
    pub(super) fn is_bare(&self) -> bool {
        !self.initrds.is_empty() || self.reuse_cmdline || self.cmdline.is_some()
    }
}

impl Plan {
    /// Returns the plan of `matches`, or an error in words. Linux on `machine` is loaded.
    pub(super) fn new(matches: &ArgMatches, machine: &str) -> Result<Self, String> {
        let given = Given(matches);
        given.window()?;
        let mut steps = Steps::default();
        for name in given.in_order(["load", "load-panic", "unload", "exec", "force"]) {
            steps.take(name);
        }
        let load = steps.load.then(|| given.load(machine)).transpose()?;
        let kind = match given.has("load-panic") {
            true => LoadKind::Crash,
            false => LoadKind::Reboot,
        };
        // In kexec-tools, `-u -p` goes on to load, other than `-p -u`, and finds no kernel.
        let unloads_alone = steps.unload && kind == LoadKind::Crash;
        let load = load.filter(|load| load.kernel.is_some() || !unloads_alone);
        let before = BeforeBoot {
            sync: !given.has("no-sync"),
            interfaces_down: !given.has("no-ifdown"),
        };
        Ok(Self {
            question: given.question(),
            unload: steps.unload,
            then: match (steps.exec, steps.shutdown) {
                (true, _) => Then::Exec(before),
                (false, true) => Then::Shutdown,
                (false, false) => Then::Nothing,
            },
            load,
            kind,
            call: given.call(),
            debug: given.has("debug"),
            dry_run: given.has("dry-run"),
        })
    }
}

/// Returns the note of an option that `kexec_file_load(2)` does not take.
pub(super) fn for_other_call(name: &str) -> String {
    format!("--{name} makes no difference: it is for kexec_load(2)")
}

/// The flags of actions, which later ones override.
#[derive(Clone, Copy, Debug)]
struct Steps {
    load: bool,
    unload: bool,
    exec: bool,
    shutdown: bool,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            load: true,
            unload: false,
            exec: false,
            shutdown: true,
        }
    }
}

impl Steps {
    fn take(&mut self, action: &str) {
        self.shutdown = false;
        match action {
            "unload" => (self.load, self.unload) = (false, true),
            "exec" => (self.load, self.exec) = (false, true),
            "force" => (self.load, self.exec) = (true, true),
            _ => (self.load, self.exec) = (true, false),
        }
    }
}

/// The caller's arguments.
#[derive(Clone, Copy, Debug)]
struct Given<'a>(&'a ArgMatches);

impl<'a> Given<'a> {
    /// Returns where the last of an option stands.
    fn index(self, name: &str) -> Option<usize> {
        // On this machine there may be no such option.
        let is_there = self.0.try_contains_id(name).is_ok_and(|is| is);
        let is_given = is_there && self.0.value_source(name) == Some(ValueSource::CommandLine);
        is_given.then(|| self.0.indices_of(name))??.next_back()
    }

    fn has(self, name: &str) -> bool {
        self.index(name).is_some()
    }

    /// Returns those of the options `names` that are given, in order of appearance.
    fn in_order<const N: usize>(self, names: [&'static str; N]) -> Vec<&'static str> {
        let given = names.into_iter();
        let mut given: Vec<_> = given
            .filter_map(|name| Some((self.index(name)?, name)))
            .collect();
        given.sort_unstable();
        given.into_iter().map(|(_, name)| name).collect()
    }

    fn values(self, name: &str) -> impl Iterator<Item = &'a OsString> {
        let values = self.0.try_get_many::<OsString>(name).ok().flatten();
        values.into_iter().flatten()
    }

    fn bytes(self, name: &str) -> Option<Vec<u8>> {
        self.values(name).last().map(|it| it.clone().into_vec())
    }

    fn question(self) -> Option<Question> {
        if self.has("print-ckr-size") {
            return Some(Question::CrashRegion);
        }
        let kind = match (self.has("load-panic"), self.has("load")) {
            (false, true) => LoadKind::Reboot,
            _ => LoadKind::Crash,
        };
        self.has("status").then_some(Question::Status(kind))
    }

    fn call(self) -> Syscall {
        let calls = ["kexec-file-syscall", "kexec-syscall", "kexec-syscall-auto"];
        match self.in_order(calls).pop() {
            Some("kexec-file-syscall") => Syscall::File,
            Some("kexec-syscall") => Syscall::Load,
            _ => Syscall::Auto,
        }
    }

    fn load(self, machine: &str) -> Result<Load, String> {
        let initrds: Vec<PathBuf> = self.values("initrd").map(PathBuf::from).collect();
        let kernel = self.values(KERNEL).next().map(PathBuf::from);
        let inputs = initrds.iter().chain(&kernel);
        if inputs.filter(|path| is_stdin(path)).count() > 1 {
            return Err("standard input is given twice; name a file for one of them".to_owned());
        }
        let type_name = self.bytes("type");
        Ok(Load {
            kernel,
            initrds,
            reuse_cmdline: self.has("reuse-cmdline"),
            cmdline: self.cmdline(machine),
            type_name: type_name.map(|it| String::from_utf8_lossy(&it).into_owned()),
            device_tree: self.device_tree(machine),
            window: self.window()?,
            no_efi: self.has("noefi"),
            of_other_call: self.in_order(["mem-min", "mem-max", "noefi"]),
            hotplug: self.has("hotplug"),
            more_flags: MoreFlags {
                no_cma: self.has("no-cma"),
                force_dtb: self.has("force-dtb"),
            },
            notes: self.notes(machine).collect(),
            refused: self.refused(),
        })
    }

    /// Returns the caller's line. The two options are one, and the last of them counts; on
    /// RISC-V they are two, and one stands behind the other.
    fn cmdline(self, machine: &str) -> Option<Vec<u8>> {
        let order = self.in_order(["append", "command-line"]);
        let both = [self.bytes("command-line"), self.bytes("append")];
        match both {
            [Some(line), Some(append)] if machine.starts_with("riscv") => {
                Some([line.as_slice(), &append].join(&b' '))
            }
            _ => self.bytes(order.last()?),
        }
    }

    /// Returns an address, as `strtoul(3)` reads one of any base.
    fn address(self, name: &str) -> Result<Option<u64>, String> {
        let Some(word) = self.bytes(name) else {
            return Ok(None);
        };
        let word = String::from_utf8_lossy(&word).to_ascii_lowercase();
        let number = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None if word.len() > 1 && word.starts_with('0') => u64::from_str_radix(&word, 8),
            None => word.parse(),
        };
        let expected =
            || format!("--{name}: expected an address such as 0x10000000, found {word:?}");
        number.map(Some).map_err(|_error| expected())
    }

    /// Returns the addresses that `--mem-min` and `--mem-max` leave.
    fn window(self) -> Result<Option<Range<u64>>, String> {
        let (min, max) = (self.address("mem-min")?, self.address("mem-max")?);
        Ok((min.is_some() || max.is_some()).then(|| {
            let end = max.map_or(u64::MAX, |max| max.saturating_add(1));
            min.unwrap_or(0)..end
        }))
    }

    /// Returns the file of `--dtb`, where a call takes it. Kernels of x86 get none unless
    /// kexec_load(2) is asked for.
    fn device_tree(self, machine: &str) -> Option<PathBuf> {
        let file = self.values("dtb").last().map(PathBuf::from);
        file.filter(|_| match self.call() {
            Syscall::Auto => machine != "x86_64",
            Syscall::File => false,
            Syscall::Load => true,
        })
    }

    fn notes(self, machine: &str) -> impl Iterator<Item = String> {
        let is_left_out = self.has("dtb") && self.device_tree(machine).is_none();
        let of_call = is_left_out.then(|| for_other_call("dtb")).into_iter();
        let rows = ROWS.iter().filter(move |row| self.has(row.long));
        let rows = rows.filter_map(|row| match row.class {
            Class::Note(why) => Some(format!("--{} makes no difference: {why}", row.long)),
            _ => None,
        });
        of_call.chain(rows)
    }

    fn refused(self) -> Option<String> {
        let mut rows = ROWS.iter().filter(|row| self.has(row.long));
        rows.find_map(|row| match row.class {
            Class::Refused(why) => Some(format!("--{} is refused: {why}", row.long)),
            _ => None,
        })
    }
}
