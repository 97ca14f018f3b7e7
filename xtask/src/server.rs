//! A Debian server as a machine: a disk with its root, a kernel with the drivers for that disk, and images of the same.
//!
//! Linux gets its drivers from the initrd, which then starts systemd. A script of the test runs as a unit; it knows by
//! the kernel's command line which of the machine's boots it is in.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apt::Archive;
use crate::command::Tool;
use crate::debian;
use crate::dist;
use crate::guest::TAG;
use crate::initramfs::Initramfs;
use crate::materials::{Stub, Target, busybox, stub};
use crate::qemu::{self, Machine, Serial};
use crate::stand::Stand;
use crate::uki::{Section, objcopy};

/// Several boots of an emulated machine; the rest is for slow, busy hosts.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(900);
/// Most of it is a hole.
const DISK_LEN: u64 = 4 << 30;
const DISK: &str = "disk.img";

/// The drivers of the disk and the network, each behind those that it needs. Some are no modules in some kernels.
const MODULES: &[&str] = &[
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];

/// Units that a test waits for in vain.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-timesyncd.service",
    "systemd-pcrphase.service",
];

/// Runs the script of the test. No other unit waits for it, since a reboot is one of its commands.
const UNIT: &str = "[Unit]
Description=The test
After=multi-user.target
[Service]
Type=exec
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS0
ExecStart=/test
[Install]
WantedBy=multi-user.target
";

/// The beginning of the script. `step` is the word of that name on the kernel's command line.
const FUNCTIONS: &str = r#"#!/bin/bash
export TERM=dumb
say() { echo "guest: $*"; }
run() {
    "$@" && return
    say "failed=$?: $*"
    systemctl poweroff --force --force
    exit
}
for word in $(cat /proc/cmdline); do case $word in step=*) step=${word#step=} ;; esac; done
say "step=$step"
"#;

/// A server under construction, and its disk.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    stand: &'a Stand,
    root: PathBuf,
    kernel: PathBuf,
    drivers: Vec<Driver>,
}

/// A kernel module.
#[derive(Debug)]
struct Driver {
    name: &'static str,
    content: Vec<u8>,
}

impl<'a> Server<'a> {
    /// A server of Debian `suite` with ukexec, whose unit runs `script`.
    ///
    /// # Errors
    ///
    /// Its parts cannot be fetched; the case is skipped where there can be no root.
    pub(crate) fn new(stand: &'a Stand, suite: &'static str, script: &str) -> Result<Self> {
        let root = stand.path("root");
        debian::copy(&debian::root(suite, debian::SERVER)?, &root)?;
        let (kernel, drivers) = kernel(suite)?;
        let server = Self {
            stand,
            root,
            kernel,
            drivers,
        };
        server.copy(&server.kernel, &format!("boot/{}", server.kernel_name()?))?;
        server.install()?;
        server.program("test", &format!("{FUNCTIONS}{script}"))?;
        server.file("etc/systemd/system/test.service", UNIT)?;
        server.enable("/etc/systemd/system/test.service", "multi-user.target")?;
        // Otherwise it is the first boot of many machines, which systemd prepares for anything.
        server.file("etc/machine-id", "c0ffee00c0ffee00c0ffee00c0ffee00\n")?;
        server.file("etc/.updated", "")?;
        server.file("var/.updated", "")?;
        for unit in MASKED {
            symlink(
                "/dev/null",
                server.root.join("etc/systemd/system").join(unit),
            )?;
        }
        Ok(server)
    }

    /// Installs the packages beside kexec-tools.
    fn install(&self) -> Result<()> {
        for package in dist::packages()? {
            let name = package.file_name().context("a package has a name")?;
            self.copy(&package, &format!("opt/{}", name.to_string_lossy()))?;
        }
        debian::inside(&self.root)
            .args(["sh", "-c", "dpkg --install /opt/*.deb && rm /opt/*.deb"])
            .run()
    }

