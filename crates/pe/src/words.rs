//! Numbers of things in words.

use alloc::format;
use alloc::string::String;

/// Returns `count` and `thing`, a noun that is in the plural behind every number but
/// 1.
#[must_use]
pub fn counted(count: u64, thing: &str) -> String {
    match thing.strip_suffix('y') {
        _ if count == 1 => format!("1 {thing}"),
        Some(thing) => format!("{count} {thing}ies"),
        None => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        let all = [0, 1, 2].map(|count| counted(count, "byte"));
        assert_eq!(all, ["0 bytes", "1 byte", "2 bytes"]);
        let all = [1, 2].map(|count| counted(count, "entry"));
        assert_eq!(all, ["1 entry", "2 entries"]);
    }
}
