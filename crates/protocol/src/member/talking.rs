//! Messages: out through f+1 relays, in through any (P7, P9).

use std::time::Duration;

use bytes::Bytes;

use super::{Effect, Event, Member, Phase, Step};
use crate::data::{Peers, RECIPIENTS_MAX};
use crate::delivery::{Again, InboxEvent, LIVE_BYTES_MAX, Message, Reading, RepairRequest, Tail, Writing};
use crate::fault::Rejected;
use crate::ids::{LeaderId, MemberId, Topic, UserName, ViewDigest};
use crate::leader::Class;
use crate::policy::{Service, WhenStale};
use crate::time::{Cx, Time};
use crate::view::{Cause, Change, MemberEntry, MemberSet};
use crate::wire::{Few, MemberRequest};

/// A relay that did not acknowledge messages in time is avoided for so long.
const LAGS_FOR: Duration = Duration::from_secs(30);

impl Member {
    /// Sends to every member of the current view that may read. Who may not read itself sends to each under the key
    /// of the pair, in order and repaired, whatever the service.
    pub fn multicast(
        &mut self,
        cx: &mut Cx<'_>,
        service: Service,
        topic: &Topic,
        payload: &[u8],
    ) -> Result<Step, Rejected> {
        self.may_send()?;
        if !self.role().receives() {
            return self.send_to_readers(cx, topic, payload);
        }
        let me = self.me.as_ref().ok_or(Rejected::NotJoined)?;
        let frame = self.outbox.multicast(
            cx.now,
            &mut Writing { me, keyring: &mut self.keyring },
            service,
            Message { topic, payload },
        )?;
        let live = service == Service::BestEffort && frame.len() <= LIVE_BYTES_MAX;
        let class = if live { Class::Live } else { Class::Data };
        Ok(self.spread(class, frame))
    }

    /// Sends to some members of the current view; nobody else can read it (C5).
    pub fn send_to(
        &mut self,
        cx: &mut Cx<'_>,
        to: &[UserName],
        topic: &Topic,
        payload: &[u8],
    ) -> Result<Step, Rejected> {
        self.may_send()?;
        if !self.role().receives() {
            let forbids = "it sends to all who receive and to nobody alone, so leave the recipients out";
            return Err(self.forbidden(self.user.clone(), forbids));
        }
        if let Some(user) = to.iter().find(|user| !self.group.policy.role(user).receives()) {
            return Err(self.forbidden(user.clone(), "it receives nothing, so leave this name out"));
        }
        let me = self.me.as_ref().ok_or(Rejected::NotJoined)?;
        let members =
            self.tracker.as_ref().and_then(|t| t.installed()).map(|v| &v.members).ok_or(Rejected::NotJoined)?;
        let frame = self.outbox.send_to(
            cx.now,
            &mut Writing { me, keyring: &mut self.keyring },
            members,
            to,
            Message { topic, payload },
            cx.rng,
        )?;
        Ok(self.spread(Class::Data, frame))
    }

    /// A sender's message: the same private message to all who read, so many at a time.
    fn send_to_readers(&mut self, cx: &mut Cx<'_>, topic: &Topic, payload: &[u8]) -> Result<Step, Rejected> {
        let me = self.me.as_ref().ok_or(Rejected::NotJoined)?;
        let members =
            self.tracker.as_ref().and_then(|t| t.installed()).map(|v| &v.members).ok_or(Rejected::NotJoined)?;
        let reads = |user: &UserName| self.group.policy.role(user).receives();
        let names: Vec<UserName> = members.iter().map(|e| e.id.user.clone()).filter(reads).collect();
        let mut frames = Vec::new();
        for names in names.chunks(RECIPIENTS_MAX) {
            let mut writing = Writing { me, keyring: &mut self.keyring };
            let message = Message { topic, payload };
            frames.push(self.outbox.send_to(cx.now, &mut writing, members, names, message, cx.rng)?);
        }
        let mut step = Step::default();
        for frame in frames {
            step.effects.extend(self.spread(Class::Data, frame).effects);
        }
        Ok(step)
    }

