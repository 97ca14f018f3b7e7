//! Arithmetic that Rust's operators do otherwise (RFC 9669, section 4.1).

/// Division by zero gives 0.
pub(super) fn div64(dividend: u64, divisor: u64) -> u64 {
    dividend.checked_div(divisor).unwrap_or(0)
}

/// Modulo zero leaves the dividend.
pub(super) fn mod64(dividend: u64, divisor: u64) -> u64 {
    dividend.checked_rem(divisor).unwrap_or(dividend)
}

/// The minimum divided by -1 wraps to itself.
pub(super) fn sdiv64(dividend: u64, divisor: u64) -> u64 {
    if divisor == 0 {
        0
    } else {
        (dividend as i64).wrapping_div(divisor as i64) as u64
    }
}

/// The sign is the dividend's.
pub(super) fn smod64(dividend: u64, divisor: u64) -> u64 {
    if divisor == 0 {
        dividend
    } else {
        (dividend as i64).wrapping_rem(divisor as i64) as u64
    }
}

/// As [`div64`].
pub(super) fn div32(dividend: u32, divisor: u32) -> u32 {
    dividend.checked_div(divisor).unwrap_or(0)
}

/// As [`mod64`].
pub(super) fn mod32(dividend: u32, divisor: u32) -> u32 {
    dividend.checked_rem(divisor).unwrap_or(dividend)
}

/// As [`sdiv64`].
pub(super) fn sdiv32(dividend: u32, divisor: u32) -> u32 {
    if divisor == 0 {
        0
    } else {
        (dividend as i32).wrapping_div(divisor as i32) as u32
    }
}

/// As [`smod64`].
pub(super) fn smod32(dividend: u32, divisor: u32) -> u32 {
    if divisor == 0 {
        dividend
    } else {
        (dividend as i32).wrapping_rem(divisor as i32) as u32
    }
}

/// The value that an atomic operation stores over `old` (section 5.3); `expected` is r0,
/// which a compare-and-exchange compares.
pub(super) fn atomic64(operation: u64, old: u64, operand: u64, expected: u64) -> u64 {
    match operation & !FETCH {
        0x00 => old.wrapping_add(operand),
        0x40 => old | operand,
        0x50 => old & operand,
        0xa0 => old ^ operand,
        0xe0 => operand,
        _ if old == expected => operand,
        _ => old,
    }
}

/// [`atomic64`] on half registers.
pub(super) fn atomic32(operation: u64, old: u32, operand: u32, expected: u32) -> u32 {
    atomic64(operation, old.into(), operand.into(), expected.into()) as u32
}

/// The operation gives the program what was there before.
pub(super) const FETCH: u64 = 0x01;
/// Compare and exchange, which gives that to r0.
pub(super) const COMPARE: u64 = 0xf1;
