//! Additions to an image that do not lie in it: which of them count, and how they go
//! along.
//!
//! Spec: systemd-stub(7), "Companion Files" and "Initrd Resources".

use std::slice;

use ukexec_bpf::{Piece, Rope};
use ukexec_layout::DeviceTree;
use ukexec_pe::{ByteRanges, PeImage};
use ukexec_signature::{DigestSource, UnverifiedImage, verify_image};
use ukexec_stub::{
    Addon, Archive, ArchivePart, Boot, COMPANION_ARCHIVES, CompanionFolder, CompanionKind,
    ExtraFile, Hardware, Smbios, Uki, addons_text, is_same_tree, join_initrds, os_id,
    pack_entry_files,
};
use ukexec_unfold::{CMDLINE_MAX, PeBytes};

use super::sources::Sources;
use super::trust_policy::TrustPolicy;
use crate::config::policy::Enforcement;
use crate::digest::digest_state;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::protocol::beside::{Beside, CompanionFile, SmbiosText};
use crate::protocol::bundle::Bundled;
use crate::report::companion::CompanionReport;

/// The machine, as far as a boot depends on it.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// The names by which a stub knows it; `None` if nothing says them.
    hardware: Option<Hardware>,
    /// The device tree of the running kernel.
    tree: Option<Vec<u8>>,
    /// The text that it adds to a command line; empty if none.
    smbios: String,
}

/// The additions to an image.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    /// Every companion that was found, and whether it counts.
    pub(crate) listed: Vec<CompanionReport>,
    /// The addons that count, in the stub's order.
    addons: Vec<TakenAddon>,
    /// Archives of the other companions that count, in the stub's order.
    archives: Vec<(Archive, Rope)>,
    /// Archives of a boot entry's files, in front of the image's own initrd.
    entry_archives: Vec<(Archive, Rope)>,
    /// Archives of secrets, which no boot of firmware's has.
    secrets: Vec<Rope>,
    /// The text of all addons for the command line, and the machine's.
    texts: [String; 2],
}

/// An addon that counts.
#[derive(Debug)]
struct TakenAddon {
    name: String,
    cmdline: Option<String>,
    ucode: Option<Rope>,
    initrd: Option<Rope>,
    device_tree: Option<Rope>,
}

/// Why a companion is passed over.
#[derive(Debug)]
struct Reason {
    text: String,
    /// The stub would take it.
    is_ours: bool,
}

impl Machine {
    /// Reads what `beside` says of the machine, whose files are in `bundle`.
    pub(crate) fn read(beside: &Beside, bundle: &Rope) -> Result<Self> {
        let read = |file: &Bundled| bundle.slice(file.range.clone())?.to_vec();
        let table = beside.smbios.as_ref().map(read).transpose()?;
        let tree = beside.fdt.as_ref().map(read).transpose()?;
        let smbios = Smbios::new(table.as_deref().unwrap_or_default());
        let is_known = table.is_some() || tree.is_some();
        Ok(Self {
            hardware: is_known.then(|| Hardware::new(smbios, tree.as_deref())),
            smbios: match beside.smbios_text {
                SmbiosText::Added => smbios.cmdline(),
                SmbiosText::Unwanted | SmbiosText::Confidential => String::new(),
            },
            tree,
        })
    }
}

