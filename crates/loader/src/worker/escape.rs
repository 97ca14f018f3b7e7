//! A worker that was taken over: it tries to get out. Only in the build that
//! tests that it does not (feature `escape`); `ukexec-sandbox` tests many more
//! ways, one system call each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::{Command, abort};
use std::thread;

use serde_json::json;
use ukexec_kexec::ConditionVerdict;
use ukexec_pe::ByteRanges;
use ukexec_signature::DigestRequest;

use super::channel::ParentChannel;
use crate::error::Failure;
use crate::protocol::{
    Answer, CUTS_MAX, Event, Identity, LIMITS, Objection, Request, SnapshotPlan, Span, Subject,
    Work, WorkProgress,
};
use crate::report::page::{Align, MapPart, Style, Text};
use crate::report::{Findings, Page};

/// Tries `way`. Getting that far without being ended is what must not happen;
/// the parent then gets an exit code that says so.
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
        // A bug does these, rather than an enemy.
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

/// Sends the parent a lie, if `way` is one, and then nothing more.
pub(crate) fn lie(way: &str, parent: &ParentChannel) {
    let events = match way {
        "lie: cuts" => vec![looked(CUTS_MAX as u64 + 1)],
        "lie: outputs" => vec![looked(0), Event::Output, Event::Output],
        "lie: document" => vec![
            looked(0),
            done(|answer| answer.report = Findings::Document(json!({}))),
        ],
        "lie: objection" => vec![
            looked(0),
            done(|answer| object(answer, 1, ConditionVerdict::Ok)),
        ],
        "lie: indent" => of_page(|page| page.paragraph(usize::MAX, "x")),
        "lie: columns" => of_page(|page| page.table(0, &[Align::Left; 1000], Vec::new())),
        "lie: cells" => of_page(|page| page.table(0, &[], vec![vec!["x".into(); 1000]])),
        "lie: map" => of_page(|page| {
            let part = || MapPart {
                name: "x".to_owned(),
                size: 1,
            };
            page.map(0, (0..1000).map(|_| part()).collect());
        }),
        "lie: colours" => of_page(|page| {
            let both = |text: Text, _| text.and(Style::Bad, "x").and(Style::Good, "x");
            page.row("", (0..200_000).fold(Text::default(), both));
        }),
        "lie: hopeless" => {
            let plan = SnapshotPlan {
                hopeless: true,
                ..SnapshotPlan::default()
            };
            vec![Event::Looked(plan), done(|_| ())]
        }
        "lie: spans" => vec![looked(0), done(|answer| answer.kernel = whole(7))],
        "lie: a NUL" => vec![
            looked(0),
            done(|answer| answer.cmdline = Some(b"quiet\0x".to_vec())),
        ],
        "lie: lines" => {
            let message = "x\nukexec: loaded\u{202e}\u{2028}\u{1b}[2J\u{200b}".to_owned();
            let failure = Failure::new(message.clone());
            vec![Event::Log(message), Event::Failed(Box::new(failure.into()))]
        }
        "sleep behind a log" => log().collect(),
        "sleep for nobody" => log().chain([looked(0), done(|_| ())]).collect(),
        _ => return,
    };
    for event in &events {
        let _gone = parent.send(event);
    }
    loop {
        thread::park();
    }
}

