//! Showing somebody the bytes that are on their way into memory, while more of them come.

use std::num::NonZero;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, available_parallelism, scope};

/// Sees the bytes of a file on their way into a [`Snapshot`](crate::Snapshot), each of them
/// once and in file order. Where there is a second processor, a thread of its own runs it.
pub type Tap<'a> = &'a mut (dyn FnMut(&[u8]) + Send + 'a);

/// Bytes on their way. They lie in memory of this process: nobody can change them between the
/// copy and the tap.
#[derive(Debug)]
pub(crate) struct Window {
    /// As many bytes as a window has at most.
    pub(crate) buf: Vec<u8>,
    /// So many of them are there.
    pub(crate) len: usize,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            buf: vec![0; WINDOW],
            len: 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

/// Takes a window that is full, and returns one to fill next.
pub(crate) type Show<'a> = &'a mut dyn FnMut(Window) -> Window;

/// Runs `work`, whose windows `tap` sees. It has seen all of them when this returns.
pub(crate) fn beside<T>(tap: Tap<'_>, work: impl FnOnce(Show<'_>) -> T) -> T {
    let has_second = available_parallelism().is_ok_and(|count| count > NonZero::<usize>::MIN);
    // The thread locks it once, or else, if there can be none, this one.
    let tap = Mutex::new(tap);
    scope(|scope| {
        let (full, to_see) = sync_channel::<Window>(WINDOWS);
        let (seen, empty) = channel();
        let tap = &tap;
        let see = move || {
            let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
            for window in to_see {
                tap(window.bytes());
                // Nobody waits for the last ones.
                let _unneeded = seen.send(window);
            }
        };
        let thread = Builder::new().name("ukexec-tap".to_owned());
        if !has_second || thread.spawn_scoped(scope, see).is_err() {
            let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
            return work(&mut |window| {
                tap(window.bytes());
                window
            });
        }
        let mut made = 1;
        work(&mut |window| {
            // Without the thread, which panicked then, leaving the scope panics.
            let _sent = full.send(window);
            match empty.try_recv() {
                Ok(window) => window,
                Err(_) if made < WINDOWS => {
                    made += 1;
                    Window::new()
                }
                Err(_) => empty.recv().unwrap_or_else(|_| Window::new()),
            }
        })
    })
}

/// Bytes of a window: the copy, the tap, and what is on the way between them stay in the
/// processor's caches.
const WINDOW: usize = 256 << 10;

/// Windows at most: one is filled, one is seen, and the others make up for unequal steps.
const WINDOWS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tap_has_seen_every_window_in_order() {
        let mut seen = Vec::new();
        let mut tap = |bytes: &[u8]| seen.extend_from_slice(bytes);
        let sent = beside(&mut tap, |show| {
            let mut window = Window::new();
            for round in 0..100_u8 {
                window.buf[..3].copy_from_slice(&[round, 1, 2]);
                window.len = usize::from(round % 4);
                window = show(window);
            }
            "done"
        });
        let expected = (0..100_u8).flat_map(|round| {
            let bytes = [round, 1, 2];
            bytes.into_iter().take(usize::from(round % 4))
        });
        assert_eq!((sent, seen), ("done", expected.collect()));
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_the_tap_is_one_here() {
        let mut tap = |_: &[u8]| panic!("tap");
        beside(&mut tap, |show| {
            let mut window = Window::new();
            for _ in 0..20 {
                window = show(window);
            }
        });
    }
}
