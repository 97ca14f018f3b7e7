//! Parsers as light skeletons, built as the kernel series builds them: by every compiler and for
//! every instruction set, packed for build hosts of two machines by two compilers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::{Tool, said};
use crate::materials::{Stub, Target, kernel, stub};
use crate::parsers;
use crate::stand::{Stand, check_words, same_bytes};
use crate::uki::Ukify;

use super::zboot::ARM64;
use super::{Named, noise, read, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("skeletons/zboot-clang-14", |stand| {
        zboot(stand, "clang-14", &["v1", "v2", "v3"])
    }),
    Named::new("skeletons/zboot-clang-16", |stand| {
        zboot(stand, "clang-16", &["v1", "v2", "v3"])
    }),
    Named::new("skeletons/zboot-clang-19", |stand| {
        zboot(stand, "clang-19", &["v1", "v2", "v3", "v4"])
    }),
    Named::new("skeletons/uki", uki),
    Named::new("skeletons/given", given),
    Named::new("skeletons/generations", generations),
    Named::new("skeletons/shape", shape),
    Named::new("skeletons/container", container),
];

/// The compilers of a build host that compile the arrays of a skeleton.
pub(super) const HOSTS: &[&[&str]] = &[
    &["gcc"],
    &["clang-19", "--target=x86_64-linux-gnu"],
    &["aarch64-linux-gnu-gcc"],
    &["clang-19", "--target=aarch64-linux-gnu"],
];

/// Attaches every skeleton of the zboot parser to a zboot file: each unfolds to the same bytes as
/// with the plain object.
fn zboot(stand: &Stand, clang: &str, cpus: &[&str]) -> Result<()> {
    let made = ARM64.make(&kernel(Target::Arm64)?)?;
    let image = stand.file("vmlinuz.efi", &made.image)?;
    let check = |parser: &Path| -> Result<()> {
        let out = stand.path("out.efi");
        stand.ukexec(&[&"attach", &image, &parser, &"-o", &out])?;
        let parts = stand.unfold(&out, &[])?;
        parts.expect(&made.kernel, None, None)?;
        parts.expect_parsers(&[(".bpf", "embedded")])
    };
    for cpu in cpus {
        let plain = object(stand, "zboot", clang, cpu, &[])?;
        check(&plain).with_context(|| format!("{clang}, {cpu}, the plain object"))?;
        for host in HOSTS {
            let skeleton = skeleton(stand, &plain, host)?;
            check(&skeleton).with_context(|| format!("{clang}, {cpu}, {}", host.join(" ")))?;
        }
    }
    Ok(())
}

fn uki(stand: &Stand) -> Result<()> {
    let (linux, bytes) = stock_kernel(Target::X86_64)?;
    let initrd = noise(50_001);
    let image = Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
        .linux(&linux, "6.1.0")
        .file("--initrd", &stand.file("initrd", &initrd)?)
        .text("--cmdline", "console=ttyS0 skeleton")
        .build(&stand.path("uki.efi"))?;
    let plain = object(stand, "uki", "clang-19", "v3", &[])?;
    for host in HOSTS {
        let skeleton = skeleton(stand, &plain, host)?;
        let out = stand.path("out.efi");
        stand.ukexec(&[&"attach", &image, &skeleton, &"-o", &out])?;
        let parts = stand.unfold(&out, &[])?;
        parts.expect(&bytes, Some(&initrd), Some("console=ttyS0 skeleton"))?;
        parts.expect_parsers(&[(".bpf", "embedded")])?;
    }
    Ok(())
}

/// A skeleton with a match program serves as `--parser` and is named as such.
fn given(stand: &Stand) -> Result<()> {
    let made = ARM64.make(&kernel(Target::Arm64)?)?;
    let image = stand.file("vmlinuz.efi", &made.image)?;
    let plain = object(stand, "zboot", "clang-19", "v3", &["-DWITH_MATCH"])?;
    let skeleton = skeleton(stand, &plain, HOSTS[2])?;
    let parts = stand.unfold(&image, &["--parser", &skeleton.to_string_lossy()])?;
    parts.expect(&made.kernel, None, None)?;
    parts.expect_parsers(&[("skeleton", "given")])?;
    let said = stand.ukexec(&[&"parser", &"check", &skeleton])?;
    check_words(&said, &["light skeleton", "ukexec_match_image"])
}

