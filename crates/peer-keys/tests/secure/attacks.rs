//! Attacks by sites, by strangers and by members, each a play that says what went wrong; with all rules, nothing does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rand_core::SeedableRng;
use ringfort_crypto::sign::SigningKey;
use ringfort_peer::{Name, Service};
use ringfort_peer_keys::data::NotOpened;
use ringfort_peer_keys::flush::{OutWhy, SiteView};
use ringfort_peer_keys::wire::{Again, Body, FlushOk, Frame, Signed, Vote, Why};
use ringfort_peer_keys::{Event, Group, KeyProtocol, Policy, Ristretto, Round, Rules};

use super::checks::check;
use super::choices::Choices;
use super::symbolic::{self, Lie, Symbolic};
use super::world::{Manners, Observed, Seen, World, name};

pub const PROTOCOLS: [KeyProtocol; 3] = [KeyProtocol::Tgdh, KeyProtocol::Gdh, KeyProtocol::Ckd];

/// Members who are together in a secure view.
pub fn together<G: Observed>(members: &[&str], protocol: KeyProtocol, rules: Rules) -> (World<G>, Choices) {
    let (mut world, mut choices) = (World::new(members, protocol, rules), Choices::seeded(1));
    join_all(&mut world, &mut choices);
    assert!(world.is_whole() || rules != Rules::all());
    (world, choices)
}

fn join_all<G: Observed>(world: &mut World<G>, choices: &mut Choices) {
    for name in world.names() {
        world.join(&name);
        world.settle(Duration::from_secs(1), choices);
    }
}

pub fn count<G: Group>(world: &World<G>, who: &str, wanted: impl Fn(&Seen) -> bool) -> usize {
    world.processes[&name(who)].log.iter().filter(|(_, seen)| wanted(seen)).count()
}

fn secure(seen: &Seen) -> bool {
    matches!(seen, Seen::Secure { .. })
}

fn nothing(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// A member that goes on speaking in the old view after it has answered the flush.
pub fn a_member_speaks_after_its_word(rules: Rules) -> Vec<String> {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, rules);
    // It seals messages while it may, and keeps some back until its answer is out.
    let kept = std::cell::RefCell::new(Vec::new());
    world.insider = Some((
        name("b"),
        Box::new(move |bytes| match Frame::decode(&bytes) {
            Some(Frame::Data(_)) => {
                kept.borrow_mut().push(bytes);
                Vec::new()
            }
            Some(Frame::FlushOk(_)) => [bytes].into_iter().chain(kept.borrow_mut().drain(..)).collect(),
            _ => vec![bytes],
        }),
    ));
    world.send(&name("b"), Service::Agreed, None);
    world.processes.get_mut(&name("c")).unwrap().manners = Manners::Never;
    world.refresh(&name("a"));
    world.settle(Duration::from_secs(5), &mut choices);
    let heard = count(&world, "a", |seen| matches!(seen, Seen::Got { from, .. } if *from == name("b")));
    if heard > 0 {
        vec!["a member was heard in a view that it had said it was done with".to_owned()]
    } else {
        check(&world)
    }
}

#[test]
fn a_member_is_not_heard_after_its_word() {
    nothing(a_member_speaks_after_its_word(Rules::all()));
}

/// Somebody whose key the policy does not admit joins the sites' group and plays along.
pub fn a_stranger_joins(rules: Rules) -> Vec<String> {
    let mut complaints = Vec::new();
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], protocol, rules);
        world.leave(&name("c"));
        world.settle(Duration::from_secs(1), &mut choices);
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(77);
        let stranger = SigningKey::generate(&mut rng);
        world.processes.get_mut(&name("c")).unwrap().key = stranger;
        world.join(&name("c"));
        world.settle(Duration::from_secs(40), &mut choices);
        world.send(&name("a"), Service::Agreed, None);
        world.settle(Duration::from_secs(1), &mut choices);
        let views = world.secure_view(&name("a")).map_or(0, |view| view.members.len());
        if views != 2 {
            complaints.push(format!("{protocol:?}: {views} members, one of them a stranger"));
        }
        if count(&world, "c", |seen| matches!(seen, Seen::Got { from, .. } if *from == name("a"))) > 0 {
            complaints.push("a stranger read".to_owned());
        }
        let told = count(
            &world,
            "a",
            |seen| matches!(seen, Seen::Other(Event::Out(who, OutWhy::Stranger)) if *who == name("c")),
        );
        if told == 0 {
            complaints.push("nobody was told of the stranger".to_owned());
        }
    }
    complaints
}

