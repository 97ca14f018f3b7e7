//! What a measured boot of an image extends TPM registers with, and what loading
//! it with kexec has IMA measure instead.
//!
//! Spec: TCG PC Client Platform Firmware Profile (PCR 4); systemd-stub(7), "TPM
//! PCR Notes" (PCR 11, PCR 12), and systemd's `src/boot/stub.c`; Linux's
//! `ima_policy`, `KEXEC_CMDLINE`. PCR 4 and PCR 12 also take what others
//! measure: boot loaders, addons, credentials. Firmware's and the kernel's own
//! measurements (PCR 9: initrd and command line) are left out.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use ukexec_bpf::Rope;
use ukexec_pe::{ByteRanges, PeImage};
use ukexec_signature::{Algorithm, AlgorithmSet, Digests, digests_of};
use ukexec_unfold::PeBytes;

use super::extra::Extra;
use super::outcome::Outcome;
use super::uki::Uki;
use crate::protocol::Job;
use crate::report::document::{self, hex};

/// The banks of registers that are told. Firmware may have others.
const BANKS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha384];

/// The sections that systemd-stub extends PCR 11 with, in its order, and the
/// version that is the first to do so. `.pcrsig` is not among them: it signs
/// the outcome. Which of `.dtbauto` and `.efifw` count is up to the machine.
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
    (".hwids", 257),
];

/// Sections of which the stub picks one that fits the machine.
const BY_MACHINE: [&str; 2] = [".dtbauto", ".efifw"];

/// What userspace extends PCR 11 with while it boots, in order
/// (systemd-pcrphase.service(8)).
const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// When the inner kernel is extended, too.
const INNER_KERNEL: &str = "where the stub has firmware load the kernel: before version 258, \
                            later only under Secure Boot behind a shim before 16";

/// Why PCR 12 is not told.
const NO_UTF16: &str = "PCR 12 is not told: the command line is no UTF-8, and a measured boot \
                        would pass it as UTF-16";

/// What would be measured.
#[derive(Debug)]
pub(crate) struct Measurements {
    /// PCR 4, by firmware.
    firmware: Vec<Event>,
    /// By the stub, if the image has sections for one.
    stub: Option<Stub>,
    /// By IMA, when a running kernel loads it.
    ima: Vec<Event>,
    /// What cannot be told.
    notes: Vec<String>,
}

/// What systemd-stub measures.
#[derive(Debug)]
struct Stub {
    version: Option<u32>,
    profile: u32,
    /// PCR 11.
    sections: Register,
    /// PCR 12; `None` where the command line cannot be UTF-16.
    parameters: Option<Register>,
}

/// Something that a register is extended with.
#[derive(Debug)]
struct Event {
    what: String,
    /// What it depends on.
    when: Option<&'static str>,
    digests: Digests,
}

/// A register, and what it was extended with since it was all zeros.
#[derive(Debug)]
struct Register {
    events: Vec<Event>,
    value: Value,
}

/// What a register holds in each bank.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value(Digests);

