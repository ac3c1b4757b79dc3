//! What a leader says of a view.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ids::{ViewDigest, ViewId};
use crate::statement::Statement;
use crate::view::Change;

/// What the changes of a claim start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Base {
    /// From nothing: the changes are the whole member list.
    Empty = 0,
    /// From this view.
    View(ViewDigest) = 1,
    /// The list is not here: ask for a snapshot.
    Omitted = 2,
}

/// One leader's word on a view, with its share of the view's key: ⟨n, M, s, c, z⟩ of seed 002 §3.3
/// with the digest in place of the whole list `M` (P3).
///
/// Security: the share is secret, f+1 of them are the group key; `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ViewClaim {
    /// Counts this leader's claims: a later one replaces an earlier.
    pub number: u64,
    /// The view.
    pub view: ViewId,
    /// Refreshes so far, which the digest covers.
    pub refreshes: u64,
    /// What `changes` start from.
    pub base: Base,
    /// At most one change per user.
    pub changes: Vec<Change>,
    /// The share `s_i` with its proof.
    pub share: [u8; 128],
    /// The leader's signed word for the view.
    pub statement: Statement,
}

impl ViewClaim {
    /// The same for a member that may not read: zeros, which are no point, in place of the share.
    pub fn without_share(self) -> Self {
        ViewClaim { share: [0; 128], ..self }
    }
}

impl std::fmt::Debug for ViewClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ViewClaim { number, view, refreshes, base, changes, share: _, statement } = self;
        write!(f, "ViewClaim({number}, {view:?}, {refreshes}, {base:?}, {changes:?}, share redacted, {statement:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::login::WireSignature;

    #[test]
    fn a_share_does_not_show() {
        let signature = WireSignature(ringfort_crypto::sign::Signature::from_bytes([0; 64]));
        let view = ViewId { epoch: Epoch(1), digest: ViewDigest([0; 32]) };
        let shown = |share| {
            let statement = Statement { at_ms: 0, signature };
            let claim =
                ViewClaim { number: 1, view, refreshes: 0, base: Base::Empty, changes: vec![], share, statement };
            format!("{claim:?}")
        };
        assert_eq!(shown([0xAB; 128]), shown([0x11; 128]));
    }
}
