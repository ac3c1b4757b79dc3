//! Graphs written by hand, for the decision rule: two leaders' copies of one graph must not contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_agreement::block::{Body, Parent, Sealed};
use ringfort_agreement::dag::Dag;
use ringfort_agreement::decide::{Slots, Verdict, verdicts};
use ringfort_agreement::rules::SlotKind;
use ringfort_agreement::{Author, Reference, Rule, Rules, Slot};

use crate::keys;
use crate::run::EPOCH;

/// Blocks by name: `2.3` is of author 2 and round 3, `2.3'` another one of both.
pub struct Graph {
    rules: Rules,
    blocks: BTreeMap<String, Sealed>,
}

/// Who has the first slot of each round; other slots are nobody's.
struct Named(BTreeMap<u64, u8>);

impl Slots for Named {
    fn author(&self, slot: Slot, _: SlotKind) -> Option<Author> {
        Author::new(*self.0.get(&slot.round).filter(|_| slot.index == 0)?)
    }
}

impl Graph {
    /// Blocks from lines such as `2.3' <- 0.2 1.2 2.2`, each behind those that it names. A block that is invalid under the
    /// rules, or names one that is, is left out: no honest leader would take it.
    pub fn new(rules: Rules, lines: &str) -> Self {
        let mut graph = Graph { rules, blocks: BTreeMap::new() };
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (names, parents) = line.split_once("<-").unwrap_or((line, ""));
            for name in names.split_whitespace() {
                graph.add(name, parents);
            }
        }
        graph
    }

    fn add(&mut self, name: &str, parents: &str) {
        let (author, round) = name.trim_end_matches('\'').split_once('.').expect("AUTHOR.ROUND");
        let author = author.parse().ok().and_then(Author::new).expect("an author");
        let round: u64 = round.parse().expect("a round");
        let parents: Option<Vec<Parent>> = parents
            .split_whitespace()
            .map(|parent| {
                let reference = self.blocks.get(parent)?.reference();
                Some(Parent { author: reference.author, digest: reference.digest })
            })
            .collect();
        let Some(parents) = parents else { return };
        let body = Body {
            epoch: EPOCH,
            author,
            round,
            clock_us: u64::from(name.ends_with('\'')),
            parents,
            weak: Vec::new(),
            coin: self.rules.coin_due(round).map(|_| [0; 128]),
            evidence: Vec::new(),
            payload: Vec::new(),
        };
        if body.check(&EPOCH, &self.rules).is_ok() {
            let keys = keys::simulated(1, self.rules.n(), self.rules.f());
            let keys = keys.get(author.index()).expect("an author of the group");
            self.blocks.insert(name.to_owned(), Sealed::sign(body, &**keys));
        }
    }

    /// The name of a block.
    pub fn name(&self, reference: &Reference) -> &str {
        let found = self.blocks.iter().find(|(_, sealed)| sealed.reference() == *reference);
        found.map_or("unknown", |(name, _)| name)
    }

    /// A leader's copy: these blocks and all that they name.
    pub fn copy(&self, names: &str) -> Dag {
        let by_reference: BTreeMap<Reference, &Sealed> =
            self.blocks.values().map(|sealed| (sealed.reference(), sealed)).collect();
        let mut stack: Vec<Reference> =
            names.split_whitespace().filter_map(|name| self.blocks.get(name)).map(Sealed::reference).collect();
        let mut here: BTreeSet<Reference> = BTreeSet::new();
        while let Some(reference) = stack.pop() {
            if here.insert(reference) {
                stack.extend(by_reference.get(&reference).into_iter().flat_map(|sealed| sealed.references()));
            }
        }
        let mut dag = Dag::new(self.rules.n());
        for reference in here {
            let sealed = by_reference.get(&reference).expect("blocks name blocks of the graph");
            let _ = dag.insert((*sealed).clone(), self.rules.quorum());
        }
        dag
    }

    /// What a copy decides of the first slot of `round`: a block's name, `skip` or `undecided`.
    pub fn verdict(&self, copy: &Dag, slots: &[(u64, u8)], round: u64) -> String {
        let named = Named(slots.iter().copied().collect());
        let all = verdicts(copy, &self.rules, &named, Slot { round: 1, index: 0 });
        let verdict = all.iter().find(|(slot, _)| *slot == Slot { round, index: 0 }).map(|(_, verdict)| *verdict);
        match verdict {
            Some(Verdict::Commit(reference)) => self.name(&reference).to_owned(),
            Some(Verdict::Skip) => "skip".to_owned(),
            Some(Verdict::Undecided) | None => "undecided".to_owned(),
        }
    }
}

