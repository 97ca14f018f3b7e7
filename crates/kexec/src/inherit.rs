//! What programs that are run from here inherit.

use crate::error::KexecError;
use crate::syscall::{Call, syscall};

/// Keeps all descriptors but the standard three from programs that are run from
/// now on, also those that this process was started with and knows nothing of.
///
/// # Errors
///
/// [`KexecError::Memory`] if the kernel cannot do that: Linux before 5.11.
pub fn close_on_exec() -> Result<(), KexecError> {
    syscall(&Call::CloseOnExec).map_err(|errno| KexecError::Memory {
        action: "keeping descriptors from other programs (close_range)",
        cause: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::syscall::fake;

    #[test]
    fn one_call_is_enough() {
        close_on_exec().unwrap();
        assert_eq!(fake::calls(), ["close_range(close on exec)"]);
        fake::answer(Some(Errno::NOSYS));
        let error = close_on_exec().unwrap_err().to_string();
        assert!(
            error.starts_with("keeping descriptors from other programs"),
            "{error}"
        );
    }
}
