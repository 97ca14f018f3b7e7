//! Commands: how parsers of v6 and v7 say what `bpf_buffer_parser` shall do with a buffer.
//!
//! A buffer begins with `struct cmd_hdr`, and the payload follows. Numbers are little-endian.

use crate::generation::{Generation, HEADER_V6, HEADER_V7};
use crate::refusal::Refusal;
use crate::report::Resource;

/// A command, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The payload is a resource.
    Copy(Resource),
    /// The payload is a compressed kernel.
    Decompress,
    /// The payload is a PE image whose signature is in question.
    VerifySignature,
    /// The parser has taken its image apart.
    Done,
}

/// A command with the bytes that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) command: Command,
    /// Whether the parser of the next level shall see what is handed over.
    pub(crate) fills: bool,
    /// The length of the header, behind which the payload begins.
    pub(crate) header: u32,
    /// The length of the payload.
    pub(crate) payload: u32,
}

/// The most bytes that a header has.
pub(crate) const HEADER_MAX: usize = 10;

/// Returns the length of a command's header.
pub(crate) fn header_len(generation: Generation) -> u32 {
    match generation {
        Generation::V5 | Generation::V6 => HEADER_V6,
        Generation::V7 => HEADER_V7,
    }
}

/// Decodes the header of a buffer of `size` bytes. Behind the header of v6 there are zeros.
pub(crate) fn decode(
    generation: Generation,
    header: [u8; HEADER_MAX],
    size: u32,
) -> Result<Order, Refusal> {
    let [c0, c1, s0, s1, p0, p1, p2, p3, n0, n1] = header;
    let number = u16::from_le_bytes([c0, c1]);
    let payload = u32::from_le_bytes([p0, p1, p2, p3]);
    let is_v7 = generation == Generation::V7;
    // In v6 the subcommand has 16 bits; v7 took half of them for flags.
    let (subcommand, flags) = match is_v7 {
        true => (s0.into(), s1),
        false => (u16::from_le_bytes([s0, s1]), 0),
    };
    let header = header_len(generation);
    let room = size.saturating_sub(header);
    if payload > room {
        return Err(Refusal::invalid(format!(
            "payload_len at byte 4 is {payload}; expected at most {room}, all that follows the \
             header in a buffer of {size} bytes"
        )));
    }
    let chunks = u16::from_le_bytes([n0, n1]);
    if chunks != 0 {
        let text = format!("num_chunks at byte 8 is {chunks}; expected 0, chunks are not offered");
        return Err(Refusal::invalid(text));
    }
    if flags & !FILL != 0 {
        return Err(Refusal::invalid(format!(
            "pipeline_flag at byte 3 is {flags:#x}; expected 0 or {FILL:#x} (FILL)"
        )));
    }
    let command = match (is_v7, number) {
        (true, 1) => Command::Done,
        (false, 1) | (true, 2) => match resource(subcommand) {
            Some(Resource::Kernel) => Command::Decompress,
            _ => {
                return Err(Refusal::invalid(format!(
                    "DECOMPRESS with subcmd {subcommand} at byte 2; expected 1 (KERNEL)"
                )));
            }
        },
        (false, 2) | (true, 3) => Command::Copy(resource(subcommand).ok_or_else(|| {
            Refusal::invalid(format!(
                "COPY with subcmd {subcommand} at byte 2; expected 1 (KERNEL), 2 (INITRD) or 3 \
                 (CMDLINE)"
            ))
        })?),
        (true, 4) => Command::VerifySignature,
        _ => {
            let known = match is_v7 {
                true => "1 (DONE), 2 (DECOMPRESS), 3 (COPY) or 4 (VERIFY_SIG)",
                false => "1 (DECOMPRESS) or 2 (COPY)",
            };
            return Err(Refusal::invalid(format!(
                "cmd at byte 0 is {number}; expected {known}, the commands of parser ABI \
                 {generation}"
            )));
        }
    };
    Ok(Order {
        command,
        fills: flags & FILL != 0,
        header,
        payload,
    })
}

/// `KEXEC_BPF_PIPELINE_FILL`.
const FILL: u8 = 1;

