//! The `kexec` of Debian's newest kexec-tools, to be compared with ours, and the libraries that it needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::debian;

/// The program, what starts it, and the files that `--library-path` has to find, by name.
#[derive(Debug)]
pub(crate) struct KexecTools {
    pub(crate) program: PathBuf,
    pub(crate) loader: PathBuf,
    pub(crate) libraries: Vec<(String, PathBuf)>,
}

impl KexecTools {
    /// Installs it.
    ///
    /// # Errors
    ///
    /// As [`debian::root`].
    pub(crate) fn find() -> Result<Self> {
        let root = debian::root("sid", &["kexec-tools"])?;
        let within = |path: &str| root.join(path.trim_start_matches('/'));
        let program = "/usr/sbin/kexec";
        let listed = debian::inside(&root).args(["ldd", program]).text()?;
        // `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x...)`, and the loader alone.
        let paths = listed.split_whitespace().filter(|it| it.starts_with('/'));
        let (loader, libraries): (Vec<&str>, Vec<&str>) =
            paths.partition(|it| it.contains("/ld-linux"));
        let loader = loader.first().context("no loader among the libraries")?;
        let named = libraries.into_iter().map(|path| {
            let name = Path::new(path)
                .file_name()
                .context("a library has a name")?;
            Ok((name.to_string_lossy().into_owned(), within(path)))
        });
        Ok(Self {
            program: within(program),
            loader: within(loader),
            libraries: named.collect::<Result<_>>()?,
        })
    }
}
