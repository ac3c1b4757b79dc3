//! What attackers do with their hands: log in without a program, vote, claim and seal in a hacked leader's name.

use bytes::Bytes;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::keys::{Base, ViewClaim, view_point};
use ringfort_protocol::login::{Credential, LoginClient};
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Service;
use ringfort_protocol::sealed::SealedChannel;
use ringfort_protocol::statement::Statement;
use ringfort_protocol::view::{Change, MemberEntry};
use ringfort_protocol::wire::{self, LeaderNotice, LoginAnswer, MemberRequest, PeerMessage, Sorted};
use ringfort_protocol::{Incarnation, LeaderId, LinkId, Topic, ViewId, codec, leader};

use super::{Bench, Route, l, user};
use crate::world::unix_ms;

/// The first login answer among frames.
pub fn answer(frames: &[Bytes]) -> Option<LoginAnswer> {
    frames.iter().find_map(|frame| match wire::sort(frame) {
        Ok(Sorted::Plain(body)) => wire::decode_plain(body).ok(),
        _ => None,
    })
}

/// A user's credential in the hands of somebody who runs no program: links and channels to every leader.
pub struct Hands {
    /// The stay.
    pub me: Identity,
    ends: Vec<(LeaderId, LinkId, SealedChannel)>,
}

impl Hands {
    /// Logs in with every leader; `None` if one refuses.
    pub fn log_in(bench: &mut Bench, name: &str, key: &SigningKey, stay: u64) -> Option<Hands> {
        let me = Identity::generate(user(name), Incarnation(stay), &mut bench.dice.0);
        let mut hands = Hands { me, ends: Vec::new() };
        for leader in bench.leader_ids() {
            hands.log_in_at(bench, leader, key)?;
        }
        Some(hands)
    }

    /// Logs in with one leader alone.
    pub fn log_in_alone(bench: &mut Bench, name: &str, key: &SigningKey, stay: u64, leader: LeaderId) -> Option<Hands> {
        let me = Identity::generate(user(name), Incarnation(stay), &mut bench.dice.0);
        let mut hands = Hands { me, ends: Vec::new() };
        hands.log_in_at(bench, leader, key)?;
        Some(hands)
    }

    /// Logs in with one leader more, in the same stay.
    pub fn log_in_at(&mut self, bench: &mut Bench, leader: LeaderId, key: &SigningKey) -> Option<()> {
        let exporter = bench.dice.bytes();
        let link = bench.open(leader, exporter);
        let credential = Credential::Key(key.clone());
        let name = self.me.id.user.clone();
        let (mut client, init) =
            LoginClient::start(&bench.group, leader, exporter, &name, &credential, &mut bench.dice.0);
        let replies = bench.push_up(leader, link, &wire::plain(&init));
        client.on_answer(&bench.group, &answer(&replies)?).ok()?;
        let (ack, channel) = client.acknowledge(&bench.group, &credential, &self.me, &mut bench.dice.0)?;
        let mut replies = bench.push_up(leader, link, &wire::plain(&ack));
        bench.mail.entry(link).or_default().append(&mut replies);
        self.ends.push((leader, link, channel));
        Some(())
    }

    /// The link to a leader.
    pub fn link(&self, leader: LeaderId) -> LinkId {
        self.ends.iter().find(|(id, ..)| *id == leader).map(|(_, link, _)| *link).expect("logged in everywhere")
    }

    /// Seals a request to a leader.
    pub fn seal(&mut self, leader: LeaderId, request: &MemberRequest) -> Bytes {
        let end = self.ends.iter_mut().find(|(id, ..)| *id == leader).expect("logged in everywhere");
        end.2.seal(&codec::encode(request))
    }

    /// Sends a request.
    pub fn ask(&mut self, bench: &mut Bench, leader: LeaderId, request: &MemberRequest) {
        let frame = self.seal(leader, request);
        let link = self.link(leader);
        bench.on_leader(leader, |core, cx| core.on_member_frame(cx, link, &frame));
        bench.pump();
    }

    /// Whether these keys open any of the frames.
    pub fn opens_any(&mut self, bench: &Bench, frames: &[(Route, Bytes)]) -> bool {
        let rules = &bench.group.rules;
        self.ends.iter_mut().any(|(.., channel)| frames.iter().any(|(_, frame)| channel.open(rules, frame).is_ok()))
    }

