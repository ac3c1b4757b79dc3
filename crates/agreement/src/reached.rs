//! How far a group has come, in a form that nobody can exaggerate: for a leader that lost its disk.
//!
//! Such a leader must make no block for a round for which it may have signed one. Its last block stood on blocks of a
//! quorum of the round before; so it asks, and starts well above the highest answer. An answer is worth what it proves:
//! blocks of one round that `f + 1` leaders signed, or a certified checkpoint. One of those who signed is honest, and was
//! there. A liar can say less than is true, as if it had not been heard, and never more.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::checkpoint::Certificate;
use crate::dag::Dag;
use crate::ids::{Author, Digest};

/// A block's author, its hash, and the author's signature of both and the round.
pub type Signer = (Author, Digest, [u8; 64]);

/// A round to which an honest leader came, with the proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Reached {
    /// Nothing was ever seen.
    #[default]
    Nothing,
    /// `f + 1` authors signed blocks for a round.
    Blocks {
        /// The round.
        round: u64,
        /// Their signatures, by ascending author.
        signers: Vec<Signer>,
    },
    /// A block of a round is committed before a certified checkpoint.
    Checkpoint(Certificate),
}

/// The answer to a leader that asks how far it may have come.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Answer {
    /// The question: what was said before it was asked says nothing of now.
    pub question: u64,
    /// How far the one that answers knows the group to have come.
    pub reached: Reached,
}

impl Reached {
    /// The round.
    pub fn round(&self) -> u64 {
        match self {
            Reached::Nothing => 0,
            Reached::Blocks { round, .. } => *round,
            Reached::Checkpoint(certificate) => certificate.statement.round,
        }
    }

    /// Whichever proves more.
    #[must_use]
    pub fn or(self, other: Reached) -> Reached {
        if other.round() > self.round() { other } else { self }
    }

    /// What the blocks at hand prove, of which `enough` authors are needed.
    pub fn by(dag: &Dag, enough: usize) -> Reached {
        let round = dag.highest_of_many(enough);
        let mut signers: Vec<Signer> = Vec::new();
        for (reference, node) in dag.round(round) {
            if signers.len() < enough && signers.last().is_none_or(|(last, ..)| *last < reference.author) {
                signers.push((reference.author, reference.digest, node.sealed().block().signature));
            }
        }
        if round == 0 { Reached::Nothing } else { Reached::Blocks { round, signers } }
    }
}
