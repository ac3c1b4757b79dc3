//! The history, and waiting for what comes.

use super::*;

fn behind(revision: Revision) -> Position {
    Position { revision, changes: u32::MAX }
}

/// Changes in words: a key and its value, or that it is gone; and what was before.
fn words(events: &[Event]) -> Vec<String> {
    let of = |entry: &KeyValue| format!("{}={}", key_of(entry), String::from_utf8_lossy(&entry.value));
    let word = |event: &Event| {
        let change = match &event.change {
            Change::Put(entry) => of(entry),
            Change::Deleted { key } => format!("{}!", String::from_utf8_lossy(key)),
        };
        let before = event.previous.as_ref().map_or(String::new(), |entry| format!(" was {}", of(entry)));
        format!("{} {change}{before}", event.position.revision)
    };
    events.iter().map(word).collect()
}

impl World {
    fn changes(&mut self, range: Range, after: Position, limit: u32, previous: bool) -> (Vec<String>, Position, bool) {
        match self.ask(&KvRequest::Changes { range, after, limit, previous }).1 {
            Outcome::Changes { events, upto, more } => (words(&events), upto, more),
            other => panic!("{other:?}"),
        }
    }

    /// The place at which somebody waits, and when to ask again.
    fn wait(&mut self, user: &str, slot: u8, range: Range, after: Revision) -> (u64, Option<u64>) {
        let request = KvRequest::Wait { slot, range, after };
        let Reply::Later { note } = self.apply(user, Role::Member, &request).reply else { panic!("it is answered") };
        let WaitNote { revision, ends_us } = decode(&note).unwrap();
        assert_eq!(revision, self.kv.revision);
        (self.place, ends_us)
    }

    fn told(&self, place: u64) -> Option<(Revision, Outcome)> {
        self.later.get(&place).map(|reply| (reply.revision, reply.outcome.clone()))
    }
}

#[test]
fn changes_are_told_in_their_order_each_once_in_whatever_parts() {
    let mut world = World::default();
    world.put("a/1", "x");
    world.put("b", "x");
    world.all(vec![put("a/2", "y"), delete("a/1"), put("c", "y"), put("a/0", "y")]);
    world.put("a/2", "z");
    let all = ["2 a/1=x", "4 a/2=y", "4 a/1!", "4 a/0=y", "5 a/2=z"];
    let range = || Range::prefix(b"a/");
    assert_eq!(world.changes(range(), behind(1), 99, false), (all.map(Into::into).into(), behind(5), false));
    assert_eq!(world.changes(range(), behind(4), 99, false).0, all[4..]);
    assert_eq!(world.changes(range(), behind(5), 99, false), (vec![], behind(5), false));
    assert_eq!(world.changes(range(), behind(9), 99, false), (vec![], behind(9), false), "what is still to come");
    let (mut parts, mut upto) = (Vec::new(), behind(0));
    loop {
        let (part, to, more) = world.changes(range(), upto, 1, false);
        parts.extend(part);
        upto = to;
        if !more {
            break;
        }
    }
    assert_eq!((parts, upto), (all.map(Into::into).into(), behind(5)), "one by one, also within a revision");
    let (before, ..) = world.changes(range(), behind(3), 99, true);
    assert_eq!(before, ["4 a/2=y", "4 a/1! was a/1=x", "4 a/0=y", "5 a/2=z was a/2=y"]);
}

#[test]
fn a_reply_with_changes_has_a_bound_also_with_what_was_before() {
    let mut world = World::default();
    let value = "v".repeat(VALUE_BYTES_MAX);
    for _ in 0..3 {
        world.put("a", &value);
    }
    for (after, more) in [(1, true), (2, true), (3, false)] {
        let (events, upto, is_more) = world.changes(Range::all(), behind(after), 99, true);
        assert_eq!((events.len(), is_more), (1, more));
        assert_eq!(upto.revision, after + 1);
    }
}

