//! A leader's links to members: login, requests, claims and relaying.

use bytes::Bytes;

use super::link::{Attached, Kind, Link, Stage, attached_mut};
use super::motions::{Candidate, Entrance};
use super::{Class, Effect, Event, Leader, Record, Step};
use crate::codec::decode;
use crate::coordination::Standing;
use crate::data::DataFrame;
use crate::delivery::{Audience, RelayAction};
use crate::fault::{Culprit, Fault};
use crate::ids::{LinkId, UserName, ViewId};
use crate::login::{Authenticated, Denial, LoginAnswer, LoginRequest, LoginServerLink};
use crate::rules::Rule;
use crate::time::{Cx, Time};
use crate::view::Cause;
use crate::wire::{self, LeaderNotice, MemberRequest, Sorted};

impl Leader {
    /// A link is up; the other end has proved nothing yet. `exporter` is the same at both ends and nowhere else.
    pub fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]) {
        self.links.insert(link, Link { exporter, stage: Stage::Login(LoginServerLink::default()) });
    }

    /// A link is gone.
    pub fn on_link_down(&mut self, link: LinkId) {
        let Some(Link { stage: Stage::Member(gone), .. }) = self.links.remove(&link) else { return };
        self.relay.on_link_down(&gone.entry.id);
        for links in [&mut self.attached, &mut self.waiting] {
            if links.get(&gone.entry.id.user) == Some(&link) {
                links.remove(&gone.entry.id.user);
            }
        }
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
        if self.state.is_catching_up() {
            // What this leader would say of stays may be wrong: the others let the user in.
            step.effects.push(Effect::Close(link));
            self.on_link_down(link);
            return;
        }
        match request {
            LoginRequest::Blind { user, blinded } => {
                match self.login.on_blind(cx, &self.group, &self.secrets, login, &exporter, &user, blinded) {
                    Ok((answer, attempts)) => {
                        step.effects.extend(attempts.map(|attempts| Effect::Persist(Record::Attempts(attempts))));
                        if let LoginAnswer::Denied { reason, .. } = &answer {
                            step.events.push(Event::Denied(user, *reason));
                        }
                        step.effects.push(Effect::Send(link, Class::Control, wire::plain(&answer)));
                    }
                    Err(fault) => self.refuse_outsider(link, Some(user), fault, step),
                }
            }
            LoginRequest::Init { user, method, n1, asks } => {
                let last = self.state.login_floor(&user);
                let message = (user.clone(), method, n1, asks);
                match self.login.on_init(cx, &self.group, &self.secrets, login, &exporter, last, message) {
                    Ok(answer) => step.effects.push(Effect::Send(link, Class::Control, wire::plain(&answer))),
                    Err(fault) => self.refuse_outsider(link, Some(user), fault, step),
                }
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
        let new = self.state.standing(&entry) == Ok(Standing::New);
        let too_often = new && !self.arrivals.take(cx.now, &entry.id.user);
        let entrance = match self.group.rules.enforces(Rule::ArrivalLimit) && too_often {
            true => Err(Denial::Throttled),
            false => self.entrance(cx, &entry),
        };
        let admitted = match entrance {
            Ok(Entrance::Open) => self.state.admit(&entry).map(|admitted| (admitted, None)),
            Ok(Entrance::Asking(rule)) => {
                let refusal = authenticated.deny(&self.secrets, Denial::Outvoted);
                Ok(((false, Vec::new()), Some((rule, Candidate { link, entry: entry.clone(), refusal }))))
            }
            Err(reason) => Err(reason),
        };
        let ((resumed, outputs), asking) = match admitted {
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
        let live = self.attached.get(&entry.id.user).and_then(|old| self.links.get(old));
        let displaces = resumed || !live.is_some_and(Link::is_admitted);
        let links = if displaces { &mut self.attached } else { &mut self.waiting };
        if let Some(old) = links.insert(entry.id.user.clone(), link) {
            self.links.remove(&old);
            step.effects.push(Effect::Close(old));
        }
        let admitted = self.state.members().get(&entry.id.user) == Some(&entry);
        if let Some(presence) = self.presence.get_mut(&entry.id).filter(|_| admitted) {
            presence.heard = cx.now;
        }
        step.effects.push(Effect::Authenticated(link));
        step.events.push(Event::Authenticated(entry.id.clone()));
        if let Some(Link { stage, .. }) = self.links.get_mut(&link) {
            let reads = self.group.policy.role(&entry.id.user).receives();
            let attached = Attached::new(cx.now, entry, (admitted, reads), authenticated.channel, draw(cx));
            *stage = Stage::Member(Box::new(attached));
        }
        self.tell_generation(link, step);
        self.absorb(cx, outputs, step);
        if resumed {
            self.send_bare_claim(link, step);
            self.ask_all(cx.now, link, step);
        }
        if let Some((rule, candidate)) = asking {
            self.ask_to_admit(cx, rule, candidate, step);
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, link: LinkId, request: &[u8], step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let id = attached.entry.id.clone();
        let request = decode::<MemberRequest>(request);
        let kind = request.as_ref().map_or(Kind::Other, Kind::of);
        if kind != Kind::Service
            && !attached.take_request(cx.now, kind)
            && self.group.rules.enforces(Rule::RequestLimit)
        {
            // Who misses much asks much, perhaps because somebody else leaves out numbers: no offence. Nor is it one that the
            // network holds back for long what somebody asks, and delivers it at once.
            if kind != Kind::Repair && attached.has_flooded(cx.now) {
                step.blame(Culprit::Member(id), Fault::Flooding);
            }
            return;
        }
        match request {
            Ok(MemberRequest::Heartbeat { challenge, answer, installed }) => {
                self.on_heartbeat(cx, link, challenge, answer, installed, step);
            }
            Ok(MemberRequest::Claim { have }) => self.send_claim(cx.now, link, have, step),
            Ok(MemberRequest::PastClaim(digest)) => self.send_past_claim(link, digest, step),
            Ok(MemberRequest::Snapshot { view, after }) => self.send_snapshot(link, view, after, step),
            Ok(MemberRequest::Repair(request)) => self.on_repair(cx.now, link, &request, step),
            Ok(MemberRequest::Heads { heads, complete }) => {
                // Of who was never let in, nothing is kept: nothing would make room again.
                if attached.admitted || self.relay.is_departing(&id) {
                    self.relay.on_heads(&id, heads.into_inner(), complete);
                }
                self.tell_tails(link, step);
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
            Ok(MemberRequest::Vote { motion, yes }) => self.on_vote(cx, link, &motion, yes, step),
            Ok(MemberRequest::Fates(stays)) => self.send_fates(link, stays, step),
            Ok(MemberRequest::Accuse(frame)) => self.on_accusation(cx, link, frame, step),
            Ok(MemberRequest::Successions(after)) => self.tell_successions(link, after, step),
            Ok(MemberRequest::Service(request)) => self.on_service_request(cx.now, link, request, step),
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
            // Another program of the same user may hold the same stay's number with keys that did not prevail.
            if let Some(presence) = self.presence.get_mut(&id).filter(|_| attached.admitted) {
                presence.heard = cx.now;
            }
        } else if answer != attached.answered {
            step.blame(Culprit::Member(id.clone()), Fault::StaleHeartbeat);
        }
        let next = attached.challenge;
        let view = self.publisher.current();
        self.notify(link, &LeaderNotice::HeartbeatAnswer { answer: challenge, challenge: next, view }, step);
        if !self.links.get(&link).is_some_and(Link::is_admitted) {
            self.tell_end(link, step);
        } else if installed != Some(view) || self.has_claimed_nothing(link) {
            self.send_claim(cx.now, link, installed.map(|v| v.digest), step);
        }
    }

    fn on_data(&mut self, now: Time, link: LinkId, frame: &Bytes, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let id = attached.entry.id.clone();
        if !attached.admitted {
            step.blame(Culprit::Member(id), Fault::OldView);
            return;
        }
        let Ok(parsed) = DataFrame::parse(frame) else {
            return step.blame(Culprit::Member(id), Fault::Malformed);
        };
        if !self.group.policy.may_send(parsed.header()) && self.group.rules.enforces(Rule::RelayRole) {
            return step.blame(Culprit::Member(id), Fault::AgainstRole);
        }
        // Outside the mutant corpus, a frame must name the member whose link it came over.
        let from = if self.group.rules.enforces(Rule::RelaySender) { &id } else { &parsed.header().sender };
        let action = self.relay.on_parsed(now, from, &parsed);
        if !matches!(action, RelayAction::Ignore(Some(_))) {
            self.note_received(now, link, &parsed, step);
        }
        let (audience, class) = match action {
            RelayAction::Forward(audience) => (audience, Class::Data),
            RelayAction::ForwardLive(audience) => (audience, Class::Live),
            RelayAction::Ignore(Some(fault)) => return step.blame(Culprit::Member(id), fault),
            RelayAction::Ignore(None) => return,
        };
        let all = !self.group.rules.enforces(Rule::RelayRole);
        let reads = |to: &LinkId, l: &Link| *to != link && l.is_admitted() && (all || l.is_reader());
        let links: Vec<LinkId> = match audience {
            Audience::Group => self.links.iter().filter(|(to, l)| reads(to, l)).map(|(to, _)| *to).collect(),
            Audience::Only(users) => {
                let links = users.iter().filter_map(|user| self.attached.get(user).copied());
                links.filter(|to| self.links.get(to).is_some_and(|l| reads(to, l))).collect()
            }
        };
        step.effects.push(Effect::Relay(links, class, frame.clone()));
    }
}

fn draw(cx: &mut Cx<'_>) -> [u8; 16] {
    let mut challenge = [0; 16];
    cx.rng.fill_bytes(&mut challenge);
    challenge
}
