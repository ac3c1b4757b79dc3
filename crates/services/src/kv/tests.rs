//! The store by itself.

use super::*;
use crate::limits::{ANSWER_BYTES_MAX, BODY_BYTES_MAX, KEPT_REPLY_BYTES_MAX};
use ringfort_protocol::Role;

mod transactions;

#[derive(Default)]
struct World {
    kv: Kv,
    place: u64,
}

impl World {
    fn ask_as(&mut self, user: &str, role: Role, request: &KvRequest) -> KvReply {
        self.place += 1;
        let (user, request) = (user.parse().unwrap(), encode(request));
        assert!(request.len() <= BODY_BYTES_MAX);
        let before = self.kv.revision;
        let order = Ordered { place: self.place, time_us: self.place * 10, user: &user, role };
        let reply = self.kv.apply(&order, &request);
        assert!(reply.len() < ANSWER_BYTES_MAX - 64);
        assert!(self.kv.revision == before || reply.len() <= KEPT_REPLY_BYTES_MAX, "a change has a short reply");
        let again = Kv::load(&self.kv.save()).unwrap();
        assert_eq!(again, self.kv, "nothing is lost in a checkpoint");
        decode(&reply).unwrap()
    }

    fn ask(&mut self, request: &KvRequest) -> KvReply {
        self.ask_as("ana", Role::Member, request)
    }

    fn put(&mut self, user: &str, key: &str, value: &[u8], expected: Option<Revision>) -> (Revision, Outcome) {
        let request = KvRequest::Put { key: key.into(), value: value.into(), expected };
        let KvReply { revision, outcome } = self.ask_as(user, Role::Member, &request);
        (revision, outcome)
    }

    fn delete(&mut self, key: &str, expected: Option<Revision>) -> (Revision, Outcome) {
        let KvReply { revision, outcome } = self.ask(&KvRequest::Delete { key: key.into(), expected });
        (revision, outcome)
    }

    fn get(&mut self, key: &str) -> Option<KeyValue> {
        match self.ask(&KvRequest::Get { key: key.into() }).outcome {
            Outcome::Got(found) => found,
            other => panic!("{other:?}"),
        }
    }

