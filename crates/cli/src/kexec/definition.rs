//! The options of kexec(8), each in its class: the one definition of the command line of
//! `kexec`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, value_parser};

/// The version of kexec-tools whose options these are.
pub(super) const KEXEC_TOOLS: &str = "kexec-tools 2.0.32";

/// An option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) long: &'static str,
    alias: Option<&'static str>,
    short: Option<char>,
    /// The name of its value, if it takes one.
    value: Option<&'static str>,
    /// The machines whose kexec-tools have it; all, if none is named.
    machines: &'static [&'static str],
    pub(super) class: Class,
    heading: &'static str,
    help: &'static str,
}

/// The treatment of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It does what it does in kexec-tools.
    Real,
    /// It is taken, and makes no difference here.
    Silent,
    /// It is taken, and a note says why it makes no difference.
    Note(&'static str),
    /// It is refused for this reason.
    Refused(&'static str),
}

const X86: &str = "x86_64";
const ARM64: &str = "aarch64";
const RISCV64: &str = "riscv64";
const PPC64: &str = "powerpc64";

const ACTIONS: &str = "Actions";
const PARTS: &str = "Kernel, initrd, command line";
const CALL: &str = "System call";
const WAY: &str = "Way to the boot";
const NO_EFFECT: &str = "Taken, without effect";
const REFUSED: &str = "Refused";

/// Why the options of kexec-tools' own boot code make no difference.
const PURGATORY: &str = "no code of ukexec runs between the kernels";
const FILE_CALL: &str = "kexec_file_load(2) lets the kernel decide that";
const PROTOCOL: &str = "ukexec boots Linux kernels by their 64-bit entry alone; kexec-tools can";
const JUMP: &str = "ukexec does not return to the running kernel; kexec-tools can";
const XEN: &str = "ukexec does not speak to Xen; kexec-tools does";
const RETAINED: &str = "the running kernel keeps no initrd; name it with --initrd=FILE";

const fn row(long: &'static str, heading: &'static str, help: &'static str) -> Row {
    Row {
        long,
        alias: None,
        short: None,
        value: None,
        machines: &[],
        class: Class::Real,
        heading,
        help,
    }
}

/// Returns an option that makes no difference, and `why`.
const fn note(long: &'static str, help: &'static str, why: &'static str) -> Row {
    row(long, NO_EFFECT, help).class(Class::Note(why))
}

/// Returns an option that is refused, and `why`.
const fn refused(long: &'static str, help: &'static str, why: &'static str) -> Row {
    row(long, REFUSED, help).class(Class::Refused(why))
}

impl Row {
    const fn short(self, short: char) -> Self {
        let short = Some(short);
        Self { short, ..self }
    }

    const fn value(self, value: &'static str) -> Self {
        let value = Some(value);
        Self { value, ..self }
    }

    const fn on(self, machines: &'static [&'static str]) -> Self {
        Self { machines, ..self }
    }

    const fn class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    fn is_on(&self, machine: Option<&str>) -> bool {
        self.machines.is_empty() || machine.is_none_or(|it| self.machines.contains(&it))
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long).long(self.long).help(self.help);
        let arg = arg.help_heading(self.heading).short(self.short);
        let arg = match self.alias {
            Some(alias) => arg.visible_alias(alias),
            None => arg,
        };
        match (self.long, self.value) {
            ("help", _) => arg.short_alias('?').action(ArgAction::HelpShort),
            ("version", _) => arg.action(ArgAction::Version),
            (_, None) => arg.action(ArgAction::SetTrue),
            (long, Some(value)) => arg
                .value_name(value)
                .value_parser(value_parser!(OsString))
                .allow_hyphen_values(true)
                .action(match long {
                    "initrd" => ArgAction::Append,
                    _ => ArgAction::Set,
                }),
        }
    }
}