    /// What leaders have told since this was asked last.
    pub fn told(&mut self, bench: &mut Bench) -> Vec<(LeaderId, LeaderNotice)> {
        let mut told = Vec::new();
        for (leader, link, channel) in &mut self.ends {
            for frame in bench.mail.remove(link).unwrap_or_default() {
                let payload = channel.open(&bench.group.rules, &frame).ok();
                told.extend(payload.and_then(|p| codec::decode(&p).ok()).map(|notice| (*leader, notice)));
            }
        }
        told
    }
}

/// A claim holds a share of 128 bytes; heartbeat answers and endings are shorter.
const CLAIM_BYTES_MIN: usize = 150;

/// The topic of all messages on the bench.
pub fn topic() -> Topic {
    "sim".parse().expect("a topic")
}

impl Bench {
    /// The current entry of a seat's stay. Only once it has announced itself.
    pub fn entry(&self, seat: usize) -> Option<MemberEntry> {
        self.seat(seat).member.entry_for_testing_only()
    }

    /// The key that a seat sends under.
    pub fn key(&self, seat: usize) -> Option<[u8; 32]> {
        self.seat(seat).member.key_for_testing_only()
    }

    /// The installed view of a seat.
    pub fn view(&self, seat: usize) -> Option<ViewId> {
        self.seat(seat).member.view()
    }

    /// Whether a seat sees a user in its view.
    pub fn sees(&self, seat: usize, name: &str) -> bool {
        self.seat(seat).member.members().is_some_and(|m| m.get(&user(name)).is_some())
    }

    /// Whether any of these leaders admitted `name`.
    pub fn admitted(&self, leaders: &[u8], name: &str) -> bool {
        leaders.iter().any(|id| self.leader(l(*id)).members().get(&user(name)).is_some())
    }

    /// The payloads of all messages that a seat was given.
    pub fn heard(&self, seat: usize) -> Vec<Vec<u8>> {
        let heard = |event: &Event| match event {
            Event::Message(delivery) => Some(delivery.payload.to_vec()),
            _ => None,
        };
        self.seat(seat).events.iter().filter_map(heard).collect()
    }

    /// How often a seat was given a message.
    pub fn times_heard(&self, seat: usize, payload: &[u8]) -> usize {
        self.heard(seat).iter().filter(|p| p.as_slice() == payload).count()
    }

    /// Deviations that a seat reported of a leader.
    pub fn faults_of(&self, seat: usize, leader: LeaderId) -> Vec<Fault> {
        let fault = |event: &Event| match event {
            Event::Blamed(Culprit::Leader(id), fault) if *id == leader => Some(*fault),
            _ => None,
        };
        self.seat(seat).events.iter().filter_map(fault).collect()
    }

    /// Faults that a leader reported, of anybody.
    pub fn faults_at(&self, leader: LeaderId) -> Vec<(Culprit, Fault)> {
        let fault = |(by, event): &(LeaderId, leader::Event)| match event {
            leader::Event::Blamed(culprit, fault) if *by == leader => Some((culprit.clone(), *fault)),
            _ => None,
        };
        self.events.iter().filter_map(fault).collect()
    }

    /// Whether a leader admitted somebody's login since a moment.
    pub fn authenticated(&self, since: usize) -> bool {
        self.events.iter().skip(since).any(|(_, e)| matches!(e, leader::Event::Authenticated(_)))
    }

    /// A seat multicasts; what follows is under way. False if its program refuses.
    pub fn say(&mut self, seat: usize, service: Service, payload: &[u8]) -> bool {
        let mut accepted = false;
        self.on_seat(seat, |member, cx| {
            let step = member.multicast(cx, service, &topic(), payload);
            accepted = step.is_ok();
            step.unwrap_or_default()
        });
        accepted
    }

    /// A seat sends to some users only; what follows is under way. False if its program refuses.
    pub fn whisper(&mut self, seat: usize, to: &[&str], payload: &[u8]) -> bool {
        let mut accepted = false;
        let to: Vec<_> = to.iter().map(|name| user(name)).collect();
        self.on_seat(seat, |member, cx| {
            let step = member.send_to(cx, &to, &topic(), payload);
            accepted = step.is_ok();
            step.unwrap_or_default()
        });
        accepted
    }

    /// The way down to a seat from a leader.
    pub fn down(&self, leader: LeaderId, seat: usize) -> Option<Route> {
        self.seat(seat).links.get(&leader).map(|link| Route::Down(leader, *link))
    }

