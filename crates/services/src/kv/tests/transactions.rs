//! Several operations at once.

use super::*;

fn branches(conditions: Vec<Condition>, then: Vec<Operation>, otherwise: Vec<Operation>) -> KvRequest {
    KvRequest::Transact(Transaction { conditions, then, otherwise })
}

fn condition(key: &str, relation: Relation, target: Target) -> Condition {
    Condition::new(key.as_bytes(), relation, target)
}

impl World {
    /// Which condition does not hold first.
    fn failing(&mut self, conditions: Vec<Condition>) -> Option<u8> {
        match self.ask(&branches(conditions, vec![], vec![])).1 {
            Outcome::Transacted(Transacted { failed, .. }) => failed.map(|failed| failed.condition),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn all_changes_have_one_revision_and_what_was_before_is_told_if_wanted() {
    let mut world = World::default();
    world.put("old", "1");
    let previous = Put { previous: true, ..Put::new(b"old", b"2") };
    let changes = vec![put("a", "2"), delete("nothing"), Operation::Put(previous), put("b", "3")];
    let (revision, results) = world.all(changes);
    let OperationResult::Put { existed: true, previous: Some(old) } = &results[2] else { panic!("{results:?}") };
    assert_eq!((revision, old.modified, old.value.as_slice()), (3, 2, &b"1"[..]));
    assert_eq!([&results[0], &results[1], &results[3]], [&was_put(false), &deleted(0), &was_put(false)]);
    let (a, b) = (world.get("a").unwrap(), world.get("b").unwrap());
    assert_eq!((a.created, a.modified, b.created, b.modified), (3, 3, 3, 3));
    assert_eq!(world.all(vec![delete("nothing")]), (3, vec![deleted(0)]));
    assert_eq!(world.all(vec![]), (3, vec![]));
    let all = Delete { range: Range::all(), previous: true };
    let (revision, gone) = world.one(Operation::Delete(all));
    let OperationResult::Deleted { count: 3, previous } = gone else { panic!("{gone:?}") };
    assert_eq!((revision, previous.iter().map(key_of).collect::<String>()), (4, "aboldold".replacen("old", "", 1)));
}

#[test]
fn reads_see_what_was_changed_before_them_and_nothing_of_what_comes_after() {
    let mut world = World::default();
    world.put("a", "1");
    let (_, results) = world.all(vec![
        Operation::get(b"a"),
        put("a", "2"),
        Operation::get(b"a"),
        delete("c"),
        Operation::Read(Read::count(Range::all())),
        put("b", "3"),
    ]);
    let value = |result: &OperationResult| match result {
        OperationResult::Read { entries, .. } => entries[0].value.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((value(&results[0]), value(&results[2])), (b"1".to_vec(), b"2".to_vec()));
    assert_eq!(results[4], OperationResult::Count(1));
}

#[test]
fn conditions_compare_each_part_of_a_key_in_each_way() {
    let mut world = World::default();
    world.put("x", "0");
    world.put("a", "m");
    world.put("a", "m");
    let (_, outcome) = world.ask(&KvRequest::LeaseGrant { id: 5, ttl_s: 60 });
    assert_eq!(outcome, Outcome::Leased { id: 5, ttl_s: 60 });
    let leased = Put { value: None, lease: Some(5), ..Put::new(b"a", b"") };
    world.one(Operation::Put(leased));
    let targets: [fn(u64) -> Target; 4] = [Target::Created, Target::Modified, Target::Version, Target::Lease];
    let relations = [Relation::Less, Relation::Equal, Relation::Greater, Relation::NotEqual];
    for (target, real) in targets.into_iter().zip([3, 5, 3, 5]) {
        for (given, holds) in [(real + 1, "L!"), (real, "="), (real - 1, "G!")] {
            let told: String = relations
                .into_iter()
                .zip(["L", "=", "G", "!"])
                .filter(|(relation, _)| world.failing(vec![condition("a", *relation, target(given))]).is_none())
                .map(|(_, name)| name)
                .collect();
            assert_eq!(told, holds, "{:?}", target(given));
        }
        assert_eq!(
            world.failing(vec![condition("nothing", Relation::Equal, target(0))]),
            None,
            "0 of a key that is not there"
        );
    }
    for (given, holds) in [("n", [true, false, false, true]), ("m", [false, true, false, false])] {
        for (relation, holds) in relations.into_iter().zip(holds) {
            let target = Target::Value(given.into());
            assert_eq!(world.failing(vec![condition("a", relation, target)]).is_none(), holds);
        }
    }
    let of_nothing = condition("nothing", Relation::NotEqual, Target::Value(b"x".to_vec()));
    assert_eq!(world.failing(vec![of_nothing]), Some(0), "a key that is not there has no value, not even another");
}

#[test]
fn one_list_is_done_if_all_conditions_hold_and_the_other_if_not() {
    let mut world = World::default();
    world.put("a", "x");
    let ask = |conditions| branches(conditions, vec![put("yes", "1")], vec![put("no", "1"), Operation::get(b"a")]);
    let (holds, fails) = (Condition::revision(b"a", 2), Condition::revision(b"a", 7));
    let (revision, outcome) = world.ask(&ask(vec![holds.clone(), fails.clone(), fails]));
    let Outcome::Transacted(Transacted { failed, results: Some(results) }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((revision, failed, results.len()), (3, Some(Failed { condition: 1, modified: 2 }), 2));
    assert!(world.get("no").is_some() && world.get("yes").is_none());
    let (_, outcome) = world.ask(&ask(vec![holds]));
    assert!(matches!(outcome, Outcome::Transacted(Transacted { failed: None, .. })));
    assert!(world.get("yes").is_some());
}

#[test]
fn of_a_transaction_that_changes_and_reads_something_short_is_kept() {
    let mut world = World::default();
    world.put("a", &"x".repeat(1000));
    let conditions = vec![Condition::revision(b"a", 2)];
    let both = branches(conditions, vec![put("b", "1"), Operation::get(b"a")], vec![delete("a"), Operation::get(b"b")]);
    for failed in [None, Some(Failed { condition: 0, modified: 4 })] {
        let Reply::Now { reply, kept: Some(kept) } = world.apply("ana", Role::Member, &both).reply else { panic!() };
        assert!(reply.len() > 60 || failed.is_some());
        let KvReply { revision, outcome } = decode(&kept).unwrap();
        assert_eq!(outcome, Outcome::Transacted(Transacted { failed, results: None }), "which list was done");
        assert_eq!(revision, world.kv.revision, "at which revision");
        world.put("a", "y");
    }
    let Reply::Now { kept, .. } = world.apply("ana", Role::Member, &request(vec![Operation::get(b"b")])).reply else {
        panic!()
    };
    assert_eq!(kept, None, "what only reads is asked again");
}

#[test]
fn a_put_may_keep_the_value_or_the_lease_of_a_key_that_is_there() {
    let mut world = World::default();
    let keeps_value = Operation::Put(Put { value: None, ..Put::new(b"a", b"") });
    let keeps_lease = Operation::Put(Put { lease: None, ..Put::new(b"a", b"2") });
    for keeps in [&keeps_value, &keeps_lease] {
        assert_eq!(world.refused(&request(vec![put("b", "1"), keeps.clone()])), Refusal::NoKey);
    }
    assert_eq!((world.get("b"), world.kv.revision), (None, 1), "nothing was done");
    world.ask(&KvRequest::LeaseGrant { id: 5, ttl_s: 60 });
    world.one(Operation::Put(Put::leased(b"a", b"1", 5)));
    world.one(keeps_lease);
    let a = world.get("a").unwrap();
    assert_eq!((a.value.as_slice(), a.lease, a.version), (&b"2"[..], 5, 2));
    world.one(keeps_value);
    let a = world.get("a").unwrap();
    assert_eq!((a.value.as_slice(), a.lease, a.version), (&b"2"[..], 0, 3));
}

#[test]
fn a_transaction_has_bounds_and_changes_a_key_once() {
    let mut world = World::default();
    let numbered = |count: usize| (0..count).map(|number| format!("k{number}")).collect::<Vec<_>>();
    let puts = |count| numbered(count).iter().map(|key| put(key, "")).collect::<Vec<_>>();
    let conditions: Vec<Condition> =
        numbered(TRANSACTION_MAX + 1).iter().map(|key| Condition::revision(key.as_bytes(), 0)).collect();
    let (revision, results) = world.all(puts(TRANSACTION_MAX));
    assert_eq!((revision, results), (2, vec![was_put(false); TRANSACTION_MAX]));
    for many in [
        branches(conditions, vec![], vec![]),
        branches(vec![], puts(TRANSACTION_MAX + 1), vec![]),
        branches(vec![], vec![], puts(TRANSACTION_MAX + 1)),
    ] {
        assert_eq!(world.refused(&many), Refusal::Unknown, "it does not decode");
        let KvRequest::Transact(transaction) = many else { panic!("it is one") };
        assert_eq!(transaction.check(), Err(Refusal::Many));
    }
    let counts = |count| vec![Operation::Read(Read::count(Range::all())); count];
    assert_eq!(world.refused(&request(counts(WIDE_READS_MAX + 1))), Refusal::Many);
    world.all(counts(WIDE_READS_MAX));
    let all = || Operation::Delete(Delete { range: Range::prefix(b"a"), previous: false });
    for twice in [vec![put("a", "1"), put("a", "2")], vec![put("a1", "1"), all()], vec![delete("a"), put("a", "1")]] {
        assert_eq!(world.refused(&request(twice.clone())), Refusal::Twice);
        assert_eq!(world.refused(&branches(vec![], vec![], twice)), Refusal::Twice, "also in what is not done");
    }
    let (_, outcome) = world.ask(&branches(vec![], vec![put("a", "1")], vec![put("a", "2"), put("b", "1")]));
    assert!(matches!(outcome, Outcome::Transacted(_)), "each list by itself");
    assert_eq!(world.all(vec![all(), all(), delete("k1")]).1, [deleted(1), deleted(0), deleted(1)]);
}

#[test]
fn the_room_for_keys_is_checked_for_all_changes_together_and_no_more_go_at_once_than_the_history_holds() {
    let mut kv = Kv::default();
    let ask = |kv: &mut Kv, user: &str, operations: &[Operation]| {
        let user = user.parse().unwrap();
        let order = Ordered { place: 1, time_us: 1, user: &user, role: Role::Member, may_wait: true };
        let came = kv.apply(&order, &encode(&request(operations.to_vec())));
        let Reply::Now { reply, .. } = came.reply else { panic!("it waits") };
        (decode::<KvReply>(&reply).unwrap(), came.work)
    };
    for first in (0..KEYS_MAX).step_by(TRANSACTION_MAX) {
        let numbers = first..first + TRANSACTION_MAX as u64;
        let changes: Vec<Operation> = numbers.map(|number| put(&format!("{number:05}"), "")).collect();
        let (reply, work) = ask(&mut kv, &format!("u{}", first / 16_384), &changes);
        assert!(matches!(reply.outcome, Outcome::Transacted(_)) && work == 8, "{reply:?} {work}");
    }
    let before = kv.clone();
    let refused = |outcome| KvReply { revision: before.revision, outcome: Outcome::Refused(outcome) };
    assert_eq!(ask(&mut kv, "ana", &[delete("00007"), put("x", ""), put("y", "")]).0, refused(Refusal::StoreFull));
    let part = |end: &[u8]| Operation::Delete(Delete { range: Range::between(b"", end), previous: false });
    assert_eq!(ask(&mut kv, "ana", &[part(b"04097")]).0, refused(Refusal::Many));
    assert_eq!(ask(&mut kv, "ana", &[part(b"02049"), part(b"02048")]).0, refused(Refusal::Many), "both are looked at");
    assert_eq!(kv, before, "the key that would go is still there");
    let swapped = ask(&mut kv, "ana", &[put("x", ""), put("y", ""), delete("00007"), delete("00008")]).0;
    assert_eq!((kv.keys.len() as u64, kv.revision), (KEYS_MAX, before.revision + 1), "{swapped:?}");
    let (count, work) = ask(&mut kv, "ana", &[Operation::Read(Read::count(Range::all()))]);
    assert!(matches!(count.outcome, Outcome::Transacted(_)) && work == 256, "{work}: it is paid for");
    let (reply, work) = ask(&mut kv, "ana", &[part(b"04096")]);
    assert!(matches!(reply.outcome, Outcome::Transacted(_)) && work > 100, "{work}");
    assert_eq!(
        kv.history
            .changes(&Range::all(), Position { revision: kv.revision - 1, changes: 0 }, 9, false)
            .unwrap()
            .events
            .len(),
        9
    );
}

#[test]
fn what_was_before_has_to_fit_the_reply_or_nothing_is_done() {
    let mut world = World::default();
    let value = "v".repeat(VALUE_BYTES_MAX);
    world.put("a", &value);
    world.put("b", &value);
    let all = |range| Operation::Delete(Delete { range, previous: true });
    assert_eq!(world.refused(&request(vec![all(Range::all())])), Refusal::Reply);
    let put = |key| Operation::Put(Put { previous: true, ..Put::new(key, b"") });
    assert_eq!(world.refused(&request(vec![put(b"a"), put(b"b")])), Refusal::Reply);
    assert_eq!(world.kv.revision, 3);
    let (_, results) = world.all(vec![all(Range::key(b"a")), all(Range::key(b"a")), Operation::get(b"b")]);
    let OperationResult::Deleted { count: 1, previous } = &results[0] else { panic!() };
    assert_eq!(
        (previous[0].value.len(), &results[2]),
        (VALUE_BYTES_MAX, &OperationResult::Read { entries: vec![], more: true })
    );
}
