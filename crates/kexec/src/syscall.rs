//! The system calls that no crate wraps. Besides the line that `stdio` begins with and
//! the map of `mapping`, all the `unsafe` there is.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitOptions, waitpid};

/// A system call whose arguments cannot harm this process: descriptors and
/// bytes are borrowed for as long as the call lasts.
#[derive(Debug)]
pub(crate) enum Call<'a> {
    /// `kexec_file_load(2)`.
    KexecFileLoad {
        /// Absent to unload or to ask for the call.
        kernel: Option<BorrowedFd<'a>>,
        initrd: Option<BorrowedFd<'a>>,
        /// With the NUL at its end; empty where there is no kernel.
        cmdline: &'a [u8],
        flags: u32,
    },
    /// `kexec_load(2)`.
    KexecLoad {
        /// The physical address that the kernel begins at.
        entry: u64,
        /// None to unload or to ask for the call.
        segments: &'a [RawSegment<'a>],
        flags: u32,
    },
    /// `reboot(2)` with `LINUX_REBOOT_CMD_KEXEC`. Returns only if it failed.
    RebootKexec,
    /// `ioctl(2)` with `SIOCGIFFLAGS`, then `SIOCSIFFLAGS` without `IFF_UP`.
    InterfaceDown {
        /// Any socket of the internet.
        socket: BorrowedFd<'a>,
        /// With at least one NUL behind it.
        name: [libc::c_char; libc::IFNAMSIZ],
    },
    /// `close_range(2)` with `CLOSE_RANGE_CLOEXEC`, for all descriptors from 3 on.
    CloseOnExec,
    /// `rt_sigprocmask(2)`: these signals wait, or wait no more.
    HoldSignals { which: Signals, hold: bool },
    /// `signal(2)`: `SIGCHLD` acts as it does by default.
    KeepEndings,
}

/// `struct kexec_segment` of Linux, include/uapi/linux/kexec.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RawSegment<'a> {
    buf: *const u8,
    bufsz: usize,
    mem: u64,
    memsz: u64,
    bytes: PhantomData<&'a [u8]>,
}

const _: () = assert!(size_of::<RawSegment<'_>>() == 32);

impl<'a> RawSegment<'a> {
    /// Returns the segment that has `bytes`, then zeros, at the `memsz` physical bytes from
    /// `mem` on.
    pub(crate) fn new(bytes: &'a [u8], mem: u64, memsz: u64) -> Self {
        Self {
            buf: bytes.as_ptr(),
            bufsz: bytes.len(),
            mem,
            memsz,
            bytes: PhantomData,
        }
    }
}

/// Signals that can be held back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signals {
    /// Those by which people and systemd ask a process to end.
    Ending,
    /// The one that a file gets too long (`RLIMIT_FSIZE`).
    FileSize,
}

