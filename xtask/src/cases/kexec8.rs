//! `kexec` beside the `kexec` of kexec-tools, in one machine: both end with the same exit status, and leave
//! the same kernels loaded.
//!
//! The rows are the calls of kdump-utils, kdump-tools, SUSE's kdump, systemd, NixOS and Linux's selftests, then
//! corners of the command line. Where ukexec differs on purpose, the row says why. The root of the machine has
//! no `/tmp`, `/run` or `/etc`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::Tool;
use crate::guest::{FirstKernel, TAG, reporting_initrd, reporting_uki};
use crate::kexec_tools::KexecTools;
use crate::materials::{Target, kernel};
use crate::qemu::{Boot, Machine, Serial};
use crate::stand::Stand;

use super::Named;

const TIME_LIMIT: Duration = Duration::from_secs(900);

pub(super) const CASES: &[Named] = &[
    Named::new("kexec8/beside-kexec-tools", with_crash_memory),
    Named::new("kexec8/beside-kexec-tools-without-crash-memory", without),
];

/// A call of both programs.
struct Row {
    /// The kernels that are loaded before it.
    loaded: Loaded,
    /// The arguments, as a shell reads them.
    args: &'static str,
    differs: Option<Differs>,
}

/// The kernels that are loaded before a call.
#[derive(Clone, Copy)]
enum Loaded {
    Nothing,
    Kernel,
    Crash,
    Both,
}

/// ukexec's own end of a call, and the reason.
struct Differs {
    /// Exit status, and the numbers of `/sys/kernel/kexec_loaded` and `kexec_crash_loaded`.
    ours: &'static str,
    why: &'static str,
}

const fn row(loaded: Loaded, args: &'static str) -> Row {
    Row {
        loaded,
        args,
        differs: None,
    }
}

impl Row {
    const fn but(self, ours: &'static str, why: &'static str) -> Self {
        Self {
            differs: Some(Differs { ours, why }),
            ..self
        }
    }
}

use Loaded::{Both, Crash, Kernel, Nothing};

const NO_CRASH_SEGMENTS: &str =
    "kexec_load(2) of a crash kernel is refused in words, not replaced by the other call";

/// With memory for a crash kernel.
const ROWS: &[Row] = &[
    // -S.
    row(Nothing, "-S"),
    row(Nothing, "-S -l"),
    row(Nothing, "-S -p"),
    row(Kernel, "-S"),
    row(Kernel, "-S -l"),
    row(Kernel, "-l -S"),
    row(Kernel, "-S -p"),
    row(Crash, "-S"),
    row(Crash, "-S -p"),
    row(Crash, "-p -S"),
    row(Crash, "-S -l"),
    row(Both, "-S -p /vmlinuz --initrd=/initrd"),
    row(Both, "-S -l -u"),
    // Callers.
    row(
        Nothing,
        "-s -s -p --command-line=quiet --initrd=/initrd /vmlinuz",
    ),
    row(Nothing, "-sp /vmlinuz --initrd /initrd --append quiet"),
    row(
        Nothing,
        "-p --command-line='quiet nr_cpus=1' --initrd=/initrd /vmlinuz",
    ),
    row(Nothing, "-p /vmlinuz --append=quiet --initrd=/initrd -a"),
    row(Crash, "-p /vmlinuz --append=quiet --initrd=/initrd -a"),
    row(Nothing, "--load /vmlinuz --append quiet"),
    row(Nothing, "--load /vmlinuz --append quiet --initrd /initrd"),
    row(
        Nothing,
        "--load --initrd=/initrd --command-line=quiet -- /vmlinuz",
    ),
    row(Nothing, "-l -s --reuse-cmdline /vmlinuz --initrd=/initrd"),
    row(Nothing, "-l /vmlinuz --reuse-cmdline --append=debug"),
    row(Nothing, "-l /vmlinuz --append=a --append=b"),
    row(Nothing, "-l /vmlinuz --command-line=a --append=b"),
    row(Nothing, "-l /vmlinuz --append="),
    row(Nothing, "-l /uki.efi"),
    row(Nothing, "-l /uki.efi --initrd=/initrd"),
    row(Nothing, "-l /uki.efi --type=uki"),
    row(Nothing, "-l /uki.efi --initrd=/initrd --append=quiet"),
    row(Nothing, "-l /vmlinuz --no-checks --initrd=/initrd"),
    row(Nothing, "-l /vmlinuz --initrd=/initrd --reuse-cmdline"),
    row(Nothing, "-sl /vmlinuz --reuse-cmdline"),
    row(Nothing, "-l /vmlinuz -t bzImage64 --args-linux"),
    row(Nothing, "-l /vmlinuz --initr=/initrd --app=quiet"),
    row(Nothing, "/vmlinuz --append=quiet"),
    // Unloading.
    row(Crash, "-p -u"),
    row(Crash, "-a -p -u"),
    row(Crash, "-s -p -u"),
    row(Crash, "-u -p").but(
        "0 0 0",
        "both orders unload; kexec-tools then look for a kernel",
    ),
    row(Nothing, "-p -u"),
    row(Nothing, "-u"),
    row(Kernel, "-u"),
    row(Kernel, "-l -u"),
    row(Kernel, "-u -l"),
    row(Both, "-u"),
    row(Both, "-p -u"),
    // Booting what is not there.
    row(Nothing, "-e"),
    row(Nothing, "-d -e"),
    row(Nothing, "-e -x -y"),
    row(Nothing, "-l /vmlinuz -e"),
    // Usage.
    row(Nothing, ""),
    row(Nothing, "-l"),
    row(Nothing, "-p"),
    row(Kernel, "-l"),
    row(Nothing, "-h"),
    row(Nothing, "-?").but("0 0 0", "the help that was asked for is no failure"),
    row(Nothing, "--version"),
    row(Nothing, "--no= -l /vmlinuz"),
    row(Nothing, "--bogus -l /vmlinuz"),
    row(Nothing, "-l --initrd"),
    row(Nothing, "--mem-min=zz -l /vmlinuz"),
    row(Nothing, "--print-ckr-size -l /vmlinuz"),
    // Files that are no kernel.
    row(Nothing, "-l /missing"),
    row(Kernel, "-l /missing"),
    row(Nothing, "-s -l /missing"),
    row(Nothing, "-l /initrd"),
    row(Nothing, "-s -l /initrd"),
    row(Nothing, "-p /initrd"),
    row(Nothing, "-l /init").but("255 0 0", "kexec-tools 2.0.32 crash"),
    row(Nothing, "-l /vmlinuz --initrd=/missing"),
    // By kexec_load.
    row(Nothing, "-c -l /vmlinuz"),
    row(Nothing, "--mem-min=0x10000000 -c -l /vmlinuz"),
    row(Kernel, "-c -u"),
    row(Nothing, "-c -p /vmlinuz").but("1 0 0", NO_CRASH_SEGMENTS),
];