    fn forbidden(&self, user: UserName, forbids: &'static str) -> Rejected {
        Rejected::Role { role: self.group.policy.role(&user), user, forbids }
    }

    /// Leaves; the driver keeps the member going until [`Event::Ended`].
    pub fn leave(&mut self) -> Step {
        let mut step = Step::default();
        match self.phase {
            Phase::In => {
                self.phase = Phase::Leaving;
                self.request_leave(&mut step);
            }
            Phase::Joining => {
                self.phase = Phase::Ended;
                step.effects.extend(self.links.keys().map(|l| Effect::Close(*l)));
            }
            Phase::Leaving | Phase::Ended => {}
        }
        step
    }

    pub(super) fn request_leave(&mut self, step: &mut Step) {
        for leader in self.linked() {
            self.tell_heads(leader, true, step);
            self.request(leader, &MemberRequest::Leave, step);
        }
    }

    /// Tells a leader how far this member's streams go (K2, K24): with each heartbeat, and as its last word.
    pub(super) fn tell_heads(&mut self, leader: LeaderId, complete: bool, step: &mut Step) {
        let (Some(me), Some(view)) = (&self.me, self.view()) else { return };
        let Some(link) = self.links.get_mut(&leader).filter(|link| link.heard) else { return };
        let starts = complete || !std::mem::replace(&mut link.starts_told, true);
        let (heads, reached) = self.outbox.heads(&me.id, view.digest, link.heads_told, starts);
        link.heads_told = reached;
        let complete = complete && self.outbox.has_told(reached);
        if let Some(heads) = Few::new(heads) {
            self.request(leader, &MemberRequest::Heads { heads, complete }, step);
        }
    }

    /// Leaders tell how far others' streams go.
    pub(super) fn on_tails(&mut self, now: Time, from: LeaderId, tails: Vec<Tail>, step: &mut Step) {
        let Some(me) = &self.me else { return };
        let Some(current) = self.tracker.as_ref().and_then(|t| t.installed()).map(|v| &v.members) else { return };
        let peers = Peers { current, departed: &self.departed };
        let reading = Reading { me, rules: &self.group.rules, keyring: &mut self.keyring, peers };
        let events = self.inbox.on_tails(now, from, tails, self.group.rules.confirm(), &reading);
        events.into_iter().for_each(|event| self.absorb_inbox_event(now, event, step));
    }

    /// What leaders told of members and views that have come since is used.
    pub(super) fn on_members(&mut self, now: Time, step: &mut Step) {
        let Some(me) = &self.me else { return };
        let Some(current) = self.tracker.as_ref().and_then(|t| t.installed()).map(|v| &v.members) else { return };
        let peers = Peers { current, departed: &self.departed };
        let reading = Reading { me, rules: &self.group.rules, keyring: &mut self.keyring, peers };
        let events = self.inbox.on_members(now, self.group.rules.confirm(), &reading);
        events.into_iter().for_each(|event| self.absorb_inbox_event(now, event, step));
    }

    /// A leader lacks frames of this member's. They go to that leader and no other.
    pub(super) fn on_wanted(&mut self, now: Time, from: LeaderId, request: &RepairRequest, step: &mut Step) {
        let frames = self.outbox.on_wanted(now, from, request);
        step.effects.extend(frames.into_iter().map(|frame| Effect::Send(from, Class::Data, frame)));
    }

    /// Leaders that must have acknowledged a message before it counts as sent: f+1, so that one of them is honest, unless
    /// policy gives messages to fewer.
    pub(super) fn receipts_needed(&self) -> usize {
        self.relay_count().min(self.group.rules.relays())
    }

    /// Messages of this stay that too few leaders have acknowledged so far.
    pub fn under_way(&self) -> u64 {
        self.outbox.under_way()
    }

