//! Boots by firmware, with systemd-boot and the newest systemd-stub, of images with files beside them; and boots of the
//! same by ukexec. Kernel, command line, initrd and measurements are the same in both.

mod compared;
pub(super) mod entries;
mod seen;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::esp::Esp;
use crate::firmware::Orders;
use crate::guest::listing_initrd;
use crate::initramfs::Initramfs;
use crate::materials::{OS_RELEASE, Systemd, newer_kernel, newest_systemd};
use crate::pki::{Efivars, Kind, Signer};
use crate::qemu::Machine;
use crate::stand::Stand;
use crate::uki::Ukify;

use super::edited::Edited;
use super::{Named, read};
use compared::{MACHINE, Started};
use seen::Seen;

/// The version of the kernel that images name. `ukify` believes it.
const UNAME: &str = "6.1-test";

pub(super) const CASES: &[Named] = &[
    Named::new("stub/addons", addons),
    Named::new("stub/credentials-and-extensions", extras),
    Named::new("stub/profile", profile),
    Named::new("stub/smbios-text", smbios_text),
    Named::new("stub/no-command-line", no_command_line),
    Named::new("stub/hardware", hardware),
    Named::new("stub/secure-boot", secure_boot),
];

/// A partition under construction, and the tools for it.
struct Built<'a> {
    stand: &'a Stand,
    systemd: Systemd,
    esp: Esp<'a>,
}

impl<'a> Built<'a> {
    /// A partition with systemd-boot, which starts `default`.
    fn new(stand: &'a Stand, default: &str) -> Result<Self> {
        let built = Self {
            stand,
            systemd: newest_systemd()?,
            esp: Esp::new(stand),
        };
        let loader = &built.systemd.boot_loader;
        built.esp.copy("EFI/BOOT/BOOTX64.EFI", loader)?;
        let config = format!("timeout 0\ndefault {default}\n");
        built.esp.file("loader/loader.conf", config)?;
        Ok(built)
    }

    /// An image without a command line, whose kernel lists what it gets.
    fn image(&self) -> Result<Ukify> {
        Ok(self.nameless_image()?.text("--os-release", OS_RELEASE))
    }

    /// An image that only firmware starts, since it does not say which system it is of.
    fn nameless_image(&self) -> Result<Ukify> {
        let initrd = listing_initrd(self.stand)?;
        Ok(Ukify::by(&self.systemd.ukify, &self.systemd.stub)
            .linux(&newer_kernel()?, UNAME)
            .file("--initrd", &initrd))
    }

    /// An image without a kernel, with these sections.
    fn part(&self, sections: &[(&str, &str)]) -> Ukify {
        let ukify = Ukify::by(&self.systemd.ukify, &self.systemd.addon_stub);
        let add = |ukify: Ukify, (option, text): &(&str, &str)| ukify.text(option, text);
        sections.iter().fold(ukify, add)
    }

    /// An addon at `name` of the partition.
    fn addon(&self, name: &str, sections: &[(&str, &str)]) -> Result<()> {
        self.part(sections).build(&self.esp.path(name)?).map(drop)
    }

    /// An archive in the stand's folder that says in `/seen/NAME` that it was there, and in `/last` that it
    /// was the last. Its length is odd.
    fn archive(&self, name: &str) -> Result<String> {
        let mut archive = Initramfs::default();
        archive.dir("seen");
        archive.file(&format!("seen/{name}"), 0o644, name.as_bytes());
        archive.file("last", 0o644, name.as_bytes());
        let bytes = [archive.finish(), vec![0]].concat();
        let path = self.stand.file(&format!("{name}.cpio"), bytes)?;
        Ok(path.to_str().context("the path is no text")?.to_owned())
    }

    /// An image, as systemd-boot starts it.
    fn started<'b>(&'b self, image: &str, options: &'b [&'b str]) -> Started<'b> {
        self.chosen(format!("esp/{image}"), options)
    }

    /// What the argument `chosen` names, as systemd-boot starts it.
    fn chosen<'b>(&'b self, chosen: String, options: &'b [&'b str]) -> Started<'b> {
        Started {
            stand: self.stand,
            chosen,
            options,
            made_up: "",
            pcr_12: "pcr12",
        }
    }

    /// Boots a machine with these options of QEMU, checks the page of what its kernel found, and returns that.
    fn boot(&self, options: &[&str], expected: &str) -> Result<Seen> {
        let serial = self.esp.boot(options)?;
        let seen = Seen::read(&serial).with_context(|| serial.quoted())?;
        let stub = read(&self.systemd.stub)?;
        let checked = seen.expect(expected);
        checked.with_context(|| format!("by {}", version(&stub)))?;
        Ok(seen)
    }
}

