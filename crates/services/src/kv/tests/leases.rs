//! Keys that go unless somebody renews their lease.

use super::*;

const SECOND: u64 = 1_000_000;

fn grant(id: LeaseId, ttl_s: u32) -> KvRequest {
    KvRequest::LeaseGrant { id, ttl_s }
}

impl World {
    fn at(&mut self, time_us: u64) -> &mut Self {
        self.time_us = time_us - 10;
        self
    }

    fn leased(&mut self, key: &str, lease: LeaseId) -> Revision {
        self.one(Operation::Put(Put::leased(key.as_bytes(), b"x", lease))).0
    }
}

#[test]
fn keys_go_with_their_lease_at_one_revision_when_the_orders_time_says_so() {
    let mut world = World::default();
    assert_eq!(world.at(SECOND).ask(&grant(7, 10)).1, Outcome::Leased { id: 7, ttl_s: 10 });
    world.leased("b", 7);
    world.leased("a", 7);
    world.put("c", "stays");
    world.leased("a", 7);
    let info = |world: &mut World| world.ask(&KvRequest::LeaseInfo { id: 7, keys: true }).1;
    let Outcome::LeaseInfo(told) = info(world.at(5 * SECOND)) else { panic!() };
    assert_eq!((told.ttl_s, told.remaining_us, told.keys.len(), told.more), (10, 6 * SECOND, 2, false));
    assert!(world.at(11 * SECOND - 1).get("a").is_some(), "until it is over");
    assert_eq!(world.at(11 * SECOND).get("a"), None);
    assert_eq!((world.get("b"), world.kv.revision, world.kv.keys.len()), (None, 6, 1), "both at one revision");
    assert_eq!(info(&mut world), Outcome::Refused(Refusal::NoLease));
    assert_eq!(world.refused(&KvRequest::LeaseRenew { id: 7 }), Refusal::NoLease, "it is too late");
}

#[test]
fn a_lease_that_is_renewed_lasts_as_long_again() {
    let mut world = World::default();
    world.at(SECOND).ask(&grant(7, 10));
    world.leased("a", 7);
    assert_eq!(world.at(10 * SECOND).ask(&KvRequest::LeaseRenew { id: 7 }).1, Outcome::Leased { id: 7, ttl_s: 10 });
    assert!(world.at(20 * SECOND - 1).get("a").is_some());
    assert!(world.at(20 * SECOND).get("a").is_none());
}

/// etcd-io/etcd#12535: to revoke a lease that is not there came to different revisions at different replicas.
#[test]
fn a_lease_that_is_not_there_is_revoked_to_the_same_end_by_all() {
    let mut world = World::default();
    world.ask(&grant(7, 10));
    world.ask(&grant(8, 10));
    world.leased("a", 7);
    assert_eq!(world.ask(&KvRequest::LeaseRevoke { id: 7 }), (3, Outcome::Revoked));
    assert_eq!(world.get("a"), None);
    let mut restored = World { kv: Kv::load(&world.kv.save()).unwrap(), place: world.place, ..World::default() };
    for id in [7, 9, 0, u64::MAX] {
        for world in [&mut world, &mut restored] {
            let gone = world.ask(&KvRequest::LeaseRevoke { id });
            assert_eq!(gone, (3, Outcome::Refused(Refusal::NoLease)), "no revision for what changes nothing");
        }
    }
    assert_eq!(world.ask(&KvRequest::LeaseRevoke { id: 8 }), (3, Outcome::Revoked), "it had no keys");
    restored.ask(&KvRequest::LeaseRevoke { id: 8 });
    assert_eq!(world.kv, restored.kv);
}

