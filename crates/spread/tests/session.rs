//! A session against the client's side of the codec, and against what no client should send.

use bytes::Bytes;
use proptest::prelude::*;
use ringfort_spread::client::{self, Received, Receiver};
use ringfort_spread::reply::{self, Cause, GroupId, Sets};
use ringfort_spread::{
    ByteOrder, ConnectName, Ended, Hint, Input, Kind, MESSAGE_BYTES_MAX, Name, REJECTED_BYTES_MAX, Refusal, Session,
};

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name of a test is short")
}

fn bob() -> Name {
    name("#bob#site1")
}

/// A session of Bob's that is open.
fn open() -> Session {
    let mut session = Session::default();
    session.feed(&client::hello(ConnectName::new(b"bob").ok(), true));
    assert!(matches!(session.poll(), Ok(Some(Input::Hello(hello))) if hello.wants_membership));
    session.welcome(bob());
    session.feed(&client::null_method());
    assert_eq!(session.poll(), Ok(Some(Input::Opened)));
    session.take_outgoing();
    session
}

fn says(bytes: &[u8]) -> Result<Option<Input>, Ended> {
    let mut session = open();
    session.feed(bytes);
    session.poll()
}

fn little(kind: Kind, groups: &[Name], data: &[u8]) -> Bytes {
    client::message(ByteOrder::Little, kind, &bob(), groups, 7, data)
}

#[test]
fn a_connection_opens_as_recorded() {
    let mut session = Session::default();
    session.feed(&[5, 0, 1, 1, 3, b'b', b'o', b'b']);
    assert!(matches!(session.poll(), Ok(Some(Input::Hello(_)))));
    assert_eq!(session.poll(), Ok(None), "nothing is read before the daemon has decided");
    session.welcome(bob());
    assert_eq!(session.take_outgoing(), &[5, b'N', b'U', b'L', b'L', b' '][..]);
    session.feed(&client::null_method());
    assert_eq!(session.poll(), Ok(Some(Input::Opened)));
    assert_eq!(session.take_outgoing(), b"\x01\x05\x00\x01\x0a#bob#site1".as_slice());
    assert_eq!(session.private_name(), Some(bob()));
}

#[test]
fn a_hello_may_come_byte_by_byte_or_with_all_that_follows() {
    let mut bytes = client::hello(Some(ConnectName::new(b"bob").unwrap()), false).to_vec();
    bytes.extend_from_slice(&client::null_method());
    bytes.extend_from_slice(&little(Kind::JOIN, &[name("g")], b""));
    for step in [1, 7, bytes.len()] {
        let (mut session, mut inputs) = (Session::default(), Vec::new());
        for chunk in bytes.chunks(step) {
            session.feed(chunk);
            while let Some(input) = session.poll().unwrap() {
                if matches!(input, Input::Hello(_)) {
                    session.welcome(bob());
                }
                inputs.push(input);
            }
        }
        assert_eq!(inputs.len(), 3, "in steps of {step}");
        assert_eq!(inputs[2], Input::Join(name("g")));
    }
}

#[test]
fn a_refusal_is_one_byte_and_the_end() {
    let mut session = Session::default();
    session.feed(&[5, 0, 1, 1, 1, b'a']);
    session.poll().unwrap();
    session.refuse(Refusal::NameInUse);
    assert_eq!(session.take_outgoing(), [0xfa].as_slice(), "-6: the name is not unique here");
    assert_eq!(session.poll(), Err(Ended::Refused));
    for (hello, code, why) in [(&[2, 9][..], -7i8, Ended::Version), (&[5, 0, 1, 1, 1, b'#'], -5, Ended::BadName)] {
        let mut session = Session::default();
        session.feed(hello);
        assert_eq!(session.poll(), Err(why));
        assert_eq!(session.take_outgoing(), [code.cast_unsigned()].as_slice());
        assert!(!session.wants_more());
    }
}

#[test]
fn a_client_that_offers_no_method_is_turned_away() {
    let mut session = Session::default();
    session.feed(&[5, 0, 1, 1, 1, b'a']);
    session.poll().unwrap();
    session.welcome(name("#a#site1"));
    session.take_outgoing();
    session.feed(&[0; 90]);
    assert_eq!(session.poll(), Err(Ended::Authentication));
    assert_eq!(session.take_outgoing(), [0xf7].as_slice());
}

#[test]
fn clients_before_authentication_are_in_at_once() {
    let mut session = Session::default();
    session.feed(&[3, 14, 1, 1, b'a']);
    session.poll().unwrap();
    session.welcome(name("#a#site1"));
    assert_eq!(session.take_outgoing()[..4], [1, 5, 0, 1]);
    session.feed(&client::message(ByteOrder::Big, Kind::JOIN, &name("#a#site1"), &[name("g")], 0, b""));
    assert_eq!(session.poll(), Ok(Some(Input::Join(name("g")))));
}

