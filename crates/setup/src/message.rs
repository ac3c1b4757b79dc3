//! What participants tell each other. Everything that counts is signed, so that it can be passed on and shown.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{Signature, SigningKey};
use ringfort_protocol::LeaderId;
use ringfort_protocol::codec::{decode, encode};

use crate::evidence::Evidence;
use crate::outcome::{Blame, Fault};
use crate::terms::Terms;

/// The largest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// The largest body of a post: 64 leaders, 43 of which make a key.
const BODY_BYTES_MAX: usize = 24 * 1024;

/// The version of the ceremony, the first byte of each frame.
const VERSION: u8 = 1;

/// A fresh start of one participant.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Hello {
    pub terms: [u8; 32],
    pub author: LeaderId,
    /// Counts the starts of this participant, and never repeats.
    pub attempt: u64,
    pub nonce: [u8; 32],
    pub signature: [u8; 64],
}

impl Hello {
    pub fn sign(terms: &Terms, author: LeaderId, attempt: u64, nonce: [u8; 32], key: &SigningKey) -> Self {
        let mut hello = Hello { terms: terms.digest(), author, attempt, nonce, signature: [0; 64] };
        hello.signature = key.sign("ringfort setup hello", &[&hello.content()]).to_bytes();
        hello
    }

    pub fn is_signed(&self, terms: &Terms) -> bool {
        let signature = Signature::from_bytes(self.signature);
        let verify = |key: ringfort_crypto::sign::VerifyingKey| {
            key.verify("ringfort setup hello", &[&self.content()], &signature).is_ok()
        };
        self.terms == terms.digest() && terms.signing_key(self.author).is_some_and(verify)
    }

    fn content(&self) -> Vec<u8> {
        encode(&(self.terms, self.author, self.attempt, self.nonce))
    }
}

/// One participant would start in this session: it holds all the hellos that name it. Signed, so that it can be passed on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Open {
    pub author: LeaderId,
    pub attempt: u64,
    /// Counts what the author has said in this attempt.
    pub count: u64,
    pub session: [u8; 32],
    pub signature: [u8; 64],
}

const OPEN_LABEL: &str = "ringfort setup open";

impl Open {
    pub fn sign(terms: &Terms, hello: &Hello, count: u64, session: [u8; 32], key: &SigningKey) -> Self {
        let (author, attempt) = (hello.author, hello.attempt);
        let mut open = Open { author, attempt, count, session, signature: [0; 64] };
        open.signature = key.sign(OPEN_LABEL, &[&open.content(terms)]).to_bytes();
        open
    }

    pub fn is_signed(&self, terms: &Terms) -> bool {
        let signature = Signature::from_bytes(self.signature);
        let key = terms.signing_key(self.author);
        key.is_some_and(|key| key.verify(OPEN_LABEL, &[&self.content(terms)], &signature).is_ok())
    }

    fn content(&self, terms: &Terms) -> Vec<u8> {
        encode(&(terms.digest(), self.author, self.attempt, self.count, self.session))
    }
}

/// Names one run of the ceremony: no word of an earlier one counts in it.
pub fn session<'a>(terms: &Terms, hellos: impl Iterator<Item = &'a Hello>) -> [u8; 32] {
    let hellos: Vec<(u64, [u8; 32])> = hellos.map(|hello| (hello.attempt, hello.nonce)).collect();
    digest("ringfort setup session", &[&terms.digest(), &encode(&hellos)])
}

/// One participant's word in one round, for everybody.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Post {
    pub session: [u8; 32],
    pub author: LeaderId,
    pub body: Vec<u8>,
    pub signature: [u8; 64],
}

/// What a post says.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Body {
    /// Round 1.
    Deal {
        /// Others seal to it, in this session only.
        opening_key: [u8; 32],
        /// Commitments and proof of each of the two keys.
        packages: [Vec<u8>; 2],
    } = 1,
    /// Round 2.
    Shares {
        /// The digests of everybody's deal.
        seen: Vec<[u8; 32]>,
        /// For leader `i` at `i - 1`; empty for oneself.
        sealed: Vec<Vec<u8>>,
    } = 2,
    /// Round 3: all shares fit.
    Confirm {
        /// The digests of everybody's shares.
        seen: Vec<[u8; 32]>,
        /// The group that came out.
        group: [u8; 32],
    } = 3,
    /// Round 3: a share does not fit.
    Complain {
        /// Whose.
        against: LeaderId,
        /// The digests of the dealer's deal and shares.
        posts: [[u8; 32]; 2],
        /// The secret of `opening_key`: anybody can look.
        opening_secret: [u8; 32],
    } = 4,
}

/// The rounds, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Round {
    Deal,
    Shares,
    Result,
}

impl Round {
    pub const ALL: [Round; 3] = [Round::Deal, Round::Shares, Round::Result];
}

impl Body {
    pub fn round(&self) -> Round {
        match self {
            Body::Deal { .. } => Round::Deal,
            Body::Shares { .. } => Round::Shares,
            Body::Confirm { .. } | Body::Complain { .. } => Round::Result,
        }
    }
}

const POST_LABEL: &str = "ringfort setup post";

