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

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(other) => write!(f, "{}", std::io::Error::from_raw_os_error(other)),
                }
            }
        }
    };
}

errnos! {
    EPERM EACCES EINVAL ENOEXEC EBUSY EADDRNOTAVAIL ETXTBSY ENODATA EKEYREJECTED ENOKEY ENOPKG
    EKEYEXPIRED EKEYREVOKED EBADMSG ELIBBAD ENOSYS EFBIG E2BIG ENOMEM EIO EINTR EAGAIN ENODEV
    EOPNOTSUPP EBADF EFAULT
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
