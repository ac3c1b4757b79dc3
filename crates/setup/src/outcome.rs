//! Who is to blame when a ceremony fails, in words.

use std::fmt;

use ringfort_protocol::LeaderId;

use crate::evidence::Evidence;

/// What a participant did, or did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// Told two different things in one place, both signed. Proven.
    Equivocated = 1,
    /// Dealt what is no polynomial of the right degree with a proof, or what is no message at all. Proven.
    BadDeal = 2,
    /// Dealt somebody a share off its own polynomial. Proven.
    BadShare = 3,
    /// Complained of a good share. Proven.
    FalseComplaint = 4,
    /// Confirmed another group than the one that came out. Proven.
    WrongGroup = 5,
    /// Says that it saw what nobody can show.
    Unfounded = 6,
    /// Did not say its part in time.
    Silent = 7,
    /// Holds on to an older start of somebody, or runs with other words than the others.
    NotReady = 8,
    /// Was started again while the ceremony ran.
    Restarted = 9,
    /// Gave up, for a reason that cannot be checked here.
    GaveUp = 10,
    /// Has confirmed an earlier attempt that this leader has not, and takes part in no other.
    Bound = 11,
}

impl Fault {
    const ALL: [Fault; 11] = [
        Fault::Equivocated,
        Fault::BadDeal,
        Fault::BadShare,
        Fault::FalseComplaint,
        Fault::WrongGroup,
        Fault::Unfounded,
        Fault::Silent,
        Fault::NotReady,
        Fault::Restarted,
        Fault::GaveUp,
        Fault::Bound,
    ];

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Fault::ALL.into_iter().find(|fault| *fault as u8 == code)
    }

    /// Whether only a participant that deviates can have done it.
    pub fn is_deviation(self) -> bool {
        self <= Fault::Unfounded
    }

    /// A stable word, for logs and summaries.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Equivocated => "equivocated",
            Fault::BadDeal => "bad-deal",
            Fault::BadShare => "bad-share",
            Fault::FalseComplaint => "false-complaint",
            Fault::WrongGroup => "wrong-group",
            Fault::Unfounded => "unfounded",
            Fault::Silent => "silent",
            Fault::NotReady => "not-ready",
            Fault::Restarted => "restarted",
            Fault::GaveUp => "gave-up",
            Fault::Bound => "bound",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Equivocated => "signed two different words where there can be one",
            Fault::BadDeal => "dealt commitments that are not what they have to be",
            Fault::BadShare => "dealt a share that does not fit its commitments",
            Fault::FalseComplaint => "complained of a share that is good",
            Fault::WrongGroup => "confirmed another group than the one that was made",
            Fault::Unfounded => "says that it was told what nobody can show",
            Fault::Silent => "did not say its part in time",
            Fault::NotReady => "was there, but did not get ready to start",
            Fault::Restarted => "was started again while the ceremony ran",
            Fault::GaveUp => "gave up",
            Fault::Bound => "has confirmed an earlier attempt, which this leader has not",
        })
    }
}

/// One participant, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Who.
    pub leader: LeaderId,
    /// What.
    pub fault: Fault,
    /// What anybody can check, if it is proven.
    pub evidence: Option<Evidence>,
    /// For [`Fault::GaveUp`]: whom it blames for what.
    pub reason: Option<(LeaderId, Fault)>,
}

impl Blame {
    pub(crate) fn of(leader: LeaderId, fault: Fault) -> Self {
        Blame { leader, fault, evidence: None, reason: None }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.leader, self.fault)?;
        match self.reason {
            Some((about, fault)) => write!(f, ", since it says that {about} {fault}"),
            None => Ok(()),
        }
    }
}

/// Why a ceremony failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whom to look at, at least one.
    pub blames: Vec<Blame>,
    /// This participant has confirmed: others may yet finish, and then so can this one. Run again, it waits for that; it takes
    /// part in no other attempt with the same keys.
    pub confirmed: bool,
}
