//! A worker that was taken over: it tries to get out. Only in the build that
//! tests that it does not (feature `escape`); `ukexec-sandbox` tests many more
//! ways, one system call each.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::{Command, abort};
use std::thread;

use serde_json::{Value, json};

use super::line::Line;
use crate::protocol::{Answer, CUTS_MAX, Event, Failure, Span};

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

/// Tells the parent a lie, if `way` is one, and then nothing more.
pub(crate) fn lie(way: &str, line: &Line) {
    let cuts = |count: usize| Event::Looked {
        cuts: (0..count as u64).map(|at| at..at + 1).collect(),
        hash: None,
    };
    let events = match way {
        "lie: cuts" => vec![cuts(CUTS_MAX + 1)],
        "lie: outputs" => vec![cuts(0), Event::Output, Event::Output],
        "lie: document" => vec![cuts(0), done(json!(5), 0)],
        "lie: spans" => vec![cuts(0), done(json!({}), 7)],
        _ => return,
    };
    for event in &events {
        let _gone = line.send(event);
    }
    loop {
        thread::park();
    }
}

fn done(document: Value, source: u32) -> Event {
    Event::Done(Box::new(Answer {
        text: String::new(),
        document,
        warnings: Vec::new(),
        unfolded: true,
        identity: Err(Failure::default()),
        kernel: vec![Span::Source {
            id: source,
            range: 0..1,
        }],
        initrd: None,
        cmdline: None,
    }))
}

/// The exit code of a worker that was not stopped.
const ESCAPED: i32 = 77;
