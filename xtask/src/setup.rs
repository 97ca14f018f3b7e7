//! The programs that a fresh Debian machine lacks, and getting them.

use anyhow::{Result, bail};

use crate::command::{Tool, is_installed};

/// A set of programs that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Assembling a UKI and booting it.
    Demo,
    /// Test images of every kind, and the boots of both architectures.
    Test,
    /// Compiling the parsers.
    Parsers,
    /// Compiling `ukexec` for other architectures.
    Cross,
    /// The peers that speed is compared with, beyond those of the tests.
    Bench,
}

/// A program and the Debian package that brings it.
struct Program {
    name: &'static str,
    package: &'static str,
    needed_by: &'static [Need],
}

const fn program(name: &'static str, package: &'static str, needed_by: &'static [Need]) -> Program {
    Program {
        name,
        package,
        needed_by,
    }
}

const PROGRAMS: &[Program] = &[
    program("objcopy", "binutils", &[Need::Demo, Need::Test]),
    program(
        "qemu-system-x86_64",
        "qemu-system-x86",
        &[Need::Demo, Need::Test],
    ),
    program("qemu-system-aarch64", "qemu-system-arm", &[Need::Test]),
    program("qemu-system-riscv64", "qemu-system-misc", &[Need::Test]),
    program(
        "aarch64-linux-gnu-objdump",
        "binutils-aarch64-linux-gnu",
        &[Need::Test],
    ),
    program("dtc", "device-tree-compiler", &[Need::Test]),
    program("gzip", "gzip", &[Need::Test]),
    program("bzip2", "bzip2", &[Need::Test]),
    program("xz", "xz-utils", &[Need::Test]),
    program("bzip2", "bzip2", &[Need::Test]),
    program("lzop", "lzop", &[Need::Test]),
    program("lz4", "lz4", &[Need::Test]),
    program("zstd", "zstd", &[Need::Test]),
    program("sbsign", "sbsigntool", &[Need::Test]),
    program("pesign", "pesign", &[Need::Test]),
    program("pk12util", "libnss3-tools", &[Need::Test]),
    program("osslsigncode", "osslsigncode", &[Need::Test]),
    program("openssl", "openssl", &[Need::Test]),
    program("cert-to-efi-sig-list", "efitools", &[Need::Test]),
    program("swtpm", "swtpm", &[Need::Test]),
    program("mcopy", "mtools", &[Need::Test]),
    program("ssh", "openssh-client", &[Need::Test]),
    program("mmdebstrap", "mmdebstrap", &[Need::Test]),
    program("mkfs.ext4", "e2fsprogs", &[Need::Test]),
    program("python3", "python3", &[Need::Test]),
    program("jq", "jq", &[Need::Test]),
    program(SYSTEMD_MEASURE, "systemd", &[Need::Test]),
    program("systemd-analyze", "systemd", &[Need::Test]),
    program("bpftool", "bpftool", &[Need::Test]),
    program("clang-14", "clang-14", &[Need::Test]),
    program("clang-16", "clang-16", &[Need::Test]),
    program("gcc", "gcc", &[Need::Test]),
    program(
        "aarch64-linux-gnu-gcc",
        "gcc-aarch64-linux-gnu",
        &[Need::Test, Need::Cross],
    ),
    program(
        "/usr/aarch64-linux-gnu/lib/libc.a",
        "libc6-dev-arm64-cross",
        &[Need::Test, Need::Cross],
    ),
    program(
        "riscv64-linux-gnu-gcc",
        "gcc-riscv64-linux-gnu",
        &[Need::Test, Need::Cross],
    ),
    program(
        "/usr/riscv64-linux-gnu/lib/libc.a",
        "libc6-dev-riscv64-cross",
        &[Need::Test, Need::Cross],
    ),
    program("lintian", "lintian", &[Need::Test]),
    program("mandoc", "mandoc", &[Need::Test]),
    program("man", "man-db", &[Need::Test]),
    program("zsh", "zsh", &[Need::Test]),
    program("fish", "fish", &[Need::Test]),
    program("clang-19", "clang-19", &[Need::Parsers]),
    program("llvm-strip-19", "llvm-19", &[Need::Parsers]),
    program("libdeflate-gunzip", "libdeflate-tools", &[Need::Bench]),
];

/// Python modules of Debian's own interpreter, which is not always the first on the path.
const MODULES: &[(&str, &str)] = &[("pefile", "python3-pefile"), ("ensurepip", "python3-venv")];

/// Debian's own Python, for which the modules are packaged.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Works out what systemd-stub measures. It lies on no path.
pub(crate) const SYSTEMD_MEASURE: &str = "/usr/lib/systemd/systemd-measure";

/// Makes sure that everything `needs` names is there, installing it when this is root.
///
/// # Errors
///
/// Something is missing and this is not root (the error says which one command brings it all), or
/// the installation failed.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !is_root()? {
        bail!(
            "packages are missing and only root can install them. Run this, then try again:\n\n    \
             sudo apt-get update && sudo apt-get install --no-install-recommends -y {packages}\n"
        );
    }
    eprintln!("installing {packages}");
    apt_get(&["update"])?;
    let mut install = vec!["install", "--no-install-recommends", "-y"];
    install.extend(&missing);
    apt_get(&install)?;
    let still = self::missing(needs);
    if !still.is_empty() {
        bail!(
            "apt-get installed {packages}, and yet this is not to be found: {}. \
             Is /usr/bin on the PATH?",
            still.join(" ")
        );
    }
    Ok(())
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|program| program.needed_by.iter().any(|need| needs.contains(need)))
        .filter(|program| !is_installed(program.name))
        .map(|program| program.package)
        .collect();
    if needs.contains(&Need::Test) {
        packages.extend(
            MODULES
                .iter()
                .filter(|(module, _)| !has_module(module))
                .map(|(_, package)| package),
        );
    }
    packages.dedup();
    packages
}

fn has_module(module: &str) -> bool {
    Tool::new(PYTHON)
        .args(["-c", &format!("import {module}")])
        .run()
        .is_ok()
}

/// Whether this process may install packages and see what root sees.
///
/// # Errors
///
/// `id` cannot be run.
pub(crate) fn is_root() -> Result<bool> {
    Ok(Tool::new("id").arg("-u").text()?.trim() == "0")
}

fn apt_get(args: &[&str]) -> Result<()> {
    Tool::new("apt-get")
        .arg("-q")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
}
