//! Strings: comparing, searching, and reading numbers.
//!
//! The string kfuncs are those of Linux 6.17. They read until they know: a
//! string that ends nowhere matters only if it is read so far.

use std::cmp::Ordering;

use crate::BpfError;
use crate::costs;
use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;
use crate::guest::memory::Access;

/// Bytes of a string that are looked at (Linux `XATTR_SIZE_MAX`).
pub(super) const MAX_TEXT: u64 = 65_536;
/// Bytes that are read at once.
const CHUNK: usize = 128;

/// A string that is read byte by byte.
struct Text {
    /// Where the next chunk is.
    at: u64,
    left: u64,
    chunk: [u8; CHUNK],
    used: usize,
    filled: usize,
}

/// The next character of a [`Text`].
#[derive(Clone, Copy)]
enum Next {
    /// A byte, perhaps the NUL.
    Byte(u8),
    /// So much was looked at.
    Max,
    /// It cannot be read.
    Bad,
}

impl Text {
    /// Returns the string at `at`, of which up to `max` bytes are read.
    fn new(at: u64, max: u64) -> Self {
        Self {
            at,
            left: max,
            chunk: [0; CHUNK],
            used: 0,
            filled: 0,
        }
    }

    fn next(&mut self, machine: &mut Machine<'_>) -> Result<Next, BpfError> {
        loop {
            if let Some([byte, ..]) = self.chunk.get(self.used..self.filled) {
                self.used += 1;
                return Ok(Next::Byte(*byte));
            }
            if self.left == 0 {
                return Ok(Next::Max);
            }
            let rest = machine.memory.rest(self.at).max(1);
            let len = rest.min(self.left).min(CHUNK as u64) as usize;
            let (chunk, _) = self.chunk.split_at_mut(len);
            match machine.memory.read(self.at, chunk) {
                Ok(()) => {}
                Err(error) if error.is_bad_address() => return Ok(Next::Bad),
                Err(error) => return Err(error),
            }
            machine.memory.account.worked(costs::looked(len as u64));
            self.at = self.at.wrapping_add(len as u64);
            self.left -= len as u64;
            (self.used, self.filled) = (0, len);
        }
    }

    /// Reads to the NUL, and returns what is before it and what came then.
    fn all(mut self, machine: &mut Machine<'_>) -> Result<(Vec<u8>, Next), BpfError> {
        let mut text = Vec::new();
        loop {
            match self.next(machine)? {
                Next::Byte(byte) if byte != 0 => text.push(byte),
                end => return Ok((text, end)),
            }
        }
    }
}

impl Next {
    /// Returns the errno of a string that goes on too long or cannot be read.
    fn errno(self) -> u64 {
        match self {
            Self::Bad => errno::EFAULT,
            Self::Byte(_) | Self::Max => errno::E2BIG,
        }
    }
}

/// Says whether an address may be memory at all; Linux answers `-ERANGE` where
/// it cannot be the kernel's.
fn is_wild(addr: u64) -> bool {
    addr >> 32 == 0
}

/// Returns the answer where two strings differ or end; `None` while they do not.
fn compare(one: u8, two: u8) -> Option<u64> {
    match one.cmp(&two) {
        Ordering::Equal => (one == 0).then_some(0),
        order => Some(order as i64 as u64),
    }
}

pub(super) fn strcmp(machine: &mut Machine<'_>, [one, two, ..]: [u64; 5]) -> Answer {
    if is_wild(one) || is_wild(two) {
        return Ok(errno::ERANGE);
    }
    let (mut one, mut two) = (Text::new(one, MAX_TEXT), Text::new(two, MAX_TEXT));
    loop {
        match (one.next(machine)?, two.next(machine)?) {
            (Next::Byte(one), Next::Byte(two)) => {
                if let Some(order) = compare(one, two) {
                    return Ok(order);
                }
            }
            (Next::Byte(_), end) | (end, _) => return Ok(end.errno()),
        }
    }
}

/// The aim of a search for one character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    First,
    FirstOrNul,
    Last,
}

