//! Parts of the next system that fail after a boot by kexec: they take the state of the
//! last boot by firmware for that of their own.
//!
//! Firmware keeps the variables of systemd's boot loader and stub until it starts again,
//! the registers of a TPM go on, and folders in memory are gone. A loader can only say so
//! while the machine still serves, and add words to the command line.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ukexec_kexec::{Condition, ConditionId, ConditionVerdict, KexecErrorKind, LoadKind};
use ukexec_stub::image_folder;

use crate::config::loader_variables::LoaderVariables;
use crate::config::udev::{self, Device};
use crate::options::EntryName;
use crate::protocol::BootFacts;
use crate::protocol::line::cut;

/// The state of this machine that a boot by firmware left.
#[derive(Debug, Default)]
pub(crate) struct LastBoot {
    /// The file of the entry whose tries are counted.
    counted: Option<String>,
    /// The stub measured the running kernel, into PCR 11.
    measured: bool,
    /// The ID of the entry that was booted.
    selected: Option<String>,
    /// The image that the stub lay in.
    image: Option<String>,
    /// The variable that names the partition which boot loader or stub came from, and its
    /// UUID.
    partition: Option<(&'static str, String)>,
    has_tpm: bool,
    /// There is a policy of systemd-pcrlock.
    has_pcrlock: bool,
    /// The stub made a secret for this boot.
    has_secret: bool,
}

/// A boot by kexec.
#[derive(Debug)]
pub(crate) struct NextBoot<'a> {
    /// Where the image is.
    pub(crate) image: &'a Path,
    /// The partition that it lies on, if it may be one.
    pub(crate) device: Option<Device>,
    /// The boot entry that names it.
    pub(crate) entry: Option<&'a EntryName>,
    /// Why the kernel does not get the device tree of that entry, in words.
    pub(crate) device_tree: Option<&'a str>,
    pub(crate) facts: &'a BootFacts,
    pub(crate) cmdline: &'a [u8],
    pub(crate) kind: LoadKind,
    /// `/` but for tests.
    pub(crate) root: &'a Path,
}

/// The words by which the next system leaves systemd-bless-boot and its measurements
/// alone.
pub(crate) const MASKS: [&str; 2] = [MASK_BLESS_BOOT, MASK_MEASURED_OS];
const MASK_BLESS_BOOT: &str = "systemd.mask=systemd-bless-boot.service";
const MASK_MEASURED_OS: &str = "systemd.tpm2_measured_os=0";

/// Bytes of a text out of a variable.
const TEXT_MAX: usize = 256;

/// The policies of systemd-pcrlock (systemd-pcrlock(8), "make-policy").
const PCRLOCK: [&str; 2] = ["var/lib/systemd/pcrlock.json", "run/systemd/pcrlock.json"];

/// The drivers of TPMs have devices here.
const TPM: &str = "sys/class/tpm";

const SECRET: &str = "run/systemd/stub/boot-secret";

impl LastBoot {
    /// Reads the state of the machine whose files lie below `root`.
    pub(crate) fn of(root: &Path, variables: &LoaderVariables) -> Self {
        let text = |name| variables.text(name).map(|text| cut(&text, TEXT_MAX));
        let is_there = |path: &&str| fs::symlink_metadata(root.join(path)).is_ok();
        let partition = ["LoaderDevicePartUUID", "StubDevicePartUUID"].into_iter();
        let tpms = fs::read_dir(root.join(TPM));
        Self {
            counted: text("LoaderBootCountPath"),
            measured: text("StubPcrKernelImage").as_deref() == Some("11"),
            selected: text("LoaderEntrySelected"),
            // LoaderImageIdentifier names the boot loader, where there is one.
            image: text("StubImageIdentifier"),
            partition: partition
                .into_iter()
                .find_map(|name| Some((name, text(name)?))),
            has_tpm: tpms.is_ok_and(|mut tpms| tpms.next().is_some()),
            has_pcrlock: PCRLOCK.iter().any(is_there),
            has_secret: is_there(&SECRET),
        }
    }

    /// Returns a condition for each thing that will not work after the `next` boot.
    pub(crate) fn conditions(&self, next: &NextBoot<'_>) -> Vec<Condition> {
        let rows = ROWS.iter();
        let rows = rows.filter(|(id, _)| next.kind == LoadKind::Reboot || is_of_every_kernel(*id));
        let rows = rows.filter_map(|(id, row)| Some((*id, row(self, next)?)));
        let condition = |(id, row): (ConditionId, Row)| Condition {
            id,
            verdict: row.verdict,
            text: row.text.into(),
            advice: row.advice.map(Into::into),
            panic: next.kind == LoadKind::Crash,
            kind: KexecErrorKind::Machine,
        };
        rows.map(condition).collect()
    }
}

