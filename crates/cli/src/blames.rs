//! Offences as they are told to people and programs. A peer at fault repeats itself, as often as it likes: what is told of it
//! must fill no disk and push nothing else off a screen.

use std::collections::BTreeMap;

use ringfort::Event;
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::{Fault, GroupInfo};

use crate::describe;

/// Different offences of others than leaders that are counted. Those of leaders are few by themselves, and nobody else takes
/// their place.
const OTHERS_MAX: usize = 256;

/// How often each peer did what.
#[derive(Debug, Default)]
pub struct Blames {
    leaders: BTreeMap<(Culprit, Fault), u64>,
    others: BTreeMap<(Culprit, Fault), u64>,
}

impl Blames {
    /// Counts an offence. Gives how often it was committed if that is worth a line: the first time, the tenth, the
    /// hundredth and so on.
    pub fn count(&mut self, culprit: &Culprit, fault: Fault) -> Option<u64> {
        let key = (culprit.clone(), fault);
        let times = match culprit {
            Culprit::Leader(_) => self.leaders.entry(key).or_default(),
            _ if self.others.len() >= OTHERS_MAX => self.others.get_mut(&key)?,
            _ => self.others.entry(key).or_default(),
        };
        *times = times.saturating_add(1);
        (10_u64.checked_pow(times.ilog10()) == Some(*times)).then_some(*times)
    }

    /// An event as a line of a log; none for an offence that has been told.
    pub fn line(&mut self, group: &GroupInfo, event: &Event) -> Option<String> {
        let line = describe::line(group, event);
        let Event::Blamed(culprit, fault) = event else { return Some(line) };
        let times = self.count(culprit, *fault)?;
        Some(if times == 1 { line } else { format!("{line} ({times} times so far)") })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ringfort::protocol::{Incarnation, LeaderId, MemberId};

    use super::*;

    #[test]
    fn a_million_offences_are_seven_lines() {
        let mut blames = Blames::default();
        let leader = Culprit::Leader(LeaderId::new(3).unwrap());
        let told: Vec<u64> = (0..1_000_000).filter_map(|_| blames.count(&leader, Fault::BadShare)).collect();
        assert_eq!(told, [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]);
        assert_eq!(blames.count(&leader, Fault::Equivocated), Some(1), "another offence is news");
    }

    #[test]
    fn members_with_many_offences_hide_no_leaders() {
        let mut blames = Blames::default();
        let member = |stay| Culprit::Member(MemberId { user: "mal".parse().unwrap(), incarnation: Incarnation(stay) });
        let told = (0..10_000).filter(|stay| blames.count(&member(*stay), Fault::BadData).is_some()).count();
        assert_eq!(told, OTHERS_MAX);
        assert_eq!(blames.count(&Culprit::Leader(LeaderId::new(2).unwrap()), Fault::BadShare), Some(1));
        assert_eq!((2..=10).filter_map(|_| blames.count(&member(0), Fault::BadData)).last(), Some(10));
    }
}
