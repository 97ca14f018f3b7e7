//! The playbook of `examples/fleet`, run by Ansible on a server in a machine, which it reaches by ssh.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::command::{Tool, said};
use crate::guest::{TAG, reporting_uki};
use crate::kept::kept;
use crate::qemu::{self, Machine};
use crate::server::{Server, TIME_LIMIT};
use crate::setup::PYTHON;
use crate::stand::Stand;
use crate::workspace;

use super::Named;

pub(super) const CASES: &[Named] = &[Named::new("fleet/rolling-reboot", rolling)];

/// It runs on the Python of Debian 12, and knows that of Debian 13.
const ANSIBLE: &str = "ansible-core==2.19.14";
/// Until the server answers by ssh.
const SSH_LIMIT: Duration = Duration::from_secs(400);

/// The server as a line of an inventory.
const SERVER: &str = "server ansible_host=127.0.0.1 ansible_port=PORT";

/// QEMU gives the server this address.
const NETWORK: &str = "[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\n";

/// A server that can be reached by ssh.
struct Remote<'a> {
    stand: &'a Stand,
    /// Port of this machine that leads to the server.
    port: u16,
    /// Port of QEMU's monitor.
    monitor: u16,
}

/// A host that cannot be reached, an image that is refused and a condition that nobody accepts each end the run before
/// the server is touched. Then the server boots an image, and the playbook finds it again. Last, it does not come back,
/// and the run ends.
fn rolling(stand: &Stand) -> Result<()> {
    let ansible = ansible()?;
    let remote = Remote {
        stand,
        port: free_port()?,
        monitor: free_port()?,
    };
    let server = Server::new(stand, "trixie", "")?;
    server.image("boot/next.efi", "next", "")?;
    server.file("boot/broken.efi", "MZ")?;
    let cmdline = Machine::X86_64.cmdline("");
    server.copy(&reporting_uki(stand, "gone", &cmdline)?, "boot/gone.efi")?;
    // Nothing would be seen of it on the console, which is a condition of the load.
    server.copy(&reporting_uki(stand, "quiet", "quiet")?, "boot/quiet.efi")?;
    server.file("etc/systemd/network/10-test.network", NETWORK)?;
    server.enable(
        "/usr/lib/systemd/system/systemd-networkd.service",
        "multi-user.target",
    )?;
    server.file("root/.ssh/authorized_keys", remote.key()?)?;
    let machine = server.machine("first", "")?.args([
        "-nic",
        &format!(
            "user,model=virtio,hostfwd=tcp:127.0.0.1:{}-:22",
            remote.port
        ),
        "-chardev",
        &format!(
            "socket,id=monitor,host=127.0.0.1,port={},server=on,wait=off",
            remote.monitor
        ),
        "-mon",
        "chardev=monitor,mode=readline",
    ]);
    thread::scope(|scope| {
        let machine = scope.spawn(|| qemu::run(machine, TIME_LIMIT, None));
        let result = remote.wait().and_then(|()| remote.runs(&ansible));
        remote.quit();
        let serial = machine.join().map_err(|panic| anyhow!("{panic:?}"))??;
        stand.file("serial.txt", serial.text())?;
        result?;
        let tag = format!("{TAG}step=");
        let steps: Vec<&str> = serial.values(&tag).collect();
        ensure!(steps == ["first", "next"], "the boots were {steps:?}");
        serial.expect(&format!("{TAG}reached="), "gone")
    })
}

