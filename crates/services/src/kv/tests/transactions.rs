//! Several keys at once.

use super::*;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

fn change(conditions: &[Condition], changes: &[Change]) -> KvRequest {
    KvRequest::Transact(Transaction { conditions: conditions.to_vec(), then: Then::Change(changes.to_vec()) })
}

fn read(conditions: &[Condition], keys: &[&str]) -> KvRequest {
    let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    KvRequest::Transact(Transaction { conditions: conditions.to_vec(), then: Then::Read(keys) })
}

fn put(key: &str, value: &[u8]) -> Change {
    Change::put(key.as_bytes(), value)
}

fn delete(key: &str) -> Change {
    Change::delete(key.as_bytes())
}

fn revision(key: &str, revision: Revision) -> Condition {
    Condition::revision(key.as_bytes(), revision)
}

fn value(key: &str, value: &str) -> Condition {
    Condition::value(key.as_bytes(), value.as_bytes())
}

fn changed(existed: &[bool]) -> Outcome {
    Outcome::Transacted(Transacted::Changed(existed.to_vec()))
}

fn failed(condition: u8, modified: Revision) -> Outcome {
    Outcome::Transacted(Transacted::Failed { condition, modified })
}

impl World {
    fn transact(&mut self, request: &KvRequest) -> (Revision, Outcome) {
        let KvReply { revision, outcome } = self.ask(request);
        (revision, outcome)
    }
}

#[test]
fn all_changes_have_one_revision_and_what_changes_nothing_has_none() {
    let mut world = World::default();
    world.put("ben", "old", b"1", None);
    let changes = [put("a", b"2"), delete("old"), delete("nothing"), put("b", b"3")];
    assert_eq!(world.transact(&change(&[], &changes)), (2, changed(&[false, true, false, false])));
    let (a, b) = (world.get("a").unwrap(), world.get("b").unwrap());
    assert_eq!((a.created, a.modified, a.version, b.created, b.modified), (2, 2, 1, 2, 2));
    assert_eq!((a.writer.as_str(), a.time_us, world.get("old")), ("ana", 20, None));
    assert_eq!(world.transact(&change(&[], &[delete("old"), delete("nothing")])), (2, changed(&[false, false])));
    assert_eq!(world.transact(&change(&[], &[])), (2, changed(&[])));
    assert_eq!(world.transact(&change(&[], &[put("a", b"2")])), (3, changed(&[true])), "a put is a change");
    assert_eq!(world.get("a").unwrap().version, 2);
}

#[test]
fn nothing_is_done_unless_every_condition_holds_and_the_first_that_does_not_is_told() {
    let mut world = World::default();
    world.put("ana", "a", b"x", None);
    world.put("ana", "b", b"y", None);
    let before = world.kv.clone();
    let changes = [put("a", b"z"), delete("b"), put("c", b"w")];
    for (conditions, told) in [
        ([revision("a", 2), revision("b", 2), revision("c", 0)], failed(0, 1)),
        ([revision("a", 1), revision("b", 0), revision("c", 1)], failed(1, 2)),
        ([revision("a", 1), revision("b", 2), revision("c", 1)], failed(2, 0)),
        ([value("a", "x"), value("b", "x"), revision("c", 0)], failed(1, 2)),
        ([value("a", "x"), value("b", "y"), value("c", "")], failed(2, 0)),
    ] {
        assert_eq!(world.transact(&change(&conditions, &changes)), (2, told));
        assert_eq!(world.kv, before);
    }
    assert_eq!(world.transact(&read(&[revision("c", 1)], &["a"])), (2, failed(0, 0)));
    let conditions = [value("a", "x"), revision("b", 2), revision("c", 0)];
    assert_eq!(world.transact(&change(&conditions, &changes)), (3, changed(&[true, true, false])));
}

