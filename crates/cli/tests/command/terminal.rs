//! The command as a person meets it: on a pseudo-terminal.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use unicode_width::UnicodeWidthStr as _;

use crate::images::kernel;
use crate::{command, folder, run, streams};

/// The command on a terminal, of which it is the foreground job.
struct Session {
    /// The end where the person sits.
    person: File,
    child: Child,
    /// What appears, as it comes.
    coming: Receiver<Vec<u8>>,
    /// What has appeared.
    shown: Vec<u8>,
}

/// Time for a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

impl Session {
    /// Runs `ukexec` with `args` in `dir` on a terminal with `columns`, where
    /// `variables` are set.
    fn start(dir: &Path, args: &[&str], columns: u16, variables: &[(&str, &str)]) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("a terminal");
        unlockpt(&person).expect("a terminal");
        let name = ptsname(&person, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("a name");
        let program = File::options().read(true).write(true).open(name);
        let program = program.expect("the terminal's other end");
        let stream = || Stdio::from(program.try_clone().expect("a descriptor"));
        // A job in the background ignores interrupts; this one is in the foreground.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", "setsid", "--ctty"])
            .arg(env!("CARGO_BIN_EXE_ukexec"))
            .args(args)
            .current_dir(dir)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .envs(variables.iter().copied())
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        let person = File::from(person);
        resize(&person, columns);
        let child = command.spawn().expect("env(1) and setsid(1) run");
        let (sender, coming) = channel();
        let mut reader = person.try_clone().expect("a descriptor");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has open any more fails.
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            person,
            child,
            coming,
            shown: Vec::new(),
        }
    }

    /// Waits until `text` has appeared `times` times.
    fn wait_for(&mut self, text: &str, times: usize) {
        while self.text().matches(text).count() < times {
            let more = self.coming.recv_timeout(PATIENCE);
            assert!(more.is_ok(), "{text} is not in {}", self.text());
            self.shown.extend(more.unwrap_or_default());
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits for the end of the command; returns how it ended, and what it wrote.
    fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        // Nobody has the terminal open: the reader ends behind the last byte.
        self.shown.extend(self.coming.iter().flatten());
        (status, self.text())
    }
}

fn resize(terminal: &File, columns: u16) {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("it is a terminal");
}

/// A screen without an edge.
#[derive(Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    /// The line that is written, and the place in it.
    line: Vec<char>,
    at: usize,
    /// Columns of the widest line that ever was.
    widest: usize,
}

impl Screen {
    /// Returns the screen that shows what was `written`, of which no escape sequence is
    /// another than ours.
    fn of(written: &str) -> Self {
        let mut screen = Self::default();
        let mut chars = written.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => screen.at = 0,
                '\n' => {
                    screen.lines.push(std::mem::take(&mut screen.line));
                    screen.at = 0;
                }
                '\x1b' => {
                    let sequence: String = chars.by_ref().take(2).collect();
                    match sequence.as_str() {
                        "[K" => screen.line.truncate(screen.at),
                        "[0" | "[1" | "[2" => assert_eq!(chars.next(), Some('m'), "{written:?}"),
                        "[3" => assert!(chars.by_ref().take(2).last() == Some('m'), "{written:?}"),
                        other => assert_eq!(other, "", "{written:?}"),
                    }
                }
                c => {
                    screen
                        .line
                        .resize(screen.line.len().max(screen.at + 1), ' ');
                    screen.line[screen.at] = c;
                    screen.at += 1;
                    let line: String = screen.line.iter().collect();
                    screen.widest = screen.widest.max(line.width());
                }
            }
        }
        screen
    }

    /// Returns all that it shows.
    fn text(&self) -> String {
        let lines: Vec<String> = self
            .lines
            .iter()
            .map(|line| line.iter().collect())
            .collect();
        let last: String = self.line.iter().collect();
        lines.join("\n") + "\n" + &last
    }
}

/// Returns a folder with a pipe, `slow.efi`.
fn with_pipe() -> tempfile::TempDir {
    let dir = folder(&[]);
    let made = Command::new("mkfifo")
        .arg(dir.path().join("slow.efi"))
        .status();
    assert!(made.expect("mkfifo(1) runs").success());
    dir
}

/// Opens the pipe, once the command reads it.
fn writer(dir: &Path) -> File {
    let pipe = File::options().write(true).open(dir.join("slow.efi"));
    pipe.expect("the pipe")
}

