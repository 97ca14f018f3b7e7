//! Any system call at all, as a worker would make it that runs foreign code.

/// Makes a system call, and returns its result or the negative errno.
#[expect(
    unsafe_code,
    reason = "a worker that was taken over is not held to what crates wrap"
)]
pub(crate) fn call(number: i64, args: [usize; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: not in general. The numbers that this file's callers make in a
    // process that lives on get zeros, descriptors, process numbers, or memory
    // that `map` below asked for, and none of these makes a call write to this
    // process's own memory.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        let error = std::io::Error::last_os_error();
        return -i64::from(error.raw_os_error().unwrap_or_default());
    }
    result
}

/// A page of fresh memory that may be used as `protection` says.
pub(crate) fn map(protection: i32) -> i64 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    call(
        libc::SYS_mmap,
        [0, PAGE, number(protection), number(flags), usize::MAX, 0],
    )
}

/// Changes what a page from [`map`] may be used for.
pub(crate) fn protect(page: i64, protection: i32) -> i64 {
    let page = usize::try_from(page).unwrap();
    call(
        libc::SYS_mprotect,
        [page, PAGE, number(protection), 0, 0, 0],
    )
}

/// Marks every descriptor behind the standard ones close-on-exec.
pub(crate) fn mark_close_on_exec() {
    let flags = libc::CLOSE_RANGE_CLOEXEC as usize;
    let done = call(
        libc::SYS_close_range,
        [3, u32::MAX as usize, flags, 0, 0, 0],
    );
    assert_eq!(done, 0);
}

/// A process number or flags, as an argument.
pub(crate) fn number(value: i32) -> usize {
    usize::try_from(value).unwrap()
}

const PAGE: usize = 4096;
