//! Coordination of leaders: seed 002 Figure 3, mended (A7, A8, A12, P5).
//!
//! Each user's life is a ladder: join 1, removal 1, join 2 and so on; its rungs are *ranks*. Leaders
//! vote on operation instances, so a vote counts whatever view its sender is in:
//!
//! - a leader that authenticates a user, or is asked, proposes;
//! - f+1 proposals contain an honest one, and every leader joins in;
//! - n-f proposals, its own among them, and a leader accepts.
//!
//! Accepting takes the subject to the operation's rank and never down. What leaders have accepted
//! therefore forms a semilattice: the same operations give the same state in any order, replays
//! fall below the rank reached, and a leader that was away catches up from f+1 peers that say they
//! have accepted. The sum of all ranks is the epoch.

mod ballot;
#[cfg(feature = "mutants")]
pub mod inspect;
mod message;
mod orders;
mod record;
mod room;
mod session;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ringfort_crypto::set_hash::SetElement;
use ringfort_crypto::sign::{SigningKey, VerifyingKey};

use ballot::{Ballot, Said};
pub use message::{Operation, Rank, SignedProposal, Subject};
use orders::Return;
pub use record::LifeRecord;
pub use session::{Session, SessionOrder};

use crate::fault::Fault;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{Epoch, Incarnation, LeaderId, MemberId, SessionId, UserName};
use crate::login::Denial;
use crate::rules::{Rule, Rules};
use crate::view::{Cause, Change, MemberEntry, MemberSet};
use crate::wire::PeerMessage;

/// Users of whom something was accepted.
pub const SUBJECTS_MAX: usize = 65_536;
/// Subjects on which one leader may be the first to vote and nothing is accepted yet, in groups of up to as many members.
const PENDING_PER_LEADER_MAX: usize = 4_096;
/// Stays of one user whose beginning one leader may propose at once, and as many whose end.
pub const BALLOTS_PER_SUBJECT_MAX: usize = 4;
/// Votes on one subject that a leader has at any time: stays that begin, as many that end, and what it has accepted.
pub const VOTES_PER_SUBJECT_MAX: usize = 2 * BALLOTS_PER_SUBJECT_MAX + 1;
/// How far a stay's number may jump beyond what any leader has voted for: a member cannot run the counter out.
pub(crate) const INCARNATION_JUMP_MAX: u64 = 64;

/// What a step of coordination asks for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make durable before anything that follows.
    Persist(LifeRecord),
    /// Tell all leaders.
    Broadcast(PeerMessage),
    /// Tell one leader.
    Tell(LeaderId, PeerMessage),
    /// The members or the epoch changed.
    Changed(Vec<Change>),
    /// A session ended or began.
    Session(Session),
    /// This leader, whose memory had been lost or was old, is in the state of f+1 others.
    CaughtUp,
    /// A leader did wrong.
    Blame(LeaderId, Fault),
}

/// What a leader has said of a stay that wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is a member already, in this very stay.
    Member,
    /// This leader has voted for it.
    VotedFor,
    /// Nothing yet.
    New,
}

/// One subject's state and what is being voted on.
#[derive(Debug, Default)]
#[cfg_attr(feature = "mutants", derive(Clone))]
struct Life {
    accepted: Option<Operation>,
    barred: bool,
    /// This leader's operator expelled the user and has not taken it back.
    unwanted: bool,
    ballots: Vec<Ballot>,
    /// Who spoke of the subject first, while nothing of it is accepted.
    founder: Option<LeaderId>,
    /// What the accepted state adds to its class, and this leader's signature under it: made once for each state.
    element: Option<SetElement>,
    signed: Option<SignedProposal>,
}

