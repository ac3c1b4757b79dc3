//! A leader whose memory may be behind what it signed publishes nothing until it has caught up.

use std::sync::Arc;
use std::time::Duration;

use ringfort_protocol::Incarnation;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::leader::{Effect, Event, Leader, Record, Step};
use ringfort_protocol::time::{Cx, Time};
use ringfort_protocol::wire::{self, PeerMessage};

use crate::harness::{dealt, leader_id, rng, user};

#[test]
fn nothing_is_signed_on_the_way() {
    let (group, mut secrets) = dealt();
    let (group, mut chance) = (Arc::new(group), rng(1));
    let now = |ms| Time::from_start(Duration::from_millis(ms));
    let ghost = Identity::generate(user("ana"), Incarnation(1), &mut chance).entry();
    let join = Operation::Join(ghost);
    let says = |number: usize, secrets: &[_]| {
        let secrets: &ringfort_protocol::group::LeaderSecrets = &secrets[number - 1];
        let signed = SignedProposal::sign(&secrets.signing, secrets.id, group.session(), join.clone(), true);
        wire::plain(&PeerMessage::Proposals(vec![signed]))
    };
    let words = [says(1, &secrets), says(2, &secrets), says(3, &secrets)];
    let mut leader = |number: usize, records: Vec<Record>| {
        let mut cx = Cx { now: now(1), unix_ms: 0, rng: &mut chance };
        Leader::new(&mut cx, group.clone(), secrets.remove(number - 1), records)
    };
    let mut behind = leader(4, vec![Record::CatchingUp(true)]);
    let mut peer = leader(3, Vec::new());
    let hear = |core: &mut Leader, from: u8, ms, frame| {
        let mut cx = Cx { now: now(ms), unix_ms: 0, rng: &mut rng(ms) };
        core.on_peer_frame(&mut cx, leader_id(from), frame)
    };
    let published = |step: &Step| step.events.iter().any(|event| matches!(event, Event::Published(..)));
    let before = behind.view();
    for from in [1, 2] {
        let step = hear(&mut behind, from, 100, &words[usize::from(from) - 1]);
        assert!(!published(&step));
        let step = hear(&mut peer, from, 100, &words[usize::from(from) - 1]);
        assert_eq!(published(&step), from == 2, "whoever is not behind publishes at once");
    }
    assert_eq!((behind.members().len(), behind.view()), (1, before), "accepted, and not published");
    let mut cx = Cx { now: now(200), unix_ms: 0, rng: &mut rng(2) };
    assert!(!published(&behind.on_wakeup(&mut cx)));
    assert!(behind.next_wakeup().is_some_and(|at| at > now(200)), "it does not spin");
    // Two others, one of them honest, are in the same state.
    let greeting = peer.on_peer_up(leader_id(4)).effects.into_iter().filter_map(|effect| match effect {
        Effect::SendPeer(_, frame) => Some(frame),
        _ => None,
    });
    let greeting: Vec<_> = greeting.collect();
    let mut greets = |from| greeting.iter().any(|frame| published(&hear(&mut behind, from, 300, frame)));
    assert!(!greets(1), "one is not f+1");
    assert!(greets(2));
    assert_eq!(behind.view(), peer.view());
}
