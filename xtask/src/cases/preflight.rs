//! Kernels that load and kernels that refuse: `status` and a dry run say so before, and a load ends
//! as they said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::command::Tool;
use crate::guest::{FirstKernel, TAG};
use crate::materials::{Target, kernel, newer_kernel, user_mode_linux};
use crate::qemu::{self, Boot, Machine, Serial};
use crate::stand::{Stand, check_words, document};
use crate::workspace;

use super::edited::Edited;
use super::{Named, read};

/// Emulated machines take a minute; the rest is for slow, busy hosts.
const TIME_LIMIT: Duration = Duration::from_secs(600);

pub(super) const CASES: &[Named] = &[
    Named::new("preflight/a-kernel-with-the-call", with_the_call),
    Named::new("preflight/limit-and-crash-memory", limit_and_crash_memory),
    Named::new("preflight/a-kernel-without-the-call", without_the_call),
];

/// `ask NAME COMMAND...` has the command run `ukexec` in each way, and says what comes of it.
const ASK: &str = r#"
mount -t securityfs none /sys/kernel/security
load="--verify=off --cmdline=quiet /vmlinuz"
one_line() { tr -s '\n ' ' ' <$1; }
ask() {
    name=$1
    shift
    for way in "status" "status --json" "load --dry-run" "load --dry-run --json" "load"; do
        case $way in load*) more=$load;; *) more=;; esac
        "$@" ukexec $way $more >/tmp/out 2>/tmp/err
        code=$?
        say "$name: $way: $code $(one_line /tmp/out)##$(one_line /tmp/err)"
    done
}
"#;

/// What `ukexec` ought to say of one condition.
struct Expected {
    /// The name of the answers.
    name: &'static str,
    /// The condition, its verdict, and words of the verdict.
    id: &'static str,
    verdict: &'static str,
    words: &'static [&'static str],
    /// Exit codes.
    dry_run: i32,
    load: i32,
}

/// An answer: exit code, stdout and stderr.
struct Answer<'a> {
    code: i32,
    out: &'a str,
    err: &'a str,
}

impl<'a> Answer<'a> {
    fn of(serial: &'a Serial, name: &str, way: &str) -> Result<Self> {
        let answer = serial.value(&format!("{TAG}{name}: {way}: "))?;
        let split = || {
            let (code, rest) = answer.split_once(' ')?;
            let (out, err) = rest.split_once("##")?;
            let code = code.parse().ok()?;
            Some(Self { code, out, err })
        };
        split().ok_or_else(|| anyhow!("{name}: {way}: {answer:?} is no answer"))
    }

    fn ends_with(&self, code: i32) -> Result<()> {
        let Self { out, err, .. } = self;
        let found = self.code;
        ensure!(
            found == code,
            "expected exit code {code}, found {found}: {out} {err}"
        );
        Ok(())
    }
}

impl Expected {
    fn check(&self, serial: &Serial) -> Result<()> {
        self.compare(serial).context(self.name)
    }

    fn compare(&self, serial: &Serial) -> Result<()> {
        let answer = |way| Answer::of(serial, self.name, way);
        let status = answer("status")?;
        status.ends_with(0)?;
        check_words(status.out, self.words)?;
        check_words(status.out, &[self.heading()?])?;
        let status = answer("status --json")?;
        status.ends_with(0)?;
        self.judges(&document(status.out)?, self.verdict)?;
        let dry_run = answer("load --dry-run")?;
        dry_run.ends_with(self.dry_run)?;
        check_words(dry_run.out, self.words)?;
        let refused = dry_run.out.starts_with("refused ");
        ensure!(refused == (self.dry_run != 0), "it begins: {}", dry_run.out);
        check_words(dry_run.err, self.dry_run_says())?;
        let dry_run = answer("load --dry-run --json")?;
        dry_run.ends_with(self.dry_run)?;
        let report = document(dry_run.out)?;
        self.judges(&report, self.dry_run_verdict())?;
        let kind = report.pointer("/error/kind").and_then(Value::as_str);
        let expected = (self.dry_run == 4).then_some("machine");
        ensure!(kind == expected, "an error of kind {kind:?}: {report:#}");
        ensure!(
            report.pointer("/load/kernel/size").is_some(),
            "the report is not whole: {report:#}"
        );
        let load = answer("load")?;
        load.ends_with(self.load)?;
        ensure!(
            load.out.is_empty() == (self.load != 0),
            "a load prints {:?}",
            load.out
        );
        Ok(())
    }

