//! `printk` formats, as Linux's BPF takes them (`bpf_bprintf_prepare`).

use crate::BpfError;
use crate::costs;
use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;

/// Bytes of a printed line, with its NUL; also of a string argument.
const MAX_TEXT: usize = 1024;
/// Bytes of a format that are looked at.
const MAX_FORMAT: usize = 4096;
/// Bytes of an array of arguments.
const MAX_DATA: u64 = 12 * 8;

pub(super) fn trace_printk(
    machine: &mut Machine<'_>,
    [fmt, fmt_size, args @ ..]: [u64; 5],
) -> Answer {
    print(machine, fmt, fmt_size, &args)
}

pub(super) fn trace_vprintk(
    machine: &mut Machine<'_>,
    [fmt, fmt_size, data, data_len, _]: [u64; 5],
) -> Answer {
    match arguments(machine, data, data_len)? {
        Some(args) => print(machine, fmt, fmt_size, &args),
        None => Ok(errno::EINVAL),
    }
}

pub(super) fn snprintf(
    machine: &mut Machine<'_>,
    [out, out_size, fmt, data, data_len]: [u64; 5],
) -> Answer {
    let Some(args) = arguments(machine, data, data_len)? else {
        return Ok(errno::EINVAL);
    };
    let fmt = machine.memory.read_cstr(fmt, MAX_FORMAT)?;
    let Some(mut text) = render(machine, &fmt, &args)? else {
        return Ok(errno::EINVAL);
    };
    let len = text.len() as u64 + 1;
    let out_size = u64::from(out_size as u32);
    if out_size != 0 {
        text.truncate((out_size - 1) as usize);
        text.push(0);
        machine.memory.write(out, &text)?;
    }
    Ok(len)
}

fn print(machine: &mut Machine<'_>, fmt: u64, fmt_size: u64, args: &[u64]) -> Answer {
    let max = MAX_FORMAT.min(fmt_size as u32 as usize);
    let (fmt, ended) = machine.memory.read_text(fmt, max)?;
    if !ended {
        return Ok(errno::EINVAL);
    }
    let Some(mut text) = render(machine, &fmt, args)? else {
        return Ok(errno::EINVAL);
    };
    text.truncate(MAX_TEXT - 1);
    machine.log(&text);
    Ok(text.len() as u64)
}

/// Returns the array of arguments, or `None` where its size is wrong.
fn arguments(
    machine: &mut Machine<'_>,
    data: u64,
    data_len: u64,
) -> Result<Option<Vec<u64>>, BpfError> {
    let data_len = u64::from(data_len as u32);
    if data_len == 0 {
        return Ok(Some(Vec::new()));
    }
    if data_len % 8 != 0 || data_len > MAX_DATA || data == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; data_len as usize];
    machine.memory.read(data, &mut bytes)?;
    let (words, _) = bytes.as_chunks();
    Ok(Some(
        words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
    ))
}

/// One `%` of a format.
#[derive(Debug, Default)]
struct Spec {
    zeros: bool,
    left: bool,
    plus: bool,
    space: bool,
    width: usize,
}

/// Returns the text, or `None` where Linux refuses the format.
fn render(
    machine: &mut Machine<'_>,
    fmt: &[u8],
    args: &[u64],
) -> Result<Option<Vec<u8>>, BpfError> {
    machine.memory.account.worked(costs::FORMAT);
    let mut out = Vec::new();
    let mut args = args.iter().copied();
    let mut rest = fmt;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if !byte.is_ascii_graphic() && !byte.is_ascii_whitespace() {
            return Ok(None);
        }
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        if let [b'%', behind @ ..] = rest {
            out.push(b'%');
            rest = behind;
            continue;
        }
        let (spec, behind) = Spec::parse(rest);
        let Some(arg) = args.next() else {
            return Ok(None);
        };
        let Some((conversion, behind)) = Conversion::parse(behind) else {
            return Ok(None);
        };
        rest = behind;
        let text = conversion.render(machine, &spec, arg)?;
        machine
            .memory
            .account
            .worked(costs::moved(text.len() as u64));
        out.extend(spec.pad(text, matches!(conversion, Conversion::Number { .. })));
    }
    Ok(Some(out))
}