#[test]
fn a_stranger_stays_out_and_the_others_go_on() {
    nothing(a_stranger_joins(Rules::all()));
}

/// A hacked site makes up messages in the name of a member.
pub fn a_site_speaks_in_a_members_name(rules: Rules) -> Vec<String> {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, rules);
    let round = world.processes[&name("a")].peer.as_ref().unwrap().round();
    let before = count(&world, "a", secure);
    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(5);
    let own = SigningKey::generate(&mut rng);
    let forged = Again { round, why: Why::Refresh }.sign(&own, "talk", &name("b"));
    // What another member signed, and what nobody did.
    let others = Again { round, why: Why::Refresh }.sign(&world.processes[&name("c")].key.clone(), "talk", &name("c"));
    for signed in [forged.clone(), others, Signed { signature: [0; 64], ..forged }] {
        for to in world.names() {
            world.give(&to, &name("b"), &Frame::Again(signed.clone()).encode());
        }
    }
    world.settle(Duration::from_secs(5), &mut choices);
    let after = count(&world, "a", secure);
    if after > before {
        vec!["a message that a member never sent was taken for its own".to_owned()]
    } else {
        check(&world)
    }
}

#[test]
fn nothing_is_taken_in_a_members_name_that_it_did_not_sign() {
    nothing(a_site_speaks_in_a_members_name(Rules::all()));
}

/// A hacked site gives messages again, and in another order.
pub fn a_site_repeats_and_reorders(rules: Rules) -> Vec<String> {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, rules);
    let first = std::cell::RefCell::new(BTreeMap::<Name, Bytes>::new());
    world.tamper = Some(Box::new(move |from, to, bytes| {
        let is_data = matches!(Frame::decode(&bytes), Some(Frame::Data(_)));
        if !is_data || *to != name("c") {
            return vec![(from.clone(), bytes)];
        }
        // Each message comes after the next one, and then again.
        match first.borrow_mut().insert(from.clone(), bytes.clone()) {
            None => Vec::new(),
            Some(earlier) => [bytes.clone(), earlier, bytes].map(|bytes| (from.clone(), bytes)).to_vec(),
        }
    }));
    for _ in 0..4 {
        world.send(&name("a"), Service::Agreed, None);
        world.settle(Duration::from_millis(10), &mut choices);
    }
    let got: Vec<u64> = world.processes[&name("c")]
        .log
        .iter()
        .filter_map(|(_, seen)| if let Seen::Got { message, .. } = seen { Some(*message) } else { None })
        .collect();
    let told = count(&world, "c", |seen| matches!(seen, Seen::Other(Event::Missed(..)))) > 0
        && count(&world, "c", |seen| matches!(seen, Seen::Other(Event::NotOpened(_, NotOpened::Repeated)))) > 0;
    let mut sorted = got.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted != got || !told { vec![format!("delivered: {got:?}")] } else { Vec::new() }
}

#[test]
fn what_a_site_repeats_or_reorders_is_delivered_once_and_never_backwards() {
    nothing(a_site_repeats_and_reorders(Rules::all()));
}

/// A member contributes the identity, so that an outsider could predict the key.
pub fn a_member_brings_the_identity(rules: Rules) -> Vec<String> {
    let mut complaints = Vec::new();
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Symbolic>(&["a", "b", "c", "d"], protocol, rules);
        symbolic::lie_as(Some(("d", Lie::Identity)));
        world.refresh(&name("d"));
        world.settle(Duration::from_secs(90), &mut choices);
        complaints.extend(check(&world));
        let view = world.secure_view(&name("a")).expect("a secure view");
        if view.members.len() != 3 && protocol != KeyProtocol::Gdh {
            complaints.push(format!("{protocol:?}: whoever brings the identity is in"));
        }
    }
    complaints
}

#[test]
fn the_identity_is_no_contribution() {
    nothing(a_member_brings_the_identity(Rules::all()));
}

