//! Limits on password evaluations, per user.
//!
//! A restart gives nobody fresh guesses: before an evaluation is answered, it is on disk that it may have been. To be
//! cheap, a few are put down at once, and nothing more until they are used up; so what is on disk is never more than
//! what is left, and less by a few at most. Time does not run while the leader is down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::UserName;
use crate::time::Time;

/// A bucket is put down on disk this many times, if all of it is used at once.
const PARTS: u32 = 4;
/// Full buckets that are forgotten at once.
const FORGOTTEN_MAX: usize = 256;

/// What is kept on disk of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// Whose.
    pub user: UserName,
    /// At least so many are left; `None` for all, which needs no record.
    pub left: Option<u32>,
}

/// A token bucket per registered user. Nothing is evaluated for anybody else.
///
/// An evaluation takes a token, a successful login gives it back: a person who types the right
/// password never waits, a guesser gets `per_minute` tries.
#[derive(Debug)]
pub struct Throttle {
    per_minute: u32,
    /// Those that are not full.
    buckets: BTreeMap<UserName, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    refilled: Time,
    /// What is on disk.
    durable: u32,
}

impl Throttle {
    /// Allows `per_minute` unanswered evaluations a minute, all of them at once if need be.
    pub fn new(per_minute: u32) -> Self {
        Throttle { per_minute: per_minute.max(1), buckets: BTreeMap::new() }
    }

    /// Takes up a bucket as it was on disk.
    pub fn restore(&mut self, now: Time, attempts: Attempts) {
        let Some(left) = attempts.left else { return };
        let tokens = left.min(self.per_minute);
        self.buckets.insert(attempts.user, Bucket { tokens, refilled: now, durable: tokens });
    }

    /// Whether `user` has a token left.
    pub fn allows(&mut self, now: Time, user: &UserName) -> bool {
        self.refilled(now, user).is_none_or(|bucket| bucket.tokens > 0)
    }

    /// Takes a token of `user`, if there is one. What is returned must be durable before the evaluation is answered.
    pub fn take(&mut self, now: Time, user: &UserName) -> Option<Attempts> {
        let (per_minute, part) = (self.per_minute, (self.per_minute / PARTS).max(1));
        if self.refilled(now, user).is_none() {
            let full = Bucket { tokens: per_minute, refilled: now, durable: per_minute };
            self.buckets.insert(user.clone(), full);
        }
        let bucket = self.buckets.get_mut(user)?;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        if bucket.tokens >= bucket.durable {
            return None;
        }
        bucket.durable = (bucket.tokens + 1).saturating_sub(part);
        Some(Attempts { user: user.clone(), left: Some(bucket.durable) })
    }

    /// Gives the token of a successful login back.
    pub fn give_back(&mut self, user: &UserName) {
        if let Some(bucket) = self.buckets.get_mut(user) {
            bucket.tokens = (bucket.tokens + 1).min(self.per_minute);
        }
    }

    /// Buckets that are full again: what is on disk of them can go.
    pub fn forget_full(&mut self, now: Time) -> Vec<Attempts> {
        let (per_minute, interval) = (self.per_minute, self.interval());
        let full = |bucket: &Bucket| gained(bucket, now, interval).saturating_add(bucket.tokens) >= per_minute;
        let users = self.buckets.iter().filter(|(_, bucket)| full(bucket)).map(|(user, _)| user.clone());
        let users: BTreeSet<UserName> = users.take(FORGOTTEN_MAX).collect();
        self.buckets.retain(|user, _| !users.contains(user));
        users.into_iter().map(|user| Attempts { user, left: None }).collect()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60) / self.per_minute
    }

    fn refilled(&mut self, now: Time, user: &UserName) -> Option<&Bucket> {
        let (per_minute, interval) = (self.per_minute, self.interval());
        let bucket = self.buckets.get_mut(user)?;
        let gained = gained(bucket, now, interval);
        if gained > 0 {
            bucket.tokens = bucket.tokens.saturating_add(gained).min(per_minute);
            bucket.refilled = if bucket.tokens == per_minute { now } else { bucket.refilled + interval * gained };
        }
        Some(bucket)
    }
}

fn gained(bucket: &Bucket, now: Time, interval: Duration) -> u32 {
    u32::try_from(now.since(bucket.refilled).as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> UserName {
        "ana".parse().unwrap()
    }

    fn at(s: u64) -> Time {
        Time::from_start(Duration::from_secs(s))
    }

    /// Attempts that are let through, and what they leave on disk.
    fn attempts(throttle: &mut Throttle, now: Time, disk: &mut BTreeMap<UserName, u32>) -> usize {
        let mut allowed = 0;
        for _ in 0..50 {
            if throttle.allows(now, &ana()) {
                allowed += 1;
                disk.extend(throttle.take(now, &ana()).and_then(|a| Some((a.user, a.left?))));
            }
        }
        allowed
    }

    #[test]
    fn guesses_are_limited_and_refill_slowly() {
        let (mut throttle, mut disk) = (Throttle::new(6), BTreeMap::new());
        assert_eq!(attempts(&mut throttle, at(0), &mut disk), 6);
        assert_eq!(attempts(&mut throttle, at(9), &mut disk), 0);
        assert_eq!(attempts(&mut throttle, at(10), &mut disk), 1);
        throttle.give_back(&ana());
        assert_eq!(attempts(&mut throttle, at(10), &mut disk), 1);
        assert_eq!(attempts(&mut throttle, at(1000), &mut disk), 6, "never more than the limit");
    }

    #[test]
    fn restarts_give_no_fresh_guesses() {
        let (mut disk, mut guesses) = (BTreeMap::<UserName, u32>::new(), 0);
        for _restart in 0..40 {
            let mut throttle = Throttle::new(12);
            for (user, left) in &disk {
                throttle.restore(at(0), Attempts { user: user.clone(), left: Some(*left) });
            }
            // One guess, and the leader is killed.
            if throttle.allows(at(0), &ana()) {
                guesses += 1;
                disk.extend(throttle.take(at(0), &ana()).and_then(|a| Some((a.user, a.left?))));
            }
        }
        assert!((1..=12).contains(&guesses), "{guesses} guesses");
    }

    #[test]
    fn the_disk_is_written_rarely_and_holds_only_buckets_that_are_not_full() {
        let mut throttle = Throttle::new(12);
        let writes = (0..12).filter_map(|_| throttle.take(at(0), &ana())).count();
        assert_eq!(writes, 4);
        assert_eq!(throttle.take(at(0), &ana()), None, "nothing is left to put down");
        assert_eq!(throttle.forget_full(at(59)), vec![]);
        assert_eq!(throttle.forget_full(at(60)), vec![Attempts { user: ana(), left: None }]);
        assert!(throttle.buckets.is_empty());
        // Somebody who types the right password, again and again.
        let writes = (0..100).filter_map(|_| (throttle.take(at(61), &ana()), throttle.give_back(&ana())).0).count();
        assert_eq!(writes, 1);
    }
}
