//! Numbers and slices of untrusted input, taken without a panic. Each answer
//! is exact, or says where it is not what was asked for.

pub(crate) fn wide(len: usize) -> u64 {
    // No machine that Rust compiles for has a wider `usize`.
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Returns a number that a file says as an index or a length.
pub(crate) fn size(number: impl Into<u64>) -> usize {
    // Where `usize` is too narrow nothing is as long, and a look-up fails.
    usize::try_from(number.into()).unwrap_or(usize::MAX)
}

/// Returns an index as the 32 bits that instructions and types have for it.
pub(crate) fn small(index: usize) -> u32 {
    // All that is numbered here is capped far below: slots of code, maps,
    // kfuncs, types, and bytes of an object.
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Returns `count` and `thing`, which is in the plural behind every number but 1.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Returns what is there from `at` on: nothing where that passes the end.
pub(crate) fn rest<T>(all: &[T], at: usize) -> &[T] {
    all.get(at..).unwrap_or_default()
}

/// As [`rest`], for writing.
pub(crate) fn rest_mut<T>(all: &mut [T], at: usize) -> &mut [T] {
    all.get_mut(at..).unwrap_or_default()
}

/// Returns the first `most`: all where there are fewer.
pub(crate) fn at_most<T>(all: &[T], most: usize) -> &[T] {
    all.get(..most).unwrap_or(all)
}

/// Returns a text without the NUL that ends it: all bytes where there is none.
pub(crate) fn before_nul(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0);
    end.map_or(text, |end| at_most(text, end))
}
