//! Causal order: a message comes after everything that its sender had sent or got before; without it only behind the
//! transitional signal, and if the sender of what is lacking is left behind.

use std::collections::BTreeMap;

use crate::history::Span;
use crate::record::{Event, Service, ViewId};
use crate::{History, Report};

/// A set of messages by number.
#[derive(Clone, Default)]
struct Set(Vec<u64>);

impl Set {
    fn add(&mut self, number: usize) {
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn join(&mut self, other: &Set) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// Numbers that are in `self` and `other` and not in `without`.
    fn and_not(&self, other: &Set, without: &Set) -> Vec<usize> {
        let words = self.0.iter().zip(&other.0).enumerate();
        let left = words.map(|(n, (a, b))| (n, a & b & !without.0.get(n).copied().unwrap_or(0)));
        let bits = left.filter(|(_, word)| *word != 0);
        bits.flat_map(|(n, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| n * 64 + bit))
            .collect()
    }
}

pub fn check(history: &History<'_>, report: &mut Report) {
    let before = predecessors(history);
    let names: Vec<&str> = history.sent.keys().copied().collect();
    let mut of_view: BTreeMap<(&str, ViewId), Set> = BTreeMap::new();
    for span in &history.spans {
        let set = of_view.entry((span.g, span.id)).or_default();
        let regular = span.got.iter().filter(|got| !got.transitional);
        regular.filter_map(|got| number(history, got.m)).for_each(|number| set.add(number));
    }
    for span in &history.spans {
        let Some(of_view) = of_view.get(&(span.g, span.id)) else { continue };
        let (mut got_so_far, mut came_first) = (Set::default(), Set::default());
        for got in &span.got {
            let Some(this) = number(history, got.m) else { continue };
            report.expect(!came_first.has(this), || format!("{} got {} after what depends on it", span.p, got.m));
            got_so_far.add(this);
            let Some(before) = before.get(this) else { continue };
            came_first.join(before);
            let lacking = before.and_not(of_view, &got_so_far).into_iter().filter_map(|n| names.get(n).copied());
            let lacking: Vec<_> = lacking.filter(|m| !is_excused(history, span, m, got.transitional)).collect();
            report.expect(lacking.is_empty(), || {
                format!("{} got {} in view {:?} of {} without {lacking:?}", span.p, got.m, span.id, span.g)
            });
        }
    }
}

fn is_excused(history: &History<'_>, span: &Span<'_>, m: &str, transitional: bool) -> bool {
    let Some(sent) = history.sent.get(m) else { return true };
    let left_behind = span.movers().is_none_or(|movers| !movers.iter().any(|q| q == sent.p));
    history.is_discarded(m, span.p) || (transitional && left_behind)
}

/// The number of a message that asks for causal order.
fn number(history: &History<'_>, m: &str) -> Option<usize> {
    history.sent.get(m).filter(|sent| sent.svc >= Service::Causal).map(|sent| sent.number)
}

/// For each message, by number, those that its sender had sent or got before, and theirs.
fn predecessors(history: &History<'_>) -> Vec<Set> {
    let mut known: BTreeMap<&str, Set> = BTreeMap::new();
    let mut places: Vec<(&Vec<&Event>, usize, Set)> =
        history.events.values().map(|events| (events, 0, Set::default())).collect();
    loop {
        let mut moved = false;
        for (events, at, so_far) in &mut places {
            while let Some(event) = events.get(*at) {
                match event {
                    Event::Send { m, .. } => {
                        known.insert(m, so_far.clone());
                        so_far.add(history.sent.get(m.as_str()).map_or(0, |sent| sent.number));
                    }
                    Event::Deliver { m, .. } if history.sent.contains_key(m.as_str()) => {
                        let Some(before) = known.get(m.as_str()) else { break };
                        so_far.join(before);
                        so_far.add(history.sent.get(m.as_str()).map_or(0, |sent| sent.number));
                    }
                    _ => {}
                }
                *at += 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    history.sent.keys().map(|m| known.remove(m).unwrap_or_default()).collect()
}
