//! What somebody may have of the others' work, in the order's time: the same at every honest leader.

use borsh::{BorshDeserialize, BorshSerialize};

const MILLION: u64 = 1_000_000;

/// What is left, in millionths of a request, as of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Allowance {
    left: u64,
    time_us: u64,
}

/// Requests at once, and in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate(pub u64, pub u64);

impl Allowance {
    pub fn full(Rate(burst, _): Rate) -> Self {
        Allowance { left: burst.saturating_mul(MILLION), time_us: 0 }
    }

    fn left_at(self, time_us: u64, Rate(burst, per_s): Rate) -> u64 {
        let gained = time_us.saturating_sub(self.time_us).saturating_mul(per_s);
        self.left.saturating_add(gained).min(burst.saturating_mul(MILLION))
    }

    /// Whether there is something left for a request.
    pub fn covers_one(self, time_us: u64, rate: Rate) -> bool {
        self.left_at(time_us, rate) >= MILLION
    }

    /// A request is applied.
    pub fn spend_one(&mut self, time_us: u64, rate: Rate) {
        *self = Allowance { left: self.left_at(time_us, rate).saturating_sub(MILLION), time_us };
    }
}
