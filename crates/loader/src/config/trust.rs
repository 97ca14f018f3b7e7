//! The trusted keys and the policy for signatures: from the command line, the
//! configuration, and the state of the machine. This module only reads files;
//! the worker interprets them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::info;
use ukexec_kexec::{Lockdown, MachineState, SealedFile, shown_path};
use ukexec_signature::{Checks, SecureBoot, SignatureError, secure_boot};

use crate::config::efivars::{self, Efivars};
use crate::config::policy::{self, BootState, Config, Enforcement, TrustSource};
use crate::console::Console;
use crate::error::{Context as _, LoaderError, Result};
use crate::files;
use crate::options::LoaderOptions;
use crate::protocol::bundle::{Bundle, Bundled};
use crate::protocol::{Trusted, Verification};

/// No file of certificates is this long.
const LEN_MAX: u64 = 16 << 20;
/// Nor is a folder of them.
const FOLDER_LEN_MAX: u64 = 64 << 20;
const FILES_MAX: usize = 4096;

/// Returns the keys and the policy to verify by, with a bundle of the files;
/// `None` if nothing is to be verified. Who inspects makes it thorough.
pub(crate) fn verification(
    config: &Config,
    console: &dyn Console,
) -> Result<Option<(Verification, SealedFile)>> {
    let efivars = variables_in(config.efivars.as_deref())?;
    warn_of_guess(config, console)?;
    let enforcement = enforcement(config, &efivars)?;
    if enforcement == Enforcement::Off {
        return Ok(None);
    }
    let mut bundle = Bundle::new()?;
    let mut trusted = Vec::new();
    let mut machine = None;
    for trust in config.trust() {
        match trust {
            TrustSource::System => machine = Some(variables(&efivars, &mut bundle)?),
            TrustSource::Path(path) => trusted.push(keys(path, &mut bundle)?),
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 stands at its start: no certificate is valid that early.
    let now = now.unwrap_or_default().as_secs();
    let bundle = bundle.seal()?;
    let verification = Verification {
        enforcement,
        thorough: false,
        bundle_len: bundle.len(),
        trusted,
        machine,
        checks: Checks {
            check_dates: config.check_dates.unwrap_or(false).then_some(now),
        },
    };
    Ok(Some((verification, bundle)))
}

/// The state of a machine where no flag says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The treatment of signatures.
    pub(crate) enforcement: Enforcement,
    /// How it was booted, if that can be read.
    pub(crate) secure_boot: Option<SecureBoot>,
}

impl Standing {
    /// Reads the machine's configuration and UEFI variables.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be read.
    pub fn read(console: &dyn Console) -> Result<Self> {
        let config = config(&LoaderOptions::default())?;
        let efivars = variables_in(config.efivars.as_deref())?;
        warn_of_guess(&config, console)?;
        Ok(Self {
            enforcement: enforcement(&config, &efivars)?,
            secure_boot: how_booted(&efivars, &variables_in(None)?).ok(),
        })
    }
}

/// Returns the variables in `dir`, or the machine's own.
pub(crate) fn variables_in(dir: Option<&Path>) -> Result<Efivars> {
    let dir = dir.unwrap_or(Path::new(efivars::SYSTEM));
    Efivars::open(dir).context(|| format!("cannot read UEFI variables from {}", shown_path(dir)))
}

/// Returns the configuration, with the caller's settings in place of its own.
pub(crate) fn config(options: &LoaderOptions) -> Result<Config> {
    let file = options.config_file.as_deref();
    let file = file.unwrap_or(Path::new(policy::FILE));
    Ok(Config::read(file)?.with_flags(options.config.clone()))
}

/// Returns whether `config` requires a good signature on this machine.
pub(crate) fn is_required(config: &Config) -> Result<bool> {
    let efivars = variables_in(config.efivars.as_deref())?;
    Ok(enforcement(config, &efivars)?.is_require())
}

/// Warns where the treatment of signatures depends on what nothing shows.
fn warn_of_guess(config: &Config, console: &dyn Console) -> Result<()> {
    if config.policy() == policy::Policy::Auto && variables_in(None)?.is_not_mounted() {
        console.warn(&format!(
            "whether Secure Boot is on is unknown, and ukexec assumes that it is off: efivarfs \
             is not mounted on {}/efivars",
            efivars::SYSTEM
        ));
    }
    Ok(())
}

/// Returns the treatment of signatures on this machine.
fn enforcement(config: &Config, efivars: &Efivars) -> Result<Enforcement> {
    if config.policy() != policy::Policy::Auto {
        return Ok(config.policy().on(BootState::default()));
    }
    let machine = variables_in(None)?;
    let secure_boot = how_booted(efivars, &machine)
        .context(|| "whether Secure Boot is on is unknown; --verify decides instead")?;
    let lockdown = MachineState::read(Path::new("/")).lockdown;
    Ok(config.policy().on(BootState {
        secure_boot,
        lockdown: lockdown.is_some_and(|level| level > Lockdown::None),
    }))
}

/// Returns how the machine was booted, as its own variables say or those in
/// another folder. That says what to trust, not what machine this is: it may ask
/// for more than the machine does, as tests have it do, and not for less.
fn how_booted(named: &Efivars, machine: &Efivars) -> Result<SecureBoot, SignatureError> {
    let named = secure_boot(|name| named.read(name))?;
    if named.is_on() {
        return Ok(named);
    }
    secure_boot(|name| machine.read(name))
}

/// Puts a file of certificates into `bundle`, or the files of a folder.
fn keys(path: &Path, bundle: &mut Bundle) -> Result<Trusted> {
    let failed = || format!("cannot read trusted keys from {}", shown_path(path));
    let name = shown_path(path);
    if path.is_dir() {
        let files = folder(path, bundle).context(failed)?;
        return Ok(Trusted::Folder { name, files });
    }
    let bytes = files::read_regular(path, LEN_MAX).context(failed)?;
    Ok(Trusted::File(bundle.add(name, &bytes)?))
}

/// Puts the files of a folder into `bundle`. Entries that cannot be read as files are
/// passed over: secret keys often lie beside certificates.
fn folder(path: &Path, bundle: &mut Bundle) -> Result<Vec<Bundled>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(path)? {
        if paths.len() >= FILES_MAX {
            return Err(LoaderError::new(format!(
                "expected at most {FILES_MAX} files in a folder of keys, found more"
            )));
        }
        paths.push(entry?.path());
    }
    paths.sort();
    let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    paths.retain(|path| !path.file_name().is_some_and(is_hidden));
    let mut left = FOLDER_LEN_MAX;
    let mut files = Vec::new();
    for path in paths {
        let bytes = match files::read_regular(&path, LEN_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                info!("{}: passed over: {error}", shown_path(&path));
                continue;
            }
        };
        left = left.checked_sub(bytes.len() as u64).context(|| {
            format!("expected at most {FOLDER_LEN_MAX} bytes in a folder of keys, found more")
        })?;
        files.push(bundle.add(shown_path(&path), &bytes)?);
    }
    Ok(files)
}

