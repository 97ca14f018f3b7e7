//! A small assembler in the syntax of LLVM's, for tests.
//!
//! `fn name:` starts a function, `name:` is a label, `;` starts a comment. A
//! jump goes to a label or by a distance (`+1`, `-1`); a call names a function,
//! `helper N`, `kfunc N`. Panics on what it does not know.

use std::collections::HashMap;

use ukexec_bpf::Insn;

/// Code and where its functions begin.
pub(crate) struct Assembled {
    pub(crate) code: Vec<Insn>,
    pub(crate) functions: Vec<(u32, String)>,
}

pub(crate) fn assemble(text: &str) -> Assembled {
    let mut lines = Vec::new();
    let mut labels = HashMap::new();
    let mut functions = Vec::new();
    let mut slot = 0_u32;
    for line in text.lines().filter_map(|line| line.split(';').next()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if let Some(label) = line.strip_suffix(':') {
            if let Some(name) = label.strip_prefix("fn ") {
                functions.push((slot, name.to_owned()));
            }
            labels.insert(label.trim_start_matches("fn "), slot);
            continue;
        }
        let tokens = lex(line);
        let wide = tokens.last() == Some(&"ll") || tokens.get(1..3) == Some(&["=", "&"]);
        lines.push((slot, line, tokens));
        slot += if wide { 2 } else { 1 };
    }
    if functions.first().is_none_or(|(start, _)| *start != 0) {
        functions.insert(0, (0, "main".to_owned()));
    }
    let mut code = Vec::new();
    for (slot, line, tokens) in lines {
        let insns = Line {
            slot,
            tokens: &tokens,
            labels: &labels,
        }
        .encode();
        code.extend(insns.unwrap_or_else(|| panic!("cannot assemble {line:?}: {tokens:?}")));
    }
    Assembled { code, functions }
}

fn lex(line: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let sign = |c: char| "+-*/%&|^<>=!".contains(c);
        let len = if first == 's' && rest[1..].starts_with(sign) {
            1 + rest[1..].find(|c| !sign(c)).unwrap_or(rest.len() - 1)
        } else if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else if sign(first) && first != '*' && first != '-' {
            rest.find(|c| !sign(c)).unwrap_or(rest.len())
        } else if rest.starts_with("*=") || rest.starts_with("-=") {
            2
        } else {
            1
        };
        let (token, behind) = rest.split_at(len);
        if !token.trim().is_empty() {
            tokens.push(token);
        }
        rest = behind;
    }
    tokens
}

struct Line<'a> {
    slot: u32,
    tokens: &'a [&'a str],
    labels: &'a HashMap<&'a str, u32>,
}

/// A register, and whether it is the half one.
fn register(token: &str) -> Option<(u8, bool)> {
    let half = token.starts_with('w');
    let number = token.strip_prefix(['r', 'w'])?.parse().ok()?;
    Some((number, half))
}

fn number(tokens: &[&str]) -> Option<i64> {
    let (negative, digits) = match tokens {
        ["-", digits] => (true, *digits),
        [digits] | ["+", digits] => (false, *digits),
        _ => return None,
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()? as i64,
        None => digits.parse().ok()?,
    };
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

fn size(token: &str) -> Option<(u8, bool)> {
    let bits = match &token[1..] {
        "8" => 0x10,
        "16" => 0x08,
        "32" => 0x00,
        "64" => 0x18,
        _ => return None,
    };
    Some((bits, token.starts_with('s')))
}

pub(crate) const ALU: [(&str, u8, i16); 14] = [
    ("+=", 0x00, 0),
    ("-=", 0x10, 0),
    ("*=", 0x20, 0),
    ("/=", 0x30, 0),
    ("s/=", 0x30, 1),
    ("|=", 0x40, 0),
    ("&=", 0x50, 0),
    ("<<=", 0x60, 0),
    (">>=", 0x70, 0),
    ("%=", 0x90, 0),
    ("s%=", 0x90, 1),
    ("^=", 0xa0, 0),
    ("=", 0xb0, 0),
    ("s>>=", 0xc0, 0),
];

pub(crate) const CONDITIONS: [(&str, u8); 11] = [
    ("==", 0x10),
    (">", 0x20),
    (">=", 0x30),
    ("&", 0x40),
    ("!=", 0x50),
    ("s>", 0x60),
    ("s>=", 0x70),
    ("<", 0xa0),
    ("<=", 0xb0),
    ("s<", 0xc0),
    ("s<=", 0xd0),
];

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off,
        imm,
    }
}