#[test]
fn a_site_that_replays_everything_of_other_views_changes_nothing() {
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "d"], protocol, Rules::all());
        for _ in 0..3 {
            world.leave(&name("d"));
            world.settle(Duration::from_secs(1), &mut choices);
            world.join(&name("d"));
            // In the middle of the agreement on a new key all that was ever said is said again.
            for _ in 0..60 {
                world.step(&mut choices);
                let frames = world.frames.clone();
                let (from, bytes) = frames[choices.below(frames.len())].clone();
                let to = world.names()[choices.below(4)].clone();
                let old = frames.len() / 2;
                world.give(&to, &from, &bytes.clone());
                let (from, bytes) = frames[choices.below(old.max(1))].clone();
                world.give(&to, &from, &bytes);
            }
            world.settle(Duration::from_secs(40), &mut choices);
        }
        world.make_peace(&mut choices);
        let complaints: Vec<String> = check(&world)
            .into_iter()
            .filter(|text| !text.starts_with("V4") && !text.starts_with("K2") && !text.starts_with("V2"))
            .collect();
        assert!(complaints.is_empty(), "{protocol:?}: {complaints:#?}");
        assert!(world.is_whole(), "{protocol:?}");
    }
}

#[test]
fn a_site_that_tells_members_different_views_gets_no_key_out_of_them() {
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], protocol, Rules::all());
        let before: Vec<_> = world.names().iter().map(|name| world.context(name)).collect();
        let mut id = world.processes[&name("a")].peer.as_ref().unwrap().round().view;
        id.ring.counter += 1_000;
        let members = |texts: &[&str]| -> BTreeSet<Name> { texts.iter().map(|text| name(text)).collect() };
        for (who, told) in [("a", ["a", "b"].as_slice()), ("b", &["a", "b", "c"]), ("c", &["a", "b", "c"])] {
            let (members, moved) = (members(told), members(told));
            let step =
                world.with_peer(&name(who), |peer, cx| peer.on_view(cx, SiteView { id, members, moved })).unwrap();
            world.carry_out(&name(who), step);
        }
        world.settle(Duration::from_secs(9), &mut choices);
        let after: Vec<_> = world.names().iter().map(|name| world.context(name)).collect();
        assert_eq!(before, after, "{protocol:?}: nobody has a key with those who were told another view");
    }
}

/// The network is cut and mended while applications take their time: one that was apart goes on in the old view.
pub fn a_member_that_was_apart_goes_on(rules: Rules) -> Vec<String> {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, rules);
    for who in world.names() {
        world.processes.get_mut(&who).unwrap().manners = Manners::Never;
    }
    world.split(0, &[name("a")].into(), &mut choices);
    world.send(&name("a"), Service::Agreed, None);
    world.settle(Duration::from_secs(1), &mut choices);
    world.merge(0, 1);
    world.send(&name("a"), Service::Agreed, None);
    world.settle(Duration::from_secs(1), &mut choices);
    world.make_peace(&mut choices);
    check(&world)
}

#[test]
fn a_member_that_was_apart_is_not_heard_in_the_old_view() {
    nothing(a_member_that_was_apart_goes_on(Rules::all()));
}

/// The network is cut at every move of an agreement on a key.
pub fn the_network_is_cut_while_a_key_is_confirmed(rules: Rules) -> Vec<String> {
    for (order, moves) in (0..12).flat_map(|order| (0..50).map(move |moves| (order, moves))) {
        let (mut world, _) = together::<Symbolic>(&["a", "b", "c"], KeyProtocol::Tgdh, rules);
        let mut choices = Choices::seeded(order);
        world.settle(Duration::from_secs(1), &mut choices);
        world.refresh(&name("a"));
        for _ in 0..moves {
            world.step(&mut choices);
        }
        // What a confirms last may have reached a alone.
        world.split(0, &[name("a")].into(), &mut choices);
        world.settle(Duration::from_secs(1), &mut choices);
        let complaints = check(&world);
        if !complaints.is_empty() {
            return complaints;
        }
    }
    Vec::new()
}

#[test]
fn whoever_uses_a_key_outside_of_a_transition_shares_it_with_all() {
    nothing(the_network_is_cut_while_a_key_is_confirmed(Rules::all()));
}

