//! A leader's links to members: login, requests, claims and relaying.

use std::time::Duration;

use bytes::Bytes;

use super::{Class, Effect, Event, Leader, Step};
use crate::codec::{decode, encode};
use crate::data::DataFrame;
use crate::delivery::{Audience, RelayAction};
use crate::fault::{Culprit, Fault};
use crate::ids::{LinkId, MemberId, UserName, ViewDigest, ViewId};
use crate::keys::ViewClaim;
use crate::login::{Authenticated, Denial, LoginAnswer, LoginRequest, LoginServerLink};
use crate::rules::Rule;
use crate::sealed::SealedChannel;
use crate::time::{Cx, Time};
use crate::view::{Cause, Change, MemberEntry};
use crate::wire::{self, LeaderNotice, MemberRequest, SNAPSHOT_ENTRIES_MAX, Sorted};

/// Requests a member may make at once, and per second.
const REQUESTS_BURST: u32 = 128;
const REQUESTS_PER_S: u32 = 32;
/// A claim is not repeated to the same member sooner than this.
const CLAIM_REPEAT: Duration = Duration::from_millis(400);

/// One link to a member, or to somebody who is not one yet.
pub(super) struct Link {
    exporter: [u8; 32],
    stage: Stage,
}

enum Stage {
    Login(LoginServerLink),
    Member(Box<Attached>),
}

/// An authenticated link.
struct Attached {
    entry: MemberEntry,
    /// Whether this very stay is among the members accepted here.
    admitted: bool,
    channel: SealedChannel,
    /// The challenge to be answered; a new one is drawn once it has been.
    challenge: [u8; 16],
    /// The one answered last: repeated by a member whose heartbeats are faster than the link, and no news.
    answered: [u8; 16],
    /// The view claimed last on this link, and when.
    claimed: Option<(ViewDigest, Time)>,
    ended: bool,
    requests: u32,
    requests_refilled: Time,
}

