//! One module for each command.

mod edit;
mod exec;
mod inspect;
mod load;
mod parser;
mod status;
mod unfold;

pub(crate) use self::parser::Refused;
use crate::args::{Command, ParserCommand};

/// Runs `command`.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Inspect(args) => inspect::run(args),
        Command::Unfold(args) => unfold::run(args),
        Command::Load(args) => load::run(args),
        Command::Exec(args) => exec::exec(args),
        Command::Unload(args) => exec::unload(args),
        Command::Status(args) => status::run(args),
        Command::Attach(args) => edit::attach(args),
        Command::Detach(args) => edit::detach(args),
        Command::Parser(ParserCommand::Check(args)) => parser::check(args),
        Command::Parser(ParserCommand::Run(args)) => parser::run(args),
        Command::Parser(ParserCommand::Helpers) => parser::helpers(),
        Command::Parser(ParserCommand::Disasm(args)) => parser::disasm(args),
    }
}