/// `bpf_strnchr(s, count, c)` and its kin: returns the place of `byte` in the
/// first `count` bytes of a string.
pub(super) fn find_byte(
    machine: &mut Machine<'_>,
    [text, count, byte]: [u64; 3],
    wanted: Wanted,
) -> Answer {
    if is_wild(text) {
        return Ok(errno::ERANGE);
    }
    let byte = byte as u8;
    let mut text = Text::new(text, count.min(MAX_TEXT));
    let mut last = errno::ENOENT;
    for at in 0.. {
        match text.next(machine)? {
            Next::Byte(found) if found == byte && wanted != Wanted::Last => return Ok(at),
            Next::Byte(found) => {
                if found == byte {
                    last = at;
                }
                match wanted {
                    _ if found != 0 => {}
                    Wanted::FirstOrNul => return Ok(at),
                    Wanted::First | Wanted::Last => return Ok(last),
                }
            }
            Next::Max if count < MAX_TEXT => return Ok(errno::ENOENT),
            end => return Ok(end.errno()),
        }
    }
    Ok(last)
}

/// `bpf_strnlen(s, count)` and `bpf_strlen`.
pub(super) fn strnlen(machine: &mut Machine<'_>, [text, count, ..]: [u64; 5]) -> Answer {
    if is_wild(text) {
        return Ok(errno::ERANGE);
    }
    let (text, end) = Text::new(text, count.min(MAX_TEXT)).all(machine)?;
    match end {
        Next::Byte(_) => Ok(text.len() as u64),
        Next::Max if count < MAX_TEXT => Ok(count),
        end => Ok(end.errno()),
    }
}

/// `bpf_strspn(s, accept)` and `bpf_strcspn(s, reject)`: returns how many bytes at
/// the start of `text` are (`inside`) or are not among those of `set`.
pub(super) fn span(machine: &mut Machine<'_>, text: u64, set: u64, inside: bool) -> Answer {
    if is_wild(text) || is_wild(set) {
        return Ok(errno::ERANGE);
    }
    let mut text = Text::new(text, MAX_TEXT);
    // Read when it is first needed: that of an empty text may be bad.
    let mut known: Option<(Vec<u8>, Next)> = None;
    for at in 0.. {
        let byte = match text.next(machine)? {
            Next::Byte(0) => return Ok(at),
            Next::Byte(byte) => byte,
            end => return Ok(end.errno()),
        };
        if known.is_none() {
            known = Some(Text::new(set, MAX_TEXT).all(machine)?);
        }
        let Some((set, end)) = &known else { break };
        machine
            .memory
            .account
            .worked(costs::moved(set.len() as u64));
        match (set.contains(&byte), end) {
            (true, _) if inside => {}
            (true, _) => return Ok(at),
            (false, Next::Byte(_)) if inside => return Ok(at),
            (false, Next::Byte(_)) => {}
            (false, end) => return Ok(end.errno()),
        }
    }
    Ok(errno::E2BIG)
}

/// `bpf_strnstr(s1, s2, len)` and `bpf_strstr`.
pub(super) fn strnstr(machine: &mut Machine<'_>, [text, wanted, len, ..]: [u64; 5]) -> Answer {
    if is_wild(text) || is_wild(wanted) {
        return Ok(errno::ERANGE);
    }
    let (wanted, end) = Text::new(wanted, MAX_TEXT).all(machine)?;
    if !matches!(end, Next::Byte(_)) {
        return Ok(end.errno());
    }
    let (text, end) = Text::new(text, len.min(MAX_TEXT)).all(machine)?;
    let both = text.len() + wanted.len();
    machine.memory.account.worked(costs::looked(both as u64));
    if let Some(at) = position(&text, &wanted) {
        return Ok(at as u64);
    }
    Ok(match end {
        Next::Bad => errno::EFAULT,
        Next::Max if len >= MAX_TEXT => errno::E2BIG,
        Next::Byte(_) | Next::Max => errno::ENOENT,
    })
}

/// Returns where `wanted` begins in `text`, in time that grows with the sum of
/// their lengths: as text, where each byte is one character.
fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let [text, wanted] = [text, wanted].map(|bytes| {
        let characters = bytes.iter().map(|&byte| char::from(byte));
        characters.collect::<String>()
    });
    let at = text.find(&wanted)?;
    Some(text.get(..at)?.chars().count())
}

