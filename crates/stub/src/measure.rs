//! The events that a measured boot of an image extends TPM registers with, and those
//! that IMA measures instead when the image is loaded with kexec.
//!
//! Spec: TCG PC Client Platform Firmware Profile (PCR 4); systemd-stub(7), "TPM
//! PCR Notes" (PCR 11, PCR 12), and systemd's `src/boot/stub.c`; Linux's
//! `ima_policy`, `KEXEC_CMDLINE`. PCRs 4, 12 and 13 also take what other boot loaders
//! measure. Firmware's and the kernel's own measurements (PCR 9: initrd and command line)
//! are left out.

use std::io;

use serde::Serialize;
use ukexec_pe::{PeImage, ReadAt};
use ukexec_signature::{Algorithm, NewState};

use crate::cmdline::{mangled, with_text};
use crate::hardware::{DTBAUTO, EFIFW};
use crate::register::{MeasuredEvent, MeasuredEvents, Register};
use crate::{Archive, Hardware, StubError, Uki};

/// The sections that systemd-stub extends PCR 11 with, in its order, and the
/// version that is the first to do so. `.pcrsig` is not among them: it signs
/// the outcome.
const SECTIONS: &[(&str, u32)] = &[
    (".linux", 252),
    (".osrel", 252),
    (".cmdline", 252),
    (".initrd", 252),
    (".ucode", 256),
    (".splash", 252),
    (".dtb", 252),
    (".uname", 254),
    (".sbat", 254),
    (".pcrpkey", 252),
    (".profile", 257),
    (DTBAUTO, 257),
    (".hwids", 257),
    (EFIFW, 258),
];

/// Sections of which the stub picks one that fits the machine.
const BY_MACHINE: [&str; 2] = [DTBAUTO, EFIFW];

/// When the inner kernel is extended, too.
const INNER_KERNEL: &str = "where the stub has firmware load the kernel: before version 258, \
                            later only under Secure Boot behind a shim before 16";

/// Why another stub may measure something else.
const NO_VERSION: &str = "PCRs 11 and 12 are those of the newest systemd-stub: the image does not \
                          name its version (.sdmagic)";

/// Why PCR 12 is not predicted.
const NO_UTF16: &str = "PCR 12 is not predicted: the command line is no UTF-8, and a measured \
                        boot would pass it as UTF-16";

/// The measurements of booting an image and of loading it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measurements {
    /// The version of systemd-stub, where the image says it.
    pub stub: Option<u32>,
    /// The profile that a stub would boot.
    pub profile: Option<u32>,
    /// Sections, by a stub if there is one.
    pub pcr11: Option<Register>,
    /// Parameters, by a stub that firmware starts; `None` also where the command line
    /// cannot be UTF-16.
    pub pcr12: Option<Register>,
    /// The same of an image that systemd-boot starts, where it passes load options or files,
    /// which it measures too.
    pub pcr12_sd_boot: Option<Register>,
    /// System extensions, by a stub.
    pub pcr13: Option<Register>,
    /// By firmware.
    pub pcr4: MeasuredEvents,
    /// By IMA, when a running kernel loads it.
    pub ima: MeasuredEvents,
    /// Unknowns, in words.
    pub notes: Vec<String>,
    /// The sections that PCR 11 is predicted without.
    #[serde(skip)]
    pub(crate) by_machine: Vec<&'static str>,
}

/// Parts of a boot that do not lie in its image. `C` is the content of files.
#[derive(Debug)]
pub struct Boot<'a, C> {
    /// The command line that a boot loader passes, if any.
    pub cmdline: Option<&'a [u8]>,
    /// The text of all addons, [`addons_text`](crate::addons_text).
    pub addons: &'a str,
    /// The machine's text, [`Smbios::cmdline`](crate::Smbios::cmdline).
    pub smbios: &'a str,
    /// Device trees of addons with the addons' names, in the order of these.
    pub device_trees: Vec<(String, C)>,
    /// Microcode of addons in the same way.
    pub ucode: Vec<(String, C)>,
    /// Initrds of addons in the same way.
    pub initrds: Vec<(String, C)>,
    /// Archives of companions, in the order of
    /// [`COMPANION_ARCHIVES`](crate::COMPANION_ARCHIVES).
    pub archives: Vec<(Archive, C)>,
    /// The load options that systemd-boot passes, without the profile in front of them; if
    /// `None`, they are the command line.
    pub options: Option<&'a str>,
    /// Archives of a boot entry, [`pack_entry_files`](crate::pack_entry_files).
    pub entry_archives: Vec<(Archive, C)>,
    /// The machine, if it is known.
    pub hardware: Option<&'a Hardware>,
    /// The implementation of digests.
    pub state: NewState,
}

