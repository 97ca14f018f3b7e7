//! `ukexec parser disasm`: the instructions under their source lines.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use ukexec_bpf::disasm::{Line, disassemble};
use ukexec_bpf::{Parser, Program};
use ukexec_pe::counted;

use super::{Subject, read_one, same_line, source};
use crate::args::ParserDisasm;
use crate::console;

pub(crate) fn disasm(args: &ParserDisasm) -> anyhow::Result<()> {
    let Subject { name, object, .. } = read_one(&args.file, args.slot.as_deref())?;
    // Not verified: people look at parsers that are refused, too.
    let parser = Parser::load(&object, ukexec_unfold::interface())
        .with_context(|| format!("{name}: this loader refuses the parser"))?;
    let wanted = |program: &&Program| {
        let name = args.program.as_ref();
        name.is_none_or(|name| *name == program.name)
    };
    let programs: Vec<_> = parser.programs.iter().filter(wanted).collect();
    ensure!(
        !programs.is_empty(),
        "{name}: no program is called {}; there are {}",
        args.program.as_deref().unwrap_or_default(),
        names(&parser)
    );
    let listings: Vec<String> = programs
        .into_iter()
        .map(|program| listing(&parser, program, args.bytes))
        .collect();
    console::out(&listings.join("\n"))
}

fn names(parser: &Parser) -> String {
    let names = parser.programs.iter().map(|program| program.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn listing(parser: &Parser, program: &Program, bytes: bool) -> String {
    let mut text = format!(
        "program {}, section {}, {}\n",
        program.name,
        program.section,
        counted(program.code.len() as u64, "instruction")
    );
    let mut lines = program.lines.iter().peekable();
    let mut shown = None;
    for line in disassemble(parser, program) {
        if let Some(label) = &line.label {
            let is_function = program.functions.iter().any(|(slot, _)| *slot == line.slot);
            if is_function {
                shown = None;
            }
            let gap = if is_function { "\n" } else { "" };
            let _infallible = writeln!(text, "{gap}{label}:");
        }
        while let Some(from) = lines.next_if(|from| from.slot <= line.slot) {
            // Several records may be about one line: columns differ.
            let is_new = shown.as_ref().is_none_or(|shown| !same_line(shown, &from));
            if is_new {
                let _infallible = writeln!(text, "{}", source(&from));
            }
            shown = Some(from);
        }
        text.push_str(&instruction(&line, bytes));
    }
    text
}

fn instruction(line: &Line, bytes: bool) -> String {
    let mut text = format!("{:6}: ", line.slot);
    if bytes {
        let code = line.code.iter().flat_map(|insn| insn.to_le_bytes());
        let code: Vec<String> = code.map(|byte| format!("{byte:02x}")).collect();
        let _infallible = write!(text, "{:<48} ", code.join(" "));
    }
    match &line.note {
        Some(note) => {
            let _infallible = writeln!(text, "{:<40} ; {note}", line.text);
        }
        None => {
            let _infallible = writeln!(text, "{}", line.text);
        }
    }
    text
}
