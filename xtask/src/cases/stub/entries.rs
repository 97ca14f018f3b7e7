//! Boots of boot entries: by firmware with systemd-boot, and by `ukexec load --entry`.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cases::{Named, read};
use crate::command::Tool;
use crate::firmware::Orders;
use crate::guest::{FirstKernel, TAG, listing_initrd};
use crate::materials::{OS_RELEASE, kernel_with_variables, newer_kernel};
use crate::pki::{Efivars, Kind, Signer};
use crate::qemu::{Machine, Serial};
use crate::stand::{Stand, document};
use crate::uki::Ukify;

use super::compared::{MACHINE, Started};
use super::seen::Seen;
use super::{Built, UNAME, cmdline};

pub(in crate::cases) const CASES: &[Named] = &[
    Named::new("entries/linux", linux),
    Named::new("entries/uki", uki),
    Named::new("entries/profile", profile),
    Named::new("entries/oneshot", oneshot),
    Named::new("entries/secure-boot", secure_boot),
    Named::new("entries/variables", variables),
    Named::new("entries/after-exec", after_exec),
];

impl Built<'_> {
    /// Checks that ukexec boots the entry as firmware did, which measured what the boot loader passed.
    fn compare_entry(&self, id: &str, seen: &Seen) -> Result<()> {
        let started = self.chosen(format!("--entry={id}"), &[]);
        Started {
            pcr_12: "pcr12_sd_boot",
            ..started
        }
        .compare(seen)
    }

    /// An entry of type #1.
    fn entry(&self, name: &str, keys: &[(&str, &str)]) -> Result<()> {
        let lines = keys.iter().map(|(key, value)| format!("{key} {value}\n"));
        let path = format!("loader/entries/{name}");
        self.esp.file(&path, lines.collect::<String>())
    }
}

/// A kernel without a stub, with several initrds, one of which is empty, and a text of the machine.
fn linux(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "linux.conf")?;
    built.esp.copy("k/vmlinuz", &newer_kernel()?)?;
    built.esp.copy("k/listing.cpio", &listing_initrd(stand)?)?;
    for name in ["ucode", "more"] {
        let archive = built.archive(name)?;
        built
            .esp
            .copy(&format!("k/{name}.cpio"), archive.as_ref())?;
    }
    built.esp.file("k/empty.cpio", "")?;
    built.entry(
        "linux.conf",
        &[
            ("title", "Kernel and initrds"),
            ("linux", "/k/vmlinuz"),
            ("initrd", "/k/ucode.cpio"),
            ("initrd", "/k/listing.cpio"),
            ("initrd", "/k/empty.cpio"),
            ("initrd", "/k/more.cpio"),
            ("options", &cmdline("")),
            ("options", "more=1  two"),
        ],
    )?;
    let seen = built.boot(
        &[
            "-smbios",
            "type=11,value=io.systemd.boot.kernel-cmdline-extra= machine=1,\
             value=io.systemd.stub.kernel-cmdline-extra=stub=1",
        ],
        "\
initrd=\\k\\ucode.cpio initrd=\\k\\listing.cpio initrd=\\k\\more.cpio \
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd more=1  two  machine=1
644 /last more
755 /seen/
644 /seen/more more
644 /seen/ucode ucode
PCR 12
",
    )?;
    built.compare_entry("linux.conf", &seen)
}

/// A unified kernel image with options, a profile, and files for its initrd.
fn uki(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "uki.conf")?;
    let ucode = built.archive("ucode")?;
    let two = built
        .part(&[("--profile", "ID=two"), ("--cmdline", &cmdline(" of=two"))])
        .build(&stand.path("two.efi"))?;
    built
        .image()?
        .text("--cmdline", &cmdline(" of=base"))
        .text("--microcode", &ucode)
        .text("--profile", "ID=main")
        .file("--join-profile", &two)
        .build(&built.esp.path("images/base+2.efi")?)?;
    for (name, content) in [
        ("images/base.efi.extra.d/c.cred", "beside c"),
        ("files/b.cred", "extra b"),
        ("files/a.cred", "extra a, odd"),
        ("files/tools.sysext.raw", "extra tools"),
        ("files/net.confext.raw", "extra net"),
        ("files/empty.cred", ""),
        ("files/tools.raw", "no suffix"),
    ] {
        built.esp.file(name, content)?;
    }
    built.entry(
        "uki.conf",
        &[
            ("uki", "/images/base+2.efi"),
            ("profile", "1"),
            ("options", &cmdline(" opts=1")),
            ("extra", "/files/net.confext.raw"),
            ("extra", "/files/b.cred"),
            ("extra", "/files/empty.cred"),
            ("extra", "/files/tools.raw"),
            ("extra", "/files/tools.sysext.raw"),
            ("extra", "/files/a.cred"),
        ],
    )?;
    let seen = built.boot(
        &[
            "-smbios",
            "type=11,value=io.systemd.boot.kernel-cmdline-extra=no=1",
        ],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd opts=1
555 /.extra/
555 /.extra/confext/
444 /.extra/confext/net.confext.raw extra net
500 /.extra/credentials/
400 /.extra/credentials/a.cred extra a, odd
400 /.extra/credentials/b.cred extra b
400 /.extra/credentials/c.cred beside c
444 /.extra/os-release ID=ukexec-test
444 /.extra/profile ID=two
555 /.extra/sysext/
444 /.extra/sysext/tools.sysext.raw extra tools
644 /last ucode
755 /seen/
644 /seen/ucode ucode
PCR 11
PCR 12
PCR 13
",
    )?;
    built.compare_entry("uki", &seen)
}

