//! A worker that was taken over: it tries to get out. Only in the build that
//! tests that it does not (feature `escape`); `ukexec-sandbox` tests many more
//! ways, one system call each.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::{Command, abort};
use std::thread;

/// Tries `way`. Getting that far without being ended is what must not happen;
/// the parent then gets an exit code that tells.
pub(crate) fn attempt(way: &str) {
    let _refused_or_done = match way {
        "open" => File::open("/etc/passwd").map(drop),
        "create" => File::create("/tmp/ukexec-escaped").map(drop),
        "remove" => fs::remove_file("/tmp/ukexec-escaped"),
        "list" => fs::read_dir("/").map(drop),
        "network" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "connect" => UnixStream::connect("/run/dbus/system_bus_socket").map(drop),
        "run" => Command::new("/bin/true").status().map(drop),
        "thread" => thread::Builder::new().spawn(|| ()).map(drop),
        // What a bug does, rather than an enemy.
        "abort" => abort(),
        "memory" => {
            let much: Vec<u8> = vec![1; 1 << 40];
            drop(much);
            Ok(())
        }
        // Uses no processor time, and says nothing.
        "sleep" => loop {
            thread::park();
        },
        "hang-up" => Ok(()),
        _ => return,
    };
    std::process::exit(ESCAPED);
}

/// The exit code of a worker that was not stopped.
const ESCAPED: i32 = 77;
