//! The demo's view of everything: what members and leaders report, and a way to wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringfort_protocol::ViewId;
use ringfort_protocol::member::Confirmation;
use ringfort_protocol::view::Cause;
use tokio::sync::watch;

use super::ledger::Ledger;
use super::story::{Story, Tone};
use crate::adversary::Kind;

/// How long after its recovery a leader may still be blamed for what it did before.
const BLAME_GRACE: Duration = Duration::from_secs(4);
/// How long a leader may be blamed whose link key an attacker has.
const SUSPECT_FOR: Duration = Duration::from_secs(120);

/// What runs on a leader's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An honest leader.
    Honest,
    /// An attacker.
    Hacked(Kind),
    /// Nothing.
    Stopped,
}

/// What is known of a leader.
#[derive(Clone, Debug)]
pub struct LeaderState {
    /// What runs there.
    pub mode: Mode,
    /// What the attacker there has tried.
    pub tried: BTreeMap<String, u64>,
    /// Who saw which offence of the attacker there, and how often.
    pub seen: BTreeMap<String, BTreeMap<String, u64>>,
    /// The same without what may still be of an attacker that was there before: for people's eyes.
    pub fresh: BTreeMap<String, BTreeMap<String, u64>>,
    /// When the attacker there took it over.
    pub taken_over: Option<Instant>,
    /// Offences of attackers that were there before: for a moment, a sight of one may still be of theirs.
    seen_before: BTreeSet<String>,
    /// Until when it may rightly be blamed.
    bad_until: Option<Instant>,
}

/// What is known of a member's present stay.
#[derive(Clone, Debug, Default)]
pub struct MemberState {
    /// Which stay, from 1; the demo's own count.
    pub stay: u64,
    /// Whether it is in.
    pub present: bool,
    /// Its view.
    pub view: Option<ViewId>,
    /// Who is in it.
    pub members: BTreeSet<String>,
    /// Whether n-f leaders confirm it.
    pub confirmed: bool,
    /// The same in three states.
    pub confirmation: Confirmation,
    /// Which leaders confirm it.
    pub answers: BTreeMap<u8, bool>,
    /// Keys installed in all stays.
    pub keys: u64,
    /// Messages that its group gave up.
    pub gaps: u64,
}

/// One party saw an offence of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sight {
    /// Who saw it: `leader 2`, or a member's name.
    pub by: String,
    /// Whose it was: `leader 3`, `member zoe`, `outsider` with the name it gave.
    pub whose: String,
    /// The offence in a word.
    pub offence: String,
}

impl Sight {
    /// Of these words.
    pub fn new(by: &str, whose: &str, offence: &str) -> Self {
        Sight { by: by.to_owned(), whose: whose.trim().to_owned(), offence: offence.to_owned() }
    }
}

/// Everything.
pub struct State {
    /// Messages.
    pub ledger: Ledger,
    /// Members, by name.
    pub members: BTreeMap<String, MemberState>,
    /// Leaders, from 1.
    pub leaders: Vec<LeaderState>,
    /// Refusals in all, by offence.
    pub refusals: BTreeMap<String, u64>,
    /// Refusals since the attack began, of the attacked leader.
    pub caught: BTreeMap<String, u64>,
    /// Honest leaders and members that were blamed for what only a liar does.
    pub wronged: BTreeSet<String>,
    /// Users that members saw go, or that were told so themselves, and why; and when last.
    pub departed: BTreeMap<(String, Cause), Instant>,
    /// What was seen of whom, and how often.
    pub sights: BTreeMap<Sight, u64>,
    /// Members that attack: they may rightly be blamed.
    pub insiders: BTreeSet<String>,
    /// Whether members talk.
    pub talking: bool,
    told: BTreeSet<String>,
    epoch_told: u64,
}

/// Where all reports come together.
pub struct Desk {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// The narrator.
    pub story: Story,
}

