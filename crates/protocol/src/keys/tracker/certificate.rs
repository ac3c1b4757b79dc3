//! The signatures under a view: what is installed is certified (P6).

use std::collections::BTreeMap;

use super::{Checked, Claimed, Current, TrackerOutput, ViewTracker};
use crate::fault::Fault;
use crate::group::GroupInfo;
use crate::ids::LeaderId;
use crate::rules::Rule;
use crate::statement::{Statement, Word};

impl ViewTracker {
    /// From now on words that are not needed to install a view are kept, to be taken with
    /// [`ViewTracker::take_late_words`].
    pub fn keep_late_words(&mut self) {
        self.keeps_late = true;
    }

    /// Keeps what a leader claims now; nothing is checked before it counts.
    pub(super) fn note_statement(&mut self, from: LeaderId, number: u64, claimed: Claimed, statement: Statement) {
        let known = self.current.get(&from).filter(|now| now.claimed == claimed && now.statement == statement);
        let checked = known.map_or(Checked::NotYet, |now| now.checked);
        self.current.insert(from, Current { number, claimed, statement, checked });
        let installed = self.installed.as_ref();
        let is_installed = installed.is_some_and(|v| v.id == claimed.view && v.refreshes == claimed.refreshes);
        if is_installed && self.keeps_late {
            self.late.entry(from).or_insert(Some(statement));
        }
    }

    /// Checks signatures under a view until f+1 are good, naming whoever sent a bad one: its claim counts no more.
    pub(super) fn certify(
        &mut self,
        group: &GroupInfo,
        claimed: Claimed,
        out: &mut Vec<TrackerOutput>,
    ) -> Option<Vec<Word>> {
        let mut words = Vec::new();
        let needed = group.rules.confirm();
        for leader in self.claimants(claimed).collect::<Vec<_>>() {
            let Some(now) = self.current.get_mut(&leader) else { continue };
            if now.checked == Checked::NotYet {
                let good = now.statement.verify(group, leader, claimed.view, claimed.refreshes).is_ok();
                let good = good || !group.rules.enforces(Rule::Statement);
                now.checked = if good { Checked::Good } else { Checked::Bad };
            }
            if now.checked == Checked::Bad {
                out.push(TrackerOutput::Blame(leader, Fault::BadStatement));
                continue;
            }
            words.push(Word { leader, statement: now.statement });
            if words.len() >= needed {
                return Some(words);
            }
        }
        None
    }

    /// Leaders that claim the view being installed and whose word was not needed.
    pub(super) fn keep_late(&mut self, claimed: Claimed, words: &[Word]) {
        if !self.keeps_late {
            return;
        }
        let claimants = self.claimants(claimed).filter_map(|l| Some((l, Some(self.current.get(&l)?.statement))));
        let mut late: BTreeMap<_, _> = claimants.collect();
        late.extend(words.iter().map(|word| (word.leader, None)));
        self.late = late;
    }

    /// The words for the installed view that were not needed to install it, each once, checked now.
    #[must_use]
    pub fn take_late_words(&mut self, group: &GroupInfo) -> (Vec<Word>, Vec<TrackerOutput>) {
        let (mut words, mut out) = (Vec::new(), Vec::new());
        let Some(installed) = &self.installed else { return (words, out) };
        for (leader, late) in &mut self.late {
            let (leader, Some(statement)) = (*leader, late.take()) else { continue };
            if statement.verify(group, leader, installed.id, installed.refreshes).is_ok() {
                words.push(Word { leader, statement });
            } else {
                out.push(TrackerOutput::Blame(leader, Fault::BadStatement));
            }
        }
        (words, out)
    }
}
