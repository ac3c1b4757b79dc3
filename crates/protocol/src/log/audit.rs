//! The check of a log with nothing but the group file.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Entry, Head, Log, Refused, Segment, What};
use super::timeline::{Boundary, boundaries};
use crate::group::GroupInfo;
use crate::ids::{Epoch, LeaderId, MemberId, UserName, ViewId};
use crate::statement::Word;
use crate::view::{Cause, Change, MemberEntry, MemberSet, ViewHasher};

/// Why a log is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No log at all.
    #[error("this is no membership log")]
    NotALog,
    /// Nothing in it.
    #[error("the log is empty")]
    Empty,
    /// The file ends in the middle of a record.
    #[error(
        "the file ends in the middle of an entry: it was cut, or a crash tore it; the member mends the latter when it next joins with this log"
    )]
    CutShort,
    /// Not the encoding of a record.
    #[error("the bytes are no entry: the log was altered")]
    Malformed,
    /// An entry before any opening.
    #[error("the log starts in the middle: its opening is missing")]
    NoOpening,
    /// Kept in another group.
    #[error("the log is of another group: use the group file of that group")]
    OtherGroup,
    /// The hash of the entry before does not fit.
    #[error("it does not follow the entry before it: something was altered, left out, moved or joined on")]
    Chain,
    /// The member list is not one: not in order, or somebody twice.
    #[error("its member list was altered")]
    List,
    /// The member's own signature does not verify.
    #[error("the signature of the member that kept the log does not verify: the entry was altered or forged")]
    Signature,
    /// The first entry is no view, or something follows the end of a stay.
    #[error("it stands where no such entry can be: the log was altered")]
    Place,
    /// The view's digest is not that of its members.
    #[error("the members do not fit the view's digest: the log was altered")]
    Digest,
    /// The member is not in the view.
    #[error("the member that kept the log is not in the view")]
    NotIn,
    /// The epoch fell within a stay.
    #[error("the view is older than the one before it")]
    WentBack,
    /// Fewer than f+1 leaders signed, or a signature is bad.
    #[error("the view is not certified: f+1 leaders' signatures are needed, and each must verify")]
    Certificate,
}

/// A view in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenView {
    /// Which.
    pub view: ViewId,
    /// Refreshes so far.
    pub refreshes: u64,
    /// When the member installed it, by its own clock.
    pub at_ms: u64,
    /// Whose words are in the log, with their clocks.
    pub words: Vec<Word>,
    /// The stay.
    pub member: MemberId,
    pub(super) segment: usize,
    pub(super) entry: usize,
}

/// A log that was found right.
#[derive(Clone, Debug)]
pub struct Audited<'a> {
    /// The log.
    pub log: &'a Log,
    /// Its views, in order.
    pub views: Vec<SeenView>,
    /// The last entry: two people who compare it compare everything before it.
    pub head: Head,
    /// Whether the log starts where its member began to keep one.
    pub is_whole: bool,
    pub(super) group: &'a GroupInfo,
    pub(super) boundaries: Vec<Boundary>,
}

/// Checks everything there is to check.
///
/// # Errors
/// [`Refused`]: the first thing that is wrong.
pub fn verify<'a>(log: &'a Log, group: &'a GroupInfo) -> Result<Audited<'a>, Refused> {
    let mut audit = Audit { group, record: 0, views: Vec::new() };
    let mut head = None;
    for (place, segment) in log.segments.iter().enumerate() {
        let user = &segment.opening.member.user;
        let same = log.segments.first().is_some_and(|first| first.opening.member.user == *user);
        head = Some(audit.segment(place, segment, head.filter(|_| same || place == 0))?);
    }
    let head = head.ok_or(Refused { record: 0, why: Why::Empty })?;
    let is_whole = log.segments.first().is_some_and(|first| first.opening.previous == Head::default());
    let views = audit.views;
    let boundaries = boundaries(log, &views, group);
    Ok(Audited { log, views, head, is_whole, group, boundaries })
}

struct Audit<'a> {
    group: &'a GroupInfo,
    record: usize,
    views: Vec<SeenView>,
}

