//! The member's side: acts on f+1 consistent leaders and nothing less (A10, P6).

mod candidates;
mod certificate;
mod content;
mod ended;

use std::collections::{BTreeMap, BTreeSet};

use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::VerifyingKey;

use super::{Base, VIEWS_KEPT_MAX, ViewClaim, view_point};
use crate::fault::Fault;
use crate::group::GroupInfo;
use crate::ids::{LeaderId, MemberId, SessionId, UserName, ViewDigest, ViewId};
use crate::rules::Rule;
use crate::statement::{Statement, Word};
use crate::succession::Generation;
use crate::view::{Cause, Change, MemberEntry, MemberSet, ViewHasher};

use candidates::{Candidate, Changes};
use content::Content;
use ended::Ends;

/// Follows what leaders claim and installs views.
pub struct ViewTracker {
    /// That of the stay: no view of another can be installed.
    session: SessionId,
    hasher: ViewHasher,
    me: MemberId,
    /// Whether this member's role lets it have keys.
    reads: bool,
    installed: Option<Installed>,
    /// What each leader claims now.
    current: BTreeMap<LeaderId, Current>,
    candidates: BTreeMap<Claimed, Candidate>,
    /// Member lists being fetched, one per leader: nobody mixes anything into another's.
    lists: BTreeMap<LeaderId, (ViewDigest, Vec<MemberEntry>)>,
    ends: Ends,
    /// The view before the installed one, and the changes that lead back to it.
    before: Option<(ViewDigest, Changes)>,
    /// Statements for the installed view that were not needed to install it, unchecked; `None` once taken.
    late: BTreeMap<LeaderId, Option<Statement>>,
    keeps_late: bool,
    /// The generation of each leader's shares; none for the first.
    generations: BTreeMap<LeaderId, Generation>,
    /// The key that each leader signed with whose words are kept here.
    signers: BTreeMap<LeaderId, VerifyingKey>,
}

/// A leader's claim, by its number, and its word for it.
#[derive(Clone, Copy, Debug)]
struct Current {
    number: u64,
    claimed: Claimed,
    statement: Statement,
    checked: Checked,
}

/// What is known of a statement's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    NotYet,
    Good,
    Bad,
}

/// The view a member is in.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its name.
    pub id: ViewId,
    /// Refreshes so far.
    pub refreshes: u64,
    /// Who is in it.
    pub members: MemberSet,
}

/// A view as leaders name it. The digest covers the other two, but only content proves that; until
/// then a false pairing must not stand in the way of the true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimed {
    view: ViewId,
    refreshes: u64,
}

/// What a step of the tracker asks for.
#[derive(Debug)]
pub enum TrackerOutput {
    /// A view is installed: its key and how the members changed.
    Installed {
        /// The new view.
        view: ViewId,
        /// Its key; none for a member whose role is not to read.
        key: Option<Secret32>,
        /// The signed words of f+1 leaders for it.
        words: Vec<Word>,
        /// Words for the view before that had come late, if they are kept.
        late: Vec<Word>,
        /// From the view before: what the digest covers, with the causes that f+1 leaders agree on; [`Cause::Lost`] where
        /// none do.
        changes: Vec<Change>,
        /// Entries of members that this view ended, or gave other keys in the same stay, each with the cause to act on: the strictest that is said where no
        /// f+1 leaders agree.
        departed: Vec<(MemberEntry, Cause)>,
    },
    /// Somebody who went out with the installed view was not expelled after all: f+1 leaders say so.
    Reopened(MemberEntry),
    /// A view that others may send under is readable, though not installed.
    Readable {
        /// The view.
        view: ViewId,
        /// Its key.
        key: Secret32,
    },
    /// A leader did wrong.
    Blame(LeaderId, Fault),
}

/// What a member should ask one leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The current claim, as a difference from the installed view.
    Claim(Option<ViewDigest>),
    /// The part of the list after a name.
    Snapshot(ViewDigest, Option<UserName>),
    /// Which of these stays are over: the claimed view takes them out, and its list does not say why.
    Fates(Vec<MemberId>),
}