impl Additions {
    /// Judges all that lies `beside` an image that is booted as `uki` on `machine`;
    /// `None` if no stub boots it.
    ///
    /// # Errors
    ///
    /// A companion cannot be read, or one is passed over where that is an error.
    pub(crate) fn judge(
        beside: &Beside,
        uki: Option<&Uki<'_, PeBytes<'_>>>,
        machine: &Machine,
        policy: &TrustPolicy,
        sources: &Sources,
    ) -> Result<Self> {
        let mut additions = Self::default();
        let mut files = Vec::new();
        let mut texts_len = 0_u64;
        for file in &beside.companions {
            let bytes = sources.rope(slice::from_ref(&file.span))?;
            let judged = match (uki, file.kind) {
                (None, _) => Err(Reason {
                    text: "no systemd-stub boots this image".to_owned(),
                    is_ours: false,
                }),
                (Some(uki), CompanionKind::Addon) => {
                    let judged = judge_addon(file, &bytes, uki, machine, policy);
                    let judged = judged.context(|| format!("cannot read {}", file.path))?;
                    let text = judged.as_ref().ok().and_then(|(it, _)| it.cmdline.as_ref());
                    texts_len += text.map_or(0, |text| text.len() as u64);
                    // Thousands of texts would have their place in memory first.
                    check_cmdline(texts_len)?;
                    judged.map(|(addon, verified)| {
                        additions.addons.push(addon);
                        verified
                    })
                }
                (Some(_), _) => {
                    files.push((file, bytes));
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
                of_entry: file.folder == CompanionFolder::Entry,
                count: 1,
            });
        }
        let passed_over = beside.passed_over.iter().map(|it| CompanionReport {
            path: it.path.clone(),
            kind: it.kind,
            taken: false,
            reason: Some(it.reason.clone()),
            verified: false,
            of_entry: it.of_entry,
            count: it.count,
        });
        additions.listed.extend(passed_over);
        for (kind, folder, archive) in COMPANION_ARCHIVES {
            let files = files.iter();
            let files = files.filter(|(file, _)| (file.kind, file.folder) == (kind, folder));
            let files = files.map(|(file, rope)| (&file.name, rope.len(), rope.clone()));
            let packed = joined(archive.pack(files)?);
            if !packed.is_empty() {
                additions.archives.push((archive, packed));
            }
        }
        if uki.is_some() {
            additions.entry_archives = entry_archives(beside, sources)?;
            let texts = additions.addons.iter();
            let texts = texts.filter_map(|it| it.cmdline.as_deref());
            additions.texts = [addons_text(texts), machine.smbios.clone()];
        }
        Ok(additions)
    }

