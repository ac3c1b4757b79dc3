//! A leader's end of a link to a member, or to somebody who is not one yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringfort_kernel::Budget;

use super::Leader;
use super::serving::Services;
use crate::delivery::Received;
use crate::ids::{LinkId, MemberId, ViewDigest};
use crate::login::LoginServerLink;
use crate::sealed::SealedChannel;
use crate::time::Time;
use crate::view::MemberEntry;
use crate::wire::MemberRequest;
#[cfg(feature = "mutants")]
use crate::{codec::encode, wire::LeaderNotice};

/// Requests a member may make at once, and per second. What shows that it lives, and its end, has a budget of its own, and so
/// have repairs: what somebody else's messages make a member ask for takes nothing from the rest.
const REQUESTS_BURST: u64 = 128;
const REQUESTS_PER_S: u64 = 32;
const SIGNS_OF_LIFE_BURST: u64 = 256;
const SIGNS_OF_LIFE_PER_S: u64 = 128;
/// More than an honest member asks at once and in a second. What the network has held back is asked at once, however much it
/// is, but nothing that comes over a link was asked before the login on it.
const HONEST_AT_ONCE: u64 = 1_024;
const HONEST_PER_S: u64 = 256;

/// One link to a member, or to somebody who is not one yet.
pub(super) struct Link {
    pub exporter: [u8; 32],
    pub stage: Stage,
}

pub(super) enum Stage {
    Login(LoginServerLink),
    Member(Box<Attached>),
}

/// An authenticated link.
pub(super) struct Attached {
    pub entry: MemberEntry,
    /// Whether this very stay is among the members accepted here.
    pub admitted: bool,
    /// Whether its role lets it have the group key.
    pub reads: bool,
    pub channel: SealedChannel,
    /// The challenge to be answered; a new one is drawn once it has been.
    pub challenge: [u8; 16],
    /// The one answered last: repeated by a member whose heartbeats are faster than the link, and no news.
    pub answered: [u8; 16],
    /// The view claimed last on this link, and when.
    pub claimed: Option<(ViewDigest, Time)>,
    pub ended: bool,
    /// A frame that this member has shown, in case it shows one that conflicts with it.
    pub shown: Option<Bytes>,
    /// What of how far streams go was told on this link.
    pub tails_told: u64,
    /// The last version of it at which the member knew everything.
    pub tails_whole: u64,
    /// What was known of it when this link was told first.
    pub tails_from: Option<u64>,
    /// What it sent and is still to be acknowledged.
    pub received: Received,
    requests: Budget,
    signs_of_life: Budget,
    repairs: Budget,
    /// What it may ask the group's services, and be answered.
    pub services: Services,
    /// When it logged in, and how much it has asked since.
    since: Time,
    asked: u64,
}

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SignOfLife,
    Repair,
    /// Paid for by its length, and apart from the rest.
    Service,
    Other,
}

impl Kind {
    pub fn of(request: &MemberRequest) -> Kind {
        match request {
            MemberRequest::Heartbeat { .. } | MemberRequest::Heads { .. } | MemberRequest::Leave => Kind::SignOfLife,
            MemberRequest::Repair(_) => Kind::Repair,
            MemberRequest::Service(_) => Kind::Service,
            _ => Kind::Other,
        }
    }
}

/// For simulations whose hostile leaders say something else than their honest core would.
impl Leader {
    #[cfg(not(feature = "mutants"))]
    pub(super) fn speaks_openly(&self) -> bool {
        false
    }

    #[cfg(feature = "mutants")]
    pub(super) fn speaks_openly(&self) -> bool {
        self.speaks_openly
    }

    /// From now on notices come out unsealed, behind a zero byte, for the simulation to alter and seal.
    #[cfg(feature = "mutants")]
    pub fn speak_openly_for_testing_only(&mut self) {
        self.speaks_openly = true;
    }

