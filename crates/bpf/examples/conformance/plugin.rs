//! The work of the plugin, apart from its standard streams.
//!
//! A case's program is a bare run of instructions. It becomes a parser of one
//! program: functions are where local calls go. Legacy packet access, which
//! parsers may not use, is done here with what they may: each such instruction
//! becomes a call of a function behind the program that asks the host.

use std::collections::BTreeSet;
use std::error::Error;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _, SectionFlags, elf};
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{AttachKind, Host, Insn, Kfunc, Meter, Parser, Program, SourceLines, insn};
use ukexec_bpf::{BpfError, Vm};

/// Why there is no r0.
pub(crate) type Problem = Box<dyn Error + Send + Sync>;

/// The requests of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The memory that r1 points to.
    pub(crate) memory: Vec<u8>,
    /// The program, where it does not come from the standard input.
    pub(crate) program: Option<String>,
    /// The program is an object file.
    pub(crate) elf: bool,
}

impl Request {
    /// Reads the arguments behind the plugin's name. The suite gives the memory
    /// only if the case has some, and some versions of it give empty arguments.
    ///
    /// # Errors
    ///
    /// An argument is unknown, or no hex.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Problem> {
        let mut request = Self::default();
        let mut args = args.into_iter().enumerate();
        while let Some((index, arg)) = args.next() {
            match arg.as_str() {
                "" => {}
                "--elf" => request.elf = true,
                "--program" => {
                    let (_, program) = args.next().ok_or("--program needs hex bytes behind it")?;
                    request.program = Some(program);
                }
                memory if index == 0 && !memory.starts_with('-') => request.memory = hex(memory)?,
                unknown => return Err(format!("unknown argument {unknown:?}").into()),
            }
        }
        Ok(request)
    }
}

/// Runs what is asked for; `text` is the standard input. Returns r0.
///
/// # Errors
///
/// The program cannot be read, is refused by the verifier, or faults.
pub(crate) fn run(request: &Request, text: &str) -> Result<u64, Problem> {
    let mut bytes = hex(request.program.as_deref().unwrap_or(text))?;
    if request.elf {
        bytes = code_of_elf(&bytes)?;
    }
    let parser = parser(&bytes)?.verify()?;
    let mut meter = Meter::default();
    let mut vm = Vm::new(&parser, &mut meter)?;
    let len = request.memory.len() as u64;
    let memory = vm
        .memory()
        .add_bytes("memory", request.memory.clone(), true)?;
    let start = if len == 0 { 0 } else { memory };
    let mut host = Suite { packet: start, len };
    match vm.call(0, [start, len, 0, 0, 0], &mut host, &mut meter) {
        Err(error) if error.to_string().ends_with(OUTSIDE_PACKET) => Ok(0),
        result => Ok(result?),
    }
}

/// Reads hex bytes, with any space between them.
fn hex(text: &str) -> Result<Vec<u8>, Problem> {
    let digits: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)?;
        if pair.len() != 2 || !pair.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!("expected two hex digits for each byte, found {pair:?}").into());
        }
        Ok(u8::from_str_radix(pair, 16)?)
    });
    pairs.collect()
}

/// Returns the bytes of the first section with code.
fn code_of_elf(file: &[u8]) -> Result<Vec<u8>, Problem> {
    let file = ElfFile64::<LittleEndian>::parse(file)?;
    let mut sections = file.sections();
    let code = sections.find(|section| {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            return false;
        };
        sh_flags.contains(elf::SHF_EXECINSTR) && section.size() != 0
    });
    let code = code.ok_or("the object file has no section with code")?;
    Ok(code.data()?.to_vec())
}

/// Makes a parser of the instructions.
fn parser(bytes: &[u8]) -> Result<Parser, Problem> {
    let (slots, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        let len = bytes.len();
        return Err(format!("the program's {len} bytes are no multiple of 8").into());
    }
    let mut code: Vec<Insn> = slots.iter().copied().map(Insn::from_le_bytes).collect();
    let mut functions = functions(&code);
    translate(&mut code, &mut functions);
    let program = Program {
        name: "case".to_owned(),
        section: "case".to_owned(),
        attach: AttachKind::Fentry,
        hook: "case".to_owned(),
        code,
        functions: functions
            .into_iter()
            .map(|start| (start, format!("insn_{start}")))
            .collect(),
        lines: SourceLines::default(),
        poisoned: Vec::new(),
        relocated: Vec::new(),
    };
    let kfunc = |name: &str, number| Kfunc {
        name: name.to_owned(),
        host: Some(number),
    };
    Ok(Parser {
        license: String::new(),
        maps: Vec::new(),
        programs: vec![program],
        kfuncs: vec![kfunc("packet", PACKET), kfunc("runtime", RUNTIME)],
        types: 0,
        warnings: Vec::new(),
    })
}

