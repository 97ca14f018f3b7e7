//! The parsers of `examples/` take their images apart, and refuse broken ones in words. The
//! loader's example dry-runs a signed image, and refuses others.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::command::{Tool, said};
use crate::initramfs::Initramfs;
use crate::materials::Target;
use crate::parsers;
use crate::pki::{Kind, Signer};
use crate::setup::PYTHON;
use crate::stand::{Stand, check_words};
use crate::workspace;

use super::{Named, noise, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("examples/newc", newc),
    Named::new("examples/newc-refuses", newc_refuses),
    Named::new("examples/sum64", sum64),
    Named::new("examples/sum64-refuses", sum64_refuses),
    Named::new("examples/new", new),
    Named::new("examples/dry-run", dry_run),
];

/// Compiles the parser of example `name` into a folder of parsers, and returns the folder.
fn parsers_dir(stand: &Stand, name: &str) -> Result<PathBuf> {
    let dir = stand.path("parsers.d");
    std::fs::create_dir_all(&dir)?;
    let object = dir.join(format!("{name}.bpf.o"));
    let source = format!("examples/{name}/{name}.bpf.c");
    parsers::compile(&source, parsers::CLANG, parsers::CPU, &[], &object)?;
    Ok(dir)
}

/// An archive of these entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Initramfs::default();
    for (name, content) in entries {
        archive.file(name, 0o644, content);
    }
    archive.finish()
}

fn newc(stand: &Stand) -> Result<()> {
    let dir = parsers_dir(stand, "newc")?;
    let (_, kernel) = stock_kernel(Target::X86_64)?;
    let initrd = noise(100_001);
    let entries: [(&str, &[u8]); 4] = [
        ("kernel", &kernel),
        ("README", b"not for booting"),
        ("initrd", &initrd),
        ("cmdline", b"root=/dev/vda1 quiet\n"),
    ];
    let image = stand.file("image.cpio", archive(&entries))?;
    let parts = stand.unfold(&image, &["--parsers-dir", &dir.to_string_lossy()])?;
    parts.expect(&kernel, Some(&initrd), Some("root=/dev/vda1 quiet"))?;
    parts.expect_parsers(&[("newc", "parsers.d")])
}

fn newc_refuses(stand: &Stand) -> Result<()> {
    let dir = parsers_dir(stand, "newc")?;
    let options = ["--parsers-dir", &dir.to_string_lossy()];
    let whole = archive(&[("kernel", &noise(5_000))]);
    let cut = stand.file("cut.cpio", &whole[..4_000])?;
    stand.refuses(&cut, &options, &["newc: entry at 0x0", "inside the image"])?;
    let mut odd = whole;
    odd[54..62].copy_from_slice(b"00zz0000");
    let odd = stand.file("odd.cpio", odd)?;
    stand.refuses(&odd, &options, &["newc", "expected hex digits"])?;
    let without = archive(&[("kernel", b""), ("initrd", b"alone")]);
    let without = stand.file("without.cpio", without)?;
    stand.refuses(&without, &options, &["no kernel was handed over"])
}

/// Makes an image with the example's own program.
fn make_sum64(kernel: &Path) -> Result<Vec<u8>> {
    let maker = workspace::root().join("examples/sum64/make-image.py");
    Tool::new(PYTHON).arg(maker).arg(kernel).bytes()
}

fn sum64(stand: &Stand) -> Result<()> {
    let dir = parsers_dir(stand, "sum64")?;
    let (path, kernel) = stock_kernel(Target::X86_64)?;
    let image = stand.file("image.sum64", make_sum64(&path)?)?;
    let parts = stand.unfold(&image, &["--parsers-dir", &dir.to_string_lossy()])?;
    parts.expect(&kernel, None, None)?;
    parts.expect_parsers(&[("sum64", "parsers.d")])
}

fn sum64_refuses(stand: &Stand) -> Result<()> {
    let dir = parsers_dir(stand, "sum64")?;
    let options = ["--parsers-dir", &dir.to_string_lossy()];
    let kernel = stand.file("kernel", noise(50_000))?;
    let whole = make_sum64(&kernel)?;
    let last = whole.len() - 1;
    for at in [32, 33, 20_000, last] {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        let image = stand.file("broken.sum64", broken)?;
        stand.refuses(&image, &options, &["sum64: sums of the payload", "damaged"])?;
    }
    let cut = stand.file("cut.sum64", &whole[..last])?;
    stand.refuses(&cut, &options, &["sum64: payload of", "cut off"])?;
    let mut lies = whole.clone();
    lies[12] ^= 1;
    let lies = stand.file("lies.sum64", lies)?;
    stand.refuses(&lies, &options, &["sum64: kernel size at 0xc"])?;
    // An author sees the same.
    let image = stand.file("whole.sum64", &whole)?;
    let parser = dir.join("sum64.bpf.o");
    let told = stand.ukexec(&[&"parser", &"run", &parser, &"--image", &image])?;
    check_words(
        &told,
        &["match       yes", "hand-over: kernel, 50000 bytes"],
    )
}

/// A new parser builds as it is, passes the check without a warning, and hands over what its
/// README says. Names that are no identifiers of C build as well.
fn new(stand: &Stand) -> Result<()> {
    let (_, kernel) = stock_kernel(Target::X86_64)?;
    for (name, magic) in [
        ("my-box", &b"my-box\0\0"[..]),
        ("3d", b"3d\0\0\0\0\0\0"),
        ("int", b"int\0\0\0\0\0"),
        ("of_the_long_kind", b"of_the_\0"),
    ] {
        stand.ukexec(&[&"parser", &"new", &name])?;
        let image = stand.file("image", [magic, &kernel].concat())?;
        let output = Tool::new("make")
            .args(["-C", name, "check", "run"])
            .arg(format!("CLANG={}", parsers::CLANG))
            .arg(format!("IMAGE={}", image.display()))
            .arg(format!("UKEXEC={}", stand.ukexec_path().display()))
            .dir(stand.path(""))
            .output()?;
        let text = said(&output);
        ensure!(output.status.success(), "{name}: {text}");
        check_words(&text, &["ukexec_match_image", "match       yes"])?;
        ensure!(!text.contains("warning"), "{name}: {text}");
        let object = stand.path(&format!("{name}/{name}.bpf.o"));
        let options = ["--parser", &object.to_string_lossy()];
        stand
            .unfold(&image, &options)?
            .expect(&kernel, None, None)?;
        let other = stand.file("other", b"something else")?;
        stand.refuses(&other, &options, &["expected", "no kernel was handed over"])?;
    }
    Ok(())
}

/// The loader's example is a command of its own, worker included.
fn dry_run(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let signer = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let signed = signer.sign(&kernel, &[], &stand.path("signed.efi"))?;
    let program = stand.ukexec_path().with_file_name("examples/dry_run");
    let example = |image: &Path| {
        let tool = Tool::new(&program).arg(image);
        tool.arg(signer.certificate()).output()
    };
    let taken = example(&signed)?;
    // This machine may lack the call.
    let message = said(&taken);
    ensure!(
        taken.status.success() || message.contains("kexec_file_load is not in this kernel"),
        "{message}"
    );
    let report = String::from_utf8(taken.stdout)?;
    let verdict = "good, by CN=owner";
    check_words(&report, &[verdict, "kexec_file_load(kernel: "])?;
    let refused = example(&kernel)?;
    ensure!(!refused.status.success(), "an unsigned image is taken");
    check_words(&said(&refused), &["a good signature is required"])
}