impl Leader {
    /// A link is up; the other end has proved nothing yet. `exporter` is the same at both ends and nowhere else.
    pub fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]) {
        self.links.insert(link, Link { exporter, stage: Stage::Login(LoginServerLink::default()) });
    }

    /// A link is gone.
    pub fn on_link_down(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.attached.retain(|_, attached| *attached != link);
    }

    /// A frame on a member's link.
    pub fn on_member_frame(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: &Bytes) -> Step {
        let mut step = Step::default();
        let sorted = wire::sort(frame);
        match (self.links.get_mut(&link).map(|l| &mut l.stage), sorted) {
            (Some(Stage::Login(_)), Ok(Sorted::Plain(body))) => match wire::decode_plain(body) {
                Ok(request) => self.on_login(cx, link, request, &mut step),
                Err(_) => self.refuse_outsider(link, None, Fault::Malformed, &mut step),
            },
            (Some(Stage::Login(_)), _) => self.refuse_outsider(link, None, Fault::Malformed, &mut step),
            (Some(Stage::Member(attached)), Ok(Sorted::Sealed(frame))) => {
                match attached.channel.open(&self.group.rules, frame) {
                    Ok(request) => self.on_request(cx, link, &request, &mut step),
                    Err(fault) => step.blame(Culprit::Member(attached.entry.id.clone()), fault),
                }
            }
            (Some(Stage::Member(_)), Ok(Sorted::Data)) => self.on_data(cx.now, link, frame, &mut step),
            (Some(Stage::Member(attached)), _) => {
                step.blame(Culprit::Member(attached.entry.id.clone()), Fault::Malformed);
            }
            (None, _) => {}
        }
        step
    }

    fn refuse_outsider(&mut self, link: LinkId, user: Option<UserName>, fault: Fault, step: &mut Step) {
        step.blame(Culprit::Outsider(user), fault);
        step.effects.push(Effect::Close(link));
        self.on_link_down(link);
    }

    fn on_login(&mut self, cx: &mut Cx<'_>, link: LinkId, request: LoginRequest, step: &mut Step) {
        let Some(Link { exporter, stage: Stage::Login(login) }) = self.links.get_mut(&link) else { return };
        let exporter = *exporter;
        match request {
            LoginRequest::Blind { user, blinded } => {
                match self.login.on_blind(cx, &self.group, &self.secrets, login, &exporter, &user, blinded) {
                    Ok(answer) => {
                        if let LoginAnswer::Denied { reason, .. } = &answer {
                            step.events.push(Event::Denied(user, *reason));
                        }
                        step.effects.push(Effect::Send(link, Class::Control, wire::plain(&answer)));
                    }
                    Err(fault) => self.refuse_outsider(link, Some(user), fault, step),
                }
            }
            LoginRequest::Init { user, method, n1 } => {
                let last = self.state.last_incarnation(&user);
                let message = (user, method, n1);
                let answer = self.login.on_init(cx, &self.group, &self.secrets, login, &exporter, last, message);
                step.effects.push(Effect::Send(link, Class::Control, wire::plain(&answer)));
            }
            LoginRequest::Ack { .. } => {
                let admitted = self.state.members();
                match self.login.on_ack(cx, &self.group, &self.secrets, login, &exporter, &request, admitted) {
                    Ok(authenticated) => self.on_authenticated(cx, link, authenticated, step),
                    Err((user, answer)) => {
                        if let (Some(user), Some(_)) = (&user, &answer) {
                            step.events.push(Event::Denied(user.clone(), Denial::NotAuthentic));
                        }
                        let frame = answer.map(|a| Effect::Send(link, Class::Control, wire::plain(&a)));
                        step.effects.extend(frame);
                        self.refuse_outsider(link, user, Fault::LoginFailed, step);
                    }
                }
            }
        }
    }

    /// A user proved who they are: announce the join, or take up the stay where it was.
    fn on_authenticated(&mut self, cx: &mut Cx<'_>, link: LinkId, authenticated: Authenticated, step: &mut Step) {
        let entry = authenticated.entry.clone();
        let (resumed, outputs) = match self.state.admit(&entry) {
            Ok(admitted) => admitted,
            Err(reason) => {
                let answer = authenticated.deny(&self.secrets, reason);
                step.events.push(Event::Denied(entry.id.user, reason));
                step.effects.push(Effect::Send(link, Class::Control, wire::plain(&answer)));
                step.effects.push(Effect::Close(link));
                self.on_link_down(link);
                return;
            }
        };
        if let Some(old) = self.attached.insert(entry.id.user.clone(), link) {
            self.links.remove(&old);
            step.effects.push(Effect::Close(old));
        }
        if let Some(presence) = self.presence.get_mut(&entry.id) {
            presence.heard = cx.now;
        }
        step.effects.push(Effect::Authenticated(link));
        step.events.push(Event::Authenticated(entry.id.clone()));
        let admitted = self.state.members().get(&entry.id.user) == Some(&entry);
        if let Some(Link { stage, .. }) = self.links.get_mut(&link) {
            *stage = Stage::Member(Box::new(Attached {
                entry,
                admitted,
                channel: authenticated.channel,
                challenge: draw(cx),
                answered: [0; 16],
                claimed: None,
                ended: false,
                requests: REQUESTS_BURST,
                requests_refilled: cx.now,
            }));
        }
        self.absorb(cx, outputs, step);
        if resumed {
            self.send_claim(cx.now, link, None, step);
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, link: LinkId, request: &[u8], step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let id = attached.entry.id.clone();
        if !attached.take_request(cx.now) {
            step.blame(Culprit::Member(id), Fault::Flooding);
            return;
        }
        match decode(request) {
            Ok(MemberRequest::Heartbeat { challenge, answer, installed }) => {
                self.on_heartbeat(cx, link, challenge, answer, installed, step);
            }
            Ok(MemberRequest::Claim { have }) => self.send_claim(cx.now, link, have, step),
            Ok(MemberRequest::PastClaim(digest)) => self.send_past_claim(link, digest, step),
            Ok(MemberRequest::Snapshot { view, after }) => self.send_snapshot(link, view, after, step),
            Ok(MemberRequest::Repair(request)) => {
                let answer = self.relay.on_repair(cx.now, &id, &request);
                step.effects.extend(answer.frames.into_iter().map(|f| Effect::Send(link, Class::Data, f)));
                if let Some(wanted) = answer.wanted {
                    let sender = self.attached.get(&wanted.stream.sender.user).copied();
                    if let Some(sender) = sender {
                        self.notify(sender, &LeaderNotice::Wanted(wanted), step);
                    }
                }
            }
            Ok(MemberRequest::Leave) => {
                if self.state.members().get_member(&id).is_some()
                    || self.state.last_incarnation(&id.user) == id.incarnation
                {
                    let outputs = self.state.remove(&id, Cause::Left);
                    self.absorb(cx, outputs, step);
                }
                self.tell_end(link, step);
            }
            Err(_) => step.blame(Culprit::Member(id), Fault::Malformed),
        }
    }

    /// Answers a heartbeat, and believes it if it answers a challenge of ours (K15–K18).
    fn on_heartbeat(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        challenge: [u8; 16],
        answer: [u8; 16],
        installed: Option<ViewId>,
        step: &mut Step,
    ) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let id = attached.entry.id.clone();
        let enforced = self.group.rules.enforces(Rule::HeartbeatNonce);
        if answer == attached.challenge || !enforced {
            attached.answered = answer;
            attached.challenge = draw(cx);
            if let Some(presence) = self.presence.get_mut(&id) {
                presence.heard = cx.now;
            }
        } else if answer != attached.answered {
            step.blame(Culprit::Member(id.clone()), Fault::StaleHeartbeat);
        }
        let next = attached.challenge;
        let view = self.publisher.current();
        self.notify(link, &LeaderNotice::HeartbeatAnswer { answer: challenge, challenge: next, view }, step);
        if self.state.members().get_member(&id).is_none() {
            self.tell_end(link, step);
        } else if installed != Some(view) {
            self.send_claim(cx.now, link, installed.map(|v| v.digest), step);
        }
    }

    fn on_data(&mut self, now: Time, link: LinkId, frame: &Bytes, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let id = &attached.entry.id;
        if !attached.admitted {
            step.blame(Culprit::Member(id.clone()), Fault::OldView);
            return;
        }
        // Outside the mutant corpus, a frame must name the member whose link it came over.
        let claimed = if self.group.rules.enforces(Rule::RelaySender) { None } else { DataFrame::parse(frame).ok() };
        let from = claimed.as_ref().map_or(id, |frame| &frame.header().sender);
        match self.relay.on_frame(now, from, frame) {
            RelayAction::Forward(audience) => {
                let receives = |to: &LinkId| *to != link && self.links.get(to).is_some_and(Link::is_admitted);
                let links: Vec<LinkId> = match audience {
                    Audience::Group => {
                        self.links.iter().filter(|(to, l)| **to != link && l.is_admitted()).map(|(to, _)| *to).collect()
                    }
                    Audience::Only(users) => {
                        users.iter().filter_map(|user| self.attached.get(user).copied()).filter(receives).collect()
                    }
                };
                step.effects.push(Effect::Relay(links, frame.clone()));
            }
            RelayAction::Ignore(Some(fault)) => step.blame(Culprit::Member(id.clone()), fault),
            RelayAction::Ignore(None) => {}
        }
    }

    /// A user's stay began or ended: its link is told apart from those that only wait.
    pub(super) fn mark_admitted(&mut self, change: &Change) {
        let Some(attached) = self.attached.get(change.user()).and_then(|link| attached_mut(&mut self.links, *link))
        else {
            return;
        };
        attached.admitted = matches!(change, Change::Added(entry) if *entry == attached.entry);
    }

    /// Sends the view just published to every attached member of it: one encoding, one seal each.
    pub(super) fn send_claims(&mut self, now: Time, before: ViewId, step: &mut Step) {
        let next = encode(&LeaderNotice::Claim(self.publisher.next_claim()));
        let whole = std::cell::OnceCell::new();
        let view = self.publisher.current().digest;
        let mut ended = Vec::new();
        let openly = self.speaks_openly();
        let members_only = self.group.rules.enforces(Rule::ShareToMembersOnly);
        for (link, state) in &mut self.links {
            let Stage::Member(attached) = &mut state.stage else { continue };
            if members_only && !attached.admitted {
                ended.push(*link);
                continue;
            }
            let follows = attached.claimed.is_some_and(|(digest, _)| digest == before.digest);
            let payload = if follows {
                &next
            } else {
                whole.get_or_init(|| encode(&LeaderNotice::Claim(self.publisher.claim_from(None, &self.state))))
            };
            attached.claimed = Some((view, now));
            step.effects.push(Effect::Send(*link, Class::Control, attached.seal(payload, openly)));
        }
        for link in ended {
            self.tell_end(link, step);
        }
    }

    /// Sends the current claim to one member, unless it has just had it.
    fn send_claim(&mut self, now: Time, link: LinkId, have: Option<ViewDigest>, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let view = self.publisher.current().digest;
        let just_sent = attached.claimed.is_some_and(|(digest, at)| digest == view && now.since(at) < CLAIM_REPEAT);
        let hidden = !attached.admitted && self.group.rules.enforces(Rule::ShareToMembersOnly);
        if just_sent || hidden || self.joined_after_publishing(link) {
            return;
        }
        let claim: ViewClaim = self.publisher.claim_from(have, &self.state);
        if let Some(attached) = attached_mut(&mut self.links, link) {
            attached.claimed = Some((view, now));
        }
        self.notify(link, &LeaderNotice::Claim(claim), step);
    }

    /// Whether the member was accepted after the published view: that view's share is not for it.
    fn joined_after_publishing(&self, link: LinkId) -> bool {
        let Some(Link { stage: Stage::Member(attached), .. }) = self.links.get(&link) else { return true };
        let since = self.presence.get(&attached.entry.id).map(|p| p.since);
        since.is_none_or(|since| since > self.publisher.current().epoch)
            && self.group.rules.enforces(Rule::ShareToMembersOnly)
    }

    /// A past view's share goes only to who was in that view and still is a member (P6).
    fn send_past_claim(&mut self, link: LinkId, digest: ViewDigest, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let since = self.presence.get(&attached.entry.id).map(|p| p.since);
        let Some((epoch, claim)) = self.publisher.past_claim(digest) else { return };
        let was_in = since.is_some_and(|since| since <= epoch);
        if was_in || !self.group.rules.enforces(Rule::ShareToMembersOnly) {
            self.notify(link, &LeaderNotice::PastClaim(claim), step);
        }
    }

    fn send_snapshot(&mut self, link: LinkId, view: ViewDigest, after: Option<UserName>, step: &mut Step) {
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
    fn tell_end(&mut self, link: LinkId, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let Some(cause) = self.state.ended(&attached.entry.id) else { return };
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

    fn notify(&mut self, link: LinkId, notice: &LeaderNotice, step: &mut Step) {
        let openly = self.speaks_openly();
        if let Some(attached) = attached_mut(&mut self.links, link) {
            let frame = attached.seal(&encode(notice), openly);
            step.effects.push(Effect::Send(link, Class::Control, frame));
        }
    }
}

/// For simulations whose hostile leaders say something else than their honest core would.
impl Leader {
    #[cfg(not(feature = "mutants"))]
    fn speaks_openly(&self) -> bool {
        false
    }

    #[cfg(feature = "mutants")]
    fn speaks_openly(&self) -> bool {
        self.speaks_openly
    }

    /// From now on notices come out unsealed, behind a zero byte, for the simulation to alter and seal.
    #[cfg(feature = "mutants")]
    pub fn speak_openly_for_testing_only(&mut self) {
        self.speaks_openly = true;
    }

    /// Seals a notice for the member on an authenticated link.
    #[cfg(feature = "mutants")]
    pub fn seal_for_testing_only(&mut self, link: LinkId, notice: &LeaderNotice) -> Option<Bytes> {
        Some(attached_mut(&mut self.links, link)?.channel.seal(&encode(notice)))
    }

    /// Authenticated links, each with the member at its other end.
    #[cfg(feature = "mutants")]
    pub fn links_for_testing_only(&self) -> Vec<(LinkId, MemberEntry)> {
        let entry = |(id, link): (&LinkId, &Link)| match &link.stage {
            Stage::Member(attached) => Some((*id, attached.entry.clone())),
            Stage::Login(_) => None,
        };
        self.links.iter().filter_map(entry).collect()
    }
}

impl Link {
    fn is_admitted(&self) -> bool {
        matches!(&self.stage, Stage::Member(attached) if attached.admitted)
    }
}

impl Attached {
    fn seal(&mut self, payload: &[u8], openly: bool) -> Bytes {
        if openly { [&[0], payload].concat().into() } else { self.channel.seal(payload) }
    }

    fn take_request(&mut self, now: Time) -> bool {
        let gained = now.since(self.requests_refilled).as_millis() * u128::from(REQUESTS_PER_S) / 1000;
        if gained > 0 {
            self.requests = REQUESTS_BURST.min(self.requests.saturating_add(u32::try_from(gained).unwrap_or(u32::MAX)));
            self.requests_refilled = now;
        }
        let allowed = self.requests > 0;
        self.requests = self.requests.saturating_sub(1);
        allowed
    }
}

fn draw(cx: &mut Cx<'_>) -> [u8; 16] {
    let mut challenge = [0; 16];
    cx.rng.fill_bytes(&mut challenge);
    challenge
}

fn attached_mut(links: &mut std::collections::BTreeMap<LinkId, Link>, link: LinkId) -> Option<&mut Attached> {
    match links.get_mut(&link).map(|l| &mut l.stage) {
        Some(Stage::Member(attached)) => Some(attached),
        _ => None,
    }
}

/// The identity of a link, for the driver's logs.
impl Leader {
    /// Who is at the other end of an authenticated link.
    pub fn member_of(&self, link: LinkId) -> Option<&MemberId> {
        match self.links.get(&link).map(|l| &l.stage) {
            Some(Stage::Member(attached)) => Some(&attached.entry.id),
            _ => None,
        }
    }
}
