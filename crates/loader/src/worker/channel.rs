//! The worker's end of the channel.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ukexec_sandbox::Channel;

use crate::error::{Context as _, LoaderError, Result};
use crate::protocol::bounds::LogLeft;
use crate::protocol::line::short_line;
use crate::protocol::{Event, LIMITS, Request};

/// The channel, in the protocol's words.
#[derive(Debug)]
pub(crate) struct ParentChannel {
    channel: Channel,
    log: LogLeft,
    /// The parent knows that the log ends before the work.
    log_ended: AtomicBool,
}

impl ParentChannel {
    /// Returns the end that `channel` is, with so many bytes of log to send.
    pub(crate) fn new(channel: Channel, log_bytes: u64) -> Self {
        Self {
            channel,
            log: LogLeft::new(log_bytes),
            log_ended: AtomicBool::new(false),
        }
    }

    /// Sends `event` to the parent.
    pub(crate) fn send(&self, event: &Event) -> Result<()> {
        let frame = serde_json::to_vec(event).context(|| "an answer cannot be put into words")?;
        self.send_frame(&frame)
    }

    pub(crate) fn send_frame(&self, frame: &[u8]) -> Result<()> {
        if frame.len() > LIMITS.frame {
            return Err(LoaderError::new(format!(
                "the answer has {} bytes, where {} are all that go: its parts are in too many \
                 pieces",
                frame.len(),
                LIMITS.frame
            )));
        }
        self.channel
            .send(frame, &[])
            .context(|| "the parent does not listen")
    }

    /// Adds a line to the log, as long as there is room in it.
    pub(crate) fn log(&self, text: &str) -> Result<()> {
        let line = short_line(text.trim_end_matches('\n'));
        if self.log.take(&line) {
            return self.send(&Event::Log(line));
        }
        if self.log_ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let end = "the log has no room for more (--max-log-lines gives it some)";
        self.send(&Event::Log(end.to_owned()))
    }

    /// Waits for a request; `None` when the parent has no more.
    pub(crate) fn receive(&self) -> Result<Option<(Request, Option<OwnedFd>)>> {
        let message = self.channel.receive(LIMITS);
        let Some(message) = message.context(|| "the parent cannot be heard")? else {
            return Ok(None);
        };
        let request =
            serde_json::from_slice(&message.frame).context(|| "a request that makes no sense")?;
        Ok(Some((request, message.descriptors.into_iter().next())))
    }

    /// Asks the parent for memory to write into.
    pub(crate) fn output(&self) -> Result<OwnedFd> {
        self.send(&Event::Output)?;
        match self.receive()? {
            Some((Request::Output, Some(descriptor))) => Ok(descriptor),
            other => Err(LoaderError::new(format!(
                "an output was asked for, and the answer was {other:?}"
            ))),
        }
    }
}

/// Sends lines of the log.
pub(crate) struct LogWriter(pub(crate) Arc<ParentChannel>);

impl io::Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(text);
        self.0.log(&line).map_err(io::Error::other)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
