//! What the leader's loop does with one input after the other, and with what comes of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_protocol::leader::{Class, Effect, Event, Record, Step};
use ringfort_protocol::{Cx, LeaderId, LinkId, Time};
use ringfort_setup::renewal::{self, Renewal};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::links::{Input, Links, Peer, pool};
use super::meter::Meter;
use super::{LeaderCore, LeaderError, Told};
use crate::order::{Answered, Order};
use crate::store::Store;
use ringfort_link as link;
use ringfort_link::pace::{self, Asides};
use ringfort_link::{LinkSender, SendError};
use ringfort_runtime::{Outside, SERVE_BYTES, SERVE_FOR, cost_since};

/// How often it is told that somebody shows the key of a leader that was replaced.
const RETIRED_SPACING: Duration = Duration::from_secs(60);
/// Beyond the grace of links that close.
const CLOSE_MARGIN: Duration = Duration::from_millis(250);

pub(super) struct Driver {
    pub core: Box<dyn LeaderCore>,
    pub meter: Meter,
    pub order_patience: Duration,
    pub store: Store,
    pub folder: PathBuf,
    pub members: BTreeMap<LinkId, LinkSender>,
    /// What members say to a few while they speak to others too.
    pub asides: BTreeMap<Peer, Asides>,
    pub peers: BTreeMap<LeaderId, (u64, LinkSender)>,
    pub links: Links,
    pub renewal: Renewal,
    pub renewal_due: Option<Time>,
    /// What came of renewals and is to be carried out.
    pub renewed: Vec<renewal::Step>,
    /// When somebody last showed a key that was a leader's before.
    pub retired: BTreeMap<LeaderId, Instant>,
    pub order: Option<Order>,
    /// Whether the services are to be told who is in.
    pub stays_changed: bool,
}

/// What came of one input, and whose it was.
pub(super) struct Outcome {
    pub step: Step,
    pub by: Option<Peer>,
}

impl From<Step> for Outcome {
    fn from(step: Step) -> Self {
        Outcome { step, by: None }
    }
}

impl Driver {
    /// Serves what waits, in turn, for a few milliseconds at most: then what came of it is sent. Says how many it were.
    pub fn serve(
        &mut self,
        outside: &mut Outside,
        batch_max: usize,
        outcomes: &mut Vec<Outcome>,
        observe: &mut impl FnMut(&Told<'_>),
    ) -> usize {
        let (began, mut bytes, mut served) = (Instant::now(), 0, 0);
        while outcomes.len() < batch_max && bytes < SERVE_BYTES && began.elapsed() < SERVE_FOR {
            let Some((peer, input)) = self.links.inputs.pop() else { break };
            served += 1;
            bytes += input.bytes();
            let started = Instant::now();
            let is_end = matches!(input, Input::MemberDown(_));
            let step = self.on_input(&mut outside.cx(), input, observe);
            self.charge(peer, started);
            if is_end {
                self.links.inputs.close(&peer);
            }
            outcomes.extend(step.map(|step| Outcome { step, by: Some(peer) }));
        }
        served
    }

    /// A peer pays for the time that was spent on it.
    fn charge(&mut self, peer: Peer, began: Instant) {
        self.links.inputs.charge(&peer, cost_since(began));
        self.meter.spent(peer, began.elapsed());
    }

    fn on_input(&mut self, cx: &mut Cx<'_>, input: Input, observe: &mut impl FnMut(&Told<'_>)) -> Option<Step> {
        self.meter.count(&input);
        match input {
            Input::MemberUp(link, exporter, sender) => {
                self.members.insert(link, sender);
                self.core.on_link_up(link, exporter);
                None
            }
            Input::MemberFrame(link, frame) => Some(self.core.on_member_frame(cx, link, &frame)),
            Input::MemberDown(link) => {
                if let Some(sender) = self.members.remove(&link) {
                    sender.close();
                }
                self.asides.remove(&Peer::Member(link));
                self.core.on_link_down(link);
                None
            }
            Input::PeerUp(peer, _, sender) if self.links.barred.left(peer).is_some() => {
                sender.close();
                None
            }
            Input::PeerUp(peer, generation, sender) => {
                info!(peer = peer.number(), "link to leader up");
                observe(&Told::PeerUp(peer));
                if let Some(order) = &self.order {
                    order.on_peer_up(peer, sender.clone());
                }
                if let Some((_, old)) = self.peers.insert(peer, (generation, sender)) {
                    old.close();
                }
                self.renewed.push(self.renewal.on_peer_up(peer));
                Some(self.core.on_peer_up(cx, peer))
            }
            Input::PeerFrame(peer, generation, frame) if self.is_current(peer, generation) => {
                if let Some(post) = super::renewing::sort(&frame) {
                    self.on_renewal_frame(cx, peer, post);
                    return None;
                }
                Some(self.core.on_peer_frame(cx, peer, &frame))
            }
            Input::PeerDown(peer, generation) if self.is_current(peer, generation) => {
                info!(peer = peer.number(), "link to leader down");
                self.drop_peer(peer, observe);
                None
            }
            Input::PeerFrame(..) | Input::PeerDown(..) => None,
            Input::Retired(leader) => {
                self.tell_retired(leader, observe);
                None
            }
        }
    }

