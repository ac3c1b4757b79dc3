//! What admitted members can do over honest sites: they say to one what is for all, vote before others could answer, and
//! seal what nobody can open. None of it puts out, holds up or misleads whoever does its part.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_kernel::Time;
use ringfort_peer::{GroupViewId, Name, RingId, Service};
use ringfort_peer_keys::flush::{Flush, OutWhy, SiteView};
use ringfort_peer_keys::ids::MEMBERS_MAX;
use ringfort_peer_keys::keys::context::Binding;
use ringfort_peer_keys::wire::{Again, Body, FlushOk, Frame, KeyFrame, KeyPayload, Vote, Why};
use ringfort_peer_keys::{Effect, Event, KeyProtocol, Peer, Ristretto, Rules};

use super::attacks::{PROTOCOLS, count, together};
use super::sites::Entry;
use super::world::{Seen, World, name, text};

fn put_out(world: &World<Ristretto>, who: &str) -> usize {
    count(world, who, |seen| matches!(seen, Seen::Other(Event::PutOut(_))))
}

fn post(world: &mut World<Ristretto>, from: &str, service: Service, to: Option<&str>, bytes: Bytes) {
    world.sites.post(Entry::Message { from: name(from), service, to: to.map(name), bytes });
}

fn request(world: &World<Ristretto>, from: &str, why: Why) -> Bytes {
    let process = &world.processes[&name(from)];
    let round = process.peer.as_ref().unwrap().round();
    Frame::Again(Again { round, why }.sign(&process.key, "talk", &name(from))).encode()
}

/// A member asks one other alone to begin again, or all in a way that keeps no order.
pub fn a_member_says_to_one_what_is_for_all(rules: Rules) -> Vec<String> {
    let mut complaints = Vec::new();
    for (protocol, to, service) in
        PROTOCOLS.into_iter().flat_map(|p| [(p, Some("a"), Service::Agreed), (p, Some("a"), Service::Reliable)])
    {
        let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "h"], protocol, rules);
        let bytes = request(&world, "h", Why::Refresh);
        post(&mut world, "h", service, to, bytes);
        world.settle(Duration::from_secs(120), &mut choices);
        for who in ["a", "b", "c"] {
            if put_out(&world, who) > 0 {
                complaints.push(format!("{protocol:?}: {who} is put out, though it did its part"));
            }
            if !world.processes[&name(who)].peer.as_ref().is_some_and(Peer::can_send) {
                complaints.push(format!("{protocol:?}: {who} is stuck"));
            }
        }
        let contexts: BTreeSet<_> = ["a", "b", "c"].iter().map(|who| world.context(&name(who))).collect();
        if contexts.len() != 1 {
            complaints.push(format!("{protocol:?}: members of one view of the sites have different views"));
        }
    }
    complaints
}

#[test]
fn what_is_said_to_one_member_alone_moves_nobody_to_another_round() {
    let complaints = a_member_says_to_one_what_is_for_all(Rules::all());
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn what_overtakes_the_order_is_no_request() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "h"], KeyProtocol::Tgdh, Rules::all());
    let before = world.context(&name("a"));
    let bytes = request(&world, "h", Why::Refresh);
    post(&mut world, "h", Service::Reliable, None, bytes);
    world.settle(Duration::from_secs(5), &mut choices);
    assert_eq!(world.context(&name("a")), before, "nobody begins again");
    let bytes = request(&world, "h", Why::Refresh);
    post(&mut world, "h", Service::Agreed, None, bytes);
    world.settle(Duration::from_secs(5), &mut choices);
    assert_ne!(world.context(&name("a")), before, "in its place it is one");
}

