//! A worker that was taken over gets nowhere, and nothing is done with its image.
//!
//! Needs feature `escape`, which makes workers that can be told to try.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use expect_test::{Expect, expect};

const IMAGE: &str = "image.efi";

/// Has a worker try to get out in this `way` while it shall unfold an image, and
/// compares what the parent says. Nothing may be left behind.
fn check(way: &str, expected: Expect) {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(IMAGE), b"MZ").expect("room for the image");
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    command
        .current_dir(dir)
        .args(args)
        .env("UKEXEC_ESCAPE", way);
    command.output().expect("ukexec runs")
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
        ukexec: the worker cannot be trusted: it names "Done" that nobody asked for in this way; nothing was done with its answer
    "#]],
    );
    check(
        "lie: spans",
        expect![[r#"
        ukexec: the worker cannot be trusted: it names bytes 0..1 of source 7, which has None; nothing was done with its answer
    "#]],
    );
}
