//! The rows: each a piece of work, its peer, and the ratio that is not to be passed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::call::Call;
use super::downtime;
use super::exec;
use super::guest;
use super::interpreter;
use super::materials::{Materials, Peer};
use super::outcome::Outcome;
use crate::command::Tool;
use crate::workspace;
use crate::zboot::Compression;

/// Measures a row, or several that take one run.
type Measure = fn(&Materials, &str) -> Result<Vec<Outcome>>;

/// The image of a distribution with firmware and drivers for everything has this size.
pub(super) const BIG: usize = 219;
const SMALL: usize = 10;
const OFF: &[&str] = &["--verify=off"];
/// The ends of `kexec -S`: 255 where the running kernel cannot kexec.
const STATUS: &[i32] = &[0, 1, 255];
/// A worker's settings, as its parent passes them.
const WORKER: &str = r#"{"confinement":[{"address_space":805306368,"cpu_seconds":1103,"file_size":1343225856,"descriptors":1024},"BestEffort"],"log_bytes":65536,"verbose":0}"#;

pub(crate) const ROWS: &[(&str, Measure)] = &[
    ("verified/sbverify", |m, name| {
        let [image, certificate] = m.signed_uki(BIG)?;
        let title = "Verified dry run of a signed UKI of 219 MiB";
        let peer = sbverify(&image, &certificate);
        m.times(name, title, 1.0, verified(m)?, peer)
    }),
    ("verified/openssl", |m, name| {
        let [image, _] = m.signed_uki(BIG)?;
        let title = "Verified dry run of a signed UKI of 219 MiB";
        m.times(name, title, 1.3, verified(m)?, digest(&image))
    }),
    ("verified/memory", |m, name| {
        let title = "Memory of all processes of that";
        m.memory(name, title, 1.0, &verified(m)?, &Peer::Limit(57.0))
    }),
    ("digest/openssl", |m, name| {
        let image = m.uki(BIG)?;
        let ours = Call::new("ukexec's digest alone", Tool::new(m.digest()?).arg(&image));
        m.times(name, "SHA-256 of 219 MiB", None, ours, digest(&image))
    }),
    ("verified/inspect", |m, name| {
        let [image, certificate] = m.signed_uki(SMALL)?;
        let trust = format!("--trust={}", certificate.display());
        let ours = m.ukexec(&["inspect", "--verify=require", &trust]);
        let ours = Call::new("ukexec inspect --verify=require", ours.arg(&image));
        let title = "Verdict on a signed UKI of 10 MiB";
        m.times(name, title, 1.0, ours, sbverify(&image, &certificate))
    }),
    ("copy/sendfile-10", |m, name| copy(m, name, SMALL, 1.3)),
    ("copy/sendfile-50", |m, name| copy(m, name, 50, 1.1)),
    ("copy/sendfile-219", |m, name| copy(m, name, BIG, 1.1)),
    ("copy/sendfile-800", |m, name| copy(m, name, 800, 1.1)),
    ("copy/cp", |m, name| {
        let image = m.uki(BIG)?;
        let to = m.in_memory("copy");
        let peer = Call::new("cp to tmpfs", Tool::new("cp").arg(&image).arg(&to)).leaving(to);
        let title = "Dry run of a UKI of 219 MiB, nothing verified";
        m.times(name, title, 1.1, m.dry_run(&image, OFF)?, peer)
    }),
    ("copy/kexec-tools", |m, name| {
        let image = uki_in_memory(m)?;
        let title = "Dry run of a UKI of 219 MiB, nothing verified";
        let peer = load_by_kexec_tools(m, &image)?;
        m.times(name, title, 0.7, m.dry_run(&image, OFF)?, peer)
    }),
    ("copy/kexec-tools-memory", |m, name| {
        let image = uki_in_memory(m)?;
        let peer = Peer::Call(Box::new(load_by_kexec_tools(m, &image)?));
        let title = "Memory of all processes of that";
        m.memory(name, title, 0.1, &m.dry_run(&image, OFF)?, &peer)
    }),
    ("zboot/gzip", |m, name| {
        let [image, payload] = m.zboot(Compression::Gzip)?;
        let peer = Tool::new("libdeflate-gunzip").arg("-c").arg(payload);
        let peer = Call::new("libdeflate-gunzip to tmpfs", peer).writing(m.in_memory("kernel"));
        let title = "Dry run of a zboot image, gzip";
        m.times(name, title, 1.3, m.dry_run(&image, OFF)?, peer)
    }),
    ("zboot/zstd", |m, name| {
        let [image, payload] = m.zboot(Compression::Zstd)?;
        let peer = Tool::new("zstd").args(["-d", "-q", "-c"]).arg(payload);
        let peer = Call::new("zstd -d to tmpfs", peer).writing(m.in_memory("kernel"));
        let title = "Dry run of a zboot image, zstd";
        m.times(name, title, 1.1, m.dry_run(&image, OFF)?, peer)
    }),
    ("zboot/memory", |m, name| {
        let [image, _] = m.zboot(Compression::Gzip)?;
        let title = "Memory of all processes for a gzip zboot image of 31 MB";
        let ours = m.dry_run(&image, OFF)?;
        m.memory(name, title, 1.0, &ours, &Peer::Limit(48.0))
    }),
    ("start/inspect", |m, name| {
        let image = m.uki(SMALL)?;
        let ours = m.ukexec(&["inspect", "--verify=off"]).arg(&image);
        let ours = Call::new("ukexec inspect --verify=off", ours);
        let peer = Call::new("objdump -h", Tool::new("objdump").arg("-h").arg(image));
        m.times(name, "Headers of a small image", 2.0, ours, peer)
    }),
    ("start/kexec-status", |m, name| {
        let kexec = m.stand().ukexec_path().with_file_name("kexec");
        let ours = Call::new("kexec -S", Tool::new(kexec).arg("-S")).ending_with(STATUS);
        let (shown, tool) = m.kexec_tools("-S")?;
        let peer = Call::new(&shown, tool).ending_with(STATUS);
        m.times(name, "Whether a crash kernel is loaded", 2.0, ours, peer)
    }),
    ("start/worker", |m, name| {
        let ours = m.ukexec(&["worker", WORKER]);
        let ours = Call::new("ukexec's worker", ours).on_silent_socket();
        let peer = Call::new("an empty Rust program", Tool::new(m.empty()?));
        let title = "Start, confinement and end of a worker";
        m.times(name, title, 2.0, ours, peer)
    }),
    ("edit/attach", |m, name| {
        let image = m.uki(50)?;
        let parser = workspace::root().join("crates/unfold/parsers/uki.bpf.o");
        let [ours_to, peer_to] = ["ours.efi", "peer.efi"].map(|name| m.in_memory(name));
        let ours = m.ukexec(&["attach", "--force", "-o"]).arg(&ours_to);
        let ours = ours.arg(&image).arg(&parser);
        let section = format!(".bpf={}", parser.display());
        let peer = Tool::new("objcopy").arg("--add-section").arg(section);
        let peer = peer.arg(&image).arg(&peer_to);
        let ours = Call::new("ukexec attach", ours).leaving(ours_to);
        let peer = Call::new("objcopy --add-section", peer).leaving(peer_to);
        m.times(name, "A section more in a UKI of 50 MiB", 1.0, ours, peer)
    }),
    ("interpreter", interpreter::measure),
    ("guest", guest::measure),
    (DOWNTIME, downtime::measure),
    (EXEC, exec::measure),
];