/// The coordination component of one leader.
#[cfg_attr(feature = "mutants", derive(Clone))]
pub struct Coordination {
    me: LeaderId,
    session: SessionId,
    rules: Rules,
    signing: SigningKey,
    keys: Vec<VerifyingKey>,
    members_max: usize,
    lives: BTreeMap<Subject, Life>,
    members: MemberSet,
    epoch: u64,
    /// On how many subjects each leader was the first to vote for what nobody has accepted, apart for those that are to end.
    pending: BTreeMap<(LeaderId, bool), usize>,
    /// Subjects that each leader spoke of first and of which nothing is accepted.
    founded: BTreeMap<LeaderId, usize>,
    /// Users that this leader's operator has wanted out; their lives say whether that still stands.
    unwanted: BTreeSet<Subject>,
    /// Subjects with votes beyond the state reached, or with this leader's order to expel that is not in force.
    open: BTreeSet<Subject>,
    /// Where telling one's own open votes goes on.
    told: Option<Subject>,
    buckets: sync::Buckets,
    /// Where answering each leader's comparison goes on.
    answered: BTreeMap<LeaderId, (usize, Subject)>,
    /// Users who were expelled and have come in again, as far as is known here by no more than f leaders' taking them back.
    doubts: BTreeMap<Subject, Return>,
    /// Until f+1 leaders are found in the same state, nothing is said: those found so far.
    catching_up: Option<BTreeSet<LeaderId>>,
}

impl Coordination {
    /// A leader that has accepted nothing yet, or what `records` say.
    pub fn new(group: &GroupInfo, secrets: &LeaderSecrets, records: impl IntoIterator<Item = LifeRecord>) -> Self {
        let mut this = Coordination {
            me: secrets.id,
            session: group.session(),
            rules: group.rules,
            signing: secrets.signing.clone(),
            keys: group.leaders.iter().map(|l| l.signing_key).collect(),
            members_max: usize::try_from(group.policy.members_max).unwrap_or(usize::MAX),
            lives: BTreeMap::new(),
            members: MemberSet::default(),
            epoch: 0,
            pending: BTreeMap::new(),
            founded: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            open: BTreeSet::new(),
            told: None,
            buckets: sync::Buckets::default(),
            answered: BTreeMap::new(),
            doubts: BTreeMap::new(),
            catching_up: None,
        };
        for record in records {
            this.restore(record);
        }
        this.settle_session();
        this
    }

    /// The members accepted here.
    pub fn members(&self) -> &MemberSet {
        &self.members
    }

    /// The sum of all ranks.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// Refreshes accepted here.
    pub fn refreshes(&self) -> u64 {
        self.lives.get(&Subject::Key).map_or(0, Life::rank)
    }

    /// The highest stay of a user that this leader knows of, accepted or voted for.
    pub fn last_incarnation(&self, user: &UserName) -> Incarnation {
        self.lives.get(&Subject::User(user.clone())).map_or(Incarnation(0), |life| life.last_incarnation(self.me))
    }

    /// Why a stay is over, if it is.
    pub fn ended(&self, member: &MemberId) -> Option<Cause> {
        let over = self.session().has_ended(member.incarnation).then_some(Cause::SessionOver);
        let life = self.lives.get(&Subject::User(member.user.clone()));
        let told = match life.and_then(|life| life.accepted.as_ref()) {
            Some(Operation::Join(entry)) => (entry.id.incarnation > member.incarnation).then_some(Cause::Elsewhere),
            // Of a later stay it says nothing: the user may have been taken back, and this leader be behind.
            Some(Operation::Remove(ended, _))
                if life.is_some_and(|life| life.barred) && member.incarnation <= ended.incarnation =>
            {
                return Some(Cause::Expelled);
            }
            Some(Operation::Remove(ended, cause)) if ended == member => return Some(*cause),
            Some(Operation::Remove(ended, _)) => (ended.incarnation > member.incarnation).then_some(Cause::Elsewhere),
            Some(Operation::Refresh(_) | Operation::Session(_)) | None => None,
        };
        over.or(told)
    }

