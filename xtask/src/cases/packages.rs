//! The Debian packages: their content, and that a commit always gives the same ones.
//!
//! [`installing`] puts them into Debian.

pub(super) mod installing;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::cross;
use crate::dist;
use crate::materials::Target;
use crate::runner;
use crate::stand::{Stand, check_words};
use crate::workspace;

use super::{Named, read, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("packages/a-commit-gives-the-same-ones", reproducible),
    Named::new("packages/content", content),
    Named::new("packages/content-for-arm64", content_for_arm64),
    Named::new("packages/lintian", lintian),
    Named::new("packages/pages", pages),
    Named::new("packages/completions", completions),
    Named::new("packages/configuration", configuration),
];

/// Another checkout of the commit, at a path of another length, gives the same bytes.
fn reproducible(stand: &Stand) -> Result<()> {
    let root = workspace::root();
    let git = || Tool::new("git").dir(&root);
    if !git().args(["status", "--porcelain"]).text()?.is_empty() {
        return Err(runner::skip(
            "this checkout has changes that are in no commit",
        ));
    }
    let other = stand.path("another-checkout/of-the-commit");
    git()
        .args(["clone", "--quiet"])
        .arg(&root)
        .arg(&other)
        .run()?;
    let second = dist::build(&other, &stand.path("another-build"), cross::PROFILE)?;
    for (first, second) in dist::packages()?.iter().zip(&second) {
        ensure!(
            read(first)? == read(second)?,
            "{} and {} differ; diffoscope says in what",
            first.display(),
            second.display()
        );
    }
    Ok(())
}

/// The files that people and tools look for, and no path of this machine in the programs.
fn content(stand: &Stand) -> Result<()> {
    let [ukexec, kexec] = dist::packages()?;
    listed(
        &ukexec,
        &[
            "-rwxr-xr-x ./usr/bin/ukexec",
            "-rw-r--r-- ./etc/ukexec/ukexec.conf",
            "./etc/ukexec/parsers.d/",
            "./usr/lib/ukexec/parsers.d/",
            "./usr/lib/systemd/system/ukexec-load@.service",
            "./usr/share/man/man5/ukexec.conf.5.gz",
            "./usr/share/man/man8/ukexec.8.gz",
            "./usr/share/man/man8/ukexec-load.8.gz",
            "./usr/share/man/man8/ukexec-parser-check.8.gz",
            "./usr/share/bash-completion/completions/ukexec",
            "./usr/share/zsh/vendor-completions/_ukexec",
            "./usr/share/fish/vendor_completions.d/ukexec.fish",
            "./usr/share/doc/ukexec/copyright",
            "./usr/share/doc/ukexec/changelog.gz",
            "./usr/share/doc/ukexec/README.md",
            "./usr/share/doc/ukexec/examples/fleet/rolling-reboot.yml",
        ],
    )?;
    listed(
        &kexec,
        &[
            "-rwxr-xr-x ./usr/sbin/kexec",
            "./usr/share/man/man8/kexec.8.gz",
            "./usr/share/bash-completion/completions/kexec",
        ],
    )?;
    for (package, program) in [(&ukexec, "usr/bin/ukexec"), (&kexec, "usr/sbin/kexec")] {
        let dir = stand.path(&program.replace('/', "-"));
        Tool::new("dpkg-deb")
            .arg("-x")
            .arg(package)
            .arg(&dir)
            .run()?;
        let bytes = read(&dir.join(program))?;
        for folder in [workspace::root(), dist::cargo_home()?] {
            let folder = folder.to_string_lossy().into_owned();
            let holds = bytes
                .windows(folder.len())
                .any(|it| it == folder.as_bytes());
            ensure!(!holds, "{program} holds {folder}");
        }
        let needed = Tool::new("objdump")
            .arg("-p")
            .arg(dir.join(program))
            .text()?;
        let needed = needed
            .lines()
            .filter_map(|line| line.trim().strip_prefix("NEEDED"));
        for library in needed.map(str::trim) {
            ensure!(
                library.starts_with("libc.so") || library.starts_with("ld-linux"),
                "{program} needs {library}: tools that make an initramfs copy one file"
            );
        }
    }
    Ok(())
}

/// Packages for another architecture have its programs. These are the programs that run in emulated machines, since a
/// build as in `cargo xtask dist` takes minutes.
fn content_for_arm64(stand: &Stand) -> Result<()> {
    // ELF, `e_machine`: EM_AARCH64.
    const MACHINE: [u8; 2] = [183, 0];
    cross::program(Target::Arm64, "ukexec")?;
    dist::packages()?;
    let packages = dist::foreign(
        Target::Arm64,
        cross::PROFILE,
        &cross::dir(),
        &stand.path(""),
    )?;
    for (package, program) in packages.iter().zip(["usr/bin/ukexec", "usr/sbin/kexec"]) {
        let tool = || Tool::new("dpkg-deb");
        let architecture = tool().arg("-f").arg(package).arg("Architecture").text()?;
        ensure!(architecture.trim() == "arm64", "it is for {architecture}");
        listed(package, &[&format!("-rwxr-xr-x ./{program}")])?;
        let dir = stand.path(&program.replace('/', "-"));
        tool().arg("-x").arg(package).arg(&dir).run()?;
        let bytes = read(&dir.join(program))?;
        ensure!(
            bytes.get(18..20) == Some(&MACHINE),
            "{program} is for another machine"
        );
    }
    listed(&packages[0], &["./usr/share/man/man8/ukexec.8.gz"])
}