/// Two of six members ask for a refresh and answer at once, suspecting everybody else.
pub fn two_quick_members_vote_against_the_rest(rules: Rules) -> Vec<String> {
    let all = ["a", "b", "c", "d", "x", "y"];
    let (mut world, mut choices) = together::<Ristretto>(&all, KeyProtocol::Tgdh, rules);
    let round = world.processes[&name("x")].peer.as_ref().unwrap().round();
    let bytes = request(&world, "x", Why::Refresh);
    post(&mut world, "x", Service::Agreed, None, bytes);
    for liar in ["x", "y"] {
        let key = world.processes[&name(liar)].key.clone();
        // A good answer but for the round: its own last one.
        let last = world.frames.iter().rev().find_map(|(from, bytes)| match Frame::decode(bytes) {
            Some(Frame::FlushOk(signed)) if *from == name(liar) => FlushOk::read(&signed),
            _ => None,
        });
        let suspects = ["a", "b", "c", "d"].map(name).to_vec();
        let ok = FlushOk { round: round.next(), suspects, ..last.unwrap() };
        post(&mut world, liar, Service::Agreed, None, Frame::FlushOk(ok.sign(&key, "talk", &name(liar))).encode());
    }
    // Theirs come first in the order. Nobody else may answer for half a second yet.
    for who in ["x", "x", "y"] {
        world.sites.order_one(&name(who));
    }
    while world.step(&mut choices) {}
    let out = ["a", "b", "c", "d"].into_iter().filter(|who| put_out(&world, who) > 0);
    out.map(|who| format!("{who} is put out before it could answer")).collect()
}

#[test]
fn two_quick_members_put_out_nobody_who_had_no_time_to_answer() {
    let complaints = two_quick_members_vote_against_the_rest(Rules::all());
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn half_of_the_members_put_out_nobody_while_a_key_is_made() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "x", "y"], KeyProtocol::Tgdh, Rules::all());
    let round = world.processes[&name("x")].peer.as_ref().unwrap().round().next();
    let vote = |world: &World<Ristretto>, liar: &str| {
        let key = world.processes[&name(liar)].key.clone();
        Frame::Vote(Vote { round, against: vec![name("a")] }.sign(&key, "talk", &name(liar))).encode()
    };
    let votes = [vote(&world, "x"), vote(&world, "y")];
    // At one place in the order, the same for everybody: where x tells its part of the key.
    world.tamper = Some(Box::new(move |from, _, bytes| match Frame::decode(&bytes) {
        Some(Frame::Key(_)) if *from == name("x") => {
            vec![(name("x"), votes[0].clone()), (name("y"), votes[1].clone()), (from.clone(), bytes)]
        }
        _ => vec![(from.clone(), bytes)],
    }));
    world.refresh(&name("x"));
    while world.step(&mut choices) {}
    assert_eq!(put_out(&world, "a"), 0);
}

/// The first sealed secret of a controller's message is garbage, signed as it is.
fn spoil_the_first_seal(world: &mut World<Ristretto>, liar: &'static str) {
    let key = world.processes[&name(liar)].key.clone();
    let (policy, names) = (world.policy.clone(), world.names());
    let answers = Rc::new(RefCell::new(Vec::<FlushOk>::new()));
    let heard = answers.clone();
    world.tamper = Some(Box::new(move |from, to, bytes| {
        if *to == name(liar)
            && let Some(Frame::FlushOk(signed)) = Frame::decode(&bytes)
        {
            heard.borrow_mut().push(FlushOk::read(&signed).unwrap());
        }
        vec![(from.clone(), bytes)]
    }));
    world.insider = Some((
        name(liar),
        Box::new(move |bytes| match Frame::decode(&bytes) {
            Some(Frame::Key(KeyFrame { context, step, payload: KeyPayload::Protocol(mut message), .. })) => {
                message[4..52].fill(7);
                let answers = answers.borrow();
                let round = answers.last().unwrap().round;
                let of_round = answers.iter().filter(|ok| ok.round == round);
                let named = of_round.map(|ok| {
                    (names.iter().find(|n| policy.admitted[&ok.key] == text(n)).unwrap().clone(), ok.clone())
                });
                let binding = Binding::new(&policy, round, &named.collect(), Rules::all());
                assert_eq!(binding.context, context);
                vec![Frame::Key(binding.sign(&key, &name(liar), step, KeyPayload::Protocol(message))).encode()]
            }
            _ => vec![bytes],
        }),
    ));
}