impl ViewTracker {
    /// For one stay of one user.
    pub fn new(group: &GroupInfo, me: MemberId) -> Self {
        let session = group.session_of(me.incarnation.session());
        ViewTracker {
            reads: group.policy.role(&me.user).receives(),
            session,
            hasher: ViewHasher::new(group, session),
            me,
            installed: None,
            current: BTreeMap::new(),
            candidates: BTreeMap::new(),
            lists: BTreeMap::new(),
            ends: Ends::default(),
            before: None,
            late: BTreeMap::new(),
            keeps_late: false,
            generations: BTreeMap::new(),
            signers: signers(group),
        }
    }

    /// The installed view.
    pub fn installed(&self) -> Option<&Installed> {
        self.installed.as_ref()
    }

    /// What a leader claims now.
    pub fn claimed_by(&self, leader: LeaderId) -> Option<ViewId> {
        self.current.get(&leader).map(|now| now.claimed.view)
    }

    /// A leader's link is new: its numbering starts again.
    pub fn on_link(&mut self, leader: LeaderId) {
        self.current.remove(&leader);
        self.lists.remove(&leader);
        self.generations.remove(&leader);
        self.ends.forget_open(leader);
    }

    /// From now on a leader's shares are of this generation.
    pub fn on_generation(&mut self, leader: LeaderId, generation: Generation) {
        self.generations.insert(leader, generation);
    }

    /// The group is in another generation: shares that nothing was known of may be of use.
    /// Of whoever was replaced nothing is left that its successor could be blamed for, or counted with.
    #[must_use]
    pub fn on_succession(&mut self, group: &GroupInfo) -> Vec<TrackerOutput> {
        let now = signers(group);
        let before = std::mem::replace(&mut self.signers, now.clone());
        for leader in before.into_iter().filter(|(leader, key)| now.get(leader) != Some(key)).map(|(leader, _)| leader)
        {
            self.on_link(leader);
            self.late.remove(&leader);
            self.ends.forget_over(leader);
            self.forget_stakes(leader);
        }
        let mut out = Vec::new();
        self.settle(group, &mut out);
        out
    }

    /// Handles a leader's current claim.
    #[must_use]
    pub fn on_claim(&mut self, group: &GroupInfo, from: LeaderId, claim: ViewClaim) -> Vec<TrackerOutput> {
        let claimed = Claimed { view: claim.view, refreshes: claim.refreshes };
        if let Some(Current { number, claimed: before, .. }) = self.current.get(&from)
            && group.rules.enforces(Rule::ClaimForward)
        {
            if claim.number == *number && claimed != *before {
                return vec![TrackerOutput::Blame(from, Fault::Equivocated)];
            }
            if claim.number < *number || claim.view.epoch < before.view.epoch {
                return vec![TrackerOutput::Blame(from, Fault::ClaimWentBack)];
            }
        }
        if self.current.get(&from).is_some_and(|now| now.claimed != claimed) {
            self.ends.forget_open(from);
        }
        self.note_statement(from, claim.number, claimed, claim.statement);
        let mut out = Vec::new();
        if let Base::View(base) = claim.base {
            self.note_ends(group, from, base, &claim.changes, &mut out);
        }
        if self.is_outdated(group, claim.view) {
            return out;
        }
        self.consider(from, claimed, &claim.share);
        if self.candidates.get(&claimed).is_some_and(|c| c.changes.is_some()) {
            self.settle(group, &mut out);
            return out;
        }
        let content = match claim.base {
            Base::Empty => self.difference_to(claim.changes),
            Base::View(base) => self.after(base, claim.changes),
            Base::Omitted => Content::Unknown,
        };
        self.resolve(group, from, claimed, content, &mut out);
        self.settle(group, &mut out);
        out
    }

