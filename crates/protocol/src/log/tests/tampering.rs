//! What is altered is refused.

use proptest::prelude::*;

use super::*;
use crate::testing::{group_of, quick_policy};

fn check(bytes: &[u8], group: &GroupInfo) -> Result<(), Why> {
    let log = Log::from_bytes(bytes).map_err(|refused| refused.why)?;
    verify(&log, group).map(drop).map_err(|refused| refused.why)
}

#[test]
fn every_altered_byte_is_refused() {
    let ana = story();
    assert_eq!(check(&ana.bytes, &ana.group), Ok(()));
    for place in 0..ana.bytes.len() {
        for bit in [1, 0x80] {
            let mut altered = ana.bytes.clone();
            altered[place] ^= bit;
            assert!(check(&altered, &ana.group).is_err(), "byte {place}");
        }
    }
}

#[test]
fn what_is_cut_off_is_refused_or_not_answered_for() {
    let ana = story();
    let whole = Log::from_bytes(&ana.bytes).unwrap();
    let truth = verify(&whole, &ana.group).unwrap();
    for length in 0..ana.bytes.len() {
        let Ok(log) = Log::from_bytes(&ana.bytes[..length]) else { continue };
        let Ok(audited) = verify(&log, &ana.group) else { continue };
        assert_ne!(audited.head, truth.head, "whoever compares heads notices");
        for ms in (0..120_000).step_by(100) {
            if let Some(answer) = at(&audited, ms) {
                let right = at(&truth, ms).unwrap();
                // At the bound of what is left, the change that follows is not known.
                let known = |ids: &[crate::ids::MemberId]| {
                    ids.iter().all(|id| right.readers.contains(id) || right.perhaps.contains(id))
                };
                assert!(known(&answer.readers) && (answer == right || ms == (audited.covers().1 - START_MS)), "{ms}");
            }
        }
    }
}

#[test]
fn what_is_left_out_moved_doubled_or_joined_on_is_refused() {
    let ana = story();
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let entries = log.segments[0].entries.len();
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut altered = log.clone();
        change(&mut altered.segments[0].entries);
        check(&altered.to_bytes(), &ana.group)
    };
    for place in 0..entries {
        if place + 1 < entries {
            assert!(with(&|e| drop(e.remove(place))).is_err(), "{place} left out");
        }
        assert!(with(&|e| e.insert(place, e[place].clone())).is_err(), "{place} doubled");
        for other in place + 1..entries {
            assert!(with(&|e| e.swap(place, other)).is_err(), "{place} and {other} changed places");
        }
    }
    // Another member's log, or another stay without the one before it.
    let mut bo = Scribe::new("bo");
    let words = bo.words(&[(1, 0), (2, 0)]);
    bo.installs(0, vec![came("bo")], words);
    let theirs = Log::from_bytes(&bo.bytes).unwrap();
    let spliced = Log { segments: [log.segments.clone(), theirs.segments.clone()].concat() };
    assert_eq!(check(&spliced.to_bytes(), &ana.group), Err(Why::Chain));
    let mut mixed = log.clone();
    mixed.segments[0].entries.extend(theirs.segments[0].entries.clone());
    assert!(check(&mixed.to_bytes(), &ana.group).is_err());
    let twice = Log { segments: [log.segments.clone(), log.segments.clone()].concat() };
    assert_eq!(check(&twice.to_bytes(), &ana.group), Err(Why::Chain));
    // The group file of another group.
    let (other, _) = group_of(4, 1, 3, quick_policy());
    assert_eq!(check(&ana.bytes, &other), Err(Why::OtherGroup));
    let mut moved = log.clone();
    moved.segments[0].opening.group = other.id();
    assert!(check(&moved.to_bytes(), &other).is_err());
}

#[test]
fn a_member_cannot_certify_a_view_itself() {
    let forge = |words: &dyn Fn(&Scribe) -> Vec<Word>| {
        let mut ana = Scribe::new("ana");
        ana.members.insert(identity("ghost", 1).entry());
        let words = words(&ana);
        ana.installs(0, vec![], words);
        check(&ana.bytes, &ana.group)
    };
    assert_eq!(forge(&|ana| ana.words(&[(4, 0)])), Err(Why::Certificate), "one word is not f+1");
    assert_eq!(forge(&|ana| ana.words(&[(4, 0), (4, 1)])), Err(Why::Certificate), "twice the same is not two");
    let renamed = |ana: &Scribe| {
        let mut words = ana.words(&[(4, 0), (4, 0)]);
        words[1].leader = crate::testing::leader(1);
        words
    };
    assert_eq!(forge(&renamed), Err(Why::Certificate), "in another's name");
    assert_eq!(forge(&|ana| ana.words(&[(3, 0), (4, 0)])), Ok(()), "f+1 do");
}

#[test]
fn a_member_cannot_leave_somebody_out() {
    let mut ana = Scribe::new("ana");
    ana.members.insert(identity("bo", 1).entry());
    let words = ana.words(&[(1, 0), (2, 0)]);
    let view = ana.view();
    ana.members.remove(&user("bo"));
    let installed = Installed { id: view, refreshes: 0, members: ana.members.clone() };
    ana.keep(0, |keeper, cx, group, me, _| [keeper.on_installed(cx, group, me, &installed, (vec![], words))]);
    assert_eq!(check(&ana.bytes, &ana.group), Err(Why::Digest));
}

proptest! {
    #[test]
    fn noise_is_refused_and_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..2_000) {
        let ana = story();
        prop_assert!(check(&noise, &ana.group).is_err());
        let mut bytes = ana.bytes[..cut.min(ana.bytes.len())].to_vec();
        let longer = !noise.is_empty();
        bytes.extend(&noise);
        let _ = resume(&bytes);
        let _ = Receipt::from_bytes(&bytes);
        prop_assert!(!longer || check(&bytes, &ana.group).is_err());
    }
}
