//! The parent: starts workers that try something, and looks how they end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use ukexec_sandbox::{Channel, Ending, Worker, spawn};

use crate::attempts::{ENDLESS, LIMITS, SHORT};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("forbidden_attempts_end_the_worker", forbidden_attempts),
    ("attempts_are_harmless_in_themselves", harmless_attempts),
    ("all_system_calls_but_the_listed_end_the_worker", all_calls),
    ("nothing_was_created_or_removed", nothing_was_done),
    ("permitted_attempts_return", permitted_attempts),
    (
        "limits_and_faults_have_their_own_endings",
        limits_and_faults,
    ),
    ("a_worker_computes_as_usual", a_worker_computes),
    ("a_worker_cannot_write_too_much", output_is_limited),
    ("stray_descriptors_are_reported", stray_descriptors),
    ("dropping_a_worker_reaps_it", dropping_reaps),
    ("killing_a_worker_is_its_ending", killing_ends),
    ("a_worker_that_stays_is_not_waited_for", waiting_ends),
    ("a_killed_parent_takes_its_worker_along", killed_parent),
    (
        "a_parent_that_is_gone_at_once_leaves_no_worker",
        quick_parent,
    ),
    ("a_confined_worker_starts_within_20_ms", start_is_quick),
];

/// Attempts that must end a worker, and may be tried without a sandbox.
const FORBIDDEN: &[&str] = &[
    "open a file",
    "look at a file",
    "list a folder",
    "connect over TCP",
    "make a UDP socket",
    "connect to an abstract socket",
    "make a socket pair",
    "start a program",
    "become a program",
    "start a thread",
    "map executable memory",
    "make memory executable",
    "look for the parent with a signal",
    "signal itself",
    "read the parent's memory",
    "take the parent's descriptors",
    "look at a limit",
    "duplicate a descriptor at a number of its choice",
];

const SYS: Ending = Ending::Killed(Signal::SYS.as_raw());
const ABORT: Ending = Ending::Killed(Signal::ABORT.as_raw());
/// An attempt returned and reported its finding.
const RETURNED: Ending = Ending::Exited(3);

fn forbidden_attempts() {
    for attempt in FORBIDDEN {
        check(attempt, SYS);
    }
    // Not to be tried without a sandbox.
    for attempt in ["trace the parent", "abort the parent"] {
        check(attempt, SYS);
    }
    // seccomp looks at the number and not at what the kernel makes of it.
    for call in [libc::SYS_getpid | X32, -1] {
        check(&call.to_string(), SYS);
    }
}

fn harmless_attempts() {
    for attempt in FORBIDDEN {
        let (found, ending) = run("open", attempt, "nobody-listens-here");
        assert_eq!(ending, RETURNED, "{attempt}");
        assert!(found.is_some(), "{attempt}");
    }
}

/// With zeros as arguments, so that a condition on them counts as well.
fn all_calls() {
    let exempt = |call: &i64| cfg!(target_arch = "x86_64") && PROBES.contains(call);
    for call in (0..600).filter(|call| !LISTED.contains(call) && !exempt(call)) {
        check(&call.to_string(), SYS);
    }
}

fn nothing_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let (there, new) = (dir.path().join("there"), dir.path().join("new"));
    fs::write(&there, "").unwrap();
    for (attempt, path) in [("create a file", &new), ("remove a file", &there)] {
        let (found, ending) = run("strict", attempt, path.to_str().unwrap());
        assert_eq!((found, ending), (None, SYS), "{attempt}");
    }
    assert!(there.exists() && !new.exists());
}

fn permitted_attempts() {
    for (attempt, expected) in [
        ("make memory read-only", "0"),
        ("panic", "true"),
        ("use up all memory and give it back", "done"),
        // EBADF: there is nothing behind the number.
        ("write to a descriptor it was not given", "-9"),
        (
            "try to allocate beyond the limit",
            "memory allocation failed because the memory allocator returned an error",
        ),
    ] {
        let (found, ending) = run("strict", attempt, "");
        assert_eq!(found.as_deref(), Some(expected), "{attempt}");
        assert_eq!(ending, RETURNED, "{attempt}");
    }
}

fn limits_and_faults() {
    check("allocate beyond the limit", ABORT);
    check("recurse for ever", ABORT);
    check("abort", ABORT);
    check("exit", Ending::Exited(7));
    let start = Instant::now();
    check(ENDLESS, Ending::Killed(Signal::XCPU.as_raw()));
    assert!(start.elapsed() >= Duration::from_secs(SHORT.cpu_seconds) / 2);
}

fn a_worker_computes() {
    let (worker, channel) = confined("compute");
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(&[7; 5000]).unwrap();
    let output = memfd();
    channel
        .send(b"begin", &[input.as_fd(), output.as_fd()])
        .unwrap();
    let back = channel.receive(LIMITS).unwrap().unwrap();
    assert_eq!(back.frame, b"output");
    assert_eq!(text(&channel).as_deref(), Some("5007 1048576 5000"));
    assert_eq!(worker.wait().unwrap(), RETURNED);
    let [same] = <[_; 1]>::try_from(back.descriptors).unwrap();
    let mut written = [0; 5100];
    File::from(same).read_exact_at(&mut written, 0).unwrap();
    assert_eq!((written[99], written[100], written[5099]), (0, 7, 7));
    assert_eq!((&output).stream_position().unwrap(), 0);
}