impl Spec {
    /// Takes flags and width off the front of `fmt`.
    fn parse(fmt: &[u8]) -> (Self, &[u8]) {
        let mut spec = Self::default();
        let mut rest = fmt;
        while let [flag @ (b'0' | b'-' | b'+' | b' '), behind @ ..] = rest {
            match flag {
                b'0' => spec.zeros = true,
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                _ => spec.space = true,
            }
            rest = behind;
        }
        while let [digit @ b'0'..=b'9', behind @ ..] = rest {
            spec.width = (spec.width * 10 + usize::from(digit - b'0')).min(MAX_TEXT);
            rest = behind;
        }
        (spec, rest)
    }

    /// Fills `text` up to the width.
    fn pad(&self, mut text: Vec<u8>, number: bool) -> Vec<u8> {
        let missing = self.width.saturating_sub(text.len());
        if self.left {
            text.resize(text.len() + missing, b' ');
        } else if self.zeros && number {
            let sign = usize::from(matches!(text.first(), Some(b'-' | b'+' | b' ')));
            text.splice(sign..sign, std::iter::repeat_n(b'0', missing));
        } else {
            text.splice(0..0, std::iter::repeat_n(b' ', missing));
        }
        text
    }
}

/// The kind of value that a `%` prints.
#[derive(Debug, PartialEq, Eq)]
enum Conversion {
    /// In the way that the letter says.
    Number {
        letter: u8,
        wide: bool,
    },
    Pointer,
    Character,
    Text,
}

impl Conversion {
    /// Takes a conversion off the front of `fmt`.
    fn parse(fmt: &[u8]) -> Option<(Self, &[u8])> {
        match fmt {
            [b'p', b'k' | b'u', b's', rest @ ..] | [b's', rest @ ..] => Some((Self::Text, rest)),
            [b'p', b'x' | b'K' | b's' | b'S' | b'B', rest @ ..] => Some((Self::Pointer, rest)),
            [b'p', letter, ..] if letter.is_ascii_alphanumeric() => None,
            [b'p', rest @ ..] => Some((Self::Pointer, rest)),
            [b'c', rest @ ..] => Some((Self::Character, rest)),
            [b'l', b'l', rest @ ..] | [b'l', rest @ ..] => Self::number(rest, true),
            _ => Self::number(fmt, false),
        }
    }

    fn number(fmt: &[u8], wide: bool) -> Option<(Self, &[u8])> {
        let (&letter, rest) = fmt.split_first()?;
        let known = matches!(letter, b'd' | b'i' | b'u' | b'x' | b'X');
        known.then_some((Self::Number { letter, wide }, rest))
    }

    fn render(
        &self,
        machine: &mut Machine<'_>,
        spec: &Spec,
        arg: u64,
    ) -> Result<Vec<u8>, BpfError> {
        let text = match self {
            Self::Text => return text(machine, arg),
            Self::Character => return Ok(vec![arg as u8]),
            Self::Pointer => format!("{arg:016x}"),
            Self::Number { letter, wide } => {
                let low = if *wide { arg } else { u64::from(arg as u32) };
                match letter {
                    b'u' => low.to_string(),
                    b'x' => format!("{low:x}"),
                    b'X' => format!("{low:X}"),
                    _ => {
                        let value = if *wide {
                            arg as i64
                        } else {
                            i64::from(arg as i32)
                        };
                        match value {
                            0.. if spec.plus => format!("+{value}"),
                            0.. if spec.space => format!(" {value}"),
                            _ => value.to_string(),
                        }
                    }
                }
            }
        };
        Ok(text.into_bytes())
    }
}

/// Returns the string at `addr`; nothing where there is none, as in Linux.
fn text(machine: &mut Machine<'_>, addr: u64) -> Result<Vec<u8>, BpfError> {
    match machine.memory.read_text(addr, MAX_TEXT - 1) {
        Ok((text, _)) => Ok(text),
        Err(error) if error.is_bad_address() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
