//! A leader's core in an attacker's hands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_node::leader::LeaderCore;
use ringfort_protocol::codec::decode;
use ringfort_protocol::coordination::SignedProposal;
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::leader::{Class, Command, Effect, Figures, Leader, Record, Step};
use ringfort_protocol::login::{LoginRequest, Method};
use ringfort_protocol::time::earliest;
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::wire::{self, LeaderNotice, PeerMessage, Sorted};
use ringfort_protocol::{Cx, LeaderId, LinkId, MemberId, Rejected, Time, UserName};
use ringfort_sim::setup::copy_secrets;

use super::{Den, Lie, Tally, Vice};

/// Time between two thoughts of the attacker.
const TICK: Duration = Duration::from_millis(100);
/// Proposals remembered, to be replayed.
const HEARD_MAX: usize = 64;

/// A login under way: enough to sign a refusal of it.
pub struct Door {
    /// The link's exporter value.
    pub exporter: [u8; 32],
    /// Message 1, once it came.
    pub init: Option<(UserName, Method, [u8; 32])>,
}

/// The hacked leader.
pub struct Adversary {
    core: Leader,
    group: Arc<GroupInfo>,
    secrets: LeaderSecrets,
    vice: Box<dyn Vice>,
    heard: Vec<SignedProposal>,
    doors: BTreeMap<LinkId, Door>,
    /// Leaders that can hear it now.
    peers: BTreeSet<LeaderId>,
    tally: Tally,
    tick_at: Time,
    report: Box<dyn FnMut(&Tally) + Send>,
}

impl Adversary {
    /// Takes over a leader: its folder's records and secrets.
    pub fn new(
        cx: &mut Cx<'_>,
        group: Arc<GroupInfo>,
        secrets: LeaderSecrets,
        records: Vec<Record>,
        vice: Box<dyn Vice>,
        report: Box<dyn FnMut(&Tally) + Send>,
    ) -> Self {
        let mut core = Leader::new(cx, group.clone(), copy_secrets(&secrets), records);
        core.speak_openly_for_testing_only();
        let (heard, doors, peers, tally) = (Vec::new(), BTreeMap::new(), BTreeSet::new(), Tally::new());
        Adversary { core, group, secrets, vice, heard, doors, peers, tally, tick_at: cx.now, report }
    }

    /// Lets the vice speak with all it can see.
    fn ask<T>(&mut self, cx: &mut Cx<'_>, question: impl FnOnce(&mut dyn Vice, &mut Den<'_>) -> T) -> T {
        let mut den = Den {
            now: cx.now,
            rng: cx.rng,
            group: &self.group,
            secrets: &self.secrets,
            links: self.core.links_for_testing_only(),
            members: self.core.members(),
            view: self.core.view(),
            refreshes: self.core.refreshes_for_testing_only(),
            heard: &self.heard,
            doors: &self.doors,
            peers: &self.peers,
            tally: &mut self.tally,
        };
        question(self.vice.as_mut(), &mut den)
    }

    /// What leaves, in place of what an honest leader would send. Nothing is remembered: whoever cleans
    /// this machine finds the leader's memory as it was.
    fn twist(&mut self, cx: &mut Cx<'_>, step: Step) -> Step {
        let mut out = Step::default();
        for effect in step.effects {
            self.twist_effect(cx, effect, &mut out.effects);
        }
        out
    }

    fn twist_effect(&mut self, cx: &mut Cx<'_>, effect: Effect, out: &mut Vec<Effect>) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Send(link, Class::Control, frame) => match frame.split_first() {
                Some((0, notice)) => {
                    let Ok(notice) = decode::<LeaderNotice>(notice) else { return };
                    for notice in self.ask(cx, |vice, den| vice.notice(den, link, notice)) {
                        self.seal(link, &notice, out);
                    }
                }
                _ => self.twist_login(cx, link, frame, out),
            },
            Effect::Send(link, class @ (Class::Data | Class::Live), frame) => {
                let relayed = self.ask(cx, |vice, den| vice.relay(den, vec![link], frame));
                out.extend(relayed.into_iter().map(|(to, frame)| Effect::Send(to, class, frame)));
            }
            Effect::Relay(links, class, frame) => {
                let relayed = self.ask(cx, |vice, den| vice.relay(den, links, frame));
                out.extend(relayed.into_iter().map(|(to, frame)| Effect::Send(to, class, frame)));
            }
            Effect::SendPeer(peer, frame) => {
                let Some(message) = peer_message(&frame) else { return };
                let messages = self.ask(cx, |vice, den| vice.peer(den, peer, message));
                out.extend(messages.iter().map(|m| Effect::SendPeer(peer, wire::plain(m))));
            }
            other @ (Effect::Authenticated(_) | Effect::Close(_) | Effect::Serve(..)) => out.push(other),
        }
    }

    fn twist_login(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: Bytes, out: &mut Vec<Effect>) {
        let Ok(Sorted::Plain(body)) = wire::sort(&frame) else { return };
        let Ok(answer) = wire::decode_plain(body) else { return };
        let answers = self.ask(cx, |vice, den| vice.login(den, link, answer));
        out.extend(answers.iter().map(|a| Effect::Send(link, Class::Control, wire::plain(a))));
    }

    fn seal(&mut self, link: LinkId, notice: &LeaderNotice, out: &mut Vec<Effect>) {
        let sealed = self.core.seal_for_testing_only(link, notice);
        out.extend(sealed.map(|frame| Effect::Send(link, Class::Control, frame)));
    }

    fn think(&mut self, cx: &mut Cx<'_>, out: &mut Vec<Effect>) {
        for lie in self.ask(cx, |vice, den| vice.tick(den)) {
            match lie {
                Lie::Notice(link, notice) => self.seal(link, &notice, out),
                Lie::Peer(peer, message) => out.push(Effect::SendPeer(peer, wire::plain(&message))),
                Lie::PeerBytes(peer, frame) => out.push(Effect::SendPeer(peer, frame)),
                Lie::Bytes(link, frame) => out.push(Effect::Send(link, Class::Data, frame)),
            }
        }
        (self.report)(&self.tally);
    }

    fn hear(&mut self, frame: &Bytes) {
        if let Some(PeerMessage::Proposals(proposals)) = peer_message(frame) {
            self.heard.extend(proposals);
            let surplus = self.heard.len().saturating_sub(HEARD_MAX);
            self.heard.drain(..surplus);
        }
    }
}

