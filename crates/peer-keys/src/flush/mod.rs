//! View synchrony: from the sites' views, which come when they come, to views that every member has agreed to.
//!
//! The sites' stream is one order of messages with views at definite places in it. When a view comes, each member asks
//! its application to finish what it is sending, and then multicasts a *flush-ok*. The new view is installed at the
//! place where the last flush-ok is; so all who move together install it at the same place, and whatever a member sent
//! before its flush-ok was delivered before. A view that comes in the middle starts over: cascades collapse into the
//! newest view. The members begin again within one view of the sites to refresh the key, to go on without somebody, or
//! because no key came about: each such attempt is a [`Round`], and begins at a definite place too.
//!
//! Groups of sites are open: anybody can be in one, and nobody can be thrown out. So a view here is the members of the
//! sites' view less those who are *out*: who brings no credentials that all accept, and who is waited for in vain, once
//! more than half of all who are not out, and two at least, say so. Who is out learns of it, and can leave and come again.
//!
//! Not known here: keys, signatures, sites. What comes in was authenticated by the parent.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_kernel::Time;
use ringfort_kernel::time::earliest;
use ringfort_peer::{GroupViewId, Name};

use crate::ids::{MEMBERS_MAX, Round};
use crate::rules::{Rule, Rules};
use crate::wire::{FlushOk, Why};

/// Between a secure view and the first answer to a request to refresh its key.
pub const REFRESH_PAUSE: Duration = Duration::from_millis(500);
/// Before the second attempt at a key; doubled with each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How often that is doubled.
const RETRY_DOUBLINGS: u32 = 7;

/// A view of the sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteView {
    /// Its id: ids grow at every member.
    pub id: GroupViewId,
    /// Everybody in it.
    pub members: BTreeSet<Name>,
    /// Who of them has been in the view before, together with this member.
    pub moved: BTreeSet<Name>,
}

/// Why somebody is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutWhy {
    /// It did not answer a flush, or did not do its part for the key.
    Silent,
    /// The policy does not admit its key, or its signature is wrong.
    Stranger,
    /// Its policy is another one.
    OtherPolicy,
    /// What it contributes to the key is no contribution.
    NoContribution,
    /// Another member has the same key.
    SameKey,
    /// The answer of this member's own application did not come in time.
    OwnApplication,
}

impl OutWhy {
    /// Whether the same would come of joining again.
    pub fn is_final(self) -> bool {
        !matches!(self, OutWhy::Silent | OutWhy::OwnApplication)
    }
}

