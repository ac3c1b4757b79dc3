//! What bounds memory, work and frames.

use std::time::Duration;

/// The longest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 68 * 1024;
/// The longest request with its name, number and signature, in bytes.
pub const REQUEST_BYTES_MAX: usize = BODY_BYTES_MAX + 256;
/// The longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 136 * 1024;
/// Requests of one stay that may be under way at once: replies to so many are kept.
pub const OPEN_MAX: u64 = 16;
/// Numbers of one stay of which it is remembered whether they were applied.
pub const NUMBERS_KEPT: u64 = 64;
/// Replies up to this length are kept, to be given again. Of longer ones a shorter one is, if the request changed something.
pub const KEPT_REPLY_BYTES_MAX: usize = 64;
/// Requests of one stay whose replies are put off at once.
pub const WAITING_MAX: usize = 12;
/// The same of all stays: each change is compared with what they wait for, which is less work than a few signatures.
pub const ALL_WAITING_MAX: usize = 2048;
/// Requests of one stay, of those whose replies were put off, of which it is remembered what was replied.
pub const PUT_OFF_KEPT: usize = 16;
/// The longest reply to a request whose reply was put off, and the longest note meanwhile, in bytes.
pub const PUT_OFF_BYTES_MAX: usize = 32;
/// Stays that one leader's words name.
pub const WORDS_MAX: usize = 4096;
/// Changes in one message of words.
pub const WORDS_AT_ONCE: usize = 1024;
/// Stays of which it is remembered what was applied: more than can be named by n-f leaders at once.
pub const CALLERS_MAX: usize = 2 * WORDS_MAX;
/// Requests of one stay that are applied at once, and in a second of the order's time. What is above is as if it were not in
/// the order, so that it costs no signature.
pub const APPLIED_BURST: u64 = 1024;
/// See [`APPLIED_BURST`].
pub const APPLIED_PER_S: u64 = 512;
/// The same of all that one leader puts into the order, whoever signed it: some quarter of a second of work in a second.
pub const LEADER_BURST: u64 = 8192;
/// See [`LEADER_BURST`].
pub const LEADER_PER_S: u64 = 4096;
/// Entries of the log for which a leader is not listened to that put a forged request into it; doubles each time.
pub const MUTED_ENTRIES: u64 = 1024;

/// What one member's requests may take that wait at a leader, or were put into the order and are not seen in it, in bytes.
pub const LANE_BYTES_MAX: usize = 512 * 1024;
/// The same of all members.
pub const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a leader has put into the order and not seen in it, in bytes.
pub const UNDER_WAY_BYTES_MAX: usize = 1024 * 1024;

/// Calls of one program that wait or are under way.
pub const CALLS_MAX: usize = 256;
/// The first wait for answers before all leaders are asked; doubles.
pub const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest.
pub const AGAIN_AFTER_MAX: Duration = Duration::from_secs(8);
