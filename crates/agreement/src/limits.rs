//! What a leader is configured with, and what bounds its memory.

use std::time::Duration;

use crate::ids::{Author, Digest};
use crate::rules::Rules;

/// Rounds of history that a block may still bring into the log (`D`). An honest leader that is further away than so many
/// rounds last is not heard while the others are busy; at a millisecond a round that is a quarter of a second.
pub const HISTORY_ROUNDS: u64 = 256;
/// Rounds ahead of the quorum's round for which blocks are kept (`W`).
pub const AHEAD_ROUNDS: u64 = 16;
/// Rounds behind the quorum's round from which on a leader skips the rounds between.
pub const JUMP_ROUNDS: u64 = 8;
/// The largest payload of one block, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// The largest message, in bytes: it fits one payload with its length.
pub const MESSAGE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 4;
/// Equivocators named by one block.
pub const EVIDENCE_MAX: usize = 4;
/// No honest leader comes this far: above are no rounds.
pub const ROUND_MAX: u64 = 1 << 62;
/// Blocks of one author that wait for others, unless somebody's block needs them.
pub const SUSPENDED_MAX: usize = 2 * AHEAD_ROUNDS as usize;
/// References in one question for blocks.
pub const FETCH_MAX: usize = 64;
/// Bytes of one part of a checkpoint's state.
pub const PART_BYTES: usize = 64 * 1024;
/// The largest state of a checkpoint, in bytes.
pub const STATE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Parts of a state asked for at once.
pub const PARTS_ASKED_MAX: usize = 16;

/// A leader's configuration. All leaders of one group have the same epoch, rules and checkpoint distance.
#[derive(Clone, Debug)]
pub struct Config {
    /// This leader.
    pub me: Author,
    /// Names the group and the time for which this set of leaders orders.
    pub epoch: Digest,
    /// The sizes and the rules in force.
    pub rules: Rules,
    /// Committed slots from one checkpoint to the next.
    pub checkpoint_slots: u64,
    /// Bytes of local messages that wait for a block.
    pub queue_bytes_max: usize,
    /// Own payload that is not sequenced; above this, own blocks are empty.
    pub unsequenced_bytes_max: usize,
    /// What one peer may make this leader send, in bytes a second.
    pub serve_bytes_per_second: u64,
    /// Timers.
    pub timers: Timers,
}

/// How long a leader waits for what. None of it is needed for safety or for liveness.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Between two own blocks, unless a leader is behind.
    pub block_interval: Duration,
    /// Between two own blocks that only keep up with a peer, when nothing is known to be ordered.
    pub idle_interval: Duration,
    /// The longest wait for a peer's block after a quorum's.
    pub wait_max: Duration,
    /// Between two statuses while there is something to order.
    pub status_interval: Duration,
    /// Between two statuses of a leader at rest.
    pub rest_interval: Duration,
    /// The first wait for a block that was asked for; doubles.
    pub fetch_retry: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            block_interval: Duration::from_millis(1),
            idle_interval: Duration::from_millis(20),
            wait_max: Duration::from_millis(250),
            status_interval: Duration::from_millis(200),
            rest_interval: Duration::from_secs(2),
            fetch_retry: Duration::from_millis(60),
        }
    }
}

impl Config {
    /// The usual configuration of leader `me`.
    pub fn new(me: Author, epoch: Digest, rules: Rules) -> Self {
        Config {
            me,
            epoch,
            rules,
            checkpoint_slots: 256,
            queue_bytes_max: 4 * 1024 * 1024,
            unsequenced_bytes_max: 4 * 1024 * 1024,
            serve_bytes_per_second: 16 * 1024 * 1024,
            timers: Timers::default(),
        }
    }

    /// What one other author may have unsequenced here before its blocks are taken only where others name them.
    ///
    /// Twice what an honest author allows itself: what this leader has not sequenced yet, its author may have.
    pub fn others_unsequenced_bytes_max(&self) -> usize {
        self.unsequenced_bytes_max.saturating_mul(2).saturating_add(4 * PAYLOAD_BYTES_MAX)
    }
}
