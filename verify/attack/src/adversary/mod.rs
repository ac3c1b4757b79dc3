//! The hacked leader: a real leader's folder, secrets and links in the hands of an attacker.
//!
//! An [`Adversary`] stands where the honest core would be. It keeps one inside, so as to know what a leader
//! would say, and lets a [`Vice`] alter, withhold or invent what leaves. It has the leader's real secrets, so
//! all that a signature or a link can prove, it can prove.
//!
//! Only this crate and those that use it hold such a thing. The production binary `ringfort` is built from
//! `ringfort-cli`, which depends neither on this crate nor on the `mutants` feature that lets an adversary seal its
//! own notices.

mod chaos;
mod core;
mod kind;
mod login;
mod messages;
mod mutate;
mod process;
mod proposals;
mod shares;
mod spy;
mod torrent;
mod views;

pub use core::{Adversary, Door};
pub use kind::Kind;
pub use process::run;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::CryptoRng;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::statement::Statement;
use ringfort_protocol::view::{MemberEntry, MemberSet};
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{Incarnation, LeaderId, LinkId, Time, UserName, ViewId};

/// What the attacker tried, by a short name, and how often.
pub type Tally = BTreeMap<&'static str, u64>;

/// What a hacked leader can see and use.
pub struct Den<'a> {
    /// The time.
    pub now: Time,
    /// Chance.
    pub rng: &'a mut dyn CryptoRng,
    /// The group.
    pub group: &'a GroupInfo,
    /// The leader's own secrets.
    pub secrets: &'a LeaderSecrets,
    /// Logged-in links.
    pub links: Vec<(LinkId, MemberEntry)>,
    /// Who is in.
    pub members: &'a MemberSet,
    /// The view the core published last.
    pub view: ViewId,
    /// Refreshes that the core has accepted.
    pub refreshes: u64,
    /// Proposals heard lately, of everybody.
    pub heard: &'a [SignedProposal],
    /// Logins under way.
    pub doors: &'a BTreeMap<LinkId, core::Door>,
    /// Leaders that can hear it now.
    pub peers: &'a BTreeSet<LeaderId>,
    /// What was tried.
    pub tally: &'a mut Tally,
}

impl Den<'_> {
    /// Counts an attempt.
    pub fn tried(&mut self, what: &'static str, count: usize) {
        if count > 0 {
            *self.tally.entry(what).or_default() += count as u64;
        }
    }

    /// A proposal in the leader's own name.
    pub fn proposal(&self, operation: Operation, accepted: bool) -> SignedProposal {
        let Den { group, secrets, .. } = self;
        SignedProposal::sign(&secrets.signing, secrets.id, group.session(), operation, accepted)
    }

    /// The leader's signed word for any view, from a clock that stands still.
    pub fn statement(&self, view: ViewId, refreshes: u64) -> Statement {
        Statement::sign(self.secrets, self.group, view, refreshes, 0)
    }

    /// The other leaders, as far as they can hear it: what nobody hears is no attempt.
    pub fn others(&self) -> Vec<LeaderId> {
        self.peers.iter().copied().collect()
    }

    /// A member with keys that only the attacker holds.
    pub fn ghost(&mut self, user: UserName, incarnation: u64) -> MemberEntry {
        Identity::generate(user, Incarnation(incarnation), self.rng).entry()
    }

    /// A number below `bound`, or zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.rng.fill_bytes(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % (bound.max(1) as u64)).unwrap_or(0)
    }
}

/// Something the attacker says of its own accord.
pub enum Lie {
    /// To a member, sealed as a notice.
    Notice(LinkId, LeaderNotice),
    /// To a leader.
    Peer(LeaderId, PeerMessage),
    /// Any bytes to a leader.
    PeerBytes(LeaderId, Bytes),
    /// Any bytes to a member.
    Bytes(LinkId, Bytes),
}

/// One way to attack. What is not overridden is what an honest leader would do.
pub trait Vice: Send {
    /// In place of a notice to a member.
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        vec![notice]
    }

    /// In place of a message to a leader.
    fn peer(&mut self, _den: &mut Den<'_>, _to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        vec![message]
    }

    /// In place of an answer to a login.
    fn login(&mut self, _den: &mut Den<'_>, _to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        vec![answer]
    }

    /// In place of relaying a frame to these links.
    fn relay(&mut self, _den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        links.into_iter().map(|link| (link, frame.clone())).collect()
    }

    /// A data frame from somebody who is not logged in: an accomplice relays it all the same.
    fn accomplice(&mut self, _den: &mut Den<'_>, _frame: Bytes) -> Vec<(LinkId, Bytes)> {
        Vec::new()
    }

    /// Ten times a second.
    fn tick(&mut self, _den: &mut Den<'_>) -> Vec<Lie> {
        Vec::new()
    }
}