impl<C> Default for Boot<'_, C> {
    /// Returns a boot of an image alone on an unknown machine.
    fn default() -> Self {
        Self {
            cmdline: None,
            addons: "",
            smbios: "",
            device_trees: Vec::new(),
            ucode: Vec::new(),
            initrds: Vec::new(),
            archives: Vec::new(),
            options: None,
            entry_archives: Vec::new(),
            hardware: None,
            state: Algorithm::state,
        }
    }
}

impl Measurements {
    /// Adds what booting the image `name` would measure.
    ///
    /// # Errors
    ///
    /// A section has too many zeros behind its content, or the image or a file cannot be
    /// read.
    pub fn add_boot<R: ReadAt, C: ReadAt>(
        &mut self,
        name: &str,
        uki: &Uki<'_, R>,
        boot: &Boot<'_, C>,
    ) -> Result<(), StubError> {
        let outermost = loaded(name, None, uki.pe, &uki.image, boot.state)?;
        self.pcr4.events.extend(outermost);
        let Some(kernel) = uki.section(".linux")? else {
            // Of a kernel without a stub, the boot loader alone measures something there.
            if let Some(options) = boot.options {
                self.pcr12_sd_boot = text("load options", options, boot.state)?
                    .map(|event| Register::of(vec![event]));
            }
            return Ok(());
        };
        if let Ok(pe) = PeImage::parse(&kernel) {
            let inner = loaded(".linux", Some(INNER_KERNEL), &pe, &kernel, boot.state)?;
            self.pcr4.events.extend(inner);
        }
        self.stub = uki.stub_version();
        self.profile = Some(uki.profile());
        self.pcr11 = Some(sections(uki, boot.hardware, boot.state)?);
        self.add_parameters(uki.profile(), boot)?;
        let extensions = [&boot.entry_archives, &boot.archives];
        let extensions = extensions.map(|it| archives(it, 13, boot.state));
        let extensions: io::Result<Vec<_>> = extensions.into_iter().collect();
        self.pcr13 = Some(Register::of(extensions?.concat()));
        let is_there = |name: &&str| boot.hardware.is_none() && uki.pe.section(name).is_some();
        self.by_machine = BY_MACHINE.into_iter().filter(is_there).collect();
        self.notes.extend(self.by_machine.iter().map(|name| {
            format!("PCR 11 is predicted without {name}: the machine decides which of them counts")
        }));
        if self.stub.is_none() {
            self.notes.push(NO_VERSION.to_owned());
        }
        if self.pcr12.is_none() {
            self.notes.push(NO_UTF16.to_owned());
        }
        Ok(())
    }

    /// Adds PCR 12, unless the command line is no UTF-8.
    fn add_parameters<C: ReadAt>(&mut self, profile: u32, boot: &Boot<'_, C>) -> io::Result<()> {
        let Ok(line) = std::str::from_utf8(boot.cmdline.unwrap_or_default()) else {
            return Ok(());
        };
        let line = mangled(line);
        let events = parameters(profile, &line, boot)?;
        let options = boot.options.unwrap_or(&line);
        let options = match profile {
            0 => options.to_owned(),
            _ => with_text(&format!("@{profile}"), options),
        };
        let mut passed = archives(&boot.entry_archives, 12, boot.state)?;
        passed.extend(text("load options", &options, boot.state)?);
        if !passed.is_empty() {
            passed.extend(events.iter().cloned());
            self.pcr12_sd_boot = Some(Register::of(passed));
        }
        self.pcr12 = Some(Register::of(events));
        Ok(())
    }

