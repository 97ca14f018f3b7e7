//! The order of versions.
//!
//! Spec: UAPI group, "Version Format Specification".

use std::cmp::Ordering;
use std::mem;

/// Compares two versions; the greater one is newer. Any text is a version: characters
/// that mean nothing in one only part its segments.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = from_version_char(a);
        b = from_version_char(b);
        // A version with a `~` at this place is older even than one that ends here.
        let order = separators(&mut a, &mut b, b'~');
        if order.is_ne() {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        for separator in *b"-^." {
            let order = separators(&mut a, &mut b, separator);
            if order.is_ne() {
                return order;
            }
        }
        let is_number = [a, b]
            .iter()
            .any(|it| it.first().is_some_and(u8::is_ascii_digit));
        let order = if is_number {
            compare_numbers(
                segment(&mut a, u8::is_ascii_digit),
                segment(&mut b, u8::is_ascii_digit),
            )
        } else {
            // A longer one is newer, as for slices.
            let is_letter = u8::is_ascii_alphabetic;
            segment(&mut a, is_letter).cmp(segment(&mut b, is_letter))
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes `separator` off both; one that alone has it is older.
fn separators(a: &mut &[u8], b: &mut &[u8], separator: u8) -> Ordering {
    let take = |bytes: &mut &[u8]| match *bytes {
        [first, rest @ ..] if *first == separator => {
            *bytes = rest;
            true
        }
        _ => false,
    };
    take(b).cmp(&take(a))
}

/// Takes the segment of such bytes in front off `bytes`.
fn segment<'a>(bytes: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let len = bytes.iter().take_while(|byte| belongs(byte)).count();
    let (segment, rest) = mem::take(bytes).split_at_checked(len).unwrap_or_default();
    *bytes = rest;
    segment
}

/// Compares two numbers of any length. None at all is older than any.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let [a_digits, b_digits] = [a, b].map(|it| {
        let zeros = it.iter().take_while(|byte| **byte == b'0').count();
        it.get(zeros..).unwrap_or_default()
    });
    (!a.is_empty())
        .cmp(&!b.is_empty())
        .then(a_digits.len().cmp(&b_digits.len()))
        .then(a_digits.cmp(b_digits))
}

/// Returns `bytes` from the first one that means something in a version.
fn from_version_char(bytes: &[u8]) -> &[u8] {
    let means = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    let at = bytes.iter().position(means).unwrap_or(bytes.len());
    bytes.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The specification's list, each older than the next.
    #[test]
    fn the_list_of_the_specification_is_sorted() {
        let list = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (at, a) in list.iter().enumerate() {
            for (to, b) in list.iter().enumerate() {
                assert_eq!(compare_versions(a, b), at.cmp(&to), "{a} {b}");
            }
        }
    }

    #[test]
    fn versions_that_only_look_different_are_equal() {
        for (a, b, expected) in [
            ("", "", Ordering::Equal),
            ("", "~", Ordering::Greater),
            ("", "1", Ordering::Less),
            ("0123", "123", Ordering::Equal),
            ("1_2", "1+2", Ordering::Equal),
            ("1.2", "1_2", Ordering::Less),
            ("6.1.0-10-amd64", "6.1.0-9-amd64", Ordering::Greater),
            (
                "99999999999999999999",
                "100000000000000000000",
                Ordering::Less,
            ),
            ("abc", "ab", Ordering::Greater),
            ("ab", "a1", Ordering::Greater),
            ("A", "a", Ordering::Less),
            ("1.", "1", Ordering::Greater),
        ] {
            assert_eq!(compare_versions(a, b), expected, "{a} {b}");
            assert_eq!(compare_versions(b, a), expected.reverse(), "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn versions_have_an_order(texts in proptest::collection::vec("[0-1a-b~^.ä_-]{0,6}", 3)) {
            let [a, b, c] = &*texts else { unreachable!() };
            prop_assert_eq!(compare_versions(a, b), compare_versions(b, a).reverse());
            if compare_versions(a, b).is_le() && compare_versions(b, c).is_le() {
                prop_assert!(compare_versions(a, c).is_le(), "{a} {b} {c}");
            }
        }
    }
}