#[test]
fn a_message_of_either_byte_order_keeps_its_hint() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let sent = client::message(order, Kind::AGREED, &bob(), &[name("g"), name("h")], -7, b"hi");
        let Ok(Some(Input::Multicast(message))) = says(&sent) else { panic!("not taken") };
        assert_eq!((message.kind, &message.data[..]), (Kind::AGREED, &b"hi"[..]));
        assert_eq!(message.groups, [name("g"), name("h")]);
        assert_eq!(message.hint, Hint::new(order, -7));
    }
}

#[test]
fn what_clients_may_send_and_what_ends_the_session() {
    let group = [name("g")];
    for kind in [Kind::UNRELIABLE, Kind::RELIABLE, Kind::FIFO, Kind::CAUSAL, Kind::AGREED, Kind::SAFE] {
        assert!(matches!(says(&little(kind, &group, b"x")), Ok(Some(Input::Multicast(_)))), "{kind:?}");
        assert!(says(&little(kind.and(Kind(0x4000_0000)), &group, b"x")).is_ok(), "subgroup casts pass");
    }
    assert!(matches!(says(&little(Kind::SAFE, &[], b"x")), Ok(Some(Input::Multicast(_)))), "to nobody");
    assert_eq!(says(&little(Kind::KILL, &[bob()], b"")), Ok(Some(Input::Disconnect)));
    assert_eq!(says(&little(Kind::JOIN, &[], b"")), Ok(None), "a join of no group is nothing");
    let two = Kind::SAFE.and(Kind::AGREED);
    for kind in [Kind(0), two, Kind::JOIN.and(Kind::LEAVE), Kind::SAFE.and(Kind::JOIN), Kind::SAFE.and(Kind::REGULAR)] {
        assert_eq!(says(&little(kind, &group, b"")), Err(Ended::Type), "{kind:?}");
    }
    let stranger = client::message(ByteOrder::Little, Kind::SAFE, &name("#eve#site1"), &group, 0, b"");
    assert_eq!(says(&stranger), Err(Ended::Sender));
    let crowd: Vec<Name> = (0..101).map(|n| name(&format!("g{n}"))).collect();
    assert_eq!(says(&little(Kind::SAFE, &crowd, b"")), Err(Ended::Size));
    assert!(says(&little(Kind::SAFE, &crowd[..100], b"")).is_ok());
    let mut bytes = little(Kind::SAFE, &group, b"").to_vec();
    bytes[47] = 0xff;
    assert_eq!(says(&bytes), Err(Ended::Size), "a negative length");
    let mut bytes = little(Kind::SAFE, &group, b"").to_vec();
    bytes[40] |= 1;
    assert_eq!(says(&bytes), Err(Ended::Malformed), "a hint with a bit that no hint has");
    let mut bytes = little(Kind::SAFE, &group, b"").to_vec();
    bytes[48..80].fill(b'x');
    assert_eq!(says(&bytes), Err(Ended::Malformed), "a group's name without an end");
}

#[test]
fn only_who_asks_where_it_may_sends_large_messages() {
    let large = little(Kind::AGREED, &[], &vec![7; ringfort_spread::LARGE_BYTES_MAX]);
    for (mut session, hello, taken) in [
        (Session::with_large_messages(), client::hello_for_large(None, true), true),
        (Session::with_large_messages(), client::hello(None, true), false),
        (Session::default(), client::hello_for_large(None, true), false),
    ] {
        session.feed(&hello);
        assert!(matches!(session.poll(), Ok(Some(Input::Hello(_)))));
        session.welcome(bob());
        session.feed(&client::null_method());
        assert_eq!(session.poll(), Ok(Some(Input::Opened)));
        let mut outcome = Ok(None);
        for chunk in large.chunks(60_000) {
            session.feed(chunk);
            outcome = session.poll();
            if outcome != Ok(None) {
                break;
            }
        }
        match outcome {
            Ok(Some(Input::Multicast(message))) => {
                assert!(taken && message.data.len() == ringfort_spread::LARGE_BYTES_MAX)
            }
            outcome => assert!(!taken && outcome == Err(Ended::Size), "{outcome:?}"),
        }
    }
}

