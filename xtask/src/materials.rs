//! The real things that test images are made of, each out of a Debian package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::apt::Archive;
use crate::command::Tool;

/// Debian 12: stub 252 and the stock kernel that the demo boots.
const STABLE_AMD64: Archive = Archive {
    suite: "bookworm",
    architecture: "amd64",
};
/// Debian 13: stub 257, `ukify`, and kernels that Debian 12 has not.
const NEWER_AMD64: Archive = Archive {
    suite: "trixie",
    architecture: "amd64",
};
const STABLE_ARM64: Archive = Archive {
    suite: "bookworm",
    architecture: "arm64",
};
const NEWER_ARM64: Archive = Archive {
    suite: "trixie",
    architecture: "arm64",
};
const NEWER_RISCV64: Archive = Archive {
    suite: "trixie",
    architecture: "riscv64",
};
/// Debian's newest: stub 262 or later, and the `ukify` that knows all of its sections. It moves, and the mirror keeps
/// one version, so that none can be named here.
const NEWEST_AMD64: Archive = Archive {
    suite: "sid",
    architecture: "amd64",
};

/// An architecture that images are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    X86_64,
    Arm64,
    Riscv64,
}

impl Target {
    /// The name that UEFI, systemd's stub and `ukify` have for it.
    pub(crate) const fn efi_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Arm64 => "aa64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// Debian's name for it.
    pub(crate) const fn debian_name(self) -> &'static str {
        self.newer().architecture
    }

    const fn newer(self) -> Archive {
        match self {
            Self::X86_64 => NEWER_AMD64,
            Self::Arm64 => NEWER_ARM64,
            Self::Riscv64 => NEWER_RISCV64,
        }
    }

    const fn stock(self) -> Archive {
        match self {
            Self::X86_64 => STABLE_AMD64,
            Self::Arm64 | Self::Riscv64 => self.newer(),
        }
    }
}

/// A version of systemd's stub, by its Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stub {
    V252,
    V257,
}

/// Debian's stock kernel, as its package installs it in `/boot`.
///
/// # Errors
///
/// As [`Archive::fetch_dependency`].
pub(crate) fn kernel(target: Target) -> Result<PathBuf> {
    kernel_of(target.stock())
}

/// Debian 13's kernel for x86-64, which counts loads.
///
/// # Errors
///
/// As [`Archive::fetch_dependency`].
pub(crate) fn newer_kernel() -> Result<PathBuf> {
    kernel_of(NEWER_AMD64)
}

/// A kernel of Debian 13 for x86-64, and its module for UEFI variables, compressed.
///
/// # Errors
///
/// As [`Archive::fetch_dependency`].
pub(crate) fn kernel_with_variables() -> Result<[PathBuf; 2]> {
    let dir = NEWER_AMD64.fetch_dependency(
        "linux-image-cloud-amd64",
        "linux-image-",
        &["./boot/vmlinu*", "./usr/lib/modules/*/efivarfs.ko*"],
    )?;
    let modules = only_dir(&dir.join("usr/lib/modules"))?;
    Ok([
        only_file(&dir.join("boot"))?,
        only_file(&modules.join("kernel/fs/efivarfs"))?,
    ])
}

/// The device trees of boards that Debian's stock kernel for arm64 runs on.
///
/// # Errors
///
/// As [`Archive::fetch_dependency`].
pub(crate) fn device_trees() -> Result<PathBuf> {
    Ok(kernel_package(NEWER_ARM64)?.join("usr/lib"))
}

fn kernel_of(archive: Archive) -> Result<PathBuf> {
    only_file(&kernel_package(archive)?.join("boot"))
}

/// The stock kernel's package, which for arm64 has device trees beside the kernel.
fn kernel_package(archive: Archive) -> Result<PathBuf> {
    let name = format!("linux-image-{}", archive.architecture);
    let kernel = "./boot/vmlinu*";
    if archive == NEWER_ARM64 {
        let folder = "linux-image-arm64-device-trees";
        let wanted = [kernel, "./usr/lib/linux-image-*"];
        return archive.fetch_dependency_into(folder, &name, "linux-image-", &wanted);
    }
    archive.fetch_dependency(&name, "linux-image-", &[kernel])
}

/// Debian 12's kernel for arm64: makedumpfile of Debian 12 reads its dumps.
///
/// # Errors
///
/// As [`Archive::fetch_dependency`].
pub(crate) fn older_kernel_arm64() -> Result<PathBuf> {
    kernel_of(STABLE_ARM64)
}