/// Puts all variables that say what the machine trusts into `bundle`.
fn variables(efivars: &Efivars, bundle: &mut Bundle) -> Result<Vec<Bundled>> {
    let mut variables = Vec::new();
    for name in efivars
        .of_trust()
        .context(|| "cannot look for the machine's keys")?
    {
        let content = efivars
            .read(&name)
            .context(|| format!("cannot read {}", shown_path(Path::new(&name))))?;
        if let Some(content) = content {
            variables.push(bundle.add(name, &content)?);
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

    /// A folder of one variable: attributes, and 1 for on.
    fn folder(value: u8) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SECURE_BOOT), [6, 0, 0, 0, value]).unwrap();
        dir
    }

    #[test]
    fn another_folder_asks_for_more_and_not_for_less() {
        let (on, off) = (folder(1), folder(0));
        let check = |named: &Path, machine: &Path, expected| {
            let (named, machine) = (
                variables_in(Some(named)).unwrap(),
                variables_in(Some(machine)).unwrap(),
            );
            assert_eq!(how_booted(&named, &machine).unwrap().is_on(), expected);
        };
        check(on.path(), off.path(), true);
        check(off.path(), on.path(), true);
        check(off.path(), off.path(), false);
        let setup = folder(1);
        fs::write(
            setup
                .path()
                .join(SECURE_BOOT.replace("SecureBoot", "SetupMode")),
            [6, 0, 0, 0, 1],
        )
        .unwrap();
        check(off.path(), setup.path(), false);
        check(setup.path(), on.path(), true);
    }

    #[test]
    fn a_folder_passes_over_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("b.pem"), "b").unwrap();
        fs::write(path("a.pem"), "a").unwrap();
        fs::write(path(".hidden"), "hidden").unwrap();
        fs::write(path("long"), vec![0; 1 + LEN_MAX as usize]).unwrap();
        fs::create_dir(path("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("device")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
        let mut bundle = Bundle::new().unwrap();
        let Trusted::Folder { files, .. } = keys(dir.path(), &mut bundle).unwrap() else {
            panic!("a folder is no file");
        };
        let names = files.iter().map(|file| Path::new(&file.name).to_owned());
        assert_eq!(names.collect::<Vec<_>>(), [path("a.pem"), path("b.pem")]);
        assert_eq!(files[1].range, 1..2);
    }

    #[test]
    fn a_key_file_is_a_file() {
        let mut bundle = Bundle::new().unwrap();
        let error = keys(Path::new("/dev/zero"), &mut bundle).unwrap_err();
        assert_eq!(
            crate::report::failure::sentence(&error),
            "cannot read trusted keys from /dev/zero: expected a regular file, found a device"
        );
    }
}