    /// How `status` begins.
    fn heading(&self) -> Result<&'static str> {
        Ok(match self.verdict {
            "ok" => "possible",
            "unknown" => "possible as far as can be known: ",
            "refused" => "not possible: ",
            other => return Err(anyhow!("{other} is no verdict")),
        })
    }

    /// The verdict of a dry run, which knows the kernel to load.
    fn dry_run_verdict(&self) -> &'static str {
        if self.dry_run == 0 {
            self.verdict
        } else {
            "refused"
        }
    }

    /// The words of a dry run on stderr.
    fn dry_run_says(&self) -> &'static [&'static str] {
        match self.dry_run_verdict() {
            "ok" => &[],
            "unknown" => &["ukexec: warning: "],
            _ => &["ukexec: cannot load "],
        }
    }

    /// Expects this `verdict` on the condition in `report`.
    fn judges(&self, report: &Value, verdict: &str) -> Result<()> {
        let panic = self.id == "crash-memory";
        let conditions = report.pointer("/preflight").and_then(Value::as_array);
        let mut verdicts = conditions
            .into_iter()
            .flatten()
            .filter(|it| it["id"] == self.id && it["panic"] == panic)
            .map(|it| &it["verdict"]);
        ensure!(
            verdicts.next().is_some_and(|found| found == verdict),
            "expected {} to be {verdict}: {report:#}",
            self.id
        );
        Ok(())
    }
}

/// Debian 12's kernel, to which seven things happen.
fn with_the_call(stand: &Stand) -> Result<()> {
    let linux = kernel(Target::X86_64)?;
    let unsigned = stand.file("unsigned", without_signature(&linux)?)?;
    let restrict = compile(stand, "restrict", &["-static"])?;
    let first = FirstKernel::new(&format!(
        r#"{ASK}
rmdir /run
say unrecorded=$(ukexec load $load 2>&1 >/dev/null | grep note:)
run ukexec unload
mkdir /run
ask fine env
say named=$(ukexec status)
say hidden=$(/restrict nobody ukexec status)
say folder=$(stat -c '%a %u' /run/ukexec) file=$(stat -c '%a %u' /run/ukexec/load.json)
ask ENOSYS /restrict ENOSYS
ask EPERM /restrict EPERM
ask no-right /restrict no-right
ask nobody /restrict nobody
ukexec exec 2>/tmp/err
say exec=$? $(grep -v warning: /tmp/err)
run ukexec unload
say left=$(ls -A /run/ukexec)
ukexec exec --force
say forced=$?
plain=$load
load="--panic $plain"
ask no-memory env
load=$plain
mv /unsigned /vmlinuz
echo integrity > /sys/kernel/security/lockdown
ask locked env
"#
    ))
    .holding("vmlinuz", &linux)
    .holding("unsigned", &unsigned)
    .holding("restrict", &restrict);
    let serial = boot(stand, &linux, &first, "")?;
    for expected in [
        Expected {
            name: "fine",
            id: "call",
            verdict: "ok",
            words: &[],
            dry_run: 0,
            load: 0,
        },
        Expected {
            name: "ENOSYS",
            id: "call",
            verdict: "refused",
            words: &["kexec_file_load"],
            dry_run: 4,
            load: 4,
        },
        // The kernel behind the filter may be anything.
        Expected {
            name: "EPERM",
            id: "call",
            verdict: "unknown",
            words: &["seccomp filter"],
            dry_run: 0,
            load: 4,
        },
        Expected {
            name: "no-right",
            id: "right",
            verdict: "refused",
            words: &["CAP_SYS_BOOT"],
            dry_run: 4,
            load: 4,
        },
        Expected {
            name: "nobody",
            id: "right",
            verdict: "refused",
            words: &["CAP_SYS_BOOT"],
            dry_run: 4,
            load: 4,
        },
        Expected {
            name: "locked",
            id: "lockdown",
            verdict: "unknown",
            words: &["locked down"],
            dry_run: 4,
            load: 4,
        },
        Expected {
            name: "no-memory",
            id: "crash-memory",
            verdict: "refused",
            words: &["crashkernel="],
            dry_run: 4,
            load: 4,
        },
    ] {
        expected.check(&serial)?;
    }
    recorded(&serial)
}

