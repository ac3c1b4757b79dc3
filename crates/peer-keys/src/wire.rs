//! What members say to each other, as bytes.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};
use ringfort_kernel::codec;
use ringfort_peer::{Name, Service};

use crate::admission::Certificate;
use crate::ids::{Context, FRAME_BYTES_MAX, Round};

/// The version byte of every frame.
const VERSION: u8 = 1;

/// A frame of a member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Frame {
    /// The sender is ready for a new view, and brings its contribution: an encoded [`Ok`].
    FlushOk(Signed) = 0,
    /// The sender waited long enough for some: an encoded [`Vote`].
    Vote(Signed) = 1,
    /// The sender asks to begin again: an encoded [`Again`].
    Again(Signed) = 2,
    /// A message of the key protocol, or a confirmation.
    Key(KeyFrame) = 3,
    /// A message of the application.
    Data(DataFrame) = 4,
}

/// A signed body.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signed {
    /// What is said.
    pub body: Vec<u8>,
    /// By whom: over the group, the sender's name and the body.
    pub signature: [u8; 64],
}

/// A member's answer to a flush.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FlushOk {
    /// For which round.
    pub round: Round,
    /// The digest of the sender's policy.
    pub policy: [u8; 32],
    /// The key with which it signs.
    pub key: [u8; 32],
    /// Its key for private messages in this round, fresh: it also makes each round another one.
    pub session: [u8; 32],
    /// What its authority says of that key, if the list of members does not have it.
    pub certificate: Option<Certificate>,
    /// What its clock says, in seconds of Unix time.
    pub unix_s: u64,
    /// The secure view that it was in last.
    pub previous: Option<Context>,
    /// Its contribution to the key protocol.
    pub offer: Vec<u8>,
    /// Of whom it has waited for long enough already.
    pub suspects: Vec<Name>,
}

/// Whom a member waits for no longer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// In which round.
    pub round: Round,
    /// For whom.
    pub against: Vec<Name>,
}

/// Why the members begin again in one view of the sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Why {
    /// A fresh key is wanted.
    Refresh = 0,
    /// The keys of the members differ, or none came about in time.
    Failed = 1,
}

/// A request to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Again {
    /// After which round.
    pub round: Round,
    /// Why.
    pub why: Why,
}

/// A message of a key protocol.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeyFrame {
    /// Of which view.
    pub context: Context,
    /// Counts the sender's messages in this view.
    pub step: u32,
    /// What it says.
    pub payload: KeyPayload,
    /// By whom: over protocol, group, view, member list, step, sender and payload.
    pub signature: [u8; 64],
}

/// What a message of a key protocol says.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum KeyPayload {
    /// A message of the protocol that the policy names.
    Protocol(Vec<u8>) = 0,
    /// The sender has the key.
    Confirm([u8; 32]) = 1,
}

/// A sealed message of the application.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DataFrame {
    /// In which secure view it was sent.
    pub context: Context,
    /// Counts the sender's messages in this view, those to one member by themselves.
    pub counter: u64,
    /// How it was sent.
    pub service: Service,
    /// To whom alone, if not to all.
    pub to: Option<Name>,
    /// The message and its tag.
    pub sealed: Vec<u8>,
    /// By whom, if the policy wants that.
    pub signature: Option<[u8; 64]>,
}

impl Frame {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&codec::encode(self));
        Bytes::from(bytes)
    }

    /// The frame that `bytes` are, if they are one and all of it.
    pub fn decode(bytes: &[u8]) -> Option<Frame> {
        let (version, body) = bytes.split_first()?;
        if *version != VERSION || bytes.len() > FRAME_BYTES_MAX {
            return None;
        }
        codec::decode(body).ok()
    }
}

const FLUSH: &str = "peer group: flush";
const VOTE: &str = "peer group: vote";
const AGAIN: &str = "peer group: again";

/// A body that a member signs as it is.
pub trait Body: BorshSerialize + BorshDeserialize {
    /// What the signature is for.
    const LABEL: &'static str;

    /// Signed by `key` as `sender` of `group`.
    fn sign(&self, key: &SigningKey, group: &str, sender: &Name) -> Signed {
        let body = codec::encode(self);
        let parts: [&[u8]; 3] = [group.as_bytes(), sender.as_bytes(), &body];
        let signature = key.sign(Self::LABEL, &parts).to_bytes();
        Signed { body, signature }
    }

    /// Whether `signed` is by the holder of `key` as `sender` of `group`.
    fn verify(signed: &Signed, key: &[u8; 32], group: &str, sender: &Name) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
        let parts: [&[u8]; 3] = [group.as_bytes(), sender.as_bytes(), &signed.body];
        key.verify(Self::LABEL, &parts, &Signature::from_bytes(signed.signature)).is_ok()
    }

    /// What `signed` says, whoever signed it.
    fn read(signed: &Signed) -> Option<Self> {
        codec::decode(&signed.body).ok()
    }
}

impl Body for FlushOk {
    const LABEL: &'static str = FLUSH;
}

impl Body for Vote {
    const LABEL: &'static str = VOTE;
}

impl Body for Again {
    const LABEL: &'static str = AGAIN;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes, it is a frame with this one encoding, or none.
        #[test]
        fn bytes_are_one_frame_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..6) {
            let mut bytes = bytes;
            if let [first, second, ..] = bytes.as_mut_slice() {
                (*first, *second) = (VERSION, kind);
            }
            if let Some(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode().to_vec(), bytes);
            }
        }
    }

    #[test]
    fn a_frame_of_another_version_or_too_large_is_none() {
        let frame = Frame::Vote(Signed { body: vec![1], signature: [2; 64] });
        let mut bytes = frame.encode().to_vec();
        assert_eq!(Frame::decode(&bytes), Some(frame));
        bytes[0] = 2;
        assert_eq!(Frame::decode(&bytes), None);
        let large = Frame::Vote(Signed { body: vec![1; FRAME_BYTES_MAX], signature: [2; 64] });
        assert_eq!(Frame::decode(&large.encode()), None);
    }
}
