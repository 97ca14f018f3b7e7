//! Goldens: each kind of document and each command's texts, byte by byte.
//!
//! `golden/NAME.txt` holds a session: what was called, what came out on both
//! streams, and how it ended. A document is in `golden/NAME.json` instead.
//! `UPDATE_EXPECT=1` rewrites them. Nothing here needs root or a network.

use std::fmt::Write as _;
use std::path::Path;

use expect_test::{ExpectFile, expect_file};
use serde_json::Value;

use crate::machine::{Outcome, kinds};
use crate::materials::materials;
use crate::{command, run, streams, workspace};

/// Calls that differ in their options only.
type Runs<'a> = &'a [&'a str];

/// Options that keep the machine's keys and parsers out of a result.
const OFF: &str = "--verify=off --config=ukexec.conf --parsers-dir=none";
const AUTO: &str = "--verify=auto --config=ukexec.conf --parsers-dir=none";
const REQUIRE: &str = "--verify=require --config=ukexec.conf --parsers-dir=none";

/// Compares the session of `runs` with `golden/NAME.txt`, and the document of the
/// one with `--json`, if there is one, with `golden/NAME.json`.
pub(crate) fn check(name: &str, runs: Runs<'_>) {
    session(name, runs, str::to_owned);
}

/// As [`check`], of a stdout from which `fixed` takes the machine away.
fn session(name: &str, runs: Runs<'_>, fixed: impl Fn(&str) -> String) {
    let dir = materials();
    let mut session = String::new();
    let mut documents = 0;
    for call in runs {
        let args = call.replace("OFF", OFF).replace("REQUIRE", REQUIRE);
        let args = args.replace("AUTO", AUTO);
        let args: Vec<&str> = args.split_whitespace().collect();
        let output = run(dir.path(), &args);
        let result = Outcome::of(&output).without_machine(dir.path(), &args);
        let mut stdout = fixed(&result.stdout);
        if args.contains(&"--json") {
            documents += 1;
            let _document: Value = serde_json::from_str(&stdout).expect("it is one document");
            let file = format!("{name}.json");
            golden(&file).assert_eq(&stdout);
            stdout = format!("({file})\n");
        }
        let stderr = result.stderr.lines();
        let stderr: String = stderr.map(|line| format!("stderr: {line}\n")).collect();
        let code = result.code;
        write!(
            session,
            "$ ukexec {call}\n{stdout}{stderr}exit code {code}\n\n"
        )
        .expect("a text has room");
    }
    assert!(documents <= 1, "{name}.json is for one document");
    golden(&format!("{name}.txt")).assert_eq(&session);
}

fn golden(file: &str) -> ExpectFile {
    expect_file![workspace("crates/cli/tests/golden").join(file)]
}

#[test]
fn help() {
    let commands = [
        "inspect", "unfold", "load", "entries", "exec", "reboot", "unload", "status", "attach",
        "detach", "parser",
    ];
    let of_parser = [
        "parser new",
        "parser check",
        "parser run",
        "parser disasm",
        "parser pack",
        "parser helpers",
    ];
    let commands = [&commands[..], &of_parser].concat();
    let commands = commands.iter().chain([&""]);
    for (name, option) in [("help", "--help"), ("help-short", "-h")] {
        let runs = commands.clone();
        let runs: Vec<String> = runs.map(|it| format!("{it} {option}")).collect();
        check(name, &runs.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn usage() {
    check(
        "usage",
        &[
            "",
            "boot",
            "inspect",
            "inspect uki.efi --verify=always",
            "inspect uki.efi --cmdline=a --reuse-cmdline",
            "inspect uki.efi --max-output=1T",
            "inspect uki.efi --max-insns=20MiB",
            "inspect uki.efi --max-stages=5G",
            "unfold uki.efi",
            "load - --initrd=-",
            "load uki.efi --companions=",
            "parser run - --image=-",
            "attach uki.efi",
            "parser",
            "parser run uki.bpf.o",
            "parser new a/box",
            "parser new -- -box",
        ],
    );
}

#[test]
fn inspect() {
    check(
        "inspect",
        &[
            "inspect uki.efi OFF",
            "inspect uki.efi OFF --hash",
            "inspect uki.efi OFF --json",
            "inspect vmlinuz OFF",
            "inspect zboot.efi OFF",
            "inspect envelope.elf OFF",
            "inspect profiles.efi OFF --profile=rescue --append=debug",
            "inspect profiles.efi OFF --profile=3",
            "inspect uki.efi OFF --no-embedded-parser --parser=zboot.bpf.o",
            "inspect none.efi OFF",
        ],
    );
}

/// A layer in a layer, and parts that are missing.
#[test]
fn inspect_nested() {
    check(
        "inspect-nested",
        &[
            "inspect nested.efi OFF",
            "-v inspect nested.efi OFF",
            "inspect nested.efi OFF --json --hash",
        ],
    );
}

/// Documents and texts of sections, and of profiles.
#[test]
fn inspect_sections() {
    check(
        "inspect-sections",
        &[
            "inspect profiles.efi OFF --sections",
            "inspect cut-uki.efi OFF --sections",
            "inspect profiles.efi OFF --sections --hash --json",
        ],
    );
}

/// The facts that are known of an image that is damaged, or refused.
#[test]
fn inspect_damaged() {
    check(
        "inspect-damaged",
        &[
            "inspect cut-uki.efi AUTO --efivars=none --sections --hash",
            "inspect cut-certificates.efi AUTO --efivars=none --sections --hash",
            "inspect changed.efi REQUIRE --trust=own.der --sections --hash",
            "inspect cut-certificates.efi AUTO --efivars=none --json",
        ],
    );
}

/// Compares one stream of each of `calls` on screens of three widths with
/// `golden/NAME-WIDTH.txt`: no line passes them but command lines and digests, which
/// programs look for.
fn widths(name: &str, calls: Runs<'_>, stream: fn(Outcome) -> String) {
    let dir = materials();
    for width in [60, 100, 200] {
        let mut session = String::new();
        for call in calls {
            let args = format!("{call} {OFF}");
            let args: Vec<&str> = args.split_whitespace().collect();
            let mut command = command(dir.path(), &args);
            let output = command.env("COLUMNS", width.to_string()).output();
            let result = Outcome::of(&output.expect("ukexec runs"));
            let text = stream(result.without_machine(dir.path(), &args));
            let is_whole = |line: &&str| {
                let line = line.trim_start();
                let whole = ["cmdline", "profiles", "1 rescue", "sha256", "ukexec:"];
                whole.iter().any(|begin| line.starts_with(begin))
            };
            let mut lines = text.lines().filter(|line| !is_whole(line));
            let wide = lines.find(|line| line.chars().count() > width);
            assert_eq!(wide, None, "{width} columns");
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{200b}', '\t', '\r', '\u{9b}']));
            write!(session, "$ ukexec {call}\n{text}\n").expect("a text has room");
        }
        golden(&format!("{name}-{width}.txt")).assert_eq(&session);
    }
}

#[test]
fn inspect_widths() {
    widths(
        "inspect",
        &[
            "inspect uki.efi --hash",
            "inspect nested.efi --sections",
            "inspect profiles.efi --profile=rescue",
            "inspect hostile.efi --sections",
            "inspect cut.efi",
            "inspect cut-uki.efi",
            "inspect addon.efi",
            "inspect unknown",
            "inspect vmlinuz",
        ],
        |result| result.stdout,
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load_widths() {
    widths(
        "load",
        &[
            "load uki.efi --dry-run",
            "load profiles.efi --dry-run --profile=rescue --initrd=initrd --append=debug",
            "load narrow.efi --dry-run",
        ],
        |result| result.stdout,
    );
}

#[test]
fn fault_widths() {
    widths(
        "faults",
        &[
            "inspect image --parser=faults.bpf.o",
            "inspect stack --parser=faults.bpf.o",
            "inspect map --parser=faults.bpf.o",
            "inspect trap --parser=faults.bpf.o",
            "inspect endless --parser=faults.bpf.o --max-insns=10k",
        ],
        |result| result.stderr,
    );
}

/// No line passes the screen, on any machine.
#[test]
fn status_widths() {
    for width in [60, 100, 200] {
        let mut command = command(Path::new("/"), &["status"]);
        let output = command.env("COLUMNS", width.to_string()).output();
        let [stdout, _] = streams(&output.expect("ukexec runs"));
        assert!(stdout.starts_with("load "), "{stdout}");
        let wide = stdout.lines().find(|line| line.chars().count() > width);
        assert_eq!(wide, None, "{width} columns");
    }
}

#[test]
fn measure() {
    check(
        "measure",
        &[
            "inspect uki.efi OFF --measure",
            "inspect profiles.efi OFF --measure --profile=1 --cmdline=debug",
            "inspect vmlinuz OFF --measure",
            "-v inspect uki.efi OFF --bank=sha384 --bank=sha256",
            "inspect uki.efi OFF --json --measure --hash",
        ],
    );
}

/// Files beside an image.
#[test]
fn companions() {
    check(
        "companions",
        &[
            "inspect uki.efi OFF --smbios=none --companions=beside.d,loader",
            "inspect uki.efi OFF --smbios=none --companions=beside.d --measure",
            "inspect uki.efi AUTO --smbios=none --companions=beside.d",
            "inspect uki.efi OFF --smbios=none --companions=absent",
            "inspect uki.efi OFF --smbios=none --companions=beside.d,loader --json",
        ],
    );
}

/// A machine that booted the image, and machines that did not.
#[test]
fn against() {
    check(
        "against",
        &[
            "inspect uki.efi OFF --against=ready.txt",
            "inspect uki.efi OFF --against=boot.log",
            "inspect uki.efi OFF --against=boot.log --bank=sha384 --cmdline=debug",
            "inspect uki.efi OFF --against=ready.txt --panic --cmdline=crashkernel=1M",
            "inspect cut-uki.efi OFF --measure",
            "inspect uki.efi OFF --against=uki.efi",
            "inspect uki.efi OFF --against=initrd",
            "inspect vmlinuz OFF --against=ready.txt",
            "inspect uki.efi OFF --against=missing",
            "inspect profiles.efi OFF --against=ready.txt --json",
        ],
    );
}

#[test]
fn unfold() {
    check(
        "unfold",
        &[
            "unfold uki.efi OFF -o parts",
            "unfold uki.efi OFF -o parts",
            "-v unfold uki.efi OFF -o verbose --hash --initrd=initrd --append=debug",
            "unfold zboot.efi OFF -o zboot",
            "unfold narrow OFF -o narrow-parts",
            "unfold uki.efi OFF -o document --hash --json",
        ],
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load() {
    check(
        "load",
        &[
            "load uki.efi OFF --dry-run",
            "load uki.efi OFF --dry-run --append=debug --initrd=initrd",
            "load profiles.efi OFF --dry-run --panic --profile=rescue --cmdline=a",
            "load uki.efi OFF --dry-run --json --hash --append=debug --initrd=initrd",
        ],
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load_expanded() {
    check(
        "load-expanded",
        &[
            "load vmlinuz OFF --dry-run --initrd=packed --expand-initrd",
            "load vmlinuz OFF --dry-run --initrd=packed --expand-initrd --max-output=400",
            "load vmlinuz OFF --dry-run --initrd=packed --expand-initrd --json",
        ],
    );
}

#[test]
fn entries() {
    let root = "--root=system";
    check(
        "entries",
        &[
            &format!("entries {root}"),
            &format!("entries {root} --json"),
            "entries --root=none",
            "entries --esp=absent",
        ],
    );
}

/// An image that a boot entry names.
#[cfg(target_arch = "x86_64")]
#[test]
fn load_entry() {
    let esp = "--esp=system/run/boot-loader-entries --efivars=none";
    check(
        "load-entry",
        &[
            &format!("load --entry=old {esp} OFF --dry-run --smbios=none"),
            &format!("load --entry=uki {esp} OFF --dry-run --smbios=none"),
            &format!("load --entry=bad {esp} OFF --dry-run --smbios=none"),
            &format!("load --entry=nobody {esp} OFF --dry-run"),
            "load --entry=nobody --esp=none OFF --dry-run",
            &format!("inspect --entry=debian@dbg {esp} OFF"),
            &format!("load --entry=old {esp} OFF --dry-run --smbios=none --json"),
        ],
    );
}

/// A failure, and beside it what would have been loaded.
#[cfg(target_arch = "x86_64")]
#[test]
fn load_refused() {
    check(
        "load-refused",
        &[
            "load narrow.efi OFF --dry-run",
            "load zboot.efi OFF --dry-run",
            "load profiles.efi OFF --dry-run --profile=3",
            "load profiles.efi OFF --profile=3",
            "load uki.efi OFF --dry-run --profile=3",
            "load narrow.efi OFF --dry-run --json --initrd=initrd --cmdline=debug",
        ],
    );
}

/// A failure within a parser.
#[test]
fn failure() {
    check(
        "failure",
        &[
            "inspect uki.efi OFF --max-insns=100",
            "inspect cut.efi OFF",
            "unfold nested.efi OFF -o parts --max-stages=1",
            "unfold zboot.efi OFF -o parts --max-output=5",
            "unfold zboot.efi OFF -o parts --max-memory=4K",
            "inspect nested.efi OFF --max-insns=3000 --json",
        ],
    );
}

/// A failure of the second stage: what the first handed over is known.
#[test]
fn failure_behind_a_stage() {
    check(
        "failure-behind",
        &[
            "inspect broken.efi OFF --hash",
            "load broken.efi OFF --dry-run",
            "inspect broken.efi OFF --hash --json",
        ],
    );
}

/// Lines that a parser prints, and warnings of the stage.
#[test]
fn inspect_printed() {
    check(
        "inspect-printed",
        &[
            "inspect talks OFF --parser=test.bpf.o",
            "inspect talks OFF --parser=test.bpf.o --max-log-lines=1",
            "-vv inspect leaks OFF --parser=test.bpf.o",
            "inspect faults OFF --parser=test.bpf.o",
            "inspect talks OFF --parser=test.bpf.o --json",
        ],
    );
}

/// The ways in which a parser ends a run.
#[test]
fn faults() {
    check(
        "faults",
        &[
            "inspect image OFF --parser=faults.bpf.o",
            "inspect stack OFF --parser=faults.bpf.o",
            "inspect null OFF --parser=faults.bpf.o",
            "inspect map OFF --parser=faults.bpf.o",
            "inspect record OFF --parser=faults.bpf.o",
            "inspect trap OFF --parser=faults.bpf.o",
            "inspect leak OFF --parser=faults.bpf.o",
            "inspect endless OFF --parser=faults.bpf.o --max-insns=10k",
            "inspect leak OFF --parser=faults.bpf.o --max-memory=8K",
            "inspect prints OFF --parser=faults.bpf.o --max-log-lines=2",
            "inspect zboot.efi OFF --parser=zboot.bpf.o --max-output=5",
            "inspect uki.efi OFF --max-memory=10K",
            "inspect uki.efi OFF --max-stages=1",
            "inspect image OFF --parser=faults.bpf.o --json",
        ],
    );
}

/// Calls that fail, and traces.
#[test]
fn traces() {
    check(
        "traces",
        &[
            "parser run faults.bpf.o --image=failed",
            "parser run faults.bpf.o --image=failed --trace=calls",
            "parser run faults.bpf.o --image=image --trace-last=4",
            "parser run faults.bpf.o --image=endless --max-insns=10k --trace=calls --trace-limit=1K",
            "parser run faults.bpf.o --image=endless --max-insns=50 --trace-last=2 --trace-limit=300",
            "parser run faults.bpf.o --image=endless --trace-last=0",
            "parser run faults.bpf.o --image=failed --json",
        ],
    );
}

#[test]
fn signature_good() {
    check(
        "signature-good",
        &[
            "inspect own.efi REQUIRE --trust=own.der",
            "inspect chain.efi REQUIRE --trust=root.der --hash",
            "inspect chain.efi REQUIRE --trust=root.der --json",
        ],
    );
}

#[test]
fn signature_refused() {
    check(
        "signature-refused",
        &[
            "inspect own.efi REQUIRE --trust=root.der",
            "inspect unsigned.efi REQUIRE --trust=own.der",
            "unfold uki.efi REQUIRE --trust=own.der -o parts",
            "load uki.efi REQUIRE --trust=own.der --dry-run",
            "load zboot.efi REQUIRE --trust=own.der --dry-run",
            "inspect own.efi --verify=auto --efivars=none --trust=root.der",
            "inspect own.efi REQUIRE --trust=system --efivars=revoked",
            "inspect own.efi --verify=auto --efivars=revoked",
            "inspect own.efi REQUIRE --trust=none.der",
            "inspect own.efi REQUIRE --trust=initrd",
            "load own.efi REQUIRE --trust=root.der --dry-run --json",
        ],
    );
}

/// Who signed is known without a key.
#[test]
fn signature_signers() {
    check(
        "signature-signers",
        &[
            "inspect twice.efi AUTO --efivars=none",
            "inspect twice.efi AUTO --trust=own.der",
            "inspect twice.efi OFF",
            "unfold own.efi AUTO --efivars=none -o parts",
            "inspect twice.efi AUTO --trust=own.der --json",
        ],
    );
}

/// It takes no key to see that an image was changed after it was signed.
#[test]
fn signature_changed() {
    check(
        "signature-changed",
        &[
            "load changed.efi AUTO --efivars=none --dry-run",
            "load changed.efi AUTO --trust=own.der --dry-run",
            "unfold changed.efi AUTO --efivars=none -o parts",
            "unfold changed.efi OFF -o parts",
            "inspect changed.efi AUTO --efivars=none",
            "inspect changed.efi REQUIRE --trust=own.der",
            "inspect changed.efi AUTO --efivars=none --json",
        ],
    );
}

/// No signature covers what the caller gives.
#[test]
fn signature_uncovered() {
    check(
        "signature-uncovered",
        &[
            "unfold own.efi AUTO --trust=own.der --initrd=initrd --append=quiet -o parts",
            "unfold own.efi REQUIRE --trust=own.der --cmdline=quiet -o parts2",
            "unfold own.efi AUTO --efivars=none --initrd=initrd -o parts3",
        ],
    );
}

/// Each verdict that is not a good signature.
#[test]
fn signature_verdicts() {
    for (name, run) in [
        ("allowed", "own.efi --trust=system --efivars=allowed"),
        ("untrusted", "own.efi --trust=root.der --efivars=none"),
        ("bad", "sha1-digest.efi --trust=root.der --efivars=none"),
        ("revoked", "own.efi --trust=system --efivars=revoked-hash"),
        (
            "revoked-image",
            "own.efi --trust=system --efivars=revoked-image",
        ),
    ] {
        let name = format!("signature-{name}");
        check(&name, &[&format!("inspect {run} AUTO --json")]);
    }
}

#[test]
fn edit() {
    check(
        "edit",
        &[
            "attach uki.efi uki.bpf.o -o out.efi",
            "attach out.efi uki.bpf.o -o again.efi",
            "inspect out.efi OFF",
            "detach out.efi -o back.efi",
            "detach back.efi -o again.efi",
            "attach own.efi uki.bpf.o -o out.efi",
            "attach own.efi uki.bpf.o -o out.efi --drop-signature",
            "detach out.efi -o back.efi",
            "attach uki.efi refused-kfunc.bpf.o -o out.efi",
            "attach narrow uki.bpf.o -o out.efi",
            "attach uki.efi uki.bpf.o -o none",
            "attach uki.efi zboot.bpf.o -o none.efi",
            "inspect none.efi OFF",
            "attach uki.efi uki.bpf.o -o none.efi --max-insns=100",
            "attach uki.efi uki.bpf.o -o faulty.efi --max-insns=100 --force --no-sandbox",
        ],
    );
}

#[test]
fn printed_texts_name_who_acts() {
    let goldens = std::fs::read_dir(workspace("crates/cli/tests/golden")).expect("a folder");
    for golden in goldens {
        let path = golden.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        for word in ["told", "tells", "took", "comes to", "goes over", " 1 bytes"] {
            assert!(!text.contains(word), "{word}: {}", path.display());
        }
    }
}

/// The page of the documentation is the golden, but for the comment in it.
#[test]
fn parser_helpers() {
    let output = run(Path::new("/"), &["parser", "helpers"]);
    assert!(output.status.success(), "{output:?}");
    let [stdout, _] = streams(&output);
    let page = std::fs::read_to_string(workspace("docs/helpers.md")).expect("it is there");
    let paragraphs: Vec<&str> = page.split("\n\n").collect();
    let [title, comment, text @ ..] = paragraphs.as_slice() else {
        panic!("{page}");
    };
    assert!(comment.starts_with("<!--"), "{comment}");
    assert_eq!(stdout, [&[*title], text].concat().join("\n\n"));
}

/// The machine's own values are left out.
#[test]
fn status() {
    session(
        "status",
        &["status", "status --json"],
        |stdout| match serde_json::from_str(stdout) {
            Ok(document) => format!("{:#}\n", kinds(document)),
            Err(_) => stdout
                .lines()
                .map(|line| line.get(..14).unwrap_or(line).trim_end())
                .filter(|label| !label.is_empty())
                .map(|label| format!("{label}\n"))
                .collect(),
        },
    );
}
