//! Unified kernel images of `objcopy` and `ukify`, taken apart and compared with what went in.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::command::{Tool, said, takes_image};
use crate::initramfs::pad;
use crate::materials::{OS_RELEASE, Stub, Target, addon_stub, stub};
use crate::stand::{Stand, check_words, document, number_at, same_bytes, text_at};
use crate::uki::{Section, Ukify, objcopy};

use super::{Named, noise, parser_object, read, stock_kernel};

const CMDLINE: &str = "console=ttyS0 root=/dev/vda1 quiet";
/// An initrd whose length is no multiple of 4, so that padding shows.
const INITRD_LEN: usize = 100_003;
const BIG_INITRD_LEN: usize = 200 << 20;
const DEVICE_TREES: usize = 82;

pub(super) const CASES: &[Named] = &[
    Named::new("uki/200-mb-initrd", big_initrd),
    Named::new("uki/objcopy-252", objcopy_252),
    Named::new("uki/objcopy-252-kernel-alone", objcopy_kernel_alone),
    Named::new("uki/objcopy-252-linux-first", objcopy_linux_first),
    Named::new("uki/objcopy-252-command-line-rules", cmdline_rules),
    Named::new("uki/objcopy-252-empty-command-line", empty_cmdline),
    Named::new("uki/first-section-of-a-name-wins", first_section_wins),
    Named::new("uki/92-sections", many_sections),
    Named::new("uki/92-sections-and-128-open-files", few_descriptors),
    Named::new("uki/lanzaboote-thin-image", lanzaboote),
    Named::new("uki/parser-of-a-parsers-folder", parsers_folder),
    Named::new("uki/ukify-257", ukify_257),
    Named::new("uki/ukify-257-kernel-alone", ukify_kernel_alone),
    Named::new("uki/ukify-257-two-initrds-and-microcode", two_initrds),
    Named::new("uki/ukify-257-callers-initrd", callers_initrd),
    Named::new("uki/ukify-257-callers-command-line", callers_cmdline),
    Named::new("uki/ukify-257-profiles", profiles),
    Named::new("uki/ukify-257-profile-is-the-same-everywhere", same_profile),
    Named::new("uki/ukify-257-unknown-profile", unknown_profile),
    Named::new("uki/ukify-257-addon", addon),
    Named::new("uki/hashes", hashes),
    Named::new("uki/inspect-writes-nothing", inspect),
];

/// The kernel of an image under test and, where there is one, its initrd.
pub(super) struct Contents {
    kernel_path: PathBuf,
    kernel: Vec<u8>,
    initrd_path: PathBuf,
    initrd: Vec<u8>,
}

impl Contents {
    pub(super) fn new(stand: &Stand, initrd_len: usize) -> Result<Self> {
        let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
        let initrd = noise(initrd_len);
        let initrd_path = stand.file("initrd", &initrd)?;
        Ok(Self {
            kernel_path,
            kernel,
            initrd_path,
            initrd,
        })
    }
}

/// Adds sections with `objcopy` to stub 252; each is a name and a file.
fn on_stub_252(stand: &Stand, sections: &[(&str, &Path)]) -> Result<PathBuf> {
    let sections: Vec<Section<'_>> = sections
        .iter()
        .map(|&(name, file)| Section { name, file })
        .collect();
    let image = stand.path("uki.efi");
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &image)?;
    Ok(image)
}

fn on_stub_257() -> Result<Ukify> {
    Ukify::on(&stub(Target::X86_64, Stub::V257)?)
}

fn objcopy_252(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let image = on_stub_252(
        stand,
        &[
            (".osrel", &stand.file("osrel", OS_RELEASE)?),
            (".cmdline", &stand.file("cmdline", CMDLINE)?),
            (".initrd", &contents.initrd_path),
            (".linux", &contents.kernel_path),
        ],
    )?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&contents.kernel, Some(&contents.initrd), Some(CMDLINE))?;
    parts.expect_parsers(&[("uki", "built-in")])
}

fn objcopy_kernel_alone(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let image = on_stub_252(stand, &[(".linux", &kernel_path)])?;
    stand.unfold(&image, &[])?.expect(&kernel, None, None)
}

fn objcopy_linux_first(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let image = on_stub_252(
        stand,
        &[
            (".linux", &contents.kernel_path),
            (".initrd", &contents.initrd_path),
            (".cmdline", &stand.file("cmdline", CMDLINE)?),
        ],
    )?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&contents.kernel, Some(&contents.initrd), Some(CMDLINE))
}

/// Leading blanks go, inner control characters become blanks, the first NUL ends it.
fn cmdline_rules(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let text = " \n\x7froot=/dev/vda1\tquiet\nrw \n\0init=/evil";
    let cmdline = stand.file("cmdline", text)?;
    let image = on_stub_252(stand, &[(".cmdline", &cmdline), (".linux", &kernel_path)])?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&kernel, None, Some("root=/dev/vda1 quiet rw"))
}