/// Without memory for a crash kernel.
const ROWS_WITHOUT: &[Row] = &[
    row(Nothing, "-p /vmlinuz --append=quiet"),
    row(Nothing, "-p"),
    row(Nothing, "-p /missing"),
    row(Nothing, "-p -u"),
    row(Nothing, "-u -p").but(
        "0 0 0",
        "both orders unload; kexec-tools then look for memory",
    ),
    row(Nothing, "-S -p"),
    row(Nothing, "--print-ckr-size"),
    row(Kernel, "-p /vmlinuz"),
];

/// Debian's program finds its libraries in the root folder.
const BESIDE: &str = r#"
rmdir /tmp /run
mkdir /o
mv /shutdown /sbin/shutdown 2>/dev/null || { mkdir -p /sbin; mv /shutdown /sbin/shutdown; }
# kexec-tools write the kernel of an image to a temporary file.
theirs() {
    mkdir /tmp
    /ld.so --library-path / /kexec-tools "$@"
    code=$?
    rm -r /tmp
    return $code
}
ours() { /kexec "$@"; }
number() { cat /sys/kernel/kexec_$1; }
prepare() {
    theirs -u; theirs -p -u
    case $1 in kernel|both) theirs -l -s /vmlinuz --append=before;; esac
    case $1 in crash|both) theirs -p -s /vmlinuz --append=before;; esac
}
beside() {
    row=$1 loaded=$2
    shift 2
    for who in theirs ours; do
        prepare $loaded >/o/prepared 2>&1 </dev/null
        say "$who $row before: $(number loaded) $(number crash_loaded)"
        $who "$@" >/o/out 2>/o/err </dev/null
        say "$who $row: $? $(number loaded) $(number crash_loaded)"
        say "$who $row out: $(wc -c </o/out) $(head -n 1 /o/out)"
        say "$who $row err: $(wc -c </o/err) $(head -n 1 /o/err)"
    done
}
"#;

/// Answers for systemd's program, which `kexec` without an action runs.
const SHUTDOWN: &str = "#!/bin/busybox sh\n[ \"$*\" = '-r now' ]\n";

/// Calls that start no worker, and need no `/proc` for one: each with its exit status, in a
/// machine where both kernels are loaded.
const WITHOUT_WORKER: &[(&str, &str)] = &[
    ("-S", "1"),
    ("-S -l", "1"),
    ("-v", "0"),
    ("-h", "0"),
    ("-p -u", "0"),
    ("-S", "0"),
    ("-S -l", "1"),
    ("-u", "0"),
    ("-S -l", "0"),
    ("-e", "1"),
    // A worker is this program, which it finds in /proc.
    ("-l /vmlinuz", "255"),
];

/// Runs them without `/proc`.
fn without_worker() -> Result<String> {
    let mut script = "ours -l /vmlinuz\nours -p /vmlinuz\numount /proc\n".to_owned();
    for (index, (args, _)) in WITHOUT_WORKER.iter().enumerate() {
        writeln!(
            script,
            "ours {args} >/o/out 2>/o/err; say \"alone {index}: $?\""
        )?;
    }
    script += "mount -t proc proc /proc\n";
    Ok(script)
}

