//! Views and their keys: what leaders claim and what members make of it
//! (seed 002 §3.3, A9–A11, B1–B7, P3, P6).

mod message;
mod publisher;
#[cfg(test)]
mod tests;
mod tracker;

use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::{InputPoint, KeyRole, Output};

pub use message::{Base, ViewClaim};
pub use publisher::Publisher;
pub use tracker::{Ask, Installed, TrackerOutput, ViewTracker};

use crate::group::GroupInfo;
use crate::ids::{SessionId, ViewId};

/// Past views that leaders can still be asked for, and whose shares members keep until there are enough of them.
const VIEWS_KEPT_MAX: usize = 128;

/// `g~ = H1(group, session, epoch, digest, refreshes)` (P3).
pub fn view_point(group: &GroupInfo, session: SessionId, view: ViewId, refreshes: u64) -> InputPoint {
    InputPoint::hash(
        KeyRole::GroupKey,
        &[&group.id().0, &session.0, &view.epoch.0.to_be_bytes(), &view.digest.0, &refreshes.to_be_bytes()],
    )
}

/// `K = H2(g~^a0)`, bound to the view.
pub fn group_key(output: &Output, view: ViewId) -> Secret32 {
    output.key("ringfort group key", &[&view.digest.0])
}
