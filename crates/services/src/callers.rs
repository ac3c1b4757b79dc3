//! Exactly once: which numbers of each stay were applied, and what was replied to the last of them.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;

use crate::allowance::{Allowance, Rate};
use crate::limits::{
    ALL_WAITING_MAX, APPLIED_BURST, APPLIED_PER_S, CALLERS_MAX, KEPT_REPLY_BYTES_MAX, NUMBERS_KEPT, OPEN_MAX,
    PUT_OFF_BYTES_MAX, PUT_OFF_KEPT, WAITING_MAX,
};
use crate::machine::{Applied, Reply};
use crate::request::{Answer, Request, Stay};
use crate::rules::{Rule, Rules};
use crate::words::Words;

const RATE: Rate = Rate(APPLIED_BURST, APPLIED_PER_S);

/// What was applied of each user's latest stay, and whose replies were put off.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Callers {
    records: BTreeMap<UserName, Record>,
    /// By place: whose request it is, and its number.
    waiting: BTreeMap<u64, (UserName, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Record {
    stay: Stay,
    /// The highest number that was applied.
    highest: u64,
    /// Which of the numbers below it were: bit `i` for `highest - i`.
    applied: u64,
    /// The place of the last of them.
    place: u64,
    /// What it may still ask.
    allowance: Allowance,
    /// By number: where it was applied, and what is kept of the reply.
    replies: BTreeMap<u64, (u64, Kept)>,
    /// The same of requests whose replies were put off.
    put_off: BTreeMap<u64, (u64, Kept)>,
}

/// What is kept of a reply.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
enum Kept {
    /// All of it.
    Whole(Vec<u8>) = 1,
    /// What the machine gave to be kept, if anything.
    Part(Option<Vec<u8>>) = 2,
    /// There is none yet; what was told meanwhile.
    Awaited(Vec<u8>) = 3,
}

impl Callers {
    /// Whether a request may be applied: it was not, and no later stay has asked anything.
    pub fn is_fresh(&self, request: &Request, rules: &Rules) -> bool {
        let Some(record) = self.records.get(&request.stay.id.user) else { return true };
        if record.stay == request.stay {
            return !rules.enforces(Rule::Once) || !record.has_applied(request.number);
        }
        // Of two keys for one stay the one that asks first is it.
        let later = request.stay.id.incarnation > record.stay.id.incarnation;
        later || !rules.enforces(Rule::LatestStay)
    }

    fn of(&self, stay: &Stay) -> Option<&Record> {
        self.records.get(&stay.id.user).filter(|record| record.stay == *stay)
    }

    /// Whether the stay may ask now: valid requests cost everybody a signature each, whoever puts them into the order.
    pub fn can_pay(&self, stay: &Stay, time_us: u64, rules: &Rules) -> bool {
        self.can_pay_for(stay, 1, time_us) || !rules.enforces(Rule::Paid)
    }

    /// Whether so many requests of the stay could be paid.
    pub fn can_pay_for(&self, stay: &Stay, requests: u64, time_us: u64) -> bool {
        self.of(stay).is_none_or(|record| record.allowance.covers(requests, time_us, RATE))
    }

    /// Whether another reply to the stay may be put off.
    pub fn may_wait(&self, stay: &Stay, rules: &Rules) -> bool {
        let of_stay = self.of(stay).map_or(0, |record| record.awaited().count());
        self.waiting.len() < ALL_WAITING_MAX && of_stay < WAITING_MAX || !rules.enforces(Rule::WaitingBound)
    }

    /// Notes that a request is applied at `place`, and what came of it. Returns the places of requests for whose replies nobody
    /// waits any more.
    #[must_use]
    pub fn note(&mut self, request: &Request, (place, time_us): (u64, u64), came: &Applied, words: &Words) -> Vec<u64> {
        let user = &request.stay.id.user;
        let mut gone = Vec::new();
        if self.of(&request.stay).is_none() {
            gone = self.make_room(user, words);
            self.records.insert(user.clone(), Record::new(request.stay.clone()));
        }
        let Some(record) = self.records.get_mut(user) else { return gone };
        record.allowance.spend(came.work.saturating_add(1), time_us, RATE);
        record.note(request.number, place, &came.reply);
        if matches!(came.reply, Reply::Later { .. }) {
            self.waiting.insert(place, (user.clone(), request.number));
        }
        gone
    }

    /// Another stay of the user asks. If there is no room, whoever the fewest leaders name goes, and of those whoever asked
    /// longest ago.
    fn make_room(&mut self, user: &UserName, words: &Words) -> Vec<u64> {
        let mut gone = self.records.remove(user);
        if gone.is_none() && self.records.len() >= CALLERS_MAX {
            let oldest = self.records.iter().min_by_key(|(user, record)| (words.naming(user), record.place));
            gone = oldest.map(|(user, _)| user.clone()).and_then(|user| self.records.remove(&user));
        }
        let places = gone.iter().flat_map(Record::awaited).map(|(_, place)| place).collect();
        self.stop_waiting(places)
    }

    fn stop_waiting(&mut self, places: Vec<u64>) -> Vec<u64> {
        places.iter().for_each(|place| drop(self.waiting.remove(place)));
        places
    }

    /// Whoever may not ask any more waits no more. Returns the places of requests that were waited for.
    #[must_use]
    pub fn let_go(&mut self, user: &UserName, words: &Words, rules: &Rules) -> Vec<u64> {
        let Some(record) = self.records.get_mut(user) else { return Vec::new() };
        if words.let_speak(&record.stay, rules) || !rules.enforces(Rule::WaitingEnds) {
            return Vec::new();
        }
        let awaited: Vec<(u64, u64)> = record.awaited().collect();
        for (number, place) in &awaited {
            record.put_off.insert(*number, (*place, Kept::Part(None)));
        }
        self.stop_waiting(awaited.into_iter().map(|(_, place)| place).collect())
    }

    /// A reply that was put off is given: to whom, and to which number of theirs.
    pub fn reply_later(&mut self, place: u64, reply: &[u8]) -> Option<(Stay, u64)> {
        let (user, number) = self.waiting.remove(&place)?;
        let record = self.records.get_mut(&user)?;
        let whole = reply.len() <= PUT_OFF_BYTES_MAX;
        record.put_off.insert(number, (place, if whole { Kept::Whole(reply.to_vec()) } else { Kept::Part(None) }));
        Some((record.stay.clone(), number))
    }

    /// The answer to a request that was applied and may be asked about.
    pub fn answer(&self, request: &Request) -> Option<Answer> {
        let record = self.of(&request.stay)?;
        let (key, number) = (request.stay.key, request.number);
        let Some((place, kept)) = record.replies.get(&number).or_else(|| record.put_off.get(&number)) else {
            // So old that only one whose reply was put off can be asked about: that is remembered no more.
            let is_old = number < record.oldest_kept() && record.has_applied(number);
            return is_old.then_some(Answer::Forgotten { key, number, place: 0, kept: None });
        };
        let place = *place;
        Some(match kept.clone() {
            Kept::Whole(reply) => Answer::Done { key, number, place, reply },
            Kept::Part(kept) => Answer::Forgotten { key, number, place, kept },
            Kept::Awaited(note) => Answer::Later { key, number, place, note },
        })
    }
}

impl Record {
    fn new(stay: Stay) -> Self {
        let allowance = Allowance::full(RATE);
        let (replies, put_off) = (BTreeMap::new(), BTreeMap::new());
        Record { stay, highest: 0, applied: 0, place: 0, allowance, replies, put_off }
    }

    /// Numbers and places of requests whose replies are put off.
    fn awaited(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let is_awaited = |kept: &Kept| matches!(kept, Kept::Awaited(_));
        self.put_off.iter().filter(move |(_, (_, kept))| is_awaited(kept)).map(|(number, (place, _))| (*number, *place))
    }

    /// What is too old to be remembered counts as applied.
    fn has_applied(&self, number: u64) -> bool {
        match self.highest.checked_sub(number) {
            None => false,
            Some(below) => below >= NUMBERS_KEPT || self.applied >> below & 1 == 1,
        }
    }

    /// The lowest number to which a reply is kept that was not put off.
    fn oldest_kept(&self) -> u64 {
        self.highest.saturating_sub(OPEN_MAX - 1)
    }

    fn note(&mut self, number: u64, place: u64, reply: &Reply) {
        if let Some(ahead) = number.checked_sub(self.highest) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.applied = self.applied.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = number;
        } else if let Some(below) = self.highest.checked_sub(number).filter(|below| *below < NUMBERS_KEPT) {
            self.applied |= 1 << below;
        }
        self.place = place;
        let fits = |bytes: &&Vec<u8>| bytes.len() <= KEPT_REPLY_BYTES_MAX;
        match reply {
            Reply::Later { note } => {
                let note = if note.len() <= PUT_OFF_BYTES_MAX { note.clone() } else { Vec::new() };
                self.put_off.insert(number, (place, Kept::Awaited(note)));
                self.forget_put_off();
            }
            Reply::Now { reply, .. } if fits(&reply) => {
                self.replies.insert(number, (place, Kept::Whole(reply.clone())));
            }
            Reply::Now { kept, .. } => {
                self.replies.insert(number, (place, Kept::Part(kept.as_ref().filter(fits).cloned())));
            }
        }
        self.replies = self.replies.split_off(&self.oldest_kept());
    }

    /// The oldest that are replied to go first.
    fn forget_put_off(&mut self) {
        while self.put_off.len() > PUT_OFF_KEPT {
            let is_replied = |kept: &Kept| !matches!(kept, Kept::Awaited(_));
            let replied = self.put_off.iter().find(|(_, (_, kept))| is_replied(kept)).map(|(number, _)| *number);
            let Some(oldest) = replied else { return };
            self.put_off.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_crypto::sign::Signature;
    use ringfort_protocol::{GroupId, Incarnation, MemberId};

    fn ok() -> Applied {
        Applied { reply: Reply::Now { reply: b"ok".to_vec(), kept: None }, later: Vec::new(), work: 0 }
    }

    fn rules() -> Rules {
        ringfort_protocol::Rules::new(4, 1, 2).unwrap().into()
    }

    fn request(user: &str, incarnation: u64, key: u8, number: u64) -> Request {
        let id = MemberId { user: user.parse().unwrap(), incarnation: Incarnation(incarnation) };
        let stay = Stay { id, key: [key; 32] };
        Request::signed(&GroupId([1; 32]), &stay, number, Vec::new(), |_| Signature::from_bytes([0; 64]))
    }

    #[test]
    fn each_number_is_fresh_once_in_whatever_order_and_what_is_too_old_never() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let order = [1, 3, 2, 70, 69, 7, 134, 71, 133];
        for (place, number) in (1..).zip(order) {
            let request = request("ana", 1, 1, number);
            assert!(callers.is_fresh(&request, &rules()), "{number}");
            drop(callers.note(&request, (place, 0), &ok(), &words));
            assert!(!callers.is_fresh(&request, &rules()), "{number} again");
        }
        assert!(!callers.is_fresh(&request("ana", 1, 1, 70), &rules()), "64 numbers are remembered");
        assert!(!callers.is_fresh(&request("ana", 1, 1, 4), &rules()), "what is older is as if it were applied");
        assert!(callers.is_fresh(&request("ana", 1, 1, 72), &rules()));
        assert!(callers.is_fresh(&request("ana", 1, 1, u64::MAX), &rules()));
        drop(callers.note(&request("ana", 1, 1, u64::MAX), (99, 0), &ok(), &words));
        assert!(!callers.is_fresh(&request("ana", 1, 1, 134), &rules()));
    }

    #[test]
    fn a_later_stay_counts_anew_and_ends_the_one_before() {
        let (mut callers, words) = (Callers::default(), Words::default());
        drop(callers.note(&request("ana", 1, 1, 5), (1, 0), &ok(), &words));
        assert!(!callers.is_fresh(&request("ana", 1, 2, 6), &rules()), "another key of the same stay");
        assert!(callers.is_fresh(&request("ana", 2, 2, 5), &rules()));
        drop(callers.note(&request("ana", 2, 2, 5), (2, 0), &ok(), &words));
        assert!(!callers.is_fresh(&request("ana", 1, 1, 6), &rules()), "the stay before asks no more");
        assert!(callers.is_fresh(&request("ana", 1, 1, 6), &rules().without(Rule::LatestStay)), "the rule does that");
    }

    #[test]
    fn short_replies_to_the_last_numbers_are_kept_and_of_longer_ones_what_the_machine_gave_to_be_kept() {
        let (mut callers, words) = (Callers::default(), Words::default());
        for number in 1..=20 {
            let reply = vec![7; KEPT_REPLY_BYTES_MAX + usize::from(number % 2 == 0)];
            let kept = (number % 4 == 0).then(|| b"short".to_vec());
            let came = Applied { reply: Reply::Now { reply, kept }, ..ok() };
            drop(callers.note(&request("ana", 1, 1, number), (number + 100, 0), &came, &words));
        }
        let answer = |number| callers.answer(&request("ana", 1, 1, number));
        let key = [1; 32];
        assert_eq!(answer(4), Some(Answer::Forgotten { key, number: 4, place: 0, kept: None }), "it is too old");
        let reply = vec![7; KEPT_REPLY_BYTES_MAX];
        assert_eq!(answer(5), Some(Answer::Done { key, number: 5, place: 105, reply }));
        assert_eq!(answer(18), Some(Answer::Forgotten { key, number: 18, place: 118, kept: None }));
        let kept = Some(b"short".to_vec());
        assert_eq!(answer(20), Some(Answer::Forgotten { key, number: 20, place: 120, kept }));
        assert_eq!(answer(21), None, "it was not applied");
        assert_eq!(callers.answer(&request("ana", 2, 1, 20)), None, "another stay's");
    }

    fn later() -> Applied {
        Applied { reply: Reply::Later { note: b"wait".to_vec() }, ..ok() }
    }

    #[test]
    fn a_reply_that_is_put_off_is_given_once_and_again_however_many_numbers_later() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let (first, key) = (request("ana", 1, 1, 1), [1; 32]);
        assert_eq!(callers.note(&first, (7, 0), &later(), &words), []);
        let waits = Answer::Later { key, number: 1, place: 7, note: b"wait".to_vec() };
        for number in 2..=200 {
            drop(callers.note(&request("ana", 1, 1, number), (number + 100, 0), &ok(), &words));
            assert_eq!(callers.answer(&first), Some(waits.clone()));
            assert!(!callers.is_fresh(&first, &rules()));
        }
        assert_eq!(callers.reply_later(8, b"now"), None, "no such place");
        assert_eq!(callers.reply_later(7, b"now"), Some((first.stay.clone(), 1)));
        assert_eq!(callers.reply_later(7, b"then"), None, "it has its reply");
        assert_eq!(callers.answer(&first), Some(Answer::Done { key, number: 1, place: 7, reply: b"now".to_vec() }));
        for number in 201..=200 + PUT_OFF_KEPT as u64 {
            drop(callers.note(&request("ana", 1, 1, number), (number + 100, 0), &later(), &words));
            assert!(callers.reply_later(number + 100, b"now").is_some());
        }
        let forgotten = Answer::Forgotten { key, number: 1, place: 0, kept: None };
        assert_eq!(callers.answer(&first), Some(forgotten), "so many came after it");
    }

    #[test]
    fn what_is_more_work_counts_for_more_requests_and_is_paid_afterwards() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let request = request("ana", 1, 1, 1);
        drop(callers.note(&request, (1, 5), &Applied { work: 2047, ..ok() }, &words));
        assert!(!callers.can_pay(&request.stay, 2_000_005, &rules()), "1024 more than there was, and one");
        assert!(callers.can_pay(&request.stay, 2_001_959, &rules()));
    }

    #[test]
    fn what_one_stay_and_all_wait_for_has_a_bound() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let mut place = 0;
        let mut wait = |callers: &mut Callers, user: &str, number| {
            let request = request(user, 1, 1, number);
            let may = callers.may_wait(&request.stay, &rules());
            assert!(may || callers.may_wait(&request.stay, &rules().without(Rule::WaitingBound)));
            place += 1;
            drop(callers.note(&request, (place, 0), &if may { later() } else { ok() }, &words));
            may
        };
        assert_eq!((1..=100).filter(|number| wait(&mut callers, "ana", *number)).count(), WAITING_MAX);
        let users = (0..1000).map(|user| format!("u{user}"));
        let waiting = users.map(|user| (1..=20).filter(|number| wait(&mut callers, &user, *number)).count());
        assert_eq!(waiting.sum::<usize>() + WAITING_MAX, ALL_WAITING_MAX);
        assert!(callers.reply_later(1, b"now").is_some());
        assert!(wait(&mut callers, "zoe", 1), "there is room again");
    }

    #[test]
    fn nobody_waits_whose_stay_is_over() {
        let (mut callers, mut words) = (Callers::default(), Words::default());
        let (ana, ben) = (request("ana", 1, 1, 1), request("ben", 1, 1, 1));
        for number in 1..=4 {
            let leader = ringfort_protocol::LeaderId::new(number).unwrap();
            words.change(leader, vec![ana.stay.clone(), ben.stay.clone()], &[]);
        }
        drop(callers.note(&ana, (7, 0), &later(), &words));
        drop(callers.note(&ben, (8, 0), &later(), &words));
        let (user, again) = (ana.stay.id.user.clone(), request("ana", 2, 1, 1));
        let withdraw = |words: &mut Words, number| {
            words.change(ringfort_protocol::LeaderId::new(number).unwrap(), Vec::new(), std::slice::from_ref(&user));
        };
        withdraw(&mut words, 1);
        assert_eq!(callers.let_go(&user, &words, &rules()), [], "one leader says so");
        withdraw(&mut words, 2);
        assert_eq!(callers.let_go(&user, &words, &rules().without(Rule::WaitingEnds)), []);
        assert_eq!(callers.let_go(&user, &words, &rules()), [7]);
        let forgotten = Answer::Forgotten { key: [1; 32], number: 1, place: 7, kept: None };
        assert_eq!(callers.answer(&ana), Some(forgotten), "it asks anew if it is there after all");
        assert_eq!(callers.reply_later(7, b"now"), None);
        drop(callers.note(&again, (9, 0), &later(), &words));
        assert_eq!(callers.note(&request("ben", 2, 1, 1), (10, 0), &ok(), &words), [8], "a later stay asks");
        assert_eq!(callers.waiting.len(), 1);
    }

    #[test]
    fn a_full_table_lets_go_of_whom_no_leader_names() {
        let (mut callers, mut words) = (Callers::default(), Words::default());
        let user = |number: usize| format!("u{number}");
        for number in 0..CALLERS_MAX {
            drop(callers.note(&request(&user(number), 1, 1, 1), (number as u64, 0), &ok(), &words));
        }
        let leader = ringfort_protocol::LeaderId::new(1).unwrap();
        words.change(leader, vec![request(&user(0), 1, 1, 1).stay], &[]);
        drop(callers.note(&request("new", 1, 1, 1), (1_000_000, 0), &ok(), &words));
        assert_eq!(callers.records.len(), CALLERS_MAX);
        assert!(!callers.is_fresh(&request(&user(0), 1, 1, 1), &rules()), "it is named, and stays");
        assert!(callers.is_fresh(&request(&user(1), 1, 1, 1), &rules()), "nobody names it");
        assert!(!callers.is_fresh(&request(&user(2), 1, 1, 1), &rules()));
    }

    #[test]
    fn a_stay_asks_a_thousand_times_at_once_and_five_hundred_times_in_a_second_of_the_orders_time() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let ask = |callers: &mut Callers, number, time_us| {
            let request = request("ana", 1, 1, number);
            let can = callers.can_pay(&request.stay, time_us, &rules());
            if can {
                drop(callers.note(&request, (number, time_us), &ok(), &words));
            }
            can
        };
        assert_eq!((1..=2000).filter(|number| ask(&mut callers, *number, 5)).count(), 1024);
        assert_eq!((2001..=4000).filter(|number| ask(&mut callers, *number, 1_000_005)).count(), 512);
        assert!(!ask(&mut callers, 5000, 1_000_005) && ask(&mut callers, 5001, 1_001_959));
        let stay = request("ana", 1, 1, 1).stay;
        assert!(callers.can_pay(&stay, 0, &rules().without(Rule::Paid)));
        assert!(!callers.can_pay(&stay, 0, &rules()), "time that goes back gives nothing");
        assert!(callers.can_pay(&request("ana", 2, 1, 1).stay, 0, &rules()));
        assert_eq!((1..=9000).filter(|number| ask(&mut callers, 6000 + number, 900_000_000)).count(), 1024);
    }
}
