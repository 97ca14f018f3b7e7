//! Sets of addresses, as ranges in order, and the first and last place in one where something
//! fits.

use alloc::vec::Vec;
use core::ops::Range;

/// Ranges in ascending order. None is empty, and no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub(crate) fn as_slice(&self) -> &[Range<u64>] {
        &self.0
    }

    /// Returns how many addresses there are.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(len).fold(0, u64::saturating_add)
    }

    /// Returns the length of the longest range.
    pub(crate) fn longest(&self) -> u64 {
        self.0.iter().map(len).max().unwrap_or(0)
    }

    pub(crate) fn holds(&self, range: &Range<u64>) -> bool {
        let mut ranges = self.0.iter();
        ranges.any(|it| it.start <= range.start && range.end <= it.end)
    }

    /// Returns the addresses that `others` do not have.
    pub(crate) fn without(&self, others: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = others.0.iter().peekable();
        // One of the others may reach into the next range as well.
        let mut start = 0;
        for range in &self.0 {
            start = range.start.max(start);
            while let Some(other) = others.next_if(|it| it.start < range.end) {
                left.extend(not_empty(start..other.start));
                start = start.max(other.end);
            }
            left.extend(not_empty(start..range.end));
        }
        Self(left)
    }

    /// Returns the addresses that lie in `window`, too.
    pub(crate) fn within(&self, window: &Range<u64>) -> Self {
        let cut = |it: &Range<u64>| it.start.max(window.start)..it.end.min(window.end);
        Self(self.0.iter().map(cut).filter_map(not_empty).collect())
    }

    /// Returns the lowest multiple of `align` from which `len` addresses are here.
    pub(crate) fn first_fit(&self, len: u64, align: u64) -> Option<u64> {
        self.0.iter().find_map(|range| {
            let start = range.start.checked_next_multiple_of(align)?;
            (start.checked_add(len)? <= range.end).then_some(start)
        })
    }

    /// Returns the highest multiple of `align` from which `len` addresses are here.
    pub(crate) fn last_fit(&self, len: u64, align: u64) -> Option<u64> {
        self.0.iter().rev().find_map(|range| {
            let last = range.end.checked_sub(len)?;
            let start = last.checked_sub(last.checked_rem(align)?)?;
            (start >= range.start).then_some(start)
        })
    }
}

/// Sorts ranges, and makes one of those that overlap or touch.
impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter_map(not_empty).collect();
        ranges.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Self(apart)
    }
}

/// Returns the length of a range.
pub(crate) fn len(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

fn not_empty(range: Range<u64>) -> Option<Range<u64>> {
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        let range = (0..60_u64, 0..9_u64).prop_map(|(start, len)| start..start + len);
        prop::collection::vec(range, 0..12)
    }

    fn has(ranges: &[Range<u64>], address: u64) -> bool {
        ranges.iter().any(|range| range.contains(&address))
    }

    proptest! {
        #[test]
        fn sets_are_what_their_addresses_are(one in ranges(), other in ranges(), window in ranges()) {
            let window = window.into_iter().next().unwrap_or(10..20);
            let (a, b): (Ranges, Ranges) = (one.iter().cloned().collect(), other.iter().cloned().collect());
            let (less, within) = (a.without(&b), a.within(&window));
            for address in 0..70 {
                let is_in = has(&one, address);
                prop_assert_eq!(has(&a.0, address), is_in);
                prop_assert_eq!(has(&less.0, address), is_in && !has(&other, address));
                prop_assert_eq!(has(&within.0, address), is_in && window.contains(&address));
            }
            for set in [&a, &less] {
                prop_assert!(set.0.iter().all(|range| range.start < range.end));
                prop_assert!(set.0.windows(2).all(|two| two[0].end < two[1].start));
            }
        }

        #[test]
        fn the_first_fit_is_the_lowest_and_the_last_the_highest(one in ranges(), len in 1..8_u64, align in 1..8_u64) {
            let set: Ranges = one.into_iter().collect();
            let fits = |at: &u64| at.is_multiple_of(align) && set.holds(&(*at..*at + len));
            prop_assert_eq!(set.first_fit(len, align), (0..70).find(fits));
            prop_assert_eq!(set.last_fit(len, align), (0..70).rev().find(fits));
        }
    }

    #[test]
    fn the_end_of_all_addresses_is_no_room() {
        let all = 1..u64::MAX;
        let set = Ranges::from_iter([all]);
        assert_eq!(set.first_fit(u64::MAX, 4096), None);
        assert_eq!(set.first_fit(1, 1 << 63), Some(1 << 63));
        assert_eq!(set.first_fit(1, 0), None);
        assert_eq!(set.last_fit(u64::MAX, 4096), None);
        assert_eq!(set.last_fit(1, 0), None);
    }
}
