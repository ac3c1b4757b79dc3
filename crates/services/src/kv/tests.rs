//! The store by itself.

use super::*;
use crate::limits::{ANSWER_BYTES_MAX, BODY_BYTES_MAX, KEPT_REPLY_BYTES_MAX, PUT_OFF_BYTES_MAX};
use ringfort_protocol::Role;

mod leases;
mod model;
mod transactions;
mod watching;

#[derive(Default)]
struct World {
    kv: Kv,
    place: u64,
    time_us: u64,
    /// What was replied later, by place.
    later: BTreeMap<u64, KvReply>,
}

impl World {
    fn apply(&mut self, user: &str, role: Role, request: &KvRequest) -> Applied {
        self.place += 1;
        self.time_us += 10;
        let (user, request) = (user.parse().unwrap(), encode(request));
        assert!(request.len() <= BODY_BYTES_MAX);
        let order = Ordered { place: self.place, time_us: self.time_us, user: &user, role, may_wait: true };
        let before = self.kv.keys.clone();
        let came = self.kv.apply(&order, &request);
        match &came.reply {
            Reply::Now { reply, kept } => {
                assert!(reply.len() < ANSWER_BYTES_MAX - 64);
                let kept = if reply.len() > KEPT_REPLY_BYTES_MAX { kept.as_ref() } else { Some(reply) };
                let is_kept = kept.is_some_and(|kept| kept.len() <= KEPT_REPLY_BYTES_MAX);
                assert!(self.kv.keys == before || is_kept, "something short is kept of what a change came to");
            }
            Reply::Later { note } => assert!(note.len() <= PUT_OFF_BYTES_MAX),
        }
        for (place, reply) in &came.later {
            assert!(reply.len() <= PUT_OFF_BYTES_MAX);
            assert!(self.later.insert(*place, decode(reply).unwrap()).is_none(), "there is one reply");
        }
        let again = Kv::load(&self.kv.save()).unwrap();
        assert!(again == self.kv, "nothing is lost in a checkpoint");
        came
    }

    fn ask_as(&mut self, user: &str, role: Role, request: &KvRequest) -> (Revision, Outcome) {
        let Reply::Now { reply, .. } = self.apply(user, role, request).reply else { panic!("it waits") };
        let KvReply { revision, outcome } = decode(&reply).unwrap();
        (revision, outcome)
    }

    fn ask(&mut self, request: &KvRequest) -> (Revision, Outcome) {
        self.ask_as("ana", Role::Member, request)
    }