fn resource(subcommand: u16) -> Option<Resource> {
    match subcommand {
        1 => Some(Resource::Kernel),
        2 => Some(Resource::Initrd),
        3 => Some(Resource::Cmdline),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// Decodes a header of these bytes, zeros behind them, in a buffer of 100 bytes.
    fn check(generation: Generation, bytes: &[u8], expected: Expect) {
        let mut header = [0; HEADER_MAX];
        header[..bytes.len()].copy_from_slice(bytes);
        let text = match decode(generation, header, 100) {
            Ok(order) => format!(
                "{:?}, fills {}, {} bytes",
                order.command, order.fills, order.payload
            ),
            Err(refusal) => format!("{}: {}", refusal.errno, refusal.text),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn one_number_is_another_command_in_each_generation() {
        use Generation::{V6, V7};
        check(
            V6,
            &[1, 0, 1, 0, 92],
            expect!["Decompress, fills false, 92 bytes"],
        );
        check(
            V7,
            &[1, 0, 1, 0, 90],
            expect!["Done, fills false, 90 bytes"],
        );
        check(
            V6,
            &[2, 0, 1, 0, 5],
            expect!["Copy(Kernel), fills false, 5 bytes"],
        );
        check(
            V7,
            &[2, 0, 1, 1, 5],
            expect!["Decompress, fills true, 5 bytes"],
        );
        check(
            V6,
            &[3],
            expect![
                "-22: cmd at byte 0 is 3; expected 1 (DECOMPRESS) or 2 (COPY), the commands of parser ABI v6"
            ],
        );
        check(
            V7,
            &[3, 0, 3, 1, 5],
            expect!["Copy(Cmdline), fills true, 5 bytes"],
        );
        check(
            V7,
            &[4, 0, 9],
            expect!["VerifySignature, fills false, 0 bytes"],
        );
    }

    #[test]
    fn what_no_generation_knows_is_refused() {
        use Generation::{V6, V7};
        check(
            V7,
            &[],
            expect![
                "-22: cmd at byte 0 is 0; expected 1 (DONE), 2 (DECOMPRESS), 3 (COPY) or 4 (VERIFY_SIG), the commands of parser ABI v7"
            ],
        );
        check(
            V7,
            &[0, 1],
            expect![
                "-22: cmd at byte 0 is 256; expected 1 (DONE), 2 (DECOMPRESS), 3 (COPY) or 4 (VERIFY_SIG), the commands of parser ABI v7"
            ],
        );
        check(
            V6,
            &[1, 0, 2],
            expect!["-22: DECOMPRESS with subcmd 2 at byte 2; expected 1 (KERNEL)"],
        );
        check(
            V6,
            &[2, 0, 1, 1],
            expect![
                "-22: COPY with subcmd 257 at byte 2; expected 1 (KERNEL), 2 (INITRD) or 3 (CMDLINE)"
            ],
        );
        check(
            V7,
            &[3, 0, 0],
            expect![
                "-22: COPY with subcmd 0 at byte 2; expected 1 (KERNEL), 2 (INITRD) or 3 (CMDLINE)"
            ],
        );
        check(
            V7,
            &[3, 0, 1, 2],
            expect!["-22: pipeline_flag at byte 3 is 0x2; expected 0 or 0x1 (FILL)"],
        );
        check(
            V6,
            &[2, 0, 1, 0, 93],
            expect![
                "-22: payload_len at byte 4 is 93; expected at most 92, all that follows the header in a buffer of 100 bytes"
            ],
        );
        check(
            V7,
            &[3, 0, 1, 0, 91],
            expect![
                "-22: payload_len at byte 4 is 91; expected at most 90, all that follows the header in a buffer of 100 bytes"
            ],
        );
        check(
            V7,
            &[3, 0, 1, 0, 1, 0, 0, 0, 1],
            expect!["-22: num_chunks at byte 8 is 1; expected 0, chunks are not offered"],
        );
    }

    proptest! {
        #[test]
        fn a_payload_lies_in_its_buffer(header: [u8; HEADER_MAX], size: u32, is_v7: bool) {
            let generation = if is_v7 { Generation::V7 } else { Generation::V6 };
            if let Ok(order) = decode(generation, header, size) {
                prop_assert!(u64::from(order.header) + u64::from(order.payload) <= u64::from(size).max(order.header.into()));
            }
        }
    }
}
