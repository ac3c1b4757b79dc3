//! Evidence: signed views that convict whoever signed them (P6, A28).
//!
//! What a leader has accepted is a point of a semilattice: the rank that each user's life and the group key have
//! reached, and, where two joins of one stay compete, which of them (`coordination`). An honest leader only goes up,
//! and what it has accepted is durable before it signs; so of any two views that it ever signs, one can have come
//! before the other. Two of which neither can have come before the other convict it, at whatever times it claims to
//! have signed them and in whatever order they are found. So does one that nothing can lead to.
//!
//! What is *not* evidence: two views of one epoch by different leaders, who may have accepted different joins
//! first; two views of one epoch by one leader with the same stays, of which one has other keys; two times for one view (a
//! restart); two votes, which are not exclusive; a log that skips views.
//!
//! More than f leaders convicted: the group's assumption is broken, and nothing that rests on it holds any more.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::codec::{decode, encode};
use crate::coordination::{Operation, Rank, Session};
use crate::group::GroupInfo;
use crate::ids::{GroupId, LeaderId, SessionNumber, UserName, ViewId};
use crate::log::{Audited, SeenView};
use crate::statement::Word;
use crate::view::{MemberEntry, MemberSet, ViewHasher};

#[cfg(test)]
mod tests;

const MAGIC: &[u8; 20] = b"ringfort evidence 1\n";

/// A view with its members and the words of leaders for it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Testimony {
    /// Which view.
    pub view: ViewId,
    /// Refreshes so far.
    pub refreshes: u64,
    /// Its members, by name.
    pub members: Vec<MemberEntry>,
    /// Who signed it.
    pub words: Vec<Word>,
}

/// What convicts leaders.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Proof {
    /// Two views of which neither can have come before the other.
    Conflict(Testimony, Testimony) = 1,
    /// A view that nothing can lead to.
    Impossible(Testimony) = 2,
}

/// A proof, of leaders of one group.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Evidence {
    /// Which group.
    pub group: GroupId,
    /// The proof.
    pub proof: Proof,
}

/// Whom evidence convicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conviction {
    /// The leaders.
    pub guilty: BTreeSet<LeaderId>,
    /// Whether they are more than f.
    pub beyond_f: bool,
}

/// Why something is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvidence {
    /// Not such a file.
    #[error("this is no file of evidence, or it was altered")]
    Malformed,
    /// Of another group.
    #[error("the evidence is of another group: use the group file of that group")]
    OtherGroup,
    /// The members do not fit.
    #[error("a member list does not fit its view's digest: the evidence was altered")]
    Digest,
    /// A bad signature.
    #[error("a leader's signature does not verify: the evidence was altered or forged")]
    Signature,
    /// All as it may be.
    #[error("nothing in it is wrong: an honest leader may have signed all of it")]
    Innocent,
}

/// Where a leader stands, as far as a view shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    epoch: u64,
    /// That of all stays; `None` without any, and where they differ, which cannot be.
    session: Option<SessionNumber>,
    refreshes: u64,
    /// Who is in, with the rank of the join and what tells competing joins apart.
    present: BTreeMap<UserName, (Rank, [u8; 32])>,
}

impl State {
    /// The state behind a view.
    pub fn new<'a>(view: ViewId, refreshes: u64, members: impl IntoIterator<Item = &'a MemberEntry>) -> Self {
        let place = |entry: &MemberEntry| {
            let join = Operation::Join(entry.clone());
            (entry.id.user.clone(), (join.rank(), join.content()))
        };
        let members: Vec<&MemberEntry> = members.into_iter().collect();
        let session = members.first().map(|first| first.id.incarnation.session());
        let session = session.filter(|session| members.iter().all(|e| e.id.incarnation.session() == *session));
        State { epoch: view.epoch.0, session, refreshes, present: members.into_iter().map(place).collect() }
    }

    /// The rank that the session has come to where there are members: it is open.
    fn session_rank(&self) -> Rank {
        self.session.map_or(0, |number| Session { number, open: true }.rank())
    }

    /// Whether nothing is known of the session, which may be over: then nothing follows from odd and even.
    fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether a leader in this state can come to `later` by accepting operations: no rank falls, no join gives way
    /// to a lesser one, and the ranks that must rise make up the epochs' difference, or leave an even number to
    /// users in neither view.
    pub fn can_lead_to(&self, later: &State) -> bool {
        let known = !self.is_empty() && !later.is_empty();
        let sessions = later.session_rank().checked_sub(self.session_rank()).or((!known).then_some(0));
        let (Some(refreshes), Some(sessions)) = (later.refreshes.checked_sub(self.refreshes), sessions) else {
            return false;
        };
        // What an empty view's session has come to is not seen: it may be anything up to the later one's.
        let mut risen = if known { refreshes.saturating_add(sessions) } else { refreshes };
        for user in self.present.keys().chain(later.present.keys()).collect::<BTreeSet<_>>() {
            let least = match (self.present.get(user), later.present.get(user)) {
                (Some(before), Some(after)) if before > after => return false,
                (Some((before, _)), Some((after, _))) => after - before,
                // Absent is an even rank: at least one step away, on either side.
                _ => 1,
            };
            risen = risen.saturating_add(least);
        }
        let difference = later.epoch.checked_sub(self.epoch).and_then(|rise| rise.checked_sub(risen));
        difference.is_some_and(|rest| !known || rest.is_multiple_of(2))
    }

    /// Whether one honest leader can have been in both.
    pub fn fits(&self, other: &State) -> bool {
        self.can_lead_to(other) || other.can_lead_to(self)
    }

    /// Whether an honest leader can have been in it at all: the epoch is the sum of all ranks, and who is absent
    /// has an even one.
    pub fn is_possible(&self) -> bool {
        let before = self.refreshes.saturating_add(self.session_rank());
        let ranks = self.present.values().fold(before, |sum, (rank, _)| sum.saturating_add(*rank));
        let one_session = self.is_empty() || self.session.is_some();
        let rest = self.epoch.checked_sub(ranks).filter(|_| one_session);
        rest.is_some_and(|rest| self.is_empty() || rest.is_multiple_of(2))
    }
}

