//! What a machine has to be.

use ringfort_protocol::codec::DecodeError;
use ringfort_protocol::{Role, UserName};

/// What the order says of a request: the same at every honest leader.
#[derive(Clone, Copy, Debug)]
pub struct Ordered<'a> {
    /// Its place among the requests that were applied, from 1.
    pub place: u64,
    /// The order's time, Unix time in microseconds: between honest leaders' clocks, and never falling.
    pub time_us: u64,
    /// Who asks.
    pub user: &'a UserName,
    /// What the group's policy lets the user do.
    pub role: Role,
    /// Whether the reply may be [put off](Reply::Later).
    pub may_wait: bool,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For who asked.
    pub reply: Reply,
    /// Replies to requests before that were put off, by their places. None may be longer than
    /// [`PUT_OFF_BYTES_MAX`](crate::limits::PUT_OFF_BYTES_MAX).
    pub later: Vec<(u64, Vec<u8>)>,
    /// For how many requests more this one counts, against what its asker may have applied.
    pub work: u64,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Given at once.
    Now {
        /// It.
        reply: Vec<u8>,
        /// What is kept in its place if it is too long for that, to be given if it was lost: for a request that changed something.
        kept: Option<Vec<u8>>,
    },
    /// Given when something happens, at the place of that. Only if the request [may wait](Ordered::may_wait).
    Later {
        /// What is told now, as short as the reply.
        note: Vec<u8>,
    },
}

/// A deterministic machine: what it does depends on its state and its arguments alone, so that all leaders have the same.
///
/// A request may be bytes of any kind: it is answered, and never a reason to panic. What is kept of a reply to a request that
/// changed something must not be longer than [`KEPT_REPLY_BYTES_MAX`](crate::limits::KEPT_REPLY_BYTES_MAX), for it has to be
/// given again if it was lost; no reply may be longer than an [answer](crate::limits::ANSWER_BYTES_MAX) holds. All of its state
/// must fit a checkpoint, with that of the requests: some 40 MiB.
pub trait Machine: Default + Send {
    /// Applies a request, and replies.
    fn apply(&mut self, order: &Ordered<'_>, request: &[u8]) -> Applied;
    /// Nobody waits any more for the reply to a request that was put off.
    fn forget(&mut self, place: u64);
    /// The state, in its one encoding.
    fn save(&self) -> Vec<u8>;
    /// What [`Machine::save`] gave.
    ///
    /// # Errors
    /// For anything else.
    fn load(saved: &[u8]) -> Result<Self, DecodeError>;
}