    /// Writes a file of the root.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(path)?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a program of the root.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn program(&self, path: &str, content: &str) -> Result<()> {
        self.file(path, content)?;
        Ok(fs::set_permissions(
            self.root.join(path),
            Permissions::from_mode(0o755),
        )?)
    }

    /// Copies a file into the root.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn copy(&self, from: &Path, path: &str) -> Result<()> {
        fs::copy(from, self.path(path)?)
            .with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Has `target` want the unit at `path`.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn enable(&self, path: &str, target: &str) -> Result<()> {
        let (_, name) = path.rsplit_once('/').context("a path in a folder")?;
        let link = self.path(&format!("etc/systemd/system/{target}.wants/{name}"))?;
        Ok(symlink(path, link)?)
    }

    /// Makes an image of the server's kernel at `path`, whose command line has the word `step=STEP` and `more`, and
    /// whose initrd says `initrd=STEP`.
    ///
    /// # Errors
    ///
    /// A part cannot be fetched, or `objcopy` fails.
    pub(crate) fn image(&self, path: &str, step: &str, more: &str) -> Result<()> {
        let sections = [
            (".osrel", self.root.join("usr/lib/os-release")),
            (".cmdline", self.stand.file("cmdline", cmdline(step, more))?),
            (".initrd", self.initrd(step)?),
            (".linux", self.kernel.clone()),
        ];
        let sections = sections.iter().map(|(name, file)| Section { name, file });
        let sections: Vec<_> = sections.collect();
        objcopy(
            &stub(Target::X86_64, Stub::V257)?,
            &sections,
            &self.path(path)?,
        )
    }

    /// Makes the disk, boots the server with the word `step=STEP` and `more`, and waits until it is off.
    ///
    /// # Errors
    ///
    /// The disk cannot be made, or the machine does not power itself off.
    pub(crate) fn boot(&self, step: &str, more: &str, options: &[&str]) -> Result<Serial> {
        let machine = self.machine(step, more)?.args(options);
        qemu::run(machine, TIME_LIMIT, None)
    }

    /// Makes the disk, and returns QEMU with it.
    ///
    /// # Errors
    ///
    /// The disk cannot be made.
    pub(crate) fn machine(&self, step: &str, more: &str) -> Result<Tool> {
        let disk = self.stand.path(DISK);
        File::create(&disk)?.set_len(DISK_LEN)?;
        Tool::new("mkfs.ext4")
            .args(["-q", "-E", "lazy_itable_init=1,nodiscard", "-d"])
            .args([&self.root, &disk])
            .run()?;
        Ok(Machine::X86_64
            .tool()
            .args(["-m", "1G", "-display", "none", "-monitor", "none"])
            .args(["-serial", "stdio", "-no-reboot"])
            .args(["-device", "virtio-rng-pci", "-drive"])
            .arg(format!(
                "if=virtio,format=raw,cache=unsafe,file={}",
                disk.display()
            ))
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(self.initrd("first")?)
            .arg("-append")
            .arg(cmdline(step, more)))
    }

    /// Copies `folder` of the server's disk to the stand, where it keeps its name.
    ///
    /// # Errors
    ///
    /// `debugfs` fails.
    pub(crate) fn fetch(&self, folder: &str) -> Result<PathBuf> {
        let to = self.stand.path("fetched");
        fs::create_dir_all(&to)?;
        Tool::new("debugfs")
            .arg("-R")
            .arg(format!("rdump {folder} {}", to.display()))
            .arg(self.stand.path(DISK))
            .run()?;
        let (_, name) = folder.rsplit_once('/').context("a path in a folder")?;
        Ok(to.join(name))
    }

    fn path(&self, path: &str) -> Result<PathBuf> {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        Ok(path)
    }

    fn kernel_name(&self) -> Result<String> {
        let name = self.kernel.file_name().context("a file has a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// An initrd that says `mark` and starts what is on the disk.
    fn initrd(&self, mark: &str) -> Result<PathBuf> {
        let init = format!(
            "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
echo '{TAG}initrd={mark}'
for module in /modules/*; do insmod $module; done
until mount -t ext4 /dev/vda /root; do sleep 1; done
umount /proc
exec switch_root /root /sbin/init
"
        );
        let mut archive = Initramfs::with_busybox(&busybox(Target::X86_64)?, &init)?;
        archive.dir("modules");
        for (number, Driver { name, content }) in self.drivers.iter().enumerate() {
            archive.file(&format!("modules/{number:02}-{name}"), 0o644, content);
        }
        self.stand.file(&format!("initrd-{mark}"), archive.finish())
    }
}

/// The command line of a server's boot.
fn cmdline(step: &str, more: &str) -> String {
    Machine::X86_64.cmdline(&format!("systemd.show_status=false step={step} {more}"))
}

/// The kernel of `suite` for virtual machines, and those [`MODULES`] that it has.
fn kernel(suite: &'static str) -> Result<(PathBuf, Vec<Driver>)> {
    let archive = Archive {
        suite,
        architecture: "amd64",
    };
    let folder = archive.fetch_dependency_into(
        "linux-image-cloud-amd64-drivers",
        "linux-image-cloud-amd64",
        "linux-image-",
        &[
            "./boot/vmlinu*",
            "*/kernel/drivers/virtio/*",
            "*/kernel/drivers/block/virtio*",
            "*/kernel/drivers/net/*failover*",
            "*/kernel/drivers/net/virtio*",
            "*/kernel/net/core/failover*",
        ],
    )?;
    let found = Tool::new("find").arg(&folder).args(["-type", "f"]).text()?;
    let file = |name: &str| {
        let plain = format!("/{name}.ko");
        found
            .lines()
            .find(|path| path.trim_end_matches(".xz").ends_with(&plain))
    };
    let mut drivers = Vec::new();
    for name in MODULES {
        let Some(path) = file(name) else { continue };
        let content = match path.strip_suffix(".xz") {
            Some(_) => Tool::new("xz").args(["-d", "-c", path]).bytes()?,
            None => fs::read(path)?,
        };
        drivers.push(Driver { name, content });
    }
    ensure!(!drivers.is_empty(), "no driver is in {}", folder.display());
    let kernel = found.lines().find(|path| path.contains("/boot/vmlinu"));
    Ok((kernel.context("a pattern matched it")?.into(), drivers))
}
