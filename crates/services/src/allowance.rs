//! What somebody may have of the others' work, in the order's time: the same at every honest leader.

use borsh::{BorshDeserialize, BorshSerialize};

const MILLION: i64 = 1_000_000;

/// What is left, in millionths of a request, as of a time. Below 0 if the last one counted for more than there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Allowance {
    left: i64,
    time_us: u64,
}

/// Requests at once, and in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate(pub u64, pub u64);

impl Allowance {
    pub fn full(Rate(burst, _): Rate) -> Self {
        Allowance { left: millionths(burst), time_us: 0 }
    }

    fn left_at(self, time_us: u64, Rate(burst, per_s): Rate) -> i64 {
        let gained = time_us.saturating_sub(self.time_us).saturating_mul(per_s);
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.left.saturating_add(gained).min(millionths(burst))
    }

    /// Whether there is something left for so many requests.
    pub fn covers(self, requests: u64, time_us: u64, rate: Rate) -> bool {
        self.left_at(time_us, rate) >= millionths(requests)
    }

    /// A request is applied that counts for so many.
    pub fn spend(&mut self, requests: u64, time_us: u64, rate: Rate) {
        *self = Allowance { left: self.left_at(time_us, rate).saturating_sub(millionths(requests)), time_us };
    }
}

fn millionths(requests: u64) -> i64 {
    i64::try_from(requests).unwrap_or(i64::MAX).saturating_mul(MILLION)
}