fn output_is_limited() {
    let (worker, channel) = confined("write too much");
    channel.send(b"begin", &[memfd().as_fd()]).unwrap();
    assert_eq!(text(&channel), None);
    let ending = worker.wait().unwrap();
    assert_eq!(ending, Ending::Killed(Signal::XFSZ.as_raw()));
}

fn stray_descriptors() {
    let file = tempfile::tempfile().unwrap();
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    for how in ["strict", "lenient"] {
        let (_worker, channel) = start(how, "exit", "");
        let said = text(&channel).unwrap();
        assert!(said.contains("left open for it"), "{how}: {said}");
    }
    fcntl_setfd(&file, FdFlags::CLOEXEC).unwrap();
    let (_worker, channel) = start("lenient", "exit", "");
    assert_eq!(text(&channel).as_deref(), Some("[]"));
}

fn dropping_reaps() {
    let (worker, channel) = confined("wait for ever");
    let id = worker.id();
    assert!(!is_gone(id));
    drop(worker);
    assert!(!fs::exists(format!("/proc/{id}")).unwrap());
    assert!(channel.receive(LIMITS).unwrap().is_none());
}

fn killing_ends() {
    let (worker, _channel) = confined("wait for ever");
    let ending = worker.kill().unwrap();
    assert_eq!(ending, Ending::Killed(Signal::KILL.as_raw()));
}

fn waiting_ends() {
    let limit = Duration::from_millis(20);
    // The channel stays open, which it waits at.
    let (worker, _channel) = confined("wait for ever");
    let id = worker.id();
    let ending = worker.wait_or_kill(limit).unwrap();
    assert_eq!(ending, Ending::Killed(Signal::KILL.as_raw()));
    assert!(is_gone(id));
    let (worker, channel) = confined("wait for ever");
    drop(channel);
    let ending = worker.wait_or_kill(100 * limit).unwrap();
    assert!(matches!(ending, Ending::Exited(_)), "{ending}");
}

fn killed_parent() {
    let (mut parent, id) = start_middle("stay");
    assert!(!is_gone(id));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(becomes_gone(id));
}

/// The worker has hardly begun when its parent ends, now before and now after
/// it asked to end with it.
fn quick_parent() {
    for _ in 0..20 {
        let (mut parent, id) = start_middle("go");
        parent.wait().unwrap();
        assert!(becomes_gone(id));
    }
}

fn start_is_quick() {
    let quickest = (0..50).map(|_| {
        let start = Instant::now();
        let (worker, channel) = confined("exit");
        let time = start.elapsed();
        drop((worker, channel));
        time
    });
    let mut times: Vec<Duration> = quickest.collect();
    times.sort();
    println!("start and confine: {:?} to {:?}", times[0], times[49]);
    assert!(times[0] < Duration::from_millis(20));
}

/// A parent that is itself a child: starts a worker that would run for ever,
/// says which, and stays or goes without a farewell.
pub(crate) fn middle(how: &str) -> ExitCode {
    let (worker, channel) = start("open", "loop for ever", "");
    if how == "stay" {
        text(&channel).unwrap();
    }
    println!("{}", worker.id());
    if how == "stay" {
        loop {
            std::thread::park();
        }
    }
    std::process::exit(0)
}

fn start_middle(how: &str) -> (std::process::Child, u32) {
    let mut parent = Command::new("/proc/self/exe")
        .args(["middle", how])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (parent, line.trim().parse().unwrap())
}

/// Runs an attempt in a sandbox without a gap.
fn check(attempt: &str, expected: Ending) {
    let (found, ending) = run("strict", attempt, "nobody-listens-here");
    assert_eq!(ending, expected, "{attempt}: {found:?}");
    assert_eq!(found, None, "{attempt}");
}

fn run(how: &str, attempt: &str, argument: &str) -> (Option<String>, Ending) {
    let (worker, channel) = start(how, attempt, argument);
    let confined = if how == "open" { "open" } else { "confined" };
    assert_eq!(text(&channel).as_deref(), Some(confined));
    (text(&channel), worker.wait().unwrap())
}

fn confined(attempt: &str) -> (Worker, Channel) {
    let (worker, channel) = start("strict", attempt, "");
    assert_eq!(text(&channel).as_deref(), Some("confined"));
    (worker, channel)
}

fn start(how: &str, attempt: &str, argument: &str) -> (Worker, Channel) {
    spawn(&["worker", how, attempt, argument].map(OsStr::new)).unwrap()
}

fn text(channel: &Channel) -> Option<String> {
    let message = channel.receive(LIMITS).unwrap()?;
    Some(String::from_utf8(message.frame).unwrap())
}

fn memfd() -> File {
    memfd_create("output", MemfdFlags::CLOEXEC).unwrap().into()
}

fn becomes_gone(id: u32) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        if is_gone(id) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// No such process, or one that only waits for its new parent to look.
fn is_gone(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// `uretprobe` and `uprobe` of x86_64 go past every filter: they are what the
/// kernel's own probes call, and fail for anyone else.
const PROBES: [i64; 2] = [335, 336];
/// The bit that makes a number one of x32's, on x86_64.
const X32: i64 = 0x4000_0000;

/// System calls that a worker may make with any arguments, or with zeros.
const LISTED: [i64; 31] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_close,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
];
