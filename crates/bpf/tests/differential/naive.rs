//! A second evaluator, to hold the interpreter against: written from RFC 9669
//! alone, as plainly as can be, and slow. It decodes an instruction each time
//! it meets it, reads and writes byte by byte, and calculates in 128 bits.
//!
//! It models instructions, not what a loader adds: of helpers, maps and kfuncs
//! it knows nothing, and says so.

use ukexec_bpf::Insn;

/// Where things are in the address space that both evaluators show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The first byte of the stack of each frame.
    pub(crate) stacks: [u64; 8],
    /// The result of an `lddw` of a function, less the function's slot.
    pub(crate) functions: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The program returned r0.
    Returned(u64),
    /// The instruction at this slot cannot be done.
    Faulted(u32),
    /// The program needs more instructions than it was given.
    TooLong,
    /// It calls something that is not modelled here.
    Unmodelled,
}

/// Bytes of stack that each function has.
const STACK: u64 = 512;

/// A program under way.
#[derive(Debug)]
pub(crate) struct Naive<'a> {
    code: &'a [Insn],
    /// Where functions start.
    functions: &'a [u32],
    layout: Layout,
    registers: [u64; 11],
    /// Bytes and where they start. None touch, so that an access which runs over
    /// an end finds nothing there.
    memory: Vec<(u64, Vec<u8>)>,
    /// Memory that is only read, and where it starts.
    shown: (u64, &'a [u8]),
    callers: Vec<Caller>,
    slot: i64,
}

/// The registers that a call keeps.
#[derive(Debug)]
struct Caller {
    slot: i64,
    saved: [u64; 5],
}

impl<'a> Naive<'a> {
    pub(crate) fn new(code: &'a [Insn], functions: &'a [u32], layout: Layout) -> Self {
        let mut naive = Self {
            code,
            functions,
            layout,
            registers: [0; 11],
            memory: Vec::new(),
            shown: (0, &[]),
            callers: Vec::new(),
            slot: 0,
        };
        naive.open_stack();
        naive
    }

    /// Puts `bytes` at `address`.
    pub(crate) fn add(&mut self, address: u64, bytes: &[u8]) {
        self.memory.push((address, bytes.to_vec()));
    }

    /// Has `bytes` at `address` for reading.
    pub(crate) fn show(&mut self, address: u64, bytes: &'a [u8]) {
        self.shown = (address, bytes);
    }

    /// Returns `len` bytes at `address`, which must be there.
    pub(crate) fn bytes(&self, address: u64, len: u64) -> Vec<u8> {
        let bytes = (address..address + len).map(|address| self.byte(address));
        bytes.collect::<Option<_>>().expect("they are there")
    }

    /// Runs at most `limit` instructions with r1 to r5 set.
    pub(crate) fn run(&mut self, arguments: [u64; 5], limit: u64) -> Ending {
        self.registers[1..6].copy_from_slice(&arguments);
        for _ in 0..limit {
            let at = self.slot as u32;
            match self.step() {
                Ok(None) => {}
                Ok(Some(r0)) => return Ending::Returned(r0),
                Err(Stop::Fault) => return Ending::Faulted(at),
                Err(Stop::Unmodelled) => return Ending::Unmodelled,
            }
        }
        Ending::TooLong
    }

    /// Does one instruction; the last one gives r0.
    fn step(&mut self) -> Result<Option<u64>, Stop> {
        let insn = *self.code.get(self.slot as usize).ok_or(Stop::Fault)?;
        self.slot += 1;
        match insn.code & 0x07 {
            0x00 => self.load_immediate(insn)?,
            0x01 => self.load(insn)?,
            0x02 => {
                let value = i64::from(insn.imm) as u64;
                self.store(self.place(insn.dst, insn.off), width(insn)?, value)?;
            }
            0x03 if insn.code & 0xe0 == 0xc0 => self.atomic(insn)?,
            0x03 if insn.code & 0xe0 == 0x60 => {
                let value = self.registers[usize::from(insn.src)];
                self.store(self.place(insn.dst, insn.off), width(insn)?, value)?;
            }
            0x04 | 0x07 => self.calculate(insn)?,
            0x05 | 0x06 => return self.jump(insn),
            _ => return Err(Stop::Fault),
        }
        Ok(None)
    }

    fn load_immediate(&mut self, insn: Insn) -> Result<(), Stop> {
        let next = self.code[self.slot as usize];
        let value = match (insn.code, insn.src) {
            (0x18, 0) => u64::from(insn.imm as u32) + (u64::from(next.imm as u32) << 32),
            (0x18, 4) => self.layout.functions + (self.slot + i64::from(insn.imm)) as u64,
            _ => return Err(Stop::Unmodelled),
        };
        self.slot += 1;
        self.registers[usize::from(insn.dst)] = value;
        Ok(())
    }