#[test]
fn a_silent_member_is_put_out_and_the_others_have_a_key_in_time() {
    for protocol in PROTOCOLS {
        // It says that it is ready, and then nothing; each in turn, so that it is whose turn it is too.
        for silent in ["a", "b", "c", "d"] {
            let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "d"], protocol, Rules::all());
            world.insider = Some((
                name(silent),
                Box::new(|bytes| match Frame::decode(&bytes) {
                    Some(Frame::Key(_)) => Vec::new(),
                    _ => vec![bytes],
                }),
            ));
            let other = if silent == "a" { "b" } else { "a" };
            world.refresh(&name(other));
            world.settle(Duration::from_secs(60), &mut choices);
            let view = world.secure_view(&name(other)).unwrap();
            assert_eq!(view.members.len(), 3, "{protocol:?}: without {silent}");
            nothing(check(&world));
            let out = count(&world, silent, |seen| matches!(seen, Seen::Other(Event::PutOut(OutWhy::Silent))));
            assert!(out > 0, "{silent} is told");
        }
    }
}

#[test]
fn an_application_that_never_answers_is_out_and_a_client_that_says_nothing_too() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "d"], KeyProtocol::Tgdh, Rules::all());
    world.processes.get_mut(&name("b")).unwrap().manners = Manners::Never;
    // Somebody is in the sites' group who does not know of secure groups at all.
    world.insider = Some((name("d"), Box::new(|_| Vec::new())));
    world.refresh(&name("a"));
    let since = world.now;
    world.settle(Duration::from_secs(30), &mut choices);
    assert_eq!(count(&world, "b", |seen| matches!(seen, Seen::Other(Event::PutOut(OutWhy::OwnApplication)))), 1);
    let view = world.secure_view(&name("a")).unwrap().clone();
    assert_eq!(view.members.len(), 2, "after {:?}", world.now.since(since));
    // It is given up at once the next time, as long as it stays.
    world.refresh(&name("a"));
    world.settle(Duration::from_millis(700), &mut choices);
    let next = world.secure_view(&name("a")).unwrap();
    assert!(next.context != view.context && next.members.len() == 2);
    nothing(check(&world));
}

#[test]
fn one_member_puts_nobody_out_alone() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c", "d"], KeyProtocol::Tgdh, Rules::all());
    let key = world.processes[&name("d")].key.clone();
    // With its answer come its votes, and again with all that it says for the key.
    let mut round = Round::default();
    world.insider = Some((
        name("d"),
        Box::new(move |bytes| {
            if let Some(Frame::FlushOk(signed)) = Frame::decode(&bytes) {
                round = FlushOk::read(&signed).unwrap().round;
            }
            let vote = Vote { round, against: ["a", "b", "c"].map(name).to_vec() };
            vec![bytes, Frame::Vote(vote.sign(&key, "talk", &name("d"))).encode()]
        }),
    ));
    for who in ["d", "a", "d", "b"] {
        world.refresh(&name(who));
        world.settle(Duration::from_secs(20), &mut choices);
    }
    assert!(world.is_whole());
    for who in ["a", "b", "c"] {
        assert_eq!(count(&world, who, |seen| matches!(seen, Seen::Ended)), 0, "{who} stayed");
    }
    nothing(check(&world));
}

#[test]
fn a_second_session_with_the_same_key_has_no_second_vote() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, Rules::all());
    world.leave(&name("c"));
    world.settle(Duration::from_secs(1), &mut choices);
    let twin = world.processes[&name("b")].key.clone();
    world.processes.get_mut(&name("c")).unwrap().key = twin;
    world.join(&name("c"));
    world.settle(Duration::from_secs(20), &mut choices);
    let view = world.secure_view(&name("a")).unwrap();
    assert_eq!(view.members.len(), 2, "one of the two");
    assert!(count(&world, "a", |seen| matches!(seen, Seen::Other(Event::Out(_, OutWhy::SameKey)))) > 0);
}

#[test]
fn a_member_with_another_policy_shares_no_key_and_is_told() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, Rules::all());
    world.leave(&name("c"));
    world.settle(Duration::from_secs(1), &mut choices);
    let other = Policy { protocol: KeyProtocol::Ckd, ..(*world.policy).clone() };
    world.join_with(&name("c"), other.into());
    world.settle(Duration::from_secs(20), &mut choices);
    assert_eq!(world.secure_view(&name("a")).unwrap().members.len(), 2);
    assert!(count(&world, "a", |seen| matches!(seen, Seen::Other(Event::Out(_, OutWhy::OtherPolicy)))) > 0);
    assert!(count(&world, "c", |seen| matches!(seen, Seen::Other(Event::Out(_, OutWhy::OtherPolicy)))) > 0);
}
