//! The worker's log, printed while the parent waits for the worker.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use ukexec_kexec::out_of_signals;

use crate::console::Console;
use crate::error::Result;
use crate::parent::border;
use crate::protocol::bounds::LogLeft;

/// Prints a worker's log lines as they come.
///
/// Printing can take for ever, on a terminal that is held or for a reader that
/// does not read. A thread of its own does that: a slow reader stops
/// neither an honest worker nor the clock of one that was taken over. No more
/// waits for the reader than a log may have.
pub(crate) struct Log {
    console: Arc<dyn Console>,
    left: LogLeft,
    /// Started with the first line; most workers say nothing.
    printer: OnceCell<Option<Printer>>,
}

#[derive(Debug)]
struct Printer {
    lines: Sender<String>,
    thread: JoinHandle<()>,
}

impl Log {
    /// Returns the log of a worker that may send so many bytes of it.
    pub(crate) fn new(bytes: u64, console: Arc<dyn Console>) -> Self {
        Self {
            console,
            left: LogLeft::with_last_word(bytes),
            printer: OnceCell::new(),
        }
    }

    /// Prints `line`, now or soon.
    pub(crate) fn print(&self, line: String) -> Result<()> {
        if !self.left.take(&line) {
            return Err(border::sends("more log than it may"));
        }
        let start = || Printer::start(Arc::clone(&self.console));
        let printer = self.printer.get_or_init(start).as_ref();
        let unsent = match printer {
            Some(printer) => printer.lines.send(line).err().map(|unsent| unsent.0),
            None => Some(line),
        };
        // Without a thread, the caller waits.
        if let Some(line) = unsent {
            self.console.log(&line);
        }
        Ok(())
    }

    /// Waits until all is printed. The worker is gone by then.
    pub(crate) fn finish(self) {
        if let Some(Some(Printer { lines, thread })) = self.printer.into_inner() {
            drop(lines);
            let _panics_are_told = thread.join();
        }
    }
}

impl Printer {
    fn start(console: Arc<dyn Console>) -> Option<Self> {
        let (lines, to_print) = channel::<String>();
        let print = move || to_print.iter().for_each(|line| console.log(&line));
        let thread = Builder::new().name("log".to_owned());
        let thread = out_of_signals(|| thread.spawn(print)).ok()?;
        Some(Self { lines, thread })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;
    use crate::console::Progress;

    /// A reader that does not read fast.
    #[derive(Default)]
    struct Slow(Mutex<Vec<String>>);

    impl Console for Slow {
        fn warn(&self, text: &str) {
            panic!("a log has no warnings, and this is one: {text}");
        }

        fn log(&self, line: &str) {
            sleep(Duration::from_millis(1));
            self.0.lock().unwrap().push(line.to_owned());
        }

        fn progress(&self, _what: &str, _len: Option<u64>) -> Box<dyn Progress> {
            Box::new(())
        }
    }

    #[test]
    fn all_that_was_sent_is_printed_in_order_before_the_end() {
        let console = Arc::new(Slow::default());
        let log = Log::new(4096, Arc::clone(&console) as Arc<dyn Console>);
        let lines: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        for line in &lines {
            log.print(line.clone()).unwrap();
        }
        log.finish();
        assert_eq!(*console.0.lock().unwrap(), lines);
    }

    #[test]
    fn more_than_there_may_be_is_refused_and_not_printed() {
        let console = Arc::new(Slow::default());
        let log = Log::new(0, Arc::clone(&console) as Arc<dyn Console>);
        // The worker may say that its log is used up.
        log.print("the end".to_owned()).unwrap();
        let error = log.print("x".repeat(4096)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the worker cannot be trusted: it sends more log than it may; nothing was done with \
             its answer"
        );
        log.finish();
        assert_eq!(*console.0.lock().unwrap(), ["the end"]);
    }
}
