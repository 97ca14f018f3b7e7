//! Additions to an image that do not lie in it: which of them count, and how they go
//! along.
//!
//! Spec: systemd-stub(7), "Companion Files" and "Initrd Resources".

use std::slice;

use ukexec_bpf::{Piece, Rope};
use ukexec_pe::{ByteRanges, PeImage};
use ukexec_signature::{DigestSource, UnverifiedImage, verify_image};
use ukexec_stub::{
    Archive, ArchivePart, COMPANION_ARCHIVES, CompanionKind, ExtraFile, Uki, join_initrds, os_id,
};
use ukexec_unfold::PeBytes;

use super::sources::Sources;
use super::trust_policy::TrustPolicy;
use crate::config::policy::Enforcement;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::protocol::beside::{Beside, CompanionFile};
use crate::report::companion::CompanionReport;

/// The additions to an image.
#[derive(Debug, Default)]
pub(crate) struct Additions<'a> {
    /// Every companion that was found, and whether it counts.
    pub(crate) listed: Vec<CompanionReport>,
    /// The addons that count, in the stub's order.
    pub(crate) addons: Vec<TakenAddon>,
    /// The other companions that count, and their content.
    files: Vec<(&'a CompanionFile, Rope)>,
    /// Archives that stand behind all others.
    secrets: Vec<Rope>,
}

/// An addon that counts.
#[derive(Debug)]
pub(crate) struct TakenAddon {
    #[expect(dead_code, reason = "no addon is read so far")]
    pub(crate) cmdline: Option<String>,
    pub(crate) ucode: Option<Rope>,
    pub(crate) initrd: Option<Rope>,
}

/// Why a companion is passed over.
#[derive(Debug)]
struct Reason {
    text: String,
    /// The stub would take it.
    is_ours: bool,
}

impl<'a> Additions<'a> {
    /// Judges all that lies `beside` an image that is booted as `uki`; `None` if no
    /// stub boots it.
    ///
    /// # Errors
    ///
    /// A companion cannot be read, or one is passed over where that is an error.
    pub(crate) fn judge(
        beside: &'a Beside,
        uki: Option<&Uki<'_, PeBytes<'_>>>,
        policy: &TrustPolicy,
        sources: &Sources,
    ) -> Result<Self> {
        let mut additions = Self::default();
        for file in &beside.companions {
            let bytes = sources.rope(slice::from_ref(&file.span))?;
            let judged = match (uki, file.kind) {
                (None, _) => Err(Reason {
                    text: "no systemd-stub boots this image".to_owned(),
                    is_ours: false,
                }),
                (Some(uki), CompanionKind::Addon) => {
                    let judged = judge_addon(&bytes, uki, policy);
                    let judged = judged.context(|| format!("cannot read {}", file.path))?;
                    judged.map(|(addon, verified)| {
                        additions.addons.push(addon);
                        verified
                    })
                }
                (Some(_), _) => {
                    additions.files.push((file, bytes));
                    Ok(false)
                }
            };
            if let Err(reason) = &judged
                && reason.is_ours
                && beside.strict
            {
                let text = format!("{}: {}", file.path, reason.text);
                return Err(LoaderError::new(text).of_kind(ErrorKind::Signature));
            }
            additions.listed.push(CompanionReport {
                path: file.path.clone(),
                kind: Some(file.kind),
                taken: judged.is_ok(),
                verified: matches!(judged, Ok(true)),
                reason: judged.err().map(|reason| reason.text),
            });
        }
        let passed_over = beside.passed_over.iter().map(|it| CompanionReport {
            path: it.path.clone(),
            kind: it.kind,
            taken: false,
            reason: Some(it.reason.clone()),
            verified: false,
        });
        additions.listed.extend(passed_over);
        Ok(additions)
    }

    /// Adds the secrets `beside` an image that is booted as `uki`: that of the running
    /// system if the image is of the same one, and the caller's.
    pub(crate) fn add_secrets(
        &mut self,
        beside: &Beside,
        uki: Option<&Uki<'_, PeBytes<'_>>>,
        bundle: &Rope,
        sources: &Sources,
    ) -> Result<()> {
        let running = beside.os_release.as_ref();
        let running = running.map(|it| bundle.slice(it.range.clone())?.to_vec());
        let running = running.transpose()?.and_then(|it| os_id(&it));
        let is_same = running.is_some() && running == uki.and_then(Uki::os_id);
        if let Some(secret) = beside.boot_secret.as_ref().filter(|_| is_same) {
            let secret = bundle.slice(secret.range.clone())?;
            let file = ("boot-secret", secret.len(), secret);
            self.secrets
                .push(joined(Archive::BOOT_SECRET.pack([file])?));
        }
        let mut files = Vec::new();
        for credential in &beside.credentials {
            let content = sources.rope(slice::from_ref(&credential.span))?;
            files.push((format!("{}.cred", credential.name), content.len(), content));
        }
        let files = Archive::SYSTEM_CREDENTIALS.pack(files)?;
        self.secrets.push(joined(files));
        Ok(())
    }