    /// See [`Outbox::has_room`](crate::delivery::Outbox::has_room).
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// The place of the newest message in the order of sending.
    pub fn newest_message(&self) -> u64 {
        self.outbox.newest()
    }

    /// Whether enough leaders have acknowledged all messages up to a place; and how many messages were lost sight of.
    pub fn is_settled(&self, up_to: u64) -> (bool, u64) {
        self.outbox.is_settled(up_to)
    }

    /// The stay is over: what it loses by that is said.
    pub(super) fn tell_losses(&mut self, cause: Cause, step: &mut Step) {
        for event in self.inbox.end(cause == Cause::Left) {
            if let InboxEvent::Gap { stream, first, count } = event {
                step.events.push(Event::Gap { sender: stream.sender, first, count });
            }
        }
        if matches!(cause, Cause::Lost | Cause::Elsewhere) && self.role().receives() {
            step.events.push(Event::Missed);
        }
        if self.under_way() > 0 {
            step.events.push(Event::Unsent(self.under_way()));
        }
    }

    fn may_send(&self) -> Result<(), Rejected> {
        if !self.role().sends() {
            return Err(self.forbidden(self.user.clone(), "it receives and does not send"));
        }
        match self.phase {
            Phase::Joining => Err(Rejected::NotJoined),
            Phase::Leaving | Phase::Ended => Err(Rejected::Ended),
            Phase::In if !self.confirmation.is_current() && self.group.policy.when_stale == WhenStale::StopSending => {
                Err(Rejected::Stale)
            }
            Phase::In => Ok(()),
        }
    }

    /// Sends a frame through the policy's number of relays, those in good standing first.
    fn spread(&mut self, class: Class, frame: Bytes) -> Step {
        self.relaying = self.relays();
        let effects = self.relaying.iter().map(|l| Effect::Send(*l, class, frame.clone())).collect();
        Step { effects, events: Vec::new() }
    }

    /// Which leaders a message goes through now. Those in use stay in use while they are in good standing:
    /// what goes a new way overtakes what is still queued on the old one.
    pub fn relays(&self) -> Vec<LeaderId> {
        let mut leaders = self.by_preference();
        leaders.truncate(self.relay_count());
        leaders
    }

    fn relay_count(&self) -> usize {
        match self.group.policy.relays {
            0 => self.group.rules.relays(),
            relays => usize::from(relays),
        }
    }

    /// The leaders that can be told much, those first through which messages go.
    pub(super) fn by_preference(&self) -> Vec<LeaderId> {
        let mut leaders: Vec<LeaderId> = self.open_to().into_iter().collect();
        let turn =
            self.user.as_bytes().iter().fold(0usize, |sum, b| sum.wrapping_mul(31).wrapping_add(usize::from(*b)));
        let turn = turn % leaders.len().max(1);
        leaders.rotate_left(turn);
        leaders.sort_by_key(|leader| {
            let answers = self.links.get(leader).is_some_and(|l| l.answers());
            let lags = self.lagging.contains_key(leader);
            (self.caught.contains_key(leader), !answers, lags, !self.relaying.contains(leader))
        });
        leaders
    }

    /// Gives messages again to leaders, where too few have acknowledged them. A relay that has not in all that time, where
    /// another leader has, is left for a while.
    fn send_again(&mut self, now: Time, step: &mut Step) {
        let Some(me) = self.me.as_ref() else { return };
        let frames = self.outbox.again(now, &me.id);
        self.lagging.retain(|_, until| *until > now);
        for relay in &self.relaying {
            let lags = |again: &Again| again.is_late && !again.has.is_empty() && !again.has.contains(relay);
            if frames.iter().any(lags) {
                self.lagging.insert(*relay, now + LAGS_FOR);
            }
        }
        let (leaders, enough) = (self.by_preference(), self.receipts_needed());
        for Again { frame, has, .. } in frames {
            let others = leaders.iter().filter(|leader| !has.contains(leader));
            let more = others.take(enough.saturating_sub(has.len()));
            step.effects.extend(more.map(|leader| Effect::Send(*leader, Class::Data, frame.clone())));
        }
    }

