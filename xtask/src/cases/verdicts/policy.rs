//! Actions that need a good signature, and those that are left to the caller.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cases::containers::slot;
use crate::cases::{noise, parser_object, read, stock_kernel};
use crate::materials::{Stub, Target, addon_stub, stub};
use crate::stand::{Stand, check_words, text_at};
use crate::uki::{Section, Ukify, objcopy};

use super::{Made, Named, REQUIRED, check_report, trust};

const REQUIRE: &str = "--verify=require";

pub(in super::super) const CASES: &[Named] = &[
    Named::new("verdicts/nothing-runs-before", nothing_runs),
    Named::new("verdicts/command-line-of-the-caller", cmdline),
    Named::new("verdicts/flags-keep-what-is-signed", flags),
    Named::new("verdicts/parsers-of-the-machine", parsers),
    Named::new("verdicts/parser-containers", containers),
    Named::new("verdicts/appended-to-a-kernel", appended),
    Named::new("verdicts/configuration", configuration),
    Named::new("verdicts/signers-without-keys", without_keys),
];

/// A UKI of `sections` and the stock kernel.
fn uki(stand: &Stand, sections: &[(&str, &Path)], name: &str) -> Result<PathBuf> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let mut all: Vec<Section<'_>> = sections
        .iter()
        .map(|&(name, file)| Section { name, file })
        .collect();
    all.push(Section {
        name: ".linux",
        file: &kernel,
    });
    let out = stand.path(name);
    objcopy(&stub(Target::X86_64, Stub::V252)?, &all, &out)?;
    Ok(out)
}

/// No key is needed to know who signed, and `unfold` takes one digest for that.
fn without_keys(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let kernel = made
        .stranger
        .sign(&kernel, &[], &stand.path("kernel.efi"))?;
    let image = stand.path("nested.efi");
    let linux = Section {
        name: ".linux",
        file: &kernel,
    };
    objcopy(&stub(Target::X86_64, Stub::V252)?, &[linux], &image)?;
    let signed = made.owner.sign(&image, &[], &stand.path("outer.efi"))?;
    let both = made.stranger.sign(&signed, &[], &stand.path("both.efi"))?;
    let none = stand.path("no-variables");
    fs::create_dir(&none)?;
    let none = format!("--efivars={}", none.display());
    let report = |command: &str, image: &Path, verify: &str| match command {
        "inspect" => stand.ukexec_json(&[&command, &image, &"--json", &none, &verify]),
        _ => Ok(stand.unfold(image, &[&none, verify])?.report),
    };
    // Layer by layer: the state, who signed, and how many digests were taken.
    let facts = |report: &serde_json::Value| -> Result<Vec<String>> {
        let layers = report["signatures"].as_array().context("no signatures")?;
        Ok(layers
            .iter()
            .map(|layer| {
                let signers = layer["signers"].as_array().into_iter().flatten();
                let subjects: Vec<&str> = signers
                    .map(|it| it["subject"].as_str().unwrap_or("nobody"))
                    .collect();
                let digests = layer["digests"].as_object().map_or(0, serde_json::Map::len);
                let state = layer["state"].as_str().unwrap_or("none");
                format!("{state} {} {digests}", subjects.join("+"))
            })
            .collect())
    };
    for (command, image, verify, expected) in [
        (
            "unfold",
            &signed,
            "--verify=auto",
            [
                "untrusted CN=owner 1",
                "unverified CN=Debian Secure Boot Signer 2022 - linux+CN=stranger 0",
            ],
        ),
        (
            "unfold",
            &both,
            "--verify=auto",
            [
                "untrusted CN=owner+CN=stranger 1",
                "unverified CN=Debian Secure Boot Signer 2022 - linux+CN=stranger 0",
            ],
        ),
        (
            "unfold",
            &image,
            "--verify=auto",
            [
                "unsigned  0",
                "untrusted CN=Debian Secure Boot Signer 2022 - linux+CN=stranger 1",
            ],
        ),
        (
            "unfold",
            &signed,
            "--verify=off",
            [
                "unverified CN=owner 0",
                "unverified CN=Debian Secure Boot Signer 2022 - linux+CN=stranger 0",
            ],
        ),
        (
            "inspect",
            &both,
            "--verify=off",
            [
                "unverified CN=owner+CN=stranger 0",
                "unverified CN=Debian Secure Boot Signer 2022 - linux+CN=stranger 0",
            ],
        ),
        (
            "inspect",
            &signed,
            "--verify=auto",
            [
                "untrusted CN=owner 1",
                "untrusted CN=Debian Secure Boot Signer 2022 - linux+CN=stranger 1",
            ],
        ),
    ] {
        let found = facts(&report(command, image, verify)?)?;
        ensure!(found == expected, "{command} {verify}: {found:?}");
    }
    // A signature around it fits, whoever made it: an older one inside does not count.
    let mut stale = read(&kernel)?;
    let middle = stale.len() / 2;
    stale[middle] ^= 1;
    let stale = stand.file("stale.efi", stale)?;
    let linux = Section {
        name: ".linux",
        file: &stale,
    };
    objcopy(&stub(Target::X86_64, Stub::V252)?, &[linux], &image)?;
    for (image, is_refused) in [
        (
            made.owner.sign(&image, &[], &stand.path("around.efi"))?,
            false,
        ),
        (image, true),
    ] {
        let shown = report("inspect", &image, "--verify=auto")?;
        let shown = shown["signatures"][1]["refused"].as_bool();
        ensure!(shown == Some(is_refused), "refused: {shown:?}");
        let unfolded = report("unfold", &image, "--verify=auto");
        ensure!(unfolded.is_err() == is_refused, "unfold differs");
    }
    Ok(())
}