    /// Handles the share of a past view: it never moves what the leader claims now.
    #[must_use]
    pub fn on_past_claim(&mut self, group: &GroupInfo, from: LeaderId, claim: &ViewClaim) -> Vec<TrackerOutput> {
        let mut out = Vec::new();
        let claimed = Claimed { view: claim.view, refreshes: claim.refreshes };
        if self.installed.as_ref().is_some_and(|v| v.id != claim.view) {
            self.consider(from, claimed, &claim.share);
            if let Some(candidate) = self.candidates.get_mut(&claimed) {
                candidate.is_awaited = true;
            }
            self.try_read(group, claimed, &mut out);
        }
        out
    }

    fn claimants(&self, claimed: Claimed) -> impl Iterator<Item = LeaderId> {
        let claims = move |now: &Current| now.claimed == claimed && now.checked != Checked::Bad;
        self.current.iter().filter(move |(_, now)| claims(now)).map(|(leader, _)| *leader)
    }

    /// Leaders that claim the installed view now.
    fn keepers(&self, installed: ViewId) -> usize {
        self.current.values().filter(|now| now.claimed.view == installed && now.checked != Checked::Bad).count()
    }

    fn is_outdated(&self, group: &GroupInfo, view: ViewId) -> bool {
        self.installed.as_ref().is_some_and(|installed| {
            view == installed.id || view.epoch < installed.id.epoch && group.rules.enforces(Rule::EpochForward)
        })
    }

    /// Installs the newest view that f+1 leaders claim and sign, whose content and key are known.
    fn settle(&mut self, group: &GroupInfo, out: &mut Vec<TrackerOutput>) {
        let ready: Vec<Claimed> = self
            .candidates
            .iter()
            .rev()
            .filter(|(c, state)| state.changes.is_some() && self.claimants(**c).count() >= group.rules.confirm())
            .map(|(c, _)| *c)
            .collect();
        for claimed in ready {
            if !self.may_install(group, claimed) || !self.complete_key(group, claimed, out) {
                continue;
            }
            if let Some(words) = self.certify(group, claimed, out) {
                self.install(group, claimed, words, out);
                return;
            }
        }
    }

    /// A view may follow the installed one if its epoch is higher (or equal, once f+1 leaders no longer
    /// claim the installed one), it holds this very stay, it brings back nobody who was seen to go, and f+1 leaders
    /// agree on what became of each whom it takes out.
    fn may_install(&self, group: &GroupInfo, claimed: Claimed) -> bool {
        let Some(changes) = self.candidates.get(&claimed).and_then(|c| c.changes.as_ref()) else { return false };
        let forward = self.installed.as_ref().is_none_or(|installed| {
            let same = claimed.view.epoch == installed.id.epoch;
            claimed.view.epoch > installed.id.epoch || same && self.keepers(installed.id) < group.rules.confirm()
        });
        let present = match changes.get(&self.me.user) {
            Some(Change::Added(entry)) => entry.id == self.me,
            Some(Change::Removed(..)) => false,
            None => self.installed.is_some(),
        };
        present
            && (forward || !group.rules.enforces(Rule::EpochForward))
            && !self.raises_dead(group, changes.values())
            && self.is_settled(group, claimed)
    }

    /// Verifies shares and combines them, naming whoever sent a bad one (B4). True once the key is there.
    fn complete_key(&mut self, group: &GroupInfo, claimed: Claimed, out: &mut Vec<TrackerOutput>) -> bool {
        if !self.reads {
            return true;
        }
        let Some(candidate) = self.candidates.get_mut(&claimed) else { return false };
        let point = view_point(group, self.session, claimed.view, claimed.refreshes);
        // The key is the same in every generation, but only shares of one generation make it.
        let generations: BTreeSet<Generation> = candidate.shares.values().map(|(of, _)| *of).collect();
        for generation in generations.into_iter().rev() {
            let Some(keys) = group.group_keys_of(generation) else { continue };
            let caught = candidate.combine(group, (generation, keys), &point, claimed.view);
            out.extend(caught.into_iter().map(|leader| TrackerOutput::Blame(leader, Fault::BadShare)));
            if candidate.key.is_some() {
                return true;
            }
        }
        candidate.key.is_some()
    }