impl Measurements {
    /// Returns what booting and loading the image of `outcome` would measure.
    pub(crate) fn of(outcome: &Outcome, job: &Job) -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let mut firmware = Vec::new();
        let mut stub = None;
        let mut extra = Extra::default();
        if let Some(uki) = Uki::of(outcome, job)? {
            firmware.extend(loaded(&job.name, uki.pe(), &outcome.image)?);
            if let Some(kernel) = uki.section(".linux")? {
                firmware.extend(inner_kernel(&kernel)?);
                let measured = Stub::of(&uki, callers_line(outcome, job))?;
                notes.extend(not_told(&uki));
                notes.extend(measured.parameters.is_none().then(|| NO_UTF16.to_owned()));
                stub = Some(measured);
            }
            extra = Extra::of(&uki)?;
        }
        let cmdline = Rope::from(outcome.cmdline.clone().unwrap_or_default());
        let mut ima = vec![Event::new("kexec-cmdline", &cmdline)?];
        ima.push(Event::new("kernel", &outcome.kernel)?);
        if let Some(initrd) = extra.behind(outcome.initrd.as_ref()) {
            ima.push(Event::new("initrd", &initrd)?);
        }
        Ok(Self {
            firmware,
            stub,
            ima,
            notes,
        })
    }

    /// Returns this for people, with the SHA-256 bank alone.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for event in &self.firmware {
            event.tell("PCR 4", &mut text);
        }
        if let Some(stub) = &self.stub {
            stub.tell(&mut text);
        }
        for event in &self.ima {
            event.tell("IMA", &mut text);
        }
        for note in &self.notes {
            let _infallible = writeln!(text, "note       {note}");
        }
        text
    }

    pub(crate) fn document(&self) -> Json {
        let stub = self.stub.as_ref();
        json!({
            "stub": stub.and_then(|stub| stub.version),
            "profile": stub.map(|stub| stub.profile),
            "pcr4": { "events": documents(&self.firmware) },
            "pcr11": stub.map(|stub| {
                let mut document = stub.sections.document();
                document["phases"] = stub.phases().map(|(phase, value)| json!({
                    "phase": phase,
                    "value": document::digests(&value.0),
                })).collect();
                document
            }),
            "pcr12": stub.and_then(|stub| Some(stub.parameters.as_ref()?.document())),
            "ima": { "events": documents(&self.ima) },
            "notes": self.notes,
        })
    }
}

/// Returns the command line that a measured boot would have to pass so that the
/// kernel gets the same; `None` if it is the image's own.
fn callers_line<'a>(outcome: &'a Outcome, job: &Job) -> Option<&'a [u8]> {
    let asked = job.cmdline.is_some() || job.append.as_deref().is_some_and(|it| !it.is_empty());
    outcome.cmdline.as_deref().filter(|_| asked)
}

/// Returns what firmware extends when it loads the image `pe`: its digest by
/// Authenticode.
fn loaded(what: &str, pe: &PeImage, image: &Rope) -> anyhow::Result<Option<Event>> {
    let Ok(ranges) = pe.authenticode_ranges() else {
        return Ok(None);
    };
    Ok(Some(Event {
        what: what.to_owned(),
        when: None,
        digests: digests_of(&PeBytes(image), &ranges, banks())?,
    }))
}

fn inner_kernel(kernel: &Rope) -> anyhow::Result<Option<Event>> {
    let Ok(pe) = PeImage::parse(&PeBytes(kernel)) else {
        return Ok(None);
    };
    let event = loaded(".linux", &pe, kernel)?;
    Ok(event.map(|event| Event {
        when: Some(INNER_KERNEL),
        ..event
    }))
}

/// Returns what of the stub's measurements cannot be told.
fn not_told(uki: &Uki<'_>) -> Vec<String> {
    let by_machine = BY_MACHINE.iter().filter(|name| uki.has_any(name));
    let mut notes: Vec<String> = by_machine
        .map(|name| {
            format!("PCR 11 is told without {name}: which of them counts is up to the machine")
        })
        .collect();
    if uki.stub_version().is_none() {
        notes.push(
            "PCRs 11 and 12 are told as of the newest systemd-stub: the image does not say \
             which stub it has (.sdmagic)"
                .to_owned(),
        );
    }
    notes
}

impl Stub {
    fn of(uki: &Uki<'_>, cmdline: Option<&[u8]>) -> anyhow::Result<Self> {
        let version = uki.stub_version();
        let mut sections = Register::new();
        for (name, since) in SECTIONS {
            if version.is_some_and(|version| version < *since) {
                continue;
            }
            if let Some(content) = uki.section(name)? {
                // The name with its NUL is an event of its own.
                let with_nul = [name.as_bytes(), b"\0"].concat();
                let title = format!("{name} (its name)");
                sections.extend(Event::new(&title, &Rope::from(with_nul))?);
                sections.extend(Event::new(name, &content)?);
            }
        }
        let mut register = Register::new();
        if uki.profile() > 0 {
            let number = utf16(&uki.profile().to_string());
            register.extend(Event::new("profile", &number)?);
        }
        let parameters = match std::str::from_utf8(cmdline.unwrap_or_default()) {
            Ok(line) => {
                let line = load_options(line);
                if !line.is_empty() {
                    register.extend(Event::new("command line", &utf16(&line))?);
                }
                Some(register)
            }
            Err(_) => None,
        };
        Ok(Self {
            version,
            profile: uki.profile(),
            sections,
            parameters,
        })
    }