/// A parser says what it does: silence shows that it did nothing.
fn nothing_runs(stand: &Stand) -> Result<()> {
    const SAYS: &str = "there is nothing in";
    let made = Made::new(stand)?;
    let parser = crate::cases::hostile_parsers::compile(stand, "HANDS_OVER_NOTHING")?;
    let image = uki(stand, &[(".bpf", &parser)], "loud.efi")?;
    let strange = made
        .stranger
        .sign(&image, &[], &stand.path("strange.efi"))?;
    let good = made.owner.sign(&image, &[], &stand.path("signed.efi"))?;
    let trust = trust(made.owner.certificate());
    for (image, options, verdict, speaks) in [
        (
            &image,
            &["--verify=auto"][..],
            "no kernel was handed over",
            true,
        ),
        (&good, &[REQUIRE], "no kernel was handed over", true),
        (&image, &[REQUIRE], "unsigned", false),
        (&image, &[REQUIRE, "--append=x"], "unsigned", false),
        (&strange, &[REQUIRE], "untrusted: ", false),
        (&strange, &[REQUIRE, "--cmdline=x"], "untrusted: ", false),
    ] {
        let options = [options, &[&trust, "-vvv"]].concat();
        for command in ["inspect", "load"] {
            let mut args: Vec<&dyn AsRef<OsStr>> = vec![&command, &image];
            if command == "load" {
                args.push(&"--dry-run");
            }
            args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
            let message = stand.fails(&args)?;
            check_words(&message, &[verdict])?;
            ensure!(message.contains(SAYS) == speaks, "{options:?}: {message}");
        }
    }
    Ok(())
}

/// systemd-stub's rule: an image that has a command line is signed with it.
fn cmdline(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let bare = uki(stand, &[], "bare.efi")?;
    let bare = made
        .owner
        .sign(&bare, &[], &stand.path("bare-signed.efi"))?;
    let trust = trust(made.owner.certificate());
    for options in [
        &["--cmdline=quiet"][..],
        &["--append=quiet"],
        &["--reuse-cmdline"],
    ] {
        let require = [options, &[&trust, REQUIRE]].concat();
        let words = ["good.efi", "has a command line of its own"];
        stand.refuses(&made.good, &require, &words)?;
        stand.unfold(&made.good, &[options, &[&trust]].concat())?;
        stand.unfold(&bare, &require)?;
    }
    let parts = stand.unfold(&bare, &["--append=quiet", &trust, REQUIRE])?;
    ensure!(read(&parts.path("cmdline"))? == b"quiet");
    // An initrd of the caller's is the caller's.
    let initrd = stand.file("mine", noise(1000))?;
    let initrd = format!("--initrd={}", initrd.display());
    stand.unfold(&made.good, &[&initrd, &trust, REQUIRE])?;
    Ok(())
}

