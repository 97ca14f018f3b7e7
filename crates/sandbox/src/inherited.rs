//! Things that a worker must not have when it begins: threads, and descriptors that
//! came from whoever started its parent.

use std::fs;
use std::io;

use rustix::fs::OFlags;

use crate::error::SandboxError;

/// Refuses threads: most of the sandbox confines the calling one alone.
pub(crate) fn check_threads() -> Result<(), SandboxError> {
    let tasks = fs::read_dir("/proc/self/task").map_err(SandboxError::failed(
        "a worker is started by its parent only: counting threads in /proc/self/task",
    ))?;
    match tasks.count() {
        ..=1 => Ok(()),
        found => Err(SandboxError::new(format!(
            "a process is confined while it has one thread, and this one has {found}"
        ))),
    }
}

/// Looks for descriptors that were open before this program began.
///
/// Every descriptor that Rust opens is close-on-exec. A descriptor behind the
/// standard ones that is not came through `execve`, and nobody here knows what it
/// leads to.
pub(crate) fn check_descriptors() -> Result<(), SandboxError> {
    let stray = stray().map_err(SandboxError::failed("looking at /proc/self/fd"))?;
    if stray.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = stray.iter().map(i32::to_string).collect();
    Err(SandboxError::new(format!(
        "the worker has descriptors that were left open for it: {}",
        list.join(", ")
    )))
}

fn stray() -> io::Result<Vec<i32>> {
    let mut stray = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if number > LAST_STANDARD && !closes_on_exec(number)? {
            stray.push(number);
        }
    }
    Ok(stray)
}

/// Reads `flags:` of proc(5), `/proc/pid/fdinfo`: open(2)'s, in octal.
fn closes_on_exec(number: i32) -> io::Result<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    Ok(info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC)))
}

/// Standard error.
const LAST_STANDARD: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsRawFd as _;
    use rustix::io::{FdFlags, fcntl_setfd};

    #[test]
    fn what_rust_opens_is_not_stray_and_what_passes_exec_is() {
        let file = tempfile::tempfile().unwrap();
        let number = file.as_raw_fd();
        assert!(!stray().unwrap().contains(&number));
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        assert!(stray().unwrap().contains(&number));
        let text = check_descriptors().unwrap_err().to_string();
        assert!(text.contains(&number.to_string()), "{text}");
    }
}
