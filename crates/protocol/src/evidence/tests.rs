//! What convicts a leader and what does not.

use super::*;
use crate::ids::Epoch;
use crate::log::tests::{Scribe, came, went};
use crate::log::{Log, verify};
use crate::testing::{entry, leader};

/// Two members' logs of views with these members, signed by these leaders, and what is found in them.
fn found(one: (&[&str], &[u8]), other: (&[&str], &[u8])) -> Vec<(Vec<u8>, bool)> {
    let logs: Vec<(Scribe, Log)> = [("ana", one), ("bo", other)]
        .into_iter()
        .map(|(name, (with, signers))| {
            let mut scribe = Scribe::new(name);
            ["ana", "bo"].iter().chain(with).for_each(|name| scribe.members.insert(entry(name, 1)));
            scribe.epoch = scribe.members.len() as u64;
            let words: Vec<_> = signers.iter().map(|by| (*by, 0)).collect();
            let words = scribe.words(&words);
            scribe.installs(0, vec![], words);
            let log = Log::from_bytes(&scribe.bytes).unwrap();
            (scribe, log)
        })
        .collect();
    let group = &logs[0].0.group;
    let audited: Vec<_> = logs.iter().map(|(_, log)| verify(log, group).unwrap()).collect();
    let convict = |evidence: &Evidence| {
        let read = Evidence::from_bytes(&evidence.to_bytes()).unwrap();
        let conviction = read.verify(group).unwrap();
        (conviction.guilty.iter().map(|l| l.number()).collect(), conviction.beyond_f)
    };
    find(&audited, group).iter().map(convict).collect()
}

#[test]
fn honest_leaders_that_accept_two_joins_in_different_order_are_not_convicted() {
    assert_eq!(found((&["cy"], &[1, 2]), (&["di"], &[3, 4])), vec![], "one epoch, two certified digests, nobody lies");
}

#[test]
fn who_signs_both_is_convicted_and_more_than_f_are_told_apart() {
    assert_eq!(found((&["cy"], &[1, 4]), (&["di"], &[2, 4])), vec![(vec![4], false)]);
    assert_eq!(found((&["cy"], &[3, 4]), (&["di"], &[3, 4])), vec![(vec![3, 4], true)]);
    assert_eq!(found((&["cy"], &[1, 4]), (&["cy", "di"], &[2, 4])), vec![], "one view came after the other");
}

#[test]
fn a_log_of_one_member_can_convict() {
    let mut ana = Scribe::new("ana");
    let words = ana.words(&[(1, 0), (4, 0)]);
    ana.installs(0, vec![], words);
    ana.changes(1, vec![came("bo")]);
    // Leader 2 and 1 sign that Bo is in; then leaders 1 and 2 sign a later view in which Bo has not come yet, and
    // too few operations happened for it to have come and gone.
    ana.members.apply(&went("bo"));
    ana.members.apply(&came("cy"));
    ana.epoch += 1;
    let words = ana.words(&[(1, 2), (2, 2)]);
    ana.installs(2, vec![went("bo"), came("cy")], words);
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let audited = verify(&log, &ana.group).unwrap();
    let found = find(&[audited], &ana.group);
    assert!(found.iter().any(|evidence| evidence.verify(&ana.group).unwrap().beyond_f), "{found:?}");
}

fn state(epoch: u64, refreshes: u64, members: &[(&str, u64)]) -> State {
    let members: Vec<_> = members.iter().map(|(name, stay)| entry(name, *stay)).collect();
    let view = ViewId { epoch: Epoch(epoch), digest: crate::ids::ViewDigest([0; 32]) };
    State::new(view, refreshes, &members)
}

#[test]
fn states_that_one_leader_can_have_been_in() {
    let ana = state(1, 0, &[("ana", 1)]);
    assert!(ana.is_possible());
    for later in [
        state(2, 0, &[("ana", 1), ("bo", 1)]),
        state(2, 0, &[]),
        state(2, 1, &[("ana", 1)]),
        state(3, 0, &[("ana", 2)]),
        state(3, 0, &[("ana", 1)]), // somebody came and went
        state(127, 0, &[("ana", 64)]),
    ] {
        assert!(ana.can_lead_to(&later) && later.is_possible(), "{later:?}");
        assert!(!later.can_lead_to(&ana) && later.fits(&ana));
    }
    for other in [
        state(1, 0, &[("bo", 1)]),  // of the same epoch
        state(2, 0, &[("bo", 1)]),  // Ana gone and Bo come is two
        state(2, 0, &[("ana", 2)]), // a whole stay in one step
        state(2, 0, &[("ana", 1)]), // an odd number of steps by nobody
        state(1, 1, &[]),           // a refresh that Ana's view does not know
    ] {
        assert!(!ana.fits(&other), "{other:?}");
    }
    for impossible in
        [state(0, 0, &[("ana", 1)]), state(2, 0, &[("ana", 1)]), state(1, 2, &[]), state(3, 0, &[("ana", 3)])]
    {
        assert!(!impossible.is_possible(), "{impossible:?}");
    }
}

/// The number of a stay in session 2.
fn second(count: u64) -> u64 {
    SessionNumber::new(2).unwrap().base().0 + count
}

