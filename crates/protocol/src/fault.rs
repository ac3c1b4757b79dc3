//! Who did wrong: the caller ([`Rejected`]) or a peer ([`Fault`]).

use std::time::Duration;

use ringfort_kernel::Penalty;

use crate::coordination::Session;
use crate::ids::{LeaderId, MemberId, SessionNumber, UserName};
use crate::roles::Role;

/// A command that the local caller should not have given, or not now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not in the group (yet, or any more).
    #[error("not in the group yet: wait for the first view")]
    NotJoined,
    /// The stay has ended.
    #[error("you are no longer in the group: join again")]
    Ended,
    /// A message above the policy's bound.
    #[error("a message of {bytes} bytes is above the policy's {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A private message to somebody who is not a member.
    #[error("{0} is not in the current view")]
    NotAMember(UserName),
    /// A private message to nobody or to too many.
    #[error("a private message needs 1 to {max} recipients")]
    Recipients {
        /// The bound.
        max: usize,
    },
    /// Policy forbids sending under a view that is not known to be current: fewer than n-f leaders confirm it.
    #[error(
        "too few leaders confirm that the view is current (it takes n-f), and the policy says to stop sending then"
    )]
    Stale,
    /// The user's role in the group forbids it.
    #[error("{user} has the role {role} in this group: {forbids}")]
    Role {
        /// Whose role.
        user: UserName,
        /// Which.
        role: Role,
        /// What it forbids.
        forbids: &'static str,
    },
    /// The policy leaves this to others than the members.
    #[error("the group's policy asks members for no vote on this")]
    NoVote,
    /// Too few members to vote on an expulsion.
    #[error("no vote can put {0} out: at least two members besides {0} must be in the group to vote on it")]
    TooFewVoters(UserName),
    /// An order to renew the leaders' shares that cannot be carried out.
    #[error("{0}")]
    Renewal(&'static str),
    /// The leader does not know the user.
    #[error("{0} is not registered here")]
    UnknownUser(UserName),
    /// A record that would replace what the user has registered already.
    #[error("{0} is registered here with another password or key: whoever wants to replace it has to say so")]
    Registered(UserName),
    /// A record that is not for this leader, or was altered.
    #[error("the enrolment record cannot be opened: it is for another leader or group, or was altered")]
    BadRecord,
    /// A record whose share of the user's login key is not the one that its announced key asks for.
    #[error("the login key in the enrolment record does not fit this leader: the user has to enrol again")]
    BadLoginKey,
    /// A table is full.
    #[error("the limit of {0} registered users is reached")]
    Full(usize),
    /// An order about a session that does not fit the one that there is.
    #[error("the order is about session {asked}, but {now}")]
    OtherSession {
        /// Which the order names.
        asked: SessionNumber,
        /// Which there is.
        now: Session,
    },
    /// This leader says nothing before it is in the state of f+1 others.
    #[error("this leader is still catching up with the others: ask again when it has")]
    CatchingUp,
}

/// For how long a leader is cut off that deviates on its own link, or asks for more than its share of work: a clean record.
pub(crate) const CUT_OFF: Penalty = Penalty::new(Duration::from_secs(1), Duration::from_secs(60));

/// What a peer did wrong. Local suspicion, shown to people; it never decides an expulsion by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Bytes that are no message.
    Malformed,
    /// A frame that does not open under the session key.
    BadSeal,
    /// A frame seen before.
    Replayed,
    /// A proposal whose signature does not verify.
    BadProposal,
    /// A proposal of another session.
    WrongSession,
    /// More than the limits allow.
    Flooding,
    /// A share whose proof does not verify (B4).
    BadShare,
    /// A password evaluation whose proof does not verify.
    BadEvaluation,
    /// A view claim whose content does not hash to its digest.
    BadView,
    /// A view claim without its leader's signature.
    BadStatement,
    /// A claim older than what the same leader claimed before.
    ClaimWentBack,
    /// Different claims under one claim number.
    Equivocated,
    /// A heartbeat answer that does not name the challenge.
    StaleHeartbeat,
    /// A leader that could not prove that it knows this user's key, while f+1 others could.
    BadLoginProof,
    /// A member that sends in another's name, or signs what nobody can read.
    BadData,
    /// A leader relayed another body than its sender gave to other leaders. One of the two altered it: nobody knows which.
    Altered,
    /// A data frame under a view whose overlap has ended.
    OldView,
    /// A leader that relays what it should not, or in another's name.
    BadRelay,
    /// No answer within the deadline.
    Silent,
    /// A login that failed.
    LoginFailed,
    /// Too many attempts.
    Throttled,
    /// A message or a request that the member's role forbids.
    AgainstRole,
    /// A member that leaves out numbers of its messages and does not supply them when asked, though it says it has them.
    Withheld,
    /// A leader that answers a request to the group's services otherwise than f+1 others.
    WrongAnswer,
}