fn empty_cmdline(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let cmdline = stand.file("cmdline", "\n")?;
    let image = on_stub_252(stand, &[(".cmdline", &cmdline), (".linux", &kernel_path)])?;
    stand.unfold(&image, &[])?.expect(&kernel, None, Some(""))
}

fn first_section_wins(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let first = stand.file("first", "first")?;
    let second = stand.file("second", "second")?;
    let once = on_stub_252(
        stand,
        &[
            (".cmdline", &first),
            (".cmdlin2", &second),
            (".linux", &kernel_path),
        ],
    )?;
    // objcopy adds no name twice, but it renames one into another.
    let twice = stand.path("twice.efi");
    Tool::new("objcopy")
        .args(["--rename-section", ".cmdlin2=.cmdline"])
        .arg(&once)
        .arg(&twice)
        .run()?;
    stand
        .unfold(&twice, &[])?
        .expect(&kernel, None, Some("first"))
}

/// Device trees for many machines; what counts lies behind them.
fn many_sections(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let image = with_device_trees(stand, &contents, DEVICE_TREES)?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&contents.kernel, Some(&contents.initrd), Some(CMDLINE))
}

/// Not every section needs a descriptor, and an error names a descriptor that cannot be had.
fn few_descriptors(stand: &Stand) -> Result<()> {
    let image = with_device_trees(stand, &Contents::new(stand, INITRD_LEN)?, DEVICE_TREES)?;
    let load = |limit: &str| {
        let script = format!("ulimit -n {limit} && exec \"$0\" load --dry-run --json \"$1\"");
        Tool::new("sh")
            .args(["-c", &script])
            .arg(stand.ukexec_path())
            .arg(&image)
            .output()
    };
    let output = load("128")?;
    ensure!(takes_image(&output), "it failed: {}", said(&output));
    let report = document(&String::from_utf8_lossy(&output.stdout))?;
    for part in ["kernel", "initrd"] {
        let descriptor = text_at(&report, &format!("/load/{part}/descriptor"))?;
        ensure!(descriptor == "as it lies", "the {part} was {descriptor}");
    }
    let output = load("24")?;
    ensure!(output.status.code() == Some(1), "{}", output.status);
    check_words(&said(&output), &["too many open files", "ulimit -n"])
}

/// An image with [`Contents`] behind so many device trees.
pub(super) fn with_device_trees(
    stand: &Stand,
    contents: &Contents,
    count: usize,
) -> Result<PathBuf> {
    let (device_tree, cmdline) = (
        stand.file("device-tree", noise(3_000))?,
        stand.file("cmdline", CMDLINE)?,
    );
    let names: Vec<String> = (0..count).map(|n| format!(".dtb{n}")).collect();
    let mut sections: Vec<(&str, &Path)> = names
        .iter()
        .map(|name| (name.as_str(), device_tree.as_path()))
        .collect();
    sections.push((".cmdline", &cmdline));
    sections.push((".initrd", &contents.initrd_path));
    sections.push((".linux", &contents.kernel_path));
    let distinct = on_stub_252(stand, &sections)?;
    let image = stand.path("many.efi");
    Tool::new("objcopy")
        .args(
            names
                .iter()
                .flat_map(|name| ["--rename-section".to_owned(), format!("{name}=.dtbauto")]),
        )
        .arg(&distinct)
        .arg(&image)
        .run()?;
    Ok(image)
}

/// A thin image holds paths where a UKI holds the parts themselves.
fn lanzaboote(stand: &Stand) -> Result<()> {
    let path = stand.file("path", r"\EFI\nixos\kernel.efi")?;
    let digest = stand.file("digest", noise(32))?;
    let image = on_stub_252(
        stand,
        &[
            (".linux", &path),
            (".linuxh", &digest),
            (".initrd", &path),
            (".initrdh", &digest),
        ],
    )?;
    stand.refuses(
        &image,
        &[],
        &["lanzaboote", r"kernel: \EFI\nixos\kernel.efi"],
    )
}

/// A folder of parsers comes before those built in.
fn parsers_folder(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let image = on_stub_252(stand, &[(".linux", &kernel_path)])?;
    std::fs::create_dir(stand.path("parsers.d"))?;
    stand.file("parsers.d/own.bpf.o", read(&parser_object("uki.match")?)?)?;
    let parts = stand.unfold(&image, &["--parsers-dir", "parsers.d"])?;
    parts.expect(&kernel, None, None)?;
    parts.expect_parsers(&[("own.bpf.o", "parsers.d")])
}

