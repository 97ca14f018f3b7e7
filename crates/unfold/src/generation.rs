//! The generations of the parser ABI, and how a parser shows which one it is for.
//!
//! Version 6 of the series changed hooks and hand-over, version 7 the header of commands and
//! the place of parsers. Both attach to one hook, so that the parser's own types decide.

use std::fmt;

use ukexec_bpf::btf::Btf;

use crate::names::{ANCHOR, HANDLE, PARSER_SECTION, POST_HANDLE};

/// A generation of the parser ABI: a version of the kernel series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Parsers in a PE section `.bpf` that call `bpf_copy_to_kernel`.
    V5,
    /// Parsers in a PE section `.bpf` that send commands with a header of 8 bytes.
    V6,
    /// Parsers in a container that send commands with a header of 10 bytes.
    V7,
}

impl Generation {
    /// All of them, by their numbers in [`Interface::types`](ukexec_bpf::Interface::types).
    pub const ALL: [Self; 3] = [Self::V5, Self::V6, Self::V7];

    /// Returns its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V5 => "v5",
            Self::V6 => "v6",
            Self::V7 => "v7",
        }
    }

    /// Returns the hook whose programs hand over; a parser needs one on it.
    #[must_use]
    pub const fn hook(self) -> &'static str {
        match self {
            Self::V5 => HANDLE,
            Self::V6 | Self::V7 => ANCHOR,
        }
    }
}

/// Where a parser lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParserPlace {
    /// In a file of its own, given with an image or in a list.
    Alone,
    /// In section `.bpf` of the image.
    Image,
    /// In a slot of a container.
    Slot,
}

impl Generation {
    /// Checks that parsers of this generation lie in `place`.
    ///
    /// # Errors
    ///
    /// They do not; the text names the places of both.
    ///
    /// ```
    /// use ukexec_unfold::{Generation, ParserPlace};
    ///
    /// assert_eq!(Generation::V7.check_place(ParserPlace::Slot), Ok(()));
    /// assert!(Generation::V7.check_place(ParserPlace::Image).is_err());
    /// ```
    pub fn check_place(self, place: ParserPlace) -> Result<(), String> {
        match (self, place) {
            (_, ParserPlace::Alone)
            | (Self::V5 | Self::V6, ParserPlace::Image)
            | (Self::V7, ParserPlace::Slot) => Ok(()),
            (Self::V7, ParserPlace::Image) => Err(format!(
                "the parser is of parser ABI v7, whose place is a container beside the image \
                 (ukexec parser pack makes one, and --parser gives it); section {PARSER_SECTION} \
                 takes parsers of ABI v5 and v6"
            )),
            (Self::V5 | Self::V6, ParserPlace::Slot) => Err(format!(
                "the parser is of parser ABI {self}, whose place is section {PARSER_SECTION} of an \
                 image (ukexec attach puts it there); the slots of a container take parsers of ABI \
                 v7"
            )),
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Chooses the generation by hooks, then by the parser's own types: a command's number means
/// another one in v7 than in v6, and is never guessed.
pub(crate) fn choose(hooks: &[&str], own: Option<&Btf>) -> Result<usize, String> {
    let is_on = |hook| hooks.contains(&hook);
    let generation = match (is_on(HANDLE) || is_on(POST_HANDLE), is_on(ANCHOR)) {
        (true, false) => Generation::V5,
        (true, true) => {
            return Err(format!(
                "hook {HANDLE} belongs to parser ABI v5, and hook {ANCHOR} to v6 and v7; a parser \
                 is for one of them"
            ));
        }
        (false, true) => of_types(own)?,
        // A match program alone.
        (false, false) => of_types(own).unwrap_or(Generation::V5),
    };
    let number = Generation::ALL.iter().position(|it| *it == generation);
    number.ok_or_else(|| format!("parser ABI {generation} is not offered"))
}

/// Returns the generation whose types a parser on [`ANCHOR`] has.
fn of_types(own: Option<&Btf>) -> Result<Generation, String> {
    let own = own.ok_or_else(|| {
        format!("hook {ANCHOR} belongs to parser ABI v6 and v7, and the parser has no types that say which (.BTF: compile with -g)")
    })?;
    let header = own.size_of("cmd_hdr");
    let has = |member| own.offset_of("kexec_context", member).is_some();
    let is_v7 = has("parsing_buf") || header == Some(HEADER_V7);
    let is_v6 = header == Some(HEADER_V6) || (has("kernel") && !has("parsing_buf"));
    match (is_v6, is_v7) {
        (true, false) => Ok(Generation::V6),
        (false, true) => Ok(Generation::V7),
        _ => {
            let header = header.map_or_else(
                || "no cmd_hdr".to_owned(),
                |size| format!("a cmd_hdr of {size} bytes"),
            );
            let members = ["kernel", "parsing_buf"].map(|member| match has(member) {
                true => member.to_owned(),
                false => format!("no {member}"),
            });
            Err(format!(
                "hook {ANCHOR} belongs to parser ABI v6 (cmd_hdr of {HEADER_V6} bytes, \
                 kexec_context with kernel) and v7 (cmd_hdr of {HEADER_V7} bytes, kexec_context with \
                 parsing_buf); the parser's types have {header}, and in kexec_context {}",
                members.join(" and ")
            ))
        }
    }
}

/// Bytes of a command's header: `struct cmd_hdr`.
pub(crate) const HEADER_V6: u32 = 8;
pub(crate) const HEADER_V7: u32 = 10;