impl Line<'_> {
    fn encode(&self) -> Option<Vec<Insn>> {
        let one = match self.tokens {
            ["exit"] => insn(0x95, 0, 0, 0, 0),
            ["goto", target @ ..] => insn(0x05, 0, 0, self.distance(target)? as i16, 0),
            ["gotol", target @ ..] => insn(0x06, 0, 0, 0, self.distance(target)?),
            ["call", "helper", number] => insn(0x85, 0, 0, 0, number.parse().ok()?),
            ["call", "kfunc", number] => insn(0x85, 0, 2, 0, number.parse().ok()?),
            ["call", target @ ..] => insn(0x85, 0, 1, 0, self.distance(target)?),
            ["callx", target] => insn(0x8d, register(target)?.0, 0, 0, 0),
            ["if", condition @ ..] => self.conditional(condition)?,
            [
                "lock",
                "*",
                "(",
                size,
                "*",
                ")",
                "(",
                place @ ..,
                ")",
                op,
                src,
            ] => {
                let imm = match *op {
                    "+=" => 0x00,
                    "|=" => 0x40,
                    "&=" => 0x50,
                    "^=" => 0xa0,
                    _ => return None,
                };
                atomic(size, place, src, imm)?
            }
            ["*", "(", size, "*", ")", "(", rest @ ..] => self.store(size, rest)?,
            [dst, "=", rest @ ..] => return self.assignment(dst, rest),
            [dst, op, value @ ..] => self.alu(dst, op, value)?,
            _ => return None,
        };
        Some(vec![one])
    }

    fn assignment(&self, dst: &str, value: &[&str]) -> Option<Vec<Insn>> {
        let (to, half) = register(dst)?;
        let class = if half { 0x04 } else { 0x07 };
        let one = match value {
            [number @ .., "ll"] => return Some(wide(to, 0, self::number(number)? as u64)),
            ["&", "map", index] => return Some(wide(to, 5, index.parse().ok()?)),
            ["&", "value", index, offset] => {
                let imm = index.parse::<u64>().ok()? | offset.parse::<u64>().ok()? << 32;
                return Some(wide(to, 6, imm));
            }
            ["&", "kfunc", index] => return Some(wide(to, 3, index.parse().ok()?)),
            ["&", name] => {
                let distance = *self.labels.get(name)? as i32 - self.slot as i32 - 1;
                return Some(wide(to, 4, u64::from(distance as u32)));
            }
            ["-", src] if *src == dst => insn(0x80 | class, to, 0, 0, 0),
            ["(", sign @ ("s8" | "s16" | "s32"), ")", src] => {
                let off = sign[1..].parse().ok()?;
                insn(0xb8 | class, to, register(src)?.0, off, 0)
            }
            ["*", "(", size, "*", ")", "(", place @ .., ")"] => {
                let (bits, signed) = self::size(size)?;
                let (base, off) = self::place(place)?;
                insn(if signed { 0x81 } else { 0x61 } | bits, to, base, off, 0)
            }
            [swap, src] if *src == dst && swap.len() > 3 => {
                let (code, width) = match swap.split_at(2) {
                    ("le", width) => (0xd4, width),
                    ("be", width) => (0xdc, width),
                    ("bs", width) => (0xd7, width.strip_prefix("wap")?),
                    _ => return None,
                };
                insn(code, to, 0, 0, width.parse().ok()?)
            }
            [
                fetch,
                "(",
                "(",
                size,
                "*",
                ")",
                "(",
                place @ ..,
                ")",
                ",",
                src,
                ")",
            ] => {
                let imm = match fetch.strip_prefix("atomic_fetch_")? {
                    "add" => 0x01,
                    "or" => 0x41,
                    "and" => 0x51,
                    "xor" => 0xa1,
                    _ => return None,
                };
                atomic(size, place, src, imm)?
            }
            [
                name @ ("xchg_64" | "xchg32_32"),
                "(",
                place @ ..,
                ",",
                src,
                ")",
            ] => atomic(
                if *name == "xchg_64" { "u64" } else { "u32" },
                place,
                src,
                0xe1,
            )?,
            ["cmpxchg_64", "(", place @ .., ",", "r0", ",", src, ")"] => {
                atomic("u64", place, src, 0xf1)?
            }
            ["cmpxchg32_32", "(", place @ .., ",", "w0", ",", src, ")"] => {
                atomic("u32", place, src, 0xf1)?
            }
            value => self.alu(dst, "=", value)?,
        };
        Some(vec![one])
    }

    fn alu(&self, dst: &str, op: &str, value: &[&str]) -> Option<Insn> {
        let (to, half) = register(dst)?;
        let class = if half { 0x04 } else { 0x07 };
        let (_, code, off) = ALU.into_iter().find(|(name, ..)| *name == op)?;
        Some(match value {
            [src] if register(src).is_some() => {
                insn(code | 0x08 | class, to, register(src)?.0, off, 0)
            }
            value => insn(code | class, to, 0, off, number(value)? as i32),
        })
    }

    fn conditional(&self, tokens: &[&str]) -> Option<Insn> {
        let goto = tokens.iter().position(|token| *token == "goto")?;
        let (condition, target) = (&tokens[..goto], &tokens[goto + 1..]);
        let [dst, op, value @ ..] = condition else {
            return None;
        };
        let (dst, half) = register(dst)?;
        let class = if half { 0x06 } else { 0x05 };
        let (_, code) = CONDITIONS.into_iter().find(|(name, _)| name == op)?;
        let off = self.distance(target)? as i16;
        Some(match value {
            [src] if register(src).is_some() => {
                insn(code | 0x08 | class, dst, register(src)?.0, off, 0)
            }
            value => insn(code | class, dst, 0, off, number(value)? as i32),
        })
    }

    fn store(&self, size: &str, rest: &[&str]) -> Option<Insn> {
        let (bits, _) = self::size(size)?;
        let close = rest.iter().position(|token| *token == ")")?;
        let (base, off) = place(&rest[..close])?;
        Some(match rest.get(close + 1..)? {
            ["=", src] if register(src).is_some() => {
                insn(0x63 | bits, base, register(src)?.0, off, 0)
            }
            ["=", value @ ..] => insn(0x62 | bits, base, 0, off, number(value)? as i32),
            _ => return None,
        })
    }

    fn distance(&self, target: &[&str]) -> Option<i32> {
        if let [label] = target
            && let Some(slot) = self.labels.get(label)
        {
            return Some(*slot as i32 - self.slot as i32 - 1);
        }
        Some(number(target)? as i32)
    }
}

fn place(tokens: &[&str]) -> Option<(u8, i16)> {
    let (base, offset) = tokens.split_first()?;
    let offset = if offset.is_empty() {
        0
    } else {
        number(offset)?
    };
    Some((register(base)?.0, offset as i16))
}

fn atomic(size: &str, at: &[&str], src: &str, imm: i32) -> Option<Insn> {
    let (bits, _) = self::size(size)?;
    let (base, off) = place(at)?;
    Some(insn(0xc3 | bits, base, register(src)?.0, off, imm))
}

fn wide(dst: u8, src: u8, imm: u64) -> Vec<Insn> {
    vec![
        insn(0x18, dst, src, 0, imm as i32),
        insn(0, 0, 0, 0, (imm >> 32) as i32),
    ]
}