/// Skeletons of the later generations take the same parts out of images: those of v6 in them, and
/// those of v7 beside them.
fn generations(stand: &Stand) -> Result<()> {
    let made = ARM64.make(&kernel(Target::Arm64)?)?;
    let zboot = stand.file("vmlinuz.efi", &made.image)?;
    let (linux, bytes) = stock_kernel(Target::X86_64)?;
    let initrd = noise(50_001);
    let uki = Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
        .linux(&linux, "6.1.0")
        .file("--initrd", &stand.file("initrd", &initrd)?)
        .text("--cmdline", "console=ttyS0 skeleton")
        .build(&stand.path("uki.efi"))?;
    for (generation, flag) in [("v6", "-DUKEXEC_ABI=6"), ("v7", "-DUKEXEC_ABI=7")] {
        for (parser, image) in [("zboot", &zboot), ("uki", &uki)] {
            let plain = object(stand, parser, "clang-19", parsers::CPU, &[flag])?;
            let skeleton = skeleton(stand, &plain, HOSTS[0])?;
            let said = stand.ukexec(&[&"parser", &"check", &skeleton])?;
            check_words(
                &said,
                &["light skeleton", &format!("parser ABI {generation}")],
            )?;
            let parts = match generation {
                "v6" => {
                    let out = stand.path("out.efi");
                    stand.ukexec(&[&"attach", image, &skeleton, &"-o", &out])?;
                    stand.unfold(&out, &[])?
                }
                _ => stand.unfold(image, &["--parser", &skeleton.to_string_lossy()])?,
            };
            let expected = match parser {
                "zboot" => parts.expect(&made.kernel, None, None),
                _ => parts.expect(&bytes, Some(&initrd), Some("console=ttyS0 skeleton")),
            };
            expected.with_context(|| format!("{parser} of {generation}"))?;
        }
    }
    Ok(())
}

/// Containers of GNU objcopy, by the series' recipe: `pack` makes ones with the same sections and
/// takes them as nested ones. Those of llvm-objcopy are refused.
fn container(stand: &Stand) -> Result<()> {
    let plain = object(stand, "zboot", "clang-19", "v3", &["-DUKEXEC_ABI=7"])?;
    let slot = skeleton(stand, &plain, HOSTS[0])?;
    let inner = wrapped(stand, "objcopy", &[(".bpf.1", &slot)], "inner.bpf")?;
    let sections: [(&str, &Path); 3] = [
        (".bpf.1", &slot),
        (".bpf.2", &plain),
        (".bpf.nested", &inner),
    ];
    let theirs = wrapped(stand, "objcopy", &sections, "theirs.bpf")?;
    let packed = stand.path("packed.bpf");
    stand.ukexec(&[
        &"parser",
        &"pack",
        &slot,
        &plain,
        &"--nested",
        &inner,
        &"-o",
        &packed,
    ])?;
    for (name, file) in sections {
        let dumped = stand.path("dumped");
        let dump = format!("{name}={}", dumped.display());
        Tool::new("objcopy")
            .args(["--dump-section", &dump])
            .arg(&packed)
            .arg(stand.path("copy"))
            .run()?;
        same_bytes(name, &read(&dumped)?, &read(file)?)?;
    }
    ensure!(
        names(&packed)? == names(&theirs)?,
        "other sections than objcopy's"
    );
    stand.ukexec(&[
        &"parser",
        &"pack",
        &slot,
        &"--nested",
        &theirs,
        &"-o",
        &packed,
    ])?;
    let foreign = wrapped(
        stand,
        "llvm-objcopy-19",
        &[(".bpf.1", &slot)],
        "foreign.bpf",
    )?;
    let refused = stand.fails(&[
        &"parser",
        &"pack",
        &slot,
        &"--nested",
        &foreign,
        &"-o",
        &packed,
    ])?;
    check_words(&refused, &[".symtab", "llvm-objcopy"])
}

/// Puts files into sections of an empty object, and drops all others.
fn wrapped(
    stand: &Stand,
    objcopy: &str,
    sections: &[(&str, &Path)],
    name: &str,
) -> Result<PathBuf> {
    let (empty, all, out) = (
        stand.file("empty.c", "")?,
        stand.path("all.o"),
        stand.path(name),
    );
    Tool::new("gcc")
        .arg("-c")
        .arg(empty)
        .arg("-o")
        .arg(&all)
        .run()?;
    let mut add = Tool::new(objcopy);
    let mut keep = Tool::new(objcopy);
    for (section, file) in sections {
        add = add.args(["--add-section", &format!("{section}={}", file.display())]);
        add = add.args(["--set-section-flags", &format!("{section}=readonly,data")]);
        keep = keep.arg(format!("--only-section={section}"));
    }
    add.arg(&all).run()?;
    keep.arg(&all).arg(&out).run()?;
    Ok(out)
}

