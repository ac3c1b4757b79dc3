//! Asking for lost packets by ranges, and answering.

use crate::limits::RANGES_MAX;
use crate::wire::Range;

/// Rotations in which only the packet's own site answers. For as many more only the others do: the asker may not hear the
/// origin. Then anybody does.
pub const ORIGIN_VISITS: u16 = 2;

/// Adds what `is_missing` says of `first..=last` to `lacking`, without naming a packet twice; bounded. `age` is zero, or more
/// where answers of the packets' own site were in vain.
pub fn ask(lacking: &mut Vec<Range>, first: u64, last: u64, age: u16, is_missing: impl Fn(u64) -> bool) {
    let mut open: Option<Range> = None;
    for seq in first..=last {
        let wanted = is_missing(seq) && !lacking.iter().any(|range| (range.first..=range.last).contains(&seq));
        match (&mut open, wanted) {
            (Some(range), true) => range.last = seq,
            (None, true) if lacking.len() >= RANGES_MAX => return,
            (None, true) => open = Some(Range { first: seq, last: seq, age }),
            (Some(_), false) => lacking.extend(open.take()),
            (None, false) => {}
        }
    }
    lacking.extend(open.filter(|_| lacking.len() < RANGES_MAX));
}

/// Takes out of `lacking` what `answers` says is answered now, at most `packets_max` of it; the rest grows older.
///
/// `answers` is asked with a packet's number and its range's age.
pub fn answer(lacking: &mut Vec<Range>, packets_max: usize, answers: impl Fn(u64, u16) -> bool) -> Vec<u64> {
    let mut answered = Vec::new();
    let mut rest: Vec<Range> = Vec::new();
    for range in lacking.drain(..) {
        let age = range.age.saturating_add(1);
        let mut open: Option<Range> = None;
        // A hacked site may name any range; what nobody holds costs no more than the packets that can be held.
        for seq in range.first..=range.last.min(range.first.saturating_add(crate::limits::GAP_PACKETS_MAX)) {
            if answered.len() < packets_max && answers(seq, range.age) {
                answered.push(seq);
                rest.extend(open.take());
            } else {
                open.get_or_insert(Range { first: seq, last: seq, age }).last = seq;
            }
        }
        rest.extend(open);
    }
    rest.truncate(RANGES_MAX);
    *lacking = rest;
    answered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn named(lacking: &[Range]) -> Vec<u64> {
        lacking.iter().flat_map(|range| range.first..=range.last).collect()
    }

    #[test]
    fn fifteen_hundred_holes_are_asked_for_in_a_bounded_token() {
        let mut lacking = Vec::new();
        ask(&mut lacking, 1, 3048, 0, |seq| seq % 2 == 0);
        assert_eq!(lacking.len(), RANGES_MAX);
        assert_eq!(named(&lacking).first(), Some(&2), "the oldest come first");
    }

    proptest! {
        /// Each lacking packet is named once; what is answered is named no more, and the rest is.
        #[test]
        fn what_is_answered_is_no_longer_asked_for(
            missing in prop::collection::btree_set(1u64..120, 0..40),
            held in prop::collection::btree_set(1u64..120, 0..60),
            earlier in 1u64..100,
        ) {
            let mut lacking = vec![Range { first: earlier, last: earlier + 3, age: 9 }];
            ask(&mut lacking, 1, 120, 0, |seq| missing.contains(&seq));
            let names = named(&lacking);
            let distinct: BTreeSet<u64> = names.iter().copied().collect();
            prop_assert_eq!(names.len(), distinct.len());
            prop_assert!(missing.is_subset(&distinct));
            let answered: BTreeSet<u64> = answer(&mut lacking, 1000, |seq, _| held.contains(&seq)).into_iter().collect();
            let expected: BTreeSet<u64> = distinct.intersection(&held).copied().collect();
            prop_assert_eq!(&answered, &expected);
            let left: BTreeSet<u64> = named(&lacking).into_iter().collect();
            prop_assert_eq!(left, distinct.difference(&answered).copied().collect::<BTreeSet<u64>>());
        }
    }
}