    /// Returns what PCR 11 holds when each phase of the boot has begun.
    fn phases(&self) -> impl Iterator<Item = (String, Value)> {
        let mut value = self.sections.value.clone();
        PHASES.iter().enumerate().map(move |(index, phase)| {
            let entered = PHASES.get(..=index).unwrap_or_default();
            value = value.extended(&digests_of_bytes(phase.as_bytes()));
            (entered.join(":"), value.clone())
        })
    }

    fn tell(&self, text: &mut String) {
        for event in &self.sections.events {
            event.tell("PCR 11", text);
        }
        tell("PCR 11", &self.sections.value.0, "value", text);
        for (phase, value) in self.phases() {
            tell("PCR 11", &value.0, &format!("value at {phase}"), text);
        }
        let Some(parameters) = &self.parameters else {
            return;
        };
        for event in &parameters.events {
            event.tell("PCR 12", text);
        }
        tell("PCR 12", &parameters.value.0, "value", text);
    }
}

/// Returns `line` as the stub takes load options over: without blanks around
/// it, with blanks for control characters inside.
fn load_options(line: &str) -> String {
    let is_blank = |c: char| c <= ' ' || c == '\u{7f}';
    let blank = |c: char| if is_blank(c) { ' ' } else { c };
    line.trim_matches(is_blank).chars().map(blank).collect()
}

