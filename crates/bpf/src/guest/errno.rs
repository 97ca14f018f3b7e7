//! Errors of Linux that helpers answer with.

pub(crate) const EPERM: u64 = negative(1);
pub(crate) const ENOENT: u64 = negative(2);
pub(crate) const E2BIG: u64 = negative(7);
pub(crate) const EBADF: u64 = negative(9);
pub(crate) const EAGAIN: u64 = negative(11);
pub(crate) const EFAULT: u64 = negative(14);
pub(crate) const EEXIST: u64 = negative(17);
pub(crate) const EINVAL: u64 = negative(22);
pub(crate) const ERANGE: u64 = negative(34);
pub(crate) const EOPNOTSUPP: u64 = negative(95);

const fn negative(errno: u64) -> u64 {
    errno.wrapping_neg()
}
