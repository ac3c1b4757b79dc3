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
}

/// A deterministic machine: what it does depends on its state and its arguments alone, so that all leaders have the same.
///
/// A request may be bytes of any kind: it is answered, and never a reason to panic. A reply to a request that changed
/// something must not be longer than [`KEPT_REPLY_BYTES_MAX`](crate::limits::KEPT_REPLY_BYTES_MAX), for it has to be given
/// again if it was lost; no reply may be longer than an [answer](crate::limits::ANSWER_BYTES_MAX) holds. All of its state must
/// fit a checkpoint, with that of the requests: some 40 MiB.
pub trait Machine: Default + Send {
    /// Applies a request, and replies.
    fn apply(&mut self, order: &Ordered<'_>, request: &[u8]) -> Vec<u8>;
    /// The state, in its one encoding.
    fn save(&self) -> Vec<u8>;
    /// What [`Machine::save`] gave.
    ///
    /// # Errors
    /// For anything else.
    fn load(saved: &[u8]) -> Result<Self, DecodeError>;
}
