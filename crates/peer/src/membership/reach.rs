//! Who hears whom: the matrix of links that work both ways, and the choice that all who know it make alike.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ringfort_kernel::Time;

use crate::ids::{SiteId, SiteSet};
use crate::limits::Config;
use crate::rules::Rule;
use crate::wire::{Echo, Hello};

/// Up to so many sites the largest clique is found exactly; above, by degree.
const EXACT_MAX: usize = 12;
/// Hellos whose time of sending is remembered.
const SENT_MAX: usize = 64;

#[derive(Debug)]
struct Heard {
    hello: Hello,
    at: Time,
    /// When this site sent the newest hello that the other says it heard, and its nonce.
    echoed: Option<(u64, Time)>,
}

/// What this site knows of the others.
#[derive(Debug)]
pub struct Neighbours {
    config: Config,
    incarnation: u64,
    nonce: u64,
    since: u64,
    sent: VecDeque<(u64, Time)>,
    heard: BTreeMap<SiteId, Heard>,
}

impl Neighbours {
    /// Nobody was heard yet.
    pub fn new(config: &Config, incarnation: u64) -> Self {
        let (sent, heard) = (VecDeque::new(), BTreeMap::new());
        Neighbours { config: config.clone(), incarnation, nonce: 0, since: 0, sent, heard }
    }

    /// From now on only what answers later hellos counts as an echo.
    pub fn forget_echoes(&mut self) {
        self.since = self.nonce + 1;
    }

    /// Takes a hello that is newer than all of its sender before it.
    pub fn on_hello(&mut self, now: Time, mut hello: Hello) -> bool {
        let sender = hello.sender;
        if sender == self.config.me || !self.config.sites.has(sender) {
            return false;
        }
        let life = |hello: &Hello| (hello.incarnation, hello.nonce);
        if self.heard.get(&sender).is_some_and(|heard| life(&heard.hello) >= life(&hello)) {
            return false;
        }
        let mine = hello.echoes.iter().find(|echo| echo.site == self.config.me && echo.incarnation == self.incarnation);
        let nonce = mine.map(|echo| echo.nonce);
        let echoed = self.sent.iter().rev().find(|(sent, _)| nonce.is_some_and(|nonce| *sent <= nonce)).copied();
        (hello.padding, hello.echoes) = (Vec::new(), Vec::new());
        self.heard.insert(sender, Heard { hello, at: now, echoed });
        true
    }

    /// The newest hello of `site`, if it came within `window`.
    pub fn hello(&self, site: SiteId, now: Time, window: Duration) -> Option<&Hello> {
        self.heard.get(&site).filter(|heard| now.since(heard.at) <= window).map(|heard| &heard.hello)
    }

    /// The nonce of the next hello, and what it echoes.
    pub fn next_hello(&mut self, now: Time) -> (u64, Vec<Echo>) {
        self.nonce += 1;
        self.sent.push_back((self.nonce, now));
        if self.sent.len() > SENT_MAX {
            self.sent.pop_front();
        }
        let echo = |(site, heard): (&SiteId, &Heard)| Echo {
            site: *site,
            incarnation: heard.hello.incarnation,
            nonce: heard.hello.nonce,
        };
        (self.nonce, self.heard.iter().map(echo).collect())
    }

    /// Whom this site hears, and who hears it, within `window`.
    pub fn hears(&self, now: Time, window: Duration) -> SiteSet {
        let both_ways = |heard: &Heard| {
            let echoed = heard.echoed.is_some_and(|(nonce, at)| nonce >= self.since && now.since(at) <= window);
            now.since(heard.at) <= window && (echoed || !self.config.rules.enforces(Rule::CliqueChoice))
        };
        self.heard.iter().filter(|(_, heard)| both_ways(heard)).map(|(site, _)| *site).collect()
    }

    /// With whom this site would form a ring, by what was heard within `window`.
    pub fn choice(&self, now: Time, window: Duration, gathering_only: bool) -> SiteSet {
        let me = self.config.me;
        let mine = self.hears(now, window);
        if !self.config.rules.enforces(Rule::CliqueChoice) {
            return mine.with(me);
        }
        let mut rows: BTreeMap<SiteId, SiteSet> = BTreeMap::from([(me, mine)]);
        for (site, heard) in &self.heard {
            if now.since(heard.at) <= window && (heard.hello.gathering || !gathering_only) {
                rows.insert(*site, heard.hello.hears);
            }
        }
        choose(&rows, me)
    }
}

/// The clique that `me` belongs to, when the largest clique is taken away first, then the largest of the rest, and so
/// on; among cliques of one size the one with the lowest sites goes first. An edge needs the word of both ends.
pub fn choose(rows: &BTreeMap<SiteId, SiteSet>, me: SiteId) -> SiteSet {
    let has_edge = |a: SiteId, b: SiteId| {
        let says = |from: SiteId, to: SiteId| rows.get(&from).is_some_and(|row| row.has(to));
        a == b || (says(a, b) && says(b, a))
    };
    let edges: BTreeMap<SiteId, SiteSet> =
        rows.keys().map(|a| (*a, rows.keys().copied().filter(|b| has_edge(*a, *b)).collect())).collect();
    let mut left: SiteSet = rows.keys().copied().collect();
    while left.has(me) {
        let clique = if left.len() <= EXACT_MAX { largest(&edges, left) } else { greedy(&edges, left) };
        if clique.has(me) || clique.is_empty() {
            return clique.with(me);
        }
        left = left.minus(clique);
    }
    SiteSet::EMPTY.with(me)
}

