//! The leader's side: one share, one proof, one signature and one claim per view, whatever the number of members.

use std::collections::{BTreeMap, VecDeque};

use super::{Base, VIEWS_KEPT_MAX, ViewClaim, view_point};
use crate::coordination::Coordination;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{Epoch, SessionId, ViewDigest, ViewId};
use crate::statement::Statement;
use crate::time::Cx;
use crate::view::{Change, ViewHasher};
use crate::wire::INLINE_ENTRIES_MAX;

/// A difference longer than this is fetched as a list.
const CHANGES_MAX: usize = 512;

/// Publishes a leader's views (B7: without talking to other leaders).
pub struct Publisher {
    session: SessionId,
    hasher: ViewHasher,
    number: u64,
    history: VecDeque<Published>,
}

struct Published {
    view: ViewId,
    refreshes: u64,
    /// From the view before.
    changes: Vec<Change>,
    share: [u8; 128],
    statement: Statement,
}

impl Publisher {
    /// A publisher whose first view is what `state` holds.
    pub fn new(cx: &mut Cx<'_>, group: &GroupInfo, secrets: &LeaderSecrets, state: &Coordination) -> Self {
        let session = group.session_of(state.session().number);
        let hasher = ViewHasher::new(group, session);
        let mut this = Publisher { session, hasher, number: 0, history: VecDeque::new() };
        this.publish(cx, group, secrets, state, Vec::new());
        this
    }

    /// Computes the share of the view that `state` is in now; `changes` lead from the view published before.
    pub fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        state: &Coordination,
        changes: Vec<Change>,
    ) {
        let session = group.session_of(state.session().number);
        if session != self.session {
            (self.session, self.hasher) = (session, ViewHasher::new(group, session));
        }
        let refreshes = state.refreshes();
        let view = self.hasher.view_id(state.epoch(), refreshes, state.members().hash());
        let point = view_point(group, session, view, refreshes);
        let share = secrets.group_share.evaluate(&point, cx.rng).to_bytes();
        let statement = Statement::sign(secrets, group, view, refreshes, cx.unix_ms);
        self.number += 1;
        self.history.push_back(Published { view, refreshes, changes: net(changes), share, statement });
        if self.history.len() > VIEWS_KEPT_MAX {
            self.history.pop_front();
        }
    }

    /// The view published last.
    pub fn current(&self) -> ViewId {
        self.last().view
    }

    fn last(&self) -> &Published {
        self.history.back().expect("the first view is published at the start")
    }

    /// The claim for members whose last view here was the one before; without content if that is long.
    pub fn next_claim(&self) -> ViewClaim {
        let changes = &self.last().changes;
        if changes.len() > CHANGES_MAX {
            return self.bare_claim();
        }
        let base = self.history.iter().rev().nth(1).map_or(Base::Empty, |p| Base::View(p.view.digest));
        self.claim(self.last(), base, changes.clone())
    }

    /// The claim for a member that has `have`, as a difference if it can be told, else as a short
    /// list, else without content.
    pub fn claim_from(&self, have: Option<ViewDigest>, state: &Coordination) -> ViewClaim {
        if let Some((digest, changes)) = have.and_then(|digest| Some((digest, self.changes_since(digest)?))) {
            return self.claim(self.last(), Base::View(digest), changes);
        }
        // The state may be ahead of the last published view; then its list is not that view's.
        let settled = state.members().len() <= INLINE_ENTRIES_MAX && self.is_current(state);
        if settled {
            let list = state.members().iter().cloned().map(Change::Added).collect();
            return self.claim(self.last(), Base::Empty, list);
        }
        self.claim(self.last(), Base::Omitted, Vec::new())
    }

    /// The claim without content.
    pub fn bare_claim(&self) -> ViewClaim {
        self.claim(self.last(), Base::Omitted, Vec::new())
    }

    /// Whether nothing was accepted since the last view was published.
    pub fn is_current(&self, state: &Coordination) -> bool {
        self.last().view == self.hasher.view_id(state.epoch(), state.refreshes(), state.members().hash())
    }

    /// A past view's share; its epoch tells the caller who may have it.
    pub fn past_claim(&self, digest: ViewDigest) -> Option<(Epoch, ViewClaim)> {
        let published = self.history.iter().rev().find(|p| p.view.digest == digest)?;
        Some((published.view.epoch, self.claim(published, Base::Omitted, Vec::new())))
    }

    fn claim(&self, published: &Published, base: Base, changes: Vec<Change>) -> ViewClaim {
        ViewClaim {
            number: self.number,
            view: published.view,
            refreshes: published.refreshes,
            base,
            changes,
            share: published.share,
            statement: published.statement,
        }
    }

    fn changes_since(&self, digest: ViewDigest) -> Option<Vec<Change>> {
        let start = self.history.iter().rposition(|p| p.view.digest == digest)?;
        let changes: Vec<_> = self.history.iter().skip(start + 1).flat_map(|p| p.changes.iter().cloned()).collect();
        let changes = net(changes);
        (changes.len() <= CHANGES_MAX).then_some(changes)
    }
}

/// The last change of each user.
fn net(changes: Vec<Change>) -> Vec<Change> {
    let last: BTreeMap<_, _> = changes.into_iter().map(|change| (change.user().clone(), change)).collect();
    last.into_values().collect()
}