#[test]
fn a_key_leaves_its_lease_when_it_is_put_without_it_or_with_another() {
    let mut world = World::default();
    world.ask(&grant(7, 10));
    world.ask(&grant(8, 20));
    for key in ["a", "b", "c", "d"] {
        world.leased(key, 7);
    }
    world.put("a", "free");
    world.leased("b", 8);
    world.one(delete("c"));
    world.put("c", "another");
    world.ask(&KvRequest::LeaseRevoke { id: 7 });
    let (left, _) = world.read(Read::all(Range::all()));
    assert_eq!(left, ["a", "b", "c"]);
    world.ask(&KvRequest::LeaseRevoke { id: 8 });
    assert_eq!(world.read(Read::all(Range::all())).0, ["a", "c"]);
}

#[test]
fn names_lengths_and_numbers_of_leases_have_bounds() {
    let mut world = World::default();
    for (id, ttl_s) in [(1, 0), (1, LEASE_TTL_S.end() + 1), (1 << 63, 10)] {
        assert_eq!(world.refused(&grant(id, ttl_s)), Refusal::Lease);
    }
    world.ask(&grant(7, 10));
    assert_eq!(world.refused(&grant(7, 10)), Refusal::LeaseExists);
    assert_eq!(world.refused(&request(vec![Operation::Put(Put::leased(b"a", b"", 8))])), Refusal::NoLease);
    world.place = 6;
    assert_eq!(world.ask(&grant(0, 10)).1, Outcome::Leased { id: 8, ttl_s: 10 }, "the place is taken");
    assert_eq!(world.ask(&KvRequest::LeaseList).1, Outcome::Leases(vec![7, 8]));
    let granted = |world: &mut World, user: &str| {
        (0..10_000).take_while(|_| matches!(world.quickly(user, &grant(0, 10)), Outcome::Leased { .. })).count()
    };
    assert_eq!(granted(&mut world, "ana"), USER_LEASES_MAX - 2);
    let others: usize = (0..10).map(|user| granted(&mut world, &format!("u{user}"))).sum();
    assert_eq!(others, LEASES_MAX - USER_LEASES_MAX);
    assert_eq!(world.quickly("zoe", &grant(0, 10)), Outcome::Refused(Refusal::Leases));
    world.at(3600 * SECOND);
    assert!(matches!(world.quickly("zoe", &grant(0, 10)), Outcome::Leased { .. }), "they have ended");
    assert_eq!(world.kv.leases.names().len(), 1);
}

#[test]
fn a_lease_has_no_more_keys_than_have_room_in_the_history_at_one_revision() {
    let mut world = World::default();
    world.ask(&grant(7, 10));
    let puts = |from: usize, count: usize| {
        let put = |number: usize| Operation::Put(Put::leased(format!("{number:05}").as_bytes(), b"", 7));
        request((from..from + count).map(put).collect())
    };
    for from in (0..DELETED_MAX).step_by(128) {
        assert!(matches!(world.quickly("ana", &puts(from, 128)), Outcome::Transacted(_)));
    }
    assert!(matches!(world.quickly("ana", &puts(0, 128)), Outcome::Transacted(_)), "they are in it already");
    assert_eq!(world.quickly("ana", &puts(DELETED_MAX, 1)), Outcome::Refused(Refusal::LeaseKeys));
    let before = world.kv.revision;
    world.ask(&KvRequest::LeaseRevoke { id: 7 });
    assert_eq!((world.kv.keys.len(), world.kv.revision), (0, before + 1));
    assert!(!world.kv.history.has_changed(&Range::all(), before + 1).0);
    let all = world.kv.history.changes(&Range::all(), Position { revision: before, changes: u32::MAX }, 5000, false);
    assert_eq!(all.unwrap().events.last().unwrap().position, Position { revision: before + 1, changes: 492 });
}

impl World {
    /// Without a look at the checkpoint.
    fn quickly(&mut self, user: &str, request: &KvRequest) -> Outcome {
        self.place += 1;
        let user = user.parse().unwrap();
        let order =
            Ordered { place: self.place, time_us: self.time_us, user: &user, role: Role::Member, may_wait: true };
        let Reply::Now { reply, .. } = self.kv.apply(&order, &encode(request)).reply else { panic!("it waits") };
        decode::<KvReply>(&reply).unwrap().outcome
    }
}