#[test]
fn the_history_forgets_whole_revisions_and_says_from_where_it_remembers() {
    let mut world = World::default();
    let value = "v".repeat(VALUE_BYTES_MAX);
    let fits = usize::try_from(HISTORY_BYTES_MAX).unwrap() / (VALUE_BYTES_MAX + 129);
    for _ in 0..fits {
        world.put("a", &value);
    }
    assert_eq!(world.changes(Range::all(), behind(0), 1, false).1.revision, 2, "all is remembered");
    world.put("a", &value);
    let changes = |after| KvRequest::Changes { range: Range::all(), after: behind(after), limit: 1, previous: false };
    // What the key was before the first change that is left takes room too.
    assert_eq!(world.ask(&changes(2)).1, Outcome::Compacted { oldest: 3 });
    assert!(matches!(world.ask(&changes(3)).1, Outcome::Changes { .. }));
    assert!(world.kv.history.bytes() <= HISTORY_BYTES_MAX);
    let wait = KvRequest::Wait { slot: 0, range: Range::key(b"zzz"), after: 1 };
    assert_eq!(world.ask(&wait).1, Outcome::Changed, "nobody knows, so whoever waits has to look");
    let puts: Vec<Operation> = (0..128).map(|key| put(&format!("k{key}"), "")).collect();
    for _ in 0..80 {
        drop(world.quick(&puts));
    }
    assert!((HISTORY_EVENTS_MAX - 128..=HISTORY_EVENTS_MAX).contains(&world.kv.history.len()));
    let oldest = world.kv.revision - 64;
    assert_eq!(world.ask(&changes(oldest - 1)).1, Outcome::Compacted { oldest });
    let first = world.changes(Range::all(), behind(oldest), 200, false).0;
    assert_eq!((first.len(), &first[0][..]), (200, &*format!("{} k0=", oldest + 1)));
}

/// So many changes that nothing older is remembered.
fn fill(world: &mut World) {
    let puts: Vec<Operation> = (0..128).map(|key| put(&format!("fill{key}"), "")).collect();
    for _ in 0..HISTORY_EVENTS_MAX / 128 + 1 {
        drop(world.quick(&puts));
    }
}

#[test]
fn what_a_key_was_is_told_however_long_ago_it_was_put() {
    let mut world = World::default();
    for key in ["changed", "deleted", "leased", "twice"] {
        world.put(key, "old");
    }
    world.ask(&KvRequest::LeaseGrant { id: 7, ttl_s: 60 });
    world.one(Operation::Put(Put::leased(b"leased", b"older", 7)));
    fill(&mut world);
    let before = world.kv.revision;
    world.all(vec![put("changed", "new"), delete("deleted"), put("twice", "1")]);
    world.ask(&KvRequest::LeaseRevoke { id: 7 });
    world.put("twice", "2");
    world.one(delete("twice"));
    world.put("twice", "3");
    let told = world.changes(Range::all(), behind(before), 99, true).0;
    let told: Vec<&str> = told.iter().map(|told| told.split_once(' ').unwrap().1).collect();
    let wanted = ["changed=new was changed=old", "deleted! was deleted=old", "twice=1 was twice=old"];
    assert_eq!(told[..3], wanted);
    assert_eq!(told[3..], ["leased! was leased=older", "twice=2 was twice=1", "twice! was twice=2", "twice=3"]);
    // The first of these changes is forgotten; the others know what they were made from all the same.
    for _ in 0..HISTORY_EVENTS_MAX / 128 - 1 {
        drop(world.quick(&(0..128).map(|key| put(&format!("fill{key}"), "")).collect::<Vec<_>>()));
    }
    while world.kv.history.changes(&Range::all(), behind(before), 1, false).is_ok() {
        drop(world.quick(&[put("more", "")]));
    }
    let left = world.changes(Range::from(b"leased"), behind(before + 1), 4, true).0;
    let left: Vec<&str> = left.iter().map(|told| told.split_once(' ').unwrap().1).collect();
    assert_eq!(left, ["leased! was leased=older", "twice=2 was twice=1", "twice! was twice=2", "twice=3"]);
}

fn changes_behind(after: Revision) -> KvRequest {
    KvRequest::Changes { range: Range::all(), after: behind(after), limit: 99, previous: true }
}