/// A profile of a unified kernel image, by its ID.
fn profile(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "prof.efi@dbg")?;
    let one = built
        .part(&[("--profile", "ID=dbg"), ("--cmdline", &cmdline(" of=dbg"))])
        .build(&stand.path("one.efi"))?;
    built
        .image()?
        .text("--cmdline", &cmdline(" of=base"))
        .text("--profile", "ID=main")
        .file("--join-profile", &one)
        .build(&built.esp.path("EFI/Linux/prof.efi")?)?;
    let seen = built.boot(
        &[],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd of=dbg
555 /.extra/
444 /.extra/os-release ID=ukexec-test
444 /.extra/profile ID=dbg
PCR 11
PCR 12
",
    )?;
    built.compare_entry("PROF.efi@dbg", &seen)
}

/// The entry that a variable names for one boot, beside the default one.
fn oneshot(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "first.efi")?;
    for name in ["first", "second"] {
        let line = cmdline(&format!(" of={name}"));
        let image = built.image()?.text("--cmdline", &line);
        let path = format!("EFI/Linux/{name}.efi");
        image.build(&built.esp.path(&path)?)?;
    }
    let mut orders = Orders::default();
    orders.boot_loader("LoaderEntryOneShot", "second.efi");
    orders.follow(stand)?;
    let seen = built.boot(
        &[],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd of=second
555 /.extra/
444 /.extra/os-release ID=ukexec-test
PCR 11
",
    )?;
    let started = built.chosen("--entry=second.efi".to_owned(), &[]);
    started.compare(&seen)
}

/// Options that the stub drops and the boot loader measures: the image has a line of its own, and firmware checks
/// signatures.
fn secure_boot(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "main.conf")?;
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let list = owner.list()?;
    let mut orders = Orders::new(&list);
    orders.lists("db", &list);
    orders.follow(stand)?;
    let sign = |name: &str, from: &Path| owner.sign(from, &[], &built.esp.path(name)?);
    sign("EFI/BOOT/BOOTX64.EFI", &built.systemd.boot_loader)?;
    let image = built.image()?.text("--cmdline", &cmdline(""));
    let image = image.build(&stand.path("unsigned.efi"))?;
    sign("images/main.efi", &image)?;
    built.esp.file("files/a.cred", "needs no signature")?;
    built.entry(
        "main.conf",
        &[
            ("uki", "/images/main.efi"),
            ("options", &cmdline(" dropped=1")),
            ("extra", "/files/a.cred"),
        ],
    )?;
    let seen = built.boot(
        &[],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd
555 /.extra/
500 /.extra/credentials/
400 /.extra/credentials/a.cred needs no signature
444 /.extra/os-release ID=ukexec-test
PCR 11
PCR 12
",
    )?;
    Efivars::new(stand, &format!("{MACHINE}/sys/firmware/efi"), true)?.firmware("db", &list)?;
    built.compare_entry("main.conf", &seen)?;
    let load = read(&stand.path("load.json"))?;
    let load = document(&String::from_utf8_lossy(&load))?;
    let warnings = load.pointer("/warnings").and_then(Value::as_array);
    let texts = warnings.into_iter().flatten().filter_map(Value::as_str);
    let is_said = texts
        .into_iter()
        .any(|it| it.contains("options of the entry do not count"));
    ensure!(
        is_said,
        "no warning of the options that are dropped: {load:#}"
    );
    Ok(())
}

/// The entries of the machine below. Their images are elsewhere.
const ENTRIES: [&str; 3] = ["main.conf", "other.conf", "third.conf"];

/// Lists the entries as variables of the firmware's boot mark them, then with another one for the next boot,
/// then behind a boot by kexec for which ukexec removed that.
const LISTING: &str = r#"
list() { echo "guest: $1=$(ukexec entries --esp=/esp --json | tr -d '\n')"; }
mkdir -p /esp/loader/entries
for it in main other third; do echo "uki /images/$it.efi" > /esp/loader/entries/$it.conf; done
echo "default third.conf" > /esp/loader/loader.conf
run insmod /efivarfs.ko
run mount -t efivarfs efivarfs /sys/firmware/efi/efivars
if grep -q second=1 /proc/cmdline; then
    list cleared
    poweroff -f
fi
list started
printf '\7\0\0\0t\0h\0i\0r\0d\0.\0c\0o\0n\0f\0\0\0' > /oneshot
run cp /oneshot /sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
list set
cat /sys/firmware/initrd > /initrd
run ukexec load /vmlinuz --initrd /initrd --cmdline "$(cat /proc/cmdline) second=1"
run ukexec exec --force --clear-oneshot
"#;