/// Checks that a package has these files: the ends of lines of `dpkg-deb -c`, with their modes where those matter.
fn listed(package: &Path, files: &[&str]) -> Result<()> {
    let list = Tool::new("dpkg-deb").arg("-c").arg(package).text()?;
    for file in files {
        let (mode, path) = match file.split_once(" ./") {
            Some((mode, path)) => (mode, format!(" ./{path}")),
            None => ("", format!(" {file}")),
        };
        let is_there = |line: &str| line.ends_with(&path) && line.starts_with(mode);
        ensure!(list.lines().any(is_there), "no {file} in:\n{list}");
    }
    Ok(())
}

fn lintian(_: &Stand) -> Result<()> {
    let found = Tool::new("lintian")
        .args([
            "--fail-on",
            "error",
            "--allow-root",
            "--no-tag-display-limit",
        ])
        .args(dist::packages()?)
        .text()?;
    print!("{found}");
    Ok(())
}

/// Makes the pages of this checkout, without a build of the packages.
fn texts(stand: &Stand) -> Result<PathBuf> {
    let dir = stand.path("texts");
    dist::pages(
        &workspace::root(),
        &workspace::dist_dir(),
        &dir,
        "1796000000",
    )?;
    Ok(dir)
}

fn pages(stand: &Stand) -> Result<()> {
    let texts = texts(stand)?;
    let mut count = 0;
    for section in ["man5", "man8"] {
        for page in fs::read_dir(texts.join(section))? {
            let page = page?.path();
            count += 1;
            // mandoc prints its findings, and ends with 0 up to the level of -W.
            let found = Tool::new("mandoc")
                .args(["-Tlint", "-W", "warning"])
                .arg(&page)
                .text()?;
            ensure!(found.is_empty(), "mandoc:\n{found}");
            let man = Tool::new("man")
                .args(["--warnings", "-Tutf8", "--local-file"])
                .arg(&page)
                .env("LC_ALL", "C.UTF-8")
                .env("MANROFFSEQ", "")
                .output()?;
            let warnings = String::from_utf8_lossy(&man.stderr).into_owned();
            ensure!(
                man.status.success() && warnings.is_empty(),
                "man {}: {warnings}",
                page.display()
            );
            let text = String::from_utf8(man.stdout).context("man writes UTF-8")?;
            // Without the overstrikes of bold and underlined letters.
            let plain: String = text.split('\u{8}').fold(String::new(), |mut plain, part| {
                if !plain.is_empty() {
                    plain.pop();
                }
                plain.push_str(part);
                plain
            });
            check_words(&plain, &["NAME", "SYNOPSIS", "SEE ALSO", "2026-11-30"])?;
        }
    }
    ensure!(count > 18, "{count} pages");
    Ok(())
}

/// The shells read the completions, and bash completes by them.
fn completions(stand: &Stand) -> Result<()> {
    let texts = texts(stand)?;
    for command in ["ukexec", "kexec"] {
        let bash = texts.join("bash").join(command);
        Tool::new("bash").arg("-n").arg(bash).run()?;
        let zsh = texts.join("zsh").join(format!("_{command}"));
        Tool::new("zsh").arg("-n").arg(zsh).run()?;
        let fish = texts.join("fish").join(format!("{command}.fish"));
        Tool::new("fish").arg("--no-execute").arg(fish).run()?;
    }
    for (command, typed, expected) in [
        ("ukexec", "lo", "load"),
        ("ukexec", "--ver", "--verbose --version"),
        ("kexec", "--load-p", "--load-panic --load-preserve-context"),
    ] {
        let script = format!(
            ". {}/bash/{command}; COMP_WORDS=({command} {typed}); COMP_CWORD=1; \
             _{command} {command} {typed} {command}; echo ${{COMPREPLY[*]}}",
            texts.display()
        );
        let completed = Tool::new("bash").args(["-c", &script]).text()?;
        let mut words: Vec<&str> = completed.split_whitespace().collect();
        words.sort_unstable();
        ensure!(
            words.join(" ") == expected,
            "{command} {typed}: {completed}"
        );
    }
    Ok(())
}

/// The configuration that is shipped says nothing; with its keys, it says what counts without it.
fn configuration(stand: &Stand) -> Result<()> {
    let shipped = fs::read_to_string(workspace::root().join("dist/ukexec.conf"))?;
    let is_silent = |line: &str| line.is_empty() || line.starts_with('#');
    ensure!(shipped.lines().all(is_silent), "{shipped}");
    let key = |line: &str| {
        line.strip_prefix('#')
            .filter(|line| line.contains(" = "))
            .map(str::to_owned)
    };
    let keys: Vec<String> = shipped
        .lines()
        .filter_map(key)
        .filter(|line| !line.starts_with(' '))
        .collect();
    let page = fs::read_to_string(workspace::root().join("docs/ukexec.conf.md"))?;
    let described = page.lines().filter(|line| line.starts_with("| `")).count();
    ensure!(
        keys.len() == described,
        "{described} keys are described, {keys:?} are shipped"
    );
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let report = |text: &str| {
        let conf = stand.file("ukexec.conf", text)?;
        Tool::new(stand.ukexec_path())
            .args(["inspect", "--json", "--config"])
            .args([&conf, &kernel])
            .text()
    };
    ensure!(
        report(&shipped)? == report(&keys.join("\n"))?,
        "{keys:?} change something"
    );
    Ok(())
}