/// Returns the names and types of sections, sorted, of which readelf says nothing bad.
fn names(file: &Path) -> Result<BTreeSet<String>> {
    let output = Tool::new("readelf").args(["-S", "-W"]).arg(file).output()?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        said(&output)
    );
    let text = String::from_utf8(output.stdout)?;
    let rows = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix('['));
    let words = rows.map(|row| row.split_whitespace().skip(1).take(2).collect::<Vec<_>>());
    Ok(words.map(|words| words.join(" ")).collect())
}

/// Every generation of the series reads a skeleton through a structure of its own: eight maps in one
/// order, and the programs.
fn shape(stand: &Stand) -> Result<()> {
    const MAPS: &str = "ringbuf_1 ringbuf_2 ringbuf_3 ringbuf_4 rodata data bss rodata_str1_1";
    for parser in parsers::PARSERS {
        for (generation, programs) in [
            ("-DUKEXEC_ABI=5", "parse_pe post_parse_pe"),
            ("-DUKEXEC_ABI=6", "parse_pe"),
            ("-DUKEXEC_ABI=7", "parse_pe"),
        ] {
            for clang in ["clang-14", "clang-16", "clang-19"] {
                let object = object(stand, parser, clang, parsers::CPU, &[generation])?;
                let header = header(&object)?;
                let found = [
                    members(&header, "bpf_map_desc"),
                    members(&header, "bpf_prog_desc"),
                ];
                ensure!(
                    found == [MAPS, programs],
                    "{parser}, {clang}, {generation}: the skeleton has {found:?}"
                );
            }
        }
    }
    Ok(())
}

/// Returns the names of the members of a type in a skeleton's header.
fn members(header: &str, of: &str) -> String {
    let names = header.lines().filter_map(|line| {
        let member = line.trim().strip_prefix("struct ")?.strip_prefix(of)?;
        Some(member.trim().trim_end_matches(';'))
    });
    names.collect::<Vec<_>>().join(" ")
}

/// Compiles a parser.
pub(super) fn object(
    stand: &Stand,
    parser: &str,
    clang: &str,
    cpu: &str,
    flags: &[&str],
) -> Result<PathBuf> {
    let object = stand.path(&format!("{parser}.bpf.o"));
    parsers::compile(
        &format!("parsers/{parser}.bpf.c"),
        clang,
        cpu,
        flags,
        &object,
    )?;
    Ok(object)
}

/// Makes a light skeleton of `object` by the series' recipe: the arrays that bpftool prints,
/// compiled by the compiler of a build host.
pub(super) fn skeleton(stand: &Stand, object: &Path, host: &[&str]) -> Result<PathBuf> {
    let header = header(object)?;
    let mut source = String::new();
    for (name, field) in [("opts_data", "data"), ("opts_insn", "insns")] {
        let bytes = literal(&header, name, field)
            .with_context(|| format!("bpftool printed no {name} for {}", object.display()))?;
        source += &format!("const char {name}[] __attribute__((__aligned__(8))) = \"{bytes}\";\n");
    }
    let source = stand.file("skeleton.c", source)?;
    let skeleton = stand.path("skeleton.o");
    let [compiler, flags @ ..] = host else {
        return Ok(skeleton);
    };
    let tool = Tool::new(compiler).args(flags).arg("-c").arg(source);
    tool.arg("-o").arg(&skeleton).run()?;
    Ok(skeleton)
}

/// Returns the C header that bpftool makes of `object`.
fn header(object: &Path) -> Result<String> {
    let bpftool = Tool::new("bpftool").args(["gen", "skeleton", "-L"]);
    bpftool.arg(object).text()
}

/// Returns what is between the quotes of a literal in a skeleton's header. Newer bpftools print it
/// as an array; up to 7.1 they print it where it is used.
fn literal<'a>(header: &'a str, array: &str, field: &str) -> Option<&'a str> {
    let starts = [
        format!("{array}[] __attribute__((__aligned__(8))) = \""),
        format!("opts.{field} = (void *)\""),
    ];
    let start = starts.iter().find_map(|start| header.split_once(start));
    // Every byte is written as an escape, so no quote is part of it.
    Some(start?.1.split_once('"')?.0)
}
