//! Other tools show no fact about an image that `ukexec inspect` does not: each line that they
//! print is looked up in a table, and each fact in it in our document.

mod facts;
mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::materials::{OS_RELEASE, Stub, Target, stub};
use crate::pki::{Kind, Signer};
use crate::stand::{Stand, document};
use crate::uki::{Section, Ukify, objcopy};

use super::uki::{Contents, with_device_trees, with_profiles};
use super::{Named, noise, read, stock_kernel};

use facts::{Counts, compare};
use tables::PEERS;

const DEVICE_TREES: usize = 120;

pub(super) const CASES: &[Named] = &[
    Named::new("peers/two-signatures", |stand| {
        check(stand, &two_signatures(stand)?)
    }),
    Named::new("peers/nested", |stand| check(stand, &nested(stand)?)),
    Named::new("peers/profiles", |stand| {
        check(stand, &with_profiles(stand)?.0)
    }),
    Named::new("peers/120-device-trees", |stand| {
        check(stand, &device_trees(stand)?)
    }),
    Named::new("peers/unsigned-with-an-overlay", |stand| {
        check(stand, &overlay(stand)?)
    }),
    Named::new("peers/cut-certificate-table", |stand| {
        check(stand, &cut_table(stand)?)
    }),
];

/// Compares each peer's facts about `image` with ours.
fn check(stand: &Stand, image: &Path) -> Result<()> {
    let (output, _) = stand.measure(&[&"inspect", &image, &"--json", &"--sections", &"--hash"])?;
    stand.file("inspect.json", &output.stdout)?;
    let ours = document(&String::from_utf8_lossy(&output.stdout))?;
    let mut summary = format!("facts about {}:", image.display());
    for peer in PEERS {
        let name = peer.name;
        let printed = peer.run(image)?;
        stand.file(&format!("{name}.txt"), &printed)?;
        let counts = compare(peer, &printed, &ours).context(name)?;
        let Counts {
            same,
            left_out,
            reasons,
        } = counts;
        ensure!(same > 0, "{name} shows no fact");
        write!(
            summary,
            "\n    {name}: {same}; left out: {left_out} {reasons:?}"
        )?;
    }
    println!("{summary}");
    Ok(())
}

/// An image whose second signature holds the certificate of the first, too, and names a person to
/// write to.
fn two_signatures(stand: &Stand) -> Result<PathBuf> {
    let unsigned = plain(stand)?;
    let first = Signer::new(stand, "first", Kind::Rsa2048)?;
    let address = ["subjectAltName=email:second@ukexec.example"];
    let second = Signer::with_extensions(stand, "second", None, &address)?;
    let once = first.sign(&unsigned, &[], &stand.path("once.efi"))?;
    second.sign(&once, &[&first], &stand.path("twice.efi"))
}

/// An image with each section that is a text. That with signatures of measurements is long.
fn plain(stand: &Stand) -> Result<PathBuf> {
    let signatures = format!("{{\"sha256\":[{}]}}", "{\"pcrs\":[11]},".repeat(1000));
    let signatures = stand.file("pcrsig", signatures)?;
    // Something hides behind a NUL.
    let key = stand.file("pcrpkey", "  a key\n\nof\0two  parts\n\n")?;
    Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
        .linux(&stock_kernel(Target::X86_64)?.0, "6.1.0")
        .file("--initrd", &stand.file("initrd", noise(100_003))?)
        .text("--cmdline", "console=ttyS0  quiet")
        .text("--os-release", OS_RELEASE)
        .text("--section", &format!(".pcrsig:@{}", signatures.display()))
        .text("--section", &format!(".pcrpkey:@{}", key.display()))
        .build(&stand.path("plain.efi"))
}

fn nested(stand: &Stand) -> Result<PathBuf> {
    let inner = plain(stand)?;
    let signer = Signer::new(stand, "inner", Kind::P256)?;
    let inner = signer.sign(&inner, &[], &stand.path("signed.efi"))?;
    let outer = stand.path("nested.efi");
    let sections = [
        (".osrel", stand.file("osrel", OS_RELEASE)?),
        (".linux", inner),
    ];
    let sections = sections.iter().map(|(name, file)| Section { name, file });
    let sections: Vec<_> = sections.collect();
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &outer)?;
    Ok(outer)
}

fn device_trees(stand: &Stand) -> Result<PathBuf> {
    with_device_trees(stand, &Contents::new(stand, 100_003)?, DEVICE_TREES)
}

/// Bytes behind the last section, of a length that nothing is aligned to.
fn overlay(stand: &Stand) -> Result<PathBuf> {
    let image = plain(stand)?;
    stand.file("overlay.efi", [read(&image)?, noise(4_321)].concat())
}

/// A file that ends inside of its second signature.
fn cut_table(stand: &Stand) -> Result<PathBuf> {
    let mut image = read(&two_signatures(stand)?)?;
    image.truncate(image.len() - 700);
    stand.file("cut.efi", image)
}