/// Every option of kexec-tools, and `--dry-run`.
pub(super) const ROWS: &[Row] = &[
    row("help", ACTIONS, "Print this help").short('h'),
    row("version", ACTIONS, "Print the version").short('v'),
    row("load", ACTIONS, "Load the kernel, and do not boot it").short('l'),
    row("load-panic", ACTIONS, "Load the kernel for a crash to boot").short('p'),
    row(
        "unload",
        ACTIONS,
        "Drop the loaded kernel; with -p, the crash kernel",
    )
    .short('u'),
    row(
        "exec",
        ACTIONS,
        "Boot the loaded kernel at once; nothing stops the services",
    )
    .short('e'),
    row(
        "force",
        ACTIONS,
        "Load the kernel and boot it at once, as -e does",
    )
    .short('f'),
    row(
        "status",
        ACTIONS,
        "Exit with 1 if a crash kernel is loaded, else 0; with -l, a kernel",
    )
    .short('S'),
    row(
        "print-ckr-size",
        ACTIONS,
        "Print the bytes that are reserved for a crash kernel",
    ),
    row(
        "dry-run",
        ACTIONS,
        "Print what would be loaded, and do nothing; kexec-tools has none",
    ),
    row(
        "append",
        PARTS,
        "The command line, in place of the image's own",
    )
    .value("TEXT"),
    row("command-line", PARTS, "The same").value("TEXT"),
    row(
        "reuse-cmdline",
        PARTS,
        "The running kernel's command line, and --append behind it",
    ),
    Row {
        alias: Some("ramdisk"),
        ..row(
            "initrd",
            PARTS,
            "The initrd, in place of the image's own; repeatable",
        )
        .value("FILE")
    },
    row("dtb", PARTS, "A device tree, for kexec_load(2)")
        .value("FILE")
        .on(&[X86, ARM64, RISCV64, PPC64]),
    row("type", PARTS, "The kind of kernel; ukexec looks for itself")
        .short('t')
        .value("TYPE"),
    row("kexec-file-syscall", CALL, "Use kexec_file_load(2) alone").short('s'),
    row("kexec-syscall", CALL, "Use kexec_load(2) alone").short('c'),
    row(
        "kexec-syscall-auto",
        CALL,
        "Use the call that the kernel has (default)",
    )
    .short('a'),
    row(
        "no-cma",
        CALL,
        "Do not use memory of the contiguous memory allocator",
    ),
    row(
        "force-dtb",
        CALL,
        "Pass the running kernel's device tree on",
    )
    .on(&[X86]),
    row(
        "hotplug",
        CALL,
        "Let the kernel keep the list of processors and memory up to date",
    )
    .on(&[X86, PPC64]),
    row("mem-min", CALL, "Lowest address, for kexec_load(2)").value("ADDR"),
    row("mem-max", CALL, "Highest address, for kexec_load(2)").value("ADDR"),
    row("noefi", CALL, "Leave UEFI out, for kexec_load(2)").on(&[X86]),
    row(
        "no-ifdown",
        WAY,
        "Leave network interfaces up before a boot",
    )
    .short('x'),
    row(
        "no-sync",
        WAY,
        "Do not write dirty files back before a boot",
    )
    .short('y'),
    row("debug", WAY, "Print what is done").short('d'),
    row(
        "no-checks",
        NO_EFFECT,
        "Boot faster: ukexec has nothing to check there",
    )
    .short('i')
    .class(Class::Silent),
    row(
        "args-linux",
        NO_EFFECT,
        "Pass arguments as Linux takes them",
    )
    .on(&[X86, PPC64])
    .class(Class::Silent),
    note(
        "serial",
        "Print on this port between the kernels",
        PURGATORY,
    )
    .value("PORT")
    .on(&[X86, ARM64]),
    note("serial-baud", "The speed of that port", PURGATORY)
        .value("BAUD")
        .on(&[X86]),
    note(
        "console-vga",
        "Print on the screen between the kernels",
        PURGATORY,
    )
    .on(&[X86]),
    note(
        "console-serial",
        "Print on a serial port between the kernels",
        PURGATORY,
    )
    .on(&[X86]),
    note(
        "reset-vga",
        "Reset the screen between the kernels",
        PURGATORY,
    )
    .on(&[X86]),
    note(
        "elf32-core-headers",
        "The form of a dump's headers",
        FILE_CALL,
    )
    .on(&[X86]),
    note(
        "elf64-core-headers",
        "The form of a dump's headers",
        FILE_CALL,
    )
    .on(&[X86, PPC64]),
    note(
        "pass-memmap-cmdline",
        "Pass the memory map on the command line",
        FILE_CALL,
    )
    .on(&[X86]),
    note(
        "reuse-video-type",
        "Keep the type of the screen",
        "it is always kept",
    )
    .on(&[X86]),
    note(
        "dt-no-old-root",
        "Do not take root= from the device tree",
        FILE_CALL,
    )
    .on(&[PPC64]),
    refused("reuseinitrd", "The running kernel's initrd", RETAINED),
    refused("args-elf", "Other boot protocols", PROTOCOL).on(&[X86]),
    refused("args-none", "Other boot protocols", PROTOCOL).on(&[X86]),
    refused("module", "Other boot protocols", PROTOCOL)
        .value("MODULE")
        .on(&[X86]),
    refused("real-mode", "Other entries", PROTOCOL).on(&[X86]),
    refused("entry-32bit", "Other entries", PROTOCOL).on(&[X86]),
    refused("entry", "Jump back to this address", JUMP).value("ADDR"),
    refused(
        "load-preserve-context",
        "Come back to the running kernel",
        JUMP,
    ),
    refused(
        "load-jump-back-helper",
        "Come back to the running kernel",
        JUMP,
    ),
    refused("load-live-update", "Xen's live update", XEN),
    refused("exec-live-update", "Xen's live update", XEN),
];

