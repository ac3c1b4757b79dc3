//! A small world: members, relays, and links that lose, delay, reorder and repeat.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

use super::*;
use crate::time::earliest;

const RELAYS: usize = 2;

/// The first number, how many, and whether delivered or a gap.
type Entry = (u64, u64, bool);

enum Packet {
    ToRelay(usize, usize, Bytes),
    ToMember(usize, usize, Bytes),
    Repair(usize, usize, RepairRequest),
    Wanted(usize, usize, RepairRequest),
    Install(usize, u64),
}

struct World {
    now: Time,
    rng: ChaCha20Rng,
    /// Of a hundred packets.
    lost: u32,
    rules: Rules,
    members: MemberSet,
    departed: Departed,
    sides: Vec<Side>,
    relays: Vec<Relay>,
    net: BTreeMap<(Time, u64), Packet>,
    packets: u64,
    repairs: usize,
    /// What each member was told of each stream.
    log: BTreeMap<(usize, StreamKey), Vec<Entry>>,
}

impl World {
    fn new(seed: u64, lost: u32, count: usize) -> Self {
        let policy = policy(Protection::Confidential, Origin::Group);
        let mut members = MemberSet::default();
        let mut sides = Vec::new();
        for i in 0..count {
            let me = identity(&format!("m{i}"), 100 + i as u64);
            members.insert(me.entry());
            sides.push(Side::new(&policy, me));
        }
        World {
            now: Time::ZERO,
            rng: rng(seed),
            lost,
            rules: rules(),
            members,
            departed: Departed::default(),
            sides,
            relays: (0..RELAYS).map(|_| Relay::new(&policy)).collect(),
            net: BTreeMap::new(),
            packets: 0,
            repairs: 0,
            log: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound
    }

    fn put(&mut self, after_ms: u32, packet: Packet) {
        self.packets += 1;
        self.net.insert((self.now + Duration::from_millis(after_ms.into()), self.packets), packet);
    }

    /// Over a lossy link: lost, or once, or twice, each after up to 40 ms.
    fn send(&mut self, packet: impl Fn() -> Packet) {
        let copies = if self.below(100) < self.lost { 0 } else { 1 + u32::from(self.below(10) == 0) };
        for _ in 0..copies {
            let delay = 1 + self.below(40);
            self.put(delay, packet());
        }
    }

    fn give(&mut self, from: usize, frames: &[Bytes]) {
        for frame in frames {
            for relay in 0..RELAYS {
                self.send(|| Packet::ToRelay(relay, from, frame.clone()));
            }
        }
    }

    fn multicast(&mut self, from: usize, service: Service, payload: &[u8]) {
        let frame = self.sides[from].multicast(self.now, service, payload);
        self.give(from, &[frame]);
    }

    fn private(&mut self, from: usize, to: usize) {
        let user = self.sides[to].me.id.user.clone();
        let Side { me, keyring, outbox, .. } = &mut self.sides[from];
        let message = Message { topic: &topic(), payload: b"private" };
        let mut writing = Writing { me, keyring };
        let frame = outbox.send_to(self.now, &mut writing, &self.members, &[user], message, &mut self.rng).unwrap();
        self.give(from, &[frame]);
    }

    /// All that happens until `end`.
    fn run(&mut self, end: Time) {
        loop {
            let net = self.net.keys().next().map(|(at, _)| *at);
            let wakes = self.sides.iter().map(|s| earliest(s.inbox.next_wakeup(), s.outbox.next_wakeup()));
            let Some(next) = wakes.fold(net, earliest).filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if net == Some(next) {
                let (_, packet) = self.net.pop_first().unwrap();
                self.arrive(packet);
            } else {
                self.wake();
            }
        }
        self.now = end;
    }

    fn wake(&mut self) {
        for i in 0..self.sides.len() {
            let now = self.now;
            let marks = self.sides[i].marks(now);
            self.give(i, &marks);
            let id = self.sides[i].me.id.clone();
            for Again { frame, has, .. } in self.sides[i].outbox.again(now, &id) {
                for relay in (0..RELAYS).filter(|r| !has.contains(&leader(u8::try_from(r + 1).unwrap()))) {
                    self.send(|| Packet::ToRelay(relay, i, frame.clone()));
                }
            }
            let events = self.sides[i].inbox.on_wakeup(now, &self.rules);
            self.note(i, events);
        }
    }

    fn arrive(&mut self, packet: Packet) {
        let now = self.now;
        match packet {
            Packet::ToRelay(relay, from, frame) => {
                let id = self.sides[from].me.id.clone();
                if let Some((channel, seq)) = Relay::place_of(&DataFrame::parse(&frame).unwrap()) {
                    let receipt = Receipt { channel, first: seq, last: seq };
                    let from_leader = leader(u8::try_from(relay + 1).unwrap());
                    self.sides[from].outbox.on_received(from_leader, &[receipt], RELAYS);
                }
                let audience = match self.relays[relay].on_frame(now, &id, &frame) {
                    RelayAction::Forward(audience) | RelayAction::ForwardLive(audience) => audience,
                    RelayAction::Ignore(fault) => return assert_eq!(fault, None, "all members are honest"),
                };
                for to in (0..self.sides.len()).filter(|to| *to != from) {
                    let named = match &audience {
                        Audience::Group => true,
                        Audience::Only(users) => users.contains(&self.sides[to].me.id.user),
                    };
                    if named {
                        self.send(|| Packet::ToMember(relay, to, frame.clone()));
                    }
                }
            }
            Packet::ToMember(relay, to, frame) => {
                let peers = Peers { current: &self.members, departed: &self.departed };
                let Side { me, keyring, inbox, .. } = &mut self.sides[to];
                let mut reading = Reading { me, rules: &self.rules, keyring, peers };
                let from = leader(u8::try_from(relay + 1).unwrap());
                let events = inbox.on_frame(now, from, &frame, &mut reading);
                self.note(to, events);
            }
            Packet::Repair(relay, by, request) => {
                let id = self.sides[by].me.id.clone();
                let answer = self.relays[relay].on_repair(now, &id, &request);
                for frame in answer.frames {
                    self.send(|| Packet::ToMember(relay, by, frame.clone()));
                }
                if let Some(wanted) = answer.wanted {
                    let sender = self.sides.iter().position(|side| side.me.id == wanted.stream().sender).unwrap();
                    if let Some(wanted) = self.relays[relay].ask_sender(now, &wanted) {
                        self.send(|| Packet::Wanted(relay, sender, wanted.clone()));
                    }
                }
            }
            Packet::Wanted(relay, sender, request) => {
                let from = leader(u8::try_from(relay + 1).unwrap());
                for frame in self.sides[sender].outbox.on_wanted(now, from, &request) {
                    self.send(|| Packet::ToRelay(relay, sender, frame.clone()));
                }
            }
            Packet::Install(member, epoch) => {
                let keyring = &mut self.sides[member].keyring;
                let old = keyring.current().map(|view| view.id().digest);
                keyring.install(keyed(epoch));
                old.iter().for_each(|old| keyring.retire(old, now + Duration::from_secs(20)));
                let peers = Peers { current: &self.members, departed: &self.departed };
                let Side { me, keyring, inbox, .. } = &mut self.sides[member];
                let mut reading = Reading { me, rules: &self.rules, keyring, peers };
                let events = inbox.on_view_readable(now, &view_id(epoch).digest, &mut reading);
                self.note(member, events);
            }
        }
    }

    fn note(&mut self, member: usize, events: Vec<InboxEvent>) {
        for event in events {
            match event {
                InboxEvent::Deliver(d) => {
                    let channel = match d.private {
                        true => Channel::Private(self.sides[member].me.id.user.clone()),
                        false => Channel::Group(d.service),
                    };
                    let stream = StreamKey { sender: d.sender, channel };
                    self.log.entry((member, stream)).or_default().push((d.seq.0, 1, true));
                }
                InboxEvent::Gap { stream, first, count } => {
                    self.log.entry((member, stream)).or_default().push((first.0, count, false));
                }
                InboxEvent::Repair { attempt, request, .. } => {
                    self.repairs += 1;
                    let relay = usize::try_from(attempt).unwrap() % RELAYS;
                    self.send(|| Packet::Repair(relay, member, request.clone()));
                }
                InboxEvent::NeedView(..) => {}
                InboxEvent::UnknownTail(sender) => panic!("nobody goes, but {sender}"),
                InboxEvent::Conflict(..) => panic!("nobody makes two messages of one number"),
                InboxEvent::Blame(culprit, fault) => panic!("all are honest, but {culprit}: {fault:?}"),
            }
        }
    }

    /// Everything of a stream, exactly once (in order if it has one), or in an explicit gap. Counts the gaps.
    fn check(&self, member: usize, stream: &StreamKey, sent: u64, seed: u64) -> u64 {
        let mut log = self.log.get(&(member, stream.clone())).cloned().unwrap_or_default();
        if matches!(stream.channel, Channel::Group(Service::Reliable)) {
            log.sort();
        }
        let mut next = 1;
        for (first, count, _) in &log {
            assert_eq!(*first, next, "seed {seed}: member {member}, {stream:?}: {log:?}");
            next += count;
        }
        assert_eq!(next, sent + 1, "seed {seed}: member {member}, {stream:?}: the tail is missing");
        log.iter().filter(|(_, _, delivered)| !delivered).map(|(_, count, _)| count).sum()
    }
}

/// Senders 0 and 1 send all services, and private messages to 2; views change on the way, at each member at
/// its own moment. After two seconds the links get well.
fn storm(seed: u64, lost: u32) -> (u64, usize) {
    let mut world = World::new(seed, lost, 4);
    let sent = 60;
    for i in 0..sent {
        for from in [0, 1] {
            world.multicast(from, Service::Fifo, &[1; 40]);
            world.multicast(from, Service::Reliable, &[2; 40]);
            world.private(from, 2);
        }
        if i % 20 == 10 {
            for member in 0..4 {
                let delay = world.below(300);
                world.put(delay, Packet::Install(member, 2 + i / 20));
            }
        }
        let pause = u64::from(world.below(60));
        world.run(world.now + Duration::from_millis(pause));
    }
    world.lost = 0;
    world.run(world.now + Duration::from_secs(30));
    for from in [0, 1] {
        assert_eq!(world.sides[from].outbox.under_way(), 0, "seed {seed}: all is acknowledged in the end");
    }
    let mut gaps = 0;
    for from in [0, 1] {
        let sender = world.sides[from].me.id.clone();
        for service in [Service::Fifo, Service::Reliable] {
            let stream = StreamKey { sender: sender.clone(), channel: Channel::Group(service) };
            for to in (0..4).filter(|to| *to != from) {
                gaps += world.check(to, &stream, sent, seed);
            }
        }
        let channel = Channel::Private(world.sides[2].me.id.user.clone());
        gaps += world.check(2, &StreamKey { sender: sender.clone(), channel }, sent, seed);
        assert!(world.log.keys().all(|(to, s)| *to == 2 || !matches!(s.channel, Channel::Private(_))));
    }
    (gaps, world.repairs)
}

#[test]
fn all_is_delivered_once_and_in_order_through_any_storm() {
    let mut repairs = 0;
    for (lost, seeds) in [(0, 0..5), (10, 5..15), (30, 15..25), (60, 25..30)] {
        for seed in seeds {
            let (gaps, asked) = storm(seed, lost);
            assert_eq!(gaps, 0, "seed {seed}: all could be repaired, {lost} of 100 lost");
            repairs += asked;
        }
    }
    assert!(repairs > 1000, "the storms were storms: {repairs}");
}

#[test]
fn what_nobody_can_repair_is_an_explicit_gap() {
    let mut world = World::new(1, 100, 3);
    for _ in 0..5 {
        world.multicast(0, Service::Fifo, b"lost for ever");
        world.multicast(0, Service::Reliable, b"lost for ever");
    }
    // The sender forgot them too, as after too long an outage.
    let mut policy = policy(Protection::Confidential, Origin::Group);
    policy.history_frames_max = 1;
    for relay in &mut world.relays {
        *relay = Relay::new(&policy);
    }
    world.sides[0].outbox.forget_history_for_testing_only();
    world.lost = 0;
    for _ in 0..5 {
        world.multicast(0, Service::Fifo, b"heard");
        world.multicast(0, Service::Reliable, b"heard");
    }
    world.run(at(30_000));
    for service in [Service::Fifo, Service::Reliable] {
        let stream = StreamKey { sender: world.sides[0].me.id.clone(), channel: Channel::Group(service) };
        for to in [1, 2] {
            assert_eq!(world.check(to, &stream, 10, 1), 5);
        }
    }
}
