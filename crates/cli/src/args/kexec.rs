//! The arguments of `ukexec kexec`, which are another program's.

use std::ffi::OsString;

use clap::Args;

/// `ukexec kexec`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec kexec -h                              its own options
  ukexec kexec -l debian.efi
  ukexec kexec -p kdump.efi --append=nr_cpus=1

The program kexec is the same. It has the exit statuses of kexec(8), not these. docs/kexec.md
lists how it differs from kexec-tools.")]
pub(crate) struct Kexec {
    /// The arguments of kexec(8)
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    arguments: Vec<OsString>,
}

impl Kexec {
    /// Returns the arguments behind the name of the program.
    pub(crate) fn with_name(&self) -> impl Iterator<Item = OsString> {
        [OsString::from("kexec")]
            .into_iter()
            .chain(self.arguments.iter().cloned())
    }
}