    /// Returns how many bytes [`Measurements::add_boot`] reads of an image, about.
    pub fn len_to_read<R: ReadAt>(uki: &Uki<'_, R>) -> u64 {
        let len = |name: &str| {
            let section = uki.section(name).ok().flatten();
            section.map_or(0, |section| section.len())
        };
        let sections = SECTIONS.iter().map(|(name, _)| len(name));
        // The inner kernel is an event of PCR 4, too.
        let parts = sections.chain([uki.image.len(), len(".linux")]);
        parts.fold(0, u64::saturating_add)
    }

    /// Adds what loading with kexec has IMA measure; `state` takes the digests.
    ///
    /// # Errors
    ///
    /// Errors of the image's medium.
    pub fn add_load(
        &mut self,
        cmdline: &[u8],
        kernel: &(impl ReadAt + ?Sized),
        initrd: Option<&(impl ReadAt + ?Sized)>,
        state: NewState,
    ) -> io::Result<()> {
        let events = &mut self.ima.events;
        events.push(MeasuredEvent::new("kexec-cmdline", cmdline, state)?);
        events.push(MeasuredEvent::new("kernel", kernel, state)?);
        if let Some(initrd) = initrd {
            events.push(MeasuredEvent::new("initrd", initrd, state)?);
        }
        Ok(())
    }
}

/// Returns what firmware extends when it loads an image: its digest by
/// Authenticode.
fn loaded(
    what: &str,
    when: Option<&'static str>,
    pe: &PeImage,
    image: &impl ReadAt,
    state: NewState,
) -> io::Result<Option<MeasuredEvent>> {
    let Ok(ranges) = pe.authenticode_ranges() else {
        return Ok(None);
    };
    let event = MeasuredEvent::of_ranges(what, image, &ranges, state)?;
    Ok(Some(MeasuredEvent { when, ..event }))
}

/// Returns PCR 11: the sections.
fn sections<R: ReadAt>(
    uki: &Uki<'_, R>,
    hardware: Option<&Hardware>,
    state: NewState,
) -> Result<Register, StubError> {
    let version = uki.stub_version();
    let mut register = Register::new();
    for (name, since) in SECTIONS {
        if version.is_some_and(|version| version < *since) {
            continue;
        }
        let content = match (BY_MACHINE.contains(name), hardware) {
            (true, Some(hardware)) => uki.chosen(name, hardware)?,
            (true, None) => None,
            (false, _) => uki.section(name)?,
        };
        if let Some(content) = content {
            // The name with its NUL is an event of its own.
            let with_nul = [name.as_bytes(), b"\0"].concat();
            register.extend(MeasuredEvent::new(
                &format!("{name} (its name)"),
                &with_nul,
                state,
            )?);
            register.extend(MeasuredEvent::new(name, &content, state)?);
        }
    }
    register.add_phases();
    Ok(register)
}

/// Returns the events of PCR 12 in the stub's order: the profile, texts, and files but
/// system extensions.
fn parameters<C: ReadAt>(
    profile: u32,
    line: &str,
    boot: &Boot<'_, C>,
) -> io::Result<Vec<MeasuredEvent>> {
    let state = boot.state;
    let profile = (profile > 0).then(|| profile.to_string());
    let texts = [
        text("profile", profile.as_deref().unwrap_or_default(), state)?,
        text("command line", line, state)?,
        text("text of addons", boot.addons, state)?,
        text("text of SMBIOS", boot.smbios, state)?,
    ];
    let mut events: Vec<MeasuredEvent> = texts.into_iter().flatten().collect();
    let of_addon = |section: &'static str| {
        move |(name, content): &(String, C)| {
            MeasuredEvent::new(&format!("{section} of {name}"), content, state)
        }
    };
    for tree in boot.device_trees.iter().map(of_addon("device tree")) {
        events.push(tree?);
    }
    events.extend(archives(&boot.archives, 12, state)?);
    // The kernel uses the first microcode that it finds, so that the last addon comes first.
    let ucode = boot.ucode.iter().rev().map(of_addon(".ucode"));
    for addon in ucode.chain(boot.initrds.iter().map(of_addon(".initrd"))) {
        events.push(addon?);
    }
    Ok(events)
}

