//! Programs out of bytes: mostly valid ones, that calculate, jump, use memory
//! and call each other, so that what they end with depends on much of what
//! they did.
//!
//! Bytes that run out count as zeros, so every byte string is a program, and
//! shorter ones are simpler.

use ukexec_bpf::Insn;

/// A program and where its functions start.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) code: Vec<Insn>,
    pub(crate) functions: Vec<u32>,
}

/// Bytes of memory that r1 points to; the program leaves its registers and
/// stack in those from [`DUMP`] on.
pub(crate) const MEMORY: u64 = DUMP + STACK;
/// See [`MEMORY`].
pub(crate) const DUMP: u64 = 64;
/// Bytes of read-only memory that r3 points to.
pub(crate) const IMAGE: u64 = 5000;
const STACK: u64 = 512;

/// Makes a program out of `bytes`; `memory` is the address of its memory.
pub(crate) fn generate(bytes: &[u8], memory: u64) -> Generated {
    let mut generator = Generator {
        choices: Choices { bytes },
        code: Vec::new(),
        calls: Vec::new(),
    };
    let count = usize::from(generator.choices.below(4)) + 1;
    let mut functions = Vec::new();
    for index in 0..count {
        functions.push(generator.code.len() as u32);
        generator.function(index, count, (index == 0).then_some(memory));
    }
    let Generator {
        mut choices,
        mut code,
        calls,
    } = generator;
    for (slot, callee) in calls {
        code[slot].imm = functions[callee] as i32 - slot as i32 - 1;
    }
    // Now and then something that may make no sense.
    if choices.below(8) == 7 {
        let slot = usize::from(choices.half()) % code.len();
        let mut bytes = code[slot].to_le_bytes();
        bytes[usize::from(choices.below(8))] ^= choices.byte();
        code[slot] = Insn::from_le_bytes(bytes);
    }
    Generated { code, functions }
}

/// The bytes that a program is made from.
struct Choices<'a> {
    bytes: &'a [u8],
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                *byte
            }
            None => 0,
        }
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }

    /// A number that is often near an edge.
    fn immediate(&mut self) -> i32 {
        match self.below(8) {
            0..=2 => i32::from(self.byte() as i8),
            3 => i32::MIN,
            4 => i32::MAX,
            5 => 1 << self.below(32),
            _ => self.word() as i32,
        }
    }

    /// Any register that may be written.
    fn register(&mut self) -> u8 {
        self.below(10)
    }

    /// A register that often points to memory, and an offset that often fits.
    fn place(&mut self) -> (u8, i16) {
        match self.below(8) {
            0..=3 => (10, i16::from(self.byte()) - 256),
            4 | 5 => (6, i16::from(self.below(64))),
            6 => (7, i16::from(self.byte()) * 16),
            _ => (self.below(11), i16::from(self.byte() as i8)),
        }
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }
}

/// A program in the making.
struct Generator<'a> {
    choices: Choices<'a>,
    code: Vec<Insn>,
    /// Slots that call a function, or take its address: their distance is known
    /// when all functions are.
    calls: Vec<(usize, usize)>,
}

