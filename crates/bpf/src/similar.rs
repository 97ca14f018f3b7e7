//! Names that somebody may have meant by another.

/// Returns the one of `known` that is most like `name`: less than a third of it
/// is to be changed. Names are short; a long one is like none.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.as_bytes();
    let close = known.into_iter().filter_map(|known| {
        let longer = name.len().max(known.len());
        let changes = (longer <= LONGEST).then(|| distance(name, known.as_bytes()))?;
        (changes.saturating_mul(3) < longer).then_some((changes, known))
    });
    Some(close.min_by_key(|(changes, _)| *changes)?.1)
}

/// Bytes of the longest name that is compared.
const LONGEST: usize = 64;

/// Returns how many bytes have to be added, dropped or replaced to make `two` of
/// `one` (Levenshtein).
fn distance(one: &[u8], two: &[u8]) -> usize {
    let mut row = Vec::from_iter(0..=two.len());
    for (number, byte) in (1_usize..).zip(one) {
        let (mut before, mut corner) = (number, number.saturating_sub(1));
        if let Some(first) = row.first_mut() {
            *first = number;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(two) {
            let replaced = corner.saturating_add(usize::from(byte != other));
            corner = *cell;
            before = replaced.min(before.min(*cell).saturating_add(1));
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted() {
        for (one, two, changes) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(
                distance(one.as_bytes(), two.as_bytes()),
                changes,
                "{one} {two}"
            );
        }
    }

    #[test]
    fn only_what_is_much_alike_was_meant() {
        let known = [
            "bpf_handle_pefile",
            "bpf_post_handle_pefile",
            "ukexec_match_image",
        ];
        let meant = |name: &str| did_you_mean(name, known);
        assert_eq!(meant("bpf_handel_pefile"), Some(known[0]));
        assert_eq!(meant("handle_pefile"), Some(known[0]));
        assert_eq!(meant("bpf_post_handle_pe"), Some(known[1]));
        assert_eq!(meant("ukexec_match"), None);
        assert_eq!(meant("do_exit"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"bpf_handle_pefile".repeat(9)), None);
        assert_eq!(did_you_mean("a", []), None);
    }
}