    /// Whether this leader still says what it said once.
    #[cfg(feature = "mutants")]
    pub fn stands_by_for_testing_only(&self, operation: &crate::coordination::Operation) -> bool {
        self.state.stands_by_for_testing_only(operation)
    }

    /// Users of whom anything is known.
    #[cfg(feature = "mutants")]
    pub fn users_for_testing_only(&self) -> usize {
        self.state.state_for_testing_only().len()
    }

    /// Refreshes accepted here.
    #[cfg(feature = "mutants")]
    pub fn refreshes_for_testing_only(&self) -> u64 {
        self.state.refreshes()
    }

    /// Seals a notice for the member on an authenticated link.
    #[cfg(feature = "mutants")]
    pub fn seal_for_testing_only(&mut self, link: LinkId, notice: &LeaderNotice) -> Option<Bytes> {
        Some(attached_mut(&mut self.links, link)?.channel.seal(&encode(notice)))
    }

    /// Authenticated links, each with the member at its other end.
    #[cfg(feature = "mutants")]
    pub fn links_for_testing_only(&self) -> Vec<(LinkId, MemberEntry)> {
        let entry = |(id, link): (&LinkId, &Link)| match &link.stage {
            Stage::Member(attached) => Some((*id, attached.entry.clone())),
            Stage::Login(_) => None,
        };
        self.links.iter().filter_map(entry).collect()
    }
}

impl Link {
    pub fn is_admitted(&self) -> bool {
        matches!(&self.stage, Stage::Member(attached) if attached.admitted)
    }

    pub fn is_reader(&self) -> bool {
        matches!(&self.stage, Stage::Member(attached) if attached.reads)
    }
}

impl Attached {
    pub fn new(
        now: Time,
        entry: MemberEntry,
        (admitted, reads): (bool, bool),
        channel: SealedChannel,
        challenge: [u8; 16],
    ) -> Self {
        Attached {
            entry,
            admitted,
            reads,
            channel,
            challenge,
            answered: [0; 16],
            claimed: None,
            ended: false,
            shown: None,
            tails_told: 0,
            tails_whole: 0,
            tails_from: None,
            received: Received::default(),
            requests: Budget::new(now, REQUESTS_PER_S, REQUESTS_BURST),
            signs_of_life: Budget::new(now, SIGNS_OF_LIFE_PER_S, SIGNS_OF_LIFE_BURST),
            repairs: Budget::new(now, REQUESTS_PER_S, REQUESTS_BURST),
            services: Services::new(now),
            since: now,
            asked: 0,
        }
    }

    pub fn seal(&mut self, payload: &[u8], openly: bool) -> Bytes {
        if openly { [&[0], payload].concat().into() } else { self.channel.seal(payload) }
    }

    /// Whether a request is answered.
    pub fn take_request(&mut self, now: Time, kind: Kind) -> bool {
        self.asked = self.asked.saturating_add(1);
        let budget = match kind {
            Kind::SignOfLife => &mut self.signs_of_life,
            Kind::Repair => &mut self.repairs,
            Kind::Service | Kind::Other => &mut self.requests,
        };
        budget.take(now, 1)
    }

    /// Whether it has asked more than an honest member can have asked since it logged in, whatever the network did.
    pub fn has_flooded(&self, now: Time) -> bool {
        let passed = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.asked > HONEST_AT_ONCE.saturating_add(passed.saturating_mul(HONEST_PER_S) / 1_000)
    }
}

pub(super) fn attached_mut(links: &mut BTreeMap<LinkId, Link>, link: LinkId) -> Option<&mut Attached> {
    match links.get_mut(&link).map(|l| &mut l.stage) {
        Some(Stage::Member(attached)) => Some(attached),
        _ => None,
    }
}

/// The identity of a link, for the driver's logs.
impl Leader {
    /// Who is at the other end of an authenticated link.
    pub fn member_of(&self, link: LinkId) -> Option<&MemberId> {
        match self.links.get(&link).map(|l| &l.stage) {
            Some(Stage::Member(attached)) => Some(&attached.entry.id),
            _ => None,
        }
    }
}