/// Debian 12's makedumpfile for arm64 and its libraries: each file with its name.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn makedumpfile_arm64() -> Result<Vec<(String, PathBuf)>> {
    const LIBRARIES: &[(&str, &str)] = &[
        ("libdw1", "usr/lib/aarch64-linux-gnu/libdw.so.1"),
        ("libelf1", "usr/lib/aarch64-linux-gnu/libelf.so.1"),
        ("liblzo2-2", "lib/aarch64-linux-gnu/liblzo2.so.2"),
        ("liblzma5", "lib/aarch64-linux-gnu/liblzma.so.5"),
        ("libbz2-1.0", "lib/aarch64-linux-gnu/libbz2.so.1.0"),
    ];
    let path = "usr/bin/makedumpfile";
    let dir = STABLE_ARM64.fetch("makedumpfile", &[&format!("./{path}")])?;
    with_libraries_arm64("makedumpfile", dir.join(path), LIBRARIES)
}

/// Debian 12's kexec-tools for arm64 and its libraries: each file with its name, `kexec-tools` that of the program.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn kexec_tools_arm64() -> Result<Vec<(String, PathBuf)>> {
    const LIBRARIES: &[(&str, &str)] = &[
        (
            "libxenmisc4.17",
            "usr/lib/aarch64-linux-gnu/libxenctrl.so.4.17",
        ),
        (
            "libxentoollog1",
            "usr/lib/aarch64-linux-gnu/libxentoollog.so.1",
        ),
        ("libxencall1", "usr/lib/aarch64-linux-gnu/libxencall.so.1"),
        (
            "libxentoolcore1",
            "usr/lib/aarch64-linux-gnu/libxentoolcore.so.1",
        ),
        (
            "libxenevtchn1",
            "usr/lib/aarch64-linux-gnu/libxenevtchn.so.1",
        ),
        (
            "libxengnttab1",
            "usr/lib/aarch64-linux-gnu/libxengnttab.so.1",
        ),
        (
            "libxenforeignmemory1",
            "usr/lib/aarch64-linux-gnu/libxenforeignmemory.so.1",
        ),
        (
            "libxendevicemodel1",
            "usr/lib/aarch64-linux-gnu/libxendevicemodel.so.1",
        ),
    ];
    let path = "sbin/kexec";
    let dir = STABLE_ARM64.fetch("kexec-tools", &[&format!("./{path}")])?;
    with_libraries_arm64("kexec-tools", dir.join(path), LIBRARIES)
}

/// A program, these libraries, and those that every program needs.
fn with_libraries_arm64(
    name: &str,
    program: PathBuf,
    libraries: &[(&str, &str)],
) -> Result<Vec<(String, PathBuf)>> {
    const COMMON: &[(&str, &str)] = &[
        ("libc6", "lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"),
        ("libc6", "lib/aarch64-linux-gnu/libc.so.6"),
        ("zlib1g", "lib/aarch64-linux-gnu/libz.so.1"),
    ];
    let mut files = vec![(name.to_owned(), program)];
    for (package, path) in COMMON.iter().chain(libraries) {
        let path = STABLE_ARM64.fetch(package, &["./*.so*"])?.join(path);
        let name = path.file_name().context("a library has a name")?;
        files.push((name.to_string_lossy().into_owned(), path));
    }
    Ok(files)
}

/// UEFI for machines of arm64.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn firmware_arm64() -> Result<PathBuf> {
    let path = "usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
    let dir = NEWER_ARM64.fetch("qemu-efi-aarch64", &[&format!("./{path}")])?;
    Ok(dir.join(path))
}

/// Linux as a program that runs on Linux. It has no kexec.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn user_mode_linux() -> Result<PathBuf> {
    let path = "usr/bin/linux.uml";
    let dir = STABLE_AMD64.fetch("user-mode-linux", &[&format!("./{path}")])?;
    Ok(dir.join(path))
}

/// systemd's UEFI stub.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn stub(target: Target, version: Stub) -> Result<PathBuf> {
    let archive = match version {
        Stub::V252 => STABLE_AMD64,
        Stub::V257 => target.newer(),
    };
    Ok(stubs(archive)?.join(format!("linux{}.efi.stub", target.efi_name())))
}

