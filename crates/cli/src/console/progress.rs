//! Progress of long work, on terminals: a bar where its end is known, a spinner
//! elsewhere.
//!
//! A line of progress ends before the edge of the screen, and the cursor stays behind
//! it: so the terminal's `^C` appears in that line, and goes with it.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::screen;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};
use ukexec_kexec::{is_ignored, out_of_signals};
use ukexec_loader::Progress;
use ukexec_loader::report::{Size, one_line};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Work that ends sooner shows no progress.
const QUIET_FOR: Duration = Duration::from_millis(300);

/// Time between two pictures.
const TICK: Duration = Duration::from_millis(100);

/// Whether the last line of the screen is progress. It is held during each write to
/// stderr.
static SHOWN: Mutex<bool> = Mutex::new(false);

/// Whether a signal ends this process, once something was shown.
static ENDS: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Clears the last line of the screen (ECMA-48, EL).
const CLEAR: &str = "\r\x1b[K";

/// Runs `write` on a screen without progress. A process that a signal ends says no
/// more.
pub(super) fn beside<T>(write: impl FnOnce() -> T) -> T {
    while ENDS.get().is_some_and(|ends| ends.load(Ordering::Relaxed)) {
        thread::park();
    }
    let mut shown = locked(&SHOWN);
    clear(&mut shown);
    write()
}

fn clear(shown: &mut MutexGuard<'_, bool>) {
    if std::mem::take(&mut **shown) {
        let _gone = io::stderr().write_all(CLEAR.as_bytes());
    }
}

/// Progress of one work, which leaves the screen when this is dropped.
pub(super) struct Bar {
    work: Arc<Mutex<Work>>,
    /// Draws until the sender goes.
    drawer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// Returns the progress of what is done, `what`, with `len` bytes if their number
    /// is known. `utf8` says whether the screen has characters beyond ASCII.
    pub(super) fn new(what: &str, len: Option<u64>, utf8: bool) -> Self {
        let work = Arc::new(Mutex::new(Work::new(what, len)));
        let (sender, end) = channel();
        let drawn = Arc::clone(&work);
        let draw = move || draw(&drawn, utf8, &end);
        let thread = thread::Builder::new().name("progress".to_owned());
        // Without a thread, nothing is shown.
        let drawer = out_of_signals(|| thread.spawn(draw)).ok();
        let drawer = drawer.map(|thread| (sender, thread));
        Self { work, drawer }
    }
}

impl Progress for Bar {
    fn is_shown(&self) -> bool {
        self.drawer.is_some()
    }

    fn begin(&self, what: &str, len: Option<u64>) {
        *locked(&self.work) = Work::new(what, len);
    }

    fn set(&self, done: u64) {
        locked(&self.work).done = done;
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.drawer.take() {
            drop(sender);
            let _panics_are_printed = thread.join();
        }
    }
}

/// Draws until `end` has no sender any more.
fn draw(work: &Mutex<Work>, utf8: bool, end: &Receiver<()>) {
    let mut wait = QUIET_FOR;
    while end.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = TICK;
        leave_nothing();
        let width = screen::columns_behind(io::stderr());
        let work = locked(work).clone();
        let line = work.line(work.start.elapsed(), width, utf8);
        let mut shown = locked(&SHOWN);
        *shown = true;
        let _gone = io::stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
    }
    clear(&mut locked(&SHOWN));
}