fn ukify_257(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let image = on_stub_257()?
        .linux(&contents.kernel_path, "6.1.0")
        .file("--initrd", &contents.initrd_path)
        .text("--cmdline", CMDLINE)
        .text("--os-release", OS_RELEASE)
        .build(&stand.path("uki.efi"))?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&contents.kernel, Some(&contents.initrd), Some(CMDLINE))?;
    parts.expect_parsers(&[("uki", "built-in")])
}

fn ukify_kernel_alone(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let image = on_stub_257()?
        .linux(&kernel_path, "6.1.0")
        .build(&stand.path("uki.efi"))?;
    stand.unfold(&image, &[])?.expect(&kernel, None, None)
}

/// An image with microcode and two initrds, and the initrds as `ukify` joins them.
fn with_microcode(stand: &Stand) -> Result<(PathBuf, Contents, Vec<u8>)> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let second = noise(4_001);
    let image = on_stub_257()?
        .linux(&contents.kernel_path, "6.1.0")
        .file("--initrd", &contents.initrd_path)
        .file("--initrd", &stand.file("second", &second)?)
        .file("--microcode", &stand.file("microcode", MICROCODE)?)
        .text("--cmdline", CMDLINE)
        .build(&stand.path("uki.efi"))?;
    let mut joined = contents.initrd.clone();
    pad(&mut joined, 4);
    joined.extend_from_slice(&second);
    pad(&mut joined, 4);
    Ok((image, contents, joined))
}

const MICROCODE: &[u8] = b"microcode of a length that is odd";

fn two_initrds(stand: &Stand) -> Result<()> {
    let (image, contents, joined) = with_microcode(stand)?;
    let mut expected = MICROCODE.to_vec();
    pad(&mut expected, 4);
    expected.extend_from_slice(&joined);
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&contents.kernel, Some(&expected), Some(CMDLINE))
}

/// The caller's initrd lies between the microcode and the image's own.
fn callers_initrd(stand: &Stand) -> Result<()> {
    let (image, contents, joined) = with_microcode(stand)?;
    let callers = b"an initrd from outside";
    stand.file("callers", callers)?;
    let mut expected = MICROCODE.to_vec();
    pad(&mut expected, 4);
    expected.extend_from_slice(callers);
    pad(&mut expected, 4);
    expected.extend_from_slice(&joined);
    let parts = stand.unfold(&image, &["--initrd", "callers"])?;
    parts.expect(&contents.kernel, Some(&expected), Some(CMDLINE))
}

fn callers_cmdline(stand: &Stand) -> Result<()> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let image = on_stub_257()?
        .linux(&kernel_path, "6.1.0")
        .text("--cmdline", "the image's own")
        .build(&stand.path("uki.efi"))?;
    let expect = |options: &[&str], cmdline| {
        let parts = stand.unfold(&image, options)?;
        parts.expect(&kernel, None, Some(cmdline))
    };
    expect(&["--cmdline", "the caller's"], "the caller's")?;
    expect(&["--append", "and more"], "the image's own and more")?;
    expect(
        &["--cmdline", "the caller's", "--append", "and more"],
        "the caller's and more",
    )
}

/// A base and two profiles: `one` has a command line, `two` an initrd as well.
pub(super) fn with_profiles(stand: &Stand) -> Result<(PathBuf, Vec<u8>)> {
    let (kernel_path, kernel) = stock_kernel(Target::X86_64)?;
    let addon = addon_stub(Target::X86_64)?;
    let one = Ukify::on(&addon)?
        .text("--profile", "ID=one\nTITLE=The first")
        .text("--cmdline", "of one")
        .build(&stand.path("one.efi"))?;
    let two = Ukify::on(&addon)?
        .text("--profile", "# quoted\n ID=\"two\" \nTITLE='The second'")
        .text("--cmdline", "of two")
        .file("--initrd", &stand.file("two", "initrd of two")?)
        .build(&stand.path("two.efi"))?;
    let image = on_stub_257()?
        .linux(&kernel_path, "6.1.0")
        .file("--initrd", &stand.file("base", "initrd of the base")?)
        .text("--cmdline", "of the base")
        .text("--profile", "ID=main")
        .file("--join-profile", &one)
        .file("--join-profile", &two)
        .build(&stand.path("uki.efi"))?;
    Ok((image, kernel))
}

fn profiles(stand: &Stand) -> Result<()> {
    let (image, kernel) = with_profiles(stand)?;
    let expect = |options: &[&str], initrd: &str, cmdline| {
        let parts = stand.unfold(&image, options)?;
        parts.expect(&kernel, Some(initrd.as_bytes()), Some(cmdline))
    };
    expect(&[], "initrd of the base", "of the base")?;
    expect(&["--profile", "0"], "initrd of the base", "of the base")?;
    expect(&["--profile", "1"], "initrd of the base", "of one")?;
    expect(&["--profile", "one"], "initrd of the base", "of one")?;
    expect(&["--profile", "2"], "initrd of two", "of two")?;
    expect(&["--profile", "two"], "initrd of two", "of two")
}