    fn list(&mut self, prefix: &str, after: Option<&str>, limit: u32) -> (Vec<String>, bool) {
        let request = KvRequest::List { prefix: prefix.into(), after: after.map(Into::into), limit };
        match self.ask(&request).outcome {
            Outcome::Listed { entries, more } => {
                (entries.into_iter().map(|entry| String::from_utf8(entry.key).unwrap()).collect(), more)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_change_has_a_revision_and_what_changes_nothing_has_none() {
    let mut world = World::default();
    assert_eq!(world.put("ana", "a", b"1", None), (1, Outcome::Put));
    assert_eq!(world.put("ben", "a", b"2", None), (2, Outcome::Put));
    assert_eq!(world.put("ana", "b", b"3", None), (3, Outcome::Put));
    let a = world.get("a").unwrap();
    assert_eq!((a.created, a.modified, a.version, a.value.as_slice()), (1, 2, 2, &b"2"[..]));
    assert_eq!((a.writer.as_str(), a.time_us), ("ben", 20));
    assert_eq!(world.delete("nothing", None), (3, Outcome::Deleted { existed: false }));
    assert_eq!(world.delete("a", None), (4, Outcome::Deleted { existed: true }));
    assert_eq!(world.get("a"), None);
    assert_eq!(world.put("ana", "a", b"4", None), (5, Outcome::Put));
    let a = world.get("a").unwrap();
    assert_eq!((a.created, a.modified, a.version), (5, 5, 1), "it came to be anew");
}

#[test]
fn a_condition_holds_for_the_last_change_and_else_nothing_changes() {
    let mut world = World::default();
    assert_eq!(world.put("ana", "a", b"1", Some(1)), (0, Outcome::Conflict { modified: 0 }));
    assert_eq!(world.put("ana", "a", b"1", Some(0)), (1, Outcome::Put), "there was no such key");
    assert_eq!(world.put("ana", "a", b"2", Some(0)), (1, Outcome::Conflict { modified: 1 }));
    assert_eq!(world.put("ana", "a", b"2", Some(1)), (2, Outcome::Put));
    assert_eq!(world.delete("a", Some(1)), (2, Outcome::Conflict { modified: 2 }));
    assert_eq!(world.get("a").unwrap().value, b"2");
    assert_eq!(world.delete("a", Some(2)), (3, Outcome::Deleted { existed: true }));
    assert_eq!(world.delete("a", Some(0)), (3, Outcome::Deleted { existed: false }));
}

#[test]
fn lists_go_over_a_prefix_in_parts() {
    let mut world = World::default();
    for key in ["b/2", "a", "b/1", "b0", "b/3", "b"] {
        world.put("ana", key, b"x", None);
    }
    assert_eq!(world.list("b/", None, 10), (vec!["b/1".into(), "b/2".into(), "b/3".into()], false));
    assert_eq!(world.list("b/", None, 2), (vec!["b/1".into(), "b/2".into()], true));
    assert_eq!(world.list("b/", Some("b/2"), 2), (vec!["b/3".into()], false));
    assert_eq!(world.list("b/", Some("a"), 1), (vec!["b/1".into()], true), "from before the prefix");
    assert_eq!(world.list("b/", Some("c"), 9), (vec![], false));
    assert_eq!(world.list("", None, 0), (vec![], true));
    assert_eq!(world.list("", None, u32::MAX).0.len(), 6);
}

#[test]
fn a_reply_to_a_list_has_a_bound_and_always_goes_on() {
    let mut world = World::default();
    let value = vec![7; VALUE_BYTES_MAX];
    for key in ["a", "b", "c"] {
        assert_eq!(world.put("ana", key, &value, None).1, Outcome::Put);
    }
    assert_eq!(world.list("", None, 100), (vec!["a".into()], true));
    assert_eq!(world.list("", Some("a"), 100), (vec!["b".into()], true));
    assert_eq!(world.list("", Some("b"), 100), (vec!["c".into()], false));
}

#[test]
fn keys_and_values_have_bounds() {
    let mut world = World::default();
    let refused = |refusal| (0, Outcome::Refused(refusal));
    assert_eq!(world.put("ana", "", b"1", None), refused(Refusal::Key));
    assert_eq!(world.put("ana", &"k".repeat(KEY_BYTES_MAX + 1), b"1", None), refused(Refusal::Key));
    assert_eq!(world.put("ana", "a", &vec![0; VALUE_BYTES_MAX + 1], None), refused(Refusal::Value));
    assert_eq!(world.delete("", None), refused(Refusal::Key));
    let user = "ana".parse().unwrap();
    let order = Ordered { place: 1, time_us: 1, user: &user, role: Role::Member };
    for bytes in [&[][..], &[9], &[3, 255, 255, 255, 255], &[3, 0, 0, 0, 0, 0]] {
        let reply: KvReply = decode(&world.kv.apply(&order, bytes)).unwrap();
        assert_eq!(reply.outcome, Outcome::Refused(Refusal::Unknown), "{bytes:?}");
    }
    assert_eq!(world.put("ana", &"k".repeat(KEY_BYTES_MAX), &vec![0; VALUE_BYTES_MAX], None).1, Outcome::Put);
}

#[test]
fn who_may_not_send_changes_nothing_and_who_may_not_receive_reads_nothing() {
    let mut world = World::default();
    world.put("ana", "a", b"1", None);
    let put = KvRequest::Put { key: b"a".to_vec(), value: b"2".to_vec(), expected: None };
    let delete = KvRequest::Delete { key: b"a".to_vec(), expected: None };
    let get = KvRequest::Get { key: b"a".to_vec() };
    let list = KvRequest::List { prefix: Vec::new(), after: None, limit: 1 };
    let refused = Outcome::Refused(Refusal::Role);
    for request in [&put, &delete] {
        assert_eq!(world.ask_as("rec", Role::Receiver, request).outcome, refused);
        assert_eq!(world.ask_as("arc", Role::Archive, request).outcome, refused);
    }
    for request in [&get, &list] {
        assert_eq!(world.ask_as("sen", Role::Sender, request).outcome, refused);
        assert_ne!(world.ask_as("arc", Role::Archive, request).outcome, refused);
    }
    assert_eq!(world.ask_as("sen", Role::Sender, &put).outcome, Outcome::Put);
}

#[test]
fn what_one_user_wrote_last_has_a_bound_that_deleting_and_overwriting_give_back() {
    let mut kv = Kv::default();
    let (ana, ben): (UserName, UserName) = ("ana".parse().unwrap(), "ben".parse().unwrap());
    let put = |kv: &mut Kv, user: &UserName, key: String, bytes: usize| {
        let order = Ordered { place: 1, time_us: 1, user, role: Role::Member };
        let request = KvRequest::Put { key: key.into_bytes(), value: vec![0; bytes], expected: None };
        decode::<KvReply>(&kv.apply(&order, &encode(&request))).unwrap().outcome
    };
    let each = USER_BYTES_MAX / 64;
    let fits = usize::try_from(each - ENTRY_BYTES - 2).unwrap();
    for key in 10..74 {
        assert_eq!(put(&mut kv, &ana, format!("{key}"), fits), Outcome::Put);
    }
    assert_eq!(put(&mut kv, &ana, "more".into(), 0), Outcome::Refused(Refusal::UserFull));
    assert_eq!(put(&mut kv, &ana, "10".into(), fits), Outcome::Put, "what it takes the place of is given back");
    assert_eq!(put(&mut kv, &ana, "10".into(), fits + 1), Outcome::Refused(Refusal::UserFull));
    assert_eq!(put(&mut kv, &ben, "10".into(), 1), Outcome::Put, "it is ben's now");
    assert_eq!(put(&mut kv, &ana, "more".into(), 0), Outcome::Put);
    for (count, user) in ["cy", "dora", "eve", "fay", "gus"].into_iter().enumerate() {
        let user = user.parse().unwrap();
        for key in 10..74 {
            assert_eq!(put(&mut kv, &user, format!("{count}/{key}"), fits - 2), Outcome::Put);
        }
    }
    let hal: UserName = "hal".parse().unwrap();
    let full = (0..64).map(|key| put(&mut kv, &hal, format!("h{key}"), fits)).find(|outcome| *outcome != Outcome::Put);
    assert_eq!(full, Some(Outcome::Refused(Refusal::StoreFull)));
    assert!(kv.bytes <= STORE_BYTES_MAX && kv.used.values().sum::<u64>() == kv.bytes);
}