impl Generator<'_> {
    /// Function `index` of `count`; the first one leaves what it has done at
    /// `memory`.
    fn function(&mut self, index: usize, count: usize, memory: Option<u64>) {
        let first = self.code.len();
        if memory.is_some() {
            // Pointers where calls keep them.
            self.put(0xbf, 6, 1, 0, 0);
            self.put(0xbf, 7, 3, 0, 0);
        }
        let len = usize::from(self.choices.below(48));
        let mut forward = Vec::new();
        for _ in 0..len {
            self.statement(index, count, first, &mut forward);
        }
        let end = self.code.len();
        for slot in forward {
            let span = (end - slot) as u16;
            self.code[slot].off = (self.code[slot].off as u16 % span) as i16;
            self.mend(slot);
        }
        if let Some(memory) = memory {
            self.dump(memory);
        }
        self.put(0x95, 0, 0, 0, 0);
    }

    fn statement(&mut self, index: usize, count: usize, first: usize, forward: &mut Vec<usize>) {
        match self.choices.below(32) {
            0..=11 => self.calculation(),
            12 => {
                let (dst, low, high) = (
                    self.choices.register(),
                    self.choices.immediate(),
                    self.choices.immediate(),
                );
                self.put(0x18, dst, 0, 0, low);
                self.put(0, 0, 0, 0, high);
            }
            13..=16 => {
                let (code, dst) = (self.choices.below(4) << 3, self.choices.register());
                let mode = self.choices.one_of(&[0x60, 0x60, 0x80]);
                // There is no signed load of a whole register.
                let mode = if code == 0x18 { 0x60 } else { mode };
                let (base, off) = self.choices.place();
                self.put(0x01 | mode | code, dst, base, off, 0);
            }
            17..=20 => {
                let (size, (base, off)) = (self.choices.below(4) << 3, self.choices.place());
                if self.choices.below(2) == 0 {
                    let imm = self.choices.immediate();
                    self.put(0x62 | size, base, 0, off, imm);
                } else {
                    let src = self.choices.below(11);
                    self.put(0x63 | size, base, src, off, 0);
                }
            }
            21 | 22 => {
                let operations = [
                    0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1, 0xf1,
                ];
                let imm = self.choices.one_of(&operations);
                let (src, (base, off)) = (self.choices.register(), self.choices.place());
                let code = self.choices.one_of(&[0xc3, 0xdb]);
                self.put(code, base, src, off, imm);
            }
            23..=27 => {
                forward.push(self.code.len());
                let off = (self.choices.half() >> 1) as i16;
                self.branch(off);
            }
            28 => self.repetition(first),
            29 => self.put(0x95, 0, 0, 0, 0),
            _ if index + 1 < count => {
                let callee = index + 1 + usize::from(self.choices.byte()) % (count - index - 1);
                self.calls.push((self.code.len(), callee));
                if self.choices.below(3) == 0 {
                    let register = self.choices.below(6);
                    self.put(0x18, register, 4, 0, 0);
                    self.put(0, 0, 0, 0, 0);
                    self.put(0x8d, register, 0, 0, 0);
                } else {
                    self.put(0x85, 0, 1, 0, 0);
                }
            }
            _ => self.calculation(),
        }
    }

    fn calculation(&mut self) {
        let class = self.choices.one_of(&[0x04, 0x07]);
        let dst = self.choices.register();
        let operation = self.choices.below(14) << 4;
        let register = self.choices.below(2) << 3;
        match operation {
            0x80 => self.put(0x80 | class, dst, 0, 0, 0),
            0xd0 => {
                let code = self.choices.one_of(&[0xd4, 0xdc, 0xd7]);
                let bits = self.choices.one_of(&[16, 32, 64]);
                self.put(code, dst, 0, 0, bits);
            }
            _ => {
                let off = match operation {
                    0x30 | 0x90 => i16::from(self.choices.below(2)),
                    0xb0 if register != 0 && class == 0x04 => self.choices.one_of(&[0, 8, 16]),
                    0xb0 if register != 0 => self.choices.one_of(&[0, 8, 16, 32]),
                    _ => 0,
                };
                let (src, imm) = self.operand(register);
                self.put(operation | register | class, dst, src, off, imm);
            }
        }
    }

    /// A jump; a conditional one more often than not.
    fn branch(&mut self, off: i16) {
        let conditions = [
            0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0, 0x00,
        ];
        match self.choices.one_of(&conditions) {
            0x00 => self.put(0x05, 0, 0, off, 0),
            condition => {
                let class = self.choices.one_of(&[0x05, 0x06]);
                let register = self.choices.below(2) << 3;
                let dst = self.choices.below(11);
                let (src, imm) = self.operand(register);
                self.put(condition | register | class, dst, src, off, imm);
            }
        }
    }

    /// Goes back a few slots while a register that counts down is above zero.
    fn repetition(&mut self, first: usize) {
        let counter = self.choices.register();
        self.put(0x57, counter, 0, 0, 7);
        self.put(0x07, counter, 0, 0, -1);
        let slot = self.code.len();
        let back = 1 + usize::from(self.choices.below(12)).min(slot - first);
        self.put(0x65, counter, 0, -(back as i16), 0);
        self.mend(slot);
    }

    /// A source register or an immediate.
    fn operand(&mut self, register: u8) -> (u8, i32) {
        if register == 0 {
            (0, self.choices.immediate())
        } else {
            (self.choices.below(11), 0)
        }
    }

    /// Has a jump at `slot` that goes to the second half of an `lddw` go one
    /// slot on.
    fn mend(&mut self, slot: usize) {
        let target = (slot as i64 + 1 + i64::from(self.code[slot].off)) as usize;
        let mut at = 0;
        while at < target.min(self.code.len()) {
            at += if self.code[at].code == 0x18 { 2 } else { 1 };
        }
        if at > target {
            self.code[slot].off += 1;
        }
    }

    /// Leaves r0 to r9 in the stack, and then the whole stack at `memory`.
    fn dump(&mut self, memory: u64) {
        for register in 0..10_u8 {
            self.put(0x7b, 10, register, i16::from(register) * 8 - 512, 0);
        }
        let start = memory + DUMP;
        self.put(0x18, 1, 0, 0, start as i32);
        self.put(0, 0, 0, 0, (start >> 32) as i32);
        self.put(0xbf, 2, 10, 0, 0);
        self.put(0x07, 2, 0, 0, -512);
        self.put(0xb7, 3, 0, 0, 64);
        self.put(0x79, 4, 2, 0, 0); // r4 = *(u64 *)(r2)
        self.put(0x7b, 1, 4, 0, 0); // *(u64 *)(r1) = r4
        self.put(0x07, 1, 0, 0, 8);
        self.put(0x07, 2, 0, 0, 8);
        self.put(0x07, 3, 0, 0, -1);
        self.put(0x55, 3, 0, -6, 0); // if r3 != 0 goto -6
    }

    fn put(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.code.push(Insn {
            code,
            dst,
            src,
            off,
            imm,
        });
    }
}