pub(super) fn strncmp(machine: &mut Machine<'_>, [one, size, two, ..]: [u64; 5]) -> Answer {
    let size = u64::from(size as u32);
    let mut done = 0;
    while done < size {
        let at = [one.wrapping_add(done), two.wrapping_add(done)];
        let rest = at.map(|at| machine.memory.rest(at).max(1));
        let len = rest.into_iter().fold(size - done, u64::min) as usize;
        let mut chunks = [[0; CHUNK]; 2];
        let len = len.min(CHUNK);
        for (chunk, at) in chunks.iter_mut().zip(at) {
            let (chunk, _) = chunk.split_at_mut(len);
            machine.memory.read(at, chunk)?;
        }
        let [one, two] = chunks;
        for (one, two) in one.into_iter().zip(two).take(len) {
            if let Some(order) = compare(one, two) {
                return Ok(order);
            }
        }
        done += len as u64;
    }
    Ok(0)
}

/// `bpf_strtol(buf, buf_len, flags, res)`: returns how many bytes were read.
pub(super) fn strtol(machine: &mut Machine<'_>, args: [u64; 5]) -> Answer {
    convert(machine, args, |number| {
        let value = if number.negative {
            0_i64.checked_sub_unsigned(number.value)
        } else {
            i64::try_from(number.value).ok()
        };
        value.map(i64::to_le_bytes).ok_or(errno::ERANGE)
    })
}

/// `bpf_strtoul(buf, buf_len, flags, res)`: returns how many bytes were read.
pub(super) fn strtoul(machine: &mut Machine<'_>, args: [u64; 5]) -> Answer {
    convert(machine, args, |number| {
        let value = (!number.negative).then_some(number.value.to_le_bytes());
        value.ok_or(errno::EINVAL)
    })
}

/// Reads a number and writes what `bytes` makes of it, zeros if it is none.
fn convert(
    machine: &mut Machine<'_>,
    [buf, len, flags, out, _]: [u64; 5],
    bytes: impl Fn(&Number) -> Result<[u8; 8], u64>,
) -> Answer {
    machine.memory.write(out, &[0; 8])?;
    let number = number(machine, buf, len, flags)?;
    match number.and_then(|number| Ok((bytes(&number)?, number.len))) {
        Ok((bytes, len)) => machine.memory.write(out, &bytes).map(|()| len),
        Err(errno) => Ok(errno),
    }
}

struct Number {
    negative: bool,
    value: u64,
    /// Bytes it takes, with what is before it.
    len: u64,
}

/// Bytes of a number behind its sign (Linux's `str` less its NUL).
const MAX_DIGITS: u64 = 63;

/// Reads the number at the start of `buf`, or returns an errno.
fn number(
    machine: &mut Machine<'_>,
    buf: u64,
    len: u64,
    flags: u64,
) -> Result<Result<Number, u64>, BpfError> {
    if len == 0 || !matches!(flags, 0 | 8 | 10 | 16) {
        return Ok(Err(errno::EINVAL));
    }
    machine.memory.check(Access::Read, buf, len)?;
    let mut text = Text::new(buf, len);
    let mut before = 0;
    let mut next = text.next(machine)?;
    while let Next::Byte(b' ' | b'\t'..=b'\r' | 0xa0) = next {
        before += 1;
        next = text.next(machine)?;
    }
    let negative = matches!(next, Next::Byte(b'-'));
    if negative {
        before += 1;
        next = text.next(machine)?;
    }
    let mut digits = Vec::new();
    while let Next::Byte(byte @ 1..) = next
        && (digits.len() as u64) < MAX_DIGITS
    {
        digits.push(byte);
        next = text.next(machine)?;
    }
    let (base, prefix) = radix(&digits, flags as u32);
    let mut value = Some(0_u64);
    let mut count = 0;
    for &digit in digits.iter().skip(prefix) {
        let Some(digit) = char::from(digit).to_digit(base) else {
            break;
        };
        value = value
            .and_then(|value| value.checked_mul(base.into()))
            .and_then(|value| value.checked_add(digit.into()));
        count += 1;
    }
    let Some(value) = value else {
        return Ok(Err(errno::ERANGE));
    };
    if count == 0 {
        return Ok(Err(errno::EINVAL));
    }
    let len = before + prefix as u64 + count;
    Ok(Ok(Number {
        negative,
        value,
        len,
    }))
}

/// Returns the base of a number, and how many bytes before it say so.
fn radix(digits: &[u8], base: u32) -> (u32, usize) {
    let prefixed = matches!(digits, [b'0', b'x' | b'X', ..]);
    match base {
        0 if prefixed && digits.get(2).is_some_and(u8::is_ascii_hexdigit) => (16, 2),
        0 if digits.first() == Some(&b'0') => (8, 0),
        0 => (10, 0),
        16 if prefixed => (16, 2),
        base => (base, 0),
    }
}