    fn install(&mut self, group: &GroupInfo, claimed: Claimed, words: Vec<Word>, out: &mut Vec<TrackerOutput>) {
        let Some(candidate) = self.candidates.remove(&claimed) else { return };
        let (Some(mut changes), key) = (candidate.changes, candidate.key) else { return };
        let (late, blamed) = self.take_late_words(group);
        out.extend(blamed);
        let old = self.installed.take();
        let before = old.as_ref().map(|v| v.id.digest);
        let mut members = old.map(|v| v.members).unwrap_or_default();
        self.rebase(&changes, &members);
        let (mut departed, mut undo) = (Vec::new(), Changes::new());
        for (user, change) in &mut changes {
            let old = members.get(user).cloned();
            let back = || Change::Removed(user.clone(), Cause::Lost);
            undo.insert(user.clone(), old.clone().map_or_else(back, Change::Added));
            match (&mut *change, old) {
                (Change::Removed(_, told), Some(old)) => {
                    let (cause, acting) = self.part_from(group, &old);
                    *told = cause;
                    departed.push((old, acting));
                }
                // Other keys of the same stay end nothing but what was said with the old ones.
                (Change::Added(entry), Some(old)) if old.id == entry.id && old != *entry => {
                    departed.push((old, Cause::Lost));
                }
                (Change::Added(entry), Some(old)) if old.id != entry.id => {
                    self.bury(&old.id);
                    departed.push((old, Cause::Left));
                }
                _ => {}
            }
            members.apply(change);
        }
        self.settle_ends(group, &members, &undo);
        self.before = before.map(|digest| (digest, undo));
        self.installed = Some(Installed { id: claimed.view, refreshes: claimed.refreshes, members });
        self.keep_late(claimed, &words);
        let oldest = claimed.view.epoch.0.saturating_sub(VIEWS_KEPT_MAX as u64);
        self.candidates
            .retain(|c, state| c.view.epoch >= claimed.view.epoch || state.is_awaited && c.view.epoch.0 >= oldest);
        self.lists.retain(|_, (digest, _)| self.candidates.keys().any(|c| c.view.digest == *digest));
        let changes = changes.into_values().collect();
        out.push(TrackerOutput::Installed { view: claimed.view, key, words, late, changes, departed });
    }

    /// Messages came under a view that is not installed: they can be read if it is known well enough (P6).
    #[must_use]
    pub fn read(&mut self, group: &GroupInfo, digest: ViewDigest) -> Vec<TrackerOutput> {
        let mut out = Vec::new();
        let named: Vec<Claimed> = self.candidates.keys().filter(|c| c.view.digest == digest).copied().collect();
        for claimed in named {
            self.try_read(group, claimed, &mut out);
        }
        out
    }

    /// A view before the installed one needs f+1 leaders' word and the key; one that is not older must
    /// also bring nobody back.
    fn try_read(&mut self, group: &GroupInfo, claimed: Claimed, out: &mut Vec<TrackerOutput>) {
        let Some(candidate) = self.candidates.get(&claimed) else { return };
        let Some(installed) = &self.installed else { return };
        let confirmed = candidate.shares.len() >= group.rules.confirm();
        let older = claimed.view.epoch < installed.id.epoch;
        let safe = older || candidate.changes.as_ref().is_some_and(|c| !self.raises_dead(group, c.values()));
        if self.reads && confirmed && safe && self.complete_key(group, claimed, out) {
            let key = self.candidates.get(&claimed).and_then(|c| c.key.clone());
            out.extend(key.map(|key| TrackerOutput::Readable { view: claimed.view, key }));
            if older {
                self.candidates.remove(&claimed);
            }
        }
    }
}

fn signers(group: &GroupInfo) -> BTreeMap<LeaderId, VerifyingKey> {
    group.rules.leaders().zip(group.leaders.iter().map(|leader| leader.signing_key)).collect()
}

#[cfg(test)]
impl ViewTracker {
    pub(in crate::keys) fn sizes_for_tests(&self) -> (usize, usize) {
        (self.candidates.len(), self.lists.len())
    }

    pub(in crate::keys) fn obituaries_for_tests(&self) -> usize {
        self.ends.len()
    }
}
