//! Names that images and parsers have for the loader.

/// The PE section that holds an image's own parser.
pub const PARSER_SECTION: &str = ".bpf";

/// No parser has more bytes, even one that brings large tables.
pub const PARSER_MAX: u64 = 64 << 20;

/// The hook whose programs hand over in v5.
pub(crate) const HANDLE: &str = "bpf_handle_pefile";
/// The hook whose programs run after those of [`HANDLE`].
pub(crate) const POST_HANDLE: &str = "bpf_post_handle_pefile";
/// The hook whose programs hand over in v6 and v7.
pub(crate) const ANCHOR: &str = "kexec_image_parser_anchor";
/// The hook whose programs say whether the parser can take an image apart. It
/// is ukexec's own, not the series'.
pub(crate) const MATCH: &str = "ukexec_match_image";