fn with_crash_memory(stand: &Stand) -> Result<()> {
    let last = "ours -f /vmlinuz --initrd=/initrd --append=\"$(cat /proc/cmdline) forced=yes\"\n";
    let last = without_worker()? + last;
    let serial = run(stand, ROWS, &last, "crashkernel=256M")?;
    compare(&serial, ROWS)?;
    for (index, (_, status)) in WITHOUT_WORKER.iter().enumerate() {
        serial.expect(&format!("{TAG}alone {index}: "), status)?;
    }
    let loads_anew = ROWS
        .iter()
        .position(|it| matches!(it.loaded, Crash) && it.args.ends_with("-a"));
    let row = loads_anew.context("no row loads a crash kernel anew")?;
    // udev's rules do that at each change of the hardware.
    serial.expect(&format!("{TAG}ours {row} err: "), "0")?;
    serial.expect(&format!("{TAG}reached="), "next")?;
    let cmdline = serial.value(&format!("{TAG}cmdline="))?;
    ensure!(cmdline.ends_with("forced=yes"), "the next line: {cmdline}");
    Ok(())
}

fn without(stand: &Stand) -> Result<()> {
    // -e starts no worker either.
    let last = "ours -l /uki.efi\numount /proc\nours -e\n";
    let serial = run(stand, ROWS_WITHOUT, last, "")?;
    compare(&serial, ROWS_WITHOUT)?;
    // The image's own line and initrd.
    serial.expect(&format!("{TAG}reached="), "next")?;
    serial.expect(&format!("{TAG}cmdline="), &own_line())
}

/// The line of the UKI.
fn own_line() -> String {
    Machine::X86_64.cmdline("of=uki")
}

/// Has both programs run the rows, then runs `last`.
fn run(stand: &Stand, rows: &[Row], last: &str, cmdline: &str) -> Result<Serial> {
    let mut script = BESIDE.to_owned();
    for (index, Row { loaded, args, .. }) in rows.iter().enumerate() {
        let loaded = match loaded {
            Nothing => "nothing",
            Kernel => "kernel",
            Crash => "crash",
            Both => "both",
        };
        writeln!(script, "beside {index} {loaded} {args}")?;
    }
    script += last;
    let linux = kernel(Target::X86_64)?;
    let uki = reporting_uki(stand, "next", &own_line())?;
    let initrd = reporting_initrd(stand, Target::X86_64, "next")?;
    let shutdown = stand.file("shutdown", SHUTDOWN)?;
    let ours = stand.path("kexec");
    Tool::new("objcopy")
        .arg("--strip-all")
        .arg(stand.ukexec_path().with_file_name("kexec"))
        .arg(&ours)
        .run()?;
    let theirs = KexecTools::find()?;
    let mut first = FirstKernel::new(&script)
        .holding("vmlinuz", &linux)
        .holding("uki.efi", &uki)
        .holding("initrd", &initrd)
        .holding("shutdown", &shutdown)
        .holding("kexec", &ours)
        .holding("kexec-tools", &theirs.program)
        .holding("ld.so", &theirs.loader);
    for (name, path) in &theirs.libraries {
        first = first.holding(name, path);
    }
    Boot {
        machine: Machine::X86_64,
        kernel: &linux,
        initrd: &first.initrd(stand)?,
        cmdline: &Machine::X86_64.cmdline(cmdline),
        time_limit: TIME_LIMIT,
        shown_as: None,
    }
    .run()
}

/// Fails if a call ended in different ways, unless it shall.
fn compare(serial: &Serial, rows: &[Row]) -> Result<()> {
    let mut wrong = String::new();
    for (index, row) in rows.iter().enumerate() {
        let value = |who, what| serial.value(&format!("{TAG}{who} {index}{what}: "));
        let (theirs, ours) = (value("theirs", "")?, value("ours", "")?);
        let before = match row.loaded {
            Nothing => "0 0",
            Kernel => "1 0",
            Crash => "0 1",
            Both => "1 1",
        };
        for who in ["theirs", "ours"] {
            let found = value(who, " before")?;
            ensure!(found == before, "before kexec {}: {found}", row.args);
        }
        let expected = match &row.differs {
            Some(Differs { ours, .. }) => *ours,
            None => theirs,
        };
        let is_text = [
            "-h",
            "-?",
            "--version",
            "--print-ckr-size -l /vmlinuz",
            "--print-ckr-size",
        ]
        .contains(&row.args);
        let silent = value("ours", " out")? == "0";
        if ours != expected || silent == is_text {
            let why = row.differs.as_ref().map_or("", |it| it.why);
            writeln!(
                wrong,
                "kexec {}: expected {expected}, found {ours}; {why}",
                row.args
            )?;
            for who in ["theirs", "ours"] {
                let (out, err) = (value(who, " out")?, value(who, " err")?);
                writeln!(wrong, "    {who}: {} | {out} | {err}", value(who, "")?)?;
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!("exit status, kernel and crash kernel loaded:\n{wrong}"),
    }
}
