//! Logs as a member writes them, read by somebody with the group file alone.

mod tampering;
mod when;

use super::*;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{Epoch, Incarnation, UserName, ViewId};
use crate::keys::Installed;
use crate::statement::{Statement, Word};
use crate::testing::{group_of_four, identity, rng, user};
use crate::time::{Cx, Time};
use crate::view::{Cause, Change, MemberSet, ViewHasher};

/// The moment at which every log here begins.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// A member who writes a log, and the leaders that sign its views.
pub(crate) struct Scribe {
    pub group: GroupInfo,
    pub secrets: Vec<LeaderSecrets>,
    pub name: &'static str,
    pub stay: u64,
    pub keeper: Keeper,
    pub bytes: Vec<u8>,
    pub members: MemberSet,
    pub epoch: u64,
    pub refreshes: u64,
}

impl Scribe {
    pub fn new(name: &'static str) -> Self {
        let (group, secrets) = group_of_four();
        let mut members = MemberSet::default();
        members.insert(identity(name, 1).entry());
        let (keeper, bytes) = (Keeper::new(Head::default()), LOG_MAGIC.to_vec());
        Scribe { group, secrets, name, stay: 1, keeper, bytes, members, epoch: 1, refreshes: 0 }
    }

    pub fn view(&self) -> ViewId {
        let session = self.group.session_of(Incarnation(self.stay).session());
        let hasher = ViewHasher::new(&self.group, session);
        hasher.view_id(Epoch(self.epoch), self.refreshes, self.members.hash())
    }

    /// The words of some leaders, each with a time of its own.
    pub fn words(&self, by: &[(u8, u64)]) -> Vec<Word> {
        let word = |(leader, at_ms): &(u8, u64)| {
            let secrets = &self.secrets[usize::from(*leader) - 1];
            let statement = Statement::sign(secrets, &self.group, self.view(), self.refreshes, START_MS + at_ms);
            Word { leader: secrets.id, statement }
        };
        by.iter().map(word).collect()
    }

    pub fn keep<T: IntoIterator<Item = Chunk>>(
        &mut self,
        at_ms: u64,
        write: impl FnOnce(&mut Keeper, &Cx<'_>, &GroupInfo, &crate::data::Identity, &Installed) -> T,
    ) {
        let installed = Installed { id: self.view(), refreshes: self.refreshes, members: self.members.clone() };
        let mut dice = rng(1);
        let now = Time::from_start(std::time::Duration::from_millis(at_ms));
        let cx = Cx { now, unix_ms: START_MS + at_ms, rng: &mut dice };
        let me = identity(self.name, self.stay);
        let chunks = write(&mut self.keeper, &cx, &self.group, &me, &installed);
        chunks.into_iter().for_each(|chunk| self.bytes.extend(chunk.bytes));
    }

    /// The view as it stands, signed by leaders.
    pub fn installs(&mut self, at_ms: u64, changes: Vec<Change>, words: Vec<Word>) {
        self.keep(at_ms, |keeper, cx, group, me, view| [keeper.on_installed(cx, group, me, view, (changes, words))]);
    }

    /// Changes come about and make a view, signed by leaders 1 and 2.
    pub fn changes(&mut self, at_ms: u64, changes: Vec<Change>) {
        self.epoch += changes.len() as u64;
        changes.iter().for_each(|change| self.members.apply(change));
        let words = self.words(&[(1, at_ms), (2, at_ms)]);
        self.installs(at_ms, changes, words);
    }

    pub fn rekeys(&mut self, at_ms: u64) {
        (self.epoch, self.refreshes) = (self.epoch + 1, self.refreshes + 1);
        let words = self.words(&[(1, at_ms), (2, at_ms)]);
        self.installs(at_ms, Vec::new(), words);
    }

    pub fn ends(&mut self, at_ms: u64, cause: Option<Cause>) {
        self.keep(at_ms, |keeper, cx, group, me, _| keeper.on_end(cx, group, me, cause));
    }
}

pub(crate) fn came(name: &str) -> Change {
    Change::Added(identity(name, 1).entry())
}

pub(crate) fn went(name: &str) -> Change {
    Change::Removed(user(name), Cause::Left)
}

/// A stay of Ana's with Bo coming at 10 s and going at 30 s, and the key renewed at 20 s.
pub(crate) fn story() -> Scribe {
    let mut ana = Scribe::new("ana");
    let words = ana.words(&[(1, 0), (2, 0)]);
    ana.installs(0, vec![came("ana")], words);
    ana.changes(10_000, vec![came("bo")]);
    let late = ana.words(&[(3, 10_000), (4, 10_000)]);
    ana.keep(11_000, |keeper, cx, group, me, _| keeper.on_words(cx, group, me, late));
    ana.rekeys(20_000);
    ana.changes(30_000, vec![went("bo")]);
    ana.keep(100_000, |keeper, cx, group, me, _| keeper.on_wakeup(cx, group, me));
    ana.ends(110_000, Some(Cause::Left));
    ana
}

fn names(ids: &[crate::ids::MemberId]) -> Vec<&str> {
    ids.iter().map(|id| id.user.as_str()).collect()
}

fn at(audited: &Audited<'_>, ms: u64) -> Option<Answer> {
    audited.who(START_MS + ms)
}

fn name(text: &str) -> UserName {
    user(text)
}
