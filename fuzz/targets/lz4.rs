//! The lz4 decoder.
#![no_main]

#[path = "decompress.rs"]
mod decompress;

use libfuzzer_sys::fuzz_target;
use ukexec_decompress::Compression;

fuzz_target!(|data: &[u8]| decompress::check(Compression::Lz4, data));
