//! The worker: confines itself, says so, makes one attempt, and reports how that
//! went if it still can.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
use std::time::Instant;

use ukexec_sandbox::{Channel, Confinement, FrameLimits, Strictness, attach, confine};

use crate::hands::{call, map, number, protect};

/// Limits of the worker in these tests.
pub(crate) const CONFINEMENT: Confinement = Confinement {
    address_space: 256 << 20,
    // Of a busy machine: memory takes far longer to use up there.
    cpu_seconds: 60,
    file_size: 1 << 20,
    descriptors: 64,
};

/// The limits of an attempt that only its processor time ends.
pub(crate) const SHORT: Confinement = Confinement {
    cpu_seconds: 1,
    ..CONFINEMENT
};

/// That attempt.
pub(crate) const ENDLESS: &str = "loop for ever";

pub(crate) const LIMITS: FrameLimits = FrameLimits {
    frame: 1 << 20,
    descriptors: 8,
};

/// An attempt. It returns what it found, if it returns.
type Attempt = fn(&Channel, &str) -> String;

/// `args`: how to be confined, the attempt's name, its argument.
pub(crate) fn worker(args: &[String]) -> ExitCode {
    let [how, name, argument] = args else {
        return ExitCode::from(90);
    };
    let Ok(channel) = attach() else {
        return ExitCode::from(91);
    };
    let confinement = match name.as_str() {
        ENDLESS => &SHORT,
        _ => &CONFINEMENT,
    };
    let confined = match how.as_str() {
        "open" => "open".to_owned(),
        "strict" => match confine(confinement, Strictness::Require) {
            Ok(_) => "confined".to_owned(),
            Err(error) => {
                channel.send(error.to_string().as_bytes(), &[]).unwrap();
                return ExitCode::from(92);
            }
        },
        _ => match confine(confinement, Strictness::BestEffort) {
            Ok(missing) => format!("{missing:?}"),
            Err(error) => error.to_string(),
        },
    };
    channel.send(confined.as_bytes(), &[]).unwrap();
    let attempt = ATTEMPTS.iter().find(|(known, _)| known == name);
    let found = match attempt {
        Some((_, attempt)) => attempt(&channel, argument),
        None => call(name.parse().unwrap(), [0; 6]).to_string(),
    };
    channel.send(found.as_bytes(), &[]).unwrap();
    ExitCode::from(3)
}

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("open a file", |_, _| outcome(File::open("/proc/self/exe"))),
    ("create a file", |_, path| outcome(File::create(path))),
    ("look at a file", |_, _| outcome(std::fs::metadata("/etc"))),
    ("list a folder", |_, _| outcome(std::fs::read_dir("/"))),
    ("remove a file", |_, path| {
        outcome(std::fs::remove_file(path))
    }),
    ("connect over TCP", |_, _| {
        outcome(TcpStream::connect("127.0.0.1:9"))
    }),
    ("make a UDP socket", |_, _| {
        outcome(UdpSocket::bind("127.0.0.1:0"))
    }),
    ("connect to an abstract socket", |_, name| {
        outcome(SocketAddr::from_abstract_name(name).and_then(|at| UnixStream::connect_addr(&at)))
    }),
    ("make a socket pair", |_, _| outcome(UnixStream::pair())),
    ("start a program", |_, _| {
        outcome(Command::new("/bin/true").status())
    }),
    ("become a program", |_, _| {
        Command::new("/nonexistent").exec().to_string()
    }),
    ("start a thread", |_, _| {
        outcome(std::thread::Builder::new().spawn(|| ()))
    }),
    ("map executable memory", |_, _| {
        mapped(map(libc::PROT_READ | libc::PROT_EXEC))
    }),
    ("make memory executable", |_, _| {
        let page = map(libc::PROT_READ | libc::PROT_WRITE);
        protect(page, libc::PROT_READ | libc::PROT_EXEC).to_string()
    }),
    ("make memory read-only", |_, _| {
        let page = map(libc::PROT_READ | libc::PROT_WRITE);
        protect(page, libc::PROT_READ).to_string()
    }),
    ("trace the parent", |_, _| {
        on_parent(libc::SYS_ptrace, |parent| [16, parent, 0, 0, 0, 0])
    }),
    ("look for the parent with a signal", |_, _| {
        on_parent(libc::SYS_kill, |parent| [parent, 0, 0, 0, 0, 0])
    }),
    ("abort the parent", |_, _| {
        on_parent(libc::SYS_tgkill, |parent| [parent, parent, 6, 0, 0, 0])
    }),
    ("signal itself", |_, _| {
        let own = number(rustix::process::getpid().as_raw_pid());
        call(libc::SYS_tgkill, [own, own, 18, 0, 0, 0]).to_string()
    }),
    ("read the parent's memory", |_, _| {
        on_parent(libc::SYS_process_vm_readv, |parent| [parent, 0, 0, 0, 0, 0])
    }),
    ("take the parent's descriptors", |_, _| {
        on_parent(libc::SYS_pidfd_open, |parent| [parent, 0, 0, 0, 0, 0])
    }),
    ("look at a limit", |_, _| {
        on_parent(libc::SYS_prlimit64, |_| [0, 0, 0, 0, 0, 0])
    }),
    (
        "duplicate a descriptor at a number of its choice",
        |_, _| call(libc::SYS_fcntl, [1, 0, 10, 0, 0, 0]).to_string(),
    ),
    ("write to a descriptor it was not given", |_, _| {
        call(libc::SYS_write, [7, 0, 0, 0, 0, 0]).to_string()
    }),
    ("allocate beyond the limit", |_, _| {
        let bytes = black_box(vec![1_u8; 1 << 30]);
        bytes.len().to_string()
    }),
    ("try to allocate beyond the limit", |_, _| {
        let mut bytes: Vec<u8> = Vec::new();
        outcome(bytes.try_reserve_exact(1 << 30))
    }),
    ("use up all memory and give it back", |_, _| use_up_memory()),
    (ENDLESS, |_, _| {
        let mut number = 0_u64;
        loop {
            number = black_box(number.wrapping_add(1));
        }
    }),
    ("wait for ever", |channel, _| {
        outcome(channel.receive(LIMITS).map(|message| message.is_some()))
    }),
    ("recurse for ever", |_, _| recurse(1).to_string()),
    ("abort", |_, _| std::process::abort()),
    ("panic", |_, _| {
        let caught = catch_unwind(|| assert_eq!(black_box(1), 2));
        caught.is_err().to_string()
    }),
    ("exit", |_, _| std::process::exit(7)),
    ("compute", |channel, _| compute(channel)),
    ("write too much", |channel, _| {
        let message = channel.receive(LIMITS).unwrap().unwrap();
        let file = File::from(message.descriptors.into_iter().next().unwrap());
        outcome(file.write_all_at(&[1], CONFINEMENT.file_size))
    }),
];

