//! What leaders tell each other while they renew their shares. Each word is signed, so that it can be passed on.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{Signature, SigningKey};
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::introduction::Introduction;
use ringfort_protocol::login::WireSignature;
use ringfort_protocol::succession::{ATTEMPTS_MAX, Generation, Succession};
use ringfort_protocol::{GroupInfo, LeaderId};

/// The largest body of a post: 64 leaders, 43 of which make a key.
pub const BODY_BYTES_MAX: usize = 32 * 1024;

/// What operators order: f+1 of them the very same.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Plan {
    /// The group.
    pub group: [u8; 32],
    /// The generation whose shares are renewed.
    pub base: Generation,
    /// The generation that comes of it: one more than `base`, and another more for each attempt that came to nothing.
    pub number: Generation,
    /// Who takes the place of a leader, if anybody does.
    pub newcomer: Option<Introduction>,
    /// Who says which deals count. Where it is hacked it can make the attempt fail, and no more.
    pub coordinator: LeaderId,
}

impl Plan {
    /// Names it.
    pub fn digest(&self) -> [u8; 32] {
        digest("ringfort renewal plan", &[&encode(self)])
    }

    /// Whose place is taken.
    pub fn replaced(&self) -> Option<LeaderId> {
        self.newcomer.as_ref().map(|newcomer| newcomer.leader)
    }

    /// Whether it can be carried out in this generation of the group.
    pub fn fits(&self, base: &GroupInfo) -> bool {
        let numbers = self.number > self.base && self.number - self.base <= ATTEMPTS_MAX;
        let newcomer = self.newcomer.as_ref().is_none_or(|newcomer| base.may_take_a_place(newcomer));
        let coordinator = self.coordinator.number() <= base.rules.n() && self.replaced() != Some(self.coordinator);
        self.group == base.id().0 && self.base == base.generation() && numbers && newcomer && coordinator
    }
}

/// One leader's word, for everybody.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Post {
    /// The plan it belongs to.
    pub plan: [u8; 32],
    pub author: LeaderId,
    pub body: Vec<u8>,
    pub signature: [u8; 64],
}

/// What a post says.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Body {
    /// Its operator orders this.
    Order(Box<Plan>) = 1,
    /// The author is there: dealer `i` seals to the key at `i - 1`, in this attempt only.
    Ready { keys: Vec<[u8; 32]> } = 2,
    /// The coordinator: whose [`Body::Ready`] dealers go by, leader `i` at `i - 1`. Whoever is not there has its long-lived key.
    Start { ready: Vec<Option<[u8; 32]>> } = 3,
    /// The author shares out its two shares.
    Deal {
        /// The digest of the start it goes by.
        start: [u8; 32],
        /// Commitments to the two polynomials.
        commitments: [Vec<[u8; 32]>; 2],
        /// Two shares for each leader, sealed to it.
        sealed: Vec<Vec<u8>>,
    } = 4,
    /// What was dealt to the author does not fit: anybody can look, with the secret of the key it was sealed to.
    Complaint { deal: [u8; 32], secret: [u8; 32] } = 5,
    /// The coordinator: which deals count.
    Proposal { start: [u8; 32], deals: Vec<[u8; 32]> } = 6,
    /// The author holds shares that fit, by each of the deals proposed.
    Vote { succession: Box<Succession>, signature: WireSignature } = 7,
}

/// The kinds of posts, in the order in which they are told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Order,
    Ready,
    Start,
    Deal,
    Complaint,
    Proposal,
    Vote,
}

impl Body {
    pub fn kind(&self) -> Kind {
        match self {
            Body::Order(_) => Kind::Order,
            Body::Ready { .. } => Kind::Ready,
            Body::Start { .. } => Kind::Start,
            Body::Deal { .. } => Kind::Deal,
            Body::Complaint { .. } => Kind::Complaint,
            Body::Proposal { .. } => Kind::Proposal,
            Body::Vote { .. } => Kind::Vote,
        }
    }
}

const LABEL: &str = "ringfort renewal post";

impl Post {
    pub fn sign(plan: [u8; 32], author: LeaderId, body: &Body, key: &SigningKey) -> Self {
        let body = encode(body);
        let signature = key.sign(LABEL, &[&plan, &[author.number()], &body]).to_bytes();
        Post { plan, author, body, signature }
    }

    pub fn is_signed(&self, base: &GroupInfo) -> bool {
        let signature = Signature::from_bytes(self.signature);
        let parts: [&[u8]; 3] = [&self.plan, &[self.author.number()], &self.body];
        let key = base.leader(self.author).map(|info| info.signing_key);
        key.is_some_and(|key| key.verify(LABEL, &parts, &signature).is_ok())
    }

    /// Names it.
    pub fn digest(&self) -> [u8; 32] {
        digest(LABEL, &[&self.plan, &[self.author.number()], &self.body])
    }

    pub fn read(&self) -> Option<Body> {
        if self.body.len() > BODY_BYTES_MAX { None } else { decode(&self.body).ok() }
    }

    pub fn to_frame(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        if frame.len() > BODY_BYTES_MAX + 256 { None } else { decode(frame).ok() }
    }
}

/// What binds sealed shares to their place.
pub fn share_context(plan: &[u8; 32], dealer: LeaderId, to: LeaderId) -> Vec<u8> {
    encode(&("ringfort renewal share", plan, dealer, to))
}