#[test]
fn who_follows_pays_for_what_is_new_and_not_for_all_that_is_remembered() {
    let mut world = World::default();
    fill(&mut world);
    let before = world.kv.revision;
    world.put("a", "1");
    for previous in [false, true] {
        let request = KvRequest::Changes { range: Range::all(), after: behind(before), limit: 99, previous };
        assert_eq!(world.apply("ben", Role::Member, &request).work, 0);
    }
    let all = KvRequest::Changes { range: Range::key(b"x"), after: behind(before - 50), limit: 99, previous: false };
    assert!(world.apply("ben", Role::Member, &all).work >= 20, "what is looked at is paid");
}

#[test]
fn a_short_request_does_not_push_all_that_is_remembered_out() {
    let mut world = World::default();
    let (long, keys) = ("v".repeat(VALUE_BYTES_MAX), 63);
    for key in 0..keys {
        drop(world.quick(&[put(&format!("ana/{key}"), &long)]));
    }
    for part in 0..8 {
        let key = |number: usize| put(&format!("ben/{part}/{number:0500}"), "");
        for chunk in [0, 100, 200] {
            let puts = (chunk..chunk + 100).map(key).collect();
            assert!(matches!(world.ask_as("ben", Role::Member, &request(puts)).1, Outcome::Transacted(_)));
        }
    }
    let before = world.put("told", "1") - 1;
    let keep = |key| Put { key: format!("ana/{key}").into_bytes(), value: None, lease: Some(0), previous: false };
    let mut operations: Vec<Operation> = (0..keys).map(|key| Operation::Put(keep(key))).collect();
    let paid = world.quick(&operations).work;
    assert!(matches!(world.ask(&changes_behind(before)).1, Outcome::Changes { .. }), "one tiny request did it");
    operations.truncate(15);
    operations.push(Operation::Delete(Delete { range: Range::prefix(b"ben/"), previous: false }));
    let before = world.kv.revision;
    let work = world.quick(&operations).work;
    assert_eq!(world.kv.revision, before + 1, "a megabyte of values may be left as it is");
    assert!(matches!(world.ask(&changes_behind(before)).1, Outcome::Changes { .. }), "what has one revision has room");
    assert!(paid >= 32 && work >= 29, "{paid} and {work} for what is written, however short the request");
}

#[test]
fn whoever_waits_for_all_keys_pays_nothing_for_others_leases() {
    let mut world = World::default();
    for number in 0..LEASES_MAX {
        world.place += 1;
        let user = format!("u{}", number % 8).parse().unwrap();
        let order = Ordered { place: world.place, time_us: 5, user: &user, role: Role::Member, may_wait: true };
        drop(world.kv.apply(&order, &encode(&KvRequest::LeaseGrant { id: 0, ttl_s: 60 })));
    }
    assert_eq!(world.kv.leases.len(), LEASES_MAX);
    let wait = KvRequest::Wait { slot: 0, range: Range::all(), after: 1 };
    assert_eq!(world.apply("zoe", Role::Member, &wait).work, 0);
}

#[test]
fn who_has_read_a_part_of_a_revision_is_told_when_the_rest_of_it_is_forgotten() {
    let mut history = History::default();
    let gone = |key: String| Made { change: Change::Deleted { key: key.into_bytes() }, previous: None };
    history.push(2, vec![gone("a".to_owned()), gone("b".to_owned())]);
    history.push(3, (0..HISTORY_EVENTS_MAX).map(|key| gone(format!("k{key:05}"))).collect());
    let read = |changes| history.changes(&Range::all(), Position { revision: 2, changes }, 1, false);
    assert_eq!(read(1), Err(2), "b was not read");
    assert!(read(2).is_ok() && read(u32::MAX).is_ok());
}

#[test]
fn a_refused_transaction_pays_for_the_keys_that_it_looked_at() {
    let mut world = World::default();
    for part in 0..32 {
        drop(world.quick(&(0..128).map(|key| put(&format!("k{}", part * 128 + key), "")).collect::<Vec<_>>()));
    }
    let delete = Operation::Delete(Delete { range: Range::prefix(b"k"), previous: false });
    let unknown = Operation::Put(Put { key: b"x".to_vec(), value: None, lease: Some(0), previous: false });
    let applied = world.quick(&[delete, unknown]);
    assert!(applied.work >= 128, "{}", applied.work);
}

