//! From words to a [`Cli`].

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args as _, FromArgMatches as _};
use ukexec_kexec::shown_path;
use ukexec_loader::{Syscall, is_stdin};

use super::{Cli, Command, Exec, Inspect, Load, Output, ParserCommand, Reboot, Unfold};
use crate::console;

/// Returns what `args` ask for, or the help or error that clap ends with.
pub(crate) fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let quick = quick(args);
    if let Some(cli) = quick.filter(|cli| cli.contradiction().is_none()) {
        return Ok(cli);
    }
    let mut definition = Cli::definition();
    let matches = definition.try_get_matches_from_mut(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    match cli.contradiction() {
        Some(contradiction) => {
            let mut command = named(&definition, &matches).clone();
            Err(command.error(ErrorKind::ArgumentConflict, contradiction))
        }
        None => Ok(cli),
    }
}

impl Cli {
    /// Returns a contradiction between options that clap does not see.
    fn contradiction(&self) -> Option<&'static str> {
        if self.command.is_without_image() && !console::has_answers() {
            return Some("expected an IMAGE or --entry; `ukexec entries` lists the boot entries");
        }
        if matches!(self.command, Command::Kexec(_)) {
            return Some("`ukexec kexec` takes the options of kexec(8), behind these two words");
        }
        let inputs = self.command.inputs().into_iter();
        if inputs.filter(|path| is_stdin(path)).count() > 1 {
            return Some("standard input (-) can stand for one file only");
        }
        if let Command::Parser(ParserCommand::Run(run)) = &self.command
            && run.json
            && run.is_traced()
            && run.trace_file().is_none()
        {
            return Some("--json and the trace cannot both write to stdout; add --trace=FILE");
        }
        if let Command::Load(load) | Command::Reboot(Reboot { load, .. }) = &self.command {
            if load.secrets.repeats_itself() {
                return Some("--credential: a NAME can be given once only");
            }
            if load.syscall == Syscall::File && load.dtb.is_some() {
                return Some(
                    "kexec_file_load takes no device tree: leave out --syscall=file or --dtb",
                );
            }
        }
        if let Command::Reboot(reboot) = &self.command
            && reboot.load.unfolding.panic
        {
            return Some("a panic boots what --panic loads; `ukexec load --panic` loads it");
        }
        // Each may stand before and behind the name of the command.
        let Output { quiet, verbose, .. } = self.output;
        (quiet && verbose > 0).then_some("--quiet and --verbose exclude each other")
    }
}

/// Defines a command.
type Define = fn(clap::Command) -> clap::Command;

/// The commands that are in a hurry.
const IN_A_HURRY: [(&str, Define); 4] = [
    ("exec", Exec::augment_args),
    ("inspect", Inspect::augment_args),
    ("load", Load::augment_args),
    ("unfold", Unfold::augment_args),
];

/// Returns what `args` ask for where their first word is a command in a hurry, and they are as it
/// wants them. It alone is defined then: to define all takes longer than to read a small image.
fn quick(args: &[OsString]) -> Option<Cli> {
    let word = args.get(1)?;
    let (name, define) = IN_A_HURRY.iter().find(|(name, _)| word == name)?;
    let all = Output::augment_args(clap::Command::new("ukexec"));
    let all = all.subcommand(define(clap::Command::new(*name)));
    let matches = all.try_get_matches_from(args).ok()?;
    Some(Cli {
        output: Output::from_arg_matches(&matches).ok()?,
        command: Command::from_arg_matches(&matches).ok()?,
    })
}

/// Returns the command below `command` that `matches` name.
fn named<'a>(command: &'a clap::Command, matches: &ArgMatches) -> &'a clap::Command {
    let below = matches.subcommand();
    let found = below.and_then(|(name, below)| Some((command.find_subcommand(name)?, below)));
    found.map_or(command, |(command, matches)| named(command, matches))
}

/// Ends as clap does for the `error` of `args`, but shows them in one line each,
/// with escapes for characters that steer a terminal: shown so, they are as
/// wrong.
pub(crate) fn end(args: &[OsString], error: &clap::Error) -> ! {
    let shown = args.iter().map(|arg| shown_path(Path::new(arg)).into());
    let shown: Vec<OsString> = shown.collect();
    parse(&shown).err().as_ref().unwrap_or(error).exit()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// Returns what there is to know of the arguments of `command`.
    fn arguments(command: &clap::Command) -> Vec<String> {
        command
            .get_arguments()
            .map(|it| format!("{it:?}"))
            .collect()
    }

    #[test]
    fn a_command_in_a_hurry_has_the_arguments_of_the_whole_definition() {
        let whole = Cli::definition();
        for (name, define) in IN_A_HURRY {
            let quick = define(clap::Command::new(name));
            let whole = whole.find_subcommand(name).unwrap();
            assert_eq!(arguments(&quick), arguments(whole), "{name}");
        }
    }

    #[test]
    fn a_command_in_a_hurry_is_read_as_by_the_whole_definition() {
        for line in [
            "ukexec inspect image.efi",
            "ukexec inspect -v a.efi --json b.efi --hash --color=never",
            "ukexec load image.efi --dry-run --append debug --panic -q",
            "ukexec load --entry newest --initrd a --initrd b --max-output 1M",
            "ukexec load --dry-run -- -image.efi",
            "ukexec exec --force",
            "ukexec unfold image.efi -o parts -vv --parser x.bpf.o",
            "ukexec unfold \u{fffd}.efi -o parts",
        ] {
            let mut args = words(line);
            for arg in &mut args {
                // A name that is no UTF-8.
                if *arg == "\u{fffd}.efi" {
                    *arg = OsString::from_vec(b"\xff.efi".to_vec());
                }
            }
            let whole = Cli::definition().get_matches_from(&args);
            let whole = Cli::from_arg_matches(&whole).unwrap();
            let quick = quick(&args).expect(line);
            assert_eq!(format!("{quick:?}"), format!("{whole:?}"), "{line}");
        }
    }

    #[test]
    fn a_device_tree_has_a_call_that_takes_it() {
        for (line, is_wrong) in [
            ("ukexec load a.efi --syscall=file --dtb=image", true),
            ("ukexec load a.efi --syscall=load --dtb=image", false),
            ("ukexec reboot a.efi --syscall=file --dtb tree", true),
            ("ukexec reboot a.efi --dtb tree", false),
        ] {
            let said = parse(&words(line)).err().map(|error| error.to_string());
            let says = said.is_some_and(|it| it.contains("takes no device tree"));
            assert_eq!(says, is_wrong, "{line}");
        }
    }

    #[test]
    fn all_else_is_for_the_whole_definition() {
        for line in [
            "ukexec",
            "ukexec -v inspect image.efi",
            "ukexec inspect --help",
            "ukexec load image.efi --bogus",
            "ukexec reboot image.efi",
        ] {
            assert!(quick(&words(line)).is_none(), "{line}");
        }
    }
}