    /// Adds the secrets `beside` an image that is booted as `uki`: that of the running
    /// system if the image is of the same one, and the caller's. Returns whether the former
    /// goes along.
    pub(crate) fn add_secrets(
        &mut self,
        beside: &Beside,
        uki: Option<&Uki<'_, PeBytes<'_>>>,
        bundle: &Rope,
        sources: &Sources,
    ) -> Result<bool> {
        let running = beside.os_release.as_ref();
        let running = running.map(|it| bundle.slice(it.range.clone())?.to_vec());
        let running = running.transpose()?.and_then(|it| os_id(&it));
        let is_same = running.is_some() && running == uki.and_then(Uki::os_id);
        let secret = beside.boot_secret.as_ref().filter(|_| is_same);
        if let Some(secret) = secret {
            // The parent knows the bundle by no number.
            let secret = Rope::from(bundle.slice(secret.range.clone())?.to_vec()?);
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
        Ok(secret.is_some())
    }

    /// Returns the initrd that the kernel gets, in the stub's order: microcode, the
    /// `initrd` of the image, archives of companions, those of `sections`, secrets, and
    /// initrds of addons.
    pub(crate) fn initrd(&self, initrd: Option<&Rope>, sections: Vec<Rope>) -> Rope {
        let ucode = self.addons.iter().rev().filter_map(|it| it.ucode.clone());
        let mut parts: Vec<Rope> = ucode.chain(initrd.cloned()).collect();
        parts.extend(self.archives.iter().map(|(_, rope)| rope.clone()));
        parts.extend(sections);
        parts.extend(self.secrets.iter().cloned());
        parts.extend(self.addons.iter().filter_map(|it| it.initrd.clone()));
        let parts = parts.into_iter().map(|part| (part.len(), part));
        joined(join_initrds(parts))
    }

    /// Returns whether a boot entry adds files to the initrd.
    pub(crate) fn has_entry_files(&self) -> bool {
        !self.entry_archives.is_empty()
    }

    /// Returns how many bytes come in front of the image's initrd.
    pub(crate) fn front_len(&self) -> u64 {
        let archives = self.entry_archives.iter().map(|(_, rope)| rope.len());
        let ucode = self.addons.iter().filter_map(|it| it.ucode.as_ref());
        let padded = ucode.map(|it| it.len().saturating_add(it.len().wrapping_neg() % 4));
        padded.chain(archives).fold(0, u64::saturating_add)
    }

    /// Returns the command line that the kernel gets: `line`, whose last `appended` bytes
    /// are text that the caller adds, with the texts of addons and of the machine in front
    /// of that. Where the running kernel's consoles are kept, a line without a word
    /// `console=` gets them, and one without the masks gets those.
    pub(crate) fn cmdline(
        &self,
        line: Option<&[u8]>,
        appended: usize,
        beside: &Beside,
    ) -> Result<Option<Vec<u8>>> {
        let whole = line.unwrap_or_default();
        // The text is never longer than the line that it ends.
        let (own, append) = whole.split_at(whole.len().saturating_sub(appended));
        let append = append.strip_prefix(b" ").unwrap_or(append);
        let [addons, machine] = self.texts.each_ref().map(String::as_bytes);
        let mut full = joined_texts([own, addons, machine, append]);
        let mut added = Vec::new();
        if beside.keep_console && !has_console(&full) {
            added.extend(beside.console.iter().map(String::as_str));
        }
        let masks = beside.masks.iter().map(String::as_str);
        added.extend(masks.filter(|mask| !words(&full).any(|word| word == mask.as_bytes())));
        if !added.is_empty() {
            let added = added.join(" ");
            // Words behind `--` are for init.
            let is_for_init = words(&full).any(|word| word == b"--");
            full = match is_for_init {
                true => joined_texts([added.as_bytes(), &full]),
                false => joined_texts([own, addons, machine, added.as_bytes(), append]),
            };
        }
        check_cmdline(full.len() as u64)?;
        Ok((line.is_some() || !full.is_empty()).then_some(full))
    }

    /// Returns what a measured boot on `machine` measures of them, where a boot loader
    /// passes `cmdline`.
    pub(crate) fn boot<'a>(
        &'a self,
        machine: &'a Machine,
        cmdline: Option<&'a [u8]>,
    ) -> Boot<'a, PeBytes<'a>> {
        let [addons, smbios] = &self.texts;
        let of_addons = |part: fn(&TakenAddon) -> Option<&Rope>| {
            let parts = self.addons.iter();
            let parts = parts.filter_map(|it| Some((it.name.clone(), PeBytes(part(it)?))));
            parts.collect::<Vec<_>>()
        };
        let archives = |archives: &'a [(Archive, Rope)]| {
            let archives = archives.iter();
            archives
                .map(|(archive, rope)| (*archive, PeBytes(rope)))
                .collect()
        };
        Boot {
            cmdline,
            addons,
            smbios,
            device_trees: of_addons(|it| it.device_tree.as_ref()),
            ucode: of_addons(|it| it.ucode.as_ref()),
            initrds: of_addons(|it| it.initrd.as_ref()),
            archives: archives(&self.archives),
            options: None,
            entry_archives: archives(&self.entry_archives),
            hardware: machine.hardware.as_ref(),
            state: digest_state,
        }
    }

    /// Returns the device tree that a boot on `machine` would install, and whose it is: the
    /// image's (its bytes are `image`), or an addon's.
    pub(crate) fn device_tree(
        &self,
        uki: &Uki<'_, PeBytes<'_>>,
        image: &Rope,
        machine: &Machine,
    ) -> Result<Option<(&str, Rope)>> {
        let unknown = Hardware::default();
        let own = uki.device_tree(machine.hardware.as_ref().unwrap_or(&unknown))?;
        let own = own.map(|it| slices(image, &it)).transpose()?;
        let own = own.map(|tree| ("the image", tree));
        let trees = self.addons.iter();
        let trees = trees.filter_map(|it| Some((it.name.as_str(), it.device_tree.clone()?)));
        // The last one stays installed.
        Ok(own.into_iter().chain(trees).last())
    }

    /// Returns a note if [`Self::device_tree`] is not the running kernel's.
    pub(crate) fn device_tree_note(
        &self,
        uki: &Uki<'_, PeBytes<'_>>,
        image: &Rope,
        machine: &Machine,
    ) -> Result<Option<String>> {
        let Some((name, tree)) = self.device_tree(uki, image, machine)? else {
            return Ok(None);
        };
        let running = machine.tree.as_deref().unwrap_or_default();
        let is_same = tree.len() <= DeviceTree::MAX_LEN && is_same_tree(&tree.to_vec()?, running);
        Ok((!is_same).then(|| {
            format!("{name} has a device tree, and the next kernel gets that of the running one")
        }))
    }
}

