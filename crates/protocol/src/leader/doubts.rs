//! Whether a member is lost: leaders settle that among themselves before any of them casts a vote, which stands for ever.
//!
//! A vote cannot be taken back, since others may have accepted what they counted it for. So a leader that votes alone
//! in an outage, because a hacked one agreed with it and with nobody else, would leave its vote behind for the day on
//! which the hacked one wants the member out. Leaders therefore say first, on their links, that they take the member for
//! *lost*. Such a word is kept nowhere but in memory. It spreads as votes do:
//!
//! - who is deaf, and counts n-f that are, says it;
//! - f+1 that say it contain an honest one, and every leader joins in;
//! - n-f that say it, and a leader votes for the end of the stay.
//!
//! An honest leader that votes has thus heard n-2f honest ones, which is f+1 at least: all others hear them too, and
//! vote as well. Where this does not come about, the words end with the outage. A leader that hears the member again,
//! and knows of no more than f such words, says that it is *found*; this spreads in the same way, and with n-f the next *life*
//! of the stay begins. What was said in an earlier life counts for nothing then. Lives are no part of a view: nothing
//! that members see changes with them. f hacked leaders begin none, and one doubt begins one at most.
//!
//! What remains is the race between the two: a leader may count n-f that say *lost* in the instant in which the others
//! count n-f that say *found*. Without a clock that all share no protocol excludes that, unless an end can be undone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{LeaderId, MemberId};
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::unheard::Doubt;

/// Time between two lives of a stay that this leader asks for of its own accord, at least.
const LIFE_MIN: Duration = Duration::from_secs(4);

/// Stays of which somebody says that they may be lost, or said so.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    stays: BTreeMap<MemberId, Doubted>,
    /// Where saying them again goes on.
    told: Option<MemberId>,
}

#[derive(Debug, Default)]
struct Doubted {
    life: u64,
    lost: bool,
    found: bool,
    /// Since when anybody takes the member for lost in this life.
    since: Option<Time>,
    began: Option<Time>,
    /// Somebody seems not to know which life it is.
    is_news: bool,
    words: BTreeMap<LeaderId, Word>,
}

/// The last word of another leader.
#[derive(Debug)]
struct Word {
    at: Time,
    life: u64,
    lost: bool,
    found: bool,
}

/// What follows for one stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// This leader has something new to say.
    pub says: bool,
    /// n-f leaders, this one among them, take the member for lost.
    pub is_lost: bool,
}

impl Doubted {
    /// Other leaders that take the member for lost, now and in this life. Who is in a later one is deaf now, too.
    fn lost_by(&self, since: Option<Time>, rules: &Rules) -> usize {
        let counts = |word: &&Word| {
            let is_of_now = since.is_none_or(|since| word.at >= since);
            let is_of_life = word.life >= self.life || !rules.enforces(Rule::LostLapses);
            word.lost && is_of_now && is_of_life
        };
        self.words.values().filter(counts).count()
    }

    /// Other leaders that want the next life, or are in it.
    fn found_by(&self) -> usize {
        let counts = |word: &&Word| word.life > self.life || word.life == self.life && word.found;
        self.words.values().filter(counts).count()
    }

    fn begin(&mut self, now: Time, life: u64) {
        let words = std::mem::take(&mut self.words);
        let doubted = words.values().any(|word| word.lost && word.life >= life);
        *self =
            Doubted { life, since: doubted.then_some(now), began: Some(now), is_news: true, words, ..Self::default() };
    }

    /// Joins in where f+1 leaders say that the member is found, and begins the life that n-f say, or f+1 are in.
    fn go_on(&mut self, now: Time, rules: &Rules) -> bool {
        let before = (self.life, self.found);
        let mut lives: Vec<u64> = self.words.values().map(|word| word.life).collect();
        lives.sort_unstable_by(|a, b| b.cmp(a));
        let reached = lives.get(rules.catch_up().saturating_sub(1)).filter(|life| **life > self.life);
        if let Some(life) = reached.copied() {
            self.begin(now, life);
        }
        let by = self.found_by();
        self.found |= by >= rules.amplify();
        if self.found && by + 1 >= rules.accept() {
            self.begin(now, self.life.saturating_add(1));
        }
        (self.life, self.found) != before
    }
}

impl Doubts {
    /// A link to a leader is new: what it said is over.
    pub fn on_link(&mut self, peer: LeaderId) {
        self.stays.values_mut().for_each(|doubted| {
            doubted.words.remove(&peer);
        });
    }

