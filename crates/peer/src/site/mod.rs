//! The root component: one site of a peer group's network.
//!
//! Inputs are commands of local clients (`Result`: a client can be wrong), frames of other sites (never an `Err`) and
//! wake-ups. Each returns a [`Step`]: effects for the driver and events for the clients, both in order.
//!
//! What the driver does, and nothing more:
//! - It gives [`Site::new`] what [`Effect::Persist`] wrote last, or nothing at the very first start, and makes a
//!   `Persist` durable before it carries out later effects.
//! - It seals each frame for each receiver and gives [`Site::on_frame`] only what it opened, with the site whose key
//!   opened it. Frames of [`Class::Token`] go by a socket of their own.
//! - It calls [`Site::on_wakeup`] at [`Site::next_wakeup`], by a monotonic clock that goes on while the machine sleeps
//!   (`CLOCK_BOOTTIME`): a site that is called late rejoins.
//! - It reads no more from clients while [`Site::has_room`] is false.
//!
//! `Site` routes; ring, membership, evs and groups never call each other but through it.

pub mod step;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use ringfort_kernel::Time;
use ringfort_kernel::time::earliest;

use crate::evs::configuration::{Configuration, Transitional};
use crate::evs::recovery;
use crate::groups::content::{Content, Head};
use crate::groups::{Client, Groups};
use crate::ids::{Name, RingId, Service, SiteId, SiteSet};
use crate::limits::{Config, GROUPS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX};
use crate::membership::timeouts::Sleep;
use crate::membership::{self, Install, Membership, Reason, Verdict};
use crate::ring::order::Message;
use crate::ring::pack::Outbox;
use crate::ring::window::Pace;
use crate::ring::{self, Ring};
use crate::rules::Rule;
use crate::wire::{Frame, Packet};

pub use step::{Cause, Class, ClientId, Delivery, Durable, Effect, Event, Rejected, Step};

/// A message that a client sends.
#[derive(Clone, Debug)]
pub struct Multicast {
    /// How it is delivered.
    pub service: Service,
    /// To which groups; a client's private name among them reaches that client.
    pub groups: Vec<Name>,
    /// Whether the sender's own session is left out.
    pub self_discard: bool,
    /// Passed on unread.
    pub mark: u32,
    /// Passed on unread.
    pub message_type: i16,
    /// The message.
    pub payload: Bytes,
}

/// One site.
#[derive(Debug)]
pub struct Site {
    config: Config,
    membership: Membership,
    ring: Ring,
    outbox: Outbox,
    groups: Groups,
    sleep: Sleep,
    next_client: u32,
    pace: Pace,
}

impl Site {
    /// A site starts. `durable` is what it persisted last.
    pub fn new(config: Config, durable: Durable, now: Time) -> (Self, Step) {
        let mut out = membership::Output::default();
        let membership = Membership::new(&config, durable, now, &mut out);
        let mut ring = Ring::new(&config, membership.ring(), SiteSet::EMPTY.with(config.me), now);
        ring.close();
        let mut site = Site {
            membership,
            ring,
            outbox: Outbox::new(config.rules),
            groups: Groups::new(&config),
            sleep: Sleep::default(),
            next_client: 1,
            pace: Pace::default(),
            config,
        };
        let mut step = Step { effects: out.effects, events: vec![Event::Gathering(Reason::Started)] };
        site.finish(now, &mut step);
        (site, step)
    }

    // Commands of local clients.

    /// A client connects under a private name, which nobody else has here. `wants_views`: it is told of memberships.
    ///
    /// Names that are unique over all sites are the driver's care, such as `#user#site`.
    pub fn connect(&mut self, name: Name, wants_views: bool) -> Result<ClientId, Rejected> {
        if self.groups.names.contains_key(&name) {
            return Err(Rejected::NameInUse);
        }
        if self.groups.clients.len() >= self.config.clients_max {
            return Err(Rejected::TooManyClients);
        }
        let id = ClientId(self.next_client);
        self.next_client += 1;
        self.groups.names.insert(name.clone(), id);
        self.groups.clients.insert(id, Client { name, wants_views, closing: false });
        Ok(id)
    }

    /// A client's connection ends, cleanly or not. [`Event::Disconnected`] follows when its name is free again.
    pub fn disconnect(&mut self, now: Time, client: ClientId) -> Result<Step, Rejected> {
        let name = self.name(client)?;
        if let Some(client) = self.groups.clients.get_mut(&client) {
            client.closing = true;
        }
        Ok(self.submit(now, client, Service::Agreed, Content::Disconnect { client: name }))
    }

    /// A client joins a group. Joining twice does nothing.
    pub fn join(&mut self, now: Time, client: ClientId, group: Name) -> Result<Step, Rejected> {
        let name = self.name(client)?;
        self.check_room()?;
        Ok(self.submit(now, client, Service::Agreed, Content::Join { client: name, group }))
    }