#[test]
fn a_slow_stream_has_a_spinner_that_fits_the_terminal_and_goes() {
    let dir = with_pipe();
    let mut session = Session::start(dir.path(), &["inspect", "slow.efi"], 60, &[]);
    let mut pipe = writer(dir.path());
    pipe.write_all(&kernel()[..1024]).expect("room");
    session.wait_for("reading slow.efi, 1.0 KiB", 1);
    let before = session.text();
    assert_eq!(Screen::of(&before).lines.len(), 0);
    resize(&session.person, 40);
    // What is drawn now may be as before.
    session.wait_for("\r", before.matches('\r').count() + 2);
    let resized = session.text().len();
    session.wait_for("\r", session.text().matches('\r').count() + 2);
    pipe.write_all(&kernel()[1024..]).expect("room");
    drop(pipe);
    let (status, written) = session.end();
    assert!(status.success(), "{written}");
    let last = written[resized..]
        .split("\x1b[K")
        .next()
        .expect("a first part");
    assert!(last.width() <= 40, "{last:?}");
    let shown = Screen::of(&written).text();
    assert!(!shown.contains("reading"), "{shown}");
    assert!(!written.contains("[?25"), "the cursor is always there");
}

#[test]
fn an_interrupt_leaves_nothing() {
    let dir = with_pipe();
    let args = ["unfold", "slow.efi", "-o", "parts"];
    let mut session = Session::start(dir.path(), &args, 80, &[]);
    let mut pipe = writer(dir.path());
    pipe.write_all(&[0; 512]).expect("room");
    session.wait_for("reading slow.efi, 512 bytes", 1);
    session.person.write_all(b"\x03").expect("a key");
    let (status, written) = session.end();
    assert_eq!(status.signal(), Some(2), "{written}");
    assert_eq!(Screen::of(&written).text(), "\n");
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1);
}

/// The sparse initrd takes seconds at any speed.
#[test]
fn work_of_the_worker_is_named_and_has_a_rate_and_the_time_left() {
    const LEN: u64 = 2 << 30;
    let dir = folder(&[("vmlinuz", &kernel())]);
    let initrd = File::create(dir.path().join("initrd")).expect("room for a file");
    initrd.set_len(LEN - 1).expect("no room is needed");
    for (option, name) in [
        ("--hash", "hashing vmlinuz "),
        ("--measure", "measuring vmlinuz "),
    ] {
        let args = ["inspect", option, "--initrd=initrd", "vmlinuz"];
        let mut session = Session::start(dir.path(), &args, 100, &[]);
        session.wait_for("iB/s", 3);
        session.person.write_all(b"\x03").expect("a key");
        let (status, written) = session.end();
        assert_eq!(status.signal(), Some(2), "{written}");
        for fact in [name, " of 2.0 GiB, ", "iB/s, ", " left"] {
            assert!(written.contains(fact), "{fact}: {written}");
        }
        assert_eq!(Screen::of(&written).text(), "\n");
    }
}

#[cfg(feature = "escape")]
#[test]
fn a_worker_that_floods_with_progress_is_ended() {
    let dir = folder(&[("image.efi", b"MZ")]);
    let flood = [("UKEXEC_ESCAPE", "flood: progress")];
    let session = Session::start(dir.path(), &["load", "image.efi"], 100, &flood);
    let (status, written) = session.end();
    assert_eq!(status.code(), Some(1), "{written}");
    assert!(
        written.contains("it sends more progress than it may"),
        "{written}"
    );
}

#[test]
fn quiet_and_terminals_without_escapes_have_no_progress() {
    for (args, variables) in [
        (&["-q", "inspect", "slow.efi"][..], &[][..]),
        (&["inspect", "slow.efi"], &[("TERM", "dumb")]),
    ] {
        let dir = with_pipe();
        let session = Session::start(dir.path(), args, 80, variables);
        let mut pipe = writer(dir.path());
        pipe.write_all(b"#!/bin/sh\n").expect("room");
        // No progress would be older than this.
        thread::sleep(Duration::from_millis(900));
        drop(pipe);
        let (status, written) = session.end();
        assert_eq!(status.code(), Some(1), "{written}");
        assert!(!written.contains("reading"), "{written}");
    }
}

