//! Names for the answers of a system call.

use std::fmt;

/// A system call's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        /// Names as in `errno(3)`.
        impl Errno {
            $(pub(crate) const $name: Self = Self(libc::$name);)*
        }

        /// Returns the name of an error number of the system, such as `ENOENT`.
        #[must_use]
        pub fn errno_name(number: i32) -> Option<&'static str> {
            match Errno(number) {
                $(Errno::$name => Some(stringify!($name)),)*
                _ => None,
            }
        }

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match errno_name(self.0) {
                    Some(name) => f.write_str(name),
                    None => std::io::Error::from_raw_os_error(self.0).fmt(f),
                }
            }
        }
    };
}

errnos! {
    EPERM EACCES EINVAL ENOEXEC EBUSY EADDRNOTAVAIL ETXTBSY ENODATA EKEYREJECTED ENOKEY ENOPKG
    EKEYEXPIRED EKEYREVOKED EBADMSG ELIBBAD ENOSYS EFBIG E2BIG ENOMEM EIO EINTR EAGAIN ENODEV
    EOPNOTSUPP EBADF EFAULT ENOENT EEXIST EISDIR ENOTDIR ELOOP ENAMETOOLONG EMFILE ENFILE ENOSPC EDQUOT EROFS
    EPIPE ENXIO ESTALE ETIMEDOUT ERANGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_names() {
        assert_eq!(Errno::EPERM.to_string(), "EPERM");
        assert_eq!(Errno(libc::EKEYREJECTED).to_string(), "EKEYREJECTED");
        assert_eq!(
            Errno(libc::EMLINK).to_string(),
            "Too many links (os error 31)"
        );
    }
}