    pub(super) fn on_data(&mut self, cx: &mut Cx<'_>, from: LeaderId, frame: &Bytes, step: &mut Step) {
        let Some(me) = &self.me else { return };
        let Some(current) = self.tracker.as_ref().and_then(|t| t.installed()).map(|v| &v.members) else { return };
        let peers = Peers { current, departed: &self.departed };
        let mut reading = Reading { me, rules: &self.group.rules, keyring: &mut self.keyring, peers };
        let events = self.inbox.on_frame(cx.now, from, frame, &mut reading);
        self.absorb_inbox(cx, events, step);
    }

    /// A view's messages that were kept can be opened now.
    pub(super) fn on_readable(&mut self, now: Time, digest: ViewDigest, step: &mut Step) {
        let Some(me) = &self.me else { return };
        let Some(current) = self.tracker.as_ref().and_then(|t| t.installed()).map(|v| &v.members) else { return };
        let peers = Peers { current, departed: &self.departed };
        let mut reading = Reading { me, rules: &self.group.rules, keyring: &mut self.keyring, peers };
        let events = self.inbox.on_view_readable(now, &digest, &mut reading);
        for event in events {
            self.absorb_inbox_event(now, event, step);
        }
        self.on_members(now, step);
    }

    fn absorb_inbox(&mut self, cx: &mut Cx<'_>, events: Vec<InboxEvent>, step: &mut Step) {
        let mut needed = Vec::new();
        for event in events {
            match event {
                InboxEvent::NeedView(digest, relay, sender) => needed.push((digest, (relay, sender))),
                event => self.absorb_inbox_event(cx.now, event, step),
            }
        }
        for (digest, because) in needed {
            self.need_view(cx, digest, because, step);
        }
    }

    fn absorb_inbox_event(&mut self, now: Time, event: InboxEvent, step: &mut Step) {
        match event {
            InboxEvent::Deliver(delivery) => step.events.push(Event::Message(delivery)),
            InboxEvent::Gap { stream, first, count } => {
                step.events.push(Event::Gap { sender: stream.sender, first, count });
            }
            InboxEvent::Repair { attempt, to, request } => {
                let leaders: Vec<LeaderId> = self.linked().into_iter().collect();
                let turn = usize::try_from(attempt).unwrap_or(0) % leaders.len().max(1);
                let leader = to.filter(|l| leaders.contains(l)).or_else(|| leaders.get(turn).copied());
                if let Some(leader) = leader {
                    self.request(leader, &MemberRequest::Repair(request), step);
                }
            }
            InboxEvent::UnknownTail(sender) => step.events.push(Event::UnknownTail(sender)),
            InboxEvent::NeedView(digest, relay, sender) => self.past.want(now, digest, (relay, sender)),
            InboxEvent::Conflict(first, second) => self.accuse(&first, &second, step),
            InboxEvent::Blame(culprit, fault) => match culprit {
                crate::fault::Culprit::Leader(leader) => self.blame_leader(leader, fault, step),
                culprit => step.blame(culprit, fault),
            },
        }
    }

    /// Messages came under a view that is not known yet: look at what leaders said, then ask them.
    fn need_view(&mut self, cx: &mut Cx<'_>, digest: ViewDigest, because: (LeaderId, UserName), step: &mut Step) {
        self.track(cx, step, |tracker, group| tracker.read(group, digest));
        if self.keyring.readable(&digest, cx.now).is_some() {
            return;
        }
        self.past.want(cx.now, digest, because);
        self.ask_about_past_views(cx.now, step);
    }

