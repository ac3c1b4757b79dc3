//! Limits on password evaluations, per user.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_crypto::hash::digest;

use crate::ids::UserName;
use crate::time::Time;

/// Users that are not registered share this many buckets, so that a flood of invented names takes no memory.
const SHARED_BUCKETS: usize = 1024;

/// A token bucket per registered user; a hash decides the bucket of anybody else.
///
/// An evaluation takes a token, a successful login gives it back: a person who types the right
/// password never waits, a guesser gets `per_minute` tries.
#[derive(Debug)]
pub struct Throttle {
    per_minute: u32,
    users: BTreeMap<UserName, Bucket>,
    shared: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    refilled: Time,
}

impl Throttle {
    /// Allows `per_minute` unanswered evaluations a minute, all of them at once if need be.
    pub fn new(per_minute: u32) -> Self {
        let full = Bucket { tokens: per_minute, refilled: Time::ZERO };
        Throttle { per_minute, users: BTreeMap::new(), shared: vec![full; SHARED_BUCKETS] }
    }

    /// Takes a token of `user`; false if there is none.
    pub fn take(&mut self, now: Time, user: &UserName, registered: bool) -> bool {
        let per_minute = self.per_minute;
        let bucket = self.bucket(user, registered);
        let interval = Duration::from_secs(60) / per_minute;
        let gained = now.since(bucket.refilled).as_nanos() / interval.as_nanos().max(1);
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            bucket.tokens = bucket.tokens.saturating_add(gained).min(per_minute);
            bucket.refilled = if bucket.tokens == per_minute { now } else { bucket.refilled + interval * gained };
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        allowed
    }

    /// Gives the token of a successful login back.
    pub fn give_back(&mut self, user: &UserName) {
        let per_minute = self.per_minute;
        let bucket = self.bucket(user, true);
        bucket.tokens = (bucket.tokens + 1).min(per_minute);
    }

    fn bucket(&mut self, user: &UserName, registered: bool) -> &mut Bucket {
        if registered {
            let full = Bucket { tokens: self.per_minute, refilled: Time::ZERO };
            return self.users.entry(user.clone()).or_insert(full);
        }
        let hash = digest("ringfort throttle", &[user.as_bytes()]);
        let place = usize::from(u16::from_be_bytes([hash[0], hash[1]])) % SHARED_BUCKETS;
        self.shared.get_mut(place).expect("the place is below the number of buckets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_limited_and_refill_slowly() {
        let mut throttle = Throttle::new(6);
        let ana: UserName = "ana".parse().unwrap();
        let at = |s| Time::from_start(Duration::from_secs(s));
        for registered in [true, false] {
            assert_eq!((0..20).filter(|_| throttle.take(at(0), &ana, registered)).count(), 6);
            assert!(!throttle.take(at(9), &ana, registered));
            assert!(throttle.take(at(10), &ana, registered));
            assert!(!throttle.take(at(10), &ana, registered));
        }
        throttle.give_back(&ana);
        assert!(throttle.take(at(10), &ana, true));
        assert_eq!((0..20).filter(|_| throttle.take(at(1000), &ana, true)).count(), 6, "never more than the limit");
    }
}