impl LeaderCore for Adversary {
    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: LeaderId) -> Step {
        self.peers.insert(peer);
        let step = self.core.on_peer_up(peer);
        self.twist(cx, step)
    }

    fn on_peer_down(&mut self, peer: LeaderId) {
        self.peers.remove(&peer);
        self.core.on_peer_down(peer);
    }

    fn on_peer_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes) -> Step {
        self.hear(frame);
        let step = self.core.on_peer_frame(cx, peer, frame);
        self.twist(cx, step)
    }

    fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]) {
        self.doors.insert(link, Door { exporter, init: None });
        self.core.on_link_up(link, exporter);
    }

    fn on_link_down(&mut self, link: LinkId) {
        self.doors.remove(&link);
        self.core.on_link_down(link);
    }

    fn on_member_frame(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: &Bytes) -> Step {
        if matches!(wire::sort(frame), Ok(Sorted::Data)) && self.core.member_of(link).is_none() {
            let relayed = self.ask(cx, |vice, den| vice.accomplice(den, frame.clone()));
            let effects = relayed.into_iter().map(|(to, frame)| Effect::Send(to, Class::Data, frame));
            return Step { effects: effects.collect(), events: Vec::new() };
        }
        if let (Ok(Sorted::Plain(body)), Some(door)) = (wire::sort(frame), self.doors.get_mut(&link))
            && let Ok(LoginRequest::Init { user, method, n1, .. }) = wire::decode_plain(body)
        {
            door.init = Some((user, method, n1));
        }
        let step = self.core.on_member_frame(cx, link, frame);
        self.twist(cx, step)
    }

    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<Step, Rejected> {
        let step = self.core.on_command(cx, command)?;
        Ok(self.twist(cx, step))
    }

    fn next_wakeup(&self) -> Option<Time> {
        earliest(self.core.next_wakeup(), Some(self.tick_at))
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let step = self.core.on_wakeup(cx);
        let mut out = self.twist(cx, step);
        if cx.now >= self.tick_at {
            self.tick_at = cx.now + TICK;
            self.think(cx, &mut out.effects);
        }
        out
    }

    fn figures(&self, now: Time) -> Figures {
        self.core.figures(now)
    }

    fn answer(&mut self, cx: &mut Cx<'_>, member: &MemberId, answer: &Bytes) -> Step {
        let step = self.core.answer(cx.now, member, answer);
        self.twist(cx, step)
    }

    fn stays(&self) -> Option<Vec<MemberEntry>> {
        LeaderCore::stays(&self.core)
    }
}

fn peer_message(frame: &Bytes) -> Option<PeerMessage> {
    match wire::sort(frame) {
        Ok(Sorted::Plain(body)) => wire::decode_plain(body).ok(),
        _ => None,
    }
}