/// Returns the slots where functions start: the first, and those that are
/// called or whose address is taken.
fn functions(code: &[Insn]) -> BTreeSet<u32> {
    let targets = instructions(code).filter_map(|slot| {
        let insn = code.get(slot)?;
        let refers = matches!(
            (insn.code, insn.src),
            (insn::CALL, insn::call::LOCAL) | (insn::LDDW, insn::lddw::FUNC)
        );
        let target = i64::try_from(slot).ok()? + 1 + i64::from(insn.imm);
        // The verifier reports those outside.
        let inside = usize::try_from(target).is_ok_and(|target| target < code.len());
        (refers && inside).then(|| u32::try_from(target).ok())?
    });
    targets.chain([0]).collect()
}

/// Returns the first slot of each instruction.
fn instructions(code: &[Insn]) -> impl Iterator<Item = usize> {
    let mut second = false;
    code.iter().enumerate().filter_map(move |(slot, insn)| {
        let first = !std::mem::take(&mut second);
        second = first && insn.code == insn::LDDW;
        first.then_some(slot)
    })
}

/// Puts calls of our own in the place of packet access and of calls of runtime
/// functions.
fn translate(code: &mut Vec<Insn>, functions: &mut BTreeSet<u32>) {
    let mut appended = Vec::new();
    let len = code.len();
    for slot in instructions(code).collect::<Vec<_>>() {
        let Some(insn) = code.get_mut(slot) else {
            continue;
        };
        if (insn.code, insn.src) == (insn::CALL, insn::call::KFUNC) {
            insn.imm = RUNTIME as i32;
        } else if let Some(body) = packet_access(*insn) {
            let start = len + appended.len();
            appended.extend(body);
            functions.insert(start as u32);
            *insn = Insn {
                code: insn::CALL,
                src: insn::call::LOCAL,
                imm: (start - slot - 1) as i32,
                ..Insn::default()
            };
        }
    }
    code.append(&mut appended);
}

/// Returns a function that does what `ld_abs` or `ld_ind` do: r0 becomes the
/// bytes of the packet at the immediate, with `ld_ind` plus the source. They
/// may spoil r1 to r5, as a call may.
fn packet_access(insn: Insn) -> Option<[Insn; 5]> {
    let size = match insn.code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => return None,
    };
    let base = match insn.code & 0xe7 {
        // w1 = 0
        0x20 => op(0xb4, 1, 0, 0),
        // w1 = source
        0x40 => op(0xbc, 1, insn.src, 0),
        _ => return None,
    };
    Some([
        base,
        op(0x04, 1, 0, insn.imm), // w1 += immediate
        op(0xb7, 2, 0, size),     // r2 = size
        op(insn::CALL, 0, insn::call::KFUNC, PACKET as i32),
        op(0x95, 0, 0, 0), // exit
    ])
}

fn op(code: u8, dst: u8, src: u8, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off: 0,
        imm,
    }
}

/// The kfunc that reads the packet.
const PACKET: u32 = 0;
/// The kfunc that stands for every runtime function: the suite's own case of
/// such a call expects 0.
const RUNTIME: u32 = 1;

/// Answers what the cases call.
struct Suite {
    /// The address of the packet, which is the case's memory.
    packet: u64,
    len: u64,
}

impl Host for Suite {
    fn call(
        &mut self,
        kfunc: u32,
        [offset, size, ..]: [u64; 5],
        memory: &mut Memory,
        _: &mut Meter,
    ) -> Result<u64, BpfError> {
        if kfunc != PACKET {
            return Ok(0);
        }
        if offset + size > self.len {
            return Err(BpfError::host(OUTSIDE_PACKET));
        }
        let mut bytes = [0; 8];
        let (_, part) = bytes.split_at_mut(8 - size as usize);
        memory.read(self.packet + offset, part)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn log(&mut self, _: &str) {}
}

/// A packet access outside of the packet: on Linux the program ends with 0.
const OUTSIDE_PACKET: &str = "packet access outside of the packet";
