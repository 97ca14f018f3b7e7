//! An EFI system partition, and a machine whose firmware boots from it and measures into a TPM.
//!
//! The partition is a folder, of which each boot gets a copy as a disk: what the boot loader writes stays
//! there. The disk has no partition table, as firmware accepts it of removable media.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::firmware::{self, TIME_LIMIT};
use crate::qemu::{self, Serial};
use crate::stand::Stand;

/// Images of two kernels fit.
const DISK_LEN: u64 = 96 << 20;
/// The TPM's emulator makes its socket in milliseconds.
const TPM_LIMIT: Duration = Duration::from_secs(20);
const TPM_SOCKET: &str = "tpm.sock";

/// An EFI system partition, as a folder of the stand.
#[derive(Debug)]
pub(crate) struct Esp<'a> {
    stand: &'a Stand,
    dir: PathBuf,
}

impl<'a> Esp<'a> {
    /// An empty one.
    pub(crate) fn new(stand: &'a Stand) -> Self {
        let dir = stand.path("esp");
        Self { stand, dir }
    }

    /// The path of a file of it, whose folders it makes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        Ok(path)
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        Ok(fs::write(self.path(name)?, content)?)
    }

    /// Copies a file.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn copy(&self, name: &str, from: &Path) -> Result<()> {
        fs::copy(from, self.path(name)?).with_context(|| format!("cannot copy {name}"))?;
        Ok(())
    }

    /// Boots a machine from it, with these options of QEMU.
    ///
    /// # Errors
    ///
    /// The disk cannot be made, a program is missing or fails, or the machine does not power itself off.
    pub(crate) fn boot(&self, options: &[&str]) -> Result<Serial> {
        let _tpm = Tpm::start(self.stand)?;
        let machine = firmware::machine(self.stand)?
            .dir(self.stand.path(""))
            .args(["-m", "1G", "-drive"])
            .arg("if=none,id=esp,format=raw,file=esp.img")
            .args(["-device", "virtio-blk-pci,drive=esp"])
            .arg("-chardev")
            .arg(format!("socket,id=tpm,path={TPM_SOCKET}"))
            .args(["-tpmdev", "emulator,id=tpm0,chardev=tpm"])
            .args(["-device", "tpm-crb,tpmdev=tpm0"])
            .args(options);
        self.disk("esp.img")?;
        qemu::run(machine, TIME_LIMIT, None)
    }

    fn disk(&self, name: &str) -> Result<()> {
        let path = self.stand.path(name);
        File::create(&path)?.set_len(DISK_LEN)?;
        let tool = |program| Tool::new(program).arg("-i").arg(&path);
        tool("mformat").arg("::").run()?;
        let mut copy = tool("mcopy").arg("-s");
        for entry in fs::read_dir(&self.dir)? {
            copy = copy.arg(entry?.path());
        }
        copy.arg("::/").run()
    }
}

/// An emulated TPM, whose state is in the stand's folder.
struct Tpm(Child);

impl Tpm {
    fn start(stand: &Stand) -> Result<Self> {
        let state = stand.path("tpm");
        fs::create_dir_all(&state)?;
        let socket = stand.path(TPM_SOCKET);
        // The path of a socket has room for about a hundred bytes.
        let mut command = Tool::new("swtpm")
            .args(["socket", "--tpm2", "--terminate", "--ctrl"])
            .arg(format!("type=unixio,path={TPM_SOCKET}"))
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .dir(stand.path(""))
            .into_command();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut tpm = Self(child.context("cannot start swtpm")?);
        let start = Instant::now();
        while !socket.exists() {
            let ended = tpm.0.try_wait()?;
            ensure!(ended.is_none(), "swtpm made no socket and ended: {ended:?}");
            ensure!(start.elapsed() < TPM_LIMIT, "swtpm made no socket");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(tpm)
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // It has ended with the machine, unless there was none.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