#[test]
fn a_new_session_is_no_evidence_and_going_back_to_the_old_one_is() {
    let rank = |stay: u64| 2 * stay - 1;
    let ana = state(1, 0, &[("ana", 1)]);
    // Ana's stay ended, the session ended and the next began: four steps, and then Bo's rank.
    let bo_alone = state(2 + 2 + rank(second(1)), 0, &[("bo", second(1))]);
    let ana_again = state(2 + rank(second(1)), 0, &[("ana", second(1))]);
    for later in [&bo_alone, &ana_again] {
        assert!(later.is_possible() && ana.can_lead_to(later) && !later.can_lead_to(&ana), "{later:?}");
    }
    for over in [state(3, 0, &[]), state(4, 0, &[]), state(5, 0, &[])] {
        assert!(over.is_possible() && ana.can_lead_to(&over) && over.can_lead_to(&bo_alone), "{over:?}");
    }
    let back = state(bo_alone.epoch + 2, 0, &[("ana", 1)]);
    assert!(back.is_possible() && !back.fits(&bo_alone), "a view of the old session after one of the new");
    let joined = state(bo_alone.epoch + 1, 0, &[("ana", 1), ("bo", second(1))]);
    assert!(!joined.is_possible(), "members of two sessions");
    assert!(
        !state(1 + rank(second(1)), 0, &[("ana", second(1))]).is_possible(),
        "the session's own two steps are missing"
    );
}

#[test]
fn who_signs_a_view_of_the_old_session_after_one_of_the_new_is_convicted() {
    let mut old = Scribe::new("ana");
    let words = old.words(&[(1, 0), (2, 0)]);
    old.installs(0, vec![], words);
    // Leaders 1 and 4 sign on in the old session, and 2 and 4 in the new.
    let first = old.epoch + 4;
    old.members.apply(&came("bo"));
    old.epoch = first + 2 * second(1) + 3;
    let words = old.words(&[(1, 0), (4, 0)]);
    old.installs(0, vec![came("bo")], words);
    let mut new = Scribe::new("ana");
    (new.stay, new.epoch) = (second(1), 2 + 2 * second(1) - 1);
    new.members = crate::view::MemberSet::default();
    new.members.insert(entry("ana", second(1)));
    let words = new.words(&[(2, 0), (4, 0)]);
    new.installs(0, vec![], words);
    let logs = [&old, &new].map(|scribe| Log::from_bytes(&scribe.bytes).unwrap());
    let audited: Vec<_> = logs.iter().map(|log| verify(log, &old.group).unwrap()).collect();
    let found = find(&audited, &old.group);
    let guilty: Vec<_> = found.iter().map(|evidence| evidence.verify(&old.group).unwrap().guilty).collect();
    assert_eq!(guilty, [[leader(4)].into()], "leader 2 signed one after the other, leader 1 but the old");
}

#[test]
fn competing_keys_of_one_stay_are_no_evidence_in_either_epoch() {
    let mut other = entry("ana", 1);
    other.sealing = entry("bo", 1).sealing;
    let view = ViewId { epoch: Epoch(1), digest: crate::ids::ViewDigest([0; 32]) };
    let (one, two) = (State::new(view, 0, &[entry("ana", 1)]), State::new(view, 0, &[other.clone()]));
    assert!(one.fits(&two) && one.can_lead_to(&two) != two.can_lead_to(&one));
    // But not one join given up for a lesser while another is taken up for a greater.
    let mut bo = entry("bo", 1);
    bo.sealing = entry("cy", 1).sealing;
    let joins = |ana: &MemberEntry, bo: &MemberEntry| State::new(ViewId { epoch: Epoch(2), ..view }, 0, [ana, bo]);
    let (lesser, greater) = if one.can_lead_to(&two) { (entry("ana", 1), other) } else { (other, entry("ana", 1)) };
    let bos = joins(&lesser, &entry("bo", 1)).can_lead_to(&joins(&lesser, &bo));
    let (bo_lesser, bo_greater) = if bos { (entry("bo", 1), bo) } else { (bo, entry("bo", 1)) };
    assert!(!joins(&lesser, &bo_greater).fits(&joins(&greater, &bo_lesser)));
}

#[test]
fn altered_evidence_convicts_nobody() {
    let view = |scribe: &mut Scribe, name: &str, signers: &[(u8, u64)]| {
        scribe.members = crate::view::MemberSet::default();
        scribe.members.insert(entry(name, 1));
        let words = scribe.words(signers);
        let members = scribe.members.iter().cloned().collect();
        Testimony { view: scribe.view(), refreshes: 0, members, words }
    };
    let mut scribe = Scribe::new("ana");
    let (one, other) = (view(&mut scribe, "ana", &[(1, 0), (4, 0)]), view(&mut scribe, "bo", &[(4, 0)]));
    let group = &scribe.group;
    let evidence = |one: &Testimony, other: &Testimony| Evidence {
        group: group.id(),
        proof: Proof::Conflict(one.clone(), other.clone()),
    };
    let guilty = evidence(&one, &other).verify(group).unwrap().guilty;
    assert_eq!(guilty.into_iter().collect::<Vec<_>>(), vec![leader(4)], "leader 1 signed one of them only");
    assert_eq!(evidence(&one, &one).verify(group), Err(NoEvidence::Innocent));
    let bytes = evidence(&one, &other).to_bytes();
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1;
        assert!(
            Evidence::from_bytes(&altered).is_err() || Evidence::from_bytes(&altered).unwrap().verify(group).is_err()
        );
    }
    let mut framed = other.clone();
    framed.words[0].leader = leader(1);
    assert_eq!(evidence(&one, &framed).verify(group), Err(NoEvidence::Signature));
}
