//! Frames and descriptors between parent and worker.
//!
//! A frame is a little-endian `u32`, the length, and as many bytes. It travels
//! over a Unix stream socket; descriptors are attached to its first byte
//! (`SCM_RIGHTS`, unix(7)). Each side takes the other for an enemy: lengths
//! and counts are capped before anything is allocated, descriptors that come
//! where none may are an error, and those that came with a refused frame are
//! closed. Received descriptors are close-on-exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::error::ChannelError;

/// The most descriptors that go with a frame. Linux ends at 253
/// (`SCM_MAX_FD`); a PE image has 96 sections at most.
pub const MAX_DESCRIPTORS: usize = 200;

/// One end of the channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// The most that is taken for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame.
    pub frame: usize,
    /// Descriptors with it; beyond [`MAX_DESCRIPTORS`] none are taken.
    pub descriptors: usize,
}

/// What came: a frame and its descriptors, in the order they were sent.
#[derive(Debug)]
pub struct Message {
    /// The frame.
    pub frame: Vec<u8>,
    /// Its descriptors.
    pub descriptors: Vec<OwnedFd>,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Makes [`send`](Self::send) and [`receive`](Self::receive) fail when
    /// nothing moves for so long; without, they wait for ever.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Io`]: the kernel refuses, also a time of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), ChannelError> {
        for which in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&self.socket, which, timeout)
                .map_err(|errno| failed("setting the channel's timeout", errno))?;
        }
        Ok(())
    }

    /// Sends a frame with descriptors, and waits until the socket has it all.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if nobody is at the other end (and no signal);
    /// [`ChannelError::FrameTooLong`] and [`ChannelError::TooManyDescriptors`]
    /// before anything is sent.
    pub fn send(&self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let length =
            u32::try_from(frame.len()).map_err(|_too_long| ChannelError::FrameTooLong {
                found: frame.len(),
                limit: u32::MAX.try_into().unwrap_or(usize::MAX),
            })?;
        check_count(descriptors.len(), MAX_DESCRIPTORS)?;
        let header = length.to_le_bytes();
        let mut sent =
            self.send_some(&[IoSlice::new(&header), IoSlice::new(frame)], descriptors)?;
        while let Some(rest) = header.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += self.send_some(&[IoSlice::new(rest), IoSlice::new(frame)], &[])?;
        }
        while let Some(rest) = frame
            .get(sent - header.len()..)
            .filter(|rest| !rest.is_empty())
        {
            sent += self.send_some(&[IoSlice::new(rest)], &[])?;
        }
        Ok(())
    }

    fn send_some(
        &self,
        bytes: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<usize, ChannelError> {
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            // The space is made for `MAX_DESCRIPTORS`.
            return Err(ChannelError::DescriptorsLost);
        }
        match again(|| sendmsg(&self.socket, bytes, &mut control, SendFlags::NOSIGNAL)) {
            Ok(sent) => Ok(sent),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(ChannelError::Closed),
            Err(errno) => Err(failed("sending to the other end of the channel", errno)),
        }
    }

    /// Waits for a frame; `None` when the other end is closed between frames.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Stopped`] if the other end closes inside a frame; the
    /// rest of [`ChannelError`] for what breaks the rules or `limits`. Its
    /// descriptors are closed then.
    pub fn receive(&self, limits: Limits) -> Result<Option<Message>, ChannelError> {
        let mut header = [0; 4];
        let (came, descriptors) = self.receive_first(&mut header)?;
        if came == 0 {
            return Ok(None);
        }
        check_count(descriptors.len(), limits.descriptors)?;
        self.receive_rest(&mut header, came)?;
        let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
        if length > limits.frame {
            return Err(ChannelError::FrameTooLong {
                found: length,
                limit: limits.frame,
            });
        }
        let mut frame = vec![0; length];
        self.receive_rest(&mut frame, 0)?;
        Ok(Some(Message { frame, descriptors }))
    }

    /// Reads the first bytes of a frame, where descriptors may be.
    fn receive_first(&self, header: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), ChannelError> {
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let came = self.receive_some(header, &mut control)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        Ok((came, descriptors))
    }

    /// Fills `buffer` from `at` on. No descriptor may come with these bytes:
    /// without space for any, the kernel closes them and says that it did.
    fn receive_rest(&self, buffer: &mut [u8], mut at: usize) -> Result<(), ChannelError> {
        let expected = buffer.len();
        while let Some(rest) = buffer.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match self.receive_some(rest, &mut RecvAncillaryBuffer::default())? {
                0 => {
                    return Err(ChannelError::Stopped {
                        expected,
                        found: at,
                    });
                }
                some => at += some,
            }
        }
        Ok(())
    }

    /// Reads what there is, or waits; 0 when the other end is closed.
    fn receive_some(
        &self,
        buffer: &mut [u8],
        control: &mut RecvAncillaryBuffer<'_>,
    ) -> Result<usize, ChannelError> {
        let buffers = &mut [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match again(|| recvmsg(&self.socket, buffers, control, flags)) {
            Ok(got) if got.flags.contains(ReturnFlags::CTRUNC) => {
                Err(ChannelError::DescriptorsLost)
            }
            Ok(got) => Ok(got.bytes),
            // The other end closed without reading everything from here.
            Err(Errno::CONNRESET) => Ok(0),
            Err(errno) => Err(failed("receiving from the other end of the channel", errno)),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn check_count(found: usize, limit: usize) -> Result<(), ChannelError> {
    if found > limit {
        return Err(ChannelError::TooManyDescriptors { found, limit });
    }
    Ok(())
}

/// Makes the call again as long as signals get in between.
fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

fn failed(action: &'static str, errno: Errno) -> ChannelError {
    if errno == Errno::AGAIN {
        return ChannelError::TimedOut;
    }
    ChannelError::Io {
        action,
        cause: io::Error::from(errno),
    }
}

/// Bytes that [`MAX_DESCRIPTORS`] descriptors take beside a frame.
const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));