    /// A sender went with a view, whose changes tell the cause that f+1 leaders agree on; `cause` is the one to act on.
    pub(super) fn part_from(
        &mut self,
        now: Time,
        (gone, cause): (MemberEntry, Cause),
        changes: &[Change],
        until: Time,
        step: &mut Step,
    ) {
        if self.members().is_some_and(|members| members.get_member(&gone.id).is_some()) {
            let events = self.inbox.begin_anew(&gone.id, self.keyring.installs());
            return events.into_iter().for_each(|event| self.absorb_inbox_event(now, event, step));
        }
        let is_agreed =
            |change: &Change| matches!(change, Change::Removed(user, Cause::Expelled) if *user == gone.id.user);
        if cause != Cause::Expelled {
            self.await_last_words(now, gone, until, step);
        } else if changes.iter().any(is_agreed) {
            self.close_sender(now, gone, until, step);
        } else {
            // Nothing of it is read while leaders disagree, and nothing forgotten: it may have left.
            self.departed.remove(&gone.id);
            self.remember_expelled(now, gone, until, step);
        }
    }

    /// A sender is expelled: its messages end at once, also if it was missing from a view before and its last
    /// ones were being read.
    fn close_sender(&mut self, now: Time, sender: MemberEntry, until: Time, step: &mut Step) {
        self.departed.remove(&sender.id);
        for event in self.inbox.close(&sender.id) {
            self.absorb_inbox_event(now, event, step);
        }
        self.remember_expelled(now, sender, until, step);
    }

    /// Reads what a sender that went said last. Who makes room for it is forgotten as if its time were over.
    pub(super) fn await_last_words(&mut self, now: Time, gone: MemberEntry, until: Time, step: &mut Step) {
        if let Some(other) = self.departed.insert(gone, until) {
            self.forget_sender(now, &other, step);
        }
    }

    fn remember_expelled(&mut self, now: Time, gone: MemberEntry, until: Time, step: &mut Step) {
        if let Some(other) = self.expelled.insert(gone, until) {
            self.forget_sender(now, &other, step);
        }
    }

    /// A sender is gone for good: what waited behind a hole is delivered, the hole is told. Who is back in the same stay was only
    /// missing from a view in between.
    pub(super) fn forget_sender(&mut self, now: Time, sender: &MemberId, step: &mut Step) {
        if self.members().is_some_and(|members| members.get_member(sender).is_some()) {
            return;
        }
        let Some(me) = self.me.as_ref().map(|me| me.id.incarnation) else { return };
        let enough = (self.group.rules.confirm(), self.group.rules.last_word());
        let events = self.inbox.forget(sender, me, enough);
        // Who may not read misses nothing.
        let reads = self.role().receives();
        for event in events.into_iter().filter(|_| reads) {
            self.absorb_inbox_event(now, event, step);
        }
    }

    /// Repairs, gap notices and marks that are due.
    pub(super) fn tend_streams(&mut self, now: Time, step: &mut Step) {
        for event in self.inbox.on_wakeup(now, &self.group.rules) {
            self.absorb_inbox_event(now, event, step);
        }
        if let Some(me) = self.me.as_ref().filter(|_| self.tends_outbox()) {
            let frames = self.outbox.on_wakeup(now, &mut Writing { me, keyring: &mut self.keyring });
            for frame in frames {
                step.effects.extend(self.spread(Class::Data, frame).effects);
            }
            self.send_again(now, step);
        }
    }

    /// Whether marks are sent: while leaving too, since the last messages may be on their way. What is due
    /// otherwise must not wake anybody up.
    pub(super) fn tends_outbox(&self) -> bool {
        matches!(self.phase, Phase::In | Phase::Leaving)
    }

    /// The members, for drivers that list them.
    pub fn member_names(&self) -> Vec<UserName> {
        self.members().map(|m: &MemberSet| m.iter().map(|e| e.id.user.clone()).collect()).unwrap_or_default()
    }
}
