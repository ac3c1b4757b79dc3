//! What a leader's words on views may cost a member, settled before they are decoded.
//!
//! A claim's keys cost some 30 µs each to decode and to hash. Honest claims are short, long lists come in parts that were
//! asked for, and a leader whose content was false is not listened to for a while: for its heartbeats it is.

use std::time::Duration;

use ringfort_kernel::Budget;

use crate::fault::Fault;
use crate::time::Time;

/// The tags of `LeaderNotice`s that say something of views.
const CLAIM: u8 = 1;
const PAST_CLAIM: u8 = 2;
const SNAPSHOT: u8 = 3;
const FATES: u8 = 8;

/// An honest claim names at most 512 changes.
const CLAIM_BYTES_MAX: usize = 80 * 1024;
/// A part of a list names at most 1024 members.
const PART_BYTES_MAX: usize = 160 * 1024;
/// What claims of one leader may come to: at the most costly some 50 ms of work in a second.
const CLAIM_BYTES_PER_S: u64 = 128 * 1024;
const CLAIM_BYTES_BURST: u64 = 512 * 1024;
/// How long a leader is not listened to after its first false content; each further time twice as long.
const DEAF_FIRST: Duration = Duration::from_secs(1);
const DEAF_MAX: Duration = Duration::from_secs(300);

/// One leader, as a member listens to it.
#[derive(Debug)]
pub(super) struct Hearing {
    claims: Budget,
    /// Whether a part of a list was asked for and has not come.
    list_asked: bool,
    deaf_until: Time,
    falls: u32,
}

impl Hearing {
    pub fn new(now: Time) -> Self {
        let claims = Budget::new(now, CLAIM_BYTES_PER_S, CLAIM_BYTES_BURST);
        Hearing { claims, list_asked: false, deaf_until: Time::ZERO, falls: 0 }
    }

    /// A part of a list is asked for.
    pub fn ask_list(&mut self) {
        self.list_asked = true;
    }

    /// Whether an opened notice is worth decoding.
    ///
    /// # Errors
    /// It is longer than any honest one.
    pub fn admits(&mut self, now: Time, notice: &[u8]) -> Result<bool, Fault> {
        let bytes = u64::try_from(notice.len()).unwrap_or(u64::MAX);
        match notice.first() {
            Some(&(CLAIM | PAST_CLAIM | SNAPSHOT | FATES)) if now < self.deaf_until => Ok(false),
            Some(&(CLAIM | PAST_CLAIM | FATES)) if notice.len() > CLAIM_BYTES_MAX => Err(Fault::Flooding),
            Some(&SNAPSHOT) if notice.len() > PART_BYTES_MAX => Err(Fault::Flooding),
            Some(&(CLAIM | PAST_CLAIM | FATES)) => Ok(self.claims.take(now, bytes)),
            Some(&SNAPSHOT) => Ok(std::mem::take(&mut self.list_asked)),
            _ => Ok(true),
        }
    }

    /// What it said of a view was false: it is not listened to for longer each time.
    pub fn fall(&mut self, now: Time) {
        let deaf = DEAF_FIRST.saturating_mul(2_u32.saturating_pow(self.falls)).min(DEAF_MAX);
        self.deaf_until = now + deaf;
        self.falls = self.falls.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
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
    fn a_part_of_a_list_is_taken_once_for_each_time_it_is_asked_for() {
        let mut hearing = Hearing::new(at(0));
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Ok(false));
        hearing.ask_list();
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Ok(true));
        assert_eq!(hearing.admits(at(0), &[SNAPSHOT; 1000]), Ok(false));
    }

    #[test]
    fn false_content_makes_deaf_for_growing_times_to_all_but_heartbeats() {
        let mut hearing = Hearing::new(at(0));
        let mut now = 0;
        for deaf_ms in [1_000, 2_000, 4_000] {
            hearing.fall(at(now));
            assert_eq!(hearing.admits(at(now + deaf_ms - 1), &[CLAIM; 300]), Ok(false));
            assert_eq!(hearing.admits(at(now + deaf_ms - 1), &[4; 100]), Ok(true));
            now += deaf_ms;
            assert_eq!(hearing.admits(at(now), &[CLAIM; 300]), Ok(true));
        }
        (0..40).for_each(|_| hearing.fall(at(now)));
        assert_eq!(hearing.admits(at(now + 300_000), &[CLAIM; 300]), Ok(true), "five minutes at most");
    }
}
