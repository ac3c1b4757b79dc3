//! One agreement under any schedule: records of any age reach anybody or nobody, clocks run apart.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::super::agreements::Agreements;
use super::super::frame::{Proposals, Record};
use super::super::ids::{COMPONENTS_MAX, Decision, Entity, Epoch, Index};
use super::super::instance::Terms;
use super::super::rules::{Rule, Rules};

const GAMES: u64 = 4_000;
const STEPS: usize = 300;

/// Plays one game: what each component decided, whatever it has forgotten since.
fn play(seed: u64, rules: Rules) -> Vec<Proposals> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut below = |bound: usize| (rng.next_u64() % bound as u64) as usize;
    let count = 3 + below(5);
    let all: Vec<Index> = (0..count).filter_map(Index::new).collect();
    let entities = [Entity { epoch: Epoch(1), key: [1; 12] }; COMPONENTS_MAX];
    let (decision, name) = (Decision::Collect, seed);
    let terms = Terms { decision, start_us: 1_000_000, name, listed: all.iter().copied().collect(), entities };
    let tag = terms.tag(&[0; 32]);
    let mut components: Vec<Agreements> = all.iter().map(|index| Agreements::new(*index, Epoch(1), rules)).collect();
    let mut epochs = vec![Epoch(1); count];
    for (index, component) in all.iter().zip(&mut components).filter(|_| below(4) > 0) {
        component.propose(tag, &terms, [index.get() + 1; 32], 1000, 900_000).unwrap();
    }
    let mut sent: Vec<(Index, Epoch, Record)> = Vec::new();
    let mut clocks = vec![900_000u64; count];
    let mut decided = Vec::new();
    for _ in 0..STEPS {
        let me = below(count);
        if below(40) == 0 {
            epochs[me] = Epoch(epochs[me].0 + 1);
            components[me] = Agreements::new(all[me], epochs[me], rules);
        } else if below(3) == 0 {
            // Some run fast, some slow, some not at all for a while.
            clocks[me] += below(60_000) as u64;
            components[me].on_round(clocks[me], true);
        } else if !sent.is_empty() {
            // Mostly what was said lately, and now and then something old.
            let latest = if below(8) == 0 { sent.len() } else { sent.len().min(2 * count) };
            let (from, epoch, record) = sent[sent.len() - 1 - below(latest)];
            if from != all[me] {
                components[me].on_record(from, epoch, &record, clocks[me], true);
            }
        }
        if let Some(instance) = components[me].get(&tag) {
            sent.push((all[me], epochs[me], instance.record()));
            decided.extend(instance.decided().map(|decided| decided.proposals));
        }
    }
    decided
}

/// Whether two differ, or what was decided was not proposed.
pub fn broken(seed: u64, rules: Rules) -> Option<String> {
    let decided = play(seed, rules);
    let first = decided.first()?;
    let split = decided.iter().any(|other| other != first);
    let invented = first.iter().any(|(index, block)| *block != [index.get() + 1; 32]);
    (split || invented).then(|| "two results".to_owned())
}

#[test]
fn no_schedule_splits_an_agreement() {
    let mut decided = 0;
    for seed in 0..GAMES {
        assert_eq!(broken(seed, Rules::default()), None, "seed {seed}");
        decided += usize::from(!play(seed, Rules::default()).is_empty());
    }
    assert!(decided > GAMES as usize / 3, "vacuous: in {decided} games something was decided");
}

#[test]
fn schedules_notice_a_smaller_quorum_a_coordinator_that_adopts_nothing_and_a_component_that_has_forgotten() {
    for rule in [Rule::Majority, Rule::Adopt, Rule::Epoch] {
        let found = (0..GAMES).find_map(|seed| Some((seed, broken(seed, Rules::without(rule))?)));
        println!("{rule:?}: {found:?}");
        assert!(found.is_some(), "nothing notices that {rule:?} is missing");
    }
}