#[test]
fn several_keys_are_read_at_one_revision_within_the_bound_of_a_reply() {
    let mut world = World::default();
    world.put("ana", "a", b"1", None);
    let (_, outcome) = world.transact(&read(&[value("a", "1")], &["b", "a"]));
    let Outcome::Transacted(Transacted::Read(found)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((found.len(), &found[0], &found[1]), (2, &None, &world.get("a")));
    let fits = LIST_BYTES_MAX / 2 - 1 - ENTRY_BYTES as usize;
    world.put("ana", "b", &vec![0; fits], None);
    world.put("ana", "c", &vec![0; fits], None);
    let both = read(&[], &["b", "c"]);
    assert!(matches!(world.ask(&both).outcome, Outcome::Transacted(Transacted::Read(_))));
    world.put("ana", "c", &vec![0; fits + 1], None);
    assert_eq!(world.ask(&both).outcome, Outcome::Refused(Refusal::Reply));
    world.put("ana", "c", &vec![0; VALUE_BYTES_MAX], None);
    let one = world.ask(&read(&[], &["c", "nothing"])).outcome;
    assert!(matches!(one, Outcome::Transacted(Transacted::Read(_))), "one is always told");
}

#[test]
fn a_transaction_has_bounds_and_no_key_twice() {
    let mut world = World::default();
    let numbered = |count: usize| (0..count).map(|number| format!("k{number}")).collect::<Vec<_>>();
    let (fits, many) = (numbered(TRANSACTION_MAX), numbered(TRANSACTION_MAX + 1));
    let conditions = |keys: &[String]| keys.iter().map(|key| revision(key, 0)).collect::<Vec<_>>();
    let deletes = |keys: &[String]| keys.iter().map(|key| delete(key)).collect::<Vec<_>>();
    let largest = change(&conditions(&fits), &deletes(&fits));
    assert_eq!(world.ask(&largest).outcome, changed(&[false; TRANSACTION_MAX]));
    let keys: Vec<&str> = many.iter().map(String::as_str).collect();
    for request in [change(&conditions(&many), &[]), change(&[], &deletes(&many)), read(&[], &keys)] {
        assert_eq!(world.ask(&request).outcome, Outcome::Refused(Refusal::Unknown), "it does not decode");
        let KvRequest::Transact(transaction) = request else { panic!("it is one") };
        assert_eq!(transaction.check(), Err(Refusal::Many));
    }
    let twice = [
        change(&[], &[put("a", b"1"), delete("a")]),
        change(&[revision("a", 0), value("a", "1")], &[put("a", b"1")]),
        read(&[], &["a", "b", "a"]),
    ];
    for request in twice {
        assert_eq!(world.ask(&request).outcome, Outcome::Refused(Refusal::Twice));
    }
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in ["", &long] {
        for request in [change(&[revision(key, 0)], &[]), change(&[], &[put(key, b"")]), read(&[], &[key])] {
            assert_eq!(world.ask(&request).outcome, Outcome::Refused(Refusal::Key));
        }
    }
    let long = "v".repeat(VALUE_BYTES_MAX + 1);
    for request in [change(&[value("a", &long)], &[]), change(&[], &[put("b", b"1"), put("a", long.as_bytes())])] {
        assert_eq!(world.ask(&request).outcome, Outcome::Refused(Refusal::Value));
    }
    assert_eq!(world.kv, Kv::default());
    // A list that says it is longer than the bytes behind it.
    for bytes in
        [&[5, 255, 255, 255, 255][..], &[5, 0, 0, 0, 0, 1, 255, 255, 255, 255], &[5, 0, 0, 0, 0, 2, 16, 0, 0, 0]]
    {
        assert!(decode::<KvRequest>(bytes).is_err());
    }
}

#[test]
fn a_transaction_may_do_what_its_parts_may() {
    let mut world = World::default();
    world.put("ana", "a", b"1", None);
    let refused = Outcome::Refused(Refusal::Role);
    let (plain, guess) = (change(&[revision("a", 1)], &[]), change(&[value("a", "1")], &[]));
    let look = read(&[revision("a", 1)], &["a"]);
    for role in [Role::Receiver, Role::Archive] {
        assert_eq!(world.ask_as("rec", role, &plain).outcome, refused);
        assert_ne!(world.ask_as("rec", role, &look).outcome, refused);
    }
    assert_eq!(world.ask_as("sen", Role::Sender, &plain).outcome, changed(&[]));
    assert_eq!(world.ask_as("sen", Role::Sender, &look).outcome, refused);
    assert_eq!(world.ask_as("sen", Role::Sender, &guess).outcome, refused, "it would learn the value by guessing");
    assert_eq!(world.ask_as("ana", Role::Member, &guess).outcome, changed(&[]));
}

#[test]
fn the_room_for_keys_is_checked_for_all_changes_together() {
    let mut kv = Kv::default();
    let ask = |kv: &mut Kv, user: &str, changes: &[Change]| {
        let user = user.parse().unwrap();
        let order = Ordered { place: 1, time_us: 1, user: &user, role: Role::Member };
        decode::<KvReply>(&kv.apply(&order, &encode(&change(&[], changes)))).unwrap()
    };
    for first in (0..KEYS_MAX).step_by(TRANSACTION_MAX) {
        let numbers = first..first + TRANSACTION_MAX as u64;
        let changes: Vec<Change> = numbers.map(|number| put(&number.to_string(), b"")).collect();
        let user = format!("u{}", first / 16_384);
        assert_eq!(ask(&mut kv, &user, &changes).outcome, changed(&[false; TRANSACTION_MAX]));
    }
    let before = kv.clone();
    let refused = KvReply { revision: before.revision, outcome: Outcome::Refused(Refusal::StoreFull) };
    assert_eq!(ask(&mut kv, "ana", &[delete("7"), put("x", b""), put("y", b"")]), refused);
    assert_eq!(kv, before, "the key that would go is still there");
    let swapped = ask(&mut kv, "ana", &[put("x", b""), put("y", b""), delete("7"), delete("8")]);
    assert_eq!(swapped.outcome, changed(&[false, false, true, true]), "in whatever order they are named");
    assert_eq!((kv.keys.len() as u64, kv.revision), (KEYS_MAX, before.revision + 1));
}

/// What a store is, without totals that are carried along: a transaction is tried on a copy, which is thrown away if it fails.
#[derive(Clone, Default)]
struct Model {
    revision: Revision,
    keys: BTreeMap<Vec<u8>, Item>,
}

impl Model {
    fn ask(&mut self, user: &UserName, conditions: &[Condition], changes: &[Change]) -> Outcome {
        for (number, Condition { key, expected }) in conditions.iter().enumerate() {
            let (modified, value) = self.keys.get(key).map_or((0, None), |item| (item.modified, Some(&item.value)));
            let holds = match expected {
                Expected::Revision(revision) => modified == *revision,
                Expected::Value(expected) => value == Some(expected),
            };
            if !holds {
                return failed(number as u8, modified);
            }
        }
        let mut after = self.clone();
        let existed: Vec<bool> = changes.iter().map(|change| after.change(user, self.revision + 1, change)).collect();
        let taken = |of: &dyn Fn(&Item) -> bool| -> u64 {
            after.keys.iter().filter(|(_, item)| of(item)).map(|(key, item)| cost(key, &item.value)).sum()
        };
        if taken(&|_| true) > STORE_BYTES_MAX {
            return Outcome::Refused(Refusal::StoreFull);
        }
        if taken(&|item| item.writer == *user) > USER_BYTES_MAX {
            return Outcome::Refused(Refusal::UserFull);
        }
        *self = after;
        changed(&existed)
    }

    fn change(&mut self, user: &UserName, revision: Revision, change: &Change) -> bool {
        match change {
            Change::Delete { key } => {
                let existed = self.keys.remove(key).is_some();
                self.revision = if existed { revision } else { self.revision };
                existed
            }
            Change::Put { key, value } => {
                self.revision = revision;
                let new = Item {
                    value: value.clone(),
                    created: revision,
                    modified: revision,
                    version: 1,
                    writer: user.clone(),
                    time_us: 7,
                };
                match self.keys.entry(key.clone()) {
                    std::collections::btree_map::Entry::Vacant(free) => {
                        free.insert(new);
                        false
                    }
                    std::collections::btree_map::Entry::Occupied(mut taken) => {
                        let (created, version) = (taken.get().created, taken.get().version + 1);
                        taken.insert(Item { created, version, ..new });
                        true
                    }
                }
            }
        }
    }
}

/// The condition's revision or value is right in most draws.
fn any_condition(rng: &mut ChaCha12Rng, kv: &Kv, key: &str) -> Condition {
    let item = kv.keys.get(key.as_bytes());
    match rng.next_u32() % 16 {
        0 => revision(key, u64::from(rng.next_u32() % 30)),
        1..8 => Condition::value(key.as_bytes(), item.map_or(&b""[..], |item| &item.value)),
        _ => revision(key, item.map_or(0, |item| item.modified)),
    }
}

fn both(kv: &mut Kv, model: &mut Model, user: &UserName, conditions: &[Condition], changes: &[Change]) -> Outcome {
    let order = Ordered { place: 1, time_us: 7, user, role: Role::Member };
    let reply: KvReply = decode(&kv.apply(&order, &encode(&change(conditions, changes)))).unwrap();
    assert_eq!(reply.outcome, model.ask(user, conditions, changes));
    assert!(reply.revision == model.revision && kv.keys == model.keys);
    reply.outcome
}

/// Most of ana's room is taken, so that her transactions often do not fit. They are longer than a request may be.
#[test]
fn a_store_is_what_a_simple_model_is_after_any_transactions() {
    let mut seen = [0; 4];
    for seed in 0..4 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let (mut kv, mut model) = (Kv::default(), Model::default());
        for key in 0..54 {
            let full = put(&format!("full{key}"), &[7; VALUE_BYTES_MAX]);
            both(&mut kv, &mut model, &"ana".parse().unwrap(), &[], &[full]);
        }
        for step in 0..60 {
            let user: UserName = ["ana", "ana", "ana", "ben"][rng.next_u32() as usize % 4].parse().unwrap();
            let keys: Vec<String> = (0..24).map(|key| format!("k{key}")).filter(|_| rng.next_u32() % 3 == 0).collect();
            let keys = &keys[..keys.len().min(TRANSACTION_MAX)];
            let conditions = keys.iter().filter(|_| seed > 0).take(2).map(|key| any_condition(&mut rng, &kv, key));
            let conditions: Vec<Condition> = conditions.collect();
            let changes = keys.iter().map(|key| match rng.next_u32() % 4 {
                0 => delete(key),
                size => put(key, &vec![step; size as usize * 20_000]),
            });
            let changes: Vec<Change> = changes.collect();
            let outcome = both(&mut kv, &mut model, &user, &conditions, &changes);
            seen[match outcome {
                Outcome::Transacted(Transacted::Changed(_)) => 0,
                Outcome::Transacted(Transacted::Failed { .. }) => 1,
                Outcome::Refused(Refusal::UserFull) => 2,
                _ => 3,
            }] += 1;
        }
        assert_eq!(Kv::load(&kv.save()).unwrap(), kv, "the totals that are carried along are those of the keys");
    }
    assert!(seen[0] > 40 && seen[1] > 5 && seen[2] > 5 && seen[3] == 0, "{seen:?}");
}
