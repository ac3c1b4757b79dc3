//! What a leader's words may cost a member, settled before they are decoded.
//!
//! A claim's keys cost some 30 µs each to decode and to hash. Honest claims are short, and long lists come in parts that were
//! asked for. Who says more than an honest leader has to say, or what nobody asked for, is blamed and cut off for a while,
//! like one whose content was false. What it says meanwhile is not looked at, but for answers to heartbeats.

use std::time::Duration;

use ringfort_kernel::{Budget, Penalty};

use super::{Event, Member, Step};
use crate::fault::{CUT_OFF, Culprit, Fault};
use crate::ids::LeaderId;
use crate::keys::Ask;
use crate::time::Time;
use crate::wire::MemberRequest;

/// The tags of `LeaderNotice`s that say something of views. How far streams go is not among them: what members come and go
/// costs no leader its claims.
const CLAIM: u8 = 1;
const PAST_CLAIM: u8 = 2;
const SNAPSHOT: u8 = 3;
const FATES: u8 = 10;

/// An honest claim names at most 512 changes.
pub(crate) const CLAIM_BYTES_MAX: usize = 80 * 1024;
/// A part of a list names at most 1024 members.
const PART_BYTES_MAX: usize = 160 * 1024;
/// What claims of one leader may come to: at the most costly some 50 ms of work in a second.
const CLAIM_BYTES_PER_S: u64 = 128 * 1024;
const CLAIM_BYTES_BURST: u64 = 512 * 1024;
/// Time between two questions for the same missing view.
pub(super) const ASK_SPACING: Duration = Duration::from_millis(250);
/// What a frame counts for beside its length, bytes: what opening it costs, however short it is.
const FRAME_BYTES: u64 = 256;
/// More than any honest leader says, messages of members apart: 2 MB a second, on top of what its queue and the network can
/// have held back.
const HONEST_BYTES_PER_S: u64 = 2 * 1024 * 1024;
const HONEST_BYTES_BURST: u64 = 16 * 1024 * 1024;

/// One leader, as a member listens to it.
#[derive(Debug)]
pub(super) struct Hearing {
    /// What an honest leader can have said at all.
    honest: Budget,
    claims: Budget,
    /// Parts of lists that were asked for and have not come.
    parts_asked: u32,
    penalty: Penalty,
}

impl Hearing {
    pub fn new(now: Time) -> Self {
        let claims = Budget::new(now, CLAIM_BYTES_PER_S, CLAIM_BYTES_BURST);
        let honest = Budget::new(now, HONEST_BYTES_PER_S, HONEST_BYTES_BURST);
        Hearing { honest, claims, parts_asked: 0, penalty: CUT_OFF }
    }

    /// A part of a list is asked for.
    pub fn ask_part(&mut self) {
        self.parts_asked = self.parts_asked.saturating_add(1);
    }

    /// Whether a frame is to be looked at at all.
    ///
    /// # Errors
    /// No honest leader says so much.
    pub fn hears(&mut self, now: Time, frame: &[u8]) -> Result<bool, Fault> {
        let bytes = FRAME_BYTES + u64::try_from(frame.len()).unwrap_or(u64::MAX);
        match self.honest.take(now, bytes) {
            true => Ok(true),
            false if self.is_cut_off(now) => Ok(false),
            false => Err(Fault::Flooding),
        }
    }

