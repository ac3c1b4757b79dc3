//! What leaders share, and could therefore lose together (L7; seed 002 §5, seed 000 §3.2).
//!
//! A group tolerates `f` hacked leaders only as far as they are hacked one by one. Who owns `f+1` of the machines, or finds a flaw
//! in the one system they all run, holds them at once.

use std::collections::BTreeMap;

use crate::group::GroupInfo;
use crate::ids::LeaderId;
use crate::introduction::{FactKind, Facts};

/// How far leaders differ in one respect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// In which.
    pub kind: FactKind,
    /// The leaders of each value that was stated, the most common first.
    pub values: Vec<(String, Vec<LeaderId>)>,
    /// The leaders that did not say.
    pub unknown: Vec<LeaderId>,
    /// How many values an attacker has to hold to hold more than `f` leaders. Leaders that did not say count as held along with
    /// the most common value.
    pub needed: usize,
}

impl Score {
    /// The best there can be: each value gives one leader.
    pub fn best(group: &GroupInfo) -> usize {
        usize::from(group.rules.f()) + 1
    }

    /// Whether somebody who holds one value holds more leaders than the group tolerates.
    pub fn is_single_point(&self) -> bool {
        self.needed <= 1
    }
}

/// Scores each respect. `None` where a dealer set the group up: nothing was said.
pub fn review(group: &GroupInfo) -> Option<Vec<Score>> {
    let said = group.introductions();
    if said.is_empty() {
        return None;
    }
    let score = |kind| {
        let mut by_value: BTreeMap<String, (String, Vec<LeaderId>)> = BTreeMap::new();
        let mut unknown = Vec::new();
        for (id, signed) in group.rules.leaders().zip(said) {
            let value = &own_of(&signed.facts, kind);
            // Nobody is another owner for a capital letter.
            let plain: String = value.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
            if plain.is_empty() {
                unknown.push(id);
            } else {
                by_value.entry(plain).or_insert_with(|| (value.to_owned(), Vec::new())).1.push(id);
            }
        }
        let mut values: Vec<_> = by_value.into_values().collect();
        values.sort_by_key(|(_, leaders)| std::cmp::Reverse(leaders.len()));
        Score { kind, needed: needed(group, &values, unknown.len()), values, unknown }
    };
    Some(FactKind::ALL.into_iter().map(score).collect())
}

/// What somebody says of themselves. Two leaders in "own racks" share a host only if they share an owner.
fn own_of(facts: &Facts, kind: FactKind) -> String {
    let (value, owner) = (facts.get(kind), facts.get(FactKind::Owner).trim());
    let first = value.split_whitespace().next().unwrap_or_default().to_lowercase();
    let is_own = ["own", "self", "self-hosted", "selfhosted"].contains(&first.as_str());
    if is_own && kind != FactKind::Owner && !owner.is_empty() {
        format!("{value} of {owner}")
    } else {
        value.to_owned()
    }
}

fn needed(group: &GroupInfo, values: &[(String, Vec<LeaderId>)], unknown: usize) -> usize {
    let mut held = unknown;
    let mut needed = 0;
    for (_, leaders) in values {
        if held > usize::from(group.rules.f()) && needed > 0 {
            break;
        }
        held += leaders.len();
        needed += 1;
    }
    needed.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introduction::Introduction;
    use crate::testing::group_of_four;

    fn scores(owners: [&str; 4]) -> (usize, usize) {
        let (group, secrets) = group_of_four();
        let signed = group.leaders.iter().zip(&secrets).zip(owners).map(|((info, secrets), owner)| {
            let facts = Facts::new(|kind| match kind {
                FactKind::Owner => owner.to_owned(),
                _ => String::new(),
            });
            Introduction::sign(&group.name, secrets.id, info.clone(), facts.unwrap(), &secrets.signing).signed
        });
        let signed: Vec<_> = signed.collect();
        let group = group.clone().with_introductions(signed).unwrap();
        let scores = review(&group).unwrap();
        let owner = scores.iter().find(|score| score.kind == FactKind::Owner).unwrap();
        assert_eq!(owner.is_single_point(), owner.needed == 1);
        assert_eq!(Score::best(&group), 2);
        assert_eq!(scores.iter().find(|score| score.kind == FactKind::Place).unwrap().unknown.len(), 4);
        (owner.needed, owner.values.len())
    }

    #[test]
    fn one_owner_of_more_than_f_is_a_single_point() {
        assert_eq!(scores(["a", "b", "c", "d"]), (2, 4));
        assert_eq!(scores(["a", "a", "c", "d"]), (1, 3));
        assert_eq!(scores(["A  Ltd", "b", "a ltd", "d"]), (1, 3));
        assert_eq!(scores(["a", "a", "a", "a"]), (1, 1));
        // Whoever did not say may be anybody's.
        assert_eq!(scores(["a", "b", "c", ""]), (1, 3));
        assert_eq!(scores(["", "", "", ""]), (1, 0));
    }

    #[test]
    fn owners_with_racks_of_their_own_share_no_host() {
        let hosting = |owners: [&str; 4]| {
            let (group, secrets) = group_of_four();
            let sign = |((info, secrets), owner): ((&crate::group::LeaderInfo, crate::group::LeaderSecrets), &str)| {
                let facts = Facts::new(|kind| match kind {
                    FactKind::Owner => owner.to_owned(),
                    FactKind::Hosting => "own rack".to_owned(),
                    _ => String::new(),
                });
                Introduction::sign(&group.name, secrets.id, info.clone(), facts.unwrap(), &secrets.signing).signed
            };
            let signed: Vec<_> = group.leaders.iter().zip(secrets).zip(owners).map(sign).collect();
            let scores = review(&group.clone().with_introductions(signed).unwrap()).unwrap();
            scores.into_iter().find(|score| score.kind == FactKind::Hosting).unwrap().needed
        };
        assert_eq!(hosting(["a", "b", "c", "d"]), 2);
        assert_eq!(hosting(["a", "a", "c", "d"]), 1);
        assert_eq!(hosting(["", "", "c", "d"]), 1, "whose they are is not known");
    }

    #[test]
    fn a_dealt_group_says_nothing_and_foreign_words_are_refused() {
        let (group, secrets) = group_of_four();
        assert_eq!(review(&group), None);
        let before = group.id();
        let sign = |name: &str| -> Vec<_> {
            let one = |(info, secrets): (&crate::group::LeaderInfo, &crate::group::LeaderSecrets)| {
                Introduction::sign(name, secrets.id, info.clone(), Facts::default(), &secrets.signing).signed
            };
            group.leaders.iter().zip(&secrets).map(one).collect()
        };
        assert!(group.clone().with_introductions(sign("another")).is_none());
        assert!(group.clone().with_introductions(sign(&group.name)[..3].to_vec()).is_none());
        let with = group.clone().with_introductions(sign(&group.name)).unwrap();
        assert_ne!(with.id(), before, "the fingerprint covers them");
        assert_eq!(group.id(), before);
    }
}