    /// Why the stay with these keys is over, if it is. Two programs of one user may announce the same stay with different
    /// keys: where one of them is accepted that prevails, the other never comes in again, and may try as a newer stay.
    pub fn ended_with_keys(&self, entry: &MemberEntry) -> Option<Cause> {
        let life = self.lives.get(&Subject::User(entry.id.user.clone()));
        let own = Operation::Join(entry.clone());
        let own = (own.rank(), own.content());
        let replaced = life.is_some_and(|life| life.rank() == own.0 && life.key() > own);
        self.ended(&entry.id).or_else(|| replaced.then_some(Cause::Lost))
    }

    /// Whether an authenticated user could come in here, and what this leader has said of it.
    pub fn standing(&self, entry: &MemberEntry) -> Result<Standing, Denial> {
        let operation = Operation::Join(entry.clone());
        let life = self.lives.get(&operation.subject());
        if let Some(stay) = life.and_then(Life::expelled_from) {
            return Err(Denial::Expelled(stay));
        }
        if life.is_some_and(|l| l.accepted.as_ref() == Some(&operation)) {
            return Ok(Standing::Member);
        }
        let (floor, session) = (self.login_floor(&entry.id.user), self.session());
        let voted = life.and_then(|l| l.ballot(&operation)).is_some_and(|b| b.votes.contains_key(&self.me));
        // This leader joined in with f+1 that let the stay begin, so its session has begun.
        let has_begun = voted && entry.id.incarnation.session() > session.number;
        if self.ends_sessions() && !session.admits(entry.id.incarnation) && !has_begun {
            // It speaks of its session. A vote for a stay in a later one does not make that one end.
            let last = if floor.session() > session.number { session.number.base() } else { floor };
            return Err(if session.open { Denial::Incarnation(last) } else { Denial::NoSession(last) });
        }
        if voted {
            return Ok(Standing::VotedFor);
        }
        let new = entry.id.incarnation.0;
        let known = life.map_or(floor, |life| floor.max(life.highest_stay_named()));
        let fresh = new > floor.0 && new.saturating_sub(known.0) <= INCARNATION_JUMP_MAX;
        if !fresh && self.rules.enforces(Rule::Incarnation) {
            let unsettled = life.is_some_and(|life| life.leaves_open(&operation, self.me));
            return Err(if unsettled { Denial::Unsettled(floor) } else { Denial::Incarnation(floor) });
        }
        if self.members.len() >= self.members_max && self.members.get(&entry.id.user).is_none() {
            return Err(Denial::Full);
        }
        Ok(Standing::New)
    }

    /// An authenticated user comes in. `Ok(true)` if it is a member already in this very stay.
    pub fn admit(&mut self, entry: &MemberEntry) -> Result<(bool, Vec<Output>), Denial> {
        match self.standing(entry)? {
            Standing::Member => Ok((true, Vec::new())),
            Standing::VotedFor | Standing::New => Ok((false, self.propose(Operation::Join(entry.clone())))),
        }
    }

    /// A member leaves, or is not heard any more.
    pub fn remove(&mut self, member: &MemberId, cause: Cause) -> Vec<Output> {
        self.propose(Operation::Remove(member.clone(), cause))
    }

    /// The rekey period has passed, or an operator asks for a new key.
    pub fn refresh(&mut self) -> Vec<Output> {
        self.propose(Operation::Refresh(self.refreshes() + 1))
    }

    fn propose(&mut self, operation: Operation) -> Vec<Output> {
        let subject = operation.subject();
        if !self.has_room_for(self.me, &subject) {
            return Vec::new();
        }
        let mut out = Vec::new();
        if self.is_catching_up() {
            return out;
        }
        self.vote_own(&operation, &mut out);
        self.tally(&subject, &mut out);
        out
    }

