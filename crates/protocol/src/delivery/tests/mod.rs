//! Tests of delivery.

mod bounds;
mod ends;
mod inbox;
mod relay;
mod repair;
mod world;

use std::time::Duration;

use super::*;
use crate::data::Departed;
use crate::data::tests::{identity, keyed, policy, rng, rules, topic, view_id};
use crate::policy::{Origin, Policy, Protection};
use crate::time::Time;
use crate::view::MemberSet;

fn at(ms: u64) -> Time {
    Time::from_start(Duration::from_millis(ms))
}

fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

fn name(user: &str) -> UserName {
    user.parse().unwrap()
}

/// One member with both its sides, under view 1.
struct Side {
    me: Identity,
    keyring: Keyring,
    outbox: Outbox,
    inbox: Inbox,
}

impl Side {
    fn new(policy: &Policy, me: Identity) -> Self {
        let mut keyring = Keyring::new(&rules());
        keyring.install(keyed(1));
        Side { me, keyring, outbox: Outbox::new(policy), inbox: Inbox::new(policy) }
    }

    fn multicast(&mut self, now: Time, service: Service, payload: &[u8]) -> Bytes {
        let mut writing = Writing { me: &self.me, keyring: &mut self.keyring };
        self.outbox.multicast(now, &mut writing, service, Message { topic: &topic(), payload }).unwrap()
    }

    fn marks(&mut self, now: Time) -> Vec<Bytes> {
        self.outbox.on_wakeup(now, &mut Writing { me: &self.me, keyring: &mut self.keyring })
    }
}

/// Ana sends; Bo and Cy receive.
struct Room {
    rules: Rules,
    policy: Policy,
    members: MemberSet,
    departed: Departed,
    ana: Side,
    bo: Side,
    cy: Side,
}

impl Room {
    fn new(protection: Protection, origin: Origin) -> Self {
        let policy = policy(protection, origin);
        let [ana, bo, cy] = [("ana", 1), ("bo", 2), ("cy", 3)].map(|(user, seed)| identity(user, seed));
        let mut members = MemberSet::default();
        [&ana, &bo, &cy].into_iter().for_each(|member| members.insert(member.entry()));
        let [ana, bo, cy] = [ana, bo, cy].map(|me| Side::new(&policy, me));
        Room { rules: rules(), policy, members, departed: Departed::default(), ana, bo, cy }
    }

    fn sealed() -> Self {
        Room::new(Protection::Confidential, Origin::Signature)
    }

    fn private(&mut self, now: Time, to: &[&str], payload: &[u8]) -> Bytes {
        let to: Vec<UserName> = to.iter().map(|user| name(user)).collect();
        let mut writing = Writing { me: &self.ana.me, keyring: &mut self.ana.keyring };
        let message = Message { topic: &topic(), payload };
        self.ana.outbox.send_to(now, &mut writing, &self.members, &to, message, &mut rng(5)).unwrap()
    }

    /// Bo receives a frame through a leader.
    fn bo(&mut self, now: Time, from: u8, frame: &Bytes) -> Vec<InboxEvent> {
        let peers = Peers { current: &self.members, departed: &self.departed };
        let Side { me, keyring, inbox, .. } = &mut self.bo;
        inbox.on_frame(now, leader(from), frame, &mut Reading { me, rules: &self.rules, keyring, peers })
    }

    fn bo_reads_view(&mut self, now: Time, epoch: u64) -> Vec<InboxEvent> {
        let peers = Peers { current: &self.members, departed: &self.departed };
        let Side { me, keyring, inbox, .. } = &mut self.bo;
        let mut reading = Reading { me, rules: &self.rules, keyring, peers };
        inbox.on_view_readable(now, &view_id(epoch).digest, &mut reading)
    }

    /// Bo is told by a leader how far streams go; f+1 are two.
    fn bo_told(&mut self, now: Time, from: u8, tails: Vec<Tail>) -> Vec<InboxEvent> {
        let peers = Peers { current: &self.members, departed: &self.departed };
        let Side { me, keyring, inbox, .. } = &mut self.bo;
        inbox.on_tails(now, leader(from), tails, 2, &Reading { me, rules: &self.rules, keyring, peers })
    }

    fn bo_wakes(&mut self, now: Time) -> Vec<InboxEvent> {
        self.bo.inbox.on_wakeup(now, &self.rules)
    }

    /// Bo forgets a member that is gone for good.
    fn bo_forgets(&mut self, member: &crate::ids::MemberId) -> Vec<InboxEvent> {
        let enough = (self.rules.confirm(), self.rules.last_word());
        self.bo.inbox.forget(member, self.bo.me.id.incarnation, enough)
    }

    fn group_stream(&self, service: Service) -> StreamKey {
        StreamKey { sender: self.ana.me.id.clone(), channel: Channel::Group(service) }
    }
}

/// The numbers delivered, and gaps as `-count`.
fn told(events: &[InboxEvent]) -> Vec<i64> {
    let number = |n: u64| i64::try_from(n).unwrap();
    events
        .iter()
        .filter_map(|event| match event {
            InboxEvent::Deliver(delivery) => Some(number(delivery.seq.0)),
            InboxEvent::Gap { count, .. } => Some(-number(*count)),
            _ => None,
        })
        .collect()
}

fn blamed(events: &[InboxEvent]) -> Vec<(Culprit, Fault)> {
    events
        .iter()
        .filter_map(|event| match event {
            InboxEvent::Blame(culprit, fault) => Some((culprit.clone(), *fault)),
            _ => None,
        })
        .collect()
}

fn asked(events: &[InboxEvent]) -> Vec<(u32, u64, u64)> {
    events
        .iter()
        .filter_map(|event| match event {
            InboxEvent::Repair { attempt, request, .. } => {
                Some((*attempt, request.ranges()[0].0.0, request.ranges().last().unwrap().1.0))
            }
            _ => None,
        })
        .collect()
}