/// Returns `texts` with a blank between two of them; empty ones are passed over.
fn joined_texts<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Vec<u8> {
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join(&b' ')
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace())
}

/// Returns whether a command line says which console the kernel has.
pub(crate) fn has_console(line: &[u8]) -> bool {
    words(line).any(|word| word.starts_with(b"console="))
}

/// Checks the length of a command line with the texts of addons, or of these alone.
fn check_cmdline(len: u64) -> Result<()> {
    if len > CMDLINE_MAX {
        return Err(LoaderError::new(format!(
            "the command line with the texts of addons: expected at most {CMDLINE_MAX} bytes, found \
             at least {len}"
        )));
    }
    Ok(())
}

/// Returns the addon that `bytes` are for an image booted as `uki` on `machine`, and
/// whether it has a good signature; or why it does not count.
fn judge_addon(
    file: &CompanionFile,
    bytes: &Rope,
    uki: &Uki<'_, PeBytes<'_>>,
    machine: &Machine,
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
                state: digest_state,
            };
            let found = match verify_image(&unverified, &policy.trust, policy.checks) {
                Ok(found) => found,
                Err(error) => {
                    return Ok(Err(Reason {
                        text: error.to_string(),
                        is_ours: policy.required().is_some(),
                    }));
                }
            };
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
    let addon = match Addon::new(&image, &pe, uki, machine.hardware.as_ref()) {
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
        name: file.name.clone(),
        cmdline: addon.cmdline,
        ucode: content(addon.ucode)?,
        initrd: content(addon.initrd)?,
        device_tree: content(addon.device_tree)?,
    };
    Ok(Ok((taken, verified)))
}

