//! The values that a TPM has now, or the file that somebody kept of one. The worker
//! reads them.

use std::io;
use std::path::Path;

use crate::console::Console;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::files::{read_named, read_regular, shown};
use crate::options::Against;
use crate::protocol::ObservedFiles;
use crate::protocol::bundle::Bundle;

/// Bytes of an event log, or of a text with values.
const OBSERVED_MAX: u64 = 16 << 20;

/// Bytes of a value in sysfs.
const VALUE_MAX: u64 = 256;

/// Values of the first TPM: a folder for each bank, a file for each register.
const TPM: &str = "/sys/class/tpm/tpm0";

/// Firmware's log, which root alone may read.
const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// Adds what is to be compared to `bundle`.
pub(crate) fn add(
    against: &Against,
    bundle: &mut Bundle,
    console: &dyn Console,
) -> Result<ObservedFiles> {
    let mut files = Vec::new();
    let source = match against {
        Against::File(path) => {
            let failed = || format!("cannot read {}", shown(path));
            let (bytes, _) = read_named(path, OBSERVED_MAX).context(failed)?;
            files.push(bundle.add(shown(path), &bytes)?);
            shown(path)
        }
        Against::Tpm => {
            files.push(bundle.add(TPM.to_owned(), &values()?)?);
            match read_regular(Path::new(LOG), OBSERVED_MAX) {
                Ok(log) => files.push(bundle.add(LOG.to_owned(), &log)?),
                Err(error) => console.warn(&format!(
                    "PCR 4 is not compared: cannot read {LOG}: {error}"
                )),
            }
            "the TPM".to_owned()
        }
    };
    Ok(ObservedFiles { source, files })
}

/// Returns the values of the first TPM as lines, such as `11:sha256=…`.
fn values() -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    let mut missing = None;
    for bank in ["sha256", "sha384"] {
        for pcr in [11, 12, 13, 4] {
            let path = format!("{TPM}/pcr-{bank}/{pcr}");
            match read_regular(Path::new(&path), VALUE_MAX) {
                Ok(value) => {
                    lines.extend(format!("{pcr}:{bank}=").into_bytes());
                    lines.extend(value);
                    lines.push(b'\n');
                }
                // A TPM need not have the bank.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.get_or_insert((path, error));
                }
                Err(error) => {
                    return Err(error).context(|| format!("cannot read {path}"));
                }
            }
        }
    }
    match missing {
        Some((path, error)) if lines.is_empty() => {
            let text = format!("this machine shows no TPM 2.0: cannot read {path}");
            Err(LoaderError::from(error)
                .context(text)
                .of_kind(ErrorKind::Machine))
        }
        _ => Ok(lines),
    }
}