#[test]
fn a_controller_that_seals_garbage_for_one_member_loses_its_place_and_not_that_member() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "h"], KeyProtocol::Ckd, Rules::all());
    let before = world.context(&name("b"));
    spoil_the_first_seal(&mut world, "a");
    world.refresh(&name("c"));
    world.settle(Duration::from_secs(5), &mut choices);
    assert_eq!(put_out(&world, "b"), 0, "b did all it could");
    assert!(world.is_whole() && world.context(&name("b")) != before, "another controller gave them a key");
}

#[test]
fn of_two_programs_with_one_key_the_one_that_was_there_stays_and_the_other_is_told_for_good() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "d"], KeyProtocol::Tgdh, Rules::all());
    for twin in ["a", "d"] {
        world.make_peace(&mut choices);
        world.leave(&name(twin));
        world.settle(Duration::from_secs(1), &mut choices);
        let own = world.processes[&name(twin)].key.clone();
        world.processes.get_mut(&name(twin)).unwrap().key = world.processes[&name("c")].key.clone();
        world.join(&name(twin));
        world.settle(Duration::from_secs(1), &mut choices);
        let told = |who| count(&world, who, |seen| matches!(seen, Seen::Other(Event::PutOut(OutWhy::SameKey)))) > 0;
        assert!(told(twin) && !told("c"), "{twin}");
        assert!(OutWhy::SameKey.is_final(), "it does not come again by itself");
        assert_eq!(world.secure_view(&name("b")).unwrap().members.len(), 3);
        world.processes.get_mut(&name(twin)).unwrap().key = own;
    }
}

#[test]
fn a_message_for_the_key_that_one_member_is_not_told_does_not_put_that_member_out() {
    for protocol in [KeyProtocol::Tgdh, KeyProtocol::Ckd] {
        let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "d"], protocol, Rules::all());
        // The hacked one is whoever speaks for the key when d asks.
        let hacked = if protocol == KeyProtocol::Ckd { "a" } else { "d" };
        let posts = Rc::new(RefCell::new(Vec::<Bytes>::new()));
        let out = posts.clone();
        world.insider = Some((
            name(hacked),
            Box::new(move |bytes| match Frame::decode(&bytes) {
                Some(Frame::Key(_)) => {
                    out.borrow_mut().push(bytes);
                    Vec::new()
                }
                _ => vec![bytes],
            }),
        ));
        world.refresh(&name("d"));
        let until = world.now + Duration::from_secs(60);
        while world.now < until {
            while world.step(&mut choices) {}
            let kept: Vec<Bytes> = posts.borrow_mut().drain(..).collect();
            for bytes in kept {
                let confirms =
                    matches!(Frame::decode(&bytes), Some(Frame::Key(KeyFrame { payload: KeyPayload::Confirm(_), .. })));
                if confirms {
                    post(&mut world, hacked, Service::Safe, None, bytes);
                    continue;
                }
                for to in world.names().into_iter().filter(|to| *to != name("b")) {
                    post(&mut world, hacked, Service::Agreed, Some(&text(&to)), bytes.clone());
                }
            }
            world.settle(Duration::from_millis(20), &mut choices);
        }
        assert_eq!(put_out(&world, "b"), 0, "{protocol:?}: b is put out as silent");
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn names(all: &str) -> BTreeSet<Name> {
    all.chars().map(|c| name(&c.to_string())).collect()
}

fn site_view(counter: u64, members: BTreeSet<Name>, moved: BTreeSet<Name>) -> SiteView {
    SiteView { id: GroupViewId { ring: RingId { counter, representative: 0 }, index: 1 }, members, moved }
}

fn ok(flush: &Flush, from: &str) -> FlushOk {
    FlushOk {
        round: flush.round(),
        policy: [0; 32],
        key: [from.as_bytes()[0]; 32],
        session: [1; 32],
        previous: None,
        offer: Vec::new(),
        suspects: Vec::new(),
    }
}

