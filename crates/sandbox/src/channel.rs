//! Frames and descriptors between parent and worker.
//!
//! A frame is a little-endian `u32`, the length, and as many bytes. It travels
//! over a Unix stream socket; descriptors are attached to the length
//! (`SCM_RIGHTS`, unix(7)). Each side takes the other for an enemy: lengths
//! and counts are capped before anything is allocated, descriptors that come
//! where none may are an error, and those that came with a refused frame are
//! closed. Received descriptors are close-on-exec.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::error::SandboxError;

/// The most descriptors that go with a frame. Linux ends at 253
/// (`SCM_MAX_FD`); a PE image has 96 sections at most.
const MAX_DESCRIPTORS: usize = 200;

/// One end of the channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// Bounds of a frame that is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of a frame.
    pub frame: usize,
    /// Descriptors with it; beyond 200, none are taken.
    pub descriptors: usize,
}

/// A frame that came, and its descriptors in the order they were sent.
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

    /// Sends a frame with descriptors, and waits until the socket holds all of it, if
    /// need be for ever.
    ///
    /// # Errors
    ///
    /// Nobody is at the other end (and no signal comes), or the frame is too
    /// long or has too many descriptors; nothing is sent then.
    pub fn send(&self, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        self.send_before(frame, descriptors, None)
    }

    /// As [`send`](Self::send), but the socket has to have the whole frame by
    /// `deadline`: an other end that reads a byte now and then gains no time.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send), and [`SandboxError::is_timed_out`].
    pub fn send_before(
        &self,
        frame: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: impl Into<Option<Instant>>,
    ) -> Result<(), SandboxError> {
        let deadline = deadline.into();
        let length = u32::try_from(frame.len())
            .map_err(|_too_long| too_long(frame.len(), count(u32::MAX)))?;
        check_count(descriptors.len(), MAX_DESCRIPTORS)?;
        let header = length.to_le_bytes();
        let send = |bytes: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>]| {
            self.send_some(bytes, descriptors, deadline)
        };
        let start = IoSlice::new(step(frame));
        let mut sent = send(&[IoSlice::new(&header), start], descriptors)?;
        while let Some(rest) = header.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += send(&[IoSlice::new(rest), start], &[])?;
        }
        while let Some(rest) = frame
            .get(sent - header.len()..)
            .filter(|rest| !rest.is_empty())
        {
            sent += send(&[IoSlice::new(step(rest))], &[])?;
        }
        Ok(())
    }

    fn send_some(
        &self,
        bytes: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<usize, SandboxError> {
        if let Some(deadline) = deadline {
            self.wait_until(Timeout::Send, deadline)?;
        }
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            // The space is made for `MAX_DESCRIPTORS`.
            return Err(descriptors_lost());
        }
        match retry_on_intr(|| sendmsg(&self.socket, bytes, &mut control, SendFlags::NOSIGNAL)) {
            Ok(sent) => Ok(sent),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(SandboxError::closed()),
            Err(errno) => Err(failed("sending to the other end of the channel", errno)),
        }
    }

    /// Waits for a frame, if need be for ever; `None` when the other end is
    /// closed between frames.
    ///
    /// # Errors
    ///
    /// The other end closes inside a frame, or breaks the rules or `limits`; the
    /// frame's descriptors are closed then.
    pub fn receive(&self, limits: FrameLimits) -> Result<Option<Message>, SandboxError> {
        self.receive_before(limits, None)
    }

    /// As [`receive`](Self::receive), but the whole frame has to be there by
    /// `deadline`: an other end that sends a byte now and then gains no time.
    ///
    /// # Errors
    ///
    /// As for [`receive`](Self::receive), and [`SandboxError::is_timed_out`].
    pub fn receive_before(
        &self,
        limits: FrameLimits,
        deadline: impl Into<Option<Instant>>,
    ) -> Result<Option<Message>, SandboxError> {
        let deadline = deadline.into();
        let mut header = [0; 4];
        let (came, descriptors) = self.receive_first(&mut header, deadline)?;
        if came == 0 {
            return Ok(None);
        }
        check_count(descriptors.len(), limits.descriptors.min(MAX_DESCRIPTORS))?;
        self.receive_rest(&mut header, came, deadline)?;
        let length = count(u32::from_le_bytes(header));
        if length > limits.frame {
            return Err(too_long(length, limits.frame));
        }
        let mut frame = vec![0; length];
        self.receive_rest(&mut frame, 0, deadline)?;
        Ok(Some(Message { frame, descriptors }))
    }

    /// Reads the first bytes of a frame, where descriptors may be.
    fn receive_first(
        &self,
        header: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<(usize, Vec<OwnedFd>), SandboxError> {
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let came = self.receive_some(header, &mut control, deadline)?;
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
    fn receive_rest(
        &self,
        buffer: &mut [u8],
        mut at: usize,
        deadline: Option<Instant>,
    ) -> Result<(), SandboxError> {
        let expected = buffer.len();
        while let Some(rest) = buffer.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match self.receive_some(rest, &mut RecvAncillaryBuffer::default(), deadline)? {
                0 => {
                    return Err(SandboxError::new(format!(
                        "the other end stopped inside a frame: {at} of {expected} bytes came"
                    )));
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
        deadline: Option<Instant>,
    ) -> Result<usize, SandboxError> {
        if let Some(deadline) = deadline {
            self.wait_until(Timeout::Recv, deadline)?;
        }
        let buffers = &mut [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match retry_on_intr(|| recvmsg(&self.socket, buffers, control, flags)) {
            Ok(got) if got.flags.contains(ReturnFlags::CTRUNC) => Err(descriptors_lost()),
            Ok(got) => Ok(got.bytes),
            // The other end closed without reading everything from here.
            Err(Errno::CONNRESET) => Ok(0),
            Err(errno) => Err(failed("receiving from the other end of the channel", errno)),
        }
    }

    /// Makes the next call wait no longer than until `deadline`.
    fn wait_until(&self, which: Timeout, deadline: Instant) -> Result<(), SandboxError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SandboxError::timed_out());
        }
        // A time that rounds to zero would be none.
        let left = left.max(Duration::from_millis(1));
        set_socket_timeout(&self.socket, which, Some(left))
            .map_err(|errno| failed("setting the channel's timeout", errno))
    }
}

/// Returns how much of `bytes` to send with one call. The kernel cuts what it
/// sends, and waits for room for each cut as long as it may wait at all: with no
/// more than one, a deadline holds.
fn step(bytes: &[u8]) -> &[u8] {
    bytes.get(..STEP).unwrap_or(bytes) // or there are fewer
}

/// Bytes that the kernel does not cut (`UNIX_SKB_FRAGS_SZ`).
const STEP: usize = 32 << 10;

/// Returns `length` as what buffers are counted in, which has 32 bits or more
/// wherever there is Linux.
fn count(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn too_long(found: usize, limit: usize) -> SandboxError {
    SandboxError::new(format!(
        "a frame of {found} bytes came, and at most {limit} were allowed"
    ))
}

fn check_count(found: usize, limit: usize) -> Result<(), SandboxError> {
    if found > limit {
        return Err(SandboxError::new(format!(
            "a frame with {found} descriptors came, and at most {limit} were allowed"
        )));
    }
    Ok(())
}

/// Too many came at once, more than this process may open, or not with a frame's
/// length.
fn descriptors_lost() -> SandboxError {
    SandboxError::new(
        "descriptors came that cannot be taken: too many, or in the middle of a frame",
    )
}

fn failed(action: &str, errno: Errno) -> SandboxError {
    match errno {
        Errno::AGAIN => SandboxError::timed_out(),
        errno => SandboxError::failed(action)(errno),
    }
}

/// Bytes that [`MAX_DESCRIPTORS`] descriptors take beside a frame.
const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::fs::File;
    use std::io::{self, Read as _, Seek as _, Write as _};
    use std::iter;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::thread;

    const LIMITS: FrameLimits = FrameLimits {
        frame: 8 << 20,
        descriptors: 2,
    };

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one.into()), Channel::new(other.into()))
    }

    /// Sends raw bytes, a part with each call, some descriptors with one of
    /// them, and closes.
    fn send_raw(channel: Channel, parts: &[&[u8]], descriptors: usize, with: usize) {
        let file = tempfile::tempfile().unwrap();
        let many: Vec<BorrowedFd<'_>> = iter::repeat_n(file.as_fd(), descriptors).collect();
        for (at, part) in parts.iter().enumerate() {
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if at == with && descriptors > 0 {
                assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            }
            let bytes = [IoSlice::new(part)];
            sendmsg(&channel.socket, &bytes, &mut control, SendFlags::NOSIGNAL).unwrap();
        }
        drop(channel);
    }

    /// Returns the answer to an enemy's bytes.
    #[expect(clippy::needless_pass_by_value, reason = "as `expect!` gives it")]
    fn check(parts: &[&[u8]], descriptors: usize, with: usize, expected: Expect) {
        let (near, far) = pair();
        send_raw(far, parts, descriptors, with);
        let text = match near.receive(LIMITS) {
            Ok(None) => "closed".to_owned(),
            Ok(Some(message)) => format!(
                "{:?} and {} descriptors",
                message.frame,
                message.descriptors.len()
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn frames_and_descriptors_arrive_in_order() {
        let (near, far) = pair();
        let mut files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        for (file, text) in files.iter_mut().zip(["one", "two"]) {
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
        }
        let [one, two] = &files;
        far.send(b"first", &[one.as_fd(), two.as_fd()]).unwrap();
        far.send(b"", &[]).unwrap();
        far.send(b"last", &[two.as_fd()]).unwrap();
        drop(far);
        let mut counts = Vec::new();
        while let Some(message) = near.receive(LIMITS).unwrap() {
            counts.push((message.frame.len(), message.descriptors.len()));
            for (descriptor, text) in message.descriptors.into_iter().zip(["one", "two"]) {
                let flags = rustix::io::fcntl_getfd(&descriptor).unwrap();
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
                if counts.len() == 1 {
                    let mut found = String::new();
                    File::from(descriptor).read_to_string(&mut found).unwrap();
                    assert_eq!(found, text);
                }
            }
        }
        assert_eq!(counts, [(5, 2), (0, 0), (4, 1)]);
    }

    #[test]
    fn a_frame_beyond_the_sockets_buffer_arrives_with_its_descriptors() {
        let (near, far) = pair();
        let frame: Vec<u8> = (0..LIMITS.frame).map(|at| at.to_le_bytes()[1]).collect();
        let file = tempfile::tempfile().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| far.send(&frame, &[file.as_fd()]).unwrap());
            let message = near.receive(LIMITS).unwrap().unwrap();
            assert!(message.frame == frame);
            assert_eq!(message.descriptors.len(), 1);
        });
    }

    #[test]
    fn a_close_is_an_end_between_frames_only() {
        check(&[], 0, 0, expect!["closed"]);
        check(
            &[&[1, 0]],
            0,
            0,
            expect!["the other end stopped inside a frame: 2 of 4 bytes came"],
        );
        check(
            &[&[3, 0, 0, 0, 7]],
            0,
            0,
            expect!["the other end stopped inside a frame: 1 of 3 bytes came"],
        );
    }

    #[test]
    fn lengths_and_counts_are_held_to_the_limits() {
        check(&[&[1, 0, 0, 0, 7]], 2, 0, expect!["[7] and 2 descriptors"]);
        check(
            &[&[1, 0, 0, 0, 7]],
            3,
            0,
            expect!["a frame with 3 descriptors came, and at most 2 were allowed"],
        );
        check(
            &[&[1, 0, 0, 0, 7]],
            MAX_DESCRIPTORS + 1,
            0,
            expect!["a frame with 201 descriptors came, and at most 2 were allowed"],
        );
        check(
            &[&[0xff; 4]],
            0,
            0,
            expect!["a frame of 4294967295 bytes came, and at most 8388608 were allowed"],
        );
        check(
            &[&[1, 0, 128, 0]],
            0,
            0,
            expect!["a frame of 8388609 bytes came, and at most 8388608 were allowed"],
        );
    }

    #[test]
    fn descriptors_that_nobody_waits_for_are_an_error() {
        check(
            &[&[2, 0, 0, 0], &[7], &[8]],
            1,
            2,
            expect!["descriptors came that cannot be taken: too many, or in the middle of a frame"],
        );
        check(
            &[&[1, 0, 0, 0, 7]],
            253,
            0,
            expect!["descriptors came that cannot be taken: too many, or in the middle of a frame"],
        );
    }

    /// The pipe's writing end went along; when nobody holds it, reading ends.
    #[test]
    fn descriptors_of_a_refused_frame_are_closed() {
        for descriptors in [0, MAX_DESCRIPTORS] {
            let (near, far) = pair();
            let (mut reading, writing) = io::pipe().unwrap();
            far.send(&[0; 9], &[writing.as_fd()]).unwrap();
            drop(writing);
            let limits = FrameLimits {
                frame: 8,
                descriptors,
            };
            near.receive(limits).unwrap_err();
            assert_eq!(reading.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_before_it_is() {
        let (near, far) = pair();
        let file = tempfile::tempfile().unwrap();
        let many: Vec<BorrowedFd<'_>> = iter::repeat_n(file.as_fd(), MAX_DESCRIPTORS + 1).collect();
        let error = far.send(b"x", &many).unwrap_err().to_string();
        assert!(error.starts_with("a frame with 201 descriptors"), "{error}");
        far.send(b"x", &many[1..]).unwrap();
        let limits = FrameLimits {
            descriptors: MAX_DESCRIPTORS,
            ..LIMITS
        };
        let message = near.receive(limits).unwrap().unwrap();
        assert_eq!(message.descriptors.len(), MAX_DESCRIPTORS);
    }

    #[test]
    fn sending_to_nobody_is_an_error_and_no_signal() {
        let (near, far) = pair();
        drop(far);
        let error = near.send(b"x", &[]).unwrap_err();
        assert!(error.is_closed(), "{error}");
    }

    #[test]
    fn an_end_that_left_something_unread_is_closed_all_the_same() {
        let (near, far) = pair();
        near.send(b"never read", &[]).unwrap();
        drop(far);
        assert!(near.receive(LIMITS).unwrap().is_none());
    }

    #[test]
    fn waiting_ends_with_the_time_that_was_set() {
        let (near, far) = pair();
        let soon = || Instant::now() + Duration::from_millis(10);
        let error = near.receive_before(LIMITS, soon()).unwrap_err();
        assert!(error.is_timed_out(), "{error}");
        let frame = vec![0; 4 << 20];
        let error = near.send_before(&frame, &[], soon()).unwrap_err();
        assert!(error.is_timed_out(), "{error}");
        drop(far);
    }

    /// Each byte comes in time, and the frame as a whole does not.
    #[test]
    fn a_deadline_is_for_the_whole_frame() {
        let (near, far) = pair();
        let deadline = Instant::now() + Duration::from_millis(60);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut byte = 200_u8;
                // Until nobody reads any more.
                while rustix::net::send(&far.socket, &[byte], SendFlags::NOSIGNAL).is_ok() {
                    byte = 0;
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let error = near.receive_before(LIMITS, deadline).unwrap_err();
            assert!(error.is_timed_out(), "{error}");
            drop(near);
        });
    }

    /// The other end keeps reading a little, which lets a little more be sent.
    #[test]
    fn a_deadline_is_for_all_that_is_sent() {
        let (near, far) = pair();
        let start = Instant::now();
        let deadline = start + Duration::from_millis(60);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut some = vec![0; 64 << 10];
                // Until nobody sends any more.
                while rustix::io::read(&far.socket, &mut *some).is_ok_and(|count| count > 0) {
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let frame = vec![0; 64 << 20];
            let error = near.send_before(&frame, &[], deadline).unwrap_err();
            assert!(error.is_timed_out(), "{error}");
            // By that step it would take ten seconds.
            assert!(start.elapsed() < Duration::from_secs(5));
            drop(near);
        });
    }
}
