//! Requests of this leader's own members that are not in the order yet: a lane for each, served in turn.

use std::collections::BTreeMap;
use std::ops::Bound;

use ringfort_protocol::UserName;

use crate::limits::{LANE_BYTES_MAX, OPEN_MAX, UNDER_WAY_BYTES_MAX, WAITING_BYTES_MAX};
use crate::request::Stay;
use crate::rules::{Rule, Rules};

/// What waits, and what was put into the order and is not seen in it yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    lanes: BTreeMap<UserName, Lane>,
    /// Bytes that wait.
    bytes: usize,
    /// Bytes that were put into the order, and how many requests.
    under_way: usize,
    sent: usize,
    /// Who was served last.
    turn: Option<UserName>,
}

#[derive(Clone, Debug)]
struct Lane {
    stay: Stay,
    waiting: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    /// The lengths of those that were put into the order.
    sent: BTreeMap<u64, usize>,
}

impl Waiting {
    /// Whether a request is here already.
    pub fn knows(&self, stay: &Stay, number: u64) -> bool {
        let lane = self.lanes.get(&stay.id.user).filter(|lane| lane.stay == *stay);
        lane.is_some_and(|lane| lane.waiting.contains_key(&number) || lane.sent.contains_key(&number))
    }

    /// Takes a request if its member's lane has room. When all lanes together are full, the fullest loses its newest.
    pub fn push(&mut self, stay: &Stay, number: u64, bytes: Vec<u8>, rules: &Rules) {
        if self.lanes.get(&stay.id.user).is_some_and(|lane| lane.stay != *stay) {
            self.forget(&stay.id.user);
        }
        let lane = self.lanes.entry(stay.id.user.clone()).or_insert_with(|| Lane {
            stay: stay.clone(),
            waiting: BTreeMap::new(),
            bytes: 0,
            sent: BTreeMap::new(),
        });
        let open = u64::try_from(lane.waiting.len() + lane.sent.len()).unwrap_or(u64::MAX);
        let taken = lane.bytes + lane.sent.values().sum::<usize>();
        let has_room = open < OPEN_MAX && taken + bytes.len() <= LANE_BYTES_MAX;
        if !has_room && rules.enforces(Rule::LaneBound) {
            return;
        }
        lane.bytes += bytes.len();
        self.bytes += bytes.len();
        lane.waiting.insert(number, bytes);
        while self.bytes > WAITING_BYTES_MAX {
            let Some(fullest) = self.lanes.iter().max_by_key(|(_, lane)| lane.bytes) else { return };
            let newest = fullest.1.waiting.last_key_value().map(|(number, _)| *number);
            let (stay, Some(newest)) = (fullest.1.stay.clone(), newest) else { return };
            self.done(&stay, newest);
        }
    }

    /// The next request to be put into the order, of the next member that may speak; none while too much is under way. Whether one
    /// may speak is asked with how many of its requests are under way, and how many of all members.
    pub fn next(&mut self, rules: &Rules, may_speak: impl Fn(&Stay, usize, usize) -> bool) -> Option<Vec<u8>> {
        let has_waiting = |(user, lane): (&UserName, &Lane)| {
            let may_speak = |_: &_| may_speak(&lane.stay, lane.sent.len(), self.sent);
            let first = lane.waiting.first_key_value().filter(may_speak)?;
            Some((user.clone(), *first.0, first.1.len()))
        };
        let start = self.turn.clone().filter(|_| rules.enforces(Rule::InTurn));
        let after = start.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let upto = start.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let later = self.lanes.range::<UserName, _>((after, Bound::Unbounded));
        let found = later.chain(self.lanes.range::<UserName, _>((Bound::Unbounded, upto))).find_map(has_waiting);
        let (user, number, length) = found?;
        if self.under_way > 0 && self.under_way + length > UNDER_WAY_BYTES_MAX {
            return None;
        }
        let lane = self.lanes.get_mut(&user)?;
        let bytes = lane.waiting.remove(&number)?;
        lane.bytes -= length;
        lane.sent.insert(number, length);
        self.bytes -= length;
        self.under_way += length;
        self.sent += 1;
        self.turn = Some(user);
        Some(bytes)
    }

    /// What was put into the order is in it, or nobody knows what became of it.
    pub fn arrived(&mut self, stay: &Stay, number: u64) {
        let Some(lane) = self.lanes.get_mut(&stay.id.user).filter(|lane| lane.stay == *stay) else { return };
        if let Some(length) = lane.sent.remove(&number) {
            self.under_way -= length;
            self.sent -= 1;
        }
        self.tidy(&stay.id.user);
    }