/// Has signals that end this process clear the progress first. A second signal ends
/// it at once. Its thread starts in one that is out of signals, and so is it too.
fn leave_nothing() {
    const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
    ENDS.get_or_init(|| {
        let ends = Arc::new(AtomicBool::new(false));
        let ending: Vec<i32> = ENDING.into_iter().filter(|it| !is_ignored(*it)).collect();
        let Ok(mut signals) = Signals::new(&ending) else {
            return ends;
        };
        for signal in ending {
            // In this order, the first signal passes the first of them.
            let _at_the_second = flag::register_conditional_default(signal, Arc::clone(&ends));
            let _at_the_first = flag::register(signal, Arc::clone(&ends));
        }
        thread::spawn(move || {
            for signal in signals.forever() {
                // Held until the end, so that nothing is drawn behind the clearing. A
                // terminal that stands holds the lock for longer than a line takes.
                let mut tries = (0..20).map(|_| {
                    let shown = SHOWN.try_lock();
                    shown.inspect_err(|_| thread::sleep(Duration::from_millis(5)))
                });
                let mut shown = tries.find_map(Result::ok);
                if let Some(shown) = &mut shown {
                    clear(shown);
                }
                let _ended = low_level::emulate_default_handler(signal);
            }
        });
        ends
    });
}

/// Locks `mutex`. Nobody who holds it leaves anything half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work under way.
#[derive(Clone)]
struct Work {
    /// In one line.
    what: String,
    /// Bytes, so far and in all.
    done: u64,
    len: Option<u64>,
    start: Instant,
}

/// Columns of a bar.
const BAR_MIN: usize = 10;
const BAR_MAX: usize = 40;

impl Work {
    fn new(what: &str, len: Option<u64>) -> Self {
        Self {
            what: one_line(what).into_owned(),
            done: 0,
            len,
            start: Instant::now(),
        }
    }

    /// Returns it as a line of less than `width` columns, so long after its start.
    fn line(&self, elapsed: Duration, width: usize, utf8: bool) -> String {
        let line = self.free_line(elapsed, width.saturating_sub(1), utf8);
        shortened(&line, width.saturating_sub(1), utf8)
    }

    /// As [`line`](Self::line), of `room` columns, unless the facts alone need more.
    fn free_line(&self, elapsed: Duration, room: usize, utf8: bool) -> String {
        let (facts, short) = self.facts(elapsed);
        // The name has a third of the screen at least.
        let facts = if facts.width() <= room * 2 / 3 {
            facts
        } else {
            short
        };
        let room = room.saturating_sub(facts.width());
        let Some(len) = self.len else {
            let spinner = spinner(elapsed, utf8);
            let name = shortened(&self.what, room.saturating_sub(2), utf8);
            return format!("{spinner} {name}{facts}");
        };
        let name = shortened(&self.what, room, utf8);
        let columns = room.saturating_sub(name.width() + 1).min(BAR_MAX);
        if columns < BAR_MIN {
            return format!("{name}{facts}");
        }
        format!("{name} {}{facts}", bar(self.done, len, columns, utf8))
    }

    /// Returns the facts behind the name, and the more important ones of them.
    fn facts(&self, elapsed: Duration) -> (String, String) {
        let done = Size(self.done);
        let millis = elapsed.as_millis().max(1);
        let per_second = u128::from(self.done) * 1000 / millis;
        let rate = match u64::try_from(per_second) {
            Ok(rate @ 1..) => format!(", {}/s", Size(rate)),
            // It has not begun, or no clock has measured it.
            _ => String::new(),
        };
        let Some(len) = self.len else {
            if self.done == 0 {
                let elapsed = format!(", {}", time(elapsed.as_secs()));
                return (elapsed.clone(), elapsed);
            }
            return (format!(", {done}{rate}"), format!(", {done}"));
        };
        let rest = u128::from(len.saturating_sub(self.done));
        let seconds = rest.checked_div(per_second);
        let left = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let left = left.map_or_else(String::new, |left| format!(", {} left", time(left)));
        let percent = u128::from(self.done.min(len)) * 100 / u128::from(len.max(1));
        (
            format!(" {percent}%, {done} of {}{rate}{left}", Size(len)),
            format!(" {percent}%{left}"),
        )
    }
}

/// Returns a time in its largest unit.
fn time(seconds: u64) -> String {
    match seconds {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..360_000 => format!("{} h", seconds / 3600),
        _ => "days".to_owned(),
    }
}