    fn load(&mut self, insn: Insn) -> Result<(), Stop> {
        let bytes = width(insn)?;
        let value = self.read(self.place(insn.src, insn.off), bytes)?;
        self.registers[usize::from(insn.dst)] = match insn.code & 0xe0 {
            0x60 => value,
            0x80 => signed(value, 8 * bytes) as u64,
            _ => return Err(Stop::Fault),
        };
        Ok(())
    }

    /// Section 5.3. The value in memory is read first, and written whether it
    /// changes or not.
    fn atomic(&mut self, insn: Insn) -> Result<(), Stop> {
        let bytes = width(insn)?;
        let place = self.place(insn.dst, insn.off);
        let old = self.read(place, bytes)?;
        let source = self.registers[usize::from(insn.src)];
        let new = match insn.imm {
            0x00 | 0x01 => old.wrapping_add(source),
            0x40 | 0x41 => old | source,
            0x50 | 0x51 => old & source,
            0xa0 | 0xa1 => old ^ source,
            0xe1 => source,
            0xf1 if old == low(self.registers[0], 8 * bytes) => source,
            0xf1 => old,
            _ => return Err(Stop::Fault),
        };
        self.store(place, bytes, new)?;
        match insn.imm {
            0xf1 => self.registers[0] = old,
            fetch if fetch & 1 == 1 => self.registers[usize::from(insn.src)] = old,
            _ => {}
        }
        Ok(())
    }

    /// Sections 4.1 and 4.2.
    fn calculate(&mut self, insn: Insn) -> Result<(), Stop> {
        let bits = if insn.code & 0x07 == 0x07 { 64 } else { 32 };
        let left = self.registers[usize::from(insn.dst)];
        let result = if insn.code & 0xf0 == 0xd0 {
            swap(insn, left)?
        } else {
            let (left, right) = (low(left, bits), low(self.operand(insn), bits));
            let wide = (i128::from(left), i128::from(right));
            let signs = (
                i128::from(signed(left, bits)),
                i128::from(signed(right, bits)),
            );
            let count = right as u32 % bits as u32;
            let result = match (insn.code & 0xf0, insn.off) {
                (0x00, 0) => wide.0 + wide.1,
                (0x10, 0) => wide.0 - wide.1,
                (0x20, 0) => i128::from(left.wrapping_mul(right)),
                (0x30, 0 | 1) if right == 0 => 0,
                (0x30, 0) => wide.0 / wide.1,
                (0x30, 1) => signs.0 / signs.1,
                (0x40, 0) => wide.0 | wide.1,
                (0x50, 0) => wide.0 & wide.1,
                (0x60, 0) => i128::from(left.wrapping_shl(count)),
                (0x70, 0) => wide.0 >> count,
                (0x80, 0) => -wide.0,
                (0x90, 0 | 1) if right == 0 => wide.0,
                (0x90, 0) => wide.0 % wide.1,
                (0x90, 1) => signs.0 % signs.1,
                (0xa0, 0) => wide.0 ^ wide.1,
                (0xb0, 0) => wide.1,
                (0xb0, 8 | 16 | 32) => i128::from(signed(right, insn.off as u64)),
                (0xc0, 0) => signs.0 >> count,
                _ => return Err(Stop::Fault),
            };
            low(result as u64, bits)
        };
        self.registers[usize::from(insn.dst)] = result;
        Ok(())
    }

    /// Section 4.3.
    fn jump(&mut self, insn: Insn) -> Result<Option<u64>, Stop> {
        match insn.code {
            0x05 => self.slot += i64::from(insn.off),
            0x06 => self.slot += i64::from(insn.imm),
            0x85 if insn.src == 1 => self.enter(self.slot + i64::from(insn.imm))?,
            0x8d => {
                let register = if insn.imm == 0 {
                    insn.dst
                } else {
                    insn.imm as u8
                };
                let target = self.registers[usize::from(register)];
                let slot = target.wrapping_sub(self.layout.functions);
                match self
                    .functions
                    .iter()
                    .find(|&&start| u64::from(start) == slot)
                {
                    Some(&start) => self.enter(start.into())?,
                    // It may name a helper.
                    None if target < 1 << 31 => return Err(Stop::Unmodelled),
                    None => return Err(Stop::Fault),
                }
            }
            0x95 => return Ok(self.leave()),
            0x85 => return Err(Stop::Unmodelled),
            _ => {
                if self.condition(insn)? {
                    self.slot += i64::from(insn.off);
                }
            }
        }
        Ok(None)
    }

    fn condition(&self, insn: Insn) -> Result<bool, Stop> {
        let bits = if insn.code & 0x07 == 0x05 { 64 } else { 32 };
        let left = low(self.registers[usize::from(insn.dst)], bits);
        let right = low(self.operand(insn), bits);
        let (less, more) = (signed(left, bits), signed(right, bits));
        Ok(match insn.code & 0xf0 {
            0x10 => left == right,
            0x20 => left > right,
            0x30 => left >= right,
            0x40 => left & right != 0,
            0x50 => left != right,
            0x60 => less > more,
            0x70 => less >= more,
            0xa0 => left < right,
            0xb0 => left <= right,
            0xc0 => less < more,
            0xd0 => less <= more,
            _ => return Err(Stop::Fault),
        })
    }

