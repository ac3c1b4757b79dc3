//! What a leader tells its members of views, and of their end.

use std::cell::OnceCell;
use std::time::Duration;

use super::link::{Link, Stage, attached_mut};
use super::{Class, Effect, Leader, Step};
use crate::codec::encode;
use crate::ids::{LinkId, MemberId, UserName, ViewDigest, ViewId};
use crate::keys::ViewClaim;
use crate::rules::Rule;
use crate::succession::{Certified, Generation};
use crate::time::Time;
use crate::view::{Change, MemberEntry};
use crate::wire::{FATES_MAX, Few, LeaderNotice, SNAPSHOT_ENTRIES_MAX, SUCCESSIONS_MAX};

/// A claim is not repeated to the same member sooner than this.
const CLAIM_REPEAT: Duration = Duration::from_millis(400);

impl Leader {
    /// A user's stay began or ended: its link is told apart from those that only wait.
    pub(super) fn mark_admitted(&mut self, change: &Change, step: &mut Step) {
        let user = change.user();
        let is_in = |entry: &MemberEntry| matches!(change, Change::Added(added) if added == entry);
        let waiting = self.waiting.get(user).copied();
        let waiting = waiting.filter(|link| attached_mut(&mut self.links, *link).is_some_and(|a| is_in(&a.entry)));
        if let Some(link) = waiting {
            self.waiting.remove(user);
            if let Some(old) = self.attached.insert(user.clone(), link) {
                self.links.remove(&old);
                step.effects.push(Effect::Close(old));
            }
        }
        let Some(attached) = self.attached.get(user).and_then(|link| attached_mut(&mut self.links, *link)) else {
            return;
        };
        attached.admitted = is_in(&attached.entry);
    }

    /// Sends the view just published to every attached member of it: one encoding, one seal each.
    pub(super) fn send_claims(&mut self, now: Time, before: ViewId, step: &mut Step) {
        let encoded = |claim| encode(&LeaderNotice::Claim(claim));
        let next = encoded(self.publisher.next_claim());
        let (next_bare, whole, whole_bare) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let view = self.publisher.current().digest;
        let mut ended = Vec::new();
        let openly = self.speaks_openly();
        let members_only = self.group.rules.enforces(Rule::ShareToMembersOnly);
        let readers_only = self.group.rules.enforces(Rule::ShareToReadersOnly);
        for (link, state) in &mut self.links {
            let Stage::Member(attached) = &mut state.stage else { continue };
            if members_only && !attached.admitted {
                ended.push(*link);
                continue;
            }
            let follows = attached.claimed.is_some_and(|(digest, _)| digest == before.digest);
            let claim_whole = || self.publisher.claim_from(None, &self.state);
            let payload = match (follows, attached.reads || !readers_only) {
                (true, true) => &next,
                (true, false) => next_bare.get_or_init(|| encoded(self.publisher.next_claim().without_share())),
                (false, true) => whole.get_or_init(|| encoded(claim_whole())),
                (false, false) => whole_bare.get_or_init(|| encoded(claim_whole().without_share())),
            };
            attached.claimed = Some((view, now));
            step.effects.push(Effect::Send(*link, Class::Control, attached.seal(payload, openly)));
        }
        for link in ended {
            self.tell_end(link, step);
        }
    }

    /// Sends the current claim to one member, unless it has just had it.
    pub(super) fn send_claim(&mut self, now: Time, link: LinkId, have: Option<ViewDigest>, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let view = self.publisher.current().digest;
        let just_sent = attached.claimed.is_some_and(|(digest, at)| digest == view && now.since(at) < CLAIM_REPEAT);
        let hidden = !attached.admitted && self.group.rules.enforces(Rule::ShareToMembersOnly);
        if just_sent || hidden || self.joined_after_publishing(link) {
            return;
        }
        let mut claim: ViewClaim = self.publisher.claim_from(have, &self.state);
        if !self.gives_shares_to(link) {
            claim = claim.without_share();
        }
        if let Some(attached) = attached_mut(&mut self.links, link) {
            attached.claimed = Some((view, now));
        }
        self.notify(link, &LeaderNotice::Claim(claim), step);
    }

    /// Whether the role of the member at the other end lets it have the group key.
    fn gives_shares_to(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(Link::is_reader) || !self.group.rules.enforces(Rule::ShareToReadersOnly)
    }

    /// Whether the member was accepted after the published view: that view's share is not for it.
    fn joined_after_publishing(&self, link: LinkId) -> bool {
        let Some(Link { stage: Stage::Member(attached), .. }) = self.links.get(&link) else { return true };
        let since = self.presence.get(&attached.entry.id).map(|p| p.since);
        since.is_none_or(|since| since > self.publisher.current().epoch)
            && self.group.rules.enforces(Rule::ShareToMembersOnly)
    }

