//! The worker's end of the channel.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use ukexec_sandbox::Channel;

use crate::protocol::{Event, LIMITS, Request};

/// The channel, in the protocol's words.
#[derive(Debug)]
pub(crate) struct Line {
    channel: Channel,
}

impl Line {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Tells the parent.
    pub(crate) fn send(&self, event: &Event) -> anyhow::Result<()> {
        let frame = serde_json::to_vec(event).context("an answer cannot be put into words")?;
        self.channel
            .send(&frame, &[])
            .context("the parent does not listen")
    }

    /// Waits for a request; `None` when the parent has no more.
    pub(crate) fn receive(&self) -> anyhow::Result<Option<(Request, Option<OwnedFd>)>> {
        let message = self.channel.receive(LIMITS);
        let Some(message) = message.context("the parent cannot be heard")? else {
            return Ok(None);
        };
        let request =
            serde_json::from_slice(&message.frame).context("a request that makes no sense")?;
        Ok(Some((request, message.descriptors.into_iter().next())))
    }

    /// Asks the parent for memory to write into.
    pub(crate) fn output(&self) -> anyhow::Result<OwnedFd> {
        self.send(&Event::Output)?;
        match self.receive()? {
            Some((Request::Output, Some(descriptor))) => Ok(descriptor),
            other => bail!("an output was asked for, and the answer was {other:?}"),
        }
    }
}

/// Sends lines of the log.
pub(crate) struct LogWriter {
    line: Arc<Line>,
}

impl LogWriter {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line }
    }
}

impl io::Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let event = Event::Log(String::from_utf8_lossy(text).into_owned());
        self.line.send(&event).map_err(io::Error::other)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