/// The profile that is unfolded is the one that goes below `/.extra/` and is measured.
fn same_profile(stand: &Stand) -> Result<()> {
    let (image, _) = with_profiles(stand)?;
    for (selector, number) in [("main", 0), ("one", 1), ("two", 2), ("2", 2)] {
        let dry_run: [&dyn AsRef<std::ffi::OsStr>; 6] = [
            &"load",
            &image,
            &"--dry-run",
            &"--json",
            &"--profile",
            &selector,
        ];
        let (output, _) = stand.measure(&dry_run)?;
        ensure!(takes_image(&output), "it failed: {}", said(&output));
        let report = document(&String::from_utf8_lossy(&output.stdout))?;
        let found = number_at(&report, "/stages/0/profile")?;
        ensure!(found == number, "{selector}: profile {found}");
        let extra = report.pointer("/extra").map(ToString::to_string);
        let extra = extra.unwrap_or_default();
        ensure!(extra.contains("\"/.extra/profile\""), "{selector}: {extra}");
        let report = stand.ukexec_json(&[
            &"inspect",
            &image,
            &"--measure",
            &"--json",
            &"--profile",
            &selector,
        ])?;
        let found = number_at(&report, "/measurements/profile")?;
        ensure!(found == number, "{selector}: {found} is measured");
    }
    Ok(())
}

fn unknown_profile(stand: &Stand) -> Result<()> {
    let (image, _) = with_profiles(stand)?;
    stand.refuses(&image, &["--profile", "3"], &["profile"])?;
    stand.refuses(&image, &["--profile", "three"], &["profile", "three"])
}

/// An addon has no kernel, and is named for what it is.
fn addon(stand: &Stand) -> Result<()> {
    let image = Ukify::on(&addon_stub(Target::X86_64)?)?
        .text("--cmdline", "added")
        .build(&stand.path("x.addon.efi"))?;
    stand.refuses(&image, &[], &["addon"])
}

fn big_initrd(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, BIG_INITRD_LEN)?;
    let image = on_stub_252(
        stand,
        &[
            (".cmdline", &stand.file("cmdline", CMDLINE)?),
            (".initrd", &contents.initrd_path),
            (".linux", &contents.kernel_path),
        ],
    )?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&contents.kernel, Some(&contents.initrd), Some(CMDLINE))
}

/// The digests that `--hash` prints are those of `sha256sum`.
fn hashes(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let image = on_stub_257()?
        .linux(&contents.kernel_path, "6.1.0")
        .file("--initrd", &contents.initrd_path)
        .text("--cmdline", CMDLINE)
        .build(&stand.path("uki.efi"))?;
    let parts = stand.unfold(&image, &["--hash"])?;
    for part in ["kernel", "initrd", "cmdline"] {
        let sum = Tool::new("sha256sum").arg(parts.path(part)).text()?;
        let expected = sum.split(' ').next().unwrap_or_default();
        let found = text_at(&parts.report, &format!("/{part}/sha256"))?;
        ensure!(found == expected, "{part}: {found} instead of {expected}");
        let size = number_at(&parts.report, &format!("/{part}/size"))?;
        ensure!(
            size == parts.path(part).metadata()?.len(),
            "{part}: a size of {size}"
        );
    }
    Ok(())
}

/// `inspect` reports layers, parser and kernel, in words and as a document, and changes nothing.
fn inspect(stand: &Stand) -> Result<()> {
    let contents = Contents::new(stand, INITRD_LEN)?;
    let image = on_stub_257()?
        .linux(&contents.kernel_path, "6.1.0")
        .file("--initrd", &contents.initrd_path)
        .text("--cmdline", CMDLINE)
        .text("--os-release", OS_RELEASE)
        .build(&stand.path("uki.efi"))?;
    let before = read(&image)?;
    let words = stand.ukexec(&[&"inspect", &image])?;
    for expected in [".linux", ".initrd", "uki", "x86_64", CMDLINE] {
        ensure!(words.contains(expected), "no {expected:?} in:\n{words}");
    }
    let report = stand.ukexec_json(&[&"inspect", &image, &"--json"])?;
    ensure!(
        number_at(&report, "/kernel/size")? == contents.kernel.len() as u64,
        "another kernel size: {report:#}"
    );
    ensure!(text_at(&report, "/cmdline/text")? == CMDLINE);
    same_bytes("the image", &read(&image)?, &before)
}