    /// The stay is over.
    pub fn forget(&mut self, stay: &MemberId) {
        self.stays.remove(stay);
    }

    /// Stays that anything was said of.
    pub fn stays(&self) -> Vec<MemberId> {
        self.stays.keys().cloned().collect()
    }

    /// A leader's word on a stay that is in the group.
    pub fn note(&mut self, now: Time, from: LeaderId, said: &Doubt) {
        let doubted = self.stays.entry(said.stay.clone()).or_default();
        doubted.is_news |= said.life < doubted.life;
        if said.lost && said.life >= doubted.life {
            doubted.since.get_or_insert(now);
        }
        doubted.words.insert(from, Word { at: now, life: said.life, lost: said.lost, found: said.found });
    }

    /// This leader does not hear the member, and n-f say the same.
    pub fn suspect(&mut self, now: Time, stay: &MemberId) {
        let doubted = self.stays.entry(stay.clone()).or_default();
        doubted.since.get_or_insert(now);
        doubted.lost = true;
    }

    /// This leader has heard the member last at a time, which is not long ago: a doubt from before is over for it, unless f+1
    /// leaders have it.
    pub fn reassure(&mut self, now: Time, stay: &MemberId, heard: Time, fresh: Option<Time>, rules: &Rules) {
        let Some(doubted) = self.stays.get_mut(stay) else { return };
        let again = doubted.since.is_some_and(|since| heard > since);
        let few = doubted.lost_by(fresh, rules) + usize::from(doubted.lost) < rules.amplify();
        let rested = doubted.began.is_none_or(|began| now >= began + LIFE_MIN);
        doubted.found |= again && few && rested;
    }

    /// Draws what follows from what is known of a stay; of what others said, that they take it for lost counts since a time.
    pub fn settle(&mut self, now: Time, stay: &MemberId, fresh: Option<Time>, rules: &Rules) -> Settled {
        let Some(doubted) = self.stays.get_mut(stay) else { return Settled::default() };
        let mut says = rules.enforces(Rule::LostLapses) && doubted.go_on(now, rules);
        let others = doubted.lost_by(fresh, rules);
        if !doubted.lost && others >= rules.amplify() {
            (doubted.lost, says) = (true, true);
        }
        Settled { says, is_lost: doubted.lost && others + 1 >= rules.lost() }
    }

    /// What this leader says of a stay.
    pub fn word(&self, stay: &MemberId) -> Option<Doubt> {
        let Doubted { life, lost, found, .. } = *self.stays.get(stay)?;
        Some(Doubt { stay: stay.clone(), life, lost, found })
    }