/// No flag changes what a signed image boots: not by the way of a profile, nor by
/// that of another parser.
fn flags(stand: &Stand) -> Result<()> {
    const HAS_LINE: &str = "has a command line of its own";
    let made = Made::new(stand)?;
    let trust = trust(made.owner.certificate());
    let line = stand.file("line", "init=/signed")?;
    let sign = |sections: &[(&str, &Path)], name: &str| -> Result<PathBuf> {
        let image = uki(stand, sections, &format!("{name}.efi"))?;
        let signed = stand.path(&format!("{name}-signed.efi"));
        made.owner.sign(&image, &[], &signed)
    };
    let image = profiles(stand)?;
    let image = made
        .owner
        .sign(&image, &[], &stand.path("profiles-signed.efi"))?;
    for options in [
        &["--cmdline=@1 init=/bin/sh"][..],
        &["--cmdline=@dbg init=/bin/sh"],
        &["--cmdline=@1", "--append=init=/bin/sh"],
        &["--profile=1", "--cmdline=init=/bin/sh"],
        &["--profile=dbg", "--append=init=/bin/sh"],
        &["--profile=1", "--cmdline="],
        &["--profile=1", "--reuse-cmdline"],
    ] {
        let require = [options, &[&trust, REQUIRE]].concat();
        stand.refuses(&image, &require, &["profiles-signed.efi", HAS_LINE])?;
        stand.unfold(&image, &[options, &[&trust]].concat())?;
    }
    // Which profile is booted is the caller's to say, and one without a line has
    // the caller's.
    for (options, expected) in [
        (&["--cmdline=@1"][..], "init=/signed"),
        (&["--profile=dbg"], "init=/signed"),
        (&["--cmdline=@bare quiet"], "quiet"),
        (&["--profile=2", "--append=quiet"], "quiet"),
        (&["--cmdline=quiet"], "quiet"),
    ] {
        let parts = stand.unfold(&image, &[options, &[&trust, REQUIRE]].concat())?;
        ensure!(
            read(&parts.path("cmdline"))? == expected.as_bytes(),
            "{options:?}"
        );
    }

    let parser = parser_object("uki")?;
    let signed = made.owner.append(&parser, &stand.path("signed.bpf.o"))?;
    let signed = format!("--parser={}", signed.display());
    let with_parser = sign(&[(".bpf", &parser), (".cmdline", &line)], "own-parser")?;
    let bare = sign(&[(".bpf", &parser)], "own-parser-bare")?;
    let without = sign(&[], "no-parser")?;
    for (image, options, words) in [
        (
            &with_parser,
            &["--no-embedded-parser"][..],
            "carries a parser of its own",
        ),
        (
            &bare,
            &["--no-embedded-parser", "--cmdline=x"],
            "carries a parser of its own",
        ),
        (&with_parser, &[&signed, "--cmdline=x"], HAS_LINE),
        (
            &bare,
            &[&signed, "--cmdline=x"],
            "known to its own parser alone",
        ),
        (
            &bare,
            &[&signed, "--append=x"],
            "known to its own parser alone",
        ),
        (
            &without,
            &[&signed, "--append=x"],
            "known to its own parser alone",
        ),
    ] {
        let require = [options, &[&trust, REQUIRE]].concat();
        stand.refuses(image, &require, &[words])?;
        stand.unfold(image, &[options, &[&trust]].concat())?;
    }
    for (image, options) in [
        (&bare, &["--cmdline=x"][..]),
        (&without, &["--cmdline=x"]),
        (&without, &["--no-embedded-parser", "--cmdline=x"]),
        (&with_parser, &[&signed]),
    ] {
        stand.unfold(image, &[options, &[&trust, REQUIRE]].concat())?;
    }
    Ok(())
}

