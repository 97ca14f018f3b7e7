//! Patterns of IDs, as systemd-boot compares them: `*`, `?`, sets and `\`.
//!
//! Spec: loader.conf(5); systemd-boot knows no negated sets and no classes, unlike
//! fnmatch(3), which bootctl calls.

/// A longer pattern matches nothing: no ID is that long.
const PATTERN_MAX: usize = 1024;

/// Returns whether `id` is one of those that `pattern` means, without case.
pub(crate) fn matches(pattern: &str, id: &str) -> bool {
    if pattern.len() > PATTERN_MAX {
        return false;
    }
    let [pattern, id] = [pattern, id].map(|text| {
        let lower = text.chars().map(|c| c.to_ascii_lowercase());
        lower.collect::<Vec<_>>()
    });
    let (mut pattern, mut id) = (&*pattern, &*id);
    // Behind the last `*`: the pattern, and the text that is to match it next.
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        let behind = match (pattern, id) {
            (['*', rest @ ..], _) => {
                star = Some((rest, id));
                pattern = rest;
                continue;
            }
            ([], []) => return true,
            (_, [c, rest @ ..]) => element(pattern, *c).map(|behind| (behind, rest)),
            (_, []) => return false,
        };
        (pattern, id) = match (behind, star) {
            (Some(behind), _) => behind,
            (None, Some((again, [_, rest @ ..]))) => {
                star = Some((again, rest));
                (again, rest)
            }
            (None, _) => return false,
        };
    }
}

/// Returns the rest of `pattern` behind its first element, if that matches `c`.
fn element(pattern: &[char], c: char) -> Option<&[char]> {
    match pattern {
        ['?', rest @ ..] => Some(rest),
        ['\\', escaped, rest @ ..] => (*escaped == c).then_some(rest),
        ['[', rest @ ..] => set(rest, c),
        [same, rest @ ..] => (*same == c && c != '\\').then_some(rest),
        [] => None,
    }
}

/// Returns the rest of `pattern` behind the set that it begins with, if `c` is in it.
fn set(pattern: &[char], c: char) -> Option<&[char]> {
    let mut left = pattern;
    let mut found = false;
    // The character that a range may begin with.
    let mut low = None;
    let mut is_first = true;
    loop {
        let (member, rest) = match (left, low) {
            ([']', rest @ ..], _) if !is_first => return found.then_some(rest),
            (['-', end, ..], Some(low)) if *end != ']' => {
                let (high, rest) = literal(left.get(1..)?)?;
                (low..=high, rest)
            }
            _ => {
                let (member, rest) = literal(left)?;
                (member..=member, rest)
            }
        };
        found |= member.contains(&c);
        // The end of a range begins none.
        let is_range = low.is_some() && matches!(left, ['-', end, ..] if *end != ']');
        low = (!is_range).then_some(*member.end());
        (left, is_first) = (rest, false);
    }
}

/// Returns the character in front, which a `\` may escape, and the rest.
fn literal(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern {
        ['\\', escaped, rest @ ..] => Some((*escaped, rest)),
        ['\\'] | [] => None,
        [c, rest @ ..] => Some((*c, rest)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_means_ids() {
        for (pattern, ids, others) in [
            ("a.conf", &["A.conf"][..], &["a.confx", "xa.conf"][..]),
            ("A*", &["arch-1.conf", "a"], &["b"]),
            ("*", &["", "a"], &[]),
            ("a*b*c", &["axbxxbc", "abbc"], &["acb", "ab"]),
            ("a**", &["a"], &["b"]),
            ("*.efi@1", &["x.efi@1"], &["x.efi@12"]),
            ("a?c", &["abc"], &["ac", "abbc"]),
            ("a[b-d]e", &["ace"], &["aae", "ae"]),
            ("[]x]", &["]", "x"], &["a", "[]x]"]),
            ("[-x]", &["-", "x"], &["a"]),
            ("[x-]", &["-", "x"], &["y"]),
            ("[a-c-f]", &["b", "-", "f"], &["e"]),
            ("[a\\]b]", &["]", "b"], &["\\"]),
            ("[a-\\c]", &["b"], &["\\", "-"]),
            ("\\*", &["*"], &["a"]),
            ("a\\", &[], &["a\\", "a"]),
            ("[a", &[], &["a", "[a"]),
            // fnmatch(3) negates here.
            ("[!a]", &["!", "a"], &["b"]),
            ("", &[""], &["a"]),
        ] {
            for (ids, expected) in [(ids, true), (others, false)] {
                for id in ids {
                    assert_eq!(matches(pattern, id), expected, "{pattern} {id}");
                }
            }
        }
        assert!(!matches(&"*".repeat(PATTERN_MAX + 1), "a"));
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_no_pattern_is_too_much(
            pattern in "[ab*?\\[\\]\\\\-]{0,12}",
            id in "[ab]{0,12}",
        ) {
            matches(&pattern, &id);
            prop_assert!(matches(&id, &id));
            let front = id.clone() + "*";
            prop_assert!(matches(&front, &(id + "x")));
        }
    }
}
