//! The images and programs that the rows need, made when the first of them asks.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::call::Call;
use super::outcome::Outcome;
use crate::command::{Tool, said, takes_image};
use crate::kept::{kept, remove};
use crate::kexec_tools::KexecTools;
use crate::materials::{OS_RELEASE, Stub, Target, kernel, stub};
use crate::pki::{Kind, Signer};
use crate::stand::{Stand, document, number_at};
use crate::uki::{Section, objcopy};
use crate::workspace;
use crate::zboot::{Compression, Generation, Machine, Zboot};

/// Pairs of programs that take long.
const PAIRS: usize = 11;
/// Pairs of short ones go on for so many milliseconds.
const ENOUGH: f64 = 4000.0;
const MOST_PAIRS: usize = 201;
/// The first pairs bring files into memory.
const WARM_UP: usize = 2;
/// Pairs that are watched for memory, which hardly differs.
const MEMORY_PAIRS: usize = 3;
/// The end of a dry run where the running kernel cannot kexec.
const DRY_RUN: &[i32] = &[0, 4];

/// Images, programs and folders for all rows.
#[derive(Debug)]
pub(crate) struct Materials {
    stand: Stand,
    /// Where peers write: a folder on tmpfs.
    memory: PathBuf,
}

impl Materials {
    /// Builds ukexec as a user does.
    ///
    /// # Errors
    ///
    /// The build fails.
    pub(crate) fn new() -> Result<Self> {
        Tool::new("cargo")
            .args(["build", "--release", "--package", "ukexec"])
            .dir(workspace::root())
            .show()?;
        let ukexec = workspace::target_dir().join("release/ukexec");
        let memory = PathBuf::from(format!("/dev/shm/ukexec-bench-{}", std::process::id()));
        fs::create_dir_all(&memory)?;
        Ok(Self {
            stand: Stand::new(&ukexec, "bench")?,
            memory,
        })
    }

