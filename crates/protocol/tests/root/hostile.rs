//! Arbitrary input at every door: before login, after login as a member, as a leader, between leaders.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use ringfort_protocol::codec::{WIRE_VERSION, decode, encode};
use ringfort_protocol::coordination::SignedProposal;
use ringfort_protocol::data::Identity;
use ringfort_protocol::leader::{self, Command, Leader};
use ringfort_protocol::login::{
    Credential, LoginAnswer, LoginClient, LoginRequest, LoginServer, LoginServerLink, Registration,
};
use ringfort_protocol::member::{self, Member, Secret};
use ringfort_protocol::sealed::SealedChannel;
use ringfort_protocol::time::{Cx, Time};
use ringfort_protocol::view::MemberSet;
use ringfort_protocol::wire::{self, LeaderNotice, MemberRequest, PeerMessage, Sorted};
use ringfort_protocol::{GroupInfo, Incarnation, LinkId};

use crate::any;
use crate::harness::{dealt, key_of, leader_id, rng, user};

const LINK: LinkId = LinkId(1);
const EXPORTER: [u8; 32] = [9; 32];

macro_rules! cx {
    ($rng:expr) => {
        &mut Cx { now: Time::ZERO, unix_ms: 0, rng: $rng }
    };
}

/// Leader 1 with a link on which nobody has logged in.
fn leader() -> Leader {
    let (group, mut secrets) = dealt();
    let mut leader = Leader::new(cx!(&mut rng(1)), Arc::new(group), secrets.swap_remove(0), []);
    let registration = Registration::Key(key_of("eve").verifying_key());
    let _ = leader.on_command(cx!(&mut rng(1)), Command::Register(user("eve"), registration)).unwrap();
    leader.on_link_up(LINK, EXPORTER);
    (2..=4).for_each(|peer| drop(leader.on_peer_up(leader_id(peer))));
    leader
}