const DOWNTIME: &str = "downtime";
const EXEC: &str = "exec-arm64";

/// Boots of machines take long: they are measured where the name asks for them.
pub(crate) const ASKED_FOR: [&str; 2] = [DOWNTIME, EXEC];

fn verified(m: &Materials) -> Result<Call> {
    let [image, certificate] = m.signed_uki(BIG)?;
    let trust = format!("--trust={}", certificate.display());
    let variables = m.in_memory("no-variables");
    fs::create_dir_all(&variables)?;
    let variables = format!("--efivars={}", variables.display());
    m.dry_run(&image, &["--verify=require", &trust, &variables])
}

fn sbverify(image: &Path, certificate: &Path) -> Call {
    let tool = Tool::new("sbverify").arg("--cert").arg(certificate);
    Call::new("sbverify", tool.arg(image))
}

fn digest(image: &Path) -> Call {
    let tool = Tool::new("openssl").args(["dgst", "-sha256"]).arg(image);
    Call::new("openssl dgst -sha256", tool)
}

fn copy(m: &Materials, name: &str, mib: usize, target: f64) -> Result<Vec<Outcome>> {
    let image = m.uki(mib)?;
    let peer = Tool::new(m.in_c("sendfile", &[])?).arg(&image);
    let peer = Call::new("one sendfile into a memfd", peer);
    let title = format!("Dry run of a UKI of {mib} MiB, nothing verified");
    m.times(name, &title, target, m.dry_run(&image, OFF)?, peer)
}

/// The big image where another /tmp does not hide it.
fn uki_in_memory(m: &Materials) -> Result<PathBuf> {
    let image = m.in_memory("big.efi");
    fs::copy(m.uki(BIG)?, &image)?;
    Ok(image)
}

/// kexec-tools writes temporary files to /tmp: it gets one on tmpfs, where they are the cheapest.
///
/// Exit code 253 is that of a kernel without the call: all other work was done before.
fn load_by_kexec_tools(m: &Materials, image: &Path) -> Result<Call> {
    let scratch = m.in_memory("tmp");
    let (shown, tool) = m.kexec_tools("-l -s")?;
    let command = tool.arg(image).arg("--reuse-cmdline").into_command();
    let tool = Tool::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /tmp && exec \"$@\"")
        .arg(&scratch)
        .arg(command.get_program())
        .args(command.get_args());
    let call = Call::new(&shown, tool).with_scratch(scratch);
    Ok(call.ending_with(&[0, 253]))
}
