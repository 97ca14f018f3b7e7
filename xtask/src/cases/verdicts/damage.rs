//! Images that were good: what firmware refuses of them is refused, and in time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command::{Tool, said};
use crate::stand::{Stand, check_words};

use super::{CHANGED, Made, Named, check, check_changed, trust};
use crate::cases::edited::Edited;
use crate::cases::read;

/// The time that refusing a lie may need; the rest is for slow, busy machines.
const TIME_LIMIT: Duration = Duration::from_secs(2);
const MEMORY_LIMIT: u64 = 40 << 20;

pub(in super::super) const CASES: &[Named] = &[
    Named::new("verdicts/damage", damage),
    Named::new("verdicts/certificate-table-lies", table_lies),
];

/// A good image, and where its certificate table is.
struct Signed {
    image: Edited,
    /// The offset of the data directory's entry: offset and size.
    entry: usize,
    table: usize,
    size: usize,
}

impl Signed {
    fn new(image: &Path) -> Result<Self> {
        let image = Edited(read(image)?);
        // Entry 4 of the data directories of PE32+.
        let entry = image.optional()? + 112 + 4 * 8;
        let (table, size) = (image.u32_at(entry)?, image.u32_at(entry + 4)?);
        Ok(Self {
            image,
            entry,
            table,
            size,
        })
    }

    /// The image with the byte at `at` changed.
    fn flip(&self, at: usize) -> Result<Edited> {
        let byte = *self.image.0.get(at).context("past the end")?;
        self.image.with(at, &[byte ^ 1])
    }

    /// Where `bytes` are in the signature: in its certificate first, then where it names that.
    fn find(&self, bytes: &[u8]) -> Result<[usize; 2]> {
        let is_here = |at: &usize| self.image.0[*at..].starts_with(bytes);
        let mut found = (self.table..self.image.0.len()).filter(is_here);
        let first = found.next().context("not in the signature")?;
        Ok([first, found.next_back().unwrap_or(first)])
    }

    /// The image with `bytes` behind its end.
    fn longer(&self, bytes: &[u8]) -> Edited {
        Edited([&self.image.0, bytes].concat())
    }
}

fn damage(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let whole = Signed::new(&made.good)?;
    let image = &whole.image;
    let start = |name| -> Result<usize> { image.u32_at(image.section(name)? + 20) };
    let cmdline_end = start(".cmdline")? + image.u32_at(image.section(".cmdline")? + 16)?;
    let checksum = image.optional()? + 64;
    let signature_end = whole.table + 8 + pkcs7_len(image, whole.table + 8)?;
    let (bad, malformed) = ("bad signature: ", "malformed signature: ");
    let [certificate, name] = whole.find(b"owner")?;
    let cases: &[(&str, Edited, &str)] = &[
        (
            "a byte of the signature",
            whole.flip(signature_end - 9)?,
            bad,
        ),
        (
            "a byte of the certificate",
            whole.flip(certificate)?,
            "untrusted: ",
        ),
        (
            "a byte of the signer's name",
            whole.flip(name)?,
            "untrusted: ",
        ),
        ("the checksum", whole.flip(checksum)?, "good, by "),
        (
            "the revision of the table",
            image.with(whole.table + 4, &[0, 1])?,
            "good, by ",
        ),
        ("8 bytes behind the end", whole.longer(&[0; 8]), malformed),
        ("no table", image.with(whole.entry, &[0; 8])?, "unsigned"),
    ];
    let changed: &[(&str, Edited, &str)] = &[
        (
            "a byte of .linux",
            whole.flip(start(".linux")? + 0x10_0000)?,
            CHANGED,
        ),
        (
            "a byte of .cmdline",
            whole.flip(start(".cmdline")? + 1)?,
            CHANGED,
        ),
        (
            "a byte of a header",
            whole.flip(image.coff()? + 4)?,
            CHANGED,
        ),
        ("a byte of the DOS stub", whole.flip(0x40)?, CHANGED),
        (
            "a byte of a section's padding",
            whole.flip(cmdline_end - 1)?,
            CHANGED,
        ),
        ("1 byte behind the end", whole.longer(b"x"), malformed),
    ];
    let trust = trust(made.owner.certificate());
    for (case, image, verdict) in cases {
        let image = stand.file("damaged.efi", &image.0)?;
        check(stand, &image, &[&trust], verdict).context(*case)?;
    }
    for (case, image, verdict) in changed {
        let image = stand.file("changed.efi", &image.0)?;
        check_changed(stand, &image, &[&trust], verdict).context(*case)?;
    }
    let stripped = stand.file("stripped.efi", &image.0)?;
    Tool::new("sbattach").arg("--remove").arg(&stripped).run()?;
    check(stand, &stripped, &[&trust], "unsigned").context("stripped")
}