/// Returns `text` as UEFI has strings: UTF-16 with a NUL.
fn utf16(text: &str) -> Rope {
    let units = text.encode_utf16().chain([0]);
    Rope::from(units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
}

impl Event {
    fn new(what: &str, bytes: &Rope) -> anyhow::Result<Self> {
        let whole = ByteRanges::from(0..bytes.len());
        Ok(Self {
            what: what.to_owned(),
            when: None,
            digests: digests_of(&PeBytes(bytes), &whole, banks())?,
        })
    }

    fn tell(&self, register: &str, text: &mut String) {
        let what = match self.when {
            Some(when) => format!("{} ({when})", self.what),
            None => self.what.clone(),
        };
        tell(register, &self.digests, &what, text);
    }
}

fn tell(register: &str, digests: &Digests, what: &str, text: &mut String) {
    let digest = hex(digests.get(Algorithm::Sha256).unwrap_or_default());
    let _infallible = writeln!(text, "{register:<10} sha256 {digest} {what}");
}

fn documents(events: &[Event]) -> Vec<Json> {
    let event = |event: &Event| {
        json!({
            "what": event.what,
            "when": event.when,
            "digests": document::digests(&event.digests),
        })
    };
    events.iter().map(event).collect()
}

impl Register {
    fn new() -> Self {
        let zeros = BANKS.map(|bank| (bank, vec![0; bank.digest_len()]));
        Self {
            events: Vec::new(),
            value: Value(zeros.into_iter().collect()),
        }
    }

    fn extend(&mut self, event: Event) {
        self.value = self.value.extended(&event.digests);
        self.events.push(event);
    }

    fn document(&self) -> Json {
        json!({
            "events": documents(&self.events),
            "value": document::digests(&self.value.0),
        })
    }
}

impl Value {
    fn extended(&self, digests: &Digests) -> Self {
        let bank = |(bank, old): (Algorithm, &[u8])| {
            let new = digests.get(bank).unwrap_or_default();
            (bank, bank.digest(&[old, new].concat()))
        };
        Self(self.0.iter().map(bank).collect())
    }
}

fn digests_of_bytes(bytes: &[u8]) -> Digests {
    let digest = |bank: Algorithm| (bank, bank.digest(bytes));
    BANKS.map(digest).into_iter().collect()
}

fn banks() -> AlgorithmSet {
    BANKS.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::uki::tests::with_uki;
    use super::*;

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

    /// Expects PCR 11 with what the stub measures, and in the initrd.
    fn check(stub: &'static str, profile: u32, [value, in_initrd]: [&str; 2], sha384: &str) {
        with_uki(&sections(stub), profile, |uki| {
            let stub = Stub::of(uki, None).unwrap();
            let bank = |value: &Value, bank| hex(value.0.get(bank).unwrap());
            let found = &stub.sections.value;
            assert_eq!(bank(found, Algorithm::Sha256), value);
            assert_eq!(bank(found, Algorithm::Sha384), sha384);
            let (phase, found) = stub.phases().next().unwrap();
            assert_eq!(phase, "enter-initrd");
            assert_eq!(bank(&found, Algorithm::Sha256), in_initrd);
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

    /// What people read and what machines read come of the same values.
    #[test]
    fn words_and_documents_have_what_a_boot_measures() {
        let event = |what: &str| Event::new(what, &Rope::from(what.as_bytes().to_vec())).unwrap();
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel")];
        let measurements = with_uki(sections, 0, |uki| Measurements {
            firmware: vec![Event {
                when: Some("sometimes"),
                ..event("image.efi")
            }],
            stub: Some(Stub::of(uki, Some(b"ro")).unwrap()),
            ima: vec![event("kernel")],
            notes: not_told(uki),
        })
        .unwrap();
        expect![[r#"
            PCR 4      sha256 c8969a6a7a8abba5ef77f3bac5e9abaf6329b6a9c7ffb1869653accb3cbaf7c7 image.efi (sometimes)
            PCR 11     sha256 0da293e37ad5511c59be47993769aacb91b243f7d010288e118dc90e95aaef5a .linux (its name)
            PCR 11     sha256 6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c .linux
            PCR 11     sha256 ff4d55cd85724de92ab538c82df0dd57ae0b5281e088a1a64df159f33c343702 value
            PCR 11     sha256 65cb90ff5267e664e7ae84dd31aa0027fb045871b842bcc1e8be60a4c520dbb2 value at enter-initrd
            PCR 11     sha256 d3a4e5c6bd273cc23e3f0077a8108e4403112a53b0757735a211848efc288400 value at enter-initrd:leave-initrd
            PCR 11     sha256 2ecd18291cdccd601680f300c2cb94d41c16abab08bb44fb8a546cec32217b2a value at enter-initrd:leave-initrd:sysinit
            PCR 11     sha256 698a0a25e4340f5f3ddf14a8186cb6dd64800179c12dfd66542860d5cf07f448 value at enter-initrd:leave-initrd:sysinit:ready
            PCR 12     sha256 39871991d4ca781a9bc435995e6682e4eda29e348de12699770418c5ca7d4127 command line
            PCR 12     sha256 328320ff30e6e3a2cf01cc4d29dd01d40e3b9b6e014d7f1f9a58a3c4e32c185b value
            IMA        sha256 6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c kernel
            note       PCRs 11 and 12 are told as of the newest systemd-stub: the image does not say which stub it has (.sdmagic)
        "#]].assert_eq(&measurements.text());
        let document = serde_json::to_string_pretty(&measurements.document()).unwrap();
        expect![[r#"
            {
              "ima": {
                "events": [
                  {
                    "digests": {
                      "sha256": "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c",
                      "sha384": "e1685b6426d9c5be8691ff8f95eacdc11753355667394aa23124570b14baf68ab322a3aaeb3c599c448ad5016c709a49"
                    },
                    "what": "kernel",
                    "when": null
                  }
                ]
              },
              "notes": [
                "PCRs 11 and 12 are told as of the newest systemd-stub: the image does not say which stub it has (.sdmagic)"
              ],
              "pcr11": {
                "events": [
                  {
                    "digests": {
                      "sha256": "0da293e37ad5511c59be47993769aacb91b243f7d010288e118dc90e95aaef5a",
                      "sha384": "2fdc8531577607d99031d70fb3063e9e4aecf50a7eaa9c2b0bcda5c5a6e111302996c138465920cadea4416d36089651"
                    },
                    "what": ".linux (its name)",
                    "when": null
                  },
                  {
                    "digests": {
                      "sha256": "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c",
                      "sha384": "e1685b6426d9c5be8691ff8f95eacdc11753355667394aa23124570b14baf68ab322a3aaeb3c599c448ad5016c709a49"
                    },
                    "what": ".linux",
                    "when": null
                  }
                ],
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
                "value": {
                  "sha256": "ff4d55cd85724de92ab538c82df0dd57ae0b5281e088a1a64df159f33c343702",
                  "sha384": "5eb0654b84f8626311f6be7890552a0944d695aaae0c9628f15e5872b8fd8120e0a19f0d72339f1f5866aa428aafff15"
                }
              },
              "pcr12": {
                "events": [
                  {
                    "digests": {
                      "sha256": "39871991d4ca781a9bc435995e6682e4eda29e348de12699770418c5ca7d4127",
                      "sha384": "6469f9c989c27f3f7ed52cc56a60afa1d81fe801a44f01c4e2a51fe68af1eee500be5f7407dc210e2015968fc85ee9f9"
                    },
                    "what": "command line",
                    "when": null
                  }
                ],
                "value": {
                  "sha256": "328320ff30e6e3a2cf01cc4d29dd01d40e3b9b6e014d7f1f9a58a3c4e32c185b",
                  "sha384": "c6205c2027a3483c07a28fc1f4b2c6f2bb391b1b8f49f3a055e7442a0d55543039d2fd9bad197185221e709aa64f10be"
                }
              },
              "pcr4": {
                "events": [
                  {
                    "digests": {
                      "sha256": "c8969a6a7a8abba5ef77f3bac5e9abaf6329b6a9c7ffb1869653accb3cbaf7c7",
                      "sha384": "a8f1af41167927ec3bbf5650c1423c0ed1069e5017346b1124d8766d397e4e8db182b8e6085736958dd237704c6c743a"
                    },
                    "what": "image.efi",
                    "when": "sometimes"
                  }
                ]
              },
              "profile": 0,
              "stub": null
            }"#]].assert_eq(&document);
    }

    /// An image that is none for a stub has no registers of the stub's.
    #[test]
    fn without_a_stub_there_is_no_value_of_the_stubs() {
        let measurements = Measurements {
            firmware: Vec::new(),
            stub: None,
            ima: Vec::new(),
            notes: Vec::new(),
        };
        expect![[""]].assert_eq(&measurements.text());
        expect![[r#"{"ima":{"events":[]},"notes":[],"pcr11":null,"pcr12":null,"pcr4":{"events":[]},"profile":null,"stub":null}"#]].assert_eq(&measurements.document().to_string());
    }

    /// Expects the SHA-256 bank of PCR 12.
    fn check_parameters(profile: u32, cmdline: Option<&str>, expected: &str) {
        with_uki(&sections(STUB_257), profile, |uki| {
            let stub = Stub::of(uki, cmdline.map(str::as_bytes)).unwrap();
            let register = stub.parameters.unwrap();
            let value = register.value.0.get(Algorithm::Sha256);
            assert_eq!(hex(value.unwrap()), expected);
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

    /// Replaced bytes would be measured as what nobody passed.
    #[test]
    fn pcr_12_is_not_told_for_a_line_that_is_no_utf_8() {
        with_uki(&sections(STUB_257), 0, |uki| {
            let stub = Stub::of(uki, Some(b"opt=\xe9t\xe9")).unwrap();
            assert!(stub.parameters.is_none());
        })
        .unwrap();
    }
}