impl Audit<'_> {
    fn refused(&self, why: Why) -> Refused {
        Refused { record: self.record, why }
    }

    fn segment(&mut self, place: usize, segment: &Segment, before: Option<Head>) -> Result<Head, Refused> {
        self.record += 1;
        let opening = &segment.opening;
        if opening.group != self.group.id() {
            return Err(self.refused(Why::OtherGroup));
        }
        if place > 0 && before != Some(opening.previous) {
            return Err(self.refused(Why::Chain));
        }
        let in_order = opening.members.windows(2).all(|pair| matches!(pair, [a, b] if a.id.user < b.id.user));
        if !in_order {
            return Err(self.refused(Why::List));
        }
        let mut members = MemberSet::default();
        opening.members.iter().cloned().for_each(|entry| members.insert(entry));
        let Some(me) = members.get_member(&opening.member).cloned() else { return Err(self.refused(Why::NotIn)) };
        let hasher = ViewHasher::new(self.group, self.group.session_of(me.id.incarnation.session()));
        let mut head = opening.previous;
        let before = self.views.last().filter(|seen| seen.member == me.id);
        let (mut epoch, mut over) = (before.map_or(Epoch(0), |seen| seen.view.epoch), false);
        for (number, entry) in segment.entries.iter().enumerate() {
            self.record += 1;
            let is_view = matches!(entry.what, What::View { .. });
            if over || number == 0 && !is_view {
                return Err(self.refused(Why::Place));
            }
            if entry.previous != head {
                return Err(self.refused(Why::Chain));
            }
            if entry.verify(&me.signing.0, opening.group, &opening.member).is_err() {
                return Err(self.refused(Why::Signature));
            }
            head = entry.head();
            over = matches!(entry.what, What::Ended(_) | What::Closed);
            match &entry.what {
                What::View { view, .. } => {
                    self.view((place, number), entry, (&me, &hasher), &mut members)?;
                    if view.epoch < epoch {
                        return Err(self.refused(Why::WentBack));
                    }
                    epoch = view.epoch;
                }
                What::Words(words) => self.more_words(words)?,
                What::Kept | What::Ended(_) | What::Closed => {}
            }
        }
        if segment.entries.is_empty() {
            return Err(self.refused(Why::Place));
        }
        Ok(head)
    }

    fn view(
        &mut self,
        (segment, number): (usize, usize),
        entry: &Entry,
        (me, hasher): (&MemberEntry, &ViewHasher),
        members: &mut MemberSet,
    ) -> Result<(), Refused> {
        let What::View { view, refreshes, changes, words } = &entry.what else { return Ok(()) };
        let users: BTreeSet<&UserName> = changes.iter().map(Change::user).collect();
        if users.len() != changes.len() {
            return Err(self.refused(Why::List));
        }
        if number > 0 {
            changes.iter().for_each(|change| members.apply(change));
        }
        if hasher.view_id(view.epoch, *refreshes, members.hash()) != *view {
            return Err(self.refused(Why::Digest));
        }
        if members.get(&me.id.user) != Some(me) {
            return Err(self.refused(Why::NotIn));
        }
        if words.len() < self.group.rules.certificate() {
            return Err(self.refused(Why::Certificate));
        }
        let seen = SeenView {
            view: *view,
            refreshes: *refreshes,
            at_ms: entry.at_ms,
            words: Vec::new(),
            member: me.id.clone(),
            segment,
            entry: number,
        };
        self.views.push(seen);
        self.more_words(words)
    }

    fn more_words(&mut self, words: &[Word]) -> Result<(), Refused> {
        let refused = self.refused(Why::Certificate);
        let Some(seen) = self.views.last_mut() else { return Err(refused) };
        for word in words {
            let twice = seen.words.iter().any(|known| known.leader == word.leader);
            let good = word.statement.verify(self.group, word.leader, seen.view, seen.refreshes).is_ok();
            if twice || !good {
                return Err(refused);
            }
            seen.words.push(*word);
        }
        Ok(())
    }
}

impl Audited<'_> {
    /// Whose log.
    pub fn user(&self) -> Option<&UserName> {
        self.log.segments.first().map(|segment| &segment.opening.member.user)
    }

    /// The members of one of its views.
    pub fn members_of(&self, seen: &SeenView) -> BTreeMap<UserName, MemberEntry> {
        let Some(segment) = self.log.segments.get(seen.segment) else { return BTreeMap::new() };
        let mut members: BTreeMap<_, _> =
            segment.opening.members.iter().map(|entry| (entry.id.user.clone(), entry.clone())).collect();
        for entry in segment.entries.iter().take(seen.entry + 1).skip(1) {
            let What::View { changes, .. } = &entry.what else { continue };
            for change in changes {
                match change {
                    Change::Added(entry) => drop(members.insert(entry.id.user.clone(), entry.clone())),
                    Change::Removed(user, _) => drop(members.remove(user)),
                }
            }
        }
        members
    }

    /// What the member was told of a view's changes; empty for the first of a stay.
    pub fn changes_of(&self, seen: &SeenView) -> &[Change] {
        let entry = self.log.segments.get(seen.segment).and_then(|segment| segment.entries.get(seen.entry));
        match entry.map(|entry| &entry.what) {
            Some(What::View { changes, .. }) => changes,
            _ => &[],
        }
    }

    /// The end of the stay, if it came in this view: when, by the member's clock, and why.
    pub fn end_in(&self, seen: &SeenView) -> Option<(u64, Cause)> {
        let entries = self.log.segments.get(seen.segment)?.entries.get(seen.entry + 1..)?;
        let of_view = entries.iter().take_while(|entry| !matches!(entry.what, What::View { .. }));
        of_view
            .last()
            .and_then(|last| if let What::Ended(cause) = last.what { Some((last.at_ms, cause)) } else { None })
    }

    /// The leaders that signed a view.
    pub fn signers(seen: &SeenView) -> impl Iterator<Item = LeaderId> {
        seen.words.iter().map(|word| word.leader)
    }
}