#[test]
fn who_was_late_once_and_came_is_waited_for_again() {
    let at = |seconds| Time::from_start(Duration::from_secs(seconds));
    let mut flush = Flush::new(name("a"), PATIENCE, Rules::all(), at(0));
    let _ = flush.on_view(at(1), site_view(1, names("abc"), names("a")));
    let _ = flush.on_ok(at(1), &name("a"), ok(&flush, "a"), None);
    let _ = flush.on_ok(at(1), &name("b"), ok(&flush, "b"), None);
    // After 15 s a is impatient and votes; c's answer is in the order just then, before anybody's vote.
    assert!(!flush.on_wakeup(at(16)).is_empty());
    let _ = flush.on_ok(at(16), &name("c"), ok(&flush, "c"), None);
    assert!(flush.is_agreeing(), "c is in");
    let _ = flush.on_secure(at(17));
    assert!(flush.suspects().is_empty(), "c answered; what a's next answers still say of it: {:?}", flush.suspects());
}

#[test]
fn a_group_that_strangers_crowd_goes_on_under_no_old_key_and_says_so() {
    let (mut world, _) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, Rules::all());
    let crowd: BTreeSet<Name> = (0..MEMBERS_MAX - 1).map(|n| name(&format!("s{n}"))).collect();
    let full = |members: &str| names(members).union(&crowd).cloned().collect::<BTreeSet<Name>>();
    // c leaves while so many strangers are in the group; then it comes again, and the strangers go.
    let views = [
        site_view(50, full("abc"), names("abc")),
        site_view(51, full("ab"), full("ab")),
        site_view(52, full("abc"), full("ab")),
        site_view(53, names("abc"), names("abc")),
    ];
    for view in views {
        let step = world.with_peer(&name("a"), |peer, cx| peer.on_view(cx, view)).unwrap();
        let told = step.events.iter().any(|event| matches!(event, Event::Crowded(_)));
        let peer = world.processes[&name("a")].peer.as_ref().unwrap();
        assert!(!peer.can_send(), "under a key of a view with c, who left");
        let answers = step.effects.iter().any(|effect| matches!(effect, Effect::Multicast { .. }));
        assert!(told != answers, "either it says that there are too many, or it goes on to the next view");
    }
}

#[test]
fn members_who_move_together_have_the_same_messages_whatever_a_member_sends_to_whom() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "h"], KeyProtocol::Tgdh, Rules::all());
    // h keeps what it seals for all, and hands it to one member alone.
    let sealed = |world: &mut World<Ristretto>| -> Bytes {
        let step = world.with_peer(&name("h"), |peer, _| peer.send(Service::Agreed, &7u64.to_le_bytes()));
        match step.unwrap().unwrap().effects.remove(0) {
            Effect::Multicast { bytes, .. } => bytes,
            other @ Effect::Leave => panic!("{other:?}"),
        }
    };
    let first = sealed(&mut world);
    post(&mut world, "h", Service::Agreed, Some("a"), first.clone());
    // By another service than it says, it would have another place at each member.
    post(&mut world, "h", Service::Reliable, None, first);
    world.settle(Duration::from_secs(1), &mut choices);
    for who in ["a", "b"] {
        assert_eq!(count(&world, who, |seen| matches!(seen, Seen::Got { private: false, .. })), 0, "{who}");
    }
    let second = sealed(&mut world);
    post(&mut world, "h", Service::Agreed, None, second);
    world.settle(Duration::from_secs(1), &mut choices);
    for who in ["a", "b"] {
        assert_eq!(count(&world, who, |seen| matches!(seen, Seen::Got { private: false, .. })), 1, "{who}");
        let told = count(&world, who, |seen| matches!(seen, Seen::Other(Event::Missed(..))));
        assert_eq!(told, 1, "{who} is told that one never came");
    }
}
