//! One module for each command.

mod chosen;
mod edit;
mod entries;
mod exec;
mod inspect;
mod load;
mod parser;
mod reboot;
mod status;
mod unfold;

pub(crate) use self::parser::Refused;
use crate::args::{Command, ParserCommand};
use crate::{failure, kexec};

/// Runs `command`, prints its failures, and returns the exit code.
pub(crate) fn run(command: &Command) -> u8 {
    let form = command.form();
    let done = match command {
        Command::Inspect(args) => return inspect::run(args, form),
        Command::Unfold(args) => unfold::run(args, form),
        Command::Load(args) => load::run(args, form),
        Command::Entries(args) => entries::run(args),
        Command::Exec(args) => exec::exec(args),
        Command::Reboot(args) => reboot::run(args, form),
        Command::Unload(args) => exec::unload(args),
        Command::Status(args) => status::run(args),
        Command::Kexec(args) => return kexec::run(args.with_name()),
        Command::Attach(args) => edit::attach(args),
        Command::Detach(args) => edit::detach(args),
        Command::Parser(ParserCommand::Check(args)) => parser::check(args),
        Command::Parser(ParserCommand::Run(args)) => parser::run(args),
        Command::Parser(ParserCommand::New(args)) => parser::new(args),
        Command::Parser(ParserCommand::Pack(args)) => parser::pack(args),
        Command::Parser(ParserCommand::Helpers(args)) => parser::helpers(args),
        Command::Parser(ParserCommand::Disasm(args)) => parser::disasm(args),
    };
    failure::code(done, form)
}
