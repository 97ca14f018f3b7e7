//! A worker that was taken over gets nowhere, and nothing is done with its image.
//!
//! Needs feature `escape`, which makes workers that try when they are asked to.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};

use crate::{command, folder};

const IMAGE: &str = "image.efi";

/// Has a worker try to get out in this `way` while it shall unfold an image, and
/// compares what the parent says. Nothing may be left behind.
fn check(way: &str, expected: Expect) {
    let dir = folder(&[(IMAGE, b"MZ")]);
    let output = run(dir.path(), way, &["unfold", IMAGE, "-o", "parts"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    expected.assert_eq(&String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = fs::read_dir(dir.path()).expect("it is there").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let output = run(dir.path(), way, &["load", IMAGE]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!Path::new("/tmp/ukexec-escaped").exists());
}

fn run(dir: &Path, way: &str, args: &[&str]) -> Output {
    let output = command(dir, args).env("UKEXEC_ESCAPE", way).output();
    output.expect("ukexec runs")
}

fn forbidden() -> Expect {
    expect![[r#"
        ukexec: the worker, which takes the image apart, made a system call that the sandbox forbids (SIGSYS); nothing was done with the image
    "#]]
}

#[test]
fn files_are_out_of_reach() {
    for way in ["open", "create", "remove", "list"] {
        check(way, forbidden());
    }
}

#[test]
fn the_network_is_out_of_reach() {
    for way in ["network", "connect"] {
        check(way, forbidden());
    }
}

#[test]
fn other_processes_are_out_of_reach() {
    for way in ["run", "thread"] {
        check(way, forbidden());
    }
}

#[test]
fn a_worker_that_breaks_is_told() {
    check(
        "abort",
        expect![[r#"
        ukexec: the worker, which takes the image apart, gave up, out of memory or with an error of its own (SIGABRT); nothing was done with the image
    "#]],
    );
    check(
        "memory",
        expect![[r#"
        ukexec: the worker, which takes the image apart, gave up, out of memory or with an error of its own (SIGABRT); nothing was done with the image
    "#]],
    );
    check(
        "hang-up",
        expect![[r#"
        ukexec: the worker, which takes the image apart, exited with code 77; nothing was done with the image
    "#]],
    );
}

#[test]
fn a_worker_that_sleeps_is_not_waited_for() {
    check(
        "sleep",
        expect![[r#"
        ukexec: the worker, which takes the image apart, has not answered after 1 seconds of waiting (--max-insns and --max-output give it more or less); nothing was done with the image
    "#]],
    );
}

#[test]
fn a_worker_that_lies_is_not_believed() {
    check(
        "lie: cuts",
        expect![[r#"
        ukexec: the worker cannot be trusted: it names "Looked" that nobody asked for in this way; nothing was done with its answer
    "#]],
    );
    check(
        "lie: outputs",
        expect![[r#"
        ukexec: the worker cannot be trusted: it names an output while it writes another; nothing was done with its answer
    "#]],
    );
    check(
        "lie: document",
        expect![[r#"
        ukexec: the worker cannot be trusted: it sends a report that is no page; nothing was done with its answer
    "#]],
    );
    check(
        "lie: hopeless",
        expect![[r#"
        ukexec: image.efi changed while it was read; try again when nothing writes to it
    "#]],
    );
    check(
        "lie: spans",
        expect![[r#"
        ukexec: the worker cannot be trusted: it names bytes 0..1 of source 7, which has None; nothing was done with its answer
    "#]],
    );
}

#[test]
fn a_page_that_cannot_be_is_not_laid_out() {
    for (way, expected) in [
        ("objection", "an objection that objects to nothing"),
        ("indent", "a report that takes too long to lay out"),
        ("columns", "a report that takes too long to lay out"),
        ("cells", "a report that takes too long to lay out"),
        ("map", "a report that takes too long to lay out"),
        (
            "colours",
            "a report of more than 2734080 bytes in 40 columns",
        ),
    ] {
        let dir = folder(&[(IMAGE, b"MZ")]);
        let output = run(dir.path(), &format!("lie: {way}"), &["load", IMAGE]);
        let expected = format!(
            "ukexec: the worker cannot be trusted: it sends {expected}; nothing was done with its \
             answer\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{way}");
        assert_eq!(output.status.code(), Some(1), "{way}");
        assert!(output.stdout.is_empty(), "{way}");
    }
}

/// The kinds of floods, and the parent's words about each.
const FLOODS: [(&str, &str); 18] = [
    ("log", "it sends more log than it may"),
    ("empty log", "it sends more log than it may"),
    ("long log", "it sends more log than it may"),
    (
        "nonsense",
        "it sends what makes no sense (unknown variant `",
    ),
    (
        "ranges",
        "it sends 131072 ranges to hash, where 65544 are all",
    ),
    (
        "padding",
        "it sends 18446744073709551615 bytes of padding to hash, where 7 are all",
    ),
    ("freed", "it names source 1 as freed, which is no output"),
    (
        "given freed",
        "it names source 0 as freed, which is no output",
    ),
    (
        "written",
        "it names source 1 as written, which is no output",
    ),
    (
        "progress",
        r#"it names "Progress" that nobody asked for in this way"#,
    ),
    ("outputs", "it names more outputs than any image needs"),
    ("outputs unread", "it names what it wants and does not take"),
    (
        "text",
        "it sends a report of more than 911360 bytes in 100 columns",
    ),
    ("document", "it sends a document of more than 911360 bytes"),
    (
        "warnings",
        "it sends warnings of 33554432 bytes, where 32768 are all",
    ),
    (
        "objections",
        "it sends objections of 4456448 bytes, where 8192 are all",
    ),
    (
        "cmdline",
        "it sends a command line of 65537 bytes, where 65536 are all",
    ),
    // The first ends it, and is cut.
    ("failures", ""),
];

/// By patience, this would take half an hour.
#[test]
fn a_worker_that_floods_is_ended_by_a_bound() {
    let dir = folder(&[(IMAGE, b"MZ")]);
    for (kind, expected) in FLOODS {
        for args in [&["load", IMAGE][..], &["unfold", IMAGE, "-o", "parts"]] {
            let start = Instant::now();
            let is_document = kind == "document";
            let args = [args, if is_document { &["--json"] } else { &[] }].concat();
            let output = run(dir.path(), &format!("flood: {kind}"), &args);
            assert!(start.elapsed() < Duration::from_secs(60), "{kind}");
            assert_eq!(output.status.code(), Some(1), "{kind}");
            assert_eq!(output.stdout.is_empty(), !is_document, "{kind}");
            assert!(output.stderr.len() < 1 << 20, "{kind}");
            let said = String::from_utf8(output.stderr).expect("text");
            let last = said.lines().last().unwrap_or_default();
            let start = match expected {
                "" => "ukexec: \\u{1b}\\n\\u{1b}".to_owned(),
                what => format!("ukexec: the worker cannot be trusted: {what}"),
            };
            assert!(last.starts_with(&start), "{kind}: {last:.200}");
        }
    }
}

#[test]
fn what_a_worker_says_is_one_line_each() {
    check(
        "lie: lines",
        expect![[r#"
        x\nukexec: loaded\u{202e}\u{2028}\u{1b}[2J\u{200b}
        ukexec: x\nukexec: loaded\u{202e}\u{2028}\u{1b}[2J\u{200b}
    "#]],
    );
    check(
        "lie: a NUL",
        expect![[r#"
        ukexec: the worker cannot be trusted: it sends a command line with a NUL at byte 5; nothing was done with its answer
    "#]],
    );
}

/// Starts a worker that logs more than a pipe holds, and reads nothing behind the
/// first byte that the parent prints until the worker is gone. Returns whether it
/// goes, and what is printed.
fn unread(way: &str) -> (bool, Output) {
    let dir = folder(&[(IMAGE, b"MZ")]);
    let mut command = command(dir.path(), &["-v", "unfold", IMAGE, "-o", "parts"]);
    command
        .env("UKEXEC_ESCAPE", way)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut parent = command.spawn().expect("ukexec runs");
    let log = parent.stderr.as_mut().expect("a pipe");
    log.read_exact(&mut [0]).expect("the worker's first line");
    let id = parent.id();
    let is_gone = || {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.expect("it waits for its reader").is_empty()
    };
    let start = Instant::now();
    while !is_gone() && start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(10));
    }
    (is_gone(), parent.wait_with_output().expect("it ends"))
}

#[test]
fn a_reader_that_is_slow_does_not_stop_the_clock() {
    let (gone, output) = unread("sleep behind a log");
    assert!(gone);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has not answered after 5 seconds"), "{said}");
    assert!(said.len() > 100_000);
}

#[test]
fn a_reader_that_is_slow_stops_no_worker() {
    let (gone, output) = unread("sleep for nobody");
    assert!(gone);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("ukexec: wrote 1 byte to parts\n"), "{said}");
    assert!(said.len() > 100_000);
}
