//! What one message costs all leaders together, line by line: the operations that cannot be avoided, and what was used.

use std::time::Duration;

use ringfort::agreement::Digest;

use super::LEADERS;
use super::node::Stretch;
use crate::floor::Floor;
use crate::row::{Row, median};

const REPEATS: usize = 200;
/// What links seal at once.
const RECORD_BYTES: usize = 16 * 1024;
/// What a hash is taken of at once.
const BLOCK_BYTES: usize = 16 * 1024;

/// Rows for one stretch of load in which all leaders were honest.
pub(super) fn rows(stretches: &[&Stretch], bytes: usize) -> Vec<Row> {
    let largest = |read: fn(&Stretch) -> u64| stretches.iter().map(|stretch| read(stretch)).max().unwrap_or(0);
    let (messages, rounds) = (largest(|s| s.messages).max(1), largest(|s| s.rounds).max(1));
    let per_round = |time: Duration| time.mul_f64(LEADERS as f64 * rounds as f64 / messages as f64);
    let others = LEADERS as u32 - 1;
    let mut floor = Floor::new(REPEATS);
    let (sign, verify) = floor.sign_and_verify(72);
    let share = floor.share();
    // A quorum's shares: f + 1 proofs of two equations each, and one sum to combine.
    let toss = floor.decompress() * 6 + floor.sum(1 + LEADERS, 7) + floor.sum(0, 2);
    let hashed = vec![7; BLOCK_BYTES];
    let hash = median(REPEATS, || Digest::of("bench", &hashed));
    let (seal, open) = (floor.seal(RECORD_BYTES), floor.open(RECORD_BYTES));
    let per_message = |time: Duration, of: usize| time.mul_f64(bytes as f64 / of as f64);
    let lines = [
        ("signatures: each leader signs one block a round and checks three", per_round(sign + verify * others)),
        ("coins: each leader makes a share and tosses once a round", per_round(share + toss)),
        ("hashes: each leader hashes each message", per_message(hash, BLOCK_BYTES) * LEADERS as u32),
        ("links: each message is sealed and opened three times", per_message(seal + open, RECORD_BYTES) * others),
    ];
    let sum: Duration = lines.iter().map(|(_, time)| *time).sum();
    let used: Duration = stretches.iter().map(|stretch| stretch.cpu).sum();
    let syncs: Duration = stretches.iter().map(|stretch| stretch.sync_time).sum();
    let count: u64 = stretches.iter().map(|stretch| stretch.syncs).sum();
    let of_messages = |time: Duration| time.div_f64(messages as f64);
    let mut rows = vec![Row::time("CPU time of all leaders for one message", of_messages(used), Some(sum))];
    rows.extend(lines.map(|(name, time)| Row::time(format!("  {name}"), time, None)));
    let each = if count == 0 { Duration::ZERO } else { syncs.div_f64(count as f64) };
    rows.push(Row::time("  waiting for the disk, each time", each, None));
    rows.push(Row::time("  a round", longest(stretches).div_f64(rounds as f64), None));
    rows
}

fn longest(stretches: &[&Stretch]) -> Duration {
    stretches.iter().map(|stretch| stretch.length).max().unwrap_or_default()
}
