//! The fewest turns of a hacked node that still break something.

use std::collections::BTreeSet;

use super::script::{Script, Turn};
use crate::run::{Verdict, run};
use crate::setup::Setup;

/// A run that fails, with nothing in it that could be spared.
#[derive(Debug)]
pub struct Minimal {
    /// The turns.
    pub script: Script,
    /// What is wrong.
    pub verdict: Verdict,
    /// Runs that it took.
    pub runs: usize,
}

fn play(setup: &Setup, turns: &BTreeSet<Turn>) -> Verdict {
    run(Setup { script: Script::Only(turns.clone()), ..setup.clone() })
}

/// Takes turns away while the run still violates `property`, at most `runs` times (delta debugging; Zeller 2002).
///
/// `None` where the run does not fail without chance: which never happens, since a script of all turns taken is the same
/// run.
pub fn minimise(setup: &Setup, turns: BTreeSet<Turn>, property: &str, runs: usize) -> Option<Minimal> {
    let fails = |verdict: &Verdict| verdict.violations.iter().any(|violation| violation.property == property);
    let verdict = play(setup, &turns);
    if !fails(&verdict) {
        return None;
    }
    let mut best = Minimal { script: Script::Only(turns.clone()), verdict, runs: 1 };
    let mut left: Vec<Turn> = turns.into_iter().collect();
    let mut parts = 1;
    while best.runs < runs && !left.is_empty() {
        let size = left.len().div_ceil(parts);
        let mut spared = false;
        let mut at = 0;
        while at < left.len() && best.runs < runs {
            let rest: Vec<Turn> = left.iter().take(at).chain(left.iter().skip(at + size)).copied().collect();
            let verdict = play(setup, &rest.iter().copied().collect());
            best.runs += 1;
            if fails(&verdict) {
                best.script = Script::Only(rest.iter().copied().collect());
                best.verdict = verdict;
                left = rest;
                spared = true;
            } else {
                at += size;
            }
        }
        if size == 1 && !spared {
            break;
        }
        parts = (parts * 2).min(left.len().max(1));
    }
    Some(best)
}