impl Remote<'_> {
    /// Makes a key, and returns its public half.
    fn key(&self) -> Result<String> {
        let key = self.stand.path("key");
        Tool::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .run()?;
        Ok(std::fs::read_to_string(key.with_extension("pub"))?)
    }

    /// Waits until the server answers.
    fn wait(&self) -> Result<()> {
        let start = Instant::now();
        while !self.ssh(&["true"])?.status.success() {
            ensure!(start.elapsed() < SSH_LIMIT, "the server does not answer");
            thread::sleep(Duration::from_secs(1));
        }
        println!("ssh answers after {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Runs the playbook: thrice in vain, then for good, then without a way back.
    fn runs(&self, ansible: &Path) -> Result<()> {
        let lost = format!("lost ansible_host=127.0.0.1 ansible_port={}", free_port()?);
        let boot_id = self.text(&["cat", "/proc/sys/kernel/random/boot_id"])?;
        let play = |hosts: &[&str], image: &str| self.play(ansible, hosts, image);
        fails(
            &play(&[&lost, SERVER], "/boot/next.efi")?,
            "UNREACHABLE",
            "ok: [server]",
        )?;
        fails(
            &play(&[SERVER, &lost], "/boot/broken.efi")?,
            "Stop unless it does",
            "[lost]",
        )?;
        fails(
            &play(&[SERVER, &lost], "/boot/quiet.efi")?,
            "the command line has no console=",
            "[lost]",
        )?;
        ensure!(
            self.text(&["cat", "/proc/sys/kernel/random/boot_id"])? == boot_id
                && self.text(&["cat", "/sys/kernel/kexec_loaded"])? == "0",
            "a run that failed touched the server"
        );
        let output = play(&[SERVER], "/boot/next.efi")?;
        ensure!(output.status.success(), "{}", said(&output));
        fails(
            &play(&[SERVER, &lost], "/boot/gone.efi")?,
            "Stop the services, boot the image",
            "[lost]",
        )
    }

    /// Runs the playbook on these hosts, one after the other.
    fn play(&self, ansible: &Path, hosts: &[&str], image: &str) -> Result<Output> {
        let inventory = format!(
            "[all]\n{}\n[all:vars]\nansible_user=root\nansible_python_interpreter=/usr/bin/python3\n\
             ansible_ssh_private_key_file={}\n",
            hosts.join("\n").replace("PORT", &self.port.to_string()),
            self.stand.path("key").display(),
        );
        let inventory = self.stand.file("inventory.ini", inventory)?;
        let timeout = if image.contains("gone") { 30 } else { 600 };
        let start = Instant::now();
        let output = Tool::new(ansible)
            .args(["-m", "ansible", "playbook", "-i"])
            .arg(&inventory)
            .args(["--extra-vars", &format!("ukexec_image={image}")])
            .args(["--extra-vars", &format!("ukexec_timeout={timeout}")])
            .arg(workspace::root().join("examples/fleet/rolling-reboot.yml"))
            .env("ANSIBLE_HOST_KEY_CHECKING", "False")
            .env("ANSIBLE_HOME", self.stand.path("ansible"))
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_TIMEOUT", "30")
            .env("LC_ALL", "C.UTF-8")
            .output()?;
        println!("{image}: {:.0} s", start.elapsed().as_secs_f64());
        Ok(output)
    }

    fn text(&self, command: &[&str]) -> Result<String> {
        let output = self.ssh(command)?;
        if !output.status.success() {
            bail!("ssh: {}", said(&output));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn ssh(&self, command: &[&str]) -> Result<Output> {
        Tool::new("ssh")
            .arg("-i")
            .arg(self.stand.path("key"))
            .args(["-p", &self.port.to_string()])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"])
            .arg("root@127.0.0.1")
            .args(command)
            .output()
    }

    /// Ends the machine, which may have ended.
    fn quit(&self) {
        if let Ok(mut monitor) = TcpStream::connect(("127.0.0.1", self.monitor)) {
            drop(monitor.write_all(b"quit\n"));
        }
    }
}

/// Fails unless a run failed and its output has one text and lacks the other.
fn fails(output: &Output, has: &str, lacks: &str) -> Result<()> {
    let text = said(output);
    ensure!(
        !output.status.success() && text.contains(has) && !text.contains(lacks),
        "expected a failure with {has:?} and without {lacks:?}:\n{text}"
    );
    Ok(())
}

/// A port that nothing listens at.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The Python that has Ansible, from the Python package index.
fn ansible() -> Result<PathBuf> {
    let dir = workspace::tools_dir().join(ANSIBLE);
    kept(&dir, |unfinished| {
        Tool::new(PYTHON)
            .args(["-m", "venv"])
            .arg(unfinished)
            .run()?;
        Tool::new(unfinished.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", ANSIBLE])
            .run()
    })
    .context("cannot install Ansible")?;
    Ok(dir.join("bin/python"))
}
