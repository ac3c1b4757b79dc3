//! Who forms a ring: Operational, Gather, Commit, Recover.
//!
//! *Gather*: sites tell whom they hear both ways, and each chooses by the same rule ([`reach`]). *Commit*: once all
//! of a choice have made the same one, its lowest site sends a token twice round. *Recover*: those who come from one
//! old ring bring each other up to date, and everybody installs the new ring when everybody is.
//!
//! No ring id repeats: a ring's counter is above every counter that its members know, and durable before the commit
//! token goes on. While in a ring, sites go on saying hello, so that they notice who could join and who is heard by
//! only some of them.
//!
//! Source: cf. Totem's membership protocol (Amir, Moser, Melliar-Smith, Agarwal, Ciarfella 1995; deviation: a matrix
//! of mutual reachability in place of proc and fail sets, and recovery by states in place of a second token).

pub mod commit;
pub mod gather;
pub mod reach;
pub mod recover;
pub mod timeouts;

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_kernel::Time;
use ringfort_kernel::time::earliest;

use crate::evs::configuration::Regular;
use crate::ids::{RingId, SiteId, SiteSet};
use crate::limits::Config;
use crate::membership::commit::Forming;
use crate::membership::gather::Gather;
use crate::membership::reach::Neighbours;
use crate::membership::recover::Recovery;
use crate::ring::Failure;
use crate::rules::Rule;
use crate::site::step::{Class, Durable, Effect};
use crate::wire::{Frame, Hello, Newcomer, Recovering};

/// The longest a site in a ring waits before it gathers again for a neighbour's sake, when that changed nothing last
/// time.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// Why a site gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its process started.
    Started,
    /// Its ring failed.
    RingFailed(Failure),
    /// A site of its ring, or of the ring to be, gathers.
    PeerGathers(SiteId),
    /// Who hears whom has changed.
    Reach,
    /// The ring to be did not come about in time.
    FormingFailed,
    /// It was not scheduled for so long that the others have gone on.
    Overslept,
}

/// What membership asks of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ring is over; look for others.
    Gathering(Reason),
    /// The old ring ends by the rule of recovery, and the new one begins.
    Install(Install),
}

/// A ring to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The ring, its members, and who comes along.
    pub regular: Regular,
    /// Up to which packet of the old ring some mover knows that all its sites hold all.
    pub held_by_all: u64,
    /// The sites whose every message of the old ring is held: the movers, and those toward whom one of them has an
    /// obligation.
    pub whole: SiteSet,
}

/// What a step of membership brings.
#[derive(Debug, Default)]
pub struct Output {
    /// For the driver, in order.
    pub effects: Vec<Effect>,
    /// For the site.
    pub verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Phase {
    Operational(Operational),
    Gather(Gather),
    Commit(Forming),
    Recover(Recovery),
}

#[derive(Debug)]
struct Operational {
    members: SiteSet,
    /// In which life each member formed the ring.
    lives: BTreeMap<SiteId, u64>,
    /// What this site said last in recovery, for a member that missed it.
    last_word: Recovering,
    answered: Time,
    /// Since when the choice is another than the members.
    differs_since: Option<Time>,
    installed: Time,
}

/// The membership of one site.
#[derive(Debug)]
pub struct Membership {
    config: Config,
    durable: Durable,
    neighbours: Neighbours,
    phase: Phase,
    /// The ring that this site is in, or was in last.
    ring: RingId,
    hello_at: Time,
    hello_said: Time,
    choice_said: SiteSet,
    /// The members before this site gathered for a neighbour's sake, and how long it waits if that changes nothing.
    before: Option<SiteSet>,
    patience: Duration,
}

impl Membership {
    /// A site starts: it gathers. `durable` is what it kept, or nothing at its first start.
    pub fn new(config: &Config, durable: Durable, now: Time, out: &mut Output) -> Self {
        let durable = Durable { incarnation: durable.incarnation + 1, ..durable };
        if config.rules.enforces(Rule::CounterDurable) {
            out.effects.push(Effect::Persist(durable));
        }
        let mut membership = Membership {
            config: config.clone(),
            durable,
            neighbours: Neighbours::new(config, durable.incarnation),
            phase: Phase::Gather(Gather::new(now, config.me)),
            ring: RingId { counter: 0, representative: config.me.get() },
            hello_at: now,
            hello_said: now,
            choice_said: SiteSet::EMPTY,
            before: None,
            patience: Duration::ZERO,
        };
        membership.neighbours.forget_echoes();
        membership.say_hello(now, out);
        membership
    }