#[test]
fn at_every_size_a_message_is_taken_rejected_or_the_end() {
    let room = MESSAGE_BYTES_MAX - 32;
    assert!(matches!(says(&little(Kind::FIFO, &[name("g")], &vec![1; room])), Ok(Some(Input::Multicast(_)))));
    for bytes in [room + 1, REJECTED_BYTES_MAX - 32] {
        let mut session = open();
        let sent = [
            little(Kind::FIFO.and(Kind::SELF_DISCARD), &[name("g")], &vec![1; bytes]),
            little(Kind::JOIN, &[name("g")], b""),
        ]
        .concat();
        let mut inputs = Vec::new();
        for chunk in sent.chunks(60_000) {
            assert!(session.wants_more());
            session.feed(chunk);
            inputs.extend(session.poll().unwrap());
        }
        assert_eq!(inputs, [Input::Join(name("g"))], "the session goes on after {bytes} bytes");
        let mut receiver = opened();
        receiver.feed(&session.take_outgoing());
        let Ok(Some(Received::Rejected { kind, groups, data })) = receiver.poll() else { panic!("not rejected") };
        assert_eq!((kind, groups, data.len()), (Kind::FIFO.and(Kind::SELF_DISCARD), vec![name("g")], bytes));
    }
    assert_eq!(says(&little(Kind::FIFO, &[name("g")], &vec![1; REJECTED_BYTES_MAX - 31])), Err(Ended::Size));
}

/// A client that is connected.
fn opened() -> Receiver {
    let mut receiver = Receiver::default();
    receiver.feed(b"\x05NULL \x01\x05\x00\x01\x0a#bob#site1");
    assert_eq!(receiver.poll(), Ok(Some(Received::Methods)));
    assert_eq!(receiver.poll(), Ok(Some(Received::Opened(bob()))));
    receiver
}

#[test]
fn memberships_as_recorded() {
    let id = GroupId { process: 0xa77e_11d3, time: 0x6c0c_1616, index: 1 };
    let joined = reply::membership(&name("g"), Cause::Join(bob()), id, &[bob()], &Sets::default());
    assert_eq!(joined[..4], [0x80, 0x11, 0, 0x80]);
    assert_eq!(joined[36..48], [1, 0, 0, 0, 0x80, 0, 0, 0x80, 0x38, 0, 0, 0]);
    assert_eq!(joined[80..104], *b"\xd3\x11\x7e\xa7\x16\x16\x0c\x6c\x01\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0");
    assert_eq!(joined[104..114], *b"#bob#site1");
    let sets = Sets { all: vec![vec![bob(), name("#eva#site1")], vec![name("#cy#site2")]], mine: 1 };
    let members = [bob(), name("#eva#site1"), name("#cy#site2")];
    let merged = reply::membership(&name("g"), Cause::Network, id, &members, &sets);
    assert_eq!(merged[48 + 96 + 16..][..4], [68, 0, 0, 0], "the offset of the second set");
    let mut receiver = opened();
    receiver.feed(&merged);
    let Ok(Some(Received::Membership { cause, members: seen, sets: all, mine, .. })) = receiver.poll() else {
        panic!("no membership")
    };
    assert_eq!((cause, &seen[..], all, mine), (Kind::CAUSED_BY_NETWORK, &members[..], sets.all, 1));
    receiver.feed(&reply::transitional(&name("g"), id));
    assert_eq!(receiver.poll(), Ok(Some(Received::Transitional { group: name("g"), old: id })));
    receiver.feed(&reply::self_leave(&name("g")));
    assert_eq!(receiver.poll(), Ok(Some(Received::SelfLeave(name("g")))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// No bytes panic, in any split, and a session never holds more than its bound.
    #[test]
    fn garbage_ends_a_session_and_nothing_else(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20), opened in any::<bool>()) {
        let mut session = if opened { open() } else { Session::default() };
        for chunk in chunks {
            session.feed(&chunk);
            for _ in 0..100 {
                match session.poll() {
                    Ok(Some(Input::Hello(_))) => session.welcome(bob()),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
        let mut receiver = Receiver::default();
        receiver.feed(&session.take_outgoing());
    }

    /// Messages in any split are the same messages.
    #[test]
    fn a_split_changes_nothing(data in prop::collection::vec(any::<u8>(), 0..3000), step in 1usize..400, big in any::<bool>()) {
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let sent = client::message(order, Kind::SAFE, &bob(), &[name("g")], 1, &data);
        let mut session = open();
        let mut inputs = Vec::new();
        for chunk in [&sent[..], &sent[..]].concat().chunks(step) {
            session.feed(chunk);
            while let Some(input) = session.poll().unwrap() { inputs.push(input); }
        }
        prop_assert_eq!(inputs.len(), 2);
        prop_assert!(inputs.iter().all(|input| matches!(input, Input::Multicast(m) if m.data[..] == data[..])));
    }
}
