//! What a leader has asked senders for again, and whether it came.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Channel, RepairRequest, StreamKey};
use crate::ids::{MemberId, Seq};
use crate::time::Time;

/// A sender is not asked for the same number again sooner than this.
const ASK_SPACING: Duration = Duration::from_secs(1);

/// Numbers that one sender is asked for at once.
const OWED_MAX: usize = 1024;

/// A sender that supplies nothing for so long of so many numbers that it says it has, withholds them.
const PATIENCE: Duration = Duration::from_secs(3);
const WITHHELD_MIN: usize = 16;

/// Numbers that senders say they have sent and still have, that somebody lacks, and that this leader lacks too.
#[derive(Debug, Default)]
pub(super) struct Owing {
    senders: BTreeMap<MemberId, Debts>,
}

#[derive(Debug, Default)]
struct Debts {
    numbers: BTreeMap<(Channel, Seq), Debt>,
    /// When it last supplied something that it was asked for.
    supplied: Option<Time>,
}

#[derive(Debug)]
struct Debt {
    since: Time,
    asked: Time,
    /// It was asked for long enough, and the sender named.
    given_up: bool,
}

impl Owing {
    /// Of numbers that are missing, those that their sender is to be asked for now.
    pub(super) fn ask(&mut self, now: Time, wanted: &RepairRequest) -> Option<RepairRequest> {
        let StreamKey { sender, channel } = wanted.stream().clone();
        let debts = self.senders.entry(sender).or_default();
        let mut numbers = Vec::new();
        for seq in wanted.numbers() {
            let number = (channel.clone(), Seq(seq));
            if let Some(debt) = debts.numbers.get_mut(&number) {
                if !debt.given_up && now.since(debt.asked) >= ASK_SPACING {
                    debt.asked = now;
                    numbers.push(seq);
                }
            } else if debts.numbers.len() < OWED_MAX {
                debts.numbers.insert(number, Debt { since: now, asked: now, given_up: false });
                numbers.push(seq);
            }
        }
        RepairRequest::for_numbers(wanted.stream().clone(), numbers)
    }

    /// A sender's frame came.
    pub(super) fn on_frame(&mut self, now: Time, numbers: &[(StreamKey, Seq)]) {
        let Some((StreamKey { sender, .. }, _)) = numbers.first() else { return };
        let Some(debts) = self.senders.get_mut(sender) else { return };
        for (stream, seq) in numbers {
            if debts.numbers.remove(&(stream.channel.clone(), *seq)).is_some() {
                debts.supplied = Some(now);
            }
        }
        if debts.numbers.is_empty() {
            self.senders.remove(sender);
        }
    }

    /// Senders that supply nothing of much that they say they have; each is named once for the same numbers.
    ///
    /// `has` tells whether a sender says that it still has a number: what it could not keep, it does not withhold.
    pub(super) fn withheld(&mut self, now: Time, has: impl Fn(&StreamKey, Seq) -> bool) -> Vec<MemberId> {
        let mut named = Vec::new();
        for (sender, debts) in &mut self.senders {
            debts
                .numbers
                .retain(|(channel, seq), _| has(&StreamKey { sender: sender.clone(), channel: channel.clone() }, *seq));
            let supplied = debts.supplied;
            let late =
                |debt: &Debt| !debt.given_up && now.since(debt.since.max(supplied.unwrap_or(debt.since))) >= PATIENCE;
            if debts.numbers.values().filter(|debt| late(debt)).count() >= WITHHELD_MIN {
                debts.numbers.values_mut().filter(|debt| late(debt)).for_each(|debt| debt.given_up = true);
                named.push(sender.clone());
            }
        }
        self.senders.retain(|_, debts| !debts.numbers.is_empty());
        named
    }

    /// A sender is out of reach, or gone: it cannot be asked.
    pub(super) fn forget(&mut self, sender: &MemberId) {
        self.senders.remove(sender);
    }
}
