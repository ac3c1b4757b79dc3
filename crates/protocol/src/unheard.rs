//! What a leader says of members that it does not hear: opinions about now, which it says again for as long as it holds them.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::sign::{BadSignature, SigningKey, VerifyingKey};

use crate::codec::encode;
use crate::ids::{LeaderId, MemberId, SessionId};
use crate::login::WireSignature;

const LABEL: &str = "ringfort unheard members";

/// A leader's word on members that it does not hear.
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
    /// Which stays it takes for lost, or for found again, at most as many.
    pub doubts: Vec<Doubt>,
    /// By the leader's signing key over all of the above.
    pub signature: WireSignature,
}

/// What a leader says of a stay that may be lost. It replaces what it said of the stay before.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Doubt {
    /// Which stay.
    pub stay: MemberId,
    /// The life that the stay is in, as far as the leader knows: how often leaders have agreed that the member was found
    /// again. What was said in an earlier life counts for nothing.
    pub life: u64,
    /// In this life the leader takes the member for lost.
    pub lost: bool,
    /// It hears the member again, and wants the next life to begin.
    pub found: bool,
}

impl Unheard {
    /// Signs the word.
    pub fn sign(
        key: &SigningKey,
        leader: LeaderId,
        session: SessionId,
        number: u64,
        members: Vec<MemberId>,
        doubts: Vec<Doubt>,
    ) -> Self {
        let signature = WireSignature(key.sign(LABEL, &[&encode(&(leader, session, number, &members, &doubts))]));
        Unheard { leader, session, number, members, doubts, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        let signed = encode(&(self.leader, self.session, self.number, &self.members, &self.doubts));
        key.verify(LABEL, &[&signed], &self.signature.0)
    }
}