/// Marks of entries by the variables of a machine that systemd-boot booted.
fn variables(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "third.conf")?;
    let [kernel, module] = kernel_with_variables()?;
    let bytes = Tool::new("xz").args(["-d", "-c"]).arg(&module).output()?;
    let module = stand.file("efivarfs.ko", bytes.stdout)?;
    let first = FirstKernel::new(LISTING)
        .holding("efivarfs.ko", &module)
        .holding("vmlinuz", &kernel);
    Ukify::by(&built.systemd.ukify, &built.systemd.stub)
        .linux(&kernel, "6.12")
        .file("--initrd", &first.initrd(stand)?)
        .text("--os-release", OS_RELEASE)
        .text("--cmdline", &Machine::X86_64.cmdline("retain_initrd"))
        .build(&built.esp.path("images/main.efi")?)?;
    for name in ["other", "third"] {
        built.esp.file(&format!("images/{name}.efi"), "")?;
    }
    for name in ENTRIES {
        let image = format!("/images/{}.efi", name.trim_end_matches(".conf"));
        built.entry(name, &[("uki", &image)])?;
    }
    let mut orders = Orders::default();
    orders.boot_loader("LoaderEntryDefault", "other.conf");
    orders.boot_loader("LoaderEntryOneShot", "main.conf");
    orders.follow(stand)?;
    let serial = built.esp.boot(&[])?;
    for (list, default, oneshot) in [
        ("started", "other.conf", None),
        ("set", "third.conf", Some("third.conf")),
        ("cleared", "other.conf", None),
    ] {
        expect_marks(&serial, list, "selected", Some("main.conf"))?;
        expect_marks(&serial, list, "default", Some(default))?;
        expect_marks(&serial, list, "oneshot", oneshot)?;
    }
    Ok(())
}

/// Checks which of the entries has a mark.
fn expect_marks(serial: &Serial, list: &str, mark: &str, expected: Option<&str>) -> Result<()> {
    let listed = document(serial.value(&format!("{TAG}{list}="))?)?;
    let entries = listed.pointer("/entries").and_then(Value::as_array);
    let marked = entries.into_iter().flatten().filter(|it| it[mark] == true);
    let marked: Vec<&str> = marked.filter_map(|it| it["id"].as_str()).collect();
    let expected = Vec::from_iter(expected);
    ensure!(
        marked == expected,
        "{list}: {mark}: expected {expected:?}, found {marked:?}"
    );
    Ok(())
}

/// On a machine that firmware booted by an entry with a counter, `load` and `exec` say what will not work,
/// and the variable for the next boot by firmware is removed before the boot, but not where nothing boots.
fn after_exec(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "first*")?;
    let next = built
        .image()?
        .text("--cmdline", &cmdline(" of=next"))
        .build(&stand.path("next.efi"))?;
    let [kernel, module] = kernel_with_variables()?;
    let bytes = Tool::new("xz").args(["-d", "-c"]).arg(&module).output()?;
    let module = stand.file("efivarfs.ko", bytes.stdout)?;
    let script = "export TERM=dumb COLUMNS=400\n\
         insmod /efivarfs.ko\n\
         mount -t efivarfs none /sys/firmware/efi/efivars\n\
         once=/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f\n\
         printf '\\007\\000\\000\\000x\\000\\000\\000' >$once\n\
         rm -f $once; [ -e $once ] && say immutable=yes\n\
         run ukexec load /next.efi\n\
         ukexec exec --clear-oneshot; say refused=$?\n\
         [ -e $once ] && say kept=yes\n\
         run ukexec exec --force --clear-oneshot\n";
    let first = FirstKernel::new(script)
        .holding("next.efi", &next)
        .holding("efivarfs.ko", &module);
    let systemd = &built.systemd;
    Ukify::by(&systemd.ukify, &systemd.stub)
        .linux(&kernel, UNAME)
        .text("--os-release", OS_RELEASE)
        .text("--cmdline", &cmdline(" of=first"))
        .file("--initrd", &first.initrd(stand)?)
        .build(&built.esp.path("EFI/Linux/first+3.efi")?)?;
    let serial = built.esp.boot(&[])?;
    serial.expect(&format!("{TAG}immutable="), "yes")?;
    serial.expect(&format!("{TAG}refused="), "1")?;
    serial.expect(&format!("{TAG}kept="), "yes")?;
    ensure!(
        serial.count("ukexec: LoaderEntryOneShot is removed") == 1,
        "it stays"
    );
    let counted = "systemd-bless-boot takes \\EFI\\Linux\\first+2-1.efi for its own entry";
    for warning in [
        counted,
        "measures into PCR 11 as if its kernel were in there",
        "LoaderEntrySelected stays first.efi",
        "StubImageIdentifier stays \\EFI\\Linux\\first+2-1.efi",
    ] {
        // By `load` and its page, and by both calls of `exec`.
        let count = serial.count(warning);
        ensure!(count == 4, "{warning}: {count} times\n{}", serial.quoted());
    }
    ensure!(serial.text().contains("of=next"), "{}", serial.quoted());
    Ok(())
}
