//! What a leader publishes: shares computed once, differences along its own views (B7, B11, P3).

use super::*;

/// A leader with its state, kept as records.
struct Side<'a> {
    world: &'a World,
    number: u8,
    records: BTreeMap<UserName, LifeRecord>,
    state: Coordination,
    publisher: Publisher,
}

impl<'a> Side<'a> {
    fn new(world: &'a World, number: u8, stays: &[(&str, u64)]) -> Self {
        let records = stays.iter().map(|(name, stay)| (user(name), Self::joined(&entry(name, *stay)))).collect();
        Side::restored(world, number, records)
    }

    fn restored(world: &'a World, number: u8, records: BTreeMap<UserName, LifeRecord>) -> Self {
        let secrets = &world.secrets[usize::from(number) - 1];
        let state = Coordination::new(&world.group, secrets, records.values().cloned());
        let mut rng = rng(number.into());
        let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut rng };
        let publisher = Publisher::new(&mut cx, &world.group, secrets, &state);
        Side { world, number, records, state, publisher }
    }

    fn joined(entry: &MemberEntry) -> LifeRecord {
        LifeRecord::of(Operation::Join(entry.clone()))
    }

    /// Accepts a change and publishes it.
    fn change(&mut self, change: &Change) {
        let record = match change {
            Change::Added(entry) => Self::joined(entry),
            Change::Removed(user, cause) => {
                let stay = self.state.last_incarnation(user);
                LifeRecord::of(Operation::Remove(MemberId { user: user.clone(), incarnation: stay }, *cause))
            }
        };
        self.records.insert(change.user().clone(), record);
        let secrets = &self.world.secrets[usize::from(self.number) - 1];
        self.state = Coordination::new(&self.world.group, secrets, self.records.values().cloned());
        let mut rng = rng(self.number.into());
        let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut rng };
        self.publisher.publish(&mut cx, &self.world.group, secrets, &self.state, vec![change.clone()]);
    }
}

#[test]
fn two_leaders_alone_with_one_state_publish_one_view_and_shares_of_one_key() {
    let world = World::new(4, 1, 2);
    let sides = [1, 3].map(|number| Side::new(&world, number, &[("ana", 1), ("bo", 1)]));
    assert_eq!(sides[0].publisher.current(), sides[1].publisher.current());
    let mut ana = world.tracker();
    let claims = sides.each_ref().map(|side| side.publisher.claim_from(None, &side.state));
    assert!(ana.hears(1, claims[0].clone()).is_empty());
    assert!(installed(&ana.hears(3, claims[1].clone())).is_some());
}

#[test]
fn members_follow_a_chain_of_differences() {
    let world = World::new(4, 1, 2);
    let mut sides = [1, 2].map(|number| Side::new(&world, number, &[("ana", 1)]));
    let mut ana = world.tracker();
    for side in &sides {
        let _ = ana.hears(side.number, side.publisher.claim_from(None, &side.state));
    }
    let changes = [
        Change::Added(entry("bo", 1)),
        Change::Added(entry("cy", 1)),
        removed("bo"),
        Change::Added(entry("bo", 2)),
        Change::Removed(user("cy"), Cause::Expelled),
    ];
    for change in &changes {
        for side in &mut sides {
            side.change(change);
            let claim = side.publisher.next_claim();
            assert_eq!(claim.changes, vec![change.clone()], "a step costs one change, whatever the size");
            let _ = ana.hears(side.number, claim);
        }
        assert_eq!(ana.view(), Some(sides[0].publisher.current()));
    }
    assert_eq!(ana.names(), ["ana", "bo"]);
}

#[test]
fn who_missed_some_views_gets_the_net_difference() {
    let world = World::new(4, 1, 2);
    let mut side = Side::new(&world, 1, &[("ana", 1)]);
    let start = side.publisher.current();
    for change in [Change::Added(entry("bo", 1)), removed("bo"), Change::Added(entry("cy", 1))] {
        side.change(&change);
    }
    let claim = side.publisher.claim_from(Some(start.digest), &side.state);
    assert_eq!(claim.base, Base::View(start.digest));
    assert_eq!(claim.changes, vec![removed("bo"), Change::Added(entry("cy", 1))]);
    let whole = side.publisher.claim_from(Some(ViewDigest([0; 32])), &side.state);
    assert_eq!((whole.base, whole.changes.len()), (Base::Empty, 2), "of an unknown view, the list");
    let current = side.publisher.claim_from(Some(side.publisher.current().digest), &side.state);
    assert_eq!(current.changes, vec![]);
}

#[test]
fn a_list_of_more_than_32_is_left_out() {
    let world = World::new(4, 1, 2);
    for (size, base) in [(32, Base::Empty), (33, Base::Omitted)] {
        let all = crowd(size);
        let records = all.iter().map(|e| (e.id.user.clone(), Side::joined(e))).collect();
        let side = Side::restored(&world, 1, records);
        assert_eq!(side.publisher.claim_from(None, &side.state).base, base, "{size} members");
    }
}

#[test]
fn a_list_that_is_ahead_of_the_published_view_is_not_sent_with_it() {
    let world = World::new(4, 1, 2);
    let side = Side::new(&world, 1, &[("ana", 1)]);
    let ahead = Side::new(&world, 1, &[("ana", 1), ("bo", 1)]);
    assert!(side.publisher.is_current(&side.state) && !side.publisher.is_current(&ahead.state));
    assert_eq!(side.publisher.claim_from(None, &ahead.state).base, Base::Omitted);
}

#[test]
fn claim_numbers_grow_and_shares_are_computed_once_per_view() {
    let world = World::new(4, 1, 2);
    let mut side = Side::new(&world, 1, &[("ana", 1)]);
    let first = side.publisher.claim_from(None, &side.state);
    assert_eq!(first.share, side.publisher.next_claim().share);
    side.change(&Change::Added(entry("bo", 1)));
    let second = side.publisher.next_claim();
    assert!(second.number > first.number && second.share != first.share);
    let (epoch, past) = side.publisher.past_claim(first.view.digest).unwrap();
    assert_eq!((epoch, past.view, past.share), (first.view.epoch, first.view, first.share));
    assert!(side.publisher.past_claim(ViewDigest([0; 32])).is_none());
}

#[test]
fn history_is_bounded() {
    let world = World::new(4, 1, 2);
    let mut side = Side::new(&world, 1, &[("ana", 1)]);
    let start = side.publisher.current().digest;
    for stay in 1..=128 {
        assert!(side.publisher.past_claim(start).is_some(), "{stay}");
        side.change(&Change::Added(entry("bo", stay)));
    }
    assert!(side.publisher.past_claim(start).is_none());
}

/// A leader that was alone for long learns of everybody at once.
#[test]
fn a_claim_after_very_many_changes_is_no_longer_than_members_hear() {
    let world = World::new(4, 1, 2);
    let mut side = Side::new(&world, 1, &[("ana", 1)]);
    let added: Vec<_> = (0..1_000).map(|i| Change::Added(entry(&format!("k{i:031}"), 1))).collect();
    let secrets = &world.secrets[0];
    let mut rng = rng(1);
    let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut rng };
    side.publisher.publish(&mut cx, &world.group, secrets, &side.state, added);
    let claim = crate::codec::encode(&crate::wire::LeaderNotice::Claim(side.publisher.next_claim()));
    assert!(claim.len() <= crate::member::CLAIM_BYTES_MAX, "{}", claim.len());
}