    fn refused(&mut self, request: &KvRequest) -> Refusal {
        match self.ask(request).1 {
            Outcome::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Does these operations; they are not refused.
    fn all(&mut self, operations: Vec<Operation>) -> (Revision, Vec<OperationResult>) {
        match self.ask(&request(operations)) {
            (revision, Outcome::Transacted(Transacted { failed: None, results: Some(results) })) => (revision, results),
            other => panic!("{other:?}"),
        }
    }

    fn one(&mut self, operation: Operation) -> (Revision, OperationResult) {
        let (revision, mut results) = self.all(vec![operation]);
        (revision, results.pop().unwrap())
    }

    fn put(&mut self, key: &str, value: &str) -> Revision {
        self.one(put(key, value)).0
    }

    fn get(&mut self, key: &str) -> Option<KeyValue> {
        match self.one(Operation::get(key.as_bytes())).1 {
            OperationResult::Read { mut entries, more: false } => entries.pop(),
            other => panic!("{other:?}"),
        }
    }

    /// The keys that a read shows, and whether there are more.
    fn read(&mut self, read: Read) -> (Vec<String>, bool) {
        match self.one(Operation::Read(read)).1 {
            OperationResult::Read { entries, more } => (entries.iter().map(key_of).collect(), more),
            other => panic!("{other:?}"),
        }
    }
}

fn key_of(entry: &KeyValue) -> String {
    String::from_utf8(entry.key.clone()).unwrap()
}

fn request(operations: Vec<Operation>) -> KvRequest {
    KvRequest::Transact(Transaction::of(operations))
}

fn put(key: &str, value: &str) -> Operation {
    Operation::put(key.as_bytes(), value.as_bytes())
}

fn delete(key: &str) -> Operation {
    Operation::delete(key.as_bytes())
}

fn was_put(existed: bool) -> OperationResult {
    OperationResult::Put { existed, previous: None }
}

fn deleted(count: u64) -> OperationResult {
    OperationResult::Deleted { count, previous: Vec::new() }
}

#[test]
fn every_change_has_a_revision_and_what_changes_nothing_has_none() {
    let mut world = World::default();
    assert_eq!(world.one(put("a", "1")), (2, was_put(false)));
    assert_eq!(world.ask_as("ben", Role::Member, &request(vec![put("a", "2")])).0, 3);
    assert_eq!(world.put("b", "3"), 4);
    let a = world.get("a").unwrap();
    assert_eq!((a.created, a.modified, a.version, a.value.as_slice()), (2, 3, 2, &b"2"[..]));
    assert_eq!((a.writer.as_str(), a.time_us, a.lease), ("ben", 20, 0));
    assert_eq!(world.one(delete("nothing")), (4, deleted(0)));
    assert_eq!(world.one(delete("a")), (5, deleted(1)));
    assert_eq!(world.get("a"), None);
    world.put("a", "4");
    let a = world.get("a").unwrap();
    assert_eq!((a.created, a.modified, a.version), (6, 6, 1), "it came to be anew");
}

#[test]
fn ranges_are_keys_with_a_beginning_between_two_or_from_one_on() {
    let mut world = World::default();
    for key in ["b/2", "a", "b/1", "b0", "b/3", "b"] {
        world.put(key, "x");
    }
    let keys = |found: &[&str], more| (found.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), more);
    let all = |range| Read::all(range);
    assert_eq!(world.read(all(Range::prefix(b"b/"))), keys(&["b/1", "b/2", "b/3"], false));
    assert_eq!(world.read(Read { limit: 2, ..all(Range::prefix(b"b/")) }), keys(&["b/1", "b/2"], true));
    assert_eq!(world.read(all(Range::prefix(b"b/").behind(b"b/2"))), keys(&["b/3"], false));
    assert_eq!(world.read(all(Range::prefix(b"b/").behind(b"a"))), keys(&["b/1", "b/2", "b/3"], false));
    assert_eq!(world.read(all(Range::key(b"b").behind(b"b"))), keys(&[], false));
    assert_eq!(world.read(all(Range::between(b"b", b"b/2"))), keys(&["b", "b/1"], false));
    assert_eq!(world.read(all(Range::between(b"b", b"a"))), keys(&[], false), "the wrong way round");
    assert_eq!(world.read(all(Range::from(b"b/3"))), keys(&["b/3", "b0"], false));
    assert_eq!(world.read(all(Range::key(b"b"))), keys(&["b"], false));
    assert_eq!(world.read(Read { limit: 0, ..all(Range::all()) }), keys(&[], true));
    assert_eq!(world.read(all(Range::all())).0.len(), 6);
    assert_eq!(Range::prefix(&[b'a', 255, 255]), Range::between(&[b'a', 255, 255], b"b"));
    assert_eq!(Range::prefix(&[255]), Range::from(&[255]));
}

#[test]
fn what_is_sorted_is_sorted_before_the_limit_and_what_is_left_out_is_left_out_before() {
    let mut world = World::default();
    for (key, value) in [("c", "2"), ("a", "3"), ("b", "1"), ("a", "2"), ("a", "1")] {
        world.put(key, value);
    }
    let mut by = |by, descending, limit| {
        let order = Order { by, descending };
        world.read(Read { limit, order, ..Read::all(Range::all()) }).0.concat()
    };
    assert_eq!((by(By::Key, false, 9), by(By::Key, true, 2)), ("abc".into(), "cb".into()));
    assert_eq!((by(By::Created, false, 1), by(By::Created, true, 9)), ("c".into(), "bac".into()));
    assert_eq!((by(By::Modified, false, 9), by(By::Modified, true, 1)), ("cba".into(), "a".into()));
    assert_eq!((by(By::Version, true, 9), by(By::Version, false, 9)), ("abc".into(), "bca".into()));
    assert_eq!((by(By::Value, false, 9), by(By::Value, true, 9)), ("abc".into(), "cab".into()));
    assert_eq!(world.read(Read::first_created(Range::all())), (vec!["c".into()], true));
    let before = |last| Read { created: Between { first: 0, last }, ..Read::all(Range::all()) };
    let latest = Read { limit: 1, order: Order { by: By::Created, descending: true }, ..before(3) };
    assert_eq!(world.read(latest).0, ["a"], "the last that came to be before another");
    assert_eq!(world.read(Read { modified: Between { first: 4, last: 4 }, ..before(9) }).0, ["b"]);
    assert_eq!(world.one(Operation::Read(Read::count(Range::from(b"b")))).1, OperationResult::Count(2));
    let keys = world.one(Operation::Read(Read { shows: Shows::Keys, ..Read::all(Range::key(b"a")) })).1;
    let OperationResult::Read { entries, .. } = keys else { panic!("{keys:?}") };
    assert_eq!((entries[0].value.len(), entries[0].version), (0, 3));
}

#[test]
fn a_reply_has_a_bound_and_one_entry_is_always_in_it() {
    let mut world = World::default();
    let value = "v".repeat(VALUE_BYTES_MAX);
    for key in ["a", "b", "c"] {
        world.put(key, &value);
    }
    let mut range = Range::all();
    for (key, more) in [("a", true), ("b", true), ("c", false)] {
        assert_eq!(world.read(Read::all(range.clone())), (vec![key.into()], more));
        range = range.behind(key.as_bytes());
    }
    let (_, results) = world.all(vec![Operation::get(b"a"), Operation::get(b"nothing"), Operation::get(b"b")]);
    let shown = |result: &OperationResult| match result {
        OperationResult::Read { entries, more } => (entries.len(), *more),
        other => panic!("{other:?}"),
    };
    assert_eq!(results.iter().map(shown).collect::<Vec<_>>(), [(1, false), (0, false), (0, true)], "and that is told");
}

#[test]
fn keys_and_values_have_bounds() {
    let mut world = World::default();
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in ["", &long] {
        for operation in [put(key, "1"), delete(key), Operation::get(key.as_bytes())] {
            assert_eq!(world.refused(&request(vec![operation])), Refusal::Key);
        }
    }
    let beyond = Range::between(b"a", &[b'k'; KEY_BYTES_MAX + 2]);
    assert_eq!(world.refused(&request(vec![Operation::Read(Read::all(beyond.clone()))])), Refusal::Key);
    assert_eq!(world.refused(&KvRequest::Wait { slot: 0, range: beyond, after: 0 }), Refusal::Key);
    assert_eq!(world.refused(&request(vec![put("a", &"v".repeat(VALUE_BYTES_MAX + 1))])), Refusal::Value);
    let user = "ana".parse().unwrap();
    let order = Ordered { place: 1, time_us: 1, user: &user, role: Role::Member, may_wait: true };
    for bytes in [&[][..], &[9], &[1, 255, 255, 255, 255], &[1, 0, 0, 0, 0, 1, 0, 0, 0, 2, 255, 255, 255, 255]] {
        let Reply::Now { reply, .. } = world.kv.apply(&order, bytes).reply else { panic!("it waits") };
        let reply: KvReply = decode(&reply).unwrap();
        assert_eq!(reply.outcome, Outcome::Refused(Refusal::Unknown), "{bytes:?}");
    }
    world.put(&"k".repeat(KEY_BYTES_MAX), &"v".repeat(VALUE_BYTES_MAX));
}

#[test]
fn who_may_not_send_changes_nothing_and_who_may_not_receive_reads_nothing() {
    let mut world = World::default();
    world.put("a", "1");
    let previous = Put { previous: true, ..Put::new(b"a", b"2") };
    let guess = Transaction { conditions: vec![Condition::value(b"a", b"1")], ..Transaction::default() };
    let otherwise = Transaction { otherwise: vec![Operation::get(b"a")], ..Transaction::default() };
    let (range, after) = (Range::all(), Position { revision: 0, changes: 0 });
    let writes = [
        request(vec![put("a", "2")]),
        request(vec![delete("a")]),
        KvRequest::Transact(Transaction { otherwise: vec![delete("a")], ..Transaction::default() }),
        KvRequest::LeaseGrant { id: 7, ttl_s: 60 },
        KvRequest::LeaseRenew { id: 7 },
        KvRequest::LeaseRevoke { id: 7 },
    ];
    let reads = [
        request(vec![Operation::get(b"a")]),
        request(vec![Operation::Read(Read::count(Range::all()))]),
        KvRequest::Transact(guess),
        KvRequest::Transact(otherwise),
        KvRequest::LeaseInfo { id: 7, keys: true },
        KvRequest::LeaseList,
        KvRequest::Changes { range: range.clone(), after, limit: 1, previous: false },
        KvRequest::Wait { slot: 0, range, after: 0 },
    ];
    let both = request(vec![Operation::Put(previous)]);
    let refused = Outcome::Refused(Refusal::Role);
    for role in [Role::Receiver, Role::Archive] {
        for request in writes.iter().chain([&both]) {
            assert_eq!(world.ask_as("rec", role, request).1, refused, "{request:?}");
        }
        reads.iter().for_each(|request| assert_ne!(world.ask_as("rec", role, request).1, refused, "{request:?}"));
    }
    for request in reads.iter().chain([&both]) {
        assert_eq!(world.ask_as("sen", Role::Sender, request).1, refused, "{request:?}");
    }
    writes.iter().for_each(|request| assert_ne!(world.ask_as("sen", Role::Sender, request).1, refused, "{request:?}"));
}

fn put_as(kv: &mut Kv, user: &str, key: String, bytes: usize) -> Option<Refusal> {
    let user = user.parse().unwrap();
    let order = Ordered { place: 1, time_us: 1, user: &user, role: Role::Member, may_wait: true };
    let operation = Operation::put(&key.into_bytes(), &vec![0; bytes]);
    let Reply::Now { reply, .. } = kv.apply(&order, &encode(&request(vec![operation]))).reply else { panic!() };
    match decode::<KvReply>(&reply).unwrap().outcome {
        Outcome::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

#[test]
fn what_one_user_wrote_last_has_a_bound_that_deleting_and_overwriting_give_back() {
    let mut kv = Kv::default();
    let each = USER_BYTES_MAX / 64;
    let fits = usize::try_from(each - ENTRY_BYTES - 2).unwrap();
    for key in 10..74 {
        assert_eq!(put_as(&mut kv, "ana", format!("{key}"), fits), None);
    }
    assert_eq!(put_as(&mut kv, "ana", "more".into(), 0), Some(Refusal::UserFull));
    assert_eq!(put_as(&mut kv, "ana", "10".into(), fits), None, "what it takes the place of is given back");
    assert_eq!(put_as(&mut kv, "ana", "10".into(), fits + 1), Some(Refusal::UserFull));
    assert_eq!(put_as(&mut kv, "ben", "10".into(), 1), None, "it is ben's now");
    assert_eq!(put_as(&mut kv, "ana", "more".into(), 0), None);
    for (count, user) in ["cy", "dora", "eve", "fay", "gus"].into_iter().enumerate() {
        for key in 10..74 {
            assert_eq!(put_as(&mut kv, user, format!("{count}/{key}"), fits - 2), None);
        }
    }
    let full = (0..64).find_map(|key| put_as(&mut kv, "hal", format!("h{key}"), fits));
    assert_eq!(full, Some(Refusal::StoreFull));
    assert!(kv.bytes <= STORE_BYTES_MAX && kv.used.values().sum::<u64>() == kv.bytes);
    assert!(kv.history.len() < 70, "the history has a bound of its own");
    assert!(kv.save().len() < 40 * 1024 * 1024);
}