/// A base without a command line, profile `dbg` with one, and `bare` without.
fn profiles(stand: &Stand) -> Result<PathBuf> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let addon = addon_stub(Target::X86_64)?;
    let debug = Ukify::on(&addon)?
        .text("--profile", "ID=dbg")
        .text("--cmdline", "init=/signed")
        .build(&stand.path("debug.efi"))?;
    let bare = Ukify::on(&addon)?
        .text("--profile", "ID=bare")
        .build(&stand.path("bare.efi"))?;
    Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
        .linux(&kernel, "6.1.0")
        .text("--profile", "ID=main")
        .file("--join-profile", &debug)
        .file("--join-profile", &bare)
        .build(&stand.path("profiles.efi"))
}

/// Parsers that no image carries are signed for themselves.
fn parsers(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let trust = trust(made.owner.certificate());
    let plain = parser_object("uki")?;
    let signed = made.owner.append(&plain, &stand.path("signed.bpf.o"))?;
    let strange = made.stranger.append(&plain, &stand.path("strange.bpf.o"))?;
    let mut bytes = read(&signed)?;
    *bytes.get_mut(0x200).context("a short parser")? ^= 1;
    let damaged = stand.file("damaged.bpf.o", bytes)?;
    let given = |parser: &Path| format!("--parser={}", parser.display());
    for (parser, word) in [
        (&plain, "unsigned"),
        (&strange, "untrusted: "),
        (&damaged, "bad signature: "),
    ] {
        let words = ["may not run", word, REQUIRED];
        stand.refuses(&made.good, &[&given(parser), &trust, REQUIRE], &words)?;
    }
    stand.unfold(&made.good, &[&given(&plain), &trust])?;
    let parts = stand.unfold(&made.good, &[&given(&signed), &trust, REQUIRE])?;
    parts.expect_parsers(&[("signed.bpf.o", "given")])?;

    let plain = parser_object("uki.match")?;
    let signed = made.owner.append(&plain, &stand.path("signed.bpf.o"))?;
    let strange = made.stranger.append(&plain, &stand.path("strange.bpf.o"))?;
    let folder = stand.path("parsers.d");
    fs::create_dir(&folder)?;
    let option = format!("--parsers-dir={}", folder.display());
    for (parser, policy, origin) in [
        (&plain, "--verify=auto", "parsers.d"),
        (&plain, REQUIRE, "built-in"),
        (&strange, REQUIRE, "built-in"),
        (&signed, REQUIRE, "parsers.d"),
    ] {
        fs::copy(parser, folder.join("uki.bpf.o"))?;
        let parts = stand.unfold(&made.good, &[&option, &trust, policy])?;
        let found = text_at(&parts.report, "/layers/0/parser/origin")?;
        ensure!(found == origin, "{}: {found}", parser.display());
    }
    Ok(())
}

/// So are containers of parsers, and each one in another.
fn containers(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let trust = trust(made.owner.certificate());
    let parser = slot(stand, "uki")?;
    let pack = |nested: Option<&Path>| -> Result<PathBuf> {
        let packed = stand.path("packed.bpf");
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"parser", &"pack", &parser, &"-o", &packed];
        if let Some(nested) = &nested {
            args.extend([&"--nested" as &dyn AsRef<OsStr>, nested]);
        }
        stand.ukexec(&args)?;
        Ok(packed)
    };
    let plain = stand.path("plain.bpf");
    fs::rename(pack(None)?, &plain)?;
    let signed = made.owner.append(&plain, &stand.path("signed.bpf"))?;
    let mut bytes = read(&signed)?;
    *bytes.get_mut(0x200).context("a short parser")? ^= 1;
    let damaged = stand.file("damaged.bpf", bytes)?;
    let given = |parser: &Path| format!("--parser={}", parser.display());
    let words = ["may not run", "unsigned", REQUIRED];
    stand.refuses(&made.good, &[&given(&plain), &trust, REQUIRE], &words)?;
    stand.unfold(&made.good, &[&given(&plain), &trust])?;
    let parts = stand.unfold(&made.good, &[&given(&signed), &trust, REQUIRE])?;
    parts.expect_parsers(&[("signed.bpf", "given")])?;
    for (inner, word) in [(&plain, "unsigned"), (&damaged, "bad signature: ")] {
        let outer = made
            .owner
            .append(&pack(Some(inner))?, &stand.path("outer.bpf"))?;
        let words = ["may not run", ".bpf.nested", word, REQUIRED];
        stand.refuses(&made.good, &[&given(&outer), &trust, REQUIRE], &words)?;
    }
    let both = pack(Some(&signed))?;
    let words = ["may not run", "unsigned", REQUIRED];
    stand.refuses(&made.good, &[&given(&both), &trust, REQUIRE], &words)?;
    let outer = made.owner.append(&both, &stand.path("outer.bpf"))?;
    let parts = stand.unfold(&made.good, &[&given(&outer), &trust, REQUIRE])?;
    parts.expect_parsers(&[("outer.bpf", "given")])
}

