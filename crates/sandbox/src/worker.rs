//! Starting the worker, its life, and the worker's side of the start.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::stdio;

use crate::channel::Channel;
use crate::ending::Ending;
use crate::error::SandboxError;
use crate::program::{self, OWN_PROGRAM};

/// A worker process. It ends with this value at the latest.
#[derive(Debug)]
pub struct Worker {
    child: Child,
}

/// Starts this program a second time, with `args`, as a worker.
///
/// The worker has an empty environment, `/` as its folder, the channel's other
/// end as its standard input, and `/dev/null` or nothing for the rest. Descriptors that
/// are not marked close-on-exec would go along: this program opens none, but
/// the one that started it may have left some. [`confine`](crate::confine())
/// reports those.
///
/// The worker is killed when the calling thread ends, not only the process.
///
/// # Errors
///
/// There is no socket or no process to be had, or no `/proc`, or this program is
/// the argument of another.
pub fn spawn(args: &[&OsStr]) -> Result<(Worker, Channel), SandboxError> {
    let (near, far) = UnixStream::pair().map_err(failed("making a socket pair"))?;
    program::check()?;
    let null = nothing().map_err(failed("opening /dev/null for it"))?;
    let also_null = null
        .try_clone()
        .map_err(failed("opening /dev/null twice"))?;
    // The command owns `far` and goes at the end of the statement: with the
    // worker gone, nobody holds that end.
    let child = Command::new(OWN_PROGRAM)
        .arg0("ukexec")
        .args(args)
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(far))
        .stdout(null)
        .stderr(also_null)
        .spawn()
        .map_err(failed("starting /proc/self/exe"))?;
    Ok((Worker { child }, Channel::new(near.into())))
}

/// Returns `/dev/null`, or where there is none, as in a small initramfs, a socket whose other
/// end is closed: it ends as early.
fn nothing() -> io::Result<OwnedFd> {
    match File::options().read(true).write(true).open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (near, _closed) = UnixStream::pair()?;
            Ok(near.into())
        }
        Err(error) => Err(error),
    }
}

impl Worker {
    /// Returns the worker's process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the worker ends.
    ///
    /// A worker that waits for a frame ends when the channel is closed: drop
    /// that first.
    ///
    /// # Errors
    ///
    /// Something else in this process waited for it before.
    pub fn wait(mut self) -> Result<Ending, SandboxError> {
        Ok(self.child.wait().map_err(unknown())?.into())
    }

    /// Waits until the worker ends, but only so long: then it is killed. A
    /// worker that has hung up need not be about to end.
    ///
    /// # Errors
    ///
    /// As for [`Worker::wait`].
    pub fn wait_or_kill(mut self, time: Duration) -> Result<Ending, SandboxError> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().map_err(unknown())? {
                return Ok(status.into());
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.kill()
    }

    /// Ends the worker, whatever it is doing, and does not wait: [`kill`](Self::kill) does.
    pub fn begin_kill(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            // Nobody has waited for it, so that the number is still its own.
            let _gone = kill_process(id, Signal::KILL);
        }
    }

    /// Ends the worker, whatever it is doing, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// As for [`Worker::wait`].
    pub fn kill(mut self) -> Result<Ending, SandboxError> {
        self.child.kill().map_err(unknown())?;
        self.wait()
    }
}

fn failed(action: &str) -> impl FnOnce(io::Error) -> SandboxError + use<> {
    SandboxError::failed(format!("no worker process: {action}"))
}

fn unknown() -> impl FnOnce(io::Error) -> SandboxError {
    SandboxError::failed("the worker's end could not be awaited")
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both do nothing when the worker was waited for already. Otherwise
        // they fail only if something else in this process waited for it,
        // and then there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes the channel's end that the worker was started with, and has the
/// kernel kill this process when its parent ends.
///
/// Standard input reads nothing from then on.
///
/// # Errors
///
/// The parent is gone already, or standard input is not a socket of [`spawn`]'s
/// making.
pub fn attach() -> Result<Channel, SandboxError> {
    let failed = |action: &str| {
        SandboxError::failed(format!("a worker is started by its parent only: {action}"))
    };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("asking to end with the parent"))?;
    let stdin = io::stdin();
    rustix::net::sockopt::socket_type(&stdin)
        .map_err(failed("looking at the socket on standard input"))?;
    let socket =
        fcntl_dupfd_cloexec(&stdin, FIRST_OTHER).map_err(failed("taking standard input over"))?;
    // A parent that ended before the call above has sent no signal, but its
    // end of the socket is closed.
    if hung_up(&socket).map_err(failed("looking for the parent"))? {
        return Err(SandboxError::new("the parent of this worker is gone"));
    }
    // Standard output is nothing. A second descriptor of the socket would
    // keep it open behind the channel's back.
    stdio::dup2_stdin(io::stdout()).map_err(failed("closing standard input"))?;
    Ok(Channel::new(socket))
}

fn hung_up(socket: &OwnedFd) -> Result<bool, Errno> {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    retry_on_intr(|| poll(&mut polled, Some(&Timespec::default())))?;
    Ok(polled
        .iter()
        .any(|one| one.revents().contains(PollFlags::HUP)))
}

/// Between two looks at whether a worker has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// The first descriptor behind the standard ones.
const FIRST_OTHER: i32 = 3;
