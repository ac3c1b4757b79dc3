//! The root component of a member: logs in with every leader, installs the views that f+1 of
//! them agree on, and talks.
//!
//! Source: seed 002 §2.3 and §3. A member acts on f+1 consistent leaders and on nothing less.

mod access;
mod hacked;
mod hearing;
mod joining;
mod logging;
mod past;
mod refusals;
mod serving;
mod standing;
mod step;
mod succession;
mod talking;
mod voting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

#[cfg(test)]
pub(crate) use hearing::CLAIM_BYTES_MAX;
pub use standing::{Confirmation, LeaderStanding};
pub use step::{Class, Effect, Event, JoinFailure, Step};
pub use succession::replaced;
pub use voting::OpenMotion;

use crate::codec::{decode, encode};
use crate::data::{Departed, Identity, KeyedView, Keyring};
use crate::delivery::{Inbox, Outbox};
use crate::fault::{Culprit, Fault};
use crate::group::GroupInfo;
use crate::ids::{Incarnation, LeaderId, MemberId, UserName, ViewId};

use crate::keys::{TrackerOutput, ViewTracker};
use crate::log::Keeper;
use crate::login::Certificate;
use crate::roles::Role;
use crate::succession::Generation;
use crate::time::{Cx, Time, earliest};
use crate::view::{Cause, Change, MemberSet};
use crate::wire::{self, LeaderNotice, MemberRequest, Sorted};
use access::Access;
use hearing::Hearing;
use past::PastViews;
use refusals::Failed;
use ringfort_crypto::sign::SigningKey;
use standing::Link;
use voting::Voting;

/// How often a member looks for what is missing while something is.
const TICK: Duration = Duration::from_millis(100);