/// `status` names what was loaded, to root; `exec` boots nothing by the way.
fn recorded(serial: &Serial) -> Result<()> {
    let says =
        |tag: &str, words: &[&str]| check_words(serial.value(&format!("{TAG}{tag}="))?, words);
    says("unrecorded", &["ukexec: note: ", "/run/ukexec"])?;
    let named = "another tool may have replaced it since";
    let calls = "calls kexec_file_load yes, kexec_load yes";
    says("named", &["loaded vmlinuz, Linux 6.1.", named, calls])?;
    says("hidden", &["loaded; root can see what"])?;
    says("folder", &["700 0 file=600 0"])?;
    says("exec", &["1 ukexec: systemd does not run", "--force"])?;
    serial.expect(&format!("{TAG}left="), "")?;
    serial.expect(&format!("{TAG}forced="), "4")
}

/// Debian 13's kernel, which may load once, and has memory for a crash kernel.
fn limit_and_crash_memory(stand: &Stand) -> Result<()> {
    let linux = newer_kernel()?;
    let first = FirstKernel::new(&format!(
        r#"{ASK}
limit=/proc/sys/kernel/kexec_load_limit_reboot
echo 1 > $limit
for time in 1 2 3 4 5 6 7 8 9 10; do ukexec status >/dev/null || say failed; done
ukexec load --dry-run $load >/dev/null || say failed
say before=$(cat $limit)
run ukexec load $load
say behind=$(cat $limit)
ask used-up env
load="--panic $load"
ask memory env
say crash_loaded=$(cat /sys/kernel/kexec_crash_loaded)
"#
    ))
    .holding("vmlinuz", &linux);
    let serial = boot(stand, &linux, &first, "crashkernel=256M")?;
    serial.expect(&format!("{TAG}before="), "1")?;
    serial.expect(&format!("{TAG}behind="), "0")?;
    for expected in [
        Expected {
            name: "used-up",
            id: "limit",
            verdict: "refused",
            words: &["kexec_load_limit_reboot"],
            dry_run: 4,
            load: 4,
        },
        Expected {
            name: "memory",
            id: "crash-memory",
            verdict: "ok",
            words: &[],
            dry_run: 0,
            load: 0,
        },
    ] {
        expected.check(&serial)?;
    }
    serial.expect(&format!("{TAG}crash_loaded="), "1")
}

/// Linux as a program of this machine, whose root is a folder of the stand.
fn without_the_call(stand: &Stand) -> Result<()> {
    let linux = kernel(Target::X86_64)?;
    let first = FirstKernel::new(&format!("{ASK}\nask absent env\n")).holding("vmlinuz", &linux);
    let root = first.root(stand)?;
    let preloaded = compile(stand, "xstate", &["-shared", "-fPIC"])?;
    let machine = Tool::new(user_mode_linux()?)
        .env("LD_PRELOAD", preloaded)
        .env("TMPDIR", stand.path(""))
        .arg(format!("uml_dir={}", stand.path("uml").display()))
        .args(["mem=512M", "rootfstype=hostfs", "rw", "init=/init"])
        .arg(format!("rootflags={}", root.display()))
        .args(["con=null", "con0=null,fd:1", "quiet", "panic=-1"]);
    let serial = qemu::run(machine, TIME_LIMIT, None)?;
    Expected {
        name: "absent",
        id: "call",
        verdict: "refused",
        words: &["kexec_file_load is not in this kernel"],
        dry_run: 4,
        load: 4,
    }
    .check(&serial)
}

fn boot(stand: &Stand, linux: &Path, first: &FirstKernel<'_>, cmdline: &str) -> Result<Serial> {
    Boot {
        machine: Machine::X86_64,
        kernel: linux,
        initrd: &first.initrd(stand)?,
        cmdline: &Machine::X86_64.cmdline(cmdline),
        time_limit: TIME_LIMIT,
        shown_as: None,
    }
    .run()
}

/// Returns the kernel `linux` as it was before somebody signed it: its headers name no certificates.
fn without_signature(linux: &Path) -> Result<Vec<u8>> {
    // PE format, "Optional Header Data Directories": the fifth, of PE32+.
    let edited = Edited(read(linux)?);
    let directory = edited.optional()? + 112 + 4 * 8;
    Ok(edited.with(directory, &[0; 8])?.0)
}

/// Compiles `xtask/guest/NAME.c`.
fn compile(stand: &Stand, name: &str, options: &[&str]) -> Result<PathBuf> {
    let source = workspace::root().join(format!("xtask/guest/{name}.c"));
    let output = stand.path(name);
    Tool::new("gcc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg(source)
        .arg("-o")
        .arg(&output)
        .run()?;
    Ok(output)
}