/// Allocates until nothing is left, in pieces that the allocator keeps
/// together and in pieces that it asks the kernel for one by one.
fn use_up_memory() -> String {
    for size in [100, 5_000, 100_000, 1 << 20] {
        let mut pieces: Vec<Vec<u8>> =
            Vec::with_capacity(CONFINEMENT.address_space as usize / size);
        let piece = || {
            let mut piece = Vec::new();
            piece.try_reserve_exact(size).ok()?;
            piece.push(1);
            Some(piece)
        };
        pieces.extend(std::iter::from_fn(piece));
        assert!(pieces.len() > 10);
    }
    "done".to_owned()
}

/// Everything that a worker does in earnest.
fn compute(channel: &Channel) -> String {
    let message = channel.receive(LIMITS).unwrap().unwrap();
    let [input, output] = <[_; 2]>::try_from(message.descriptors).unwrap();
    let (input, output) = (File::from(input), File::from(output));
    let start = Instant::now();
    let length = rustix::fs::fstat(&input).unwrap().st_size;
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    input.read_exact_at(&mut bytes, 0).unwrap();
    // Beyond what the allocator asks `brk` for, and back; random keys; growth
    // in place.
    let big = vec![1_u8; 64 << 20];
    let counts: HashMap<usize, usize> = (0..1000).map(|n| (n, bytes.len() + n)).collect();
    let mut grown = Vec::new();
    (0..1 << 20).for_each(|n: u32| grown.push(n));
    drop(big);
    output.set_len(1 << 16).unwrap();
    output.write_all_at(&bytes, 100).unwrap();
    let again = output.as_fd().try_clone_to_owned().unwrap();
    channel.send(b"output", &[again.as_fd()]).unwrap();
    assert!(start.elapsed().as_secs() < 60);
    format!("{} {} {}", counts[&7], grown.len(), bytes.len())
}

#[expect(
    unconditional_recursion,
    reason = "the end of the stack is what is tried"
)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[1]
}

fn on_parent(call_number: i64, args: fn(usize) -> [usize; 6]) -> String {
    let parent = number(rustix::process::Pid::as_raw(rustix::process::getppid()));
    call(call_number, args(parent)).to_string()
}

fn mapped(address: i64) -> String {
    if address > 0 { "mapped" } else { "refused" }.to_owned()
}

fn outcome<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