/// What a user logs in with.
#[derive(Clone)]
pub enum Secret {
    /// A password; kept only until it is hardened.
    Password(Zeroizing<Vec<u8>>),
    /// A registered key.
    Key(SigningKey),
    /// A certified key.
    Certificate(SigningKey, Box<Certificate>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// One member of one group.
pub struct Member {
    group: Arc<GroupInfo>,
    user: UserName,
    access: Access,
    links: BTreeMap<LeaderId, Link>,
    phase: Phase,

    me: Option<Identity>,
    /// The highest stay each leader reported at login.
    reported: BTreeMap<LeaderId, Incarnation>,
    /// The highest stay that this member has announced: it never announces another with that number.
    used: Incarnation,
    failed: BTreeMap<LeaderId, Failed>,
    verified_at: Option<Time>,
    announced_at: Option<Time>,

    tracker: Option<ViewTracker>,
    installed_at: Option<Time>,
    asks: usize,
    asked_at: Time,
    past: PastViews,
    ended_by: BTreeMap<LeaderId, Cause>,

    keyring: Keyring,
    departed: Departed,
    /// Members that were expelled: which of their numbers came is remembered until their views are over.
    expelled: Departed,
    inbox: Inbox,
    outbox: Outbox,
    heartbeat_at: Time,
    /// How long leaders are waited for that have said nothing since a login.
    unheard_for: BTreeMap<LeaderId, Duration>,
    confirmation: Confirmation,
    /// What of it was told last, and since when something else is so.
    told: (Confirmation, Option<Time>),
    caught: BTreeMap<LeaderId, Fault>,
    hearing: BTreeMap<LeaderId, Hearing>,
    relaying: Vec<LeaderId>,
    /// Relays that did not acknowledge messages in time, and until when they are avoided.
    lagging: BTreeMap<LeaderId, Time>,
    voting: Voting,
    /// The generation of each leader's shares, as it said on its link.
    generations: BTreeMap<LeaderId, Generation>,
    /// Who was asked for successions on its link: from which generation on, and whether it has still to answer.
    successions_asked: BTreeMap<LeaderId, (Generation, bool)>,
    log: Option<Keeper>,
    /// Why the stay ended, until it is in the log.
    ended: Option<Cause>,
    #[cfg(feature = "mutants")]
    speaks_openly: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Joining,
    In,
    Leaving,
    Ended,
}

impl Member {
    /// A member that will join as soon as its driver reports links.
    pub fn new(cx: &mut Cx<'_>, group: Arc<GroupInfo>, user: UserName, secret: Secret) -> Self {
        Member {
            access: Access::new(cx, &user, secret),
            links: BTreeMap::new(),
            phase: Phase::Joining,
            me: None,
            reported: BTreeMap::new(),
            used: Incarnation(0),
            failed: BTreeMap::new(),
            verified_at: None,
            announced_at: None,
            tracker: None,
            installed_at: None,
            asks: 0,
            asked_at: cx.now,
            past: PastViews::default(),
            ended_by: BTreeMap::new(),
            keyring: Keyring::new(&group.rules),
            departed: Departed::default(),
            expelled: Departed::default(),
            inbox: Inbox::new(&group.policy),
            outbox: Outbox::new(&group.policy),
            heartbeat_at: cx.now,
            unheard_for: BTreeMap::new(),
            confirmation: Confirmation::Unconfirmed,
            told: (Confirmation::Unconfirmed, None),
            caught: BTreeMap::new(),
            hearing: BTreeMap::new(),
            relaying: Vec::new(),
            lagging: BTreeMap::new(),
            voting: Voting::default(),
            generations: BTreeMap::new(),
            successions_asked: BTreeMap::new(),
            log: None,
            ended: None,
            #[cfg(feature = "mutants")]
            speaks_openly: false,
            group,
            user,
        }
    }

    /// The group.
    pub fn group(&self) -> &Arc<GroupInfo> {
        &self.group
    }

    /// Whose member this is.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Who this is, once the stay has a number.
    pub fn id(&self) -> Option<&MemberId> {
        self.me.as_ref().map(|me| &me.id)
    }

    /// The installed view.
    pub fn view(&self) -> Option<ViewId> {
        self.tracker.as_ref()?.installed().map(|v| v.id)
    }

    /// The members of the installed view.
    pub fn members(&self) -> Option<&MemberSet> {
        self.tracker.as_ref()?.installed().map(|v| &v.members)
    }

    /// When the current key was installed.
    pub fn installed_at(&self) -> Option<Time> {
        self.installed_at
    }

    /// Whether the stay has ended.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// This user's role in the group.
    pub fn role(&self) -> Role {
        self.group.policy.role(&self.user)
    }

    /// A name of the current key that tells nothing about it: the same at all members of a view, never the same in two.
    /// None for a member that may not read.
    pub fn key_fingerprint(&self) -> Option<[u8; 8]> {
        self.keyring.current().and_then(KeyedView::fingerprint)
    }

    /// The current key: for simulations that compare members, and nothing else.
    #[cfg(feature = "mutants")]
    pub fn key_for_testing_only(&self) -> Option<[u8; 32]> {
        self.keyring.current().and_then(KeyedView::key_for_testing_only)
    }

    /// This stay's entry with its keys, as leaders should see it.
    #[cfg(feature = "mutants")]
    pub fn entry_for_testing_only(&self) -> Option<crate::view::MemberEntry> {
        self.me.as_ref().map(Identity::entry)
    }

    /// A frame from a leader.
    pub fn on_frame(&mut self, cx: &mut Cx<'_>, from: LeaderId, frame: &Bytes) -> Step {
        let mut step = Step::default();
        if self.phase == Phase::Ended || !self.links.contains_key(&from) {
            return step;
        }
        match wire::sort(frame) {
            Ok(Sorted::Data) => self.on_data(cx, from, frame, &mut step),
            Ok(sorted) => match self.hearing(cx.now, from).hears(cx.now, frame) {
                Ok(true) => self.on_words(cx, from, sorted, &mut step),
                Ok(false) => {}
                Err(fault) => self.blame_leader(from, fault, &mut step),
            },
            Err(_) => self.blame_leader(from, Fault::Malformed, &mut step),
        }
        self.cut_off(cx.now, from, &mut step);
        self.log_end(cx, &mut step);
        step
    }

    /// What a leader says itself.
    fn on_words(&mut self, cx: &mut Cx<'_>, from: LeaderId, sorted: Sorted<'_>, step: &mut Step) {
        match sorted {
            Sorted::Plain(body) => match wire::decode_plain(body) {
                Ok(answer) => self.on_login_answer(cx, from, answer, step),
                Err(_) => self.blame_leader(from, Fault::Malformed, step),
            },
            Sorted::Sealed(frame) => self.on_sealed(cx, from, frame, step),
            Sorted::Data => {}
        }
    }

    fn on_sealed(&mut self, cx: &mut Cx<'_>, from: LeaderId, frame: &[u8], step: &mut Step) {
        let Some(link) = self.links.get_mut(&from) else { return };
        let Some(channel) = link.channel() else { return };
        let notice = match channel.open(&self.group.rules, frame) {
            Ok(payload) => {
                let payload = Zeroizing::new(payload);
                if !std::mem::replace(&mut link.heard, true) {
                    self.on_let_in(cx.now, from, step);
                }
                match self.hearing(cx.now, from).admits(cx.now, &payload) {
                    Ok(true) => decode(&payload).map_err(|_| Fault::Malformed),
                    Ok(false) => return,
                    Err(fault) => Err(fault),
                }
            }
            Err(fault) => Err(fault),
        };
        if notice.is_ok() {
            self.failed.remove(&from);
        }
        match notice {
            Ok(LeaderNotice::Claim(claim)) => {
                let generation = self.generations.get(&from).copied().unwrap_or_default();
                self.track(cx, step, |t, group| {
                    t.on_generation(from, generation);
                    t.on_claim(group, from, claim)
                });
                self.on_claimed(cx.now, step);
            }
            Ok(LeaderNotice::Fates { over, open }) => {
                self.track(cx, step, |t, group| t.on_fates(group, from, over, open));
            }
            Ok(LeaderNotice::PastClaim(claim)) if !self.past.answers(from, &claim.view.digest) => {}
            Ok(LeaderNotice::PastClaim(claim)) => {
                self.track(cx, step, |t, group| t.on_past_claim(group, from, &claim));
            }
            Ok(LeaderNotice::Snapshot { view, after, entries, last }) => {
                let rest = |member: &Member| member.tracker.as_ref().and_then(|t| t.rest_of_list(from));
                let before = rest(self);
                self.track(cx, step, |t, group| t.on_snapshot(group, from, view, after.as_ref(), entries, last));
                if let Some(more) = rest(self).filter(|more| Some(more) != before.as_ref()) {
                    self.ask(cx.now, from, more, step);
                }
            }
            Ok(LeaderNotice::HeartbeatAnswer { answer, challenge, view }) => {
                self.on_heartbeat_answer(cx.now, from, answer, challenge, view, step);
            }
            Ok(LeaderNotice::Wanted(request)) => self.on_wanted(cx.now, from, &request, step),
            Ok(LeaderNotice::Tails(tails)) => self.on_tails(cx.now, from, tails.into_inner(), step),
            Ok(LeaderNotice::Received(receipts)) => {
                let enough = self.receipts_needed();
                self.outbox.on_received(from, receipts.as_slice(), enough);
            }
            Ok(LeaderNotice::Ended { cause, .. }) => self.on_end(from, cause, step),
            Ok(LeaderNotice::Generation(generation)) => self.on_generation(from, generation, step),
            Ok(LeaderNotice::Successions(list)) => self.on_successions(cx, from, list.into_inner(), step),
            Ok(LeaderNotice::Service(answer)) => self.on_service_answer(from, answer, step),
            Ok(LeaderNotice::Asked { motion, left_ms }) => self.on_asked(cx.now, from, motion, left_ms, step),
            Err(fault) => self.blame_leader(from, fault, step),
        }
    }

    fn track(
        &mut self,
        cx: &mut Cx<'_>,
        step: &mut Step,
        input: impl FnOnce(&mut ViewTracker, &GroupInfo) -> Vec<TrackerOutput>,
    ) {
        let Some(tracker) = &mut self.tracker else { return };
        for output in input(tracker, &self.group) {
            match output {
                TrackerOutput::Installed { view, key, words, late, changes, departed } => {
                    let until = cx.now + self.group.policy.overlap();
                    if let Some(old) = self.keyring.current().map(|v| v.id().digest) {
                        self.keyring.retire(&old, until);
                    }
                    let unread = || KeyedView::without_key(view);
                    self.keyring.install(key.map_or_else(unread, |key| KeyedView::new(view, key)));
                    departed.into_iter().for_each(|gone| self.part_from(cx.now, gone, &changes, until, step));
                    self.log_view(cx, (changes.clone(), words), late, step);
                    self.on_installed(cx, view, changes, step);
                }
                TrackerOutput::Reopened(entry) => {
                    self.expelled.remove(&entry.id);
                    self.await_last_words(cx.now, entry, cx.now + self.group.policy.overlap(), step);
                    self.on_members(cx.now, step);
                }
                TrackerOutput::Readable { view, key } => {
                    let latest = self.installed_at.unwrap_or(cx.now) + self.group.policy.overlap();
                    let until = self.keyring.end_of_skipped(view, latest);
                    self.past.forget(&view.digest);
                    self.keyring.add_readable(KeyedView::new(view, key), until);
                    self.on_readable(cx.now, view.digest, step);
                }
                TrackerOutput::Blame(leader, fault) => self.blame_leader(leader, fault, step),
            }
        }
    }

    fn on_installed(&mut self, cx: &mut Cx<'_>, view: ViewId, changes: Vec<Change>, step: &mut Step) {
        if self.phase == Phase::Joining {
            self.phase = Phase::In;
            self.retry_failed_links(step);
        }
        self.confirm_by_claims();
        if self.installed_at.replace(cx.now).is_none() {
            self.send_heartbeats(cx, step);
        } else {
            for change in &changes {
                if let Change::Added(entry) = change {
                    self.inbox.on_joined(&entry.id);
                }
            }
        }
        self.asks = 0;
        // A new view is the time to go back to leaders that had been away.
        self.relaying.clear();
        self.past.forget(&view.digest);
        step.events.push(Event::View { view, changes });
        self.update_standing(cx.now, step);
        self.outbox.on_view(view.digest);
        self.on_readable(cx.now, view.digest, step);
    }

    /// One leader says that the stay has ended; f+1 are believed (K36).
    fn on_end(&mut self, from: LeaderId, cause: Cause, step: &mut Step) {
        self.ended_by.insert(from, cause);
        let confirm = self.group.rules.confirm();
        if self.ended_by.len() < confirm || self.phase == Phase::Ended {
            return;
        }
        // Fewer than f+1 leaders may all be lying about the cause.
        let said = |cause: &Cause| self.ended_by.values().filter(|c| *c == cause).count();
        let causes = [Cause::Expelled, Cause::Expired, Cause::SessionOver, Cause::Elsewhere, Cause::Left, Cause::Lost];
        let told = causes.into_iter().find(|c| said(c) >= confirm);
        if self.phase == Phase::Joining && matches!(told, Some(Cause::SessionOver | Cause::Lost)) {
            // The end came while the stay was being announced: whether there is a next session, leaders tell; and another
            // program of this user may have announced the same stay with keys that prevailed.
            self.new_stay(step);
            return;
        }
        if self.phase == Phase::Joining && told.is_none() {
            // Who lies about the cause ends no join: on the next link leaders say whether the stay is too low.
            return;
        }
        let cause = told.unwrap_or(if self.phase == Phase::Leaving { Cause::Left } else { Cause::Lost });
        self.end(cause, step);
    }

    fn end(&mut self, cause: Cause, step: &mut Step) {
        self.phase = Phase::Ended;
        self.ended = Some(cause);
        self.tell_losses(cause, step);
        step.events.push(Event::Ended(cause));
        step.effects.extend(self.links.keys().map(|l| Effect::Close(*l)));
    }

    fn blame_leader(&mut self, leader: LeaderId, fault: Fault, step: &mut Step) {
        if fault.is_deviation() {
            self.caught.entry(leader).or_insert(fault);
        }
        step.blame(Culprit::Leader(leader), fault);
    }

    fn request(&mut self, leader: LeaderId, request: &MemberRequest, step: &mut Step) {
        let openly = self.speaks_openly();
        if let Some(channel) = self.links.get_mut(&leader).and_then(Link::channel) {
            let payload = encode(request);
            let frame = if openly { [&[0], &payload[..]].concat().into() } else { channel.seal(&payload) };
            step.effects.push(Effect::Send(leader, Class::Control, frame));
        }
    }

    /// Leaders with a logged-in link.
    fn linked(&self) -> BTreeSet<LeaderId> {
        self.links.iter().filter(|(_, l)| l.is_in()).map(|(id, _)| *id).collect()
    }

    /// When [`Member::on_wakeup`] is due; `None` once the stay has ended.
    pub fn next_wakeup(&self, now: Time) -> Option<Time> {
        if self.phase == Phase::Ended {
            return None;
        }
        let busy = self.phase != Phase::In
            || self.tracker.as_ref().is_some_and(|t| t.missing(&self.group, self.asks).is_some());
        [
            Some(self.heartbeat_at + self.group.policy.heartbeat()),
            busy.then(|| now + TICK),
            self.inbox.next_wakeup(),
            self.past.next_wakeup(),
            self.outbox.next_wakeup().filter(|_| self.tends_outbox()),
            self.keyring.next_wakeup(),
            self.departed.next_wakeup(),
            self.expelled.next_wakeup(),
            self.log.as_ref().and_then(Keeper::next_wakeup),
        ]
        .into_iter()
        .fold(None, earliest)
    }

    /// Time has passed.
    pub fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        if self.phase == Phase::Ended {
            return step;
        }
        self.announce_if_ready(cx, &mut step);
        self.retry_join(cx, &mut step);
        if cx.now >= self.heartbeat_at + self.group.policy.heartbeat() {
            self.heartbeat_at = cx.now;
            self.send_heartbeats(cx, &mut step);
            if self.phase == Phase::Leaving {
                self.request_leave(&mut step);
            }
        }
        self.ask_for_missing(cx.now, &mut step);
        self.ask_about_past_views(cx.now, &mut step);
        self.keyring.expire(cx.now);
        let gone = [self.departed.expire(cx.now), self.expelled.expire(cx.now)].concat();
        gone.iter().for_each(|gone| self.forget_sender(cx.now, gone, &mut step));
        self.tend_streams(cx.now, &mut step);
        self.tend_log(cx, &mut step);
        self.update_standing(cx.now, &mut step);
        step
    }
}