/// The version that a stub has in `.sdmagic`.
fn version(stub: &[u8]) -> String {
    let mark = b"#### LoaderInfo: ";
    let at = stub.windows(mark.len()).position(|it| it == mark);
    let text = stub.get(at.unwrap_or(stub.len())..).unwrap_or_default();
    let text = text.split(|&it| it == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The words of every line: the kernel keeps the initrd's bytes.
fn cmdline(more: &str) -> String {
    Machine::X86_64.cmdline(&format!("retain_initrd{more}"))
}

/// As an option of `ukify`, which makes one blank of several in its own option for it.
fn raw_cmdline(text: &str) -> String {
    format!(".cmdline:{text}")
}

/// Text, early archives and late ones out of addons of both folders, and addons that the stub passes over.
fn addons(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "main.efi")?;
    let ucode = built.archive("ucode")?;
    let image = built.esp.path("EFI/Linux/main.efi")?;
    built
        .image()?
        .text(
            "--section",
            &raw_cmdline(&cmdline(" \u{e9}t\u{e9}  own\tone ")),
        )
        .text("--microcode", &ucode)
        .build(&image)?;
    let extra = |name: &str| format!("EFI/Linux/main.efi.extra.d/{name}");
    built.addon(
        "loader/addons/b.addon.efi",
        &[("--section", &raw_cmdline(" b=1  b\t2\u{7f}\n"))],
    )?;
    built.addon("loader/addons/C.addon.efi", &[("--cmdline", "C=1")])?;
    for (name, part) in [
        ("loader/addons/m.addon.efi", "global"),
        (&extra("m.addon.efi"), "local"),
    ] {
        let (initrd, ucode) = (
            built.archive(part)?,
            built.archive(&format!("{part}-ucode"))?,
        );
        built.addon(
            name,
            &[
                ("--initrd", &initrd),
                ("--microcode", &ucode),
                ("--uname", UNAME),
            ],
        )?;
    }
    let late = built.archive("late")?;
    built.addon(&extra("z.addon.efi"), &[("--initrd", &late)])?;
    built.addon(
        &extra("Y.ADDON.EFI"),
        &[("--cmdline", "Y=1"), ("--uname", UNAME)],
    )?;
    built.addon(&extra("a.addon.efi"), &[("--cmdline", "a=1")])?;
    // Passed over: of another kernel, hidden, another suffix, without a section that counts, and a kernel.
    built.addon(
        &extra("c.addon.efi"),
        &[("--cmdline", "foreign=1"), ("--uname", "6.0")],
    )?;
    built.addon(&extra(".d.addon.efi"), &[("--cmdline", "hidden=1")])?;
    built.addon(&extra("e.efi"), &[("--cmdline", "suffix=1")])?;
    built.addon("loader/addons/f.addon.efi", &[("--uname", UNAME)])?;
    built.esp.copy(&extra("g.addon.efi"), &newer_kernel()?)?;
    let seen = built.boot(&[],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd \u{e9}t\u{e9}  own one C=1 b=1  b 2 Y=1 a=1
555 /.extra/
444 /.extra/os-release ID=ukexec-test
644 /last late
755 /seen/
644 /seen/global global
644 /seen/global-ucode global-ucode
644 /seen/late late
644 /seen/local local
644 /seen/local-ucode local-ucode
644 /seen/ucode ucode
PCR 11
PCR 12
"
    )?;
    built.started("EFI/Linux/main.efi", &[]).compare(&seen)
}

/// Credentials and extensions of both folders, beside an image that counts its boots, and the secret that
/// the stub makes where firmware has random numbers.
fn extras(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "base.efi")?;
    let image = built.esp.path("EFI/Linux/base+3-1.efi")?;
    let signatures = stand.file("pcrsig", "{\"sha256\":[]}")?;
    let signatures = format!(".pcrsig:@{}", signatures.display());
    built
        .image()?
        .text("--cmdline", &cmdline(""))
        .file("--pcrpkey", &stand.file("pcrpkey", "not really a key")?)
        .text("--section", &signatures)
        .build(&image)?;
    for (name, content) in [
        ("EFI/Linux/base.efi.extra.d/b.cred", "local b"),
        ("EFI/Linux/base.efi.extra.d/Aa.CRED", "local Aa"),
        ("EFI/Linux/base.efi.extra.d/.hidden.cred", "hidden"),
        ("EFI/Linux/base.efi.extra.d/tools.raw", "local tools"),
        (
            "EFI/Linux/base.efi.extra.d/Tools.SYSEXT.RAW",
            "local Tools, odd",
        ),
        ("EFI/Linux/base.efi.extra.d/net.confext.raw", "local net"),
        ("EFI/Linux/base.efi.extra.d/readme.txt", "no companion"),
        (
            "EFI/Linux/base+3-1.efi.extra.d/c.cred",
            "beside the counter",
        ),
        ("loader/credentials/b.cred", "global b"),
        ("loader/credentials/empty.cred", ""),
        ("loader/credentials/tools.raw", "no credential"),
        ("loader/extensions/tools.raw", "global tools"),
        ("loader/extensions/net.confext.raw", "global net"),
        ("loader/extensions/c.cred", "no extension"),
    ] {
        built.esp.file(name, content)?;
    }
    let seen = built.boot(
        &["-device", "virtio-rng-pci"],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd
555 /.extra/
400 /.extra/boot-secret
555 /.extra/confext/
444 /.extra/confext/net.confext.raw local net
500 /.extra/credentials/
400 /.extra/credentials/Aa.CRED local Aa
400 /.extra/credentials/b.cred local b
555 /.extra/global_confext/
444 /.extra/global_confext/net.confext.raw global net
500 /.extra/global_credentials/
400 /.extra/global_credentials/b.cred global b
400 /.extra/global_credentials/empty.cred
555 /.extra/global_sysext/
444 /.extra/global_sysext/tools.raw global tools
444 /.extra/os-release ID=ukexec-test
555 /.extra/sysext/
444 /.extra/sysext/Tools.SYSEXT.RAW local Tools, odd
444 /.extra/sysext/tools.raw local tools
444 /.extra/tpm2-pcr-public-key.pem not really a key
444 /.extra/tpm2-pcr-signature.json {\"sha256\":[]}
PCR 11
PCR 12
PCR 13
",
    )?;
    built.started("EFI/Linux/base+3-1.efi", &[]).compare(&seen)
}

/// A profile that systemd-boot starts, with a section of no bytes that hides one of the base.
fn profile(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "prof.efi@1")?;
    let ucode = built.archive("ucode")?;
    let one = built
        .part(&[
            ("--profile", "TITLE=The first"),
            ("--cmdline", &cmdline(" of=one")),
            ("--microcode", &ucode),
        ])
        .build(&stand.path("one.efi"))?;
    let image = built.esp.path("EFI/Linux/prof.efi")?;
    built
        .image()?
        .text("--cmdline", &cmdline(" of=base"))
        .text("--microcode", &ucode)
        .text("--profile", "ID=main")
        .file("--join-profile", &one)
        .build(&image)?;
    let edited = Edited(read(&image)?);
    let header = edited.last_section(".ucode")?;
    built
        .esp
        .file("EFI/Linux/prof.efi", edited.with(header + 8, &[0; 4])?.0)?;
    let seen = built.boot(
        &[],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd of=one
555 /.extra/
444 /.extra/os-release ID=ukexec-test
444 /.extra/profile TITLE=The first
PCR 11
PCR 12
",
    )?;
    let started = built.started("EFI/Linux/prof.efi", &["--profile=1"]);
    Started {
        pcr_12: "pcr12_sd_boot",
        ..started
    }
    .compare(&seen)
}

