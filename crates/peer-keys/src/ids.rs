//! Names of views, and what bounds memory.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_peer::GroupViewId;

/// Members of one secure group.
pub const MEMBERS_MAX: usize = 1024;
/// The largest frame of a member, in bytes: what a client of a site can send.
pub const FRAME_BYTES_MAX: usize = 140_000;
/// The largest message of an application, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Control frames that are taken from one member in one round: an honest one sends fewer, whatever happens.
pub const CONTROL_FRAMES_MAX: u32 = 128;

/// One attempt at a secure view: the sites' view, and how often the members began again within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Round {
    /// The view of the sites.
    pub view: GroupViewId,
    /// Counts refreshes, exclusions and failures within it.
    pub attempt: u32,
}

impl Round {
    /// The first round of a view.
    pub fn first(view: GroupViewId) -> Self {
        Round { view, attempt: 0 }
    }

    /// The next round in the same view.
    #[must_use]
    pub fn next(self) -> Self {
        Round { attempt: self.attempt.saturating_add(1), ..self }
    }
}

/// What names a secure view: a digest of everything that its members have in common before they have a key.
pub type Context = [u8; 32];
