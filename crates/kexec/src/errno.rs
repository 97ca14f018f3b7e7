//! Names for the answers of a system call.

use std::fmt;

/// A system call's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        /// Names as in `errno(3)`.
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                pub const $name: Self = Self(libc::$name);
            )*

            /// Returns the name, if it is one that kexec can answer.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
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

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", std::io::Error::from_raw_os_error(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_names() {
        assert_eq!(Errno::EPERM.name(), Some("EPERM"));
        assert_eq!(Errno(libc::EKEYREJECTED).name(), Some("EKEYREJECTED"));
        assert_eq!(Errno(0).name(), None);
        assert_eq!(
            Errno(libc::EMLINK).to_string(),
            "Too many links (os error 31)"
        );
    }
}