impl Testimony {
    /// A view out of a log.
    pub fn from_log(audited: &Audited<'_>, seen: &SeenView) -> Self {
        let members = audited.members_of(seen).into_values().collect();
        Testimony { view: seen.view, refreshes: seen.refreshes, members, words: seen.words.clone() }
    }

    /// The state behind it.
    pub fn state(&self) -> State {
        State::new(self.view, self.refreshes, &self.members)
    }

    fn signers(&self) -> BTreeSet<LeaderId> {
        self.words.iter().map(|word| word.leader).collect()
    }

    fn check(&self, group: &GroupInfo) -> Result<(), NoEvidence> {
        let in_order = self.members.windows(2).all(|pair| matches!(pair, [a, b] if a.id.user < b.id.user));
        let mut members = MemberSet::default();
        self.members.iter().cloned().for_each(|entry| members.insert(entry));
        let session = self.members.iter().map(|entry| entry.id.incarnation.session()).max();
        let session = group.session_of(session.unwrap_or(SessionNumber::FIRST));
        let view = ViewHasher::new(group, session).view_id(self.view.epoch, self.refreshes, members.hash());
        if !in_order || view != self.view {
            return Err(NoEvidence::Digest);
        }
        let signed = |word: &Word| word.statement.verify(group, word.leader, self.view, self.refreshes).is_ok();
        let once = self.signers().len() == self.words.len();
        if once && self.words.iter().all(signed) { Ok(()) } else { Err(NoEvidence::Signature) }
    }
}

impl Evidence {
    /// As in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(encode(self));
        bytes
    }

    /// Reads evidence; nothing is checked but its shape.
    ///
    /// # Errors
    /// [`NoEvidence::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoEvidence> {
        let body = bytes.strip_prefix(MAGIC).ok_or(NoEvidence::Malformed)?;
        decode(body).map_err(|_| NoEvidence::Malformed)
    }

    /// Whom it convicts.
    ///
    /// # Errors
    /// [`NoEvidence`]: why it convicts nobody.
    pub fn verify(&self, group: &GroupInfo) -> Result<Conviction, NoEvidence> {
        if self.group != group.id() {
            return Err(NoEvidence::OtherGroup);
        }
        let guilty: BTreeSet<LeaderId> = match &self.proof {
            Proof::Conflict(one, other) => {
                one.check(group)?;
                other.check(group)?;
                let both = one.signers().intersection(&other.signers()).copied().collect();
                if one.state().fits(&other.state()) { BTreeSet::new() } else { both }
            }
            Proof::Impossible(view) => {
                view.check(group)?;
                if view.state().is_possible() { BTreeSet::new() } else { view.signers() }
            }
        };
        if guilty.is_empty() {
            return Err(NoEvidence::Innocent);
        }
        Ok(Conviction { beyond_f: guilty.len() > usize::from(group.rules.f()), guilty })
    }
}

/// Looks for evidence in logs of one group, one or several members': for every leader, in the order of epochs, each
/// view that it signed against the one that it signed before.
pub fn find(logs: &[Audited<'_>], group: &GroupInfo) -> Vec<Evidence> {
    let mut signed: Vec<(&Audited<'_>, &SeenView)> =
        logs.iter().flat_map(|log| log.views.iter().map(move |seen| (log, seen))).collect();
    signed.sort_by_key(|(_, seen)| (seen.view, seen.refreshes));
    let mut found: Vec<Evidence> = Vec::new();
    let mut last: BTreeMap<LeaderId, (Testimony, State)> = BTreeMap::new();
    for (log, seen) in signed {
        let testimony = Testimony::from_log(log, seen);
        let state = testimony.state();
        let mut proofs = Vec::new();
        if !state.is_possible() {
            proofs.push(Proof::Impossible(testimony.clone()));
        }
        for leader in testimony.signers() {
            let before = last.insert(leader, (testimony.clone(), state.clone()));
            let conflict = before.filter(|(before, known)| before.view != testimony.view && !known.fits(&state));
            proofs.extend(conflict.map(|(before, _)| Proof::Conflict(before, testimony.clone())));
        }
        for proof in proofs {
            let evidence = Evidence { group: group.id(), proof };
            if !found.contains(&evidence) && found.len() < FOUND_MAX {
                found.push(evidence);
            }
        }
    }
    found
}

/// Pieces of evidence that one search gives.
const FOUND_MAX: usize = 64;