    /// The ring that this site is in, or was in last.
    pub fn ring(&self) -> RingId {
        self.ring
    }

    /// The members of the ring, while there is one.
    pub fn members(&self) -> Option<SiteSet> {
        match &self.phase {
            Phase::Operational(operational) => Some(operational.members),
            _ => None,
        }
    }

    /// Whether packets of the old ring are still taken as they come: until its recovery begins.
    pub fn takes_old_packets(&self) -> bool {
        !matches!(self.phase, Phase::Recover(_))
    }

    /// The life of this site's process.
    pub fn incarnation(&self) -> u64 {
        self.durable.incarnation
    }

    /// The ring is given up.
    pub fn gather(&mut self, now: Time, reason: Reason, out: &mut Output) {
        self.before = match (&self.phase, reason) {
            (Phase::Operational(operational), Reason::Reach | Reason::PeerGathers(_)) => Some(operational.members),
            (Phase::Operational(_), _) => None,
            _ => self.before,
        };
        self.phase = Phase::Gather(Gather::new(now, self.config.me));
        self.neighbours.forget_echoes();
        out.verdict = Some(Verdict::Gathering(reason));
        self.say_hello(now, out);
    }

    /// When it next wants to be woken.
    pub fn next_wakeup(&self) -> Option<Time> {
        let phase = match &self.phase {
            Phase::Operational(_) => None,
            Phase::Gather(gather) => gather.next_wakeup(&self.config),
            Phase::Commit(forming) => forming.next_wakeup(),
            Phase::Recover(recovery) => Some(recovery.next_wakeup()),
        };
        earliest(Some(self.hello_at), phase)
    }

    /// Does what is due.
    pub fn on_wakeup(&mut self, now: Time, old: &mut crate::ring::Ring, out: &mut Output) {
        if now >= self.hello_at {
            if matches!(self.phase, Phase::Commit(_)) {
                // Those that the commit token has not reached yet go by the last hello: that this site gathers.
                self.hello_at = now + self.config.timers.gather_interval;
            } else {
                self.say_hello(now, out);
            }
        }
        match &mut self.phase {
            Phase::Operational(_) => self.watch_reach(now, out),
            Phase::Gather(_) => self.consider(now, old, out),
            Phase::Commit(_) => self.wait_for_commit(now, out),
            Phase::Recover(_) => self.go_on_recovering(now, old, out),
        }
    }

    /// Another site says hello.
    pub fn on_hello(&mut self, now: Time, hello: Hello, old: &mut crate::ring::Ring, out: &mut Output) {
        let sender = hello.sender;
        let declines = self.declines(&hello);
        if !self.neighbours.on_hello(now, hello) {
            return;
        }
        if declines || self.has_left(now, sender) {
            self.gather(now, Reason::PeerGathers(sender), out);
            return;
        }
        match self.phase {
            Phase::Operational(_) => self.watch_reach(now, out),
            Phase::Gather(_) => self.consider(now, old, out),
            Phase::Commit(_) | Phase::Recover(_) => {}
        }
    }

    /// Whether a member of the ring that this site would form has come to another choice since: it will not write itself
    /// in, and whoever waits for it is missed by all others meanwhile.
    fn declines(&self, hello: &Hello) -> bool {
        let Phase::Commit(forming) = &self.phase else { return false };
        let members: SiteSet = forming.commit.members.iter().map(|newcomer| newcomer.site).collect();
        let is_first = forming.commit.ring.representative == self.config.me.get();
        is_first && hello.gathering && members.has(hello.sender) && hello.choice != members
    }

    /// Whether `site`, of this ring or of the ring to be, has given it up.
    fn has_left(&self, now: Time, site: SiteId) -> bool {
        let Some(hello) = self.neighbours.hello(site, now, self.window()) else { return false };
        let life_of = |newcomers: &[Newcomer]| newcomers.iter().find(|n| n.site == site).map(|n| n.incarnation);
        let (ring, life) = match &self.phase {
            Phase::Gather(_) => return false,
            Phase::Operational(operational) => (self.ring, operational.lives.get(&site).copied()),
            Phase::Commit(forming) => (forming.commit.ring, life_of(&forming.commit.members)),
            Phase::Recover(recovery) => (recovery.ring, life_of(&recovery.newcomers)),
        };
        let Some(life) = life else { return false };
        let restarted = life != 0 && hello.incarnation > life;
        restarted || (hello.gathering && hello.counter >= ring.counter) || hello.ring.counter > ring.counter
    }