    /// Drops the images; a run that fails leaves them for a look.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn clear(&self) -> Result<()> {
        self.stand.clear()
    }

    pub(crate) const fn stand(&self) -> &Stand {
        &self.stand
    }

    /// A path on tmpfs.
    pub(crate) fn in_memory(&self, name: &str) -> PathBuf {
        self.memory.join(name)
    }

    /// ukexec with `args`.
    pub(crate) fn ukexec(&self, args: &[&str]) -> Tool {
        Tool::new(self.stand.ukexec_path()).args(args)
    }

    /// A UKI whose initrd makes it `mib` MiB long.
    ///
    /// # Errors
    ///
    /// A part of it cannot be had.
    pub(crate) fn uki(&self, mib: usize) -> Result<PathBuf> {
        let image = self.stand.path(&format!("{mib}.efi"));
        kept(&image, |image| {
            let kernel = kernel(Target::X86_64)?;
            let len = (mib << 20) - usize::try_from(kernel.metadata()?.len())?;
            let mut initrd = Vec::new();
            let noise = File::open("/dev/urandom")?;
            noise.take(u64::try_from(len)?).read_to_end(&mut initrd)?;
            let sections = [
                (".osrel", self.stand.file("osrel", OS_RELEASE)?),
                (".cmdline", self.stand.file("cmdline", "quiet")?),
                (".initrd", self.stand.file("initrd", initrd)?),
                (".linux", kernel),
            ];
            let sections = sections.iter().map(|(name, file)| Section { name, file });
            let sections: Vec<_> = sections.collect();
            objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, image)
        })?;
        Ok(image)
    }

    /// The same, signed, and the signer's certificate.
    ///
    /// # Errors
    ///
    /// A part of it cannot be had.
    pub(crate) fn signed_uki(&self, mib: usize) -> Result<[PathBuf; 2]> {
        let signed = self.stand.path(&format!("{mib}.signed.efi"));
        let certificate = self.stand.path(&format!("{mib}.pem"));
        kept(&signed, |signed| {
            let signer = Signer::new(&self.stand, &format!("{mib}"), Kind::Rsa2048)?;
            signer.sign(&self.uki(mib)?, &[], signed)?;
            Ok(())
        })?;
        Ok([signed, certificate])
    }

    /// A zboot image of a kernel of 31 MB, and its payload alone.
    ///
    /// # Errors
    ///
    /// A part of it cannot be had.
    pub(crate) fn zboot(&self, compression: Compression) -> Result<[PathBuf; 2]> {
        let zboot = Zboot {
            machine: Machine::RISCV64,
            compression,
            generation: Generation::V6_12,
        };
        let made = zboot.make(&kernel(Target::Riscv64)?)?;
        let payload = made.image[made.payload_at..][..made.payload_len].to_vec();
        let name = compression.name();
        let image = self.stand.file(&format!("{name}.efi"), made.image)?;
        let suffix = if name == "gzip" { "gz" } else { "zst" };
        Ok([
            image,
            self.stand.file(&format!("payload.{suffix}"), payload)?,
        ])
    }

    /// A dry run of `image`, whose report is checked first: a program that fails early is fast.
    ///
    /// # Errors
    ///
    /// The report is not that of a whole run.
    pub(crate) fn dry_run(&self, image: &Path, options: &[&str]) -> Result<Call> {
        let load = || self.ukexec(&["load", "--dry-run"]).args(options).arg(image);
        let output = load().arg("--json").output()?;
        ensure!(takes_image(&output), "it failed: {}", said(&output));
        let report = document(&String::from_utf8_lossy(&output.stdout))?;
        let moved = number_at(&report, "/load/bytes_moved/in_kernel")?
            + number_at(&report, "/load/bytes_moved/through_user")?;
        let len = image.metadata()?.len();
        ensure!(moved >= len, "{moved} bytes were moved of {len}");
        ensure!(number_at(&report, "/load/kernel/size")? > 1 << 20);
        let shown = ["ukexec load --dry-run"].iter().chain(options);
        let shown = shown.filter(|option| !option.contains('/'));
        let shown: Vec<&str> = shown.copied().collect();
        Ok(Call::new(&shown.join(" "), load()).ending_with(DRY_RUN))
    }

    /// kexec-tools' `kexec` with `options`, and how the page shows it. Its files lie on tmpfs, with all libraries in one
    /// folder.
    ///
    /// # Errors
    ///
    /// As [`KexecTools::find`].
    pub(crate) fn kexec_tools(&self, options: &str) -> Result<(String, Tool)> {
        let theirs = KexecTools::find()?;
        let dir = self.in_memory("kexec-tools");
        fs::create_dir_all(&dir)?;
        let copied = |name: &str, path: &Path| {
            let to = dir.join(name);
            fs::copy(path, &to)?;
            Ok::<_, anyhow::Error>(to)
        };
        for (name, path) in &theirs.libraries {
            copied(name, path)?;
        }
        let tool = Tool::new(copied("ld.so", &theirs.loader)?)
            .arg("--library-path")
            .arg(&dir)
            .arg(copied("kexec", &theirs.program)?)
            .args(options.split(' '));
        Ok((format!("kexec {options} of kexec-tools"), tool))
    }

    /// Compiles a program of `xtask/guest`.
    ///
    /// # Errors
    ///
    /// The compiler fails.
    pub(crate) fn in_c(&self, name: &str, options: &[&str]) -> Result<PathBuf> {
        let output = self.stand.path(name);
        kept(&output, |output| {
            let source = workspace::root().join(format!("xtask/guest/{name}.c"));
            Tool::new("gcc")
                .args(["-O1", "-Wall", "-Wextra", "-Werror"])
                .args(options)
                .arg(source)
                .arg("-o")
                .arg(output)
                .run()
        })?;
        Ok(output)
    }

    /// A program that takes digests as ukexec does, and does nothing else.
    ///
    /// # Errors
    ///
    /// The build fails.
    pub(crate) fn digest(&self) -> Result<PathBuf> {
        Tool::new("cargo")
            .args(["build", "--release", "--package", "ukexec-loader"])
            .args(["--example", "digest"])
            .dir(workspace::root())
            .show()?;
        Ok(workspace::target_dir().join("release/examples/digest"))
    }

    /// A program in Rust that does nothing.
    ///
    /// # Errors
    ///
    /// The compiler fails.
    pub(crate) fn empty(&self) -> Result<PathBuf> {
        let output = self.stand.path("empty");
        kept(&output, |output| {
            let source = self.stand.file("empty.rs", "fn main() {}\n")?;
            let rustc = Tool::new("rustc").arg("-O").arg(source);
            rustc.arg("-o").arg(output).run()
        })?;
        Ok(output)
    }

    /// Runs both by turns and takes the times.
    ///
    /// # Errors
    ///
    /// One of them fails.
    pub(crate) fn times(
        &self,
        name: &str,
        title: &str,
        target: impl Into<Option<f64>>,
        mut ours: Call,
        mut peer: Call,
    ) -> Result<Vec<Outcome>> {
        for _ in 0..WARM_UP {
            ours.time()?;
            peer.time()?;
        }
        let mut pairs = Vec::new();
        let mut sum = 0.0;
        while pairs.len() < PAIRS || (sum < ENOUGH && pairs.len() < MOST_PAIRS) {
            let pair = [ours.time()?, peer.time()?];
            sum += pair[0] + pair[1];
            pairs.push(pair);
        }
        Ok(vec![Outcome {
            name: name.to_owned(),
            title: title.to_owned(),
            ours: ours.shown,
            peer: peer.shown,
            unit: "ms",
            target: target.into(),
            pairs,
        }])
    }

    /// Runs both by turns and takes the most memory of all their processes.
    ///
    /// # Errors
    ///
    /// One of them fails.
    pub(crate) fn memory(
        &self,
        name: &str,
        title: &str,
        target: f64,
        ours: &Call,
        peer: &Peer,
    ) -> Result<Vec<Outcome>> {
        let cost = self.in_c("cost", &["-static"])?;
        let shown = match peer {
            Peer::Limit(mib) => format!("the limit of {mib} MiB"),
            Peer::Call(call) => call.shown.clone(),
        };
        let pair = |_| {
            let theirs = match peer {
                Peer::Limit(mib) => *mib,
                Peer::Call(call) => call.memory(&cost)?,
            };
            Ok([ours.memory(&cost)?, theirs])
        };
        Ok(vec![Outcome {
            name: name.to_owned(),
            title: title.to_owned(),
            ours: ours.shown.clone(),
            peer: shown,
            unit: "MiB",
            target: Some(target),
            pairs: (0..MEMORY_PAIRS).map(pair).collect::<Result<_>>()?,
        }])
    }
}

impl Drop for Materials {
    fn drop(&mut self) {
        // It is memory that nobody else looks for.
        let _may_be_gone = remove(&self.memory);
    }
}

/// A limit of memory, or a program whose memory counts.
#[derive(Debug)]
pub(crate) enum Peer {
    Call(Box<Call>),
    /// Of so many MiB.
    Limit(f64),
}