/// A crash kernel starts a system of its own, which uses none of the others.
fn is_of_every_kernel(id: ConditionId) -> bool {
    matches!(id, ConditionId::Console | ConditionId::DeviceTree)
}

/// Something that will not work, or that a word of the command line takes care of.
struct Row {
    verdict: ConditionVerdict,
    text: String,
    advice: Option<String>,
}

fn warning(text: impl Into<String>, advice: impl Into<String>) -> Row {
    Row {
        verdict: ConditionVerdict::Warning,
        text: text.into(),
        advice: Some(advice.into()),
    }
}

/// Returns a row about something that the word `mask` of the command line switches off.
fn masked(mask: &str) -> Row {
    Row {
        verdict: ConditionVerdict::Ok,
        text: format!("the command line has {mask}"),
        advice: None,
    }
}

/// Judges one thing; `None` if it works, or if neither machine nor image has it.
type Judge = fn(&LastBoot, &NextBoot<'_>) -> Option<Row>;

const ROWS: &[(ConditionId, Judge)] = &[
    (ConditionId::BlessBoot, bless_boot),
    (ConditionId::MeasuredOs, measured_os),
    (ConditionId::Pcrsig, pcrsig),
    (ConditionId::Pcrlock, pcrlock),
    (ConditionId::BootSecret, boot_secret),
    (ConditionId::CurrentEntry, current_entry),
    (ConditionId::ImageIdentifier, image_identifier),
    (ConditionId::PartitionUuid, partition_uuid),
    (ConditionId::Console, console),
    (ConditionId::DeviceTree, entrys_device_tree),
    (ConditionId::DeviceTree, device_tree),
];

fn bless_boot(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    let counted = last.counted.as_ref()?;
    Some(match next.has(MASK_BLESS_BOOT) {
        true => masked(MASK_BLESS_BOOT),
        false => warning(
            format!(
                "the next system's systemd-bless-boot takes {counted} for its own entry: it marks \
                 that one as good, or fails"
            ),
            "--mask-stale masks it",
        ),
    })
}

fn measured_os(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    last.measured.then(|| match next.has(MASK_MEASURED_OS) {
        true => masked(MASK_MEASURED_OS),
        false => warning(
            "the next system measures into PCR 11 as if its kernel were in there: the register \
             has the running system in it",
            "--mask-stale switches that off (systemd 261)",
        ),
    })
}

fn pcrsig(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    (last.has_tpm && next.facts.pcrsig).then(|| {
        warning(
            "no signature of the image (.pcrsig) fits PCR 11 after a kexec: disks and credentials \
             that need one stay locked",
            "have a recovery key ready, or pass --credential cryptsetup.passphrase=FILE",
        )
    })
}

fn pcrlock(last: &LastBoot, _: &NextBoot<'_>) -> Option<Row> {
    (last.has_tpm && last.has_pcrlock).then(|| {
        warning(
            "the registers of the TPM no longer fit the policy of systemd-pcrlock after a kexec: \
             disks that need it stay locked",
            "have a recovery key ready",
        )
    })
}

fn boot_secret(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    (last.has_secret && !next.facts.boot_secret).then(|| {
        warning(
            "the secret of this boot does not go along: the next system cannot open the state of a \
             software TPM",
            "boot through the firmware if it has one",
        )
    })
}

fn current_entry(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    let selected = last.selected.as_ref()?;
    let is_same = match next.entry {
        // Of entries with one ID, the menu knows which is meant.
        Some(entry) => entry.selected,
        // A boot counter is no part of an ID.
        None => next.image.file_name().is_some_and(|name| {
            let [own, selected] = [name.as_bytes(), selected.as_bytes()].map(image_folder);
            own.eq_ignore_ascii_case(&selected)
        }),
    };
    (!is_same).then(|| {
        let name = next.entry.map_or("ID", |entry| &entry.systemd_boot_id);
        warning(
            format!(
                "LoaderEntrySelected stays {selected}: `bootctl set-default @current` makes that \
                 entry the default"
            ),
            format!("name the one to set: `bootctl set-default {name}`"),
        )
    })
}

fn image_identifier(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    let stays = last.image.as_ref()?;
    let path = fs::canonicalize(next.image).unwrap_or_else(|_| next.image.to_owned());
    // Boot counters change, and FAT has no case.
    let name = |path: &str| image_folder(path.to_ascii_lowercase().as_bytes());
    let of_variable = stays.replace('\\', "/");
    let of_variable = format!("/{}", of_variable.trim_start_matches('/'));
    let is_same = name(&path.to_string_lossy()).ends_with(&name(&of_variable));
    (!is_same).then(|| {
        warning(
            format!(
                "StubImageIdentifier stays {stays}: kdump and installers take that image for the \
                 running one"
            ),
            "name the image to them, as in `ukexec load --panic IMAGE`",
        )
    })
}

fn partition_uuid(last: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    let (variable, stays) = last.partition.as_ref()?;
    let device = next.device?;
    let own = udev::partition_uuid(device, next.root)?;
    // Partitions are looked for on the disk of this one.
    let is_same = own.eq_ignore_ascii_case(stays) || udev::is_on_disk_of(device, stays, next.root);
    (!is_same).then(|| {
        warning(
            format!(
                "{variable} stays {stays}, on another disk than the image's partition \
                 {own}: the next system may mount the ESP and the root of that disk"
            ),
            "name the root on the command line (root=)",
        )
    })
}

fn console(_: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    let text = next.facts.console.as_ref()?;
    Some(warning(text, BootFacts::KEEP_CONSOLE))
}

fn entrys_device_tree(_: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    next.device_tree.map(stays_here)
}

fn device_tree(_: &LastBoot, next: &NextBoot<'_>) -> Option<Row> {
    next.facts.device_tree.as_deref().map(stays_here)
}

/// Returns a row about a device tree.
fn stays_here(text: &str) -> Row {
    Row {
        verdict: ConditionVerdict::Warning,
        text: text.to_owned(),
        advice: None,
    }
}

impl NextBoot<'_> {
    fn has(&self, word: &str) -> bool {
        let mut words = self.cmdline.split(u8::is_ascii_whitespace);
        words.any(|it| it == word.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};
    use tempfile::TempDir;

    use super::*;
    use crate::config::loader_variables::VENDOR;

    /// Variables of a machine that sd-boot booted, which counted tries.
    const BOOTED: [(&str, &str); 5] = [
        ("LoaderBootCountPath", "\\EFI\\Linux\\base+2-1.efi"),
        ("StubPcrKernelImage", "11"),
        ("LoaderEntrySelected", "base.efi"),
        ("StubImageIdentifier", "\\EFI\\Linux\\base+2-1.efi"),
        ("LoaderDevicePartUUID", "AAAA"),
    ];

    /// Files of a machine with a TPM, a policy and a secret.
    const TPM_FILES: [&str; 3] = [
        "sys/class/tpm/tpm0",
        "var/lib/systemd/pcrlock.json",
        "run/systemd/stub/boot-secret",
    ];

    fn machine(variables: &[(&str, &str)], files: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let efivars = root.path().join("efi/efivars");
        fs::create_dir_all(&efivars).unwrap();
        for (name, text) in variables {
            let text = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            let bytes: Vec<u8> = [6, 0, 0, 0].into_iter().chain(text).collect();
            fs::write(efivars.join(format!("{name}-{VENDOR}")), bytes).unwrap();
        }
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn last(root: &TempDir) -> LastBoot {
        let variables = LoaderVariables::open(Some(&root.path().join("efi"))).unwrap();
        LastBoot::of(root.path(), &variables)
    }

    fn facts() -> BootFacts {
        BootFacts {
            pcrsig: true,
            boot_secret: false,
            console: Some("no console".to_owned()),
            device_tree: Some("another tree".to_owned()),
        }
    }

    /// Compares what is said on this machine of an image with these `facts`, after `edit`.
    fn check<'a>(
        root: &'a TempDir,
        facts: &'a BootFacts,
        edit: impl FnOnce(&mut NextBoot<'a>),
        expected: Expect,
    ) {
        let mut next = NextBoot {
            image: Path::new("/nowhere/efi/EFI/Linux/new.efi"),
            device: None,
            entry: None,
            device_tree: None,
            facts,
            cmdline: b"quiet",
            kind: LoadKind::Reboot,
            root: root.path(),
        };
        edit(&mut next);
        let mut lines = String::new();
        for it in last(root).conditions(&next) {
            writeln!(lines, "{} {}: {it}", it.id.name(), it.verdict.name()).unwrap();
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn each_thing_that_will_fail_is_a_line() {
        check(
            &machine(&BOOTED, &TPM_FILES),
            &facts(),
            |_| {},
            expect![[r#"
                bless-boot warning: the next system's systemd-bless-boot takes \EFI\Linux\base+2-1.efi for its own entry: it marks that one as good, or fails; --mask-stale masks it
                measured-os warning: the next system measures into PCR 11 as if its kernel were in there: the register has the running system in it; --mask-stale switches that off (systemd 261)
                pcrsig warning: no signature of the image (.pcrsig) fits PCR 11 after a kexec: disks and credentials that need one stay locked; have a recovery key ready, or pass --credential cryptsetup.passphrase=FILE
                pcrlock warning: the registers of the TPM no longer fit the policy of systemd-pcrlock after a kexec: disks that need it stay locked; have a recovery key ready
                boot-secret warning: the secret of this boot does not go along: the next system cannot open the state of a software TPM; boot through the firmware if it has one
                current-entry warning: LoaderEntrySelected stays base.efi: `bootctl set-default @current` makes that entry the default; name the one to set: `bootctl set-default ID`
                image-identifier warning: StubImageIdentifier stays \EFI\Linux\base+2-1.efi: kdump and installers take that image for the running one; name the image to them, as in `ukexec load --panic IMAGE`
                console warning: no console; --console=keep adds it
                device-tree warning: another tree
            "#]],
        );
    }

    #[test]
    fn a_machine_without_variables_has_only_what_the_image_lacks() {
        check(
            &machine(&[], &[]),
            &facts(),
            |_| {},
            expect![[r#"
            console warning: no console; --console=keep adds it
            device-tree warning: another tree
        "#]],
        );
        // Nothing measured, and nothing that a signature is for.
        let measured = [("StubPcrKernelImage", "12"), ("LoaderBootCountPath", "")];
        let root = machine(&measured, &TPM_FILES[1..2]);
        let none = BootFacts::default();
        check(&root, &none, |_| {}, expect![[""]]);
    }

    #[test]
    fn an_image_without_a_stub_has_no_signature() {
        let none = BootFacts::default();
        let root = machine(&BOOTED[1..2], &TPM_FILES);
        // The units look at the variable, whatever kernel runs.
        check(
            &root,
            &none,
            |_| {},
            expect![[r#"
            measured-os warning: the next system measures into PCR 11 as if its kernel were in there: the register has the running system in it; --mask-stale switches that off (systemd 261)
            pcrlock warning: the registers of the TPM no longer fit the policy of systemd-pcrlock after a kexec: disks that need it stay locked; have a recovery key ready
            boot-secret warning: the secret of this boot does not go along: the next system cannot open the state of a software TPM; boot through the firmware if it has one
        "#]],
        );
        let facts = BootFacts {
            boot_secret: true,
            ..BootFacts::default()
        };
        check(
            &root,
            &facts,
            |_| {},
            expect![[r#"
            measured-os warning: the next system measures into PCR 11 as if its kernel were in there: the register has the running system in it; --mask-stale switches that off (systemd 261)
            pcrlock warning: the registers of the TPM no longer fit the policy of systemd-pcrlock after a kexec: disks that need it stay locked; have a recovery key ready
        "#]],
        );
    }

    #[test]
    fn a_mask_answers_a_condition() {
        let root = machine(&BOOTED[..2], &[]);
        let line = b"quiet systemd.mask=systemd-bless-boot.service systemd.tpm2_measured_os=0";
        let line_words: Vec<&[u8]> = line.split(|byte| *byte == b' ').skip(1).collect();
        assert_eq!(line_words, MASKS.map(str::as_bytes));
        check(
            &root,
            &facts(),
            |next| next.cmdline = line,
            expect![[r#"
            bless-boot ok: the command line has systemd.mask=systemd-bless-boot.service
            measured-os ok: the command line has systemd.tpm2_measured_os=0
            console warning: no console; --console=keep adds it
            device-tree warning: another tree
        "#]],
        );
    }

    #[test]
    fn the_entry_and_the_image_that_were_booted_are_no_news() {
        let root = machine(&BOOTED[2..4], &[]);
        let none = BootFacts::default();
        let entry = |id: &str, systemd_boot_id: &str, selected| EntryName {
            id: id.to_owned(),
            systemd_boot_id: systemd_boot_id.to_owned(),
            selected,
            ..EntryName::default()
        };
        let own = entry("base.efi@main", "base.efi", true);
        let other = entry("base.efi@dbg", "base.efi@dbg", false);
        // systemd-boot does not know the ID of a first profile.
        let first = entry("new.efi@main", "new.efi", false);
        let check = |image: &'static str, entry, expected| {
            let image = Path::new(image);
            check(
                &root,
                &none,
                |next| (next.image, next.entry) = (image, entry),
                expected,
            );
        };
        check("/nowhere/efi/EFI/Linux/base.efi", None, expect![[""]]);
        check("/nowhere/efi/EFI/Linux/base+1-2.efi", None, expect![[""]]);
        check(
            "/nowhere/efi/EFI/Linux/Base+1-2.efi",
            Some(&own),
            expect![[""]],
        );
        check(
            "/nowhere/efi/EFI/Linux/base.efi",
            Some(&first),
            expect![[r#"
                current-entry warning: LoaderEntrySelected stays base.efi: `bootctl set-default @current` makes that entry the default; name the one to set: `bootctl set-default new.efi`
            "#]],
        );
        check(
            "/nowhere/efi/EFI/Linux/base.efi",
            Some(&other),
            expect![[r#"
                current-entry warning: LoaderEntrySelected stays base.efi: `bootctl set-default @current` makes that entry the default; name the one to set: `bootctl set-default base.efi@dbg`
            "#]],
        );
        check(
            "/nowhere/other/base.efi",
            None,
            expect![[r#"
            image-identifier warning: StubImageIdentifier stays \EFI\Linux\base+2-1.efi: kdump and installers take that image for the running one; name the image to them, as in `ukexec load --panic IMAGE`
        "#]],
        );
    }

    #[test]
    fn the_variable_of_a_boot_loader_names_no_image() {
        let loader = [(
            "LoaderImageIdentifier",
            "\\EFI\\systemd\\systemd-bootx64.efi",
        )];
        let none = BootFacts::default();
        check(&machine(&loader, &[]), &none, |_| {}, expect![[""]]);
    }

    #[test]
    fn a_partition_of_the_same_disk_is_no_news() {
        let root = machine(
            &BOOTED[4..],
            &["sys/devices/sda/sda1/dev", "run/udev/data/b8:1"],
        );
        let none = BootFacts::default();
        let edit = |next: &mut NextBoot<'_>| next.device = Some((8, 2));
        check(&root, &none, edit, expect![[""]]);
        let data = |minor, uuid: &str| {
            let path = root.path().join(format!("run/udev/data/b8:{minor}"));
            fs::write(path, format!("E:ID_PART_ENTRY_UUID={uuid}\n")).unwrap();
        };
        data(2, "bbbb");
        check(
            &root,
            &none,
            edit,
            expect![[r#"
            partition-uuid warning: LoaderDevicePartUUID stays AAAA, on another disk than the image's partition bbbb: the next system may mount the ESP and the root of that disk; name the root on the command line (root=)
        "#]],
        );
        let block = root.path().join("sys/dev/block");
        fs::create_dir_all(&block).unwrap();
        let own = root.path().join("sys/devices/sda/sda2");
        fs::create_dir_all(&own).unwrap();
        std::os::unix::fs::symlink(own, block.join("8:2")).unwrap();
        fs::write(root.path().join("sys/devices/sda/sda1/dev"), "8:1\n").unwrap();
        data(1, "aaaa");
        check(&root, &none, edit, expect![[""]]);
        data(2, "aaaa");
        check(&root, &none, edit, expect![[""]]);
        // Without a boot loader, firmware starts the stub.
        let of_stub = machine(&[("StubDevicePartUUID", "CCCC")], &["run/udev/data/b8:2"]);
        fs::write(
            of_stub.path().join("run/udev/data/b8:2"),
            "E:ID_PART_ENTRY_UUID=bbbb\n",
        )
        .unwrap();
        check(
            &of_stub,
            &none,
            edit,
            expect![[r#"
            partition-uuid warning: StubDevicePartUUID stays CCCC, on another disk than the image's partition bbbb: the next system may mount the ESP and the root of that disk; name the root on the command line (root=)
        "#]],
        );
    }

    #[test]
    fn a_crash_kernel_has_a_system_of_its_own() {
        let root = machine(&BOOTED, &TPM_FILES);
        check(
            &root,
            &facts(),
            |next| {
                next.kind = LoadKind::Crash;
                next.device_tree = Some("the entry's");
            },
            expect![[r#"
                console warning: no console; --console=keep adds it
                device-tree warning: the entry's
                device-tree warning: another tree
            "#]],
        );
    }

    #[test]
    fn a_text_of_a_variable_is_short_and_steers_nothing() {
        let long = format!("\u{1b}{}", "x".repeat(1000));
        let last = last(&machine(&[("LoaderEntrySelected", &long)], &[]));
        let selected = last.selected.unwrap();
        assert!(selected.starts_with("\\u{1b}xx") && selected.len() <= TEXT_MAX + "…".len());
    }
}