    /// A client leaves a group. Leaving what it is not in does nothing.
    pub fn leave(&mut self, now: Time, client: ClientId, group: Name) -> Result<Step, Rejected> {
        let name = self.name(client)?;
        self.check_room()?;
        Ok(self.submit(now, client, Service::Agreed, Content::Leave { client: name, group }))
    }

    /// A client sends a message. Groups are open: it need not be in them.
    pub fn multicast(&mut self, now: Time, client: ClientId, message: Multicast) -> Result<Step, Rejected> {
        let sender = self.name(client)?;
        let Multicast { service, groups, self_discard, mark, message_type, payload } = message;
        if groups.len() > GROUPS_PER_MESSAGE_MAX {
            return Err(Rejected::TooManyGroups(groups.len()));
        }
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(Rejected::TooLarge(payload.len()));
        }
        self.check_room()?;
        let head = Head { sender, groups, self_discard, mark, message_type };
        Ok(self.submit(now, client, service, Content::Data(head, payload)))
    }

    /// Readers here are behind: the ring goes so much slower, and all senders with it. The default when they are not.
    pub fn pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.ring.pace(pace);
    }

    /// Whether another message of a client would be taken.
    pub fn has_room(&self) -> bool {
        self.outbox.bytes() < self.config.queue_bytes_max
    }

    // What there is to see.

    /// The ring and its members, while the site is in one.
    pub fn ring(&self) -> Option<(RingId, SiteSet)> {
        Some((self.membership.ring(), self.membership.members()?))
    }

    /// The life of this process, for the driver's handshakes.
    pub fn incarnation(&self) -> u64 {
        self.membership.incarnation()
    }

    /// Groups and memberships that the site knows of.
    pub fn group_sizes(&self) -> (usize, usize) {
        self.groups.sizes()
    }

    /// Packets that are kept for others, and bytes that wait for the token.
    pub fn queue_sizes(&self) -> (usize, usize) {
        (self.ring.kept(), self.outbox.bytes())
    }

    // Inputs of the driver.

    /// A frame that `from` sealed.
    pub fn on_frame(&mut self, now: Time, from: SiteId, bytes: &[u8]) -> Step {
        let mut step = Step::default();
        if self.notice_sleep(now, &mut step) {
            // Whatever came while this site slept is old news.
            self.finish(now, &mut step);
            return step;
        }
        if let Ok(frame) = Frame::decode(bytes)
            && frame.sender() == from
            && from != self.config.me
            && self.config.sites.has(from)
        {
            self.take(now, frame, &mut step);
            self.finish(now, &mut step);
        }
        step
    }

    /// When the site next wants to be woken.
    pub fn next_wakeup(&self) -> Option<Time> {
        earliest(self.membership.next_wakeup(), self.ring.next_wakeup())
    }

    /// Does what is due.
    pub fn on_wakeup(&mut self, now: Time) -> Step {
        let mut step = Step::default();
        self.notice_sleep(now, &mut step);
        let mut out = ring::Output::default();
        let failure = self.ring.on_wakeup(now, &mut self.outbox, &mut out);
        self.take_ring(out, &mut step);
        if let Some(failure) = failure {
            self.gather(now, Reason::RingFailed(failure), &mut step);
        }
        let mut out = membership::Output::default();
        self.membership.on_wakeup(now, &mut self.ring, &mut out);
        self.take_membership(now, out, &mut step);
        self.finish(now, &mut step);
        step
    }

    fn take(&mut self, now: Time, frame: Frame, step: &mut Step) {
        let mut out = membership::Output::default();
        match frame {
            Frame::Token(token) => {
                self.install_by_sign(now, token.ring, step);
                let mut out = ring::Output::default();
                self.ring.on_token(now, token, &mut self.outbox, &mut out);
                self.take_ring(out, step);
            }
            Frame::Packet(packet) => {
                self.install_by_sign(now, packet.ring, step);
                if self.membership.takes_old_packets() {
                    self.take_packet(now, packet, step);
                }
            }
            Frame::Relayed(sender, packet) => {
                if self.membership.on_relayed(now, sender, packet.clone(), &mut self.ring, &mut out) {
                    self.take_membership(now, out, step);
                } else if self.membership.takes_old_packets() && self.ring.members().has(sender) {
                    self.take_packet(now, packet, step);
                }
            }
            Frame::Hurry(hurry) => {
                let mut out = ring::Output::default();
                self.ring.on_hurry(now, &hurry, &mut self.outbox, &mut out);
                self.take_ring(out, step);
            }
            Frame::Hello(hello) => {
                self.membership.on_hello(now, hello, &mut self.ring, &mut out);
                self.take_membership(now, out, step);
            }
            Frame::Commit(commit) => {
                self.membership.on_commit(now, commit, &mut self.ring, &mut out);
                self.take_membership(now, out, step);
            }
            Frame::Recovering(state) => {
                self.membership.on_recovering(now, state, &mut self.ring, &mut out);
                self.take_membership(now, out, step);
            }
        }
    }

    fn take_packet(&mut self, now: Time, packet: Packet, step: &mut Step) {
        let mut out = ring::Output::default();
        self.ring.on_packet(now, packet, &mut out);
        self.take_ring(out, step);
    }

    fn install_by_sign(&mut self, now: Time, ring: RingId, step: &mut Step) {
        if self.membership.recovering() == Some(ring) {
            let mut out = membership::Output::default();
            self.membership.on_sign_of_new_ring(now, ring, &self.ring, &mut out);
            self.take_membership(now, out, step);
        }
    }

    fn take_ring(&mut self, out: ring::Output, step: &mut Step) {
        step.effects.extend(out.effects);
        self.deliver(out.delivered, step);
    }

    fn deliver(&mut self, messages: Vec<Message>, step: &mut Step) {
        for message in messages {
            self.groups.on_message(message, &mut step.events);
        }
    }

    fn take_membership(&mut self, now: Time, out: membership::Output, step: &mut Step) {
        step.effects.extend(out.effects);
        match out.verdict {
            Some(Verdict::Gathering(reason)) => {
                self.ring.close();
                step.events.push(Event::Gathering(reason));
            }
            Some(Verdict::Install(install)) => self.install(now, install, step),
            None => {}
        }
    }

    /// The old ring ends by the rule of recovery, and the new one begins.
    fn install(&mut self, now: Time, install: Install, step: &mut Step) {
        let Install { regular, held_by_all, whole } = install;
        let (holds_to, old, before) = (self.ring.holds_to(), self.ring.id(), self.ring.members());
        let ending = recovery::end(self.config.rules, self.ring.order_mut(), holds_to, held_by_all, whole);
        self.deliver(ending.regular, step);
        let transitional = Transitional { old, movers: regular.movers };
        if !regular.movers.covers(before) {
            step.events.push(Event::SitesLost(transitional));
        }
        self.groups.on_configuration(&Configuration::Transitional(transitional), &mut step.events);
        self.deliver(ending.transitional, step);
        if !ending.behind_a_hole.is_empty() {
            self.groups.on_hole(&mut step.events);
            self.deliver(ending.behind_a_hole, step);
        }
        self.outbox.restart();
        self.outbox.drop_control();
        step.events.push(Event::Ring(regular.ring, regular.members));
        let tables = self.groups.on_configuration(&Configuration::Regular(regular), &mut step.events);
        tables.into_iter().for_each(|table| self.outbox.push_control(table));
        self.ring = Ring::new(&self.config, regular.ring, regular.members, now);
        self.ring.pace(self.pace);
        self.hold_while_exchanging();
        let out = self.ring.start(now, &mut self.outbox);
        self.take_ring(out, step);
    }

    fn hold_while_exchanging(&mut self) {
        let exchanging = self.groups.is_exchanging();
        self.outbox.hold(exchanging);
        self.ring.hold_back(exchanging);
    }

    fn gather(&mut self, now: Time, reason: Reason, step: &mut Step) {
        let mut out = membership::Output::default();
        self.membership.gather(now, reason, &mut out);
        self.take_membership(now, out, step);
    }

    /// Rejoins if the site was not scheduled for longer than its ring waits for a token.
    fn notice_sleep(&mut self, now: Time, step: &mut Step) -> bool {
        let slept = self.sleep.overslept(now, self.ring.token_loss());
        let Some(slept) = slept.filter(|_| self.config.rules.enforces(Rule::Overslept)) else { return false };
        step.events.push(Event::Overslept(slept));
        self.gather(now, Reason::Overslept, step);
        true
    }

    fn submit(&mut self, now: Time, client: ClientId, service: Service, content: Content) -> Step {
        let mut step = Step::default();
        self.notice_sleep(now, &mut step);
        self.outbox.push(client.0, service, content.encode());
        self.finish(now, &mut step);
        step
    }

    /// After every input: what may go now goes, and the next wake-up is noted.
    fn finish(&mut self, now: Time, step: &mut Step) {
        let was_exchanging = self.groups.is_exchanging();
        self.hold_while_exchanging();
        let mut out = ring::Output::default();
        self.ring.poke(now, &mut self.outbox, &mut out);
        self.take_ring(out, step);
        if was_exchanging && !self.groups.is_exchanging() {
            self.hold_while_exchanging();
        }
        self.sleep.expect(self.next_wakeup());
    }

    fn name(&self, client: ClientId) -> Result<Name, Rejected> {
        let client = self.groups.clients.get(&client).filter(|client| !client.closing);
        client.map(|client| client.name.clone()).ok_or(Rejected::NoSuchClient)
    }

    fn check_room(&self) -> Result<(), Rejected> {
        if self.has_room() { Ok(()) } else { Err(Rejected::Busy) }
    }
}