fn answer(step: &leader::Step) -> LoginAnswer {
    let frame = step.effects.iter().find_map(|effect| match effect {
        leader::Effect::Send(_, _, frame) => Some(frame),
        _ => None,
    });
    match wire::sort(frame.unwrap()) {
        Ok(Sorted::Plain(body)) => decode(body).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Eve, a registered user, logged in at leader 1 with a channel of her own making.
fn eve_at(leader: &mut Leader) -> SealedChannel {
    let group = dealt().0;
    let credential = Credential::Key(key_of("eve"));
    let draws = &mut rng(2);
    let (mut client, init) = LoginClient::start(&group, leader_id(1), EXPORTER, &user("eve"), &credential, draws);
    let step = leader.on_member_frame(cx!(draws), LINK, &wire::plain(&init));
    client.on_answer(&group, &answer(&step)).unwrap();
    let me = Identity::generate(user("eve"), Incarnation(1), draws);
    let (ack, channel) = client.acknowledge(&group, &credential, &me, draws).unwrap();
    let step = leader.on_member_frame(cx!(draws), LINK, &wire::plain(&ack));
    assert!(step.effects.iter().any(|effect| matches!(effect, leader::Effect::Authenticated(_))));
    // The other leaders let her in.
    for (peer, secrets) in (2..).zip(&dealt().1[1..]) {
        let join = ringfort_protocol::coordination::Operation::Join(me.entry());
        let said = SignedProposal::sign(&secrets.signing, leader_id(peer), group.session(), join, false);
        let _ = leader.on_peer_frame(cx!(draws), leader_id(peer), &wire::plain(&PeerMessage::Proposals(vec![said])));
    }
    assert_eq!(leader.members().len(), 1);
    channel
}

/// Ana, logged in at leaders of which this test plays all.
struct Played {
    ana: Member,
    channels: Vec<SealedChannel>,
}

fn frames_of(step: member::Step) -> Vec<Bytes> {
    let frame = |effect| match effect {
        member::Effect::Send(_, _, frame) => Some(frame),
        _ => None,
    };
    step.effects.into_iter().filter_map(frame).collect()
}

fn request(frame: &Bytes) -> Option<LoginRequest> {
    match wire::sort(frame) {
        Ok(Sorted::Plain(body)) => decode(body).ok(),
        _ => None,
    }
}

fn ana() -> (Arc<GroupInfo>, Member) {
    let group = Arc::new(dealt().0);
    let ana = Member::new(cx!(&mut rng(3)), group.clone(), user("ana"), Secret::Key(key_of("ana")));
    (group, ana)
}

fn played() -> Played {
    let (group, mut ana) = ana();
    let secrets = dealt().1;
    let draws = &mut rng(3);
    let mut parts = Vec::new();
    let mut acks = Vec::new();
    for secrets in &secrets[..3] {
        let mut server = LoginServer::new(&group);
        server.register(user("ana"), Registration::Key(key_of("ana").verifying_key()));
        let mut link = LoginServerLink::default();
        let frames = frames_of(ana.on_link_up(cx!(draws), secrets.id, EXPORTER));
        let Some(LoginRequest::Init { user, method, n1, asks }) = frames.first().and_then(request) else {
            panic!("no init")
        };
        let message = (user, method, n1, asks);
        let answer =
            server.on_init(cx!(draws), &group, secrets, &mut link, &EXPORTER, Incarnation(0), message).unwrap();
        parts.push((server, link));
        acks = frames_of(ana.on_frame(cx!(draws), secrets.id, &wire::plain(&answer)));
    }
    let acks: Vec<_> = acks.iter().filter_map(request).collect();
    assert_eq!(acks.len(), 3, "one message 3 for each of n-f leaders");
    let played = parts.iter_mut().zip(&secrets).zip(&acks);
    let channels = played.map(|(((server, link), secrets), ack)| {
        let members = MemberSet::default();
        let cx: &Cx<'_> = cx!(draws);
        let proved = server.on_ack(cx, &group, secrets, link, &EXPORTER, ack, &members);
        proved.map_err(|_| "the login failed").unwrap().channel
    });
    let channels = channels.collect();
    Played { ana, channels }
}

fn framed(tag: u8, body: &[u8]) -> Bytes {
    [&[WIRE_VERSION, tag], body].concat().into()
}

fn junk() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    prop::collection::vec((0u8..5, prop::collection::vec(any::<u8>(), 0..200)), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_at_a_leader_before_login(junk in junk()) {
        let mut leader = leader();
        let draws = &mut rng(4);
        for (number, (tag, body)) in (2..).zip(&junk) {
            leader.on_link_up(LinkId(number), EXPORTER);
            let _ = leader.on_member_frame(cx!(draws), LinkId(number), &body.clone().into());
            let _ = leader.on_member_frame(cx!(draws), LINK, &framed(*tag, body));
            let _ = leader.on_peer_frame(cx!(draws), leader_id(4), &framed(*tag, body));
            let _ = leader.on_peer_frame(cx!(draws), leader_id(4), &body.clone().into());
        }
        prop_assert!(leader.members().is_empty());
    }

    #[test]
    fn login_messages_at_a_leader(requests in prop::collection::vec(any::login_request(), 1..20)) {
        let mut leader = leader();
        let draws = &mut rng(4);
        for (number, request) in (2..).zip(&requests) {
            leader.on_link_up(LinkId(number), EXPORTER);
            for link in [LINK, LinkId(number), LinkId(999)] {
                let step = leader.on_member_frame(cx!(draws), link, &wire::plain(request));
                prop_assert!(!step.effects.iter().any(|e| matches!(e, leader::Effect::Authenticated(_))));
            }
        }
    }

    #[test]
    fn requests_of_a_member(
        requests in prop::collection::vec(any::member_request(), 1..20),
        junk in junk(),
    ) {
        let mut leader = leader();
        let mut eve = eve_at(&mut leader);
        let draws = &mut rng(4);
        for request in requests.iter().filter(|r| **r != MemberRequest::Leave) {
            let _ = leader.on_member_frame(cx!(draws), LINK, &eve.seal(&encode(request)));
        }
        for (tag, body) in &junk {
            let _ = leader.on_member_frame(cx!(draws), LINK, &eve.seal(body));
            let _ = leader.on_member_frame(cx!(draws), LINK, &framed(*tag, body));
        }
        prop_assert_eq!(leader.members().len(), 1);
        prop_assert_eq!(leader.member_of(LINK).map(|id| id.user.as_str()), Some("eve"));
    }

    #[test]
    fn messages_of_a_hacked_leader(
        messages in prop::collection::vec(any::peer_message(), 1..10),
        operations in prop::collection::vec((any::operation(), any::<bool>()), 1..20),
    ) {
        let mut leader = leader();
        let draws = &mut rng(4);
        let (group, secrets) = dealt();
        let key = &secrets[3].signing;
        let signed = operations.into_iter().map(|(operation, accepted)| {
            let said = SignedProposal::sign(key, leader_id(4), group.session(), operation, accepted);
            PeerMessage::Proposals(vec![said])
        });
        for message in messages.into_iter().chain(signed) {
            let _ = leader.on_peer_frame(cx!(draws), leader_id(4), &wire::plain(&message));
        }
        prop_assert!(leader.members().is_empty(), "f leaders bring nobody in");
        prop_assert_eq!(leader.view().epoch.0, 0);
    }

    #[test]
    fn bytes_at_a_member_before_login(junk in junk(), answers in prop::collection::vec(any::login_answer(), 1..10)) {
        let (_, mut ana) = ana();
        let draws = &mut rng(4);
        let _ = ana.on_link_up(cx!(draws), leader_id(1), EXPORTER);
        for (tag, body) in &junk {
            let _ = ana.on_frame(cx!(draws), leader_id(1), &framed(*tag, body));
            let _ = ana.on_frame(cx!(draws), leader_id(2), &body.clone().into());
        }
        for answer in &answers {
            let _ = ana.on_frame(cx!(draws), leader_id(1), &wire::plain(answer));
        }
        prop_assert_eq!(ana.view(), None);
        prop_assert!(!ana.has_ended());
    }

    #[test]
    fn notices_of_a_hacked_leader(
        notices in prop::collection::vec(any::leader_notice(), 1..20),
        junk in junk(),
    ) {
        let mut played = played();
        let draws = &mut rng(4);
        for notice in &notices {
            let frame = played.channels[0].seal(&encode(notice));
            let _ = played.ana.on_frame(cx!(draws), leader_id(1), &frame);
        }
        for (tag, body) in &junk {
            let frame = played.channels[0].seal(body);
            let _ = played.ana.on_frame(cx!(draws), leader_id(1), &frame);
            let _ = played.ana.on_frame(cx!(draws), leader_id(1), &framed(*tag, body));
        }
        let _ = played.ana.on_wakeup(&mut Cx {
            now: Time::from_start(std::time::Duration::from_secs(60)), unix_ms: 0, rng: draws,
        });
        prop_assert_eq!(played.ana.view(), None, "f leaders install nothing");
        prop_assert!(!played.ana.has_ended(), "and end nothing (K36)");
    }
}

/// The word of one leader ends no stay; that of f+1 does.
#[test]
fn f_leaders_do_not_end_a_stay_and_f_plus_1_do() {
    let mut played = played();
    let draws = &mut rng(4);
    let notice = encode(&LeaderNotice::Ended {
        cause: ringfort_protocol::view::Cause::Expelled,
        epoch: ringfort_protocol::Epoch(1),
    });
    for _ in 0..5 {
        let frame = played.channels[0].seal(&notice);
        let _ = played.ana.on_frame(cx!(draws), leader_id(1), &frame);
    }
    assert!(!played.ana.has_ended());
    let frame = played.channels[1].seal(&notice);
    let _ = played.ana.on_frame(cx!(draws), leader_id(2), &frame);
    assert!(played.ana.has_ended());
}

/// While a stay begins, the end of which two leaders tell with two causes, whoever lies about the cause ends no program.
#[test]
fn a_leader_that_lies_about_a_cause_ends_no_join() {
    use ringfort_protocol::view::Cause;
    let mut played = played();
    let draws = &mut rng(4);
    for (by, cause) in [(1, Cause::Left), (2, Cause::SessionOver)] {
        let notice = encode(&LeaderNotice::Ended { cause, epoch: ringfort_protocol::Epoch(1) });
        let frame = played.channels[by - 1].seal(&notice);
        let _ = played.ana.on_frame(cx!(draws), leader_id(by as u8), &frame);
    }
    assert!(!played.ana.has_ended());
}
