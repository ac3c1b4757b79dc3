//! What a leader tells members of messages: who misses what, what it has, and how far streams go.

use std::time::Duration;

use super::link::{Stage, attached_mut};
use super::{Class, Effect, Leader, Step};
use crate::data::DataFrame;
use crate::delivery::{Channel, HEADS_MAX, Head, Relay, RepairRequest, Tail};
use crate::fault::{Culprit, Fault};
use crate::ids::{LinkId, MemberId, UserName};
use crate::rules::Rule;
use crate::time::Time;
use crate::wire::{Few, LeaderNotice};

/// What came over a link is acknowledged together after this.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(30);

/// Notices of how far streams go, to one member at once.
const TAIL_NOTICES_MAX: usize = 4;

impl Leader {
    pub(super) fn on_repair(&mut self, now: Time, link: LinkId, request: &RepairRequest, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let id = attached.entry.id.clone();
        if !attached.reads && self.group.rules.enforces(Rule::RelayRole) {
            return step.blame(Culprit::Member(id), Fault::AgainstRole);
        }
        let answer = self.relay.on_repair(now, &id, request);
        step.effects.extend(answer.frames.into_iter().map(|f| Effect::Send(link, Class::Data, f)));
        let Some(wanted) = answer.wanted else { return };
        let sender = self.attached.get(&wanted.stream().sender.user).copied();
        let is_there = |link: &LinkId| self.member_of(*link) == Some(&wanted.stream().sender);
        if let Some(sender) = sender.filter(is_there)
            && let Some(wanted) = self.relay.ask_sender(now, &wanted)
        {
            self.notify(sender, &LeaderNotice::Wanted(wanted), step);
        }
    }

    /// A message came that its sender awaits an acknowledgement of.
    pub(super) fn note_received(&mut self, now: Time, link: LinkId, frame: &DataFrame, step: &mut Step) {
        let Some((channel, seq)) = Relay::place_of(frame) else { return };
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        attached.received.note(channel, seq);
        if attached.received.is_full() {
            self.acknowledge(link, step);
        } else {
            self.acknowledge_at.get_or_insert(now + ACKNOWLEDGE_AFTER);
        }
    }

    pub(super) fn acknowledge_if_due(&mut self, now: Time, step: &mut Step) {
        if self.acknowledge_at.is_none_or(|at| at > now) {
            return;
        }
        self.acknowledge_at = None;
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.acknowledge(link, step);
        }
    }

    fn acknowledge(&mut self, link: LinkId, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let receipts = attached.received.take();
        if let Some(receipts) = Few::new(receipts).filter(|receipts| !receipts.as_slice().is_empty()) {
            self.notify(link, &LeaderNotice::Received(receipts), step);
        }
    }

    /// Tells a member how far streams go, as far as it changed since this link was told last.
    pub(super) fn tell_tails(&mut self, link: LinkId, step: &mut Step) {
        for _ in 0..TAIL_NOTICES_MAX {
            let Some(attached) = attached_mut(&mut self.links, link) else { return };
            if !attached.admitted || !attached.reads || !self.group.rules.enforces(Rule::HeadsTold) {
                return;
            }
            let came = *attached.tails_from.get_or_insert(self.relay.heads_version());
            let known = (came, attached.tails_whole);
            let (tails, reached) = self.relay.heads_since(attached.tails_told, known, &attached.entry.id.user);
            if reached == self.relay.heads_version() {
                attached.tails_whole = reached;
            }
            if reached == attached.tails_told {
                return;
            }
            attached.tails_told = reached;
            if let Some(tails) = Few::new(tails).filter(|tails| !tails.as_slice().is_empty()) {
                self.notify(link, &LeaderNotice::Tails(tails), step);
            }
        }
    }

    /// A stay is over: before the view that shows it, everybody is told how much was said in it.
    pub(super) fn tell_last_words(&mut self, of: &MemberId, step: &mut Step) {
        let all = self.relay.tails_of(of);
        if all.is_empty() || !self.group.rules.enforces(Rule::HeadsTold) {
            return;
        }
        let (private, group): (Vec<Tail>, Vec<Tail>) = all.into_iter().partition(is_private);
        let readers: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| matches!(&link.stage, Stage::Member(a) if a.admitted && a.reads))
            .map(|(id, _)| *id)
            .collect();
        for link in readers {
            let Some(reader) = self.member_of(link).map(|id| &id.user) else { continue };
            let own = private.iter().filter(|tail| concerns(tail, reader)).cloned();
            let tails: Vec<Tail> = own.chain(group.iter().cloned()).take(HEADS_MAX).collect();
            if let Some(tails) = Few::new(tails).filter(|tails| !tails.as_slice().is_empty()) {
                self.notify(link, &LeaderNotice::Tails(tails), step);
            }
        }
    }

    /// Names members that leave out numbers and do not supply them.
    pub(super) fn name_withholders(&mut self, now: Time, step: &mut Step) {
        for member in self.relay.withheld(now) {
            step.blame(Culprit::Member(member), Fault::Withheld);
        }
    }
}

fn is_private(tail: &Tail) -> bool {
    matches!(tail, Tail::Stream(_, Head { channel: Channel::Private(_), .. }))
}

fn concerns(tail: &Tail, user: &UserName) -> bool {
    matches!(tail, Tail::Stream(_, head) if head.concerns(user))
}