    /// Whether a frame is on its way down to a seat, from whichever leader.
    pub fn is_down_to(&self, seat: usize) -> impl Fn(&Route, &Bytes) -> bool + Clone + use<> {
        let links: Vec<(LeaderId, LinkId)> = self.seat(seat).links.iter().map(|(l, link)| (*l, *link)).collect();
        move |route, _| matches!(route, Route::Down(leader, link) if links.contains(&(*leader, *link)))
    }

    /// Whether a frame is a claim on its way to a seat: of sealed notices, claims are the long ones.
    pub fn is_claim_to(&self, seat: usize) -> impl Fn(&Route, &Bytes) -> bool + Clone + use<> {
        let down = self.is_down_to(seat);
        move |route, frame| {
            let sealed = matches!(wire::sort(frame), Ok(Sorted::Sealed(_)));
            down(route, frame) && sealed && frame.len() > CLAIM_BYTES_MIN
        }
    }

    /// Frames of the data channel that passed since a moment, one of each.
    pub fn data_frames(&self, since: usize) -> Vec<Bytes> {
        let mut frames: Vec<Bytes> = Vec::new();
        for (_, frame) in self.frames(since, |_, f| matches!(wire::sort(f), Ok(Sorted::Data))) {
            if !frames.contains(&frame) {
                frames.push(frame);
            }
        }
        frames
    }

    /// Sealed frames that passed since a moment on routes that satisfy a condition.
    pub fn sealed_frames(&self, since: usize, wanted: impl Fn(&Route, &Bytes) -> bool) -> Vec<(Route, Bytes)> {
        self.frames(since, |route, f| wanted(route, f) && matches!(wire::sort(f), Ok(Sorted::Sealed(_))))
    }

    /// A hacked leader's vote, or its word that it has accepted.
    pub fn vote(&self, by: LeaderId, operation: &Operation, accepted: bool) -> PeerMessage {
        let session = self.group.session();
        let signing = &self.secrets_of(by).signing;
        PeerMessage::Proposals(vec![SignedProposal::sign(signing, by, session, operation.clone(), accepted)])
    }

    /// The same, put on the wires to other leaders.
    pub fn inject_vote(&mut self, lane: u8, by: LeaderId, to: &[u8], operation: &Operation, accepted: bool) {
        let frame = wire::plain(&self.vote(by, operation, accepted));
        to.iter().for_each(|to| self.inject(lane, Route::Peer(by, l(*to)), frame.clone()));
    }

    /// A notice that a hacked leader seals for a seat.
    pub fn seal_as(&mut self, leader: LeaderId, seat: usize, notice: &LeaderNotice) -> Option<(Route, Bytes)> {
        let route = self.down(leader, seat)?;
        let Route::Down(_, link) = route else { return None };
        let mut frame = None;
        self.on_leader(leader, |core, _| {
            frame = core.seal_for_testing_only(link, notice);
            leader::Step::default()
        });
        Some((route, frame?))
    }

    /// The same, put on the wire; false if there is no such link.
    pub fn inject_notice(&mut self, lane: u8, leader: LeaderId, seat: usize, notice: &LeaderNotice) -> bool {
        let Some((route, frame)) = self.seal_as(leader, seat, notice) else { return false };
        self.inject(lane, route, frame);
        true
    }

    /// A claim of a view with a good share by a hacked leader.
    pub fn claim_by(
        &mut self,
        by: LeaderId,
        number: u64,
        view: ViewId,
        refreshes: u64,
        list: Vec<Change>,
    ) -> ViewClaim {
        let point = view_point(&self.group, self.group.session(), view, refreshes);
        let place = usize::from(by.number()) - 1;
        let secrets = self.secrets.get(place).expect("the group's leaders");
        let share = secrets.group_share.evaluate(&point, &mut self.dice.0).to_bytes();
        let statement = Statement::sign(secrets, &self.group, view, refreshes, unix_ms(self.now));
        ViewClaim { number, view, refreshes, base: Base::Empty, changes: list, share, statement }
    }

    /// Somebody who is not there, with keys that the attacker holds.
    pub fn ghost(&mut self, name: &str, stay: u64) -> Identity {
        Identity::generate(user(name), Incarnation(stay), &mut self.dice.0)
    }
}