    /// A link to a leader is new: what it wants that is not settled, it says again in its status.
    ///
    /// What an attacker said in its name thus ends with the attack: leaders that are hacked one after the
    /// other do not add up, and a flood does not silence the leader for ever.
    pub fn on_peer_up(&mut self, peer: LeaderId) {
        let open: Vec<Subject> = self.open.iter().cloned().collect();
        for subject in open {
            self.change(&subject, |life| life.withdraw(peer));
            self.tidy(&subject);
        }
        self.answered.remove(&peer);
    }

    /// Handles a leader's proposals.
    #[must_use]
    pub fn on_proposals(&mut self, from: LeaderId, proposals: Vec<SignedProposal>) -> Vec<Output> {
        self.on_proposals_within(from, proposals, &mut || true)
    }

    /// The same within the sender's means: `pay` is asked before each signature is checked. What is not paid for is
    /// not looked at; an honest leader says it again.
    #[must_use]
    pub fn on_proposals_within(
        &mut self,
        from: LeaderId,
        proposals: Vec<SignedProposal>,
        pay: &mut dyn FnMut() -> bool,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        for proposal in proposals {
            match self.check(from, &proposal, pay) {
                Ok(Check::Count) => {
                    let subject = proposal.operation.subject();
                    let SignedProposal { operation, accepted, takes_back, .. } = proposal;
                    self.record_vote(from, operation, Said { accepted, takes_back });
                    self.tally(&subject, &mut out);
                }
                // What it says was known, and what is known of the session may be new.
                Ok(Check::Skip) => self.tally(&proposal.operation.subject(), &mut out),
                Ok(Check::Unpaid) => break,
                Err(fault) => {
                    out.push(Output::Blame(from, fault));
                    break;
                }
            }
        }
        out
    }

    /// Whether a proposal is worth counting. Known and outdated ones are told apart before any signature is checked.
    fn check(&self, from: LeaderId, proposal: &SignedProposal, pay: &mut dyn FnMut() -> bool) -> Result<Check, Fault> {
        if proposal.leader != from || !proposal.operation.is_sound() {
            return Err(Fault::BadProposal);
        }
        if proposal.session != self.session && self.rules.enforces(Rule::ProposalSession) {
            return Err(Fault::WrongSession);
        }
        let subject = proposal.operation.subject();
        if let Some(life) = self.lives.get(&subject) {
            let outdated = proposal.operation.rank() < life.rank();
            if outdated && self.rules.enforces(Rule::Incarnation) || life.knows(from, proposal) {
                return Ok(Check::Skip);
            }
        }
        let fits = self.has_room_for(from, &subject) && self.has_room_for_vote(from, &proposal.operation);
        if !fits && self.rules.enforces(Rule::PendingLimit) {
            return Ok(Check::Skip);
        }
        if !pay() {
            return Ok(Check::Unpaid);
        }
        let key = self.keys.get(usize::from(from.number()) - 1).ok_or(Fault::BadProposal)?;
        if proposal.verify(key).is_err() && self.rules.enforces(Rule::ProposalSignature) {
            return Err(Fault::BadProposal);
        }
        Ok(Check::Count)
    }

    /// Applies the second and third rules of Figure 3 to a subject until nothing changes.
    fn tally(&mut self, subject: &Subject, out: &mut Vec<Output>) {
        while let Some(next) = self.lives.get(subject).and_then(|life| self.next_action(life)) {
            match next {
                Action::Amplify(operation) => self.vote_own(&operation, out),
                Action::Bar => self.bar(subject, out),
                Action::Accept(operation) => self.accept(subject, operation, out),
            }
        }
        self.tidy(subject);
    }