/// The length of the SEQUENCE at `at`, of two bytes of length.
fn pkcs7_len(image: &Edited, at: usize) -> Result<usize> {
    let header = image.0.get(at..at + 4).context("past the end")?;
    ensure!(header.starts_with(&[0x30, 0x82]), "no PKCS#7 at {at:#x}");
    Ok(4 + usize::from(u16::from_be_bytes([header[2], header[3]])))
}

fn table_lies(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let whole = Signed::new(&made.good)?;
    let (table, size) = (u32::try_from(whole.table)?, u32::try_from(whole.size)?);
    let entry = |offset: u32, size: u32| {
        let bytes = [offset.to_le_bytes(), size.to_le_bytes()].concat();
        whole.image.with(whole.entry, &bytes)
    };
    let length = |len: u32| whole.image.with(whole.table, &len.to_le_bytes());
    let lies: &[(&str, Edited)] = &[
        // With this one sbverify 0.9.4 takes all the memory that there is.
        ("the largest size", entry(table, u32::MAX)?),
        ("a size past the end", entry(table, size + 8)?),
        (
            "a size that wraps",
            entry(table, 0_u32.wrapping_sub(table))?,
        ),
        ("a size that ends early", entry(table, size - 8)?),
        ("half a header", entry(table, 7)?),
        ("a header alone", entry(table, 8)?),
        ("size 0", entry(table, 0)?),
        ("offset 0", entry(0, size)?),
        ("the largest offset", entry(u32::MAX, size)?),
        ("an offset into the headers", entry(0x100, size)?),
        ("an offset into a section", entry(table - 0x1000, size)?),
        ("an offset into the table", entry(table + 8, size - 8)?),
        ("an entry of 0 bytes", length(0)?),
        ("an entry of 7 bytes", length(7)?),
        ("an entry of 8 bytes", length(8)?),
        ("an entry of 9 bytes", length(9)?),
        ("an entry past the table", length(size + 8)?),
        ("the largest entry", length(u32::MAX)?),
        (
            "a type of its own",
            whole.image.with(whole.table + 6, &[0xf1, 0x0e])?,
        ),
        (
            "a PKCS#7 past its end",
            whole.image.with(whole.table + 10, &[0xff; 2])?,
        ),
        ("a PKCS#7 of 4 GiB", {
            let header = [0x30, 0x84, 0xff, 0xff, 0xff, 0xff];
            whole.image.with(whole.table + 8, &header)?
        }),
    ];
    let trust = trust(made.owner.certificate());
    let mut most = (Duration::ZERO, 0);
    for (lie, image) in lies {
        let image = stand.file("lie.efi", &image.0)?;
        let (took, memory) = refusal(stand, &image, &trust).context(*lie)?;
        most = (most.0.max(took), most.1.max(memory));
    }
    println!(
        "     {} certificate tables that lie: each refused in {:.0} ms and {:.1} MiB at most",
        lies.len(),
        most.0.as_secs_f64() * 1e3,
        most.1 as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// Checks that `image` is refused, and returns its time and memory.
fn refusal(stand: &Stand, image: &Path, trust: &str) -> Result<(Duration, u64)> {
    let out = stand.path("out");
    let require = "--verify=require";
    let start = Instant::now();
    let (output, usage) = stand.measure(&[&"unfold", &image, &"-o", &out, &require, &trust])?;
    let took = start.elapsed();
    let message = said(&output);
    ensure!(
        matches!(output.status.code(), Some(1 | 3)),
        "{}: {message}",
        output.status
    );
    check_words(&message, &["lie.efi"])?;
    ensure!(!out.exists(), "parts were written");
    ensure!(took < TIME_LIMIT, "it took {took:?}");
    let memory = usage.peak_memory;
    ensure!(memory < MEMORY_LIMIT, "it held {} MiB", memory >> 20);
    Ok((took, memory))
}
