//! Random bytes of the running kernel.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::KexecError;

/// Returns fresh random bytes.
///
/// # Errors
///
/// The running kernel has none.
///
/// ```
/// assert_ne!(ukexec_kexec::random::<16>()?, ukexec_kexec::random::<16>()?);
/// # Ok::<(), ukexec_kexec::KexecError>(())
/// ```
pub fn random<const LEN: usize>() -> Result<[u8; LEN], KexecError> {
    let mut bytes = [0; LEN];
    // The kernel answers requests of up to 256 bytes whole.
    let got = getrandom(&mut bytes, GetRandomFlags::empty());
    let failed = |cause| KexecError::caused("there are no random bytes".to_owned(), cause);
    match got.map_err(failed)? {
        len if len == LEN => Ok(bytes),
        len => Err(KexecError::new(format!("{len} of {LEN} random bytes came"))),
    }
}