/// A graph with two copies, and the slots' authors.
pub struct GraphPlay {
    /// The rule that it is about.
    pub rule: Rule,
    lines: &'static str,
    slots: &'static [(u64, u8)],
    copies: [&'static str; 2],
}

impl GraphPlay {
    /// What the two copies decide of round 1, if it contradicts.
    pub fn complaint(&self, weakened: Option<Rule>) -> Option<String> {
        let rules = Rules::with_period_for_testing_only(4, 1, 16).expect("sizes of a group");
        let rules = weakened.map_or(rules, |rule| rules.mutated_for_testing_only(rule));
        let graph = Graph::new(rules, self.lines);
        let [a, b] = self.copies.map(|names| graph.verdict(&graph.copy(names), self.slots, 1));
        let contradicts = a != b && a != "undecided" && b != "undecided";
        contradicts.then(|| format!("one leader decides {a}, another {b}"))
    }
}

/// In all of them author 3 is hacked; ordinary slots, so three rounds are a wave.
pub const PLAYS: [GraphPlay; 5] = [
    // 0.1 has certificates of three authors, one of them hacked. The anchor of another leader stands on two blocks that
    // are none.
    GraphPlay {
        rule: Rule::ParentQuorum,
        lines: "
            0.1 1.1 2.1 3.1
            0.2 1.2 2.2 <- 0.1 1.1 2.1
            3.2 <- 1.1 2.1 3.1
            0.3 1.3 3.3 <- 0.2 1.2 2.2
            2.3 3.3' <- 1.2 2.2 3.2
            3.4 <- 2.3 3.3'
            0.4 1.4 2.4 <- 0.3 1.3 2.3
            0.5 1.5 2.5 <- 0.4 1.4 2.4 3.4
            0.6 1.6 2.6 <- 0.5 1.5 2.5",
        slots: &[(1, 0), (4, 3)],
        copies: ["0.3 1.3 3.3", "0.6 1.6 2.6"],
    },
    // Two certificates, one of them hacked; an anchor that meets neither.
    GraphPlay {
        rule: Rule::DirectCommit,
        lines: "
            0.1 1.1 2.1 3.1
            0.2 1.2 2.2 <- 0.1 1.1 2.1
            3.2 <- 1.1 2.1 3.1
            0.3 3.3 <- 0.2 1.2 2.2
            1.3 2.3 3.3' <- 1.2 2.2 3.2
            0.4 1.4 2.4 <- 1.3 2.3 3.3'
            0.5 1.5 2.5 <- 0.4 1.4 2.4
            0.6 1.6 2.6 <- 0.5 1.5 2.5",
        slots: &[(1, 0), (4, 1)],
        copies: ["0.3 3.3", "0.6 1.6 2.6"],
    },
    // Two refuse, one of them hacked, who also votes.
    GraphPlay {
        rule: Rule::DirectSkip,
        lines: "
            0.1 1.1 2.1 3.1
            0.2 1.2 3.2 <- 0.1 1.1 2.1
            2.2 3.2' <- 1.1 2.1 3.1
            0.3 1.3 2.3 <- 0.2 1.2 3.2",
        slots: &[(1, 0)],
        copies: ["0.2 2.2 3.2'", "0.3 1.3 2.3"],
    },
    // The hacked author proposes two blocks; two votes make a certificate for either.
    GraphPlay {
        rule: Rule::Certificate,
        lines: "
            0.1 1.1 2.1 3.1 3.1'
            0.2 <- 0.1 1.1 3.1'
            1.2 2.2 <- 1.1 2.1 3.1
            3.2 <- 1.1 2.1 3.1'
            1.3 2.3 3.3 <- 0.2 1.2 2.2
            0.3 3.3' <- 0.2 1.2 3.2
            0.4 1.4 2.4 <- 0.3 1.3 3.3'
            0.5 1.5 2.5 <- 0.4 1.4 2.4
            0.6 1.6 2.6 <- 0.5 1.5 2.5",
        slots: &[(1, 3), (4, 1)],
        copies: ["1.3 2.3 3.3", "0.6 1.6 2.6"],
    },
    // Round 1 is committed by certificates; the slot of round 2 is committed too, and its block meets none of them.
    GraphPlay {
        rule: Rule::AnchorDistance,
        lines: "
            0.1 1.1 2.1 3.1
            0.2 1.2 2.2 <- 0.1 1.1 2.1
            3.2 <- 1.1 2.1 3.1
            0.3 1.3 3.3 <- 0.2 1.2 2.2
            2.3 3.3' <- 1.2 2.2 3.2
            0.4 1.4 2.4 <- 0.3 1.3 2.3
            0.5 1.5 2.5 <- 0.4 1.4 2.4
            0.6 1.6 2.6 <- 0.5 1.5 2.5",
        slots: &[(1, 0), (2, 1), (4, 0)],
        copies: ["0.3 1.3 3.3", "0.6 1.6 2.6"],
    },
];