    /// In a ring: gathers when all the hellos together speak for another set, and go on doing so; at once when a site that
    /// is no member gathers meanwhile.
    fn watch_reach(&mut self, now: Time, out: &mut Output) {
        let window = self.window();
        let choice = self.neighbours.choice(now, window, false);
        let hears = self.neighbours.hears(now, window);
        let interval = self.config.timers.hello_interval;
        let patience = self.patience;
        let Phase::Operational(operational) = &mut self.phase else { return };
        let settled = now.since(operational.installed) >= interval / 2;
        let gathers = |site: SiteId| self.neighbours.hello(site, now, interval).is_some_and(|hello| hello.gathering);
        let is_called = hears.minus(operational.members).iter().any(gathers);
        if is_called || choice != self.choice_said {
            // Whoever gathers must know soon who hears it; and whoever is chosen, that it is.
            self.hello_at = self.hello_at.min(self.hello_said + self.config.timers.gather_interval);
        }
        // A site in a ring that would not have this one cannot be won, however this one sees it: it hears others that are
        // not heard here. And whoever gathers elsewhere changes nothing while the choice stands. Otherwise a site that
        // not all members hear would keep them, and they it, from ever standing.
        let is_willing = |site: SiteId| {
            let hello = self.neighbours.hello(site, now, window);
            hello.is_some_and(|hello| hello.gathering || hello.choice.has(self.config.me))
        };
        let gains = choice.minus(operational.members).iter().any(is_willing);
        if choice.covers(operational.members) && !gains {
            operational.differs_since = None;
            return;
        }
        // Whoever gathers has been patient already, and must not be left to form a ring by itself.
        if settled && is_called {
            self.gather(now, Reason::Reach, out);
            return;
        }
        let since = *operational.differs_since.get_or_insert(now);
        let delay = if choice.covers(operational.members) { interval } else { interval * 5 };
        if now.since(since) >= delay && now.since(operational.installed) >= patience {
            self.gather(now, Reason::Reach, out);
        }
    }

    fn enter_ring(&mut self, now: Time, members: SiteSet, newcomers: &[Newcomer], last_word: Recovering) {
        self.patience = match self.before.take() {
            Some(before) if before == members => {
                (self.patience * 2).clamp(self.config.timers.hello_interval * 2, PATIENCE_MAX)
            }
            _ => Duration::ZERO,
        };
        self.ring = last_word.ring;
        self.phase = Phase::Operational(Operational {
            members,
            lives: newcomers.iter().map(|newcomer| (newcomer.site, newcomer.incarnation)).collect(),
            last_word,
            answered: now,
            differs_since: None,
            installed: now,
        });
    }

    fn window(&self) -> Duration {
        match self.phase {
            Phase::Gather(_) => self.config.timers.gather_interval * 8,
            _ => self.config.timers.hello_interval * 6,
        }
    }

    fn say_hello(&mut self, now: Time, out: &mut Output) {
        let window = self.window();
        let gathering = matches!(self.phase, Phase::Gather(_));
        let choice = match &self.phase {
            Phase::Gather(gather) => gather.choice,
            _ => self.neighbours.choice(now, window, false),
        };
        let (nonce, echoes) = self.neighbours.next_hello(now);
        let mut hello = Hello {
            sender: self.config.me,
            incarnation: self.durable.incarnation,
            nonce,
            counter: self.durable.counter,
            gathering,
            ring: self.ring,
            hears: self.neighbours.hears(now, window),
            choice,
            echoes,
            padding: Vec::new(),
        };
        let bytes = Frame::Hello(hello.clone()).encode().len();
        hello.padding = vec![0; self.config.frame_bytes.saturating_sub(bytes)];
        let to = self.config.sites.without(self.config.me);
        if !to.is_empty() {
            let frame = Frame::Hello(hello).encode();
            out.effects.push(Effect::Send { to, class: Class::Membership, frame });
        }
        let timers = self.config.timers;
        self.choice_said = choice;
        self.hello_said = now;
        self.hello_at = now + if gathering { timers.gather_interval } else { timers.hello_interval };
    }

    /// Takes the counter of a ring that this site helps to form, durably.
    fn use_counter(&mut self, counter: u64, out: &mut Output) {
        self.durable.counter = counter;
        if self.config.rules.enforces(Rule::CounterDurable) {
            out.effects.push(Effect::Persist(self.durable));
        }
    }
}