    fn next_action(&self, life: &Life) -> Option<Action> {
        if !life.barred && life.expelled_by() >= self.rules.amplify() {
            return Some(Action::Bar);
        }
        life.ballots.iter().find_map(|ballot| {
            if !life.is_news(ballot, &self.rules) {
                return None;
            }
            let own = ballot.votes.contains_key(&self.me);
            let past = self.ended_past(life, ballot);
            let room = life.has_room(self.me, ballot);
            if !own && room && !self.is_catching_up() && ballot.votes.len() + past >= self.rules.amplify() {
                return Some(Action::Amplify(ballot.amplified(&self.rules)));
            }
            let own = own || !self.rules.enforces(Rule::AcceptOwn);
            let voted = own && ballot.votes.len() + past >= self.rules.accept();
            let caught_up = ballot.accepted_by() + past >= self.rules.catch_up();
            (voted || caught_up).then(|| Action::Accept(ballot.amplified(&self.rules)))
        })
    }

    /// f+1 leaders, one of them honest, say that operators expelled the user.
    fn bar(&mut self, subject: &Subject, out: &mut Vec<Output>) {
        let Some(life) = self.lives.get_mut(subject) else { return };
        self.buckets.take(subject, life);
        life.barred = true;
        life.tell_cause(Cause::Expelled);
        self.buckets.put(subject, life);
        let own = life.ballots.iter().find_map(|b| match (&b.operation, b.votes.get(&self.me)) {
            (Operation::Remove(member, _), Some(vote)) if vote.cause != Some(Cause::Expelled) => Some(member.clone()),
            _ => None,
        });
        out.push(Output::Persist(self.record(subject)));
        if let Some(member) = own {
            self.vote_own(&Operation::Remove(member, Cause::Expelled), out);
        }
    }

    fn accept(&mut self, subject: &Subject, operation: Operation, out: &mut Vec<Output>) {
        if let Operation::Join(entry) = &operation {
            self.begin_session_of(entry.id.incarnation, out);
        }
        // Whom this leader wants out it wants out of the next stay too, however fast the user comes again.
        let unwanted = self.lives.get(subject).is_some_and(|life| life.wants_out(self.me));
        self.doubt(subject);
        self.reach(subject, operation.clone(), out);
        let changes = match operation {
            Operation::Join(entry) => {
                if unwanted {
                    self.vote_own(&Operation::Remove(entry.id.clone(), Cause::Expelled), out);
                }
                self.let_in(entry, out)
            }
            Operation::Remove(member, cause) => {
                let gone = self.members.remove(&member.user);
                gone.map(|entry| Change::Removed(entry.id.user, cause)).into_iter().collect()
            }
            Operation::Refresh(_) => Vec::new(),
            Operation::Session(_) => self.end_stays(out),
        };
        out.push(Output::Changed(changes));
    }

    /// A user whose join is accepted is a member, unless the session that it is in is over by now.
    fn let_in(&mut self, entry: MemberEntry, out: &mut Vec<Output>) -> Vec<Change> {
        if self.session().has_ended(entry.id.incarnation) && self.ends_sessions() {
            let subject = Subject::User(entry.id.user.clone());
            self.reach(&subject, Operation::Remove(entry.id, Cause::SessionOver), out);
            return Vec::new();
        }
        self.members.insert(entry.clone());
        vec![Change::Added(entry)]
    }

    /// Takes a subject's life to an operation: the epoch and the digests follow, and it is durable.
    fn reach(&mut self, subject: &Subject, operation: Operation, out: &mut Vec<Output>) {
        let Some(life) = self.lives.get_mut(subject) else { return };
        self.buckets.take(subject, life);
        self.epoch = self.epoch.saturating_sub(life.rank()).saturating_add(operation.rank());
        self.catching_up.iter_mut().for_each(BTreeSet::clear);
        self.change(subject, |life| life.accept(operation));
        let Some(life) = self.lives.get_mut(subject) else { return };
        self.buckets.put(subject, life);
        if let Some(founder) = life.founder.take() {
            room::less(&mut self.founded, founder);
        }
        self.tidy(subject);
        out.push(Output::Persist(self.record(subject)));
    }
}

/// What becomes of a proposal.
enum Check {
    Count,
    Skip,
    Unpaid,
}

enum Action {
    Amplify(Operation),
    Bar,
    Accept(Operation),
}