    /// Returns the initrd that the kernel gets, in the stub's order: microcode, the
    /// `initrd` of the image, archives of companions, those of `sections`, secrets, and
    /// initrds of addons.
    pub(crate) fn initrd(&self, initrd: Option<&Rope>, sections: Vec<Rope>) -> Result<Rope> {
        let ucode = self.addons.iter().rev().filter_map(|it| it.ucode.clone());
        let mut parts: Vec<Rope> = ucode.chain(initrd.cloned()).collect();
        for (kind, folder, archive) in COMPANION_ARCHIVES {
            let files = self.files.iter();
            let files = files.filter(|(file, _)| (file.kind, file.folder) == (kind, folder));
            let files = files.map(|(file, rope)| (&file.name, rope.len(), rope.clone()));
            parts.push(joined(archive.pack(files)?));
        }
        parts.extend(sections);
        parts.extend(self.secrets.iter().cloned());
        parts.extend(self.addons.iter().filter_map(|it| it.initrd.clone()));
        let parts = parts.into_iter().map(|part| (part.len(), part));
        Ok(joined(join_initrds(parts)))
    }
}

/// Returns the addon that `bytes` are for an image booted as `uki`, and whether it has a
/// good signature; or why it does not count.
fn judge_addon(
    bytes: &Rope,
    uki: &Uki<'_, PeBytes<'_>>,
    policy: &TrustPolicy,
) -> Result<Result<(TakenAddon, bool), Reason>> {
    let image = PeBytes(bytes);
    let pe = match PeImage::parse(&image) {
        Ok(pe) => pe,
        Err(error) => {
            return Ok(Err(Reason {
                text: error.to_string(),
                is_ours: false,
            }));
        }
    };
    let verified = match policy.enforcement {
        Enforcement::Off => false,
        Enforcement::Report | Enforcement::Require(_) => {
            let unverified = UnverifiedImage {
                bytes: &image,
                pe: Some(Ok(&pe)),
                digests: DigestSource::Image,
            };
            let found = verify_image(&unverified, &policy.trust, policy.checks)?;
            let verdict = found.verdict;
            if !verdict.is_good() && (policy.required().is_some() || verdict.is_misfit()) {
                return Ok(Err(Reason {
                    text: format!("{verdict:#}"),
                    is_ours: true,
                }));
            }
            verdict.is_good()
        }
    };
    let addon = match read_addon(image, &pe, uki) {
        Ok(addon) => addon,
        Err(error) => {
            return Ok(Err(Reason {
                text: error.to_string(),
                is_ours: false,
            }));
        }
    };
    let content = |ranges: Option<ByteRanges>| ranges.map(|it| slices(bytes, &it)).transpose();
    let taken = TakenAddon {
        ucode: content(addon.ucode)?,
        initrd: content(addon.initrd)?,
        cmdline: addon.cmdline,
    };
    Ok(Ok((taken, verified)))
}

struct Addon {
    cmdline: Option<String>,
    ucode: Option<ByteRanges>,
    initrd: Option<ByteRanges>,
}

fn read_addon(
    _image: PeBytes<'_>,
    _pe: &PeImage,
    _uki: &Uki<'_, PeBytes<'_>>,
) -> Result<Addon, LoaderError> {
    Err(LoaderError::new("ukexec does not read addons yet"))
}

/// Returns the archive that has section `file` of `image` in it.
pub(crate) fn section(file: &ExtraFile, image: &Rope) -> Result<Rope> {
    Ok(joined(file.pack(slices(image, &file.content)?)?))
}

/// Returns the bytes that `ranges` of `image` are.
fn slices(image: &Rope, ranges: &ByteRanges) -> Result<Rope> {
    let mut content = Rope::new();
    for range in &ranges.ranges {
        content.append(&image.slice(range.clone())?);
    }
    content.push(Piece::Zeros(ranges.padding));
    Ok(content)
}

fn joined(parts: Vec<ArchivePart<Rope>>) -> Rope {
    let mut rope = Rope::new();
    for part in parts {
        match part {
            ArchivePart::Bytes(bytes) => rope.append(&Rope::from(bytes)),
            ArchivePart::Content(content) => rope.append(&content),
        }
    }
    rope
}