    /// What is to be said again: all that is not settled, and lives that somebody does not know of, so many at a time.
    pub fn say_again(&mut self, most: usize) -> Vec<Doubt> {
        let open = |doubted: &Doubted| doubted.lost || doubted.found || doubted.is_news;
        let open: Vec<MemberId> = self.stays.iter().filter(|(_, d)| open(d)).map(|(stay, _)| stay.clone()).collect();
        let (next, first): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|stay| self.told.as_ref().is_none_or(|told| stay > told));
        let said: Vec<MemberId> = next.into_iter().chain(first).take(most).collect();
        self.told = said.last().cloned();
        for stay in &said {
            self.stays.entry(stay.clone()).and_modify(|doubted| doubted.is_news = false);
        }
        said.iter().filter_map(|stay| self.word(stay)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::ids::Incarnation;

    fn stay() -> MemberId {
        MemberId { user: "ana".parse().unwrap(), incarnation: Incarnation(1) }
    }

    /// The honest leaders of a group, whose last f leaders are hacked.
    struct Group {
        rules: Rules,
        now: Time,
        honest: BTreeMap<LeaderId, Doubts>,
        mail: VecDeque<(LeaderId, LeaderId, Doubt)>,
        voted: BTreeSet<LeaderId>,
        /// When each last heard the member.
        heard: BTreeMap<LeaderId, Time>,
    }

    impl Group {
        fn new(n: u8, f: u8) -> Self {
            let rules = Rules::new(n, f, f + 1).unwrap();
            let honest = LeaderId::all(n - f).map(|leader| (leader, Doubts::default())).collect();
            let now = Time::from_start(Duration::from_secs(100));
            let (mail, voted, heard) = (VecDeque::new(), BTreeSet::new(), BTreeMap::new());
            Group { rules, now, honest, mail, voted, heard }
        }

        fn hacked(&self) -> impl Iterator<Item = LeaderId> + use<> {
            LeaderId::all(self.rules.n()).skip(usize::from(self.rules.n() - self.rules.f()))
        }

        fn settle(&mut self, leader: LeaderId) {
            let fresh = Some(Time::ZERO + self.now.since(Time::ZERO).saturating_sub(Duration::from_secs(5)));
            let Some(doubts) = self.honest.get_mut(&leader) else { return };
            let settled = doubts.settle(self.now, &stay(), fresh, &self.rules);
            if settled.is_lost {
                self.voted.insert(leader);
            }
            if settled.says {
                self.tell(leader);
            }
        }

        fn tell(&mut self, from: LeaderId) {
            let Some(said) = self.honest.get(&from).and_then(|doubts| doubts.word(&stay())) else { return };
            let others: Vec<LeaderId> = self.honest.keys().copied().filter(|to| *to != from).collect();
            self.mail.extend(others.into_iter().map(|to| (from, to, said.clone())));
        }

        fn say(&mut self, from: LeaderId, to: LeaderId, life: u64, lost: bool, found: bool) {
            self.mail.push_back((from, to, Doubt { stay: stay(), life, lost, found }));
        }

        fn hacked_say_lost_to_all(&mut self) {
            let all: Vec<LeaderId> = self.honest.keys().copied().collect();
            for (from, to) in self.hacked().flat_map(|from| all.iter().map(move |to| (from, *to))).collect::<Vec<_>>() {
                self.say(from, to, u64::MAX, true, false);
            }
            self.deliver();
        }

        fn deliver_at(&mut self, place: usize) {
            // Each link keeps its order.
            let Some((from, to, _)) = self.mail.get(place).cloned() else { return };
            let first = self.mail.iter().position(|(a, b, _)| (*a, *b) == (from, to)).unwrap_or(place);
            let Some((from, to, said)) = self.mail.remove(first) else { return };
            if let Some(doubts) = self.honest.get_mut(&to) {
                doubts.note(self.now, from, &said);
                self.settle(to);
            }
        }

        fn deliver(&mut self) {
            while !self.mail.is_empty() {
                self.deliver_at(0);
            }
        }

        fn suspect(&mut self, leader: LeaderId) {
            if let Some(doubts) = self.honest.get_mut(&leader) {
                doubts.suspect(self.now, &stay());
            }
            self.tell(leader);
            self.settle(leader);
        }

        /// A period passes at a leader, which hears the member or does not.
        fn tick(&mut self, leader: LeaderId) {
            let fresh = Some(Time::ZERO + self.now.since(Time::ZERO).saturating_sub(Duration::from_secs(5)));
            if let (Some(doubts), Some(heard)) = (self.honest.get_mut(&leader), self.heard.get(&leader)) {
                doubts.reassure(self.now, &stay(), *heard, fresh, &self.rules);
            }
            self.settle(leader);
            let again = self.honest.get_mut(&leader).map(|doubts| doubts.say_again(1)).unwrap_or_default();
            if !again.is_empty() {
                self.tell(leader);
            }
        }

        /// Periods in which all hear the member.
        fn good_periods(&mut self, count: u64) {
            for _ in 0..count {
                self.now = self.now + Duration::from_millis(500);
                for leader in self.honest.keys().copied().collect::<Vec<_>>() {
                    self.heard.insert(leader, self.now);
                    self.tick(leader);
                    self.deliver();
                }
            }
        }

        fn lives(&self) -> BTreeSet<u64> {
            self.honest.values().map(|doubts| doubts.word(&stay()).map_or(0, |word| word.life)).collect()
        }
    }

    const SIZES: [(u8, u8); 4] = [(4, 1), (5, 1), (7, 2), (10, 3)];

    #[test]
    fn f_honest_leaders_that_took_a_member_for_lost_leave_nothing_behind() {
        for (n, f) in SIZES {
            let mut group = Group::new(n, f);
            LeaderId::all(f).for_each(|leader| group.suspect(leader));
            group.deliver();
            assert!(group.voted.is_empty(), "{n}: too few");
            group.good_periods(3);
            assert_eq!(group.lives(), BTreeSet::from([1]), "{n}");
            for _ in 0..20 {
                group.hacked_say_lost_to_all();
                group.good_periods(1);
            }
            assert!(group.voted.is_empty(), "{n}: {:?}", group.voted);
        }
    }

    #[test]
    fn while_the_outage_lasts_all_honest_leaders_follow_who_counts_enough() {
        for (n, f) in SIZES {
            let mut group = Group::new(n, f);
            LeaderId::all(f).for_each(|leader| group.suspect(leader));
            group.hacked_say_lost_to_all();
            assert_eq!(group.voted.len(), usize::from(n - f), "{n}: nobody votes alone");
            let mut group = Group::new(n, f);
            LeaderId::all(n - f).for_each(|leader| group.suspect(leader));
            group.deliver();
            assert_eq!(group.voted.len(), usize::from(n - f), "{n}: without the hacked ones too");
        }
    }

    #[test]
    fn hacked_leaders_alone_begin_no_life_and_take_nobody_for_lost() {
        for (n, f) in SIZES {
            let mut group = Group::new(n, f);
            let all: Vec<LeaderId> = group.honest.keys().copied().collect();
            for life in [0, 1, u64::MAX] {
                for (from, to) in
                    group.hacked().flat_map(|from| all.iter().map(move |to| (from, *to))).collect::<Vec<_>>()
                {
                    group.say(from, to, life, life == 1, true);
                }
                group.deliver();
                // Nobody has heard the member since: this is not yet a doubt that is over.
                all.iter().for_each(|leader| group.tick(*leader));
                group.deliver();
                assert_eq!((group.lives(), group.voted.len()), (BTreeSet::from([0]), 0), "{n} {life}");
            }
        }
    }

    #[test]
    fn hacked_leaders_doubts_begin_no_more_lives_than_one_in_a_while() {
        let mut group = Group::new(4, 1);
        let periods = 200u32;
        for _ in 0..periods {
            group.hacked_say_lost_to_all();
            group.good_periods(1);
        }
        let most = 1 + u128::from(periods) * 500 / LIFE_MIN.as_millis();
        assert!(group.lives().iter().all(|life| u128::from(*life) <= most), "{:?}", group.lives());
        assert!(group.voted.is_empty());
    }

    #[test]
    fn who_comes_late_learns_the_life_from_f_plus_1_others() {
        let mut group = Group::new(7, 2);
        group.suspect(LeaderId::all(1).next().unwrap());
        group.deliver();
        group.good_periods(3);
        let late = LeaderId::all(3).last().unwrap();
        group.honest.insert(late, Doubts::default());
        group.honest.values_mut().for_each(|doubts| doubts.on_link(late));
        group.suspect(late);
        group.deliver();
        group.good_periods(2);
        assert_eq!(group.lives(), BTreeSet::from([1]));
        assert!(group.voted.is_empty());
    }

    proptest! {
        /// Whatever order words come in, and whatever hacked leaders tell whom: lives end up equal, nobody votes once they do,
        /// and nobody honest votes that has not heard n-2f honest leaders.
        #[test]
        fn lives_end_up_equal_in_whatever_order_words_come(
            first in 1u8..5,
            order in prop::collection::vec((0usize..64, 0u8..4, 0u64..3, any::<bool>(), any::<bool>()), 0..80),
        ) {
            let mut group = Group::new(7, 2);
            let hacked: Vec<LeaderId> = group.hacked().collect();
            LeaderId::all(first.min(2)).for_each(|leader| group.suspect(leader));
            let honest: Vec<LeaderId> = group.honest.keys().copied().collect();
            for (place, who, life, lost, found) in order {
                let to = honest[place % honest.len()];
                match who {
                    0 => group.say(hacked[place % 2], to, life, lost, found),
                    1 => {
                        group.now = group.now + Duration::from_millis(50);
                        group.heard.insert(to, group.now);
                        group.tick(to);
                    }
                    _ => group.deliver_at(place % group.mail.len().max(1)),
                }
                if !group.voted.is_empty() {
                    let takes = |doubts: &&Doubts| doubts.word(&stay()).is_some_and(|word| word.lost || word.life > 0);
                    prop_assert!(group.honest.values().filter(takes).count() >= 3, "n-2f honest ones");
                }
            }
            group.deliver();
            group.good_periods(12);
            prop_assert_eq!(group.lives().len(), 1, "{:?}", group.lives());
            let voted = group.voted.clone();
            for _ in 0..12 {
                group.hacked_say_lost_to_all();
                group.good_periods(1);
            }
            if voted.is_empty() {
                prop_assert!(group.voted.is_empty(), "{:?}", group.voted);
            }
        }
    }
}