impl Desk {
    /// A desk for a group of `n` leaders.
    pub fn new(n: u8, story: Story) -> Arc<Self> {
        let leader = LeaderState {
            mode: Mode::Stopped,
            tried: BTreeMap::new(),
            seen: BTreeMap::new(),
            fresh: BTreeMap::new(),
            taken_over: None,
            seen_before: BTreeSet::new(),
            bad_until: None,
        };
        let state = State {
            ledger: Ledger::default(),
            members: BTreeMap::new(),
            leaders: vec![leader; usize::from(n)],
            refusals: BTreeMap::new(),
            caught: BTreeMap::new(),
            wronged: BTreeSet::new(),
            departed: BTreeMap::new(),
            sights: BTreeMap::new(),
            insiders: BTreeSet::new(),
            talking: false,
            told: BTreeSet::new(),
            epoch_told: 0,
        };
        Arc::new(Desk { state: Mutex::new(state), changed: watch::channel(()).0, story })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes whoever waits.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.changed.send_replace(());
        outcome
    }

    /// Looks without waking anybody.
    pub fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.lock())
    }

    /// Waits until something is so; false if it is not within `limit`.
    pub async fn until(&self, limit: Duration, mut so: impl FnMut(&mut State) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if so(&mut self.lock()) {
                return true;
            }
            match tokio::time::timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                // Time itself may have made it so.
                Ok(Err(_)) | Err(_) => return so(&mut self.lock()),
            }
        }
    }

    /// An honest party saw an offence.
    pub fn saw(&self, sight: Sight) {
        self.with(|state| {
            let leader = sight.whose.strip_prefix("leader ").and_then(|number| number.parse::<usize>().ok());
            let place = leader.and_then(|number| number.checked_sub(1));
            if let Some(leader) = place.and_then(|place| state.leaders.get_mut(place)).filter(|l| l.is_bad()) {
                leader.saw(&sight);
            }
            *state.sights.entry(sight).or_default() += 1;
        });
    }

    /// Somebody refused something, with the offence in a word. `about` is a leader, if it is one.
    pub fn refused(&self, by: &str, about: Option<u8>, word: &str, deviation: bool, text: &str) {
        let first = self.with(|state| {
            match about.and_then(|leader| state.leader(leader)) {
                Some(leader) if leader.is_bad() => *state.caught.entry(word.to_owned()).or_default() += 1,
                // Silence of an honest leader: it is down, or was a moment ago.
                Some(_) if !deviation => return false,
                Some(_) => {
                    state.wronged.insert(format!("{by} {text}"));
                }
                None => {}
            }
            *state.refusals.entry(word.to_owned()).or_default() += 1;
            state.told.insert(format!("{by} {about:?} {word}"))
        });
        match about {
            _ if !first => {}
            Some(leader) => self.story.caught(by, leader, word, text),
            None => self.story.line(by, Tone::Caught, text),
        }
    }

    /// A new chapter: what was told once may be told again.
    pub fn chapter(&self, title: &str) {
        self.with(|state| state.told.clear());
        self.story.chapter(title);
    }

    /// Whether nobody has told yet of this epoch.
    pub fn is_news(&self, epoch: u64) -> bool {
        self.look(|state| {
            let news = state.epoch_told < epoch;
            state.epoch_told = epoch.max(state.epoch_told);
            news
        })
    }
}

impl State {
    /// A leader's state.
    pub fn leader(&self, number: u8) -> Option<&LeaderState> {
        self.leaders.get(usize::from(number).checked_sub(1)?)
    }

    /// How often an offence of somebody was seen, by leaders and members.
    pub fn seen(&self, whose: &str, offence: &str) -> u64 {
        let matching = self.sights.iter().filter(|(sight, _)| sight.whose == whose && sight.offence == offence);
        matching.map(|(_, count)| count).sum()
    }

