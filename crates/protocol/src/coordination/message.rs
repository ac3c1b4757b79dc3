//! What leaders tell each other.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{BadSignature, SigningKey, VerifyingKey};

use super::Session;
use crate::codec::encode;
use crate::ids::{Incarnation, LeaderId, MemberId, SessionId, SessionNumber, UserName};
use crate::login::WireSignature;
use crate::view::{Cause, MemberEntry};

/// An operation instance (P5): what is voted on, whatever the view number.
///
/// Its order is the order of a user's life: join 1, removal 1, join 2 and so on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Operation {
    /// A user comes in for a new stay.
    Join(MemberEntry) = 1,
    /// A stay ends.
    Remove(MemberId, Cause) = 2,
    /// The group key is renewed with nobody coming or going; counts refreshes from 1.
    Refresh(u64) = 3,
    /// A session ends, or the next begins: see [`Session`].
    Session(Rank) = 4,
}

/// Whom an operation is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Subject {
    /// The group key.
    Key = 0,
    /// A user.
    User(UserName) = 1,
    /// The session.
    Session = 2,
}

impl Subject {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserName> {
        if let Subject::User(user) = self { Some(user) } else { None }
    }
}

/// The place of an operation in its subject's life.
pub type Rank = u64;

impl Operation {
    /// Whom it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Operation::Join(entry) => Subject::User(entry.id.user.clone()),
            Operation::Remove(member, _) => Subject::User(member.user.clone()),
            Operation::Refresh(_) => Subject::Key,
            Operation::Session(_) => Subject::Session,
        }
    }

    /// Its rank: `2k - 1` for the join of stay `k`, `2k` for its end, the count for a refresh; for sessions,
    /// `2k - 1` for the end of session `k`, `2k` for the start of the next.
    ///
    /// The sum of all subjects' ranks is the epoch, so that leaders which accepted the same
    /// operations in any order are in the same epoch.
    pub fn rank(&self) -> Rank {
        match self {
            Operation::Join(entry) => join_rank(entry.id.incarnation),
            Operation::Remove(member, _) => join_rank(member.incarnation).saturating_add(1),
            Operation::Refresh(count) => *count,
            Operation::Session(rank) => *rank,
        }
    }

    /// Whether it can be at all: it has a rank, and is of no session beyond the last.
    pub fn is_sound(&self) -> bool {
        let session = match self {
            Operation::Join(entry) => SessionNumber::new(entry.id.incarnation.session().get()).is_some(),
            Operation::Remove(member, _) => SessionNumber::new(member.incarnation.session().get()).is_some(),
            Operation::Refresh(_) => true,
            Operation::Session(rank) => Session::of(*rank).is_some(),
        };
        self.rank() > 0 && session
    }

    /// Whether it is the end of a stay.
    pub(super) fn ends_a_stay(&self) -> bool {
        matches!(self, Operation::Remove(..))
    }

    /// A removal with another cause, if one is given; anything else as it is.
    pub(super) fn with_cause(&self, cause: Option<Cause>) -> Operation {
        match (self, cause) {
            (Operation::Remove(member, _), Some(cause)) => Operation::Remove(member.clone(), cause),
            _ => self.clone(),
        }
    }

    /// Tells operations of equal rank apart. All removals of a stay are one, whatever their cause.
    pub fn content(&self) -> [u8; 32] {
        match self {
            Operation::Join(_) => digest("ringfort operation", &[&encode(self)]),
            Operation::Remove(..) | Operation::Refresh(_) | Operation::Session(_) => [0; 32],
        }
    }
}

fn join_rank(incarnation: Incarnation) -> Rank {
    incarnation.0.saturating_mul(2).saturating_sub(1)
}

/// Propose (Figure 3), or the word that the operation has been accepted, by one leader.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedProposal {
    /// Who proposes.
    pub leader: LeaderId,
    /// In which session: a proposal of another session is void (K11, K33).
    pub session: SessionId,
    /// What.
    pub operation: Operation,
    /// Whether this leader has accepted it.
    pub accepted: bool,
    /// For a join: the last stay from which the user was expelled, if this leader takes the user back; 0 if not. Leaders
    /// that have barred a user count no other vote, so that what was said before the expulsion brings nobody back.
    pub takes_back: Incarnation,
    /// By the leader's signing key over all of the above.
    pub signature: WireSignature,
}

const LABEL: &str = "ringfort proposal";

impl SignedProposal {
    /// Signs a proposal that takes nobody back.
    pub fn sign(key: &SigningKey, leader: LeaderId, session: SessionId, operation: Operation, accepted: bool) -> Self {
        let takes_back = Incarnation(0);
        let signature =
            WireSignature(key.sign(LABEL, &[&encode(&(leader, session, &operation, accepted, takes_back))]));
        SignedProposal { leader, session, operation, accepted, takes_back, signature }
    }

    /// The same, of a leader that takes the user back who was expelled from a stay.
    #[must_use]
    pub fn taking_back(self, key: &SigningKey, takes_back: Incarnation) -> Self {
        let signed = encode(&(self.leader, self.session, &self.operation, self.accepted, takes_back));
        match takes_back == self.takes_back {
            true => self,
            false => SignedProposal { takes_back, signature: WireSignature(key.sign(LABEL, &[&signed])), ..self },
        }
    }

    /// Checks the signature.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        let signed = encode(&(self.leader, self.session, &self.operation, self.accepted, self.takes_back));
        key.verify(LABEL, &[&signed], &self.signature.0)
    }
}