/// Options of kexec-tools on machines that ukexec knows nothing of.
pub(super) const ELSEWHERE: &[&str] = &[
    "atags",
    "bootinfo",
    "devicetreeblob",
    "empty-zero",
    "gamecube",
    "howto",
    "image-size",
    "miniroot",
    "noio",
    "page-offset",
    "reuse-node",
    "vmm",
];

/// Returns whether kexec(8) has the option `name`.
pub(super) fn is_option(name: &str) -> bool {
    ROWS.iter()
        .any(|row| row.long == name || row.alias == Some(name))
}

/// Returns the reason why `option`, without its dashes, is not one of this machine, if
/// kexec-tools have it on another.
pub(super) fn of_another_machine(option: &str) -> Option<&'static str> {
    if ELSEWHERE.contains(&option) {
        return Some("an option for machines that ukexec does not boot");
    }
    let known = ROWS.iter().any(|row| row.long == option);
    known.then_some("an option for another architecture")
}

/// The name of the kernel among the arguments.
pub(super) const KERNEL: &str = "KERNEL";

/// Returns the command line of `kexec` on `machine`, by the name that Rust has for it; with
/// the options of all if none is named.
pub(crate) fn definition(machine: Option<&str>) -> Command {
    let rows = ROWS.iter().filter(|row| row.is_on(machine));
    let elsewhere = ELSEWHERE.iter().map(|name| format!("--{name}"));
    let others = ROWS.iter().filter(|row| !row.is_on(machine));
    let elsewhere = elsewhere.chain(others.map(|row| format!("--{}", row.long)));
    let elsewhere: Vec<String> = elsewhere.collect();
    Command::new("kexec")
        .about("Loads a kernel and boots it without the firmware: ukexec, as kexec(8)")
        .version(KEXEC_TOOLS)
        .override_usage("kexec [OPTION]... [KERNEL]")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .infer_long_args(true)
        .args_override_self(true)
        .args(rows.map(Row::arg))
        .arg(
            Arg::new(KERNEL)
                .help("The kernel, or an image with one in it; the first of several counts")
                .value_parser(value_parser!(OsString))
                .num_args(0..),
        )
        .after_help(format!(
            "{EXAMPLES}\n\nOptions of other machines: {}",
            elsewhere.join(", ")
        ))
}

const EXAMPLES: &str = "\
Without an action, the kernel is loaded and `shutdown -r now` boots it.

Examples:
  kexec -l debian.efi                          its own initrd and command line
  kexec -l vmlinuz --initrd=initrd.img --reuse-cmdline
  kexec -p kdump.efi --append=\"irqpoll nr_cpus=1\"
  systemctl kexec                              stop the services, boot what is loaded

Exit status:
  0    done
  1    wrong usage, an option that is refused, no such file, no memory for a
       crash kernel, nothing to boot; of -S: loaded
  253  with -s alone: the running kernel has no kexec_file_load(2), or its call
       does not take the image
  255  not loaded, not dropped, or not booted";