/// Sends the parent more than it can want, if `way` is one to do so: the first
/// events once, the others without end.
pub(crate) fn flood(way: &str, parent: &ParentChannel) {
    let Some(kind) = way.strip_prefix("flood: ") else {
        return;
    };
    let much = || "\u{1b}\n".repeat(LIMITS.frame / 64);
    let (first, again) = match kind {
        "log" => (vec![], vec![Event::Log("x".repeat(100))]),
        "empty log" => (vec![], vec![Event::Log(String::new())]),
        "long log" => (vec![], vec![Event::Log(much())]),
        "ranges" => (vec![], vec![hashed(1 << 17, 0)]),
        "padding" => (vec![], vec![hashed(1, u64::MAX)]),
        "failures" => {
            let mut failure = Failure::new(much());
            failure.place.layer = Some(much());
            (vec![], vec![Event::Failed(Box::new(failure.into()))])
        }
        "freed" => (
            vec![looked(0), Event::Output, Event::Written(1)],
            vec![Event::Freed(1)],
        ),
        "given freed" => (vec![looked(0)], vec![Event::Freed(0)]),
        "written" => (vec![looked(0), Event::Output], vec![Event::Written(1)]),
        "progress" => {
            let now = WorkProgress::of(Work::Hashing, Some(0));
            (vec![looked(0)], vec![Event::Progress(now)])
        }
        "text" => (
            vec![looked(0)],
            vec![page(|page| page.paragraph(0, much()))],
        ),
        "document" => {
            let deep = (0..100).fold(json!([0, 0, 0, 0]), |inner, _| json!([inner, 0, 0, 0]));
            let document = json!({ "layers": vec![deep; 4000] });
            (
                vec![looked(0)],
                vec![done(|answer| answer.report = Findings::Document(document))],
            )
        }
        "warnings" => (
            vec![looked(0)],
            vec![done(|answer| {
                answer.warnings = vec![String::new(); 1 << 20]
            })],
        ),
        "objections" => (
            vec![looked(0)],
            vec![done(|answer| {
                object(answer, 1 << 17, ConditionVerdict::Unknown)
            })],
        ),
        "cmdline" => (
            vec![looked(0)],
            vec![done(|answer| {
                answer.cmdline = Some(vec![b'x'; (64 << 10) + 1])
            })],
        ),
        "nonsense" => {
            let frame = format!("{{\"{}\":0}}", "\u{202e}".repeat(1 << 20));
            loop {
                let _gone = parent.send_frame(frame.as_bytes());
            }
        }
        "outputs" => return flood_outputs(parent, true),
        "outputs unread" => return flood_outputs(parent, false),
        _ => return,
    };
    for event in first.iter().chain(again.iter().cycle()) {
        // The parent ends this process, and nothing else does.
        let _gone = parent.send(event);
    }
}

/// Has the parent make one output after the other, and takes them or not.
fn flood_outputs(parent: &ParentChannel, take: bool) {
    let _gone = parent.send(&looked(0));
    for id in 1.. {
        let _gone = parent.send(&Event::Output);
        while take && !matches!(parent.receive(), Ok(Some((Request::Output, _)))) {}
        let _gone = parent.send(&Event::Written(id));
        let _gone = parent.send(&Event::Freed(id));
    }
}

/// Returns more log than a pipe holds, and not more than there may be with `-v`.
fn log() -> impl Iterator<Item = Event> {
    (0..1500).map(|_| Event::Log("x".repeat(100)))
}

fn looked(cuts: u64) -> Event {
    let cuts = (0..cuts).map(|at| at..at + 1).collect();
    Event::Looked(SnapshotPlan {
        cuts,
        ..SnapshotPlan::default()
    })
}

fn hashed(ranges: u64, padding: u64) -> Event {
    let ranges = (0..ranges).map(|at| at..at + 1).collect();
    let hash = Some(DigestRequest {
        ranges: ByteRanges { ranges, padding },
        algorithms: BTreeSet::new(),
    });
    Event::Looked(SnapshotPlan {
        hash,
        ..SnapshotPlan::default()
    })
}

/// Returns the events of a worker that answers with a page that `draw` draws.
fn of_page(draw: impl FnOnce(&mut Page)) -> Vec<Event> {
    vec![looked(0), page(draw)]
}

/// Returns the answer with a page that `draw` draws.
fn page(draw: impl FnOnce(&mut Page)) -> Event {
    let mut page = Page::default();
    draw(&mut page);
    done(|answer| answer.report = Findings::Page(page))
}

fn object(answer: &mut Answer, count: usize, verdict: ConditionVerdict) {
    let objection = Objection {
        text: "no".to_owned(),
        fault: "no".to_owned(),
        verdict,
        subject: Subject::Machine,
    };
    answer.identity = Ok(Identity {
        format: "bzImage".to_owned(),
        x86_64: true,
        release: None,
        signed: None,
        memory: None,
        header: Err(Box::default()),
        appended: Some(false),
        problems: vec![objection; count],
    });
}

fn whole(source: u32) -> Vec<Span> {
    vec![Span::Source {
        id: source,
        range: 0..1,
    }]
}

/// Returns an answer without a fault, but what `lie` does to it.
fn done(lie: impl FnOnce(&mut Answer)) -> Event {
    let mut answer = Answer::sound();
    answer.kernel = whole(0);
    lie(&mut answer);
    Event::Done(Box::new(answer))
}

/// The exit code of a worker that was not stopped.
const ESCAPED: i32 = 77;