    /// Whether an opened notice is worth decoding.
    ///
    /// # Errors
    /// It is longer than any honest one, or a part of a list that nobody asked for.
    pub fn admits(&mut self, now: Time, notice: &[u8]) -> Result<bool, Fault> {
        let bytes = u64::try_from(notice.len()).unwrap_or(u64::MAX);
        match notice.first() {
            Some(&(CLAIM | PAST_CLAIM | SNAPSHOT | FATES)) if self.is_cut_off(now) => Ok(false),
            Some(&(CLAIM | PAST_CLAIM | FATES)) if notice.len() > CLAIM_BYTES_MAX => Err(Fault::Flooding),
            Some(&SNAPSHOT) if notice.len() > PART_BYTES_MAX => Err(Fault::Flooding),
            Some(&(CLAIM | PAST_CLAIM | FATES)) => Ok(self.claims.take(now, bytes)),
            Some(&SNAPSHOT) => {
                self.parts_asked = self.parts_asked.checked_sub(1).ok_or(Fault::Flooding)?;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// It deviated: it is cut off, for longer each time. For how long; `None` if it is cut off already.
    pub fn cut_off(&mut self, now: Time) -> Option<Duration> {
        let already = self.is_cut_off(now);
        let length = self.penalty.punish(now);
        (!already).then_some(length)
    }

    fn is_cut_off(&self, now: Time) -> bool {
        self.penalty.left(now).is_some()
    }
}

impl Member {
    pub(super) fn hearing(&mut self, now: Time, leader: LeaderId) -> &mut Hearing {
        self.hearing.entry(leader).or_insert_with(|| Hearing::new(now))
    }

    /// Whoever deviated on its own link is cut off. Whose words turn out false in the light of another's is not heard on
    /// views for as long.
    pub(super) fn cut_off(&mut self, now: Time, from: LeaderId, step: &mut Step) {
        let blamed = step.events.iter().filter_map(|event| match event {
            Event::Blamed(Culprit::Leader(leader), fault) if fault.cuts_link() => Some((*leader, *fault)),
            _ => None,
        });
        for (leader, fault) in blamed.collect::<Vec<_>>() {
            let length = self.hearing(now, leader).cut_off(now);
            if let Some(length) = length.filter(|_| leader == from) {
                step.events.push(Event::CutOff(leader, fault, length));
            }
        }
    }

    /// Asks a claimant for what the best view still lacks.
    pub(super) fn ask_for_missing(&mut self, now: Time, step: &mut Step) {
        if now < self.asked_at + ASK_SPACING && self.asked_at != Time::ZERO {
            return;
        }
        let Some((leader, ask)) = self.tracker.as_ref().and_then(|t| t.missing(&self.group, self.asks)) else { return };
        self.asked_at = now;
        self.asks += 1;
        self.ask(now, leader, ask, step);
    }

    pub(super) fn ask(&mut self, now: Time, leader: LeaderId, ask: Ask, step: &mut Step) {
        if let Ask::Snapshot(..) = &ask {
            self.hearing(now, leader).ask_part();
        }
        let request = match ask {
            Ask::Claim(have) => MemberRequest::Claim { have },
            Ask::Snapshot(view, after) => MemberRequest::Snapshot { view, after },
            Ask::Fates(stays) => MemberRequest::Fates(stays),
        };
        self.request(leader, &request, step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::ids::ViewDigest;
    use crate::wire::{Few, LeaderNotice};

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_counted_as_words_on_views_are_words_on_views() {
        let tag = |notice: &LeaderNotice| *encode(notice).first().unwrap();
        let fates = LeaderNotice::Fates { over: Vec::new(), open: Vec::new() };
        let (view, entries) = (ViewDigest([0; 32]), Vec::new());
        let snapshot = LeaderNotice::Snapshot { view, after: None, entries, last: true };
        assert_eq!((tag(&fates), tag(&snapshot)), (FATES, SNAPSHOT));
        let mut hearing = Hearing::new(at(0));
        let megabyte = [&[FATES][..], &vec![0; 1024 * 1024]].concat();
        assert_eq!(hearing.admits(at(0), &megabyte), Err(Fault::Flooding));
    }

    #[test]
    fn ends_of_streams_cost_a_leader_none_of_its_claims() {
        let tails = encode(&LeaderNotice::Tails(Few::new(Vec::new()).unwrap()));
        let mut hearing = Hearing::new(at(0));
        for _ in 0..1_000 {
            assert_eq!(hearing.admits(at(0), &[&tails[..1], &[0; 2_000][..]].concat()), Ok(true));
        }
        assert_eq!(hearing.admits(at(0), &[CLAIM; CLAIM_BYTES_MAX]), Ok(true));
    }

    #[test]
    fn a_claim_longer_than_any_honest_one_is_not_decoded() {
        let mut hearing = Hearing::new(at(0));
        assert_eq!(hearing.admits(at(0), &[CLAIM; CLAIM_BYTES_MAX]), Ok(true));
        assert_eq!(hearing.admits(at(0), &[CLAIM; CLAIM_BYTES_MAX + 1]), Err(Fault::Flooding));
        assert_eq!(hearing.admits(at(0), &[PAST_CLAIM; CLAIM_BYTES_MAX + 1]), Err(Fault::Flooding));
    }

    #[test]
    fn what_claims_cost_is_bounded_and_heartbeats_come_through() {
        let mut hearing = Hearing::new(at(0));
        let admitted = (0..1000).filter(|i| hearing.admits(at(i * 10), &[CLAIM; CLAIM_BYTES_MAX]).unwrap()).count();
        let bytes_max = CLAIM_BYTES_BURST + 10 * CLAIM_BYTES_PER_S;
        assert!((1..=bytes_max).contains(&((admitted * CLAIM_BYTES_MAX) as u64)), "{admitted} in ten seconds");
        assert_eq!(hearing.admits(at(10_000), &[4; 100]), Ok(true), "a heartbeat's answer");
    }

    #[test]
    fn a_part_of_a_list_is_taken_once_for_each_time_it_is_asked_for_and_blamed_otherwise() {
        let mut hearing = Hearing::new(at(0));
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Err(Fault::Flooding));
        hearing.ask_part();
        hearing.ask_part();
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Ok(true));
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Ok(true));
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Err(Fault::Flooding));
    }

    #[test]
    fn who_says_more_than_any_honest_leader_is_blamed_once_and_cut_off() {
        // What an honest leader's queue and the network have held back, all at once, and ten minutes of a busy group.
        let mut hearing = Hearing::new(at(0));
        assert!((0..150).all(|_| hearing.hears(at(0), &[CLAIM; CLAIM_BYTES_MAX]) == Ok(true)));
        for second in 1..600 {
            assert!((0..20).all(|_| hearing.hears(at(second * 1_000), &[CLAIM; CLAIM_BYTES_MAX]) == Ok(true)));
        }
        // Ten megabytes a second, whatever the length of its frames.
        for frame in [&[4; 100][..], &[CLAIM; CLAIM_BYTES_MAX]] {
            let mut hearing = Hearing::new(at(0));
            let each_ms = 10_000 / frame.len() as u64 + 1;
            let mut heard =
                (0..10_000).flat_map(|ms| vec![ms; each_ms as usize]).map(|ms| (ms, hearing.hears(at(ms), frame)));
            let (ms, first) = heard.find(|(_, heard)| *heard != Ok(true)).expect("named within ten seconds");
            assert_eq!((first, ms < 5_000), (Err(Fault::Flooding), true), "named after {ms} ms");
            drop(heard);
            assert_eq!(hearing.cut_off(at(ms)).map(|length| length.as_secs()), Some(1));
            assert_eq!(hearing.cut_off(at(ms)), None, "one cut");
            let meanwhile = (0..1_000).map(|_| hearing.hears(at(ms), &[CLAIM; CLAIM_BYTES_MAX])).last();
            assert_eq!(meanwhile, Some(Ok(false)), "who is cut off is not blamed again");
        }
    }

    #[test]
    fn who_is_cut_off_is_not_heard_for_growing_times_but_for_heartbeats() {
        let mut hearing = Hearing::new(at(0));
        let mut now = 0;
        for deaf_ms in [1_000, 2_000, 4_000] {
            assert_eq!(hearing.cut_off(at(now)), Some(Duration::from_millis(deaf_ms)));
            assert_eq!(hearing.admits(at(now + deaf_ms - 1), &[CLAIM; 300]), Ok(false));
            assert_eq!(hearing.admits(at(now + deaf_ms - 1), &[4; 100]), Ok(true));
            now += deaf_ms;
            assert_eq!(hearing.admits(at(now), &[CLAIM; 300]), Ok(true));
        }
        for _ in 0..40 {
            now += hearing.cut_off(at(now)).unwrap().as_millis() as u64;
        }
        assert_eq!(hearing.cut_off(at(now)), Some(Duration::from_secs(60)), "a minute at most");
    }
}
