//! What `inspect`, `unfold` and `load` share: from arguments to a kernel.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use ukexec_boot::{BootError, Kernel, Machine, find_banner};
use ukexec_bpf::{Meter, Rope};
use ukexec_unfold::{Budget, Input, Options, ParserFile, ParserOrigin, PeBytes, Report, unfold};

use crate::args;
use crate::image::{Image, join_initrds};
use crate::parsers_d;
use crate::sources::Sources;

/// A kernel's banner is looked for in so many bytes.
const BANNER_LIMIT: u64 = 256 << 20;

/// Whether the image is read where it lies or taken over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `inspect` and `unfold` read what they need.
    OnDisk,
    /// `load` looks at nothing that could change.
    Snapshot,
}

/// An image that was taken apart.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The image, and what it took to have it.
    pub(crate) image: Image,
    /// The caller's initrds.
    pub(crate) initrds: Vec<Image>,
    /// The kernel at its true length: without what a section holds behind its
    /// certificates.
    pub(crate) kernel: Rope,
    /// What kernel it is, or why it is none.
    pub(crate) identity: Result<Kernel, BootError>,
    /// The initrd; absent is `None`.
    pub(crate) initrd: Option<Rope>,
    /// The command line without a NUL; absent is `None`.
    pub(crate) cmdline: Option<Vec<u8>>,
    /// How it went.
    pub(crate) report: Report,
    /// Where the ropes' bytes are.
    pub(crate) sources: Sources,
}

impl Outcome {
    /// Opens and unfolds `path` as `args` say.
    pub(crate) fn of(path: &Path, args: &args::Unfolding, access: Access) -> anyhow::Result<Self> {
        let mut sources = Sources::default();
        let open = |path: &Path| match access {
            Access::OnDisk => Image::on_disk(path, &sources),
            Access::Snapshot => Image::snapshot(path, &sources),
        };
        let image = open(path)?;
        let initrds = args
            .initrd
            .iter()
            .map(|path| open(path))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let input = Input {
            image: image.rope.clone(),
            initrd: join_initrds(&initrds),
            cmdline: cmdline(args)?,
            append: args.append.clone().map(String::into_bytes),
        };
        let options = options(&image, args)?;
        let unfolded = unfold(input, &options, &mut sources, &mut budget(&args.limits))?;
        let mut identity = ukexec_boot::identify(&PeBytes(&unfolded.kernel));
        let kernel = match &mut identity {
            Ok(identity) => {
                // A section may be padded behind a signed kernel; a compressed
                // kernel is what was compressed.
                let kernel = if sources.is_decompressed(&unfolded.kernel) {
                    unfolded.kernel
                } else {
                    unfolded.kernel.slice(0..identity.true_len)?
                };
                if identity.version.is_none() {
                    identity.version = find_banner(&PeBytes(&kernel), BANNER_LIMIT)?;
                }
                kernel
            }
            Err(_) => unfolded.kernel,
        };
        Ok(Self {
            image,
            initrds,
            kernel,
            identity,
            initrd: unfolded.initrd,
            cmdline: unfolded.cmdline,
            report: unfolded.report,
            sources,
        })
    }

    /// Returns the kernel's identity, or as an error what it is instead.
    pub(crate) fn identified(&self) -> anyhow::Result<&Kernel> {
        let layer = self
            .report
            .layers
            .last()
            .map_or_else(|| self.image.name(), |l| l.path.clone());
        match &self.identity {
            Ok(kernel) => Ok(kernel),
            Err(error) => Err(anyhow::Error::new(NotAKernel {
                layer,
                reason: error.to_string(),
            })),
        }
    }

    /// Like [`Outcome::identified`], but what a parser handed over may be
    /// anything: a person may want to see it.
    pub(crate) fn unfolded_or_kernel(&self) -> anyhow::Result<()> {
        if self.report.stages.is_empty() {
            self.identified().map(|_kernel| ())
        } else {
            Ok(())
        }
    }

    /// Returns what is worth a look but stopped nothing, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .report
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect();
        match &self.identity {
            // A machine that the kernel is for.
            Ok(kernel) => {
                let problems = kernel.check(&Machine::new(kernel.arch));
                warnings.extend(problems.iter().map(ToString::to_string));
            }
            Err(error) => {
                warnings.push(format!("what was unfolded is not a kernel: {error}"));
            }
        }
        warnings
    }
}

/// The innermost image is not a kernel.
#[derive(Debug, thiserror::Error)]
#[error("{layer}: {reason}")]
pub(crate) struct NotAKernel {
    /// Where it lies.
    pub(crate) layer: String,
    reason: String,
}

fn options(image: &Image, args: &args::Unfolding) -> anyhow::Result<Options> {
    let parser = args.parser.as_deref().map(given_parser).transpose()?;
    Ok(Options {
        parser,
        embedded_parsers: !args.no_embedded_parser,
        profile: args.profile.clone(),
        kdump: args.panic,
        parsers: parsers_d::all(&args.parsers_dir)?,
        image_name: image.name(),
    })
}

fn given_parser(path: &Path) -> anyhow::Result<ParserFile> {
    let object =
        fs::read(path).with_context(|| format!("cannot read parser {}", path.display()))?;
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(ParserFile {
        name,
        object: object.into(),
        origin: ParserOrigin::Given,
    })
}

fn cmdline(args: &args::Unfolding) -> anyhow::Result<Option<Vec<u8>>> {
    if args.reuse_cmdline {
        let running = fs::read_to_string("/proc/cmdline")
            .context("cannot read the running kernel's command line for --reuse-cmdline")?;
        return Ok(Some(reused(&running, args.panic).into_bytes()));
    }
    Ok(args.cmdline.clone().map(String::into_bytes))
}

/// Returns the running kernel's command line without what was only for it: the
/// boot loader's `BOOT_IMAGE=`, `initrd=`, and in a crash kernel the
/// reservation for the next one.
fn reused(running: &str, panic: bool) -> String {
    let drop = |word: &&str| {
        word.starts_with("BOOT_IMAGE=")
            || word.starts_with("initrd=")
            || (panic && word.starts_with("crashkernel="))
    };
    running
        .split_ascii_whitespace()
        .filter(|word| !drop(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns the budget that `limits` say.
pub(crate) fn budget(limits: &args::Limits) -> Budget {
    Budget {
        meter: Meter {
            insns: limits.max_insns,
            memory: limits.max_memory.0,
            log_lines: limits.max_log_lines,
        },
        stages: limits.max_stages,
        output: limits.max_output.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_command_line_loses_what_was_the_boot_loaders() {
        let running = "BOOT_IMAGE=/vmlinuz root=/dev/vda1  quiet crashkernel=256M initrd=\\i.img\n";
        assert_eq!(
            reused(running, false),
            "root=/dev/vda1 quiet crashkernel=256M"
        );
        assert_eq!(reused(running, true), "root=/dev/vda1 quiet");
    }
}
