//! A leader's signed word for a view (P6, A28): f+1 of them certify it to anybody, with no leader's help.
//!
//! What a leader signs is a state that it has accepted and made durable. Its states form a chain (`coordination`),
//! so two signed views of which neither can have come before the other convict it (`evidence`).

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::sign::BadSignature;

use crate::codec::encode;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{LeaderId, ViewId};
use crate::login::WireSignature;

const LABEL: &str = "ringfort view statement";

/// That a leader was in a view, and when by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Statement {
    /// When it published the view: Unix time, milliseconds. Its own word: up to f leaders may lie.
    pub at_ms: u64,
    /// Over group, session, leader, view, refreshes and time.
    pub signature: WireSignature,
}

impl Statement {
    /// Signs a view.
    pub fn sign(secrets: &LeaderSecrets, group: &GroupInfo, view: ViewId, refreshes: u64, at_ms: u64) -> Self {
        let signed = encode(&(group.session(), secrets.id, view, refreshes, at_ms));
        Statement { at_ms, signature: WireSignature(secrets.signing.sign(LABEL, &[&group.id().0, &signed])) }
    }

    /// Checks the signature of `leader`.
    ///
    /// # Errors
    /// [`BadSignature`], also when the group has no such leader.
    pub fn verify(
        &self,
        group: &GroupInfo,
        leader: LeaderId,
        view: ViewId,
        refreshes: u64,
    ) -> Result<(), BadSignature> {
        let key = group.leader(leader).ok_or(BadSignature)?.signing_key;
        let signed = encode(&(group.session(), leader, view, refreshes, self.at_ms));
        key.verify(LABEL, &[&group.id().0, &signed], &self.signature.0)
    }
}

/// A statement with the name of its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Word {
    /// Whose.
    pub leader: LeaderId,
    /// What it signed, apart from the view.
    pub statement: Statement,
}
