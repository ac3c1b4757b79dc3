//! What the audit has lines of.

use ringfort::protocol::fault::{Culprit, Fault};
use ringfort::protocol::leader::Event;
use ringfort::protocol::motion::Count;
use ringfort_node::leader::Told;
use serde::Serialize;

use super::accounts::Account;
use crate::words::{cause_word, culprit_kind, denial_word, motion_word, order_session, order_words, renewal_words};

/// A security decision.
#[derive(Debug, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the documentation's, in docs/operators.md")]
pub enum Decision {
    Started {
        version: &'static str,
        sandbox: String,
    },
    Listening {
        address: String,
    },
    LoginAccepted {
        user: String,
        stay: u64,
    },
    LoginRefused {
        user: String,
        reason: &'static str,
    },
    Admitted {
        user: String,
        stay: u64,
    },
    Removed {
        user: String,
        cause: &'static str,
    },
    View {
        epoch: u64,
        view: String,
        members: usize,
    },
    Session {
        session: u64,
        open: bool,
    },
    CaughtUp,
    MembersAsked {
        motion: &'static str,
        user: String,
    },
    MembersDecided {
        motion: &'static str,
        user: String,
        passed: bool,
        yes: usize,
        no: usize,
        of: usize,
    },
    Convicted {
        user: String,
        stay: u64,
    },
    Blamed {
        who: String,
        kind: &'static str,
        fault: &'static str,
        deviation: bool,
    },
    Order {
        order: &'static str,
        user: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<u64>,
        done: bool,
        why_not: Option<String>,
    },
    OrderUnreadable {
        why: String,
    },
    LeaderLink {
        leader: u8,
        up: bool,
    },
    Renewal {
        generation: u32,
        what: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        leader: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<&'static str>,
    },
    RetiredLeader {
        leader: u8,
    },
    LeaderCutOff {
        leader: u8,
        for_ms: u64,
    },
    RefusalsNotWritten {
        about: String,
        count: u64,
    },
    LinesLost {
        count: u64,
    },
    Stopping,
}

impl Decision {
    /// The decision behind something that was told, if it is one.
    pub fn of(told: &Told<'_>) -> Option<Decision> {
        Some(match told {
            Told::Listening(address) => Decision::Listening { address: address.to_string() },
            Told::Event(event) => Decision::of_event(event),
            Told::PeerUp(leader) => Decision::LeaderLink { leader: leader.number(), up: true },
            Told::PeerDown(leader) => Decision::LeaderLink { leader: leader.number(), up: false },
            Told::Order(order, outcome) => {
                let (word, user) = order_words(order);
                let why_not = outcome.as_ref().err().map(ToString::to_string);
                let user = user.map(ToString::to_string);
                Decision::Order { order: word, user, session: order_session(order), done: outcome.is_ok(), why_not }
            }
            Told::Renewal(event) => {
                let (what, generation, leader, fault) = renewal_words(event);
                Decision::Renewal { generation, what, leader, fault }
            }
            Told::Retired(leader) => Decision::RetiredLeader { leader: leader.number() },
            Told::OrderUnreadable(error) => Decision::OrderUnreadable { why: error.to_string() },
            Told::Stopping => Decision::Stopping,
            _ => return None,
        })
    }

    fn of_event(event: &Event) -> Decision {
        match event {
            Event::Authenticated(id) => Decision::LoginAccepted { user: id.user.to_string(), stay: id.incarnation.0 },
            Event::Denied(user, reason) => {
                Decision::LoginRefused { user: user.to_string(), reason: denial_word(*reason) }
            }
            Event::Admitted(id) => Decision::Admitted { user: id.user.to_string(), stay: id.incarnation.0 },
            Event::Ended(user, cause) => Decision::Removed { user: user.to_string(), cause: cause_word(*cause) },
            Event::Published(view, members) => {
                Decision::View { epoch: view.epoch.0, view: view.digest.to_string(), members: *members }
            }
            Event::Session(now) => Decision::Session { session: now.number.get(), open: now.open },
            Event::CaughtUp => Decision::CaughtUp,
            Event::CutOff(peer, length) => {
                let for_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                Decision::LeaderCutOff { leader: peer.number(), for_ms }
            }
            Event::MotionOpened(motion) => {
                Decision::MembersAsked { motion: motion_word(motion), user: motion.user.to_string() }
            }
            Event::MotionDecided(motion, passed, Count { yes, no, of }) => {
                let (word, user) = (motion_word(motion), motion.user.to_string());
                Decision::MembersDecided { motion: word, user, passed: *passed, yes: *yes, no: *no, of: *of }
            }
            Event::Convicted(id) => Decision::Convicted { user: id.user.to_string(), stay: id.incarnation.0 },
            Event::Blamed(culprit, fault) => Decision::blamed(culprit, *fault),
        }
    }

    /// The decision that somebody did wrong.
    pub fn blamed(culprit: &Culprit, fault: Fault) -> Decision {
        Decision::Blamed {
            who: culprit.to_string(),
            kind: culprit_kind(culprit),
            fault: fault.word(),
            deviation: fault.is_deviation(),
        }
    }

    /// Whose lines such a line is one of; none if it is written whatever else is.
    ///
    /// Nobody pays from an account of somebody else's: what strangers do hides no leader's offence and no member's login.
    pub(super) fn account(&self) -> Option<Account> {
        Some(match self {
            Decision::LoginRefused { .. } => Account::Strangers,
            Decision::Blamed { kind: "outsider", .. } => Account::Strangers,
            // A user pays for all its stays.
            Decision::Blamed { who, .. } => Account::Peer(who.split('#').next().unwrap_or(who).to_owned()),
            Decision::LeaderLink { leader, .. }
            | Decision::LeaderCutOff { leader, .. }
            | Decision::RetiredLeader { leader } => Account::Peer(format!("leader {leader}")),
            // Who is put out has no say in it.
            Decision::Removed { cause: "expelled", .. } => return None,
            Decision::LoginAccepted { user, .. } | Decision::Admitted { user, .. } | Decision::Removed { user, .. } => {
                Account::Peer(user.clone())
            }
            Decision::View { .. } | Decision::MembersAsked { .. } | Decision::MembersDecided { .. } => Account::Group,
            Decision::Started { .. }
            | Decision::Listening { .. }
            | Decision::Session { .. }
            | Decision::CaughtUp
            | Decision::Convicted { .. }
            | Decision::Renewal { .. }
            | Decision::Order { .. }
            | Decision::OrderUnreadable { .. }
            | Decision::RefusalsNotWritten { .. }
            | Decision::LinesLost { .. }
            | Decision::Stopping => return None,
        })
    }

    /// An operator's order, and what became of it.
    pub(super) fn is_order(&self) -> bool {
        matches!(self, Decision::Order { .. } | Decision::OrderUnreadable { .. })
    }
}