/// The largest clique among `left`; of several, the one whose sorted sites come first.
fn largest(edges: &BTreeMap<SiteId, SiteSet>, left: SiteSet) -> SiteSet {
    fn extend(edges: &BTreeMap<SiteId, SiteSet>, clique: SiteSet, candidates: SiteSet, best: &mut SiteSet) {
        if clique.len() > best.len() {
            *best = clique;
        }
        let mut candidates = candidates;
        // Lowest first, so that of two cliques of one size the first one found has the lower sites.
        while let Some(site) = candidates.first() {
            if clique.len() + candidates.len() <= best.len() {
                return;
            }
            candidates = candidates.without(site);
            let neighbours = edges.get(&site).copied().unwrap_or_default();
            extend(edges, clique.with(site), candidates.and(neighbours), best);
        }
    }
    let mut best = SiteSet::EMPTY;
    extend(edges, SiteSet::EMPTY, left, &mut best);
    best
}

/// A large clique, found by degree: the site with the most edges first, the lowest of several.
fn greedy(edges: &BTreeMap<SiteId, SiteSet>, left: SiteSet) -> SiteSet {
    let (mut clique, mut candidates) = (SiteSet::EMPTY, left);
    let degree = |site: SiteId, among: SiteSet| edges.get(&site).map_or(0, |row| row.and(among).len());
    while let Some(site) = candidates.iter().max_by_key(|site| (degree(*site, candidates), u8::MAX - site.get())) {
        clique = clique.with(site);
        candidates = candidates.and(edges.get(&site).copied().unwrap_or_default()).without(site);
    }
    clique
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(number: u8) -> SiteId {
        SiteId::new(number).unwrap()
    }

    fn rows(links: &[(u8, u8)], sites: u8) -> BTreeMap<SiteId, SiteSet> {
        let mut rows: BTreeMap<SiteId, SiteSet> = (0..sites).map(|n| (site(n), SiteSet::EMPTY)).collect();
        for (from, to) in links {
            rows.entry(site(*from)).and_modify(|row| *row = row.with(site(*to)));
        }
        rows
    }

    fn set(numbers: &[u8]) -> SiteSet {
        numbers.iter().copied().map(site).collect()
    }

    #[test]
    fn a_missing_link_settles_on_the_largest_mutual_set() {
        let both = |a, b| [(a, b), (b, a)];
        let links: Vec<_> = [both(0, 1), both(1, 2)].concat();
        let rows = rows(&links, 3);
        assert_eq!(choose(&rows, site(0)), set(&[0, 1]));
        assert_eq!(choose(&rows, site(1)), set(&[0, 1]));
        assert_eq!(choose(&rows, site(2)), set(&[2]), "who is left out forms its own ring");
    }

    #[test]
    fn a_one_way_link_is_none() {
        let rows = rows(&[(0, 1), (1, 0), (0, 2), (1, 2), (2, 1)], 3);
        assert_eq!(choose(&rows, site(0)), set(&[0, 1]));
        assert_eq!(choose(&rows, site(2)), set(&[2]));
    }

    fn by_trying_all(rows: &BTreeMap<SiteId, SiteSet>) -> usize {
        let mutual = |a: SiteId, b: SiteId| a == b || (rows[&a].has(b) && rows[&b].has(a));
        let sites: Vec<SiteId> = rows.keys().copied().collect();
        let subsets = (0u32..1 << sites.len()).map(|bits| {
            sites.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, s)| *s).collect::<Vec<_>>()
        });
        let cliques = subsets.filter(|subset| subset.iter().all(|a| subset.iter().all(|b| mutual(*a, *b))));
        cliques.map(|clique| clique.len()).max().unwrap_or(0)
    }

    proptest! {
        /// Sites that know the same matrix choose sets that divide them, and the first of those is a largest clique.
        #[test]
        fn all_who_know_the_matrix_choose_alike(links in prop::collection::vec((0u8..7, 0u8..7), 0..60)) {
            let rows = rows(&links, 7);
            let choices: Vec<SiteSet> = (0..7).map(|n| choose(&rows, site(n))).collect();
            for (a, mine) in (0u8..).zip(&choices) {
                prop_assert!(mine.has(site(a)));
                prop_assert!(mine.iter().all(|b| choices[usize::from(b.get())] == *mine));
            }
            prop_assert_eq!(choices.iter().map(|set| set.len()).max(), Some(by_trying_all(&rows)));
        }

        /// Above the exact size too, the choice is a clique.
        #[test]
        fn a_choice_by_degree_is_mutual(missing in prop::collection::vec((0u8..20, 0u8..20), 0..40)) {
            let all: Vec<(u8, u8)> = (0..20).flat_map(|a| (0..20).map(move |b| (a, b))).collect();
            let links: Vec<_> = all.into_iter().filter(|link| !missing.contains(link)).collect();
            let rows = rows(&links, 20);
            for n in 0..20 {
                let choice = choose(&rows, site(n));
                prop_assert!(choice.iter().all(|a| choice.iter().all(|b| a == b || rows[&a].has(b))));
                prop_assert!(choice.iter().all(|other| choose(&rows, other) == choice));
            }
        }
    }
}
