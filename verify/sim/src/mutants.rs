//! Does the suite notice? Every rule of [`Rule::ALL`] is weakened in the honest nodes, one at a time, and each
//! attack that the rule defends against must then succeed; unmutated, the same attack is refused.

use ringfort_protocol::rules::Rule;

use crate::attacks::{self, Attack};
use crate::explore::{Ended, Limits, Report};

/// The seed of all plays.
pub const SEED: u64 = 7;

/// What one attack made of one weakened rule.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The rule.
    pub rule: Rule,
    /// The attack.
    pub attack: &'static Attack,
    /// The exploration.
    pub report: Report,
    /// Why nothing can show that the rule is missing.
    pub implied: Option<&'static str>,
}

impl Judgement {
    /// Whether the outcome is as it should be.
    pub fn is_good(&self) -> bool {
        match self.implied {
            Some(_) => self.report.outcome.is_ok(),
            None => matches!(self.report.outcome, Err(Ended::Broken(_))),
        }
    }

    /// What was seen.
    pub fn noticed(&self) -> &str {
        match (&self.report.outcome, self.implied) {
            (Ok(_), Some(why)) => why,
            (Err(Ended::Broken(what)), _) => what,
            (Err(Ended::NotMade(what)), _) => what,
            _ => "nobody noticed",
        }
    }
}

/// Pairs of a rule and an attack that must notice its absence.
pub fn pairs() -> Vec<(Rule, &'static Attack)> {
    let of = |attack: &'static Attack| {
        let implied = attack.implied.map(|(rule, _)| rule);
        attack.defences.iter().copied().chain(implied).map(move |rule| (rule, attack))
    };
    let mut pairs: Vec<_> = attacks::all().flat_map(of).collect();
    pairs.sort_by_key(|(rule, _)| *rule);
    pairs
}

/// Weakens one rule and plays one attack.
pub fn judge(rule: Rule, attack: &'static Attack, limits: Limits) -> Judgement {
    let report = attack.explore(Some(rule), SEED, limits);
    let implied = attack.implied.filter(|(implied, _)| *implied == rule).map(|(_, why)| why);
    Judgement { rule, attack, report, implied }
}

/// Prints who noticed what; true if every weakened rule was noticed by every attack that it defends against.
pub fn report(limits: Limits) -> bool {
    let mut good = true;
    for (rule, attack) in pairs() {
        let judgement = judge(rule, attack, limits);
        good &= judgement.is_good();
        let verdict = match (judgement.is_good(), judgement.implied) {
            (true, None) => "caught",
            (true, Some(_)) => "implied",
            (false, _) => "MISSED",
        };
        println!("{verdict:<7} {:<20} {}: {}", format!("{rule:?}"), attack.name, attack.how);
        println!("       {:<20} -> {}", "", judgement.noticed().chars().take(160).collect::<String>());
    }
    good
}