/// All faults: a new one that is not in the list does not compile.
macro_rules! all_faults {
    ($($fault:ident)*) => {
        impl Fault {
            /// Every offence that there is.
            pub const ALL: &[Fault] = &[$(Fault::$fault),*];
        }
        const _: fn(Fault) = |fault| match fault {
            $(Fault::$fault => {})*
        };
    };
}
all_faults! {
    Malformed BadSeal Replayed BadProposal WrongSession Flooding BadShare BadEvaluation BadView BadStatement ClaimWentBack
    Equivocated StaleHeartbeat BadLoginProof BadData OldView BadRelay Silent LoginFailed Throttled AgainstRole
    Altered Withheld WrongAnswer
}

impl Fault {
    /// Whether only the one who is blamed can have caused it, by deviating: no slow network, no old message, nobody else.
    pub fn is_deviation(self) -> bool {
        let innocent = [
            Fault::Silent,
            Fault::Replayed,
            Fault::OldView,
            Fault::Throttled,
            Fault::LoginFailed,
            Fault::Altered,
            Fault::Withheld,
        ];
        !innocent.contains(&self)
    }

    /// Whether a leader is cut off for it, for a while: what costs work, and what only the leader at its other end
    /// can have caused, on this very link.
    pub fn cuts_link(self) -> bool {
        matches!(self, Fault::Malformed | Fault::BadProposal | Fault::Flooding | Fault::BadView | Fault::BadStatement)
    }

    /// The offence as a stable word, for logs and summaries.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Malformed => "malformed",
            Fault::BadSeal => "bad-seal",
            Fault::Replayed => "replayed",
            Fault::BadProposal => "bad-proposal",
            Fault::WrongSession => "wrong-session",
            Fault::Flooding => "flooding",
            Fault::BadShare => "bad-share",
            Fault::BadEvaluation => "bad-evaluation",
            Fault::BadView => "bad-view",
            Fault::BadStatement => "bad-statement",
            Fault::ClaimWentBack => "claim-went-back",
            Fault::Equivocated => "equivocated",
            Fault::StaleHeartbeat => "stale-heartbeat",
            Fault::BadLoginProof => "bad-login-proof",
            Fault::BadData => "bad-data",
            Fault::Altered => "altered",
            Fault::OldView => "old-view",
            Fault::BadRelay => "bad-relay",
            Fault::Silent => "silent",
            Fault::LoginFailed => "login-failed",
            Fault::Throttled => "throttled",
            Fault::AgainstRole => "against-role",
            Fault::Withheld => "withheld",
            Fault::WrongAnswer => "wrong-answer",
        }
    }
}

/// Who is blamed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Culprit {
    /// A leader.
    Leader(LeaderId),
    /// A member.
    Member(MemberId),
    /// Somebody who is not logged in, under the name it claimed, if any.
    Outsider(Option<UserName>),
}

impl std::fmt::Display for Culprit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Culprit::Leader(id) => id.fmt(f),
            Culprit::Member(id) => id.fmt(f),
            Culprit::Outsider(Some(user)) => write!(f, "somebody calling themselves {user}"),
            Culprit::Outsider(None) => write!(f, "an outsider"),
        }
    }
}