    /// The order went on unseen: whatever was put into it may be in it, and will not be seen to arrive.
    pub fn lose_sight(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.sent.clear());
        self.lanes.retain(|_, lane| !lane.waiting.is_empty());
        (self.under_way, self.sent) = (0, 0);
    }

    /// A request was applied, whoever put it into the order.
    pub fn done(&mut self, stay: &Stay, number: u64) {
        let Some(lane) = self.lanes.get_mut(&stay.id.user).filter(|lane| lane.stay == *stay) else { return };
        let length = lane.waiting.remove(&number).map_or(0, |bytes| bytes.len());
        lane.bytes -= length;
        self.bytes -= length;
        self.tidy(&stay.id.user);
    }

    fn tidy(&mut self, user: &UserName) {
        if self.lanes.get(user).is_some_and(|lane| lane.waiting.is_empty() && lane.sent.is_empty()) {
            self.lanes.remove(user);
        }
    }

    /// Whoever is not a member here any more has nothing that waits.
    pub fn keep(&mut self, members: &BTreeMap<UserName, Stay>) {
        let gone = |(user, lane): (&UserName, &Lane)| (members.get(user) != Some(&lane.stay)).then(|| user.clone());
        let gone: Vec<UserName> = self.lanes.iter().filter_map(gone).collect();
        gone.iter().for_each(|user| self.forget(user));
    }

    fn forget(&mut self, user: &UserName) {
        if let Some(lane) = self.lanes.remove(user) {
            self.bytes -= lane.bytes;
            self.under_way -= lane.sent.values().sum::<usize>();
            self.sent -= lane.sent.len();
        }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    #[cfg(test)]
    pub fn bytes(&self) -> (usize, usize) {
        (self.bytes, self.under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_protocol::{Incarnation, MemberId};

    fn stay(user: &str) -> Stay {
        Stay { id: MemberId { user: user.parse().unwrap(), incarnation: Incarnation(1) }, key: [1; 32] }
    }

    fn rules() -> Rules {
        ringfort_protocol::Rules::new(4, 1, 2).unwrap().into()
    }

    fn served(waiting: &mut Waiting) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| waiting.next(&rules(), |_, _, _| true)).collect()
    }

    #[test]
    fn members_are_served_in_turn_and_each_in_the_order_of_its_numbers() {
        let mut waiting = Waiting::default();
        for (user, number) in [("ana", 2), ("ana", 1), ("ana", 3), ("ben", 7), ("cy", 1)] {
            waiting.push(&stay(user), number, format!("{user} {number}").into(), &rules());
        }
        let order: Vec<String> = served(&mut waiting).into_iter().map(|b| String::from_utf8(b).unwrap()).collect();
        assert_eq!(order, ["ana 1", "ben 7", "cy 1", "ana 2", "ana 3"]);
        assert!(waiting.knows(&stay("ana"), 2), "until it is in the order");
        for (user, number) in [("ana", 1), ("ana", 2), ("ana", 3), ("ben", 7), ("cy", 1)] {
            waiting.arrived(&stay(user), number);
        }
        assert!(waiting.is_empty() && waiting.bytes() == (0, 0));
    }

    #[test]
    fn without_turns_the_first_by_name_comes_first() {
        let mut waiting = Waiting::default();
        for (user, number) in [("ana", 1), ("ana", 2), ("ben", 7)] {
            waiting.push(&stay(user), number, format!("{user} {number}").into(), &rules());
        }
        let rules = rules().without(Rule::InTurn);
        let order: Vec<Vec<u8>> = std::iter::from_fn(|| waiting.next(&rules, |_, _, _| true)).collect();
        assert_eq!(order, [b"ana 1", b"ana 2", b"ben 7"]);
    }

    #[test]
    fn what_one_member_may_let_wait_has_a_bound_in_number_and_in_bytes() {
        let mut waiting = Waiting::default();
        for number in 1..=1000 {
            waiting.push(&stay("ana"), number, vec![0; 10], &rules());
            waiting.push(&stay("ben"), number, vec![0; 60_000], &rules());
        }
        assert_eq!(served(&mut waiting).len(), 16 + LANE_BYTES_MAX / 60_000);
        assert!(waiting.next(&rules(), |_, _, _| true).is_none());
        waiting.push(&stay("ana"), 2000, vec![0; 10], &rules());
        assert!(waiting.next(&rules(), |_, _, _| true).is_none(), "what is under way counts too");
    }

    #[test]
    fn no_more_than_a_megabyte_is_under_way_and_what_no_stay_may_ask_waits() {
        let mut waiting = Waiting::default();
        for user in ["ana", "ben", "cy", "dora"] {
            for number in 1..=8 {
                waiting.push(&stay(user), number, vec![0; 65_000], &rules());
            }
        }
        assert!(waiting.next(&rules(), |_, _, _| false).is_none());
        assert_eq!(served(&mut waiting).len(), UNDER_WAY_BYTES_MAX / 65_000);
        waiting.arrived(&stay("ana"), 1);
        assert_eq!(served(&mut waiting).len(), 1);
        waiting.keep(&BTreeMap::new());
        assert!(waiting.is_empty() && waiting.bytes() == (0, 0));
    }

    #[test]
    fn what_another_stay_of_the_user_asked_takes_nothing_away_that_waits() {
        let mut waiting = Waiting::default();
        let other = Stay { key: [2; 32], ..stay("ana") };
        waiting.push(&stay("ana"), 1, vec![0; 10], &rules());
        waiting.done(&other, 1);
        assert!(waiting.knows(&stay("ana"), 1));
        waiting.done(&stay("ana"), 1);
        assert!(waiting.is_empty() && waiting.bytes() == (0, 0));
    }

    #[test]
    fn when_everything_is_full_the_fullest_lane_makes_room() {
        let mut waiting = Waiting::default();
        waiting.push(&stay("small"), 1, vec![0; 100], &rules());
        for user in 0..100 {
            for number in 1..=8 {
                waiting.push(&stay(&format!("u{user}")), number, vec![0; 65_000], &rules());
            }
        }
        assert!(waiting.bytes().0 <= WAITING_BYTES_MAX);
        assert!(waiting.knows(&stay("small"), 1), "who asks little loses nothing");
    }
}
