//! Arithmetic that Rust's operators do otherwise (RFC 9669, section 4.1).

/// Makes the divisions of one width.
macro_rules! divisions {
    ($unsigned:ty, $signed:ty: $div:ident $rem:ident $sdiv:ident $srem:ident) => {
        /// Division by zero gives 0.
        pub(super) fn $div(dividend: $unsigned, divisor: $unsigned) -> $unsigned {
            dividend.checked_div(divisor).unwrap_or(0)
        }

        /// Modulo zero leaves the dividend.
        pub(super) fn $rem(dividend: $unsigned, divisor: $unsigned) -> $unsigned {
            dividend.checked_rem(divisor).unwrap_or(dividend)
        }

        /// The minimum divided by -1 wraps to itself.
        pub(super) fn $sdiv(dividend: $unsigned, divisor: $unsigned) -> $unsigned {
            if divisor == 0 {
                return 0;
            }
            (dividend as $signed).wrapping_div(divisor as $signed) as $unsigned
        }

        /// The sign is the dividend's.
        pub(super) fn $srem(dividend: $unsigned, divisor: $unsigned) -> $unsigned {
            if divisor == 0 {
                return dividend;
            }
            (dividend as $signed).wrapping_rem(divisor as $signed) as $unsigned
        }
    };
}

divisions! { u64, i64: div64 mod64 sdiv64 smod64 }
divisions! { u32, i32: div32 mod32 sdiv32 smod32 }

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