/// Returns the archives of the files that a boot entry names, as systemd-boot passes them
/// to a stub.
pub(crate) fn entry_archives(beside: &Beside, sources: &Sources) -> Result<Vec<(Archive, Rope)>> {
    let mut files = Vec::new();
    let companions = beside.companions.iter();
    for file in companions.filter(|it| it.folder == CompanionFolder::Entry) {
        let content = sources.rope(slice::from_ref(&file.span))?;
        files.push((file.kind, file.name.as_str(), content.len(), content));
    }
    let archives = pack_entry_files(files)?.into_iter();
    Ok(archives
        .map(|(archive, parts)| (archive, joined(parts)))
        .collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects a command line of a `line` that ends in `appended` bytes of the caller's,
    /// where the running kernel has a console.
    fn check(texts: [&str; 2], line: Option<&str>, appended: usize, expected: [Option<&str>; 2]) {
        let additions = Additions {
            texts: texts.map(str::to_owned),
            ..Additions::default()
        };
        for (keep_console, expected) in [false, true].into_iter().zip(expected) {
            let beside = Beside {
                console: vec!["console=tty0".to_owned(), "console=ttyS0".to_owned()],
                keep_console,
                ..Beside::default()
            };
            let line = additions.cmdline(line.map(str::as_bytes), appended, &beside);
            let line = line.unwrap().map(|it| String::from_utf8(it).unwrap());
            assert_eq!(line.as_deref(), expected, "{keep_console}");
        }
    }

    #[test]
    fn texts_come_between_the_line_and_what_is_appended() {
        let kept = "console=tty0 console=ttyS0";
        check(["", ""], None, 0, [None, Some(kept)]);
        check(["", ""], Some(""), 0, [Some(""), Some(kept)]);
        check(
            ["a  b", "m"],
            Some("ro last word"),
            10,
            [
                Some("ro a  b m last word"),
                Some(&format!("ro a  b m {kept} last word")),
            ],
        );
        check(
            ["", "m"],
            Some("last"),
            4,
            [Some("m last"), Some(&format!("m {kept} last"))],
        );
        check(
            ["a", ""],
            Some("ro -- single"),
            0,
            [
                Some("ro -- single a"),
                Some(&format!("{kept} ro -- single a")),
            ],
        );
    }

    #[test]
    fn a_line_with_a_console_keeps_it() {
        let line = "ro console=hvc0";
        check(["", ""], Some(line), 0, [Some(line); 2]);
        check(
            ["console=hvc0", ""],
            Some("ro"),
            0,
            [Some("ro console=hvc0"); 2],
        );
        let other = "ro netconsole=x";
        let kept = "ro netconsole=x console=tty0 console=ttyS0";
        check(["", ""], Some(other), 0, [Some(other), Some(kept)]);
    }

    #[test]
    fn masks_are_added_once_and_in_front_of_the_callers_text() {
        let masked = |line: &str, appended, keep_console| {
            let beside = Beside {
                console: vec!["console=tty0".to_owned()],
                keep_console,
                masks: vec!["systemd.mask=a".to_owned(), "b=0".to_owned()],
                ..Beside::default()
            };
            let additions = Additions::default();
            let line = additions.cmdline(Some(line.as_bytes()), appended, &beside);
            String::from_utf8(line.unwrap().unwrap()).unwrap()
        };
        for (line, appended, expected) in [
            ("ro", 0, "ro systemd.mask=a b=0"),
            ("ro last", 5, "ro systemd.mask=a b=0 last"),
            ("ro b=0 x", 2, "ro b=0 systemd.mask=a x"),
            ("b=0 systemd.mask=a", 0, "b=0 systemd.mask=a"),
            ("ro -- single", 0, "systemd.mask=a b=0 ro -- single"),
            ("", 0, "systemd.mask=a b=0"),
        ] {
            assert_eq!(masked(line, appended, false), expected);
        }
        let kept = "ro console=tty0 systemd.mask=a b=0";
        assert_eq!(masked("ro", 0, true), kept);
    }

    #[test]
    fn the_parts_of_an_initrd_stand_in_the_stubs_order() {
        let part = |text: &str| Rope::from(text.as_bytes().to_vec());
        let addon = |name: &str| TakenAddon {
            name: name.to_owned(),
            cmdline: None,
            ucode: Some(part(&format!("u{name}"))),
            initrd: Some(part(&format!("i{name}"))),
            device_tree: None,
        };
        let additions = Additions {
            addons: vec![addon("1"), addon("2")],
            archives: vec![(Archive::SYSEXT, part("sys"))],
            secrets: vec![part("secret"), Rope::new()],
            ..Additions::default()
        };
        assert_eq!(additions.front_len(), 8);
        let initrd = additions.initrd(Some(&part("initrd")), vec![part("osrel")]);
        let expected = b"u2\0\0u1\0\0initrd\0\0sys\0osrel\0\0\0secret\0\0i1\0\0i2\0\0";
        assert_eq!(initrd.to_vec().unwrap(), expected);
        let alone = Additions::default().initrd(Some(&part("odd")), Vec::new());
        assert_eq!(alone.to_vec().unwrap(), b"odd");
    }
}
