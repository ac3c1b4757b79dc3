//! Session life: operators end the session, and start the next (A22; seed 003 §1.2 and §2.2).
//!
//! The session is one more subject of the semilattice: an even rank says that a session is open, an odd one that it is
//! over. A stay's number says in which session it is, so who is a member follows from what was accepted, in any order:
//!
//! - the end of a session ends every stay in it, also one that is accepted later;
//! - a stay that is accepted in a session means that the session has begun: n-f leaders vote for it, so an honest one
//!   of them knew it open.

use std::cmp::Reverse;

use super::{Ballot, Coordination, Life, Operation, Output, Rank, Subject};
use crate::fault::Rejected;
use crate::ids::{Incarnation, SESSIONS_MAX, SessionNumber, UserName};
use crate::rules::Rule;
use crate::view::{Cause, Change};

/// The end of the last session that a group can have.
const RANK_MAX: Rank = 2 * SESSIONS_MAX - 1;

/// Which session it is, and whether it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// Which.
    pub number: SessionNumber,
    /// Whether users may come in.
    pub open: bool,
}

impl Default for Session {
    fn default() -> Self {
        Session { number: SessionNumber::FIRST, open: true }
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.open { "is running" } else { "is over, and no other has been started" };
        write!(f, "session {} {state}", self.number)
    }
}

/// What operators want of a session that they name. Named, since an order that comes late must not meet the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOrder {
    /// Ends the session.
    End(SessionNumber),
    /// Starts the session, once the one before it is over.
    Start(SessionNumber),
    /// Ends the session and starts the next, in one.
    Restart(SessionNumber),
}

impl SessionOrder {
    /// Which session it names.
    pub fn number(self) -> SessionNumber {
        match self {
            SessionOrder::End(number) | SessionOrder::Start(number) | SessionOrder::Restart(number) => number,
        }
    }

    /// The state to come to from `now`; `None` if the order does not fit it.
    fn target(self, now: Session) -> Option<Session> {
        let next = SessionNumber::new(now.number.get() + 1);
        match self {
            SessionOrder::End(number) if now.open && number == now.number => Some(Session { number, open: false }),
            SessionOrder::Start(number) if !now.open && Some(number) == next => Some(Session { number, open: true }),
            SessionOrder::Restart(number) if now.open && number == now.number => {
                next.map(|number| Session { number, open: true })
            }
            _ => None,
        }
    }
}

impl Session {
    /// The session that a rank stands for; `None` above the last.
    pub(super) fn of(rank: Rank) -> Option<Session> {
        let number = SessionNumber::new(rank / 2 + 1).filter(|_| rank <= RANK_MAX)?;
        Some(Session { number, open: rank.is_multiple_of(2) })
    }

    /// Its rank.
    pub fn rank(self) -> Rank {
        2 * (self.number.get() - 1) + u64::from(!self.open)
    }

    /// Whether a stay with this number can be in the group.
    pub fn admits(self, incarnation: Incarnation) -> bool {
        self.open && incarnation.session() == self.number
    }

    /// Whether a stay with this number is over, whatever else is known of it.
    pub fn has_ended(self, incarnation: Incarnation) -> bool {
        incarnation.session() < self.number || !self.open && incarnation.session() == self.number
    }
}

impl Coordination {
    /// The session accepted here.
    pub fn session(&self) -> Session {
        let rank = self.lives.get(&Subject::Session).map_or(0, Life::rank);
        Session::of(rank).unwrap_or_default()
    }

    /// What most leaders ask for beyond the session accepted here, with how many of them do: what this leader's
    /// operator ordered, if it did, and not what fewer made up.
    pub fn session_asked(&self) -> Option<(Session, usize)> {
        let life = self.lives.get(&Subject::Session)?;
        let open = life.ballots.iter().filter(|ballot| ballot.rank() > life.rank());
        let weight =
            |ballot: &&Ballot| (ballot.votes.contains_key(&self.me), ballot.votes.len(), Reverse(ballot.rank()));
        let asked = open.max_by_key(weight)?;
        Some((Session::of(asked.rank())?, asked.votes.len()))
    }

    /// This leader's operator wants a session ended or started. f+1 operators must.
    pub fn order_session(&mut self, order: SessionOrder) -> Result<Vec<Output>, Rejected> {
        let now = self.session();
        let Some(target) = order.target(now) else {
            return Err(Rejected::OtherSession { asked: order.number(), now });
        };
        Ok(self.propose(Operation::Session(target.rank())))
    }

    /// The highest stay that a newcomer must come after: of this user, or before this session.
    pub fn login_floor(&self, user: &UserName) -> Incarnation {
        self.last_incarnation(user).max(self.session().number.base())
    }

    /// A stay that is accepted in a session means that the session has begun.
    pub(super) fn begin_session_of(&mut self, stay: Incarnation, out: &mut Vec<Output>) {
        if stay.session() <= self.session().number || !self.ends_sessions() {
            return;
        }
        let begun = Session { number: stay.session(), open: true };
        self.lives.entry(Subject::Session).or_default();
        self.reach(&Subject::Session, Operation::Session(begun.rank()), out);
        let changes = self.end_stays(out);
        out.push(Output::Changed(changes));
    }

    /// Ends the stays of sessions that are over: as if the end of each had been accepted.
    pub(super) fn end_stays(&mut self, out: &mut Vec<Output>) -> Vec<Change> {
        let session = self.session();
        out.push(Output::Session(session));
        if !self.ends_sessions() {
            return Vec::new();
        }
        let over = self.members.iter().filter(|entry| session.has_ended(entry.id.incarnation));
        let over: Vec<_> = over.map(|entry| entry.id.clone()).collect();
        let mut changes = Vec::new();
        for stay in over {
            let user = stay.user.clone();
            self.members.remove(&user);
            self.reach(&Subject::User(user.clone()), Operation::Remove(stay, Cause::SessionOver), out);
            changes.push(Change::Removed(user, Cause::SessionOver));
        }
        changes
    }

    /// Leaders that did not vote for a join and say that they have come past it, in a session that is over: that is their
    /// vote. Who accepted the join as one of the last to vote for it, and ended the stay with the session, speaks of the end
    /// alone, and without its vote the others might never have n-f.
    pub(super) fn ended_past(&self, life: &Life, join: &Ballot) -> usize {
        let Operation::Join(entry) = &join.operation else { return 0 };
        // Who is expelled stays so: a join would lift that.
        if life.barred || !self.session().has_ended(entry.id.incarnation) || !self.ends_sessions() {
            return 0;
        }
        let of_stay = |b: &&Ballot| matches!(&b.operation, Operation::Remove(stay, _) if *stay == entry.id);
        let ended = life.ballots.iter().find(of_stay);
        let said = ended.into_iter().flat_map(|ended| &ended.votes);
        said.filter(|(leader, vote)| vote.accepted && !join.votes.contains_key(leader)).count()
    }

    /// What is on disk may say less of stays than of sessions.
    pub(super) fn settle_session(&mut self) {
        let newest = self.members.iter().map(|entry| entry.id.incarnation).max_by_key(|stay| stay.session());
        let mut unused = Vec::new();
        newest.into_iter().for_each(|stay| self.begin_session_of(stay, &mut unused));
        self.end_stays(&mut unused);
    }

    /// Whether the end of a session ends its stays: always, outside the mutant corpus.
    pub(super) fn ends_sessions(&self) -> bool {
        self.rules.enforces(Rule::SessionEnds)
    }
}