impl Post {
    pub fn sign(terms: &Terms, session: [u8; 32], author: LeaderId, body: &Body, key: &SigningKey) -> Self {
        let body = encode(body);
        let parts: [&[u8]; 4] = [&terms.digest(), &session, &[author.number()], &body];
        let signature = key.sign(POST_LABEL, &parts).to_bytes();
        Post { session, author, body, signature }
    }

    pub fn is_signed(&self, terms: &Terms) -> bool {
        let signature = Signature::from_bytes(self.signature);
        let parts: [&[u8]; 4] = [&terms.digest(), &self.session, &[self.author.number()], &self.body];
        self.body.len() <= BODY_BYTES_MAX
            && terms.signing_key(self.author).is_some_and(|key| key.verify(POST_LABEL, &parts, &signature).is_ok())
    }

    /// What others say that they have seen.
    pub fn digest(&self) -> [u8; 32] {
        digest("ringfort setup seen", &[&self.session, &[self.author.number()], &self.body])
    }

    pub fn read(&self) -> Option<Body> {
        decode(&self.body).ok()
    }
}

/// The confirmations of all leaders: whoever holds them may use the folder.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate(pub(crate) Vec<Post>);

impl Certificate {
    /// The group that all leaders of `terms` have confirmed, and in which session.
    pub fn check(&self, terms: &Terms) -> Option<([u8; 32], [u8; 32])> {
        let mut agreed = None;
        let leaders: Vec<LeaderId> = self.0.iter().map(|post| post.author).collect();
        if leaders != terms.rules().leaders().collect::<Vec<_>>() {
            return None;
        }
        for post in &self.0 {
            let Some(Body::Confirm { group, .. }) = post.read() else { return None };
            let this = (post.session, group);
            if !post.is_signed(terms) || *agreed.get_or_insert(this) != this {
                return None;
            }
        }
        agreed
    }

    /// For a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// From a file of at most [`FRAME_BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > FRAME_BYTES_MAX { None } else { decode(bytes).ok() }
    }
}

/// A leader's own confirmation, for its file: it says it again until it holds all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation(pub(crate) Post);

impl Confirmation {
    /// For a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.0)
    }

    /// From a file of at most [`FRAME_BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > FRAME_BYTES_MAX { None } else { decode(bytes).ok().map(Confirmation) }
    }

    /// The session, and the group that was confirmed, if this is what leader `me` said on these terms.
    pub(crate) fn check(&self, terms: &Terms, me: LeaderId) -> Option<([u8; 32], [u8; 32])> {
        match self.0.read()? {
            Body::Confirm { group, .. } if self.0.author == me && self.0.is_signed(terms) => {
                Some((self.0.session, group))
            }
            _ => None,
        }
    }
}

/// Why this leader gave up an attempt that it had not confirmed, for its file: others may have confirmed it, and ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub(crate) GaveUp);

impl Reason {
    /// For a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.0)
    }

    /// From a file of at most [`FRAME_BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > FRAME_BYTES_MAX { None } else { decode(bytes).ok().map(Reason) }
    }
}

/// Why one participant gave up.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GaveUp {
    pub session: [u8; 32],
    pub author: LeaderId,
    pub about: LeaderId,
    pub fault: u8,
    pub evidence: Option<Evidence>,
    pub signature: [u8; 64],
}

const GAVE_UP_LABEL: &str = "ringfort setup gave up";

impl GaveUp {
    pub fn sign(terms: &Terms, session: [u8; 32], author: LeaderId, why: &Blame, key: &SigningKey) -> Self {
        let (about, fault) = (why.leader, why.fault as u8);
        let evidence = why.evidence.clone();
        let mut this = GaveUp { session, author, about, fault, evidence, signature: [0; 64] };
        this.signature = key.sign(GAVE_UP_LABEL, &[&this.content(terms)]).to_bytes();
        this
    }

    pub fn is_signed(&self, terms: &Terms) -> bool {
        let signature = Signature::from_bytes(self.signature);
        let key = terms.signing_key(self.author);
        key.is_some_and(|key| key.verify(GAVE_UP_LABEL, &[&self.content(terms)], &signature).is_ok())
    }

    /// What its author blames somebody else for.
    pub fn blame(&self) -> Blame {
        let fault = Fault::from_code(self.fault).unwrap_or(Fault::GaveUp);
        Blame { evidence: self.evidence.clone(), ..Blame::of(self.about, fault) }
    }

    /// Evidence speaks for itself.
    fn content(&self, terms: &Terms) -> Vec<u8> {
        encode(&(terms.digest(), self.session, self.author, self.about, self.fault))
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Message {
    /// Passed on.
    Hello(Hello) = 1,
    /// Passed on.
    Open(Open) = 2,
    /// Passed on.
    Post(Post) = 3,
    /// Somebody has given up. Passed on, so that whoever gave up first is known to all.
    GaveUp(GaveUp) = 4,
    /// The sender has finished.
    Done(Certificate) = 5,
}

impl Message {
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = vec![VERSION];
        frame.extend(encode(self));
        frame
    }

    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        match frame.split_first() {
            Some((&VERSION, body)) if frame.len() <= FRAME_BYTES_MAX => decode(body).ok(),
            _ => None,
        }
    }
}

/// What binds a sealed share to its place.
pub fn share_context(session: &[u8; 32], dealer: LeaderId, to: LeaderId) -> Vec<u8> {
    encode(&("ringfort setup share", session, dealer, to))
}