/// Makes the call.
#[cfg(not(test))]
#[expect(
    unsafe_code,
    reason = "no crate wraps kexec_file_load(2), kexec_load(2), reboot(2) with kexec, \
              close_range(2), rt_sigprocmask(2), signal(2) and the flags of an interface"
)]
pub(crate) fn syscall(call: &Call<'_>) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;

    let result = match call {
        Call::KexecFileLoad {
            kernel,
            initrd,
            cmdline,
            flags,
        } => {
            let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
            let start = if cmdline.is_empty() {
                std::ptr::null()
            } else {
                cmdline.as_ptr()
            };
            // SAFETY: kexec_file_load(2) takes five arguments, passed here with
            // the widths it has. It reads `cmdline.len()` bytes at `cmdline`,
            // which the slice in `call` keeps valid until the call returns, and
            // writes none; it reads nothing at the null pointer of no bytes. The descriptors are open for as long as `call`
            // borrows them, and the kernel checks what they are. -1 (absent) is
            // only looked at where a flag does not rule it out, and is then
            // EBADF.
            unsafe {
                libc::syscall(
                    KEXEC_FILE_LOAD,
                    number(*kernel),
                    number(*initrd),
                    cmdline.len(),
                    start,
                    libc::c_ulong::from(*flags),
                )
            }
        }
        Call::KexecLoad {
            entry,
            segments,
            flags,
        } => {
            let start = if segments.is_empty() {
                std::ptr::null()
            } else {
                segments.as_ptr()
            };
            // SAFETY: kexec_load(2) takes four arguments, passed here with the widths it has.
            // It reads `segments.len()` entries, which the slice in `call` keeps valid until
            // the call returns, and the `bufsz` bytes at each entry's `buf`, which
            // `RawSegment::new` took from a slice that the entry borrows. It writes none, and
            // reads nothing at the null pointer of no entries. Entry point and places are
            // physical addresses: the kernel writes there as it boots the next one, or at
            // once into the memory set aside for a crash kernel, which no process has.
            unsafe {
                libc::syscall(
                    libc::SYS_kexec_load,
                    *entry,
                    segments.len(),
                    start,
                    libc::c_ulong::from(*flags),
                )
            }
        }
        // SAFETY: reboot(2) takes two magic numbers, a command and, for other
        // commands only, a pointer, which is null here. It touches no memory of
        // this process; on success no code of it runs again.
        Call::RebootKexec => unsafe {
            libc::syscall(
                libc::SYS_reboot,
                libc::LINUX_REBOOT_MAGIC1,
                libc::LINUX_REBOOT_MAGIC2,
                libc::LINUX_REBOOT_CMD_KEXEC,
                std::ptr::null::<libc::c_void>(),
            )
        },
        Call::InterfaceDown { socket, name } => {
            let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: 0 };
            let mut request = libc::ifreq {
                ifr_name: *name,
                ifr_ifru: flags,
            };
            let socket = socket.as_raw_fd();
            // SAFETY: SIOCGIFFLAGS reads the name in an ifreq and writes its flags. The
            // pointer is to one that lives here, whose name ends with a NUL; the socket is
            // open for as long as `call` borrows it.
            let asked = unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request) };
            if asked == 0 {
                // SAFETY: the kernel has just written this field of the union, and each of
                // its bits is one of a number.
                let flags = unsafe { request.ifr_ifru.ifru_flags };
                let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
                request.ifr_ifru = libc::__c_anonymous_ifr_ifru {
                    ifru_flags: flags & !up,
                };
                // SAFETY: as above; SIOCSIFFLAGS reads the name and the flags.
                let set = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) };
                libc::c_long::from(set)
            } else {
                libc::c_long::from(asked)
            }
        }
        // SAFETY: close_range(2) takes two descriptors and flags, passed here
        // with the widths it has. With CLOSE_RANGE_CLOEXEC it closes nothing:
        // every descriptor of this process stays valid, and only what a program
        // that is run later inherits changes. It touches no memory.
        Call::CloseOnExec => unsafe {
            libc::syscall(
                libc::SYS_close_range,
                BEHIND_STDERR,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        },
        Call::HoldSignals { which, hold } => {
            let set = match which {
                Signals::Ending => &ENDING,
                Signals::FileSize => &FILE_SIZE,
            };
            let how = if *hold {
                libc::SIG_BLOCK
            } else {
                libc::SIG_UNBLOCK
            };
            // SAFETY: rt_sigprocmask(2) takes what to do, a set to read, a set
            // to write, which is null and so is not written, and the size of a
            // set, which the kernel checks. `set` borrows a static of that size.
            // No handler runs or stops running by it: only the default actions
            // of these signals wait.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigprocmask,
                    how,
                    std::ptr::from_ref(set),
                    std::ptr::null_mut::<libc::c_void>(),
                    size_of_val(set),
                )
            }
        }
        Call::KeepEndings => {
            // SAFETY: signal(2) takes a signal and what it does, here nothing: no handler runs.
            let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
            libc::c_long::from(before == libc::SIG_ERR)
        }
    };
    if result == 0 {
        return Ok(());
    }
    // The error that the system left is always one of its numbers.
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
}

/// Runs `ask` in a child, a copy of this process that ends with the number returned. `ask`
/// makes system calls and nothing else: locks of other threads stay held in the copy.
#[expect(unsafe_code, reason = "no crate wraps fork(2) and _exit(2)")]
pub(crate) fn start_child(ask: fn() -> u8) -> Option<Child> {
    // SAFETY: fork(2) takes nothing, and changes no memory of this process. The copy has one
    // thread. It runs `ask`, which by the words above waits for no lock, and ends below.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = ask();
        // SAFETY: _exit(2) takes any number. No destructor and no handler runs, and no buffer
        // is written that this process has, too.
        unsafe { libc::_exit(code.into()) }
    }
    Pid::from_raw(child).filter(|_| child > 0).map(Child)
}

/// A child at work.
#[must_use]
#[derive(Debug)]
pub(crate) struct Child(Pid);

impl Child {
    /// Waits for the end, and returns the number; `None` for another end.
    pub(crate) fn answer(self) -> Option<u8> {
        let ended = retry_on_intr(|| waitpid(Some(self.0), WaitOptions::empty()));
        let (_, status) = ended.ok()??;
        status
            .exit_status()
            .and_then(|code| u8::try_from(code).ok())
    }
}

/// [`Signals::Ending`]: the kernel's set of 64 has bit 0 for signal 1.
#[cfg(not(test))]
static ENDING: u64 = 1 << (libc::SIGHUP - 1)
    | 1 << (libc::SIGINT - 1)
    | 1 << (libc::SIGQUIT - 1)
    | 1 << (libc::SIGTERM - 1);