/// Returns those of `archives` that are measured into `pcr`.
fn archives<C: ReadAt>(
    archives: &[(Archive, C)],
    pcr: u32,
    state: NewState,
) -> io::Result<Vec<MeasuredEvent>> {
    let archives = archives.iter();
    let archives = archives.filter(|(archive, _)| archive.pcr() == Some(pcr));
    let event =
        |(archive, content): &(Archive, C)| MeasuredEvent::new(archive.folder(), content, state);
    archives.map(event).collect()
}

/// Returns the event that `text` is, unless it is empty.
fn text(what: &str, text: &str, state: NewState) -> io::Result<Option<MeasuredEvent>> {
    let event = (!text.is_empty()).then(|| MeasuredEvent::new(what, &utf16(text), state));
    event.transpose()
}

/// Returns `text` as UEFI has strings: UTF-16 with a NUL.
fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use ukexec_signature::{Algorithm, Digests, Hex};

    use super::*;
    use crate::COMPANION_ARCHIVES;
    use crate::register::BootPhase;
    use crate::testing::with_uki;

    /// The expected values are what systemd-measure says (257.13; of what stub
    /// 252 measures, 252.38 says the same), where `cmdline` and `profile` are
    /// the profile's:
    ///
    /// ```sh
    /// systemd-measure calculate --linux=linux --osrel=osrel --initrd=initrd --pcrpkey=pcrpkey \
    ///     --cmdline=cmdline --sbat=sbat --profile=profile \
    ///     --bank=sha256 --bank=sha384 --phase=: --phase=enter-initrd --json=short
    /// ```
    fn sections(stub: &'static str) -> Vec<(&'static str, &'static [u8])> {
        vec![
            (".sbat", b"sbat,1\n"),
            (".sdmagic", stub.as_bytes()),
            (".pcrsig", b"{}"),
            (".initrd", b"initrd"),
            (".osrel", b"ID=x\n"),
            (".cmdline", b"quiet"),
            (".pcrpkey", b"key"),
            (".linux", b"kernel"),
            (".profile", b"ID=main"),
            (".profile", b"ID=two"),
            (".cmdline", b"debug"),
        ]
    }

    const STUB_252: &str = "#### LoaderInfo: systemd-stub 252.39 ####";
    const STUB_257: &str = "#### LoaderInfo: systemd-stub 257.13 ####";

    /// Returns what a boot measures.
    fn measured(uki: &Uki<'_, Vec<u8>>, cmdline: Option<&[u8]>) -> Measurements {
        let mut measurements = Measurements::default();
        let boot = Boot {
            cmdline,
            ..Boot::<Vec<u8>>::default()
        };
        measurements.add_boot("image.efi", uki, &boot).unwrap();
        measurements
    }

    /// Expects PCR 11 with what the stub measures, and in the initrd.
    fn check(stub: &'static str, profile: u32, [value, in_initrd]: [&str; 2], sha384: &str) {
        with_uki(&sections(stub), profile, |uki| {
            let found = measured(uki, None).pcr11.unwrap();
            let bank = |value: &Digests, bank| Hex(value.get(bank).unwrap()).to_string();
            assert_eq!(bank(&found.value, Algorithm::Sha256), value);
            assert_eq!(bank(&found.value, Algorithm::Sha384), sha384);
            let BootPhase { phase, value } = &found.phases[0];
            assert_eq!(phase, "enter-initrd");
            assert_eq!(bank(value, Algorithm::Sha256), in_initrd);
        })
        .unwrap();
    }

    #[test]
    fn pcr_11_is_what_systemd_measure_says() {
        check(
            STUB_257,
            0,
            [
                "7a9e88d1ea3285cdfcd172909f6cd6a344e5f010c7dcd76baa71995559aaae90",
                "a63d15b19bed96bbe9df1dcaa9941fcf72fc1c5d284e6e73fba6cd39254ddc98",
            ],
            "dc52416e7540749da574e0fea761f16abe3156990554acd754094ca524c338cc\
             fe58711599586704f33b5c793c26395f",
        );
        check(
            STUB_257,
            1,
            [
                "c8ea5804ce2079c458521c6b104cf33281a2a42037782c7ef65375fd7ebf161f",
                "8d227a5b734e011e31c24a794d20b0fd1c9cd2e0285a43b18146e3404d601411",
            ],
            "4fb77ee06129e223adac043856dacfbe143ee866d80695b9de027fed9ca4d837\
             913fcd443f1b21444684546874d2b765",
        );
    }

    /// It knows neither `.sbat` nor `.profile`.
    #[test]
    fn an_old_stub_measures_less() {
        check(
            STUB_252,
            0,
            [
                "3ee5e46ef379a32b14be4f130809112df18d9fde37d18687cd89f8c2752d4a1d",
                "da7e9719ae7a9c825834add57f224695c3535eea2105962ed3a878bcb1a3ecc2",
            ],
            "1e004c3fed72b378656883a09088e2a3306a4ba302283b0ff0c57fcdd09ec268\
             a05ce9d3d914e3d8fcd8df806d77f63a",
        );
    }

    #[test]
    fn documents_have_what_a_boot_measures() {
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel")];
        let mut measurements = with_uki(sections, 0, |uki| measured(uki, Some(b"ro"))).unwrap();
        measurements.pcr4.events = vec![MeasuredEvent {
            when: Some("sometimes"),
            ..MeasuredEvent::new("image.efi", &b"image.efi"[..], Algorithm::state).unwrap()
        }];
        measurements.ima.events =
            vec![MeasuredEvent::new("kernel", &b"kernel"[..], Algorithm::state).unwrap()];
        let document = serde_json::to_value(&measurements).unwrap();
        expect![[r#"
            {
              "stub": null,
              "profile": 0,
              "pcr11": {
                "value": {
                  "sha256": "ff4d55cd85724de92ab538c82df0dd57ae0b5281e088a1a64df159f33c343702",
                  "sha384": "5eb0654b84f8626311f6be7890552a0944d695aaae0c9628f15e5872b8fd8120e0a19f0d72339f1f5866aa428aafff15"
                },
                "phases": [
                  {
                    "phase": "enter-initrd",
                    "value": {
                      "sha256": "65cb90ff5267e664e7ae84dd31aa0027fb045871b842bcc1e8be60a4c520dbb2",
                      "sha384": "fc230704af3b328b2273cf16aa0791607604bc920f1d9bd5d6fbc51104898ddd742329883b1f1f47cbeca9e04e46e434"
                    }
                  },
                  {
                    "phase": "enter-initrd:leave-initrd",
                    "value": {
                      "sha256": "d3a4e5c6bd273cc23e3f0077a8108e4403112a53b0757735a211848efc288400",
                      "sha384": "f7ef91416cadd753955164e59dba750b569260cc3afbaad276ba33e1b946de19f9c7f40d3738d588be92b02ece712177"
                    }
                  },
                  {
                    "phase": "enter-initrd:leave-initrd:sysinit",
                    "value": {
                      "sha256": "2ecd18291cdccd601680f300c2cb94d41c16abab08bb44fb8a546cec32217b2a",
                      "sha384": "827efb16eeb4c3ad0da789306e92110897a6e30da505404f684207720031a2a9d4c0dbe12d63e1c7cefee09abd964418"
                    }
                  },
                  {
                    "phase": "enter-initrd:leave-initrd:sysinit:ready",
                    "value": {
                      "sha256": "698a0a25e4340f5f3ddf14a8186cb6dd64800179c12dfd66542860d5cf07f448",
                      "sha384": "47a77d37c21e8cab91bb4be2a744a500117d47e38af01bf225b804e88cd635f76d2ca7513cbc6353a67cfeac66822cbc"
                    }
                  }
                ],
                "events": [
                  {
                    "what": ".linux (its name)",
                    "when": null,
                    "digests": {
                      "sha256": "0da293e37ad5511c59be47993769aacb91b243f7d010288e118dc90e95aaef5a",
                      "sha384": "2fdc8531577607d99031d70fb3063e9e4aecf50a7eaa9c2b0bcda5c5a6e111302996c138465920cadea4416d36089651"
                    }
                  },
                  {
                    "what": ".linux",
                    "when": null,
                    "digests": {
                      "sha256": "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c",
                      "sha384": "e1685b6426d9c5be8691ff8f95eacdc11753355667394aa23124570b14baf68ab322a3aaeb3c599c448ad5016c709a49"
                    }
                  }
                ]
              },
              "pcr12": {
                "value": {
                  "sha256": "328320ff30e6e3a2cf01cc4d29dd01d40e3b9b6e014d7f1f9a58a3c4e32c185b",
                  "sha384": "c6205c2027a3483c07a28fc1f4b2c6f2bb391b1b8f49f3a055e7442a0d55543039d2fd9bad197185221e709aa64f10be"
                },
                "events": [
                  {
                    "what": "command line",
                    "when": null,
                    "digests": {
                      "sha256": "39871991d4ca781a9bc435995e6682e4eda29e348de12699770418c5ca7d4127",
                      "sha384": "6469f9c989c27f3f7ed52cc56a60afa1d81fe801a44f01c4e2a51fe68af1eee500be5f7407dc210e2015968fc85ee9f9"
                    }
                  }
                ]
              },
              "pcr12_sd_boot": {
                "value": {
                  "sha256": "e9c093d3dd39470f99571f02efcd0db6aa7e9db6508aaaa53088e5079034f0e7",
                  "sha384": "def24723443436fe443d0d13706d18a298eeb522061ecf4b43f66473b21f9dd6a3bcdd16da01b3e40ef1a3d33467ba35"
                },
                "events": [
                  {
                    "what": "load options",
                    "when": null,
                    "digests": {
                      "sha256": "39871991d4ca781a9bc435995e6682e4eda29e348de12699770418c5ca7d4127",
                      "sha384": "6469f9c989c27f3f7ed52cc56a60afa1d81fe801a44f01c4e2a51fe68af1eee500be5f7407dc210e2015968fc85ee9f9"
                    }
                  },
                  {
                    "what": "command line",
                    "when": null,
                    "digests": {
                      "sha256": "39871991d4ca781a9bc435995e6682e4eda29e348de12699770418c5ca7d4127",
                      "sha384": "6469f9c989c27f3f7ed52cc56a60afa1d81fe801a44f01c4e2a51fe68af1eee500be5f7407dc210e2015968fc85ee9f9"
                    }
                  }
                ]
              },
              "pcr13": {
                "value": {
                  "sha256": "0000000000000000000000000000000000000000000000000000000000000000",
                  "sha384": "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
                },
                "events": []
              },
              "pcr4": {
                "events": [
                  {
                    "what": "image.efi",
                    "when": "sometimes",
                    "digests": {
                      "sha256": "c8969a6a7a8abba5ef77f3bac5e9abaf6329b6a9c7ffb1869653accb3cbaf7c7",
                      "sha384": "a8f1af41167927ec3bbf5650c1423c0ed1069e5017346b1124d8766d397e4e8db182b8e6085736958dd237704c6c743a"
                    }
                  }
                ]
              },
              "ima": {
                "events": [
                  {
                    "what": "kernel",
                    "when": null,
                    "digests": {
                      "sha256": "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c",
                      "sha384": "e1685b6426d9c5be8691ff8f95eacdc11753355667394aa23124570b14baf68ab322a3aaeb3c599c448ad5016c709a49"
                    }
                  }
                ]
              },
              "notes": [
                "PCRs 11 and 12 are those of the newest systemd-stub: the image does not name its version (.sdmagic)"
              ]
            }"#]].assert_eq(&format!("{document:#}"));
    }

    /// An image that is none for a stub has no registers of the stub's.
    #[test]
    fn without_a_stub_there_is_no_value_of_the_stubs() {
        let measurements = Measurements::default();
        expect![[r#"{"stub":null,"profile":null,"pcr11":null,"pcr12":null,"pcr12_sd_boot":null,"pcr13":null,"pcr4":{"events":[]},"ima":{"events":[]},"notes":[]}"#]].assert_eq(&serde_json::to_value(&measurements).unwrap().to_string());
    }

    /// Expects the SHA-256 bank of PCR 12.
    fn check_parameters(profile: u32, cmdline: Option<&str>, expected: &str) {
        with_uki(&sections(STUB_257), profile, |uki| {
            let register = measured(uki, cmdline.map(str::as_bytes)).pcr12.unwrap();
            let value = register.value.get(Algorithm::Sha256);
            assert_eq!(Hex(value.unwrap()).to_string(), expected);
        })
        .unwrap();
    }

    /// The expected value comes of:
    ///
    /// ```sh
    /// digest() { openssl sha256 -binary; }
    /// (head -c 32 /dev/zero; printf '1\0\0\0' | digest) | digest >profile
    /// (printf 'hello ä' | iconv -t utf-16le; printf '\0\0') | digest >line
    /// cat profile line | digest | xxd -p -c 32
    /// ```
    #[test]
    fn pcr_12_has_the_profile_and_the_callers_command_line() {
        let zeros = "0".repeat(64);
        check_parameters(0, None, &zeros);
        check_parameters(0, Some(" \t"), &zeros);
        check_parameters(
            1,
            Some(" hello\tä\n"),
            "86f1c38fea33a595f1ac4cca6320621d0d9c75a071d3ed9da548d5f8c926eb27",
        );
    }

    /// Returns the SHA-256 bank of a register that these bytes extend, one after another.
    fn extended_by(events: &[&[u8]]) -> Vec<u8> {
        let extend = |value: Vec<u8>, event: &&[u8]| {
            let digest = Algorithm::Sha256.digest(event);
            Algorithm::Sha256.digest(&[value, digest].concat())
        };
        events.iter().fold(vec![0; 32], extend)
    }

    /// Expects the SHA-256 bank of a register.
    fn check_register(register: Option<&Register>, whats: &[&str], events: &[&[u8]]) {
        let register = register.unwrap();
        let found: Vec<&str> = register.events.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(found, whats);
        let value = register.value.get(Algorithm::Sha256).unwrap();
        assert_eq!(value, extended_by(events));
    }

    /// The order is the stub's; it has system extensions in a register of their own.
    #[test]
    fn a_boot_measures_all_that_it_adds() {
        let part = |name: &str| (name.to_owned(), name.as_bytes().to_vec());
        let archives = COMPANION_ARCHIVES.map(|(_, _, it)| (it, it.folder().as_bytes().to_vec()));
        let boot = Boot {
            cmdline: Some(b"ro"),
            addons: "a",
            smbios: "b",
            device_trees: vec![part("t1"), part("t2")],
            ucode: vec![part("u1"), part("u2")],
            initrds: vec![part("i1"), part("i2")],
            archives: archives.into(),
            ..Boot::default()
        };
        with_uki(&sections(STUB_257), 1, |uki| {
            let mut measured = Measurements::default();
            measured.add_boot("image.efi", uki, &boot).unwrap();
            let whats = [
                "profile",
                "command line",
                "text of addons",
                "text of SMBIOS",
                "device tree of t1",
                "device tree of t2",
                ".extra/credentials",
                ".extra/global_credentials",
                ".extra/confext",
                ".extra/global_confext",
                ".ucode of u2",
                ".ucode of u1",
                ".initrd of i1",
                ".initrd of i2",
            ];
            let events: [&[u8]; 14] = [
                b"1\0\0\0",
                b"r\0o\0\0\0",
                b"a\0\0\0",
                b"b\0\0\0",
                b"t1",
                b"t2",
                b".extra/credentials",
                b".extra/global_credentials",
                b".extra/confext",
                b".extra/global_confext",
                b"u2",
                b"u1",
                b"i1",
                b"i2",
            ];
            check_register(measured.pcr12.as_ref(), &whats, &events);
            let options: &[u8] = b"@\x001\0 \0r\0o\0\0\0";
            check_register(
                measured.pcr12_sd_boot.as_ref(),
                &[&["load options"][..], &whats].concat(),
                &[&[options][..], &events].concat(),
            );
            let sysext: [&[u8]; 2] = [b".extra/sysext", b".extra/global_sysext"];
            let whats = [".extra/sysext", ".extra/global_sysext"];
            check_register(measured.pcr13.as_ref(), &whats, &sysext);
        })
        .unwrap();
    }

    /// systemd-boot passes nothing that the image has itself.
    #[test]
    fn a_boot_loader_passes_a_profile_and_a_line() {
        let options = |profile, cmdline| {
            let found = with_uki(&sections(STUB_257), profile, |uki| {
                let measured = measured(uki, cmdline);
                assert_eq!(measured.pcr13.unwrap().events.len(), 0);
                let digests = measured.pcr12_sd_boot?.events[0].digests.clone();
                Some(digests.get(Algorithm::Sha256)?.to_vec())
            });
            found.unwrap()
        };
        let digest = |text| Some(Algorithm::Sha256.digest(&utf16(text)));
        assert_eq!(options(0, None), None);
        assert_eq!(options(0, Some(&b" "[..])), None);
        assert_eq!(options(0, Some(&b"ro"[..])), digest("ro"));
        assert_eq!(options(1, None), digest("@1"));
        assert_eq!(options(1, Some(&b"ro"[..])), digest("@1 ro"));
    }

    /// It measures the files of an entry in front of the options, and these as they are.
    #[test]
    fn a_boot_loader_passes_what_an_entry_says() {
        let archives = [Archive::CREDENTIALS, Archive::SYSEXT, Archive::CONFEXT];
        let boot = Boot {
            cmdline: Some(b"ro x"),
            options: Some("ro\tx"),
            entry_archives: archives
                .map(|it| (it, it.folder().as_bytes().to_vec()))
                .into(),
            ..Boot::default()
        };
        let measured = |sections: &[(&'static str, &'static [u8])]| {
            let mut measured = Measurements::default();
            let added = with_uki(sections, 0, |uki| {
                measured.add_boot("image.efi", uki, &boot).unwrap();
            });
            added.unwrap();
            measured
        };
        let found = measured(&sections(STUB_257));
        check_register(
            found.pcr12_sd_boot.as_ref(),
            &[
                ".extra/credentials",
                ".extra/confext",
                "load options",
                "command line",
            ],
            &[
                b".extra/credentials",
                b".extra/confext",
                b"r\0o\0\t\0x\0\0\0",
                b"r\0o\0 \0x\0\0\0",
            ],
        );
        check_register(
            found.pcr13.as_ref(),
            &[".extra/sysext"],
            &[b".extra/sysext"],
        );
        // A kernel without a stub measures none of this itself.
        let found = measured(&[(".text", b"code")]);
        assert!(found.pcr12.is_none());
        let options = found.pcr12_sd_boot;
        check_register(options.as_ref(), &["load options"], &[b"r\0o\0\t\0x\0\0\0"]);
    }

    #[test]
    fn a_known_machine_has_its_own_sections() {
        let by_machine: &[(&str, &[u8])] = &[(".linux", b"kernel"), (".dtbauto", b"no tree")];
        with_uki(by_machine, 0, |uki| {
            let hardware = Hardware::default();
            let boot = Boot {
                hardware: Some(&hardware),
                ..Boot::<Vec<u8>>::default()
            };
            let mut known = Measurements::default();
            known.add_boot("image.efi", uki, &boot).unwrap();
            let unknown = measured(uki, None);
            assert_eq!([known.notes.len(), unknown.notes.len()], [1, 2]);
            let values = [known, unknown].map(|it| it.pcr11.unwrap().value);
            assert_eq!(values[0], values[1]);
        })
        .unwrap();
    }

    /// Replaced bytes would be measured as what nobody passed.
    #[test]
    fn pcr_12_is_not_predicted_for_a_line_that_is_no_utf_8() {
        with_uki(&sections(STUB_257), 0, |uki| {
            let measured = measured(uki, Some(b"opt=\xe9t\xe9"));
            assert!(measured.pcr12.is_none());
            assert!(measured.notes.contains(&NO_UTF16.to_owned()));
        })
        .unwrap();
    }
}
