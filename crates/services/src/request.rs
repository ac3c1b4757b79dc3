//! What members ask, what leaders put into the order, and what they answer.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{Signature, VerifyingKey};
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::wire::SERVICE_LABEL;
use ringfort_protocol::{GroupId, MemberId, UserName};

use crate::limits::{ANSWER_BYTES_MAX, BODY_BYTES_MAX, REQUEST_BYTES_MAX};

/// A user's stay, and the key that signs in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Stay {
    /// Who, in which stay.
    pub id: MemberId,
    /// The key, as bytes: most are compared and not used.
    pub key: [u8; 32],
}

impl From<&MemberEntry> for Stay {
    fn from(entry: &MemberEntry) -> Self {
        Stay { id: entry.id.clone(), key: entry.signing.0.to_bytes() }
    }
}

/// A request of a member, as it is put into the order.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Request {
    /// Whose.
    pub stay: Stay,
    /// Its number in that stay, from 1.
    pub number: u64,
    /// For the machine to read.
    #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
    pub body: Vec<u8>,
    signature: [u8; 64],
}

impl Request {
    /// A signed request: `sign` is given the digest to sign, under [`SERVICE_LABEL`].
    pub fn signed(
        group: &GroupId,
        stay: &Stay,
        number: u64,
        body: Vec<u8>,
        sign: impl FnOnce(&[u8; 32]) -> Signature,
    ) -> Self {
        let signature = sign(&signed_digest(group, stay, number, &body)).to_bytes();
        Request { stay: stay.clone(), number, body, signature }
    }

    /// Decodes a request within its bounds.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let request: Request = (bytes.len() <= REQUEST_BYTES_MAX).then(|| decode(bytes).ok()).flatten()?;
        (request.number > 0 && request.body.len() <= BODY_BYTES_MAX).then_some(request)
    }

    /// Whether the key that the stay names signed it for this group.
    pub(crate) fn is_signed(&self, group: &GroupId) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.stay.key) else { return false };
        let digest = signed_digest(group, &self.stay, self.number, &self.body);
        key.verify(SERVICE_LABEL, &[&digest], &Signature::from_bytes(self.signature)).is_ok()
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

fn signed_digest(group: &GroupId, stay: &Stay, number: u64, body: &[u8]) -> [u8; 32] {
    digest("ringfort service request", &[&group.0, &encode(stay), &number.to_be_bytes(), body])
}

/// What a leader answers a member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Answer {
    /// The request was applied.
    Done {
        /// The key that signed it: another program may have announced the same stay with one of its own.
        key: [u8; 32],
        /// The request's number.
        number: u64,
        /// Its place among all that were applied.
        place: u64,
        /// What the machine replied.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        reply: Vec<u8>,
    } = 1,
    /// The request was applied, and its reply is not kept.
    Forgotten {
        /// The key that signed it.
        key: [u8; 32],
        /// The request's number.
        number: u64,
        /// Its place among all that were applied; 0 if that is not remembered either.
        place: u64,
        /// What is kept in place of the reply; nothing if the request changed nothing.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_optional_bytes")]
        kept: Option<Vec<u8>>,
    } = 2,
    /// The request was applied, and is answered when something happens.
    Later {
        /// The key that signed it.
        key: [u8; 32],
        /// The request's number.
        number: u64,
        /// Its place among all that were applied.
        place: u64,
        /// What the machine tells now.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        note: Vec<u8>,
    } = 3,
}

impl Answer {
    /// Decodes an answer within its bounds.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= ANSWER_BYTES_MAX).then(|| decode(bytes).ok()).flatten()
    }

    /// The key that signed the request.
    pub(crate) fn key(&self) -> &[u8; 32] {
        match self {
            Answer::Done { key, .. } | Answer::Forgotten { key, .. } | Answer::Later { key, .. } => key,
        }
    }
}

/// What a leader puts into the order. Messages of other programs begin otherwise.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub(crate) enum Message {
    /// Which stays its author has accepted, and has no more, since its words before.
    Words {
        /// Accepted.
        added: Vec<Stay>,
        /// Users that are not in any more.
        removed: Vec<UserName>,
    } = 1,
    /// A member's request.
    Request(#[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")] Vec<u8>) = 2,
}

/// Tells messages of services from those of others.
const TAG: &[u8] = b"ringfort services 1";

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        [TAG, &encode(self)].concat()
    }

    pub fn decode(message: &[u8]) -> Option<Self> {
        decode(message.strip_prefix(TAG)?).ok()
    }
}