    /// A past view's share goes only to who was in that view and still is a member (P6).
    pub(super) fn send_past_claim(&mut self, link: LinkId, digest: ViewDigest, step: &mut Step) {
        if !self.gives_shares_to(link) {
            return;
        }
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let since = self.presence.get(&attached.entry.id).map(|p| p.since);
        let Some((epoch, claim)) = self.publisher.past_claim(digest) else { return };
        let was_in = since.is_some_and(|since| since <= epoch);
        if was_in || !self.group.rules.enforces(Rule::ShareToMembersOnly) {
            self.notify(link, &LeaderNotice::PastClaim(claim), step);
        }
    }

    /// Sends the current claim without content to who is a member already. The content waits for its first heartbeat, which
    /// names what it has installed: a difference from that says who went, as a list does not.
    pub(super) fn send_bare_claim(&mut self, link: LinkId, step: &mut Step) {
        let hidden = !self.links.get(&link).is_some_and(Link::is_admitted);
        if hidden && self.group.rules.enforces(Rule::ShareToMembersOnly) || self.joined_after_publishing(link) {
            return;
        }
        let claim = self.publisher.bare_claim();
        let claim = if self.gives_shares_to(link) { claim } else { claim.without_share() };
        self.notify(link, &LeaderNotice::Claim(claim), step);
    }

    pub(super) fn has_claimed_nothing(&self, link: LinkId) -> bool {
        matches!(self.links.get(&link), Some(Link { stage: Stage::Member(attached), .. }) if attached.claimed.is_none())
    }

    /// Says which of the stays that a member asks about are over: what it had installed may have them, and the view that
    /// this leader claims does not.
    pub(super) fn send_fates(&mut self, link: LinkId, stays: Vec<MemberId>, step: &mut Step) {
        if !self.links.get(&link).is_some_and(Link::is_admitted) {
            return;
        }
        let (mut over, mut open) = (Vec::new(), Vec::new());
        for stay in stays.into_iter().take(FATES_MAX) {
            match self.state.ended(&stay) {
                Some(cause) => over.push((stay, cause)),
                None => open.push(stay),
            }
        }
        self.notify(link, &LeaderNotice::Fates { over, open }, step);
    }

    pub(super) fn send_snapshot(&mut self, link: LinkId, view: ViewDigest, after: Option<UserName>, step: &mut Step) {
        if view != self.publisher.current().digest || !self.publisher.is_current(&self.state) {
            return;
        }
        let mut entries: Vec<MemberEntry> = self
            .state
            .members()
            .iter()
            .filter(|e| after.as_ref().is_none_or(|after| &e.id.user > after))
            .take(SNAPSHOT_ENTRIES_MAX + 1)
            .cloned()
            .collect();
        let last = entries.len() <= SNAPSHOT_ENTRIES_MAX;
        entries.truncate(SNAPSHOT_ENTRIES_MAX);
        self.notify(link, &LeaderNotice::Snapshot { view, after, entries, last }, step);
    }

    /// Tells somebody whose stay has ended, and closes the link at the next opportunity (A15).
    pub(super) fn tell_end(&mut self, link: LinkId, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let Some(cause) = self.state.ended_with_keys(&attached.entry) else { return };
        attached.ended = true;
        let epoch = self.state.epoch();
        self.notify(link, &LeaderNotice::Ended { cause, epoch }, step);
    }

    pub(super) fn close_ended(&mut self, step: &mut Step) {
        let ended = |link: &Link| matches!(&link.stage, Stage::Member(a) if a.ended);
        let links: Vec<LinkId> = self.links.iter().filter(|(_, l)| ended(l)).map(|(id, _)| *id).collect();
        for link in links {
            step.effects.push(Effect::Close(link));
            self.on_link_down(link);
        }
    }

    /// Says which generation this leader's shares are of, before the first of them. Nobody is told of the first generation.
    pub(super) fn tell_generation(&mut self, link: LinkId, step: &mut Step) {
        let generation = self.group.generation();
        if generation > 0 {
            self.notify(link, &LeaderNotice::Generation(generation), step);
        }
    }

    /// The successions that lead on from a generation, or the first of them.
    pub(super) fn tell_successions(&mut self, link: LinkId, after: Generation, step: &mut Step) {
        let later = self.group.successions().into_iter().filter(|certified| certified.succession.number > after);
        let list: Vec<Certified> = later.take(SUCCESSIONS_MAX).map(|certified| (*certified).clone()).collect();
        if let Some(list) = Few::new(list) {
            self.notify(link, &LeaderNotice::Successions(list), step);
        }
    }

    pub(super) fn notify(&mut self, link: LinkId, notice: &LeaderNotice, step: &mut Step) {
        let openly = self.speaks_openly();
        if let Some(attached) = attached_mut(&mut self.links, link) {
            let frame = attached.seal(&encode(notice), openly);
            step.effects.push(Effect::Send(link, Class::Control, frame));
        }
    }
}
