//! Whom a leader does not hear: an opinion about now, which it says again for as long as it holds it.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::sign::{BadSignature, SigningKey, VerifyingKey};

use crate::codec::encode;
use crate::ids::{LeaderId, MemberId, SessionId};
use crate::login::WireSignature;

const LABEL: &str = "ringfort unheard members";

/// A leader's word that it does not hear some members.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Unheard {
    /// Whose word.
    pub leader: LeaderId,
    /// In which group.
    pub session: SessionId,
    /// Counts such words since the leader started: an old one is no news on the same link.
    pub number: u64,
    /// Whom it does not hear, at most [`UNHEARD_MAX`](crate::wire::UNHEARD_MAX).
    pub members: Vec<MemberId>,
    /// By the leader's signing key over all of the above.
    pub signature: WireSignature,
}

impl Unheard {
    /// Signs the word.
    pub fn sign(key: &SigningKey, leader: LeaderId, session: SessionId, number: u64, members: Vec<MemberId>) -> Self {
        let signature = WireSignature(key.sign(LABEL, &[&encode(&(leader, session, number, &members))]));
        Unheard { leader, session, number, members, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        let signed = encode(&(self.leader, self.session, self.number, &self.members));
        key.verify(LABEL, &[&signed], &self.signature.0)
    }
}