    /// This leader may rightly be blamed from now on, though its process is honest: an attacker has its link key.
    pub fn suspect(&mut self, number: u8) {
        let place = usize::from(number).checked_sub(1);
        if let Some(leader) = place.and_then(|place| self.leaders.get_mut(place)) {
            leader.bad_until = Some(Instant::now() + SUSPECT_FOR);
        }
    }

    /// Another program runs on a leader's machine.
    pub fn set_mode(&mut self, number: u8, mode: Mode) {
        let Some(place) = usize::from(number).checked_sub(1) else { return };
        let Some(leader) = self.leaders.get_mut(place) else { return };
        if leader.mode != Mode::Honest {
            leader.bad_until = Some(Instant::now() + BLAME_GRACE);
        }
        if matches!(mode, Mode::Hacked(_)) {
            leader.tried.clear();
            let seen = std::mem::take(&mut leader.seen);
            leader.seen_before.extend(seen.into_keys());
            leader.fresh.clear();
            leader.taken_over = Some(Instant::now());
            self.caught.clear();
        }
        leader.mode = mode;
        // Nobody hears a machine that has just been started.
        self.members.values_mut().for_each(|member| {
            member.answers.remove(&number);
        });
    }

    /// Members that are in now.
    pub fn present(&self) -> impl Iterator<Item = (&String, &MemberState)> {
        self.members.iter().filter(|(_, m)| m.present)
    }

    /// Somebody is out, for this reason.
    pub fn gone(&mut self, user: &str, cause: Cause) {
        self.departed.insert((user.to_owned(), cause), Instant::now());
    }

    /// Whether all present members are in one confirmed view, with exactly `names` in it.
    pub fn agree(&self, names: &BTreeSet<String>) -> bool {
        let mut views = self.present().map(|(_, m)| (m.view, m.confirmed, &m.members));
        let Some((first, true, members)) = views.next() else { return false };
        first.is_some() && members == names && views.all(|(view, confirmed, _)| confirmed && view == first)
    }

    /// Whether all present members are in one confirmed view, with at least `names` in it.
    pub fn agree_at_least(&self, names: &BTreeSet<String>) -> bool {
        let mut views = self.present().map(|(_, m)| (m.view, m.confirmed, &m.members));
        let Some((first, true, members)) = views.next() else { return false };
        first.is_some() && names.is_subset(members) && views.all(|(view, confirmed, _)| confirmed && view == first)
    }

    /// Whether all present members say that this leader confirms their view.
    pub fn all_hear(&self, leader: u8) -> bool {
        self.present().all(|(_, m)| m.answers.get(&leader) == Some(&true))
    }

    /// Whether no present member does.
    pub fn none_hears(&self, leader: u8) -> bool {
        self.present().all(|(_, m)| m.answers.get(&leader) != Some(&true))
    }

    /// Keys installed by all members.
    pub fn keys(&self) -> u64 {
        self.members.values().map(|m| m.keys).sum()
    }

    /// What an attacker tried, in all.
    pub fn attempts(&self, leader: u8) -> u64 {
        self.leader(leader).map_or(0, |l| l.tried.values().sum())
    }
}

impl LeaderState {
    fn saw(&mut self, sight: &Sight) {
        let count = |seen: &mut BTreeMap<String, BTreeMap<String, u64>>| {
            *seen.entry(sight.offence.clone()).or_default().entry(sight.by.clone()).or_default() += 1;
        };
        count(&mut self.seen);
        let just_taken_over = self.taken_over.is_some_and(|then| then.elapsed() < BLAME_GRACE);
        if !(just_taken_over && self.seen_before.contains(&sight.offence)) {
            count(&mut self.fresh);
        }
    }

    /// Whether it is, or was until a moment ago, not an honest running leader.
    pub fn is_bad(&self) -> bool {
        self.mode != Mode::Honest || self.bad_until.is_some_and(|until| Instant::now() < until)
    }
}
