//! The definition of the command line with all that help has.

use std::sync::LazyLock;

use clap::{Arg, ColorChoice, CommandFactory as _};
use ukexec_unfold::ABI;

use super::Cli;
use crate::console;

/// Ends the long help of each command.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: a file, its format, the budget, input or output
  2  wrong usage
  3  ukexec or the running kernel refuses a signature, or finds it revoked
  4  this machine cannot: no such call, no right, load_disabled, a limit,
     lockdown, no crash memory, another architecture, or nothing is loaded
With several images, the highest code counts.";

/// The version, the commit where the build knew it, and the parser ABIs.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = match env!("UKEXEC_COMMIT") {
        "" => String::new(),
        commit => format!("commit {commit}, "),
    };
    let version = env!("CARGO_PKG_VERSION");
    format!("{version} ({commit}parser ABI {ABI})")
});

impl Cli {
    /// Returns the definition of the command line: the one that arguments are read
    /// by, and that help is printed from.
    pub(crate) fn definition() -> clap::Command {
        let command = Self::command()
            .color(ColorChoice::Never)
            .term_width(console::columns());
        let command = command.mut_subcommand("reboot", |reboot| reboot.mut_args(as_of_load));
        with_exit_codes(command.version(VERSION.as_str()))
    }
}

/// Leaves options out of the short help of `reboot` that `load` has in its own.
fn as_of_load(arg: Arg) -> Arg {
    let of_load = [
        "parser",
        "no_embedded_parser",
        "panic",
        "initrd",
        "companions",
        "hash",
    ];
    let is_of_load = of_load.iter().any(|id| arg.get_id() == id);
    if is_of_load {
        arg.hide_short_help(true)
    } else {
        arg
    }
}

/// Ends the long help of `command`, and of those below it, with [`EXIT_CODES`].
fn with_exit_codes(command: clap::Command) -> clap::Command {
    let after = command.get_after_help().map(|help| format!("{help}\n\n"));
    let after = after.unwrap_or_default();
    command
        .after_long_help(after + EXIT_CODES)
        .mut_subcommands(with_exit_codes)
}

#[cfg(test)]
mod tests {
    use ukexec_loader::LoaderOptions;

    use clap::Parser as _;

    use super::*;
    use crate::args::Command;
    use crate::console::Form;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn limits_that_nobody_gives_are_those_of_the_loader() {
        let cli = Cli::parse_from(["ukexec", "inspect", "image.efi"]);
        let Command::Inspect(args) = cli.command else {
            panic!("another command: {:?}", cli.command)
        };
        let options = args.unfolding.options(Form::Text);
        assert_eq!(options.budget, LoaderOptions::default().budget);
    }

    /// Calls `check` with each command and its names.
    fn each(command: &clap::Command, names: &[&str], check: &mut dyn FnMut(&[&str])) {
        check(names);
        for command in command.get_subcommands() {
            each(command, &[names, &[command.get_name()]].concat(), check);
        }
    }

    /// Returns the help that the last of `names` prints on a terminal of 80 columns.
    fn help(names: &[&str], option: &str) -> String {
        let mut command = Cli::definition().term_width(80);
        let args = [names, &[option]].concat();
        let help = command.try_get_matches_from_mut(args).unwrap_err();
        help.to_string()
    }

    #[test]
    fn short_help_fits_a_screen_without_what_few_need() {
        each(&Cli::definition(), &["ukexec"], &mut |names| {
            let help = help(names, "-h");
            let lines = help.lines().count();
            assert!(lines <= 40, "{lines} lines:\n{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
            for long_alone in ["Signatures:", "Budget:", "Exit codes:"] {
                assert!(!help.contains(long_alone), "{help}");
            }
        });
    }

    #[test]
    fn long_help_explains_the_exit_codes() {
        each(&Cli::definition(), &["ukexec"], &mut |names| {
            let help = help(names, "--help");
            assert!(help.ends_with(&format!("{EXIT_CODES}\n")), "{help}");
        });
    }

    #[test]
    fn help_names_who_acts() {
        let words = ["tell", "Tell", "told", "took", "comes to", "goes over"];
        each(&Cli::definition(), &["ukexec"], &mut |names| {
            let help = help(names, "--help");
            for word in words {
                assert!(!help.contains(word), "{word}: {help}");
            }
        });
    }
}
