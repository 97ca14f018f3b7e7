//! Parsers that misbehave, embedded in an image: each is stopped, named in words, and leaves
//! nothing behind. See [`Stand::refuses`] for what a refusal must be.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::command::{Tool, said};
use crate::materials::{Stub, Target, stub};
use crate::stand::Stand;
use crate::uki::{Section, objcopy};
use crate::workspace;

use super::{Named, stock_kernel};

/// The memory of the budget and of the program itself, at most.
const MEMORY_LIMIT: u64 = 320 << 20;

pub(super) const CASES: &[Named] = &[
    Named::new("hostile/parser-loops", |stand| {
        check(stand, "LOOPS", &["--max-insns raises it", "hostile.bpf.c"])
    }),
    Named::new("hostile/parser-recurses", |stand| {
        check(stand, "RECURSES", &["recursion"])
    }),
    Named::new("hostile/parser-leaks", |stand| {
        check(stand, "LEAKS", &["not released"])
    }),
    Named::new("hostile/parser-puts-twice", |stand| {
        check(stand, "PUTS_TWICE", &["discarded by instruction"])
    }),
    Named::new("hostile/parser-uses-after-discard", |stand| {
        check(stand, "USES_AFTER_DISCARD", &["discarded by instruction"])
    }),
    Named::new("hostile/parser-hands-over-nothing", |stand| {
        check(
            stand,
            "HANDS_OVER_NOTHING",
            &["no kernel was handed over", "there is nothing in"],
        )
    }),
    Named::new("hostile/parser-hands-over-the-same", |stand| {
        check(stand, "HANDS_OVER_THE_SAME", &["no progress"])
    }),
    Named::new("hostile/parser-hands-over-only-an-initrd", |stand| {
        check(
            stand,
            "HANDS_OVER_ONLY_AN_INITRD",
            &["no kernel was handed over"],
        )
    }),
    Named::new("hostile/parser-reserves-without-end", |stand| {
        check(
            stand,
            "RESERVES_WITHOUT_END",
            &["no kernel was handed over"],
        )
    }),
    Named::new("hostile/parser-reads-outside", |stand| {
        check(stand, "READS_OUTSIDE", &["passes the end of the"])
    }),
    Named::new("hostile/parser-writes-to-the-image", |stand| {
        check(stand, "WRITES_TO_THE_IMAGE", &["read-only"])
    }),
    Named::new("hostile/parser-makes-up-addresses", |stand| {
        check(stand, "MAKES_UP_ADDRESSES", &["0x7fff00001000"])
    }),
    Named::new("hostile/parser-prints-without-end", |stand| {
        check(stand, "PRINTS_WITHOUT_END", &["budget"])
    }),
];

/// Embeds the parser that `define` selects and checks that `ukexec` stops it, saying `words`.
fn check(stand: &Stand, define: &str, words: &[&str]) -> Result<()> {
    let parser = compile(stand, define)?;
    let image = stand.path("hostile.efi");
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let section = |name, file| Section { name, file };
    objcopy(
        &stub(Target::X86_64, Stub::V252)?,
        &[section(".linux", &kernel), section(".bpf", &parser)],
        &image,
    )?;
    let mut expected = vec!["hostile.efi", "stage 1"];
    expected.extend(words);
    stand.refuses(&image, &[], &expected)?;
    let (output, usage) = stand.measure(&[&"inspect", &image])?;
    ensure!(
        output.status.code() == Some(1),
        "expected exit code 1, found {}: {}",
        output.status,
        said(&output)
    );
    ensure!(
        usage.peak_memory < MEMORY_LIMIT,
        "it held {} MiB of memory",
        usage.peak_memory >> 20
    );
    Ok(())
}

pub(super) fn compile(stand: &Stand, define: &str) -> Result<PathBuf> {
    let source = Path::new("xtask/parsers/hostile.bpf.c");
    let object = stand.path("hostile.bpf.o");
    Tool::new("clang-19")
        .args(["-O2", "-g", "-target", "bpfel", "-mcpu=v3", "-nostdinc"])
        .args(["-I", "parsers/include", "-fdebug-compilation-dir=."])
        .arg(format!("-D{define}"))
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(&object)
        .dir(workspace::root())
        .run()?;
    Ok(object)
}