/// Words of the machine's own firmware, behind those of the image.
fn smbios_text(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "main.efi")?;
    let image = built.esp.path("EFI/Linux/main.efi")?;
    built
        .image()?
        .text("--cmdline", &cmdline(""))
        .build(&image)?;
    let seen = built.boot(&[
            "-smbios",
        "type=11,value=io.systemd.other=1,value=io.systemd.stub.kernel-cmdline-extra= machine=1  two ",
            "-smbios",
        "type=11,value=io.systemd.stub.kernel-cmdline-extra=second=1",
        ],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd machine=1  two
555 /.extra/
444 /.extra/os-release ID=ukexec-test
PCR 11
PCR 12
",
    )?;
    built.started("EFI/Linux/main.efi", &[]).compare(&seen)
}

/// An image without words of its own: the stub makes up a console.
fn no_command_line(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "main.efi")?;
    let image = built.esp.path("EFI/Linux/main.efi")?;
    built.image()?.build(&image)?;
    // An emulated timer on a busy host may not tick soon enough for the kernel's check.
    let text = "no_timer_check panic=-1 quiet retain_initrd";
    let value = format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={text}");
    let seen = built.boot(
        &["-smbios", &value],
        "\
no_timer_check panic=-1 quiet retain_initrd console=uart,io,0x3f8
555 /.extra/
444 /.extra/os-release ID=ukexec-test
PCR 11
PCR 12
",
    )?;
    let started = built.started("EFI/Linux/main.efi", &[]);
    Started {
        made_up: " console=uart,io,0x3f8",
        ..started
    }
    .compare(&seen)
}