#[test]
fn verdicts_have_colours_where_they_are_wanted() {
    let dir = folder(&[("vmlinuz", &kernel()), ("none", b"")]);
    let red = "\x1b[31m";
    let written = |args: &[&str], variables: &[(&str, &str)]| {
        let args = [args, &["inspect", "missing"]].concat();
        Session::start(dir.path(), &args, 80, variables).end().1
    };
    assert!(written(&[], &[]).contains(red));
    assert!(written(&["--color=always"], &[("NO_COLOR", "1")]).contains(red));
    assert!(!written(&["--color=never"], &[]).contains('\x1b'));
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        assert!(!written(&[], &[variable]).contains('\x1b'), "{variable:?}");
    }
    // No terminal has none, unless it is asked for.
    for (args, expected) in [(&[][..], false), (&["--color=always"], true)] {
        let mut command = command(dir.path(), &[args, &["inspect", "missing"]].concat());
        let output = command.env("TERM", "xterm").env_remove("NO_COLOR").output();
        let [_, stderr] = streams(&output.expect("ukexec runs"));
        assert_eq!(stderr.contains(red), expected, "{stderr:?}");
    }
}

#[test]
fn no_columns_are_as_good_as_no_variable() {
    let dir = folder(&[("vmlinuz", &kernel())]);
    for args in [&["inspect", "--help"][..], &["inspect", "vmlinuz"]] {
        let printed = |columns: &str| {
            let output = command(dir.path(), args).env("COLUMNS", columns).output();
            let [stdout, _] = streams(&output.expect("ukexec runs"));
            stdout
        };
        let expected = printed("");
        assert_eq!(printed("0"), expected, "{args:?}");
        assert_eq!(printed("100"), expected, "{args:?}");
        assert_ne!(printed("40"), expected, "{args:?}");
    }
}

#[test]
fn messages_wrap_on_a_terminal_alone() {
    let name = "a name that is long enough for two lines of a terminal or more ".repeat(3);
    let dir = folder(&[]);
    let args = ["inspect", name.trim_end()];
    for columns in [40, 60, 100, 200] {
        let (status, written) = Session::start(dir.path(), &args, columns, &[]).end();
        assert_eq!(status.code(), Some(1), "{written}");
        let screen = Screen::of(&written);
        assert!(screen.widest <= usize::from(columns), "{written}");
        assert!(screen.lines.len() > 1, "{written}");
    }
    let [_, stderr] = streams(&run(dir.path(), &args));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_person_chooses_a_boot_entry_by_its_number() {
    let dir = folder(&[("vmlinuz", &kernel()), ("loader.conf", b"")]);
    fs::create_dir_all(dir.path().join("loader/entries")).expect("a folder");
    for (name, version) in [("old", 1), ("new", 2)] {
        let keys = format!(
            "title {name}\nsort-key x\nversion {version}\nlinux /vmlinuz\noptions its={name}\n"
        );
        let path = dir.path().join(format!("loader/entries/{name}.conf"));
        fs::write(path, keys).expect("room for a file");
    }
    let args = ["inspect", "--esp", ".", "--efivars", ".", "--color=never"];
    let choose = |answer: &[u8]| {
        let mut session = Session::start(dir.path(), &args, 100, &[]);
        session.wait_for("boot entry (1 to 2): ", 1);
        session.person.write_all(answer).expect("a terminal");
        session.end()
    };
    let (status, text) = choose(b"2\n");
    assert!(status.success() && text.contains("its=old"), "{text}");
    let (status, text) = choose(b"3\n");
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(
        text.contains("expected a number from 1 to 2, found \"3\""),
        "{text}"
    );
    let (status, text) = choose(b"\n");
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("no boot entry was chosen"), "{text}");
}

#[test]
fn entries_of_one_id_are_chosen_by_number() {
    let dir = folder(&[("vmlinuz", &kernel()), ("loader.conf", b"")]);
    fs::create_dir_all(dir.path().join("loader/entries")).expect("a folder");
    for name in ["a", "a+3", "a+2-1"] {
        let keys = format!("title A\nlinux /vmlinuz\noptions its={name}\n");
        let path = dir.path().join(format!("loader/entries/{name}.conf"));
        fs::write(path, keys).expect("room for a file");
    }
    let args = ["inspect", "--esp", ".", "--efivars", ".", "--color=never"];
    for (answer, name) in [("1\n", "a"), ("2\n", "a+3"), ("3\n", "a+2-1")] {
        let mut session = Session::start(dir.path(), &args, 100, &[]);
        session.wait_for("boot entry (1 to 3): ", 1);
        session
            .person
            .write_all(answer.as_bytes())
            .expect("a terminal");
        let (status, text) = session.end();
        assert!(status.success(), "{text}");
        assert!(
            text.contains(&format!("loader/entries/{name}.conf)")),
            "{text}"
        );
        assert!(text.contains(&format!("its={name}\r")), "{text}");
    }
}