    fn enter(&mut self, target: i64) -> Result<(), Stop> {
        if self.callers.len() + 1 == self.layout.stacks.len() {
            return Err(Stop::Fault);
        }
        let mut saved = [0; 5];
        saved.copy_from_slice(&self.registers[6..]);
        let slot = self.slot;
        self.callers.push(Caller { slot, saved });
        self.open_stack();
        self.slot = target;
        Ok(())
    }

    fn leave(&mut self) -> Option<u64> {
        let stack = self.layout.stacks[self.callers.len()];
        self.memory.retain(|(start, _)| *start != stack);
        match self.callers.pop() {
            Some(Caller { slot, saved }) => {
                self.registers[6..].copy_from_slice(&saved);
                self.slot = slot;
                None
            }
            None => Some(self.registers[0]),
        }
    }

    fn open_stack(&mut self) {
        let stack = self.layout.stacks[self.callers.len()];
        self.add(stack, &[0; STACK as usize]);
        self.registers[10] = stack + STACK;
    }

    /// The source register, or the immediate with its sign.
    fn operand(&self, insn: Insn) -> u64 {
        if insn.code & 0x08 == 0 {
            i64::from(insn.imm) as u64
        } else {
            self.registers[usize::from(insn.src)]
        }
    }

    fn place(&self, register: u8, offset: i16) -> u64 {
        self.registers[usize::from(register)].wrapping_add(i64::from(offset) as u64)
    }

    fn read(&self, address: u64, bytes: u64) -> Result<u64, Stop> {
        let mut value = 0;
        for index in (0..bytes).rev() {
            let byte = self.byte(address.wrapping_add(index));
            value = value << 8 | u64::from(byte.ok_or(Stop::Fault)?);
        }
        Ok(value)
    }

    fn byte(&self, address: u64) -> Option<u8> {
        let (start, bytes) = self.shown;
        let memory = self.memory.iter().map(|(start, bytes)| (*start, &**bytes));
        let mut all = memory.chain([(start, bytes)]);
        all.find_map(|(start, bytes)| bytes.get(offset(address, start)).copied())
    }

    fn byte_mut(&mut self, address: u64) -> Option<&mut u8> {
        let mut all = self.memory.iter_mut();
        all.find_map(|(start, bytes)| bytes.get_mut(offset(address, *start)))
    }

    fn store(&mut self, address: u64, bytes: u64, value: u64) -> Result<(), Stop> {
        let mut places = (0..bytes).map(|index| address.wrapping_add(index));
        if !places.clone().all(|place| self.byte_mut(place).is_some()) {
            return Err(Stop::Fault);
        }
        for byte in value.to_le_bytes() {
            if let Some(place) = places.next().and_then(|place| self.byte_mut(place)) {
                *place = byte;
            }
        }
        Ok(())
    }
}

/// How far `address` is behind `start`; a long way if it is before it.
fn offset(address: u64, start: u64) -> usize {
    address.wrapping_sub(start) as usize
}

/// Why an instruction cannot be done.
enum Stop {
    Fault,
    Unmodelled,
}

/// How many bytes a load, store or atomic operation takes.
fn width(insn: Insn) -> Result<u64, Stop> {
    match (insn.code & 0x18, insn.code & 0xe0) {
        (0x00, _) => Ok(4),
        (0x18, _) => Ok(8),
        // Atomic operations have no small forms.
        (_, 0xc0) => Err(Stop::Fault),
        (0x08, _) => Ok(2),
        _ => Ok(1),
    }
}

/// The byte swap instructions. Memory is little-endian.
fn swap(insn: Insn, value: u64) -> Result<u64, Stop> {
    let bits = u64::from(insn.imm as u32);
    if !matches!(bits, 16 | 32 | 64) {
        return Err(Stop::Fault);
    }
    match insn.code {
        0xd4 => Ok(low(value, bits)),
        0xdc | 0xd7 => {
            let bytes = (bits / 8) as usize;
            let bytes = value.to_le_bytes().into_iter().take(bytes);
            Ok(bytes.fold(0, |value, byte| value << 8 | u64::from(byte)))
        }
        _ => Err(Stop::Fault),
    }
}

/// The low `bits` of a value.
fn low(value: u64, bits: u64) -> u64 {
    (u128::from(value) & ((1 << bits) - 1)) as u64
}

/// The low `bits` of a value, the highest of them being its sign.
fn signed(value: u64, bits: u64) -> i64 {
    let value = i128::from(low(value, bits));
    let wrapped = if value >= 1 << (bits - 1) {
        value - (1 << bits)
    } else {
        value
    };
    wrapped as i64
}
