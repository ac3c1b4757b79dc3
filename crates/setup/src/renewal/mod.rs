//! New shares of all keys for all leaders, and a new machine in the place of a hacked one, while the group talks.
//!
//! Source: proactive secret sharing (Herzberg, Jarecki, Krawczyk, Yung 1995), with the resharing of Desmedt and Jajodia and of Wong,
//! Wang and Wing. FROST's own refresh (`frost-core`, `keys::refresh`) does not fit: it adds sharings of zero to shares that everybody has
//! to have and to bring, so that a new machine gets none and one silent leader stops it.
//!
//! | step | who | says | why |
//! |---|---|---|---|
//! | order | f+1 leaders, for their operators | the plan, signed | f hacked leaders order nothing |
//! | ready | everybody | fresh keys to be sealed to, one for each dealer | what was stolen before opens nothing |
//! | start | the coordinator | whose keys dealers go by | all dealers seal to the same |
//! | deal | everybody with a share | its shares, shared out: commitments, and a sealed share for each leader | Feldman: whoever deals badly is found out |
//! | complaint | whose share does not fit | the key that opens it | anybody sees who is to blame, and no other share is given away |
//! | proposal | the coordinator | which deals count | |
//! | vote | who holds fitting shares by all of them | the next generation, signed | more than (n+f)/2 votes make it so |
//!
//! Guarantees, with up to f of n leaders hacked:
//! - *one outcome*: there are no two certified successions of one number. An honest leader votes once for a number, also over a
//!   crash: what it holds is durable before it is said. Of two numbers that follow one generation the higher one counts;
//! - *no loss*: whoever holds a package can open its shares, if it was ready or is the newcomer: voters hold all deals before they vote,
//!   and pass them on;
//! - *secrecy*: there are at least as many dealers as the key takes shares, so that one of them is honest and its polynomial random:
//!   f old shares and f new ones tell nothing together;
//! - *accountability*: whoever deals badly, says two things or complains falsely is named.
//!
//! Not guaranteed: that an attempt succeeds while the coordinator is hacked. Operators then order another one under another coordinator.
//!
//! Architecture invariant: pure, as the protocol cores are. Time and randomness are arguments.

mod attempt;
mod dealing;
mod message;
mod outcome;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;
use ringfort_crypto::threshold::SecretShare;
use ringfort_protocol::succession::Generation;
use ringfort_protocol::{GroupInfo, LeaderId};

pub use message::Plan;
pub use outcome::{PACKAGE_BYTES_MAX, Package};
pub use room::{Outcome, Refused, Renewal, SAVED_BYTES_MAX};

use crate::outcome::Fault;

/// How long a coordinator waits for those who say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all to be ready. Default ten seconds.
    pub ready: Duration,
    /// For all to have dealt. Default ten seconds.
    pub deals: Duration,
    /// For complaints, after the last deal. Default a second.
    pub complaints: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { ready: Duration::from_secs(10), deals: Duration::from_secs(10), complaints: Duration::from_secs(1) }
    }
}

/// What a leader brings into an attempt. Wiped when dropped.
struct Holding {
    me: LeaderId,
    /// The generation whose shares are renewed.
    base: Arc<GroupInfo>,
    signing: SigningKey,
    sealing: KemSecret,
    /// Its shares in that generation; none where it has gone on already.
    shares: Option<[SecretShare; 2]>,
}

/// What the driver carries out, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make durable before anything that follows; secret.
    Persist,
    /// Send to a leader; it may be lost if there is no link.
    Send(LeaderId, Vec<u8>),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A leader's operator orders the generation of this number.
    Ordered(Generation, LeaderId),
    /// f+1 have ordered it: it has begun.
    Begun(Generation),
    /// A leader is proven to have deviated.
    Blamed(Generation, LeaderId, Fault),
    /// It is certified: the leader goes on in it at its next start.
    Certified(Generation),
}

/// What one input leads to.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// To carry out, in order.
    pub effects: Vec<Effect>,
    /// To tell.
    pub events: Vec<Event>,
}