fn spinner(elapsed: Duration, utf8: bool) -> char {
    let frames: &[char] = if utf8 {
        &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
    } else {
        &['|', '/', '-', '\\']
    };
    let frame = elapsed.as_millis() / TICK.as_millis() % frames.len() as u128;
    let frame = usize::try_from(frame).ok().and_then(|at| frames.get(at));
    frame.copied().unwrap_or('|')
}

fn bar(done: u64, len: u64, columns: usize, utf8: bool) -> String {
    let (begin, full, empty, end) = if utf8 {
        ("", '█', '░', "")
    } else {
        ("[", '#', '-', "]")
    };
    let columns = columns - begin.len() - end.len();
    let filled = u128::from(done.min(len)) * columns as u128 / u128::from(len.max(1));
    let filled = usize::try_from(filled).unwrap_or(columns);
    let fill = |c: char, count| std::iter::repeat_n(c, count).collect::<String>();
    format!(
        "{begin}{}{}{end}",
        fill(full, filled),
        fill(empty, columns - filled)
    )
}

/// Returns the front of `text` that fits `columns`, with a mark where more follows.
fn shortened(text: &str, columns: usize, utf8: bool) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mark = if utf8 { "…" } else { "..." };
    let mut left = columns.saturating_sub(mark.width());
    let fits = |c: &char| {
        let rest = left.checked_sub(c.width().unwrap_or(0));
        rest.map(|rest| left = rest).is_some()
    };
    let front: String = text.chars().take_while(fits).collect();
    if columns < mark.width() {
        front
    } else {
        front + mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Returns the line of work after 1.5 seconds.
    fn line(len: Option<u64>, done: u64, width: usize, utf8: bool) -> String {
        let mut work = Work::new("reading debian.efi", len);
        work.done = done;
        work.line(Duration::from_millis(1_500), width, utf8)
    }

    #[test]
    fn work_whose_end_is_known_has_a_bar_and_the_time_left() {
        for (width, utf8, expected) in [
            (
                100,
                true,
                "reading debian.efi █████████████░░░░░░░░░░░░░░░░░ 46%, 120.0 MiB of 260.0 MiB, 80.0 MiB/s, 1 s left",
            ),
            (
                80,
                false,
                "reading debian.efi [###-----] 46%, 120.0 MiB of 260.0 MiB, 80.0 MiB/s, 1 s left",
            ),
            (40, false, "reading debian.efi 46%, 1 s left"),
            (30, true, "reading debian… 46%, 1 s left"),
        ] {
            let line = line(Some(260 * MIB), 120 * MIB, width, utf8);
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn other_work_has_a_spinner_and_its_bytes() {
        let line = |done, width| line(None, done, width, true);
        assert_eq!(
            line(12 * MIB, 80),
            "⠴ reading debian.efi, 12.0 MiB, 8.0 MiB/s"
        );
        assert_eq!(
            line(12 * MIB, 40),
            "⠴ reading debian.…, 12.0 MiB, 8.0 MiB/s"
        );
        assert_eq!(line(0, 80), "⠴ reading debian.efi, 1 s");
    }

    #[test]
    fn no_line_is_as_wide_as_the_screen() {
        for what in [
            "",
            "a",
            "reading debian.efi",
            "漢字",
            &"漢字".repeat(99),
            &"x".repeat(300),
        ] {
            for (done, len) in [
                (0, None),
                (0, Some(0)),
                (u64::MAX, None),
                (u64::MAX, Some(u64::MAX)),
                (5, Some(3)),
                (3 << 29, Some(1 << 34)),
            ] {
                for elapsed in [0, 1, 7_199, u64::MAX] {
                    let mut work = Work::new(what, len);
                    work.done = done;
                    let elapsed = Duration::from_secs(elapsed);
                    for (width, utf8) in (1..200).flat_map(|it| [(it, true), (it, false)]) {
                        let line = work.line(elapsed, width, utf8);
                        assert!(line.width() < width, "{width}: {line}");
                    }
                }
            }
        }
    }
}