impl World {
    fn quick(&mut self, operations: &[Operation]) -> Applied {
        self.place += 1;
        let user = "ana".parse().unwrap();
        let order =
            Ordered { place: self.place, time_us: self.time_us, user: &user, role: Role::Member, may_wait: true };
        self.kv.apply(&order, &encode(&request(operations.to_vec())))
    }
}

#[test]
fn who_waits_is_told_when_a_key_of_the_range_changes_and_not_before() {
    let mut world = World::default();
    world.put("a/1", "x");
    let (ana, none) = world.wait("ana", 0, Range::prefix(b"a/"), 2);
    let (ben, _) = world.wait("ben", 0, Range::key(b"b"), 2);
    let (future, _) = world.wait("ben", 1, Range::all(), 4);
    assert_eq!(none, None, "no lease ends");
    world.put("a", "outside");
    assert!(world.later.is_empty());
    world.all(vec![put("c", "x"), delete("a/1")]);
    assert_eq!(world.told(ana), Some((4, Outcome::Changed)));
    assert_eq!((world.told(ben), world.told(future)), (None, None));
    world.put("b", "x");
    assert_eq!((world.told(ben), world.told(future)), (Some((5, Outcome::Changed)), Some((5, Outcome::Changed))));
    let past = KvRequest::Wait { slot: 0, range: Range::prefix(b"a/"), after: 3 };
    assert_eq!(world.ask(&past), (5, Outcome::Changed), "it has changed already");
    let (again, _) = world.wait("ana", 0, Range::prefix(b"a/"), 4);
    world.put("x", "y");
    assert_eq!(world.told(again), None);
}

#[test]
fn one_user_waits_once_in_each_slot_and_the_later_one_counts() {
    let mut world = World::default();
    let (first, _) = world.wait("ana", 3, Range::key(b"a"), 1);
    let (other, _) = world.wait("ben", 3, Range::key(b"a"), 1);
    let (second, _) = world.wait("ana", 3, Range::key(b"b"), 1);
    assert_eq!(world.told(first), Some((1, Outcome::Replaced)));
    world.put("a", "x");
    assert_eq!((world.told(second), world.told(other)), (None, Some((2, Outcome::Changed))));
    world.kv.forget(second);
    world.kv.forget(second);
    world.put("b", "x");
    assert_eq!((world.told(second), &world.kv.waits), (None, &Waits::default()), "whoever has gone is told nothing");
    let beyond = KvRequest::Wait { slot: WAIT_SLOTS, range: Range::all(), after: 9 };
    assert_eq!(world.refused(&beyond), Refusal::Waits);
    let user = "ana".parse().unwrap();
    let order = Ordered { place: 99, time_us: 0, user: &user, role: Role::Member, may_wait: false };
    let wait = encode(&KvRequest::Wait { slot: 0, range: Range::all(), after: 9 });
    let Reply::Now { reply, .. } = world.kv.apply(&order, &wait).reply else { panic!("too many wait") };
    assert_eq!(decode::<KvReply>(&reply).unwrap().outcome, Outcome::Refused(Refusal::Waits));
}

#[test]
fn who_waits_learns_when_to_ask_again_so_that_a_lease_ends() {
    let mut world = World::default();
    for (id, ttl_s) in [(7, 10), (8, 5)] {
        world.ask(&KvRequest::LeaseGrant { id, ttl_s });
    }
    world.one(Operation::Put(Put::leased(b"lock/1", b"", 7)));
    world.one(Operation::Put(Put::leased(b"other", b"", 8)));
    let (ana, ends_us) = world.wait("ana", 0, Range::prefix(b"lock/"), 3);
    let left = ends_us.unwrap();
    assert!((9_999_900..10_000_000).contains(&left), "of the lease that has keys there: {left}");
    world.time_us += left - 10;
    // Whatever is asked: what is due ends before it.
    world.ask(&KvRequest::LeaseList);
    assert_eq!(world.told(ana), Some((5, Outcome::Changed)));
    assert_eq!(world.changes(Range::prefix(b"lock/"), behind(3), 9, true).0, ["5 lock/1! was lock/1="]);
}
