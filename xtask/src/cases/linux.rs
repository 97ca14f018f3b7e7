//! Our parsers are programs that Linux takes: the verifier of the machine that runs the tests is
//! asked, with the form that `linux_check.h` describes. Nothing is run, and nothing stays loaded.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::command::Tool;
use crate::parsers;
use crate::runner;
use crate::stand::{Stand, check_words};

use super::Named;

pub(super) const CASES: &[Named] = &[
    Named::new("linux/takes-uki", |stand| takes(stand, "uki")),
    Named::new("linux/takes-zboot", |stand| takes(stand, "zboot")),
    Named::new("linux/takes-stream", |stand| takes(stand, "stream")),
    Named::new("linux/takes-envelope", |stand| takes(stand, "envelope")),
    Named::new("linux/refuses-reading-the-image-directly", refuses),
];

/// The compilers, and the instruction sets that each knows.
const COMPILERS: &[(&str, &[&str])] = &[
    ("clang-14", &["v1", "v2", "v3"]),
    ("clang-16", &["v1", "v2", "v3"]),
    ("clang-19", &["v1", "v2", "v3", "v4"]),
];

/// The generations of the parser ABI, and the programs of a parser for each.
const GENERATIONS: &[(&str, &str)] = &[
    ("-DUKEXEC_ABI=5", "match_image\nparse_pe\npost_parse_pe\n"),
    ("-DUKEXEC_ABI=6", "match_image\nparse_pe\n"),
    ("-DUKEXEC_ABI=7", "match_image\nparse_pe\n"),
];

/// Linux allocates rings in full, so they are smaller than by default.
const FLAGS: &[&str] = &[
    "-DUKEXEC_LINUX_CHECK",
    "-DWITH_MATCH",
    "-DKERNEL_RING=(64<<20)",
    "-DINITRD_RING=(128<<20)",
];

/// The least that Linux must take for the others to mean something.
const NOTHING: &str = "\
char licence[] __attribute__((section(\"license\"), used)) = \"GPL\";
__attribute__((section(\"syscall\"), used)) int nothing(void *ctx)
{
	return !ctx;
}
";

/// An image is reached through helpers; its address is none that a program may follow.
const CARELESS: &str = "\
#include <ukexec/parser.h>
UKEXEC_LICENSE(\"Dual BSD/GPL\");
UKEXEC_PARSE(parse_pe, ctx)
{
	return *(volatile char *)ctx->image;
}
";

/// Every build of the parser loads, with all of its programs.
fn takes(stand: &Stand, parser: &str) -> Result<()> {
    may_load(stand)?;
    let source = format!("parsers/{parser}.bpf.c");
    let object = stand.path(&format!("{parser}.bpf.o"));
    for (clang, cpus) in COMPILERS {
        for (generation, programs) in GENERATIONS {
            // The instruction set does not change how the later ones differ.
            let is_first = *generation == GENERATIONS[0].0;
            let cpus = if is_first { cpus } else { &[parsers::CPU][..] };
            for cpu in cpus {
                let what = format!("{clang}, {cpu}, {generation}");
                let flags = [FLAGS, &[*generation]].concat();
                parsers::compile(&source, clang, cpu, &flags, &object)?;
                let loaded = load(stand, &object).with_context(|| what.clone())?;
                ensure!(
                    loaded == *programs,
                    "{what}: these programs were loaded: {loaded:?}"
                );
            }
        }
    }
    Ok(())
}

/// It is the verifier that is asked: a program that reads where it may not does not load.
fn refuses(stand: &Stand) -> Result<()> {
    may_load(stand)?;
    match load(stand, &compiled(stand, "careless", CARELESS)?) {
        Ok(programs) => bail!("these programs were loaded: {programs:?}"),
        Err(error) => check_words(&format!("{error:#}"), &["invalid mem access 'scalar'"]),
    }
}

/// Ends the case as skipped where this process may load no program of type `syscall` at all: no
/// root, a container, a locked-down or an old kernel.
fn may_load(stand: &Stand) -> Result<()> {
    let object = compiled(stand, "nothing", NOTHING)?;
    load(stand, &object).map(drop).map_err(|error| {
        runner::skip(format!(
            "this machine does not let us load BPF programs of type syscall: {error:#}"
        ))
    })
}

fn compiled(stand: &Stand, name: &str, source: &str) -> Result<PathBuf> {
    let source = stand.file(&format!("{name}.bpf.c"), source)?;
    let object = stand.path(&format!("{name}.bpf.o"));
    let source = source.to_string_lossy();
    parsers::compile(&source, parsers::CLANG, parsers::CPU, FLAGS, &object)?;
    Ok(object)
}

/// Loads the programs of `object` and returns their names, a line each. They are pinned in a file
/// system that only the loading processes see, and go with it.
fn load(stand: &Stand, object: &Path) -> Result<String> {
    const LOAD: &str = "mount -t bpf bpf \"$2\" && \
                        bpftool prog loadall \"$1\" \"$2/programs\" >&2 && \
                        ls \"$2/programs\"";
    let pins = stand.path("pins");
    std::fs::create_dir_all(&pins)?;
    Tool::new("unshare")
        .args(["--mount", "sh", "-c", LOAD, "sh"])
        .args([object, &pins])
        .text()
}
