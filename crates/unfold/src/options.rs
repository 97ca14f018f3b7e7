//! The input and the result of an unfolding.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ukexec_bpf::{Meter, Rope};

use crate::Report;

/// The image, and the resources that the caller has for it.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The outermost image, all of it.
    pub image: Rope,
    /// The caller's initrd. Parsers see it, and what comes out must hold it.
    /// One without bytes counts as absent.
    pub initrd: Option<Rope>,
    /// The caller's command line (`--cmdline`), without a NUL; what follows a
    /// NUL is dropped. Parsers see it, and it replaces what comes out. A word
    /// `@X` at its front asks for profile `X`; a parser has to take it.
    pub cmdline: Option<Vec<u8>>,
    /// Text to add behind the command line that comes out (`--append`).
    /// Parsers do not see it.
    pub append: Option<Vec<u8>>,
}

/// How to unfold.
#[derive(Clone, Debug)]
pub struct Options {
    /// The parser for the outermost image (`--parser`), before all others.
    pub parser: Option<ParserFile>,
    /// Whether images' own parsers (section `.bpf`) may run, at any layer.
    pub embedded_parsers: bool,
    /// The profile to ask the outermost image's parser for (`--profile`): a
    /// number, or an ID that the parser knows. It reaches the parser as `@X `
    /// in front of the command line.
    pub profile: Option<String>,
    /// Whether a command line that the image has stands: the caller's is an
    /// error then, also text to append, and so is one where a parser from
    /// elsewhere took the image apart, which may have lost the image's. Parsers
    /// see the profile alone. This is systemd-stub's rule under Secure Boot.
    pub image_decides_cmdline: bool,
    /// Whether the caller's line gives way where it would be an error for that; text to
    /// append does not. This is what systemd-stub does with the line of a boot entry.
    pub cmdline_gives_way: bool,
    /// Whether the caller's line is the kernel's, byte for byte: `@X` in front of it asks for
    /// no profile, and parsers do not see it.
    pub cmdline_is_literal: bool,
    /// Whether the kernel is for a crash (`--panic`); parsers see it.
    pub kdump: bool,
    /// Parsers with a match program for images without a parser of their own,
    /// in the order to ask them: `parsers.d` first, then [`built_in_parsers`].
    ///
    /// [`built_in_parsers`]: crate::built_in_parsers
    pub parsers: Vec<ParserFile>,
    /// The name of the outermost image in layer paths, such as its file name.
    pub image_name: String,
}

impl Default for Options {
    /// No parser but the images' own, no profile, not for a crash.
    fn default() -> Self {
        Self {
            parser: None,
            embedded_parsers: true,
            profile: None,
            image_decides_cmdline: false,
            cmdline_gives_way: false,
            cmdline_is_literal: false,
            kdump: false,
            parsers: Vec::new(),
            image_name: "image".to_owned(),
        }
    }
}

/// A parser object and where it came from.
#[derive(Clone, Debug)]
pub struct ParserFile {
    /// Its file name, such as `zboot.bpf.o`; messages and reports use it.
    pub name: String,
    /// The object file's bytes.
    pub object: Bytes,
    /// Who brought it.
    pub origin: ParserOrigin,
}

/// Who brought a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParserOrigin {
    /// The caller named it for this image (`--parser`).
    Given,
    /// The image carries it in its section `.bpf`.
    Embedded,
    /// It lies in a `parsers.d` folder.
    #[serde(rename = "parsers.d")]
    ParsersD,
    /// It came with ukexec.
    BuiltIn,
}

impl fmt::Display for ParserOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given",
            Self::Embedded => "embedded",
            Self::ParsersD => "parsers.d",
            Self::BuiltIn => "built-in",
        })
    }
}

/// The limits of one unfolding. Stages draw on them; the rest stays in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Instructions, private memory and log lines of all stages together.
    ///
    /// The memory is that of programs (stacks, maps, records, results) and of
    /// what they hand over: copies, and the lists of what is referred to. Beside
    /// it, a decompressor may take as much as is left of it while it runs, and
    /// the [`Store`](crate::Store) takes what it likes. Parser objects, the
    /// images' headers and the report are not in it either; their size follows
    /// that of the images.
    pub meter: Meter,
    /// Stages that may run.
    pub stages: u32,
    /// Bytes that decompression may write, all stages together. A stage that
    /// hands over more than all that it was given and decompressed, because it
    /// refers to the same bytes again or to none, draws on it as well. So the
    /// result is never longer than the input and this.
    pub output: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            meter: Meter::default(),
            stages: 8,
            output: 1 << 30,
        }
    }
}

/// The result of an unfolding: no parser fits any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unfolded {
    /// The innermost image: what no parser takes apart.
    pub kernel: Rope,
    /// The initrd to hand to the kernel, never empty.
    pub initrd: Option<Rope>,
    /// The command line, without a NUL; `None` where neither the image nor the
    /// caller has one, which is not the same as an empty one.
    pub cmdline: Option<Vec<u8>>,
    /// Bytes at the end of the command line that are the caller's [`Input::append`], with
    /// the blank in front of it.
    pub appended: usize,
    /// Whether the caller's line gave way to what the image says.
    pub gave_way: bool,
    /// How it went. The same input, options and budget give the same report.
    pub report: Report,
}