/// systemd's stub for images without a kernel: addons, and profiles to be joined.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn addon_stub(target: Target) -> Result<PathBuf> {
    Ok(stubs(target.newer())?.join(format!("addon{}.efi.stub", target.efi_name())))
}

/// systemd's programs for UEFI, and the `ukify` of the same version.
#[derive(Debug)]
pub(crate) struct Systemd {
    pub(crate) stub: PathBuf,
    pub(crate) addon_stub: PathBuf,
    pub(crate) boot_loader: PathBuf,
    pub(crate) ukify: PathBuf,
}

/// The newest systemd, for x86-64.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn newest_systemd() -> Result<Systemd> {
    let dir = stubs(NEWEST_AMD64)?;
    Ok(Systemd {
        stub: dir.join("linuxx64.efi.stub"),
        addon_stub: dir.join("addonx64.efi.stub"),
        boot_loader: dir.join("systemd-bootx64.efi"),
        ukify: ukify_of(NEWEST_AMD64)?,
    })
}

/// The newest bootctl, which lists boot entries.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn bootctl() -> Result<Tool> {
    let libraries = "usr/lib/x86_64-linux-gnu";
    let fetch = |package, path: &str| NEWEST_AMD64.fetch(package, &[&format!("./{path}")]);
    // It may need a newer C library than this machine has.
    let c_library = fetch("libc6", &format!("{libraries}/*.so*"))?.join(libraries);
    let shared = format!("{libraries}/systemd");
    let shared = fetch("libsystemd-shared", &format!("{shared}/*"))?.join(shared);
    let program = "usr/bin/bootctl";
    let program = fetch("systemd-boot-tools", program)?.join(program);
    Ok(Tool::new(c_library.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(format!("{}:{}", c_library.display(), shared.display()))
        .arg(program))
}

/// systemd's boot loader, an EFI program that is no kernel.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn boot_loader(target: Target) -> Result<PathBuf> {
    Ok(stubs(target.newer())?.join(format!("systemd-boot{}.efi", target.efi_name())))
}

fn stubs(archive: Archive) -> Result<PathBuf> {
    let path = "usr/lib/systemd/boot/efi";
    let dir = archive.fetch("systemd-boot-efi", &[&format!("./{path}/*.efi*")])?;
    Ok(dir.join(path))
}

/// A BusyBox that needs no libraries.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn busybox(target: Target) -> Result<PathBuf> {
    let dir = target
        .stock()
        .fetch("busybox-static", &["./*bin/busybox"])?;
    // Debian 13 merged /bin into /usr/bin.
    ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|path| dir.join(path))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("no busybox in {}", dir.display()))
}

/// systemd's `ukify`, a Python program.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn ukify() -> Result<PathBuf> {
    ukify_of(NEWER_AMD64)
}

fn ukify_of(archive: Archive) -> Result<PathBuf> {
    let path = "usr/bin/ukify";
    let dir = archive.fetch("systemd-ukify", &[&format!("./{path}")])?;
    Ok(dir.join(path))
}

/// UEFI firmware for x86-64 with Secure Boot, and its variables as it comes: without keys.
#[derive(Debug)]
pub(crate) struct Firmware {
    pub(crate) code: PathBuf,
    pub(crate) variables: PathBuf,
}

/// OVMF. Always the one of Debian 12: what it accepts is compared with a table.
///
/// # Errors
///
/// As [`Archive::fetch`].
pub(crate) fn firmware() -> Result<Firmware> {
    let path = "usr/share/OVMF";
    let (code, variables) = ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd");
    let dir = STABLE_AMD64.fetch(
        "ovmf",
        &[
            &format!("./{path}/{code}"),
            &format!("./{path}/{variables}"),
        ],
    )?;
    let dir = dir.join(path);
    Ok(Firmware {
        code: dir.join(code),
        variables: dir.join(variables),
    })
}

/// An `os-release` for images to carry.
pub(crate) const OS_RELEASE: &str = "ID=ukexec-test\nNAME=\"ukexec test image\"\nVERSION_ID=1\n";

fn only_file(dir: &Path) -> Result<PathBuf> {
    only(dir, Path::is_file)
}

fn only_dir(dir: &Path) -> Result<PathBuf> {
    only(dir, Path::is_dir)
}

fn only(dir: &Path, is_wanted: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is_wanted(path))
        .ok_or_else(|| anyhow!("{} has nothing of this kind", dir.display()))
}