/// What the parent has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the application for its word.
    Ask,
    /// Multicast a flush-ok for the round.
    Answer(Round),
    /// All have answered: agree on a key.
    Install,
    /// Multicast a vote against these.
    Vote(Vec<Name>),
    /// No key came about in the time that there is for it; the second time, begin again.
    Overdue {
        /// Whether votes were cast before.
        again: bool,
    },
    /// Somebody is out.
    Out(Name, OutWhy),
    /// So many are in the sites' group that there is no secure view, until there are fewer.
    Crowded(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No view of the sites yet.
    Idle,
    /// Waiting for answers.
    Flushing,
    /// All have answered; there is no key yet.
    Agreeing,
    /// There is a key.
    Secure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Application {
    /// It may send.
    Open,
    /// It was asked to finish.
    Asked(Time),
    /// It waits for the next view.
    Closed,
}

/// The flush of one member in one group.
#[derive(Debug)]
pub struct Flush {
    me: Name,
    rules: Rules,
    patience: Duration,
    sites: Option<SiteView>,
    round: Round,
    stage: Stage,
    since: Time,
    /// When this round may be answered; `None` once it was asked about.
    due: Option<Time>,
    answered: bool,
    voted: bool,
    application: Application,
    oks: BTreeMap<Name, FlushOk>,
    out: BTreeSet<Name>,
    votes: BTreeMap<Name, BTreeSet<Name>>,
    /// Of the last secure view: who has not gone apart from this member since.
    companions: BTreeSet<Name>,
    /// Who has answered a flush since the last secure view.
    finished: BTreeSet<Name>,
    /// Whom this member waited for in vain, as long as they stay.
    suspects: BTreeSet<Name>,
    failures: u32,
    secure_since: Time,
}

impl Flush {
    /// The member `me`, before its first view.
    pub fn new(me: Name, patience: Duration, rules: Rules, now: Time) -> Self {
        Flush {
            me,
            rules,
            patience,
            sites: None,
            round: Round::default(),
            stage: Stage::Idle,
            since: now,
            due: None,
            answered: false,
            voted: false,
            application: Application::Closed,
            oks: BTreeMap::new(),
            out: BTreeSet::new(),
            votes: BTreeMap::new(),
            companions: BTreeSet::new(),
            finished: BTreeSet::new(),
            suspects: BTreeSet::new(),
            failures: 0,
            secure_since: now,
        }
    }

    // What there is to see.

    /// The round that is under way or has come to its end.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Whether the application may send.
    pub fn is_open(&self) -> bool {
        self.application == Application::Open
    }

    /// Whether the application was asked to finish, and has not yet.
    pub fn is_asked(&self) -> bool {
        matches!(self.application, Application::Asked(_))
    }

    /// Whether a key is being agreed on.
    pub fn is_agreeing(&self) -> bool {
        self.stage == Stage::Agreeing
    }

    /// Whether the newest round has a key.
    pub fn is_secure(&self) -> bool {
        self.stage == Stage::Secure
    }

    /// The answers of the round: once it is installed, its members.
    pub fn answers(&self) -> &BTreeMap<Name, FlushOk> {
        &self.oks
    }

    /// Whose answers are awaited.
    pub fn awaited(&self) -> BTreeSet<Name> {
        let members = self.sites.iter().flat_map(|sites| &sites.members);
        members.filter(|name| !self.out.contains(*name) && !self.oks.contains_key(*name)).cloned().collect()
    }

    /// Whether the sites say that `from` is in the group.
    pub fn knows(&self, from: &Name) -> bool {
        self.sites.as_ref().is_some_and(|sites| sites.members.contains(from))
    }

    /// Whether this member could count `from`'s answer to the round: nothing is paid for others.
    pub fn wants_ok(&self, from: &Name, round: Round) -> bool {
        self.stage == Stage::Flushing
            && round == self.round
            && self.knows(from)
            && !self.out.contains(from)
            && !self.oks.contains_key(from)
    }

    /// Whether a message of `from` belongs to the last secure view: its sender was in it, has not gone apart, and has
    /// not answered a flush since.
    pub fn hears(&self, from: &Name) -> bool {
        let ended = self.finished.contains(from) && self.rules.enforces(Rule::SendingView);
        !ended && (self.companions.contains(from) || !self.rules.enforces(Rule::ClosedGroup))
    }

    /// Who of the last secure view has moved along with this member ever since.
    pub fn companions(&self) -> &BTreeSet<Name> {
        &self.companions
    }

    /// Who is out in the sites' view.
    pub fn out(&self) -> &BTreeSet<Name> {
        &self.out
    }

    /// Whom an answer of this member is to vote against.
    pub fn suspects(&self) -> Vec<Name> {
        self.suspects.iter().cloned().collect()
    }

    // Inputs.

    /// A view of the sites, in its place. One that is not newer, or that this member is not in, is no view.
    pub fn on_view(&mut self, now: Time, view: SiteView) -> Vec<Action> {
        let newer = self.sites.as_ref().is_none_or(|sites| sites.id < view.id);
        if !newer || !view.members.contains(&self.me) {
            return Vec::new();
        }
        let stays = |name: &Name| view.moved.contains(name) && view.members.contains(name);
        self.companions.retain(stays);
        self.suspects.retain(stays);
        self.out.clear();
        self.failures = 0;
        let (id, count) = (view.id, view.members.len());
        self.sites = Some(view);
        let actions = self.start(now, Round::first(id), now);
        if count <= MEMBERS_MAX {
            return actions;
        }
        // Somebody may have gone meanwhile, so the last view does not go on either.
        (self.stage, self.application, self.due) = (Stage::Idle, Application::Closed, None);
        vec![Action::Crowded(count)]
    }

    /// An answer to the round, in its place; `refused` if it is not acceptable, and why.
    pub fn on_ok(&mut self, now: Time, from: &Name, ok: FlushOk, refused: Option<OutWhy>) -> Vec<Action> {
        if !self.wants_ok(from, ok.round) {
            return Vec::new();
        }
        let twin = self.oks.iter().find(|(_, other)| other.key == ok.key);
        let twin = twin.map(|(name, other)| (name.clone(), other.previous.is_some()));
        // Of two with one key the one that was in a view before stays, or else the first.
        let second = twin.as_ref().is_some_and(|(_, has_past)| *has_past || ok.previous.is_none());
        let mut actions = Vec::new();
        if let Some(why) = refused.or(second.then_some(OutWhy::SameKey)) {
            self.put_out(from, why, &mut actions);
        } else {
            if let Some((twin, _)) = twin {
                self.oks.remove(&twin);
                for votes in self.votes.values_mut() {
                    votes.remove(&twin);
                }
                self.put_out(&twin, OutWhy::SameKey, &mut actions);
            }
            let suspects = ok.suspects.clone();
            // Who was late and came is waited for as anybody else is.
            self.suspects.remove(from);
            self.oks.insert(from.clone(), ok);
            self.finished.insert(from.clone());
            self.count(from, &suspects, &mut actions);
        }
        self.complete(now, &mut actions);
        actions
    }

    /// A vote of `from`, in its place.
    pub fn on_vote(&mut self, now: Time, from: &Name, round: Round, against: &[Name]) -> Vec<Action> {
        let mut actions = Vec::new();
        if round != self.round || !self.oks.contains_key(from) || self.out.contains(from) {
            return actions;
        }
        match self.stage {
            Stage::Flushing => {
                self.count(from, against, &mut actions);
                self.complete(now, &mut actions);
            }
            Stage::Agreeing => {
                self.count(from, against, &mut actions);
                if !actions.is_empty() {
                    actions.extend(self.start(now, self.round.next(), now));
                }
            }
            Stage::Idle | Stage::Secure => {}
        }
        actions
    }

    /// A request of `from` to begin again, in its place.
    pub fn on_again(&mut self, now: Time, from: &Name, round: Round, why: Why) -> Vec<Action> {
        let counts = match why {
            Why::Refresh => self.stage == Stage::Secure,
            Why::Failed => self.stage == Stage::Agreeing,
        };
        if round != self.round || !counts || !self.oks.contains_key(from) {
            return Vec::new();
        }
        let due = match why {
            Why::Refresh => self.secure_since + REFRESH_PAUSE,
            Why::Failed => {
                self.failures += 1;
                now + RETRY_PAUSE * (1 << (self.failures - 1).min(RETRY_DOUBLINGS))
            }
        };
        self.start(now, self.round.next(), due.max(now))
    }

    /// The application has finished what it was sending.
    pub fn on_application(&mut self) -> Vec<Action> {
        if !self.is_asked() {
            return Vec::new();
        }
        self.application = Application::Closed;
        self.answer()
    }

    /// The round has a key: its members, and who of them this member has been with without a break.
    pub fn on_secure(&mut self, now: Time) -> BTreeSet<Name> {
        self.stage = Stage::Secure;
        self.application = Application::Open;
        self.secure_since = now;
        self.failures = 0;
        let members: BTreeSet<Name> = self.oks.keys().cloned().collect();
        let moved = self.companions.intersection(&members).cloned().chain([self.me.clone()]).collect();
        self.suspects.retain(|name| !members.contains(name));
        self.companions = members;
        self.finished.clear();
        moved
    }

    /// When something is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        let asked = match self.application {
            Application::Asked(since) => Some(since + self.patience),
            _ => None,
        };
        let stage = match self.stage {
            Stage::Flushing if self.due.is_some() => self.due,
            Stage::Flushing if self.answered && !self.voted => Some(self.since + self.long_patience()),
            Stage::Agreeing if self.voted => Some(self.since + self.patience * 2),
            Stage::Agreeing => Some(self.since + self.patience),
            _ => None,
        };
        earliest(asked, stage)
    }

    /// Does what is due.
    pub fn on_wakeup(&mut self, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Application::Asked(since) = self.application
            && since + self.patience <= now
        {
            self.application = Application::Closed;
            self.put_out(&self.me.clone(), OutWhy::OwnApplication, &mut actions);
            return actions;
        }
        match self.stage {
            Stage::Flushing if self.due.is_some_and(|due| due <= now) => actions.extend(self.ask(now)),
            Stage::Flushing
                if self.answered && !self.voted && self.due.is_none() && self.since + self.long_patience() <= now =>
            {
                self.voted = true;
                let awaited = self.awaited();
                self.suspects.extend(awaited.iter().cloned());
                actions.push(Action::Vote(awaited.into_iter().collect()));
            }
            Stage::Agreeing if self.since + self.patience * if self.voted { 2 } else { 1 } <= now => {
                actions.push(Action::Overdue { again: self.voted });
                (self.since, self.voted) = if self.voted { (now, false) } else { (self.since, true) };
            }
            _ => {}
        }
        actions
    }

    /// A member whose application hangs puts itself out first; the others wait somewhat longer.
    fn long_patience(&self) -> Duration {
        self.patience + self.patience / 2
    }

    fn start(&mut self, now: Time, round: Round, due: Time) -> Vec<Action> {
        self.round = round;
        self.stage = Stage::Flushing;
        self.since = due;
        self.due = Some(due);
        (self.answered, self.voted) = (false, false);
        self.oks.clear();
        self.votes.clear();
        if due <= now { self.ask(now) } else { Vec::new() }
    }

    fn ask(&mut self, now: Time) -> Vec<Action> {
        self.due = None;
        match self.application {
            Application::Open => {
                self.application = Application::Asked(now);
                vec![Action::Ask]
            }
            Application::Asked(_) => Vec::new(),
            Application::Closed => self.answer(),
        }
    }

    fn answer(&mut self) -> Vec<Action> {
        if self.stage != Stage::Flushing || self.answered || self.due.is_some() {
            return Vec::new();
        }
        self.answered = true;
        vec![Action::Answer(self.round)]
    }

    /// Counts votes of `from`, and puts out whoever more than half of all are against.
    fn count(&mut self, from: &Name, against: &[Name], actions: &mut Vec<Action>) {
        for name in against {
            let flushing = self.stage == Stage::Flushing;
            let all = self.sites.as_ref().map_or(0, |sites| sites.members.len()).saturating_sub(self.out.len());
            let known = self.sites.as_ref().is_some_and(|sites| sites.members.contains(name));
            if !known || name == from || self.out.contains(name) || flushing == self.oks.contains_key(name) {
                continue;
            }
            // Half of those who were quick to answer could put out all who are slower, so all count who are not out. One
            // member alone puts nobody out, but where there are only two.
            let counts = if self.rules.enforces(Rule::Majority) { all } else { self.oks.len() };
            let enough = if all == 2 { 1 } else { (counts / 2 + 1).max(2) };
            let votes = self.votes.entry(name.clone()).or_default();
            votes.insert(from.clone());
            if votes.len() >= enough {
                self.put_out(name, OutWhy::Silent, actions);
            }
        }
    }

    fn put_out(&mut self, name: &Name, why: OutWhy, actions: &mut Vec<Action>) {
        if self.out.insert(name.clone()) {
            self.suspects.insert(name.clone());
            actions.push(Action::Out(name.clone(), why));
        }
    }

    fn complete(&mut self, now: Time, actions: &mut Vec<Action>) {
        let lacking = self.awaited().len();
        let enough = if self.rules.enforces(Rule::FlushComplete) { 0 } else { 1 };
        if self.stage == Stage::Flushing && lacking <= enough && self.oks.contains_key(&self.me) {
            self.stage = Stage::Agreeing;
            (self.since, self.voted) = (now, false);
            actions.push(Action::Install);
        }
    }
}