    /// Who shows the key of a leader that was replaced has no link; it is told now and then.
    fn tell_retired(&mut self, leader: LeaderId, observe: &mut impl FnMut(&Told<'_>)) {
        let now = Instant::now();
        if self.retired.get(&leader).is_none_or(|last| now.duration_since(*last) >= RETIRED_SPACING) {
            self.retired.insert(leader, now);
            warn!(leader = leader.number(), "the key of a leader that was replaced was shown, and refused");
            observe(&Told::Retired(leader));
        }
    }

    fn is_current(&self, peer: LeaderId, generation: u64) -> bool {
        self.peers.get(&peer).is_some_and(|(current, _)| *current == generation)
    }

    fn drop_peer(&mut self, peer: LeaderId, observe: &mut impl FnMut(&Told<'_>)) {
        if let Some((_, sender)) = self.peers.remove(&peer) {
            sender.close();
            if let Some(order) = &self.order {
                order.on_peer_down(peer);
            }
            observe(&Told::PeerDown(peer));
            self.renewal.on_peer_down(peer);
            self.core.on_peer_down(peer);
        }
    }

    /// Carries out steps in order; what they persist is durable before anything of them is sent.
    pub fn carry_out(
        &mut self,
        outcomes: Vec<Outcome>,
        observe: &mut impl FnMut(&Told<'_>),
    ) -> Result<(), LeaderError> {
        self.persist(&outcomes)?;
        for Outcome { step, by } in outcomes {
            let began = Instant::now();
            for effect in step.effects {
                self.execute(effect, by);
            }
            for event in &step.events {
                debug!(?event);
                observe(&Told::Event(event));
                self.on_event(event, observe);
            }
            if let Some(peer) = by {
                self.charge(peer, began);
            }
        }
        Ok(())
    }

    /// One commit for all of them; each that needed it pays its part.
    fn persist(&mut self, outcomes: &[Outcome]) -> Result<(), LeaderError> {
        let is_record = |effect: &Effect| matches!(effect, Effect::Persist(_));
        let records = outcomes.iter().flat_map(|outcome| &outcome.step.effects);
        let records: Vec<&Record> = records
            .filter_map(|effect| match effect {
                Effect::Persist(record) => Some(record),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        self.store.persist(&records)?;
        self.meter.traffic.commits += 1;
        self.meter.traffic.commit_time += started.elapsed();
        let payers = outcomes.iter().filter(|outcome| outcome.step.effects.iter().any(is_record));
        let payers: Vec<Peer> = payers.filter_map(|outcome| outcome.by).collect();
        let part = cost_since(started) / u64::try_from(payers.len().max(1)).unwrap_or(1);
        payers.iter().for_each(|peer| self.links.inputs.charge(peer, part));
        Ok(())
    }

    fn execute(&mut self, effect: Effect, by: Option<Peer>) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Send(link, class, frame) => self.send(link, class, frame),
            Effect::Relay(links, class, frame) => {
                for link in &links {
                    self.send(*link, class, frame.clone());
                }
                if let (Class::Data, Some(peer)) = (class, by) {
                    self.pace(&links, peer, &frame);
                }
            }
            Effect::SendPeer(peer, frame) => {
                if let Some((_, sender)) = self.peers.get(&peer) {
                    self.meter.traffic.peer_frames_out += 1;
                    let _ = sender.send(link::Class::Control, frame);
                }
            }
            Effect::Authenticated(link) => {
                if let Some(sender) = self.members.get(&link) {
                    sender.authenticated();
                    self.links.inputs.open(Peer::Member(link), pool::MEMBERS);
                }
            }
            Effect::Close(link) => {
                if let Some(sender) = self.members.get(&link) {
                    sender.close();
                }
            }
            Effect::Serve(member, request) => {
                if let Some(services) = self.order.as_mut().and_then(Order::services) {
                    services.on_request(&member, &request);
                }
            }
        }
    }

    fn send(&mut self, link: LinkId, class: Class, frame: Bytes) {
        if let Some(sender) = self.members.get(&link) {
            // A full data queue means a slow member, which will notice its gap; a dead link reports itself.
            match sender.send(class, frame) {
                Err(SendError::Full) => self.meter.traffic.member_frames_dropped += 1,
                _ => self.meter.traffic.member_frames_out += 1,
            }
        }
    }

    /// Holds a sender's data back while those it is for are behind.
    fn pace(&mut self, links: &[LinkId], sender: Peer, frame: &[u8]) {
        let (now, audience) = (tokio::time::Instant::now(), || links.iter().filter_map(|link| self.members.get(link)));
        let asides = self.asides.entry(sender).or_insert_with(|| Asides::new(now));
        asides.note(now, links.len());
        if !pace::must_wait(audience()) || asides.take(now, frame, links.len()) {
            return;
        }
        let (audience, inputs) = (audience().cloned().collect::<Vec<_>>(), self.links.inputs.clone());
        inputs.hold(&sender);
        tokio::spawn(async move {
            pace::ready(&audience).await;
            inputs.release(&sender);
        });
    }

    /// The services' answers that wait, for the links of members.
    pub fn answer(&mut self, cx: &mut Cx<'_>, first: Option<Answered>, outcomes: &mut Vec<Outcome>, batch_max: usize) {
        let Some(services) = self.order.as_mut().and_then(Order::services) else { return };
        let waiting = std::iter::from_fn(|| services.try_answer()).take(batch_max);
        for (member, answer) in first.into_iter().chain(waiting) {
            outcomes.push(self.core.answer(cx, &member, &answer).into());
        }
    }

    /// Tells the services who is in, if that has changed.
    pub fn tell_stays(&mut self) {
        let Some(services) = self.order.as_mut().and_then(Order::services).filter(|_| self.stays_changed) else {
            return;
        };
        if let Some(stays) = self.core.stays() {
            services.on_members(stays);
            self.stays_changed = false;
        }
    }

    /// A leader that the core does not listen to has no link meanwhile: what it sends costs nothing at all.
    fn on_event(&mut self, event: &Event, observe: &mut impl FnMut(&Told<'_>)) {
        self.stays_changed |= matches!(event, Event::Admitted(_) | Event::Ended(..) | Event::CaughtUp);
        if let Event::CutOff(leader, length) = event {
            self.links.barred.bar(*leader, *length);
            self.drop_peer(*leader, observe);
        }
    }

    /// Ends in order: no new links, what has come is answered, for `grace` at most, then members' links and leaders' links
    /// close, and the store is closed last. A peer that does not read holds it up for no longer than twice
    /// `grace` and a little.
    pub async fn stop(
        mut self,
        outside: &mut Outside,
        batch_max: usize,
        grace: Duration,
        observe: &mut impl FnMut(&Told<'_>),
    ) -> Result<(), LeaderError> {
        self.links.stop_listening();
        let (mut left, began) = (self.links.inputs.waiting().0, Instant::now());
        while left > 0 && began.elapsed() < grace {
            let mut outcomes = Vec::new();
            let served = self.serve(outside, batch_max, &mut outcomes, observe);
            self.carry_out(outcomes, observe)?;
            left = if served == 0 { 0 } else { left.saturating_sub(served) };
        }
        if let Some(order) = self.order.take() {
            order.stop()?;
        }
        close_all(self.members.values(), grace).await;
        close_all(self.peers.values().map(|(_, sender)| sender), grace).await;
        self.links.shutdown().await;
        Ok(())
    }
}

/// Closes links, and waits until the other ends have had what was queued for them, or time is up.
async fn close_all<'a>(links: impl Iterator<Item = &'a LinkSender>, grace: Duration) {
    let mut ending = JoinSet::new();
    for link in links {
        link.close();
        ending.spawn(link.ended());
    }
    // Who is late is cut off with the process.
    let _ = tokio::time::timeout(grace + CLOSE_MARGIN, ending.join_all()).await;
}
