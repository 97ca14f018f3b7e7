//! Descriptors that programs inherit which are run from here.

use crate::error::{KexecError, failed};
use crate::syscall::{Call, syscall};

/// Keeps all descriptors but the standard three from programs that are run from
/// now on, also those that this process was started with and knows nothing of.
///
/// # Errors
///
/// The kernel cannot do that: Linux before 5.11.
pub fn close_on_exec() -> Result<(), KexecError> {
    let action = "keeping descriptors from other programs (close_range)";
    syscall(&Call::CloseOnExec).map_err(failed(action))
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
        let text = "keeping descriptors from other programs (close_range)";
        assert_eq!(error, text);
    }
}