/// A kernel that is no PE image is signed like a module.
fn appended(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let trust = trust(made.owner.certificate());
    let kernel = stand.file("vmlinux", elf())?;
    let signed = made.owner.append(&kernel, &stand.path("vmlinux-signed"))?;
    let strange = made
        .stranger
        .append(&kernel, &stand.path("vmlinux-strange"))?;
    let mut bytes = read(&signed)?;
    *bytes.get_mut(0x200).context("a short kernel")? ^= 1;
    let damaged = stand.file("vmlinux-damaged", bytes)?;
    // A file that begins with MZ has its signatures in it, or none.
    let on_pe = made
        .owner
        .append(&made.unsigned, &stand.path("on-pe.efi"))?;
    for (image, verdict) in [
        (&kernel, "unsigned"),
        (&signed, "good, by CN=owner"),
        (&strange, "untrusted: "),
        (&on_pe, "unsigned"),
    ] {
        let report = stand.unfold(image, &[&trust])?.report;
        let found = text_at(&report, "/signatures/0/text")?;
        ensure!(found.starts_with(verdict), "{verdict:?}: {found}");
        if verdict.starts_with("good") {
            stand.unfold(image, &[&trust, REQUIRE])?;
        } else {
            stand.refuses(image, &[&trust, REQUIRE], &[verdict, REQUIRED])?;
        }
    }
    // Its digest is not in the signature: it takes the key to see that it does not fit.
    stand.unfold(&damaged, &["--verify=auto"])?;
    let does_not_fit = "bad signature: the signature does not verify with the key of CN=owner";
    stand.refuses(&damaged, &[&trust], &[does_not_fit])?;
    stand.refuses(&damaged, &[&trust, REQUIRE], &[does_not_fit])
}

/// An ELF file as ppc64's kernels are: headers, one segment, some bytes.
fn elf() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    for field in [2_u16, 21] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for field in [0xc000_0000_0000_0000_u64, 64, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(2_u32.to_le_bytes());
    for field in [64_u16, 56, 1, 64, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1_u32, 7].map(u32::to_le_bytes).concat());
    let segment = [0x1000_u64, 0xc000_0000_0000_0000, 0, 0x1000, 0x1000, 0x1000];
    bytes.extend(segment.map(u64::to_le_bytes).concat());
    bytes.resize(0x1000, 0);
    bytes.extend(noise(0x1000));
    bytes
}

fn configuration(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let key = made.owner.certificate().display().to_string();
    let conf = stand.file(
        "ukexec.conf",
        format!("verify = \"require\"\ntrust = [\"{key}\"]\n"),
    )?;
    let config = format!("--config={}", conf.display());
    stand.refuses(&made.unsigned, &[&config], &["unsigned", REQUIRED])?;
    let report = stand.unfold(&made.good, &[&config])?.report;
    check_report(&report, "good, by CN=owner", true)?;
    // The command line wins.
    stand.unfold(&made.unsigned, &[&config, "--verify=off"])?;
    let stranger = trust(made.stranger.certificate());
    stand.refuses(&made.good, &[&config, &stranger], &["untrusted: "])?;
    for (content, word) in [
        ("verfiy = \"off\"\n", "verfiy"),
        ("verify = \"yes\"\n", "yes"),
        ("trust = \"system\"\n", "expected a sequence"),
    ] {
        fs::write(&conf, content)?;
        let words = ["ukexec.conf", "line 1", word];
        stand.refuses(&made.good, &[&config], &words)?;
    }
    let absent = format!("--config={}", stand.path("absent.conf").display());
    stand.refuses(&made.good, &[&absent], &["absent.conf"])
}