/// [`Signals::FileSize`].
#[cfg(not(test))]
static FILE_SIZE: u64 = 1 << (libc::SIGXFSZ - 1);

/// The first descriptor that is not a standard one.
#[cfg(not(test))]
const BEHIND_STDERR: libc::c_uint = 3;

/// Number of `kexec_file_load(2)`, from each architecture's system call table;
/// `libc` lacks it for riscv64.
#[cfg(not(test))]
const KEXEC_FILE_LOAD: libc::c_long = if cfg!(target_arch = "x86_64") {
    320
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)) {
    294
} else if cfg!(target_arch = "powerpc64") {
    382
} else if cfg!(target_arch = "s390x") {
    381
} else {
    // No number at all: the kernel answers ENOSYS, as it would if it had the
    // call but could not load files.
    -1
};

/// Records the call and answers what the test wants.
#[cfg(test)]
pub(crate) fn syscall(call: &Call<'_>) -> Result<(), Errno> {
    fake::call(call)
}

#[cfg(test)]
pub(crate) mod fake {
    //! Stands in for the kernel, one for each test's thread.

    use std::cell::RefCell;

    use super::{Call, Errno, RawSegment};

    impl RawSegment<'_> {
        /// Returns the place, and the bytes as the kernel reads them.
        #[expect(unsafe_code, reason = "the fake reads what the kernel would")]
        fn shown(&self) -> String {
            // SAFETY: `new` took both from a slice that is borrowed for as long as this is.
            let bytes = unsafe { std::slice::from_raw_parts(self.buf, self.bufsz) };
            let Self { mem, memsz, .. } = self;
            format!(
                "{:?} at {mem:#x}+{memsz:#x}",
                String::from_utf8_lossy(bytes)
            )
        }
    }

    #[derive(Default)]
    struct Fake {
        answer: Option<Errno>,
        first: Option<Errno>,
        calls: Vec<String>,
        on_call: Option<Box<dyn FnOnce()>>,
    }

    thread_local! {
        static FAKE: RefCell<Fake> = RefCell::default();
    }

    /// Makes every call from now on fail with `errno`, or succeed.
    pub(crate) fn answer(errno: Option<Errno>) {
        FAKE.with_borrow_mut(|fake| fake.answer = errno);
    }

    /// Makes the next call fail with `errno`, and only that.
    pub(crate) fn answer_first(errno: Errno) {
        FAKE.with_borrow_mut(|fake| fake.first = Some(errno));
    }

    /// Does `act` when the next call is made.
    pub(crate) fn on_call(act: impl FnOnce() + 'static) {
        FAKE.with_borrow_mut(|fake| fake.on_call = Some(Box::new(act)));
    }

    /// Returns the calls so far and forgets them.
    pub(crate) fn calls() -> Vec<String> {
        FAKE.with_borrow_mut(|fake| std::mem::take(&mut fake.calls))
    }

    pub(super) fn call(call: &Call<'_>) -> Result<(), Errno> {
        let line = match call {
            Call::KexecFileLoad {
                kernel,
                initrd,
                cmdline,
                flags,
            } => format!(
                "kexec_file_load(kernel {}, initrd {}, {}, {:?}, {flags:#x})",
                if kernel.is_some() { "fd" } else { "-1" },
                if initrd.is_some() { "fd" } else { "-1" },
                cmdline.len(),
                String::from_utf8_lossy(cmdline),
            ),
            Call::KexecLoad {
                entry,
                segments,
                flags,
            } => {
                let segments = segments.iter().map(RawSegment::shown);
                let segments = segments.collect::<Vec<_>>().join(", ");
                format!("kexec_load({entry:#x}, [{segments}], {flags:#x})")
            }
            Call::RebootKexec => "reboot(kexec)".to_owned(),
            Call::InterfaceDown { socket, name } => {
                assert!(socket.try_clone_to_owned().is_ok(), "it is open");
                let name = name.iter().take_while(|&&byte| byte != 0);
                let name = name.map(|byte| char::from(byte.to_ne_bytes()[0]));
                format!("interface down({})", name.collect::<String>())
            }
            Call::CloseOnExec => "close_range(close on exec)".to_owned(),
            Call::HoldSignals { which, hold } => {
                format!("{} {which:?}", if *hold { "hold" } else { "release" })
            }
            Call::KeepEndings => "SIGCHLD by default".to_owned(),
        };
        FAKE.with_borrow_mut(|fake| {
            fake.calls.push(line);
            fake.on_call.take().into_iter().for_each(|act| act());
            let answer = fake.first.take().or(fake.answer);
            answer.map_or(Ok(()), Err)
        })
    }
}
