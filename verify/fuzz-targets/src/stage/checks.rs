//! What must hold at every step, and what must still work at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_protocol::ids::Epoch;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{LeaderId, MemberId, UserName, ViewId, leader, member};

use super::{Seat, Stage};
use crate::fixture::user;

/// Effects of one input. An answer in anti-entropy has at most eight messages, a claim goes to each link once.
const EFFECTS_MAX: usize = 512;
/// Bytes that one input makes a node send.
const SENT_BYTES_MAX: usize = 1024 * 1024;

/// What honest nodes have said so far.
#[derive(Default)]
pub(super) struct Facts {
    authenticated: BTreeSet<MemberId>,
    admitted: BTreeSet<MemberId>,
    ordered_out: BTreeSet<UserName>,
    published: BTreeSet<ViewId>,
    epochs: BTreeMap<LeaderId, Epoch>,
    installed: BTreeMap<(usize, MemberId), Epoch>,
    sent: BTreeSet<Vec<u8>>,
}

impl Facts {
    pub fn on_leader_step(&mut self, id: LeaderId, step: &leader::Step) {
        assert!(step.effects.len() <= EFFECTS_MAX, "{} effects of one input", step.effects.len());
        let bytes: usize = step.effects.iter().map(leader_bytes).sum();
        assert!(bytes <= SENT_BYTES_MAX, "{id} sends {bytes} bytes for one input");
        for event in &step.events {
            match event {
                leader::Event::Authenticated(member) => drop(self.authenticated.insert(member.clone())),
                leader::Event::Admitted(member) => {
                    assert!(
                        self.authenticated.contains(member),
                        "{member} is in, and no honest leader knows who it is"
                    );
                    self.admitted.insert(member.clone());
                }
                leader::Event::Ended(user, cause) => {
                    let wanted = user.as_str() == "eve" || self.ordered_out.contains(user);
                    assert!(wanted, "{id}: {user} was taken out ({cause:?}), and nobody honest asked for it");
                    assert!(*cause != Cause::Lost, "nobody is silent long enough to be lost");
                }
                leader::Event::Published(view, _) => {
                    let before = self.epochs.insert(id, view.epoch);
                    assert!(before.is_none_or(|before| before <= view.epoch), "{id} went back to an older view");
                    self.published.insert(*view);
                }
                leader::Event::MotionOpened(_) | leader::Event::MotionDecided(..) | leader::Event::Convicted(_) => {
                    panic!("policy leaves nothing to the members")
                }
                leader::Event::Session(now) => panic!("{id}: {now}, and no operator asked for it"),
                leader::Event::Denied(..)
                | leader::Event::CaughtUp
                | leader::Event::CutOff(..)
                | leader::Event::Blamed(..) => {}
            }
        }
    }

    pub fn on_member_step(&mut self, seat: usize, node: &mut Seat, step: &member::Step) {
        assert!(step.effects.len() <= EFFECTS_MAX, "{} effects of one input", step.effects.len());
        for event in &step.events {
            match event {
                member::Event::View { view, .. } => {
                    assert!(self.published.contains(view), "a view that no honest leader published");
                    let me = node.member.id().expect("who is in a view has a stay").clone();
                    let before = self.installed.insert((seat, me), view.epoch);
                    assert!(before.is_none_or(|before| before <= view.epoch), "a member went back to an older view");
                }
                member::Event::Message(delivery) => {
                    let sender = delivery.sender.user.as_str();
                    if sender != "eve" {
                        assert!(self.sent.contains(delivery.payload.as_ref()), "{sender} never sent this");
                    }
                    let key = (delivery.sender.clone(), delivery.seq.0, delivery.payload.clone());
                    assert!(!node.heard.contains(&key), "a message was shown twice");
                    let stream = |(s, _, p): &&(MemberId, u64, bytes::Bytes)| {
                        *s == delivery.sender && is_private(p) == delivery.private
                    };
                    let last = node.heard.iter().filter(stream).map(|(_, seq, _)| *seq).max();
                    assert!(sender == "eve" || last.is_none_or(|last| last < delivery.seq.0), "out of order");
                    node.heard.push(key);
                }
                member::Event::JoinFailed(reason) => panic!("one hacked leader kept a user out: {reason:?}"),
                member::Event::Ended(cause) => panic!("one hacked leader ended a stay: {cause:?}"),
                _ => {}
            }
        }
    }

    pub fn note_sent(&mut self, payload: &[u8]) {
        self.sent.insert(payload.to_vec());
    }

    pub fn note_order(&mut self, name: &str) {
        self.ordered_out.insert(user(name));
    }
}

fn leader_bytes(effect: &leader::Effect) -> usize {
    match effect {
        leader::Effect::Send(_, _, frame) | leader::Effect::SendPeer(_, frame) => frame.len(),
        // One frame, many receivers: counted once, as it is kept once.
        leader::Effect::Relay(_, _, frame) => frame.len(),
        leader::Effect::Serve(_, request) => request.len(),
        leader::Effect::Persist(_) | leader::Effect::Authenticated(_) | leader::Effect::Close(_) => 0,
    }
}

/// Payloads of private messages say so.
fn is_private(payload: &[u8]) -> bool {
    payload.starts_with(b"private")
}

impl Stage {
    /// An honest member says something new to all; false while it is not in.
    pub fn says(&mut self, seat: usize, text: &str) -> bool {
        self.facts.note_sent(text.as_bytes());
        self.multicast(seat, text.as_bytes())
    }

    /// An honest member says something new to one other.
    pub fn whispers(&mut self, seat: usize, to: &str, text: &str) {
        let text = format!("private {text}");
        self.facts.note_sent(text.as_bytes());
        self.send_to(seat, to, text.as_bytes());
    }

    /// An honest operator is about to expel somebody.
    pub fn orders_out(&mut self, name: &str) {
        self.facts.note_order(name);
    }

    /// Links a seat to leaders again where it has no link, and lets time pass, until `done`.
    pub fn until(&mut self, what: &str, leaders: &[LeaderId], limit: Duration, done: impl Fn(&Stage) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "not within {limit:?}: {what}");
            for seat in 0..self.seats.len() {
                for id in leaders {
                    if self.link_of(seat, *id).is_none() && !self.seats[seat].member.has_ended() {
                        self.link(seat, *id);
                    }
                }
            }
            self.pass(Duration::from_millis(100));
        }
    }

    /// Whether a seat's member is in a view with `names` and nobody of the cast besides.
    pub fn sees(&self, seat: usize, names: &[&str]) -> bool {
        let Some(members) = self.seats[seat].member.members() else { return false };
        names.iter().all(|name| members.get(&user(name)).is_some())
    }

    /// Whether a seat was shown this text.
    pub fn heard(&self, seat: usize, text: &str) -> bool {
        self.seats[seat].heard.iter().any(|(_, _, payload)| payload.as_ref() == text.as_bytes())
    }
}