/// Device trees and firmware for several machines, of which one is this. Firmware starts the image without
/// a boot loader, and the initrd is its only part.
fn hardware(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "none")?;
    let hwids = stand.path("hwids");
    fs::create_dir_all(&hwids)?;
    // The second is type 9 of manufacturer and product below; the first is another machine's.
    let ids = [
        "5f3cd1d8-2f13-5a3c-9a4d-000000000001",
        "77f26bad-fe41-582c-80fe-d17ebbd38d54",
    ];
    let mut image = built
        .nameless_image()?
        .text("--os-release", "")
        .text("--cmdline", &cmdline(""))
        .file("--hwids", &hwids);
    for (name, id) in ["other", "box"].into_iter().zip(ids) {
        let entry = |kind: &str, key: &str, value: &str| {
            format!(
                "{{\"type\":\"{kind}\",\"name\":\"{name}\",\"{key}\":\"{value}\",\"hwids\":[\"{id}\"]}}"
            )
        };
        let compatible = format!("ukexec,{name}");
        let tree = entry("devicetree", "compatible", &compatible);
        fs::write(hwids.join(format!("{name}-tree.json")), tree)?;
        let firmware = entry("uefi-fw", "fwid", &format!("{name}-firmware"));
        fs::write(hwids.join(format!("{name}-firmware.json")), firmware)?;
        let tree = stand.file(&format!("{name}.dtb"), device_tree(&compatible)?)?;
        let folder = stand.path(&format!("{name}-firmware"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("blob"), format!("firmware of {name}"))?;
        image = image
            .file("--devicetree-auto", &tree)
            .file("--efifw", &folder);
    }
    image.build(&built.esp.path("EFI/BOOT/BOOTX64.EFI")?)?;
    let seen = built.boot(
        &["-smbios", "type=1,manufacturer=STUB,product=BOX"],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd
PCR 11
",
    )?;
    built.started("EFI/BOOT/BOOTX64.EFI", &[]).compare(&seen)
}

/// A device tree whose root has a `compatible`.
///
/// Specification: Devicetree Specification 0.4, section 5.
fn device_tree(compatible: &str) -> Result<Vec<u8>> {
    let (begin, end, property, finish) = ([0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3], [0, 0, 0, 9]);
    let value = [compatible.as_bytes(), &[0]].concat();
    let len = u32::try_from(value.len())?.to_be_bytes();
    let mut structure = [&begin[..], &[0; 4], &property, &len, &[0; 4], &value].concat();
    structure.resize(structure.len().next_multiple_of(4), 0);
    structure.extend([end, finish].concat());
    let strings = b"compatible\0";
    // Header of 40 bytes, an end of memory reservations of 16, then both blocks.
    let (at, len) = (40 + 16, u32::try_from(structure.len())?);
    let total = at + len + strings.len() as u32;
    let header = [
        0xd00d_feed,
        total,
        at,
        at + len,
        40,
        17,
        16,
        0,
        strings.len() as u32,
        len,
    ];
    let header = header.map(u32::to_be_bytes).concat();
    Ok([&header, &[0; 16][..], &structure, strings].concat())
}

/// Firmware that checks signatures refuses an addon without one.
fn secure_boot(stand: &Stand) -> Result<()> {
    let built = Built::new(stand, "main.efi")?;
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let list = owner.list()?;
    let mut orders = Orders::new(&list);
    orders.lists("db", &list);
    orders.follow(stand)?;
    let sign = |name: &str, from: &Path| owner.sign(from, &[], &built.esp.path(name)?);
    sign("EFI/BOOT/BOOTX64.EFI", &built.systemd.boot_loader)?;
    let image = built.image()?.text("--cmdline", &cmdline(""));
    sign(
        "EFI/Linux/main.efi",
        &image.build(&stand.path("unsigned.efi"))?,
    )?;
    let extra = "EFI/Linux/main.efi.extra.d";
    let good = built.part(&[("--cmdline", "good=1")]);
    let good = good.build(&stand.path("good.efi"))?;
    sign(&format!("{extra}/good.addon.efi"), &good)?;
    built.addon(&format!("{extra}/bad.addon.efi"), &[("--cmdline", "bad=1")])?;
    built
        .esp
        .file(&format!("{extra}/a.cred"), "needs no signature")?;
    let seen = built.boot(
        &[],
        "\
console=ttyS0 no_timer_check panic=-1 quiet retain_initrd good=1
555 /.extra/
500 /.extra/credentials/
400 /.extra/credentials/a.cred needs no signature
444 /.extra/os-release ID=ukexec-test
PCR 11
PCR 12
",
    )?;
    Efivars::new(stand, &format!("{MACHINE}/sys/firmware/efi"), true)?.firmware("db", &list)?;
    built.started("EFI/Linux/main.efi", &[]).compare(&seen)
}
