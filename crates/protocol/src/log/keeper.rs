//! A member's own hand: what it appends to its log.

use std::time::Duration;

use super::record::{Entry, Head, Opening, What};
use crate::data::Identity;
use crate::group::GroupInfo;
use crate::keys::Installed;
use crate::statement::Word;
use crate::time::{Cx, Time};
use crate::view::{Cause, Change};

/// A log says at least this often that its view is still the same.
const KEEP_PERIOD: Duration = Duration::from_secs(60);
/// How long a view waits for the words of more leaders.
const WORDS_WAIT: Duration = Duration::from_secs(1);

/// Bytes to be appended to the log, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whether they start a segment: they may go to a new file.
    pub opens: bool,
    /// What to append.
    pub bytes: Vec<u8>,
}

/// Writes one member's log.
#[derive(Clone, Debug)]
pub struct Keeper {
    head: Head,
    opened: bool,
    over: bool,
    written_at: Time,
    words_at: Option<Time>,
}

impl Keeper {
    /// Goes on after an entry; the default head starts a log.
    pub fn new(head: Head) -> Self {
        Keeper { head, opened: false, over: false, written_at: Time::ZERO, words_at: None }
    }

    /// The last entry.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The next view starts a segment.
    pub fn start_segment(&mut self) {
        self.opened = false;
    }

    /// A view was installed.
    pub fn on_installed(
        &mut self,
        cx: &Cx<'_>,
        group: &GroupInfo,
        me: &Identity,
        installed: &Installed,
        (changes, words): (Vec<Change>, Vec<Word>),
    ) -> Chunk {
        let opens = !std::mem::replace(&mut self.opened, true);
        let mut bytes = Vec::new();
        if opens {
            let members = installed.members.iter().cloned().collect();
            bytes = Opening { group: group.id(), member: me.id.clone(), previous: self.head, members }.to_bytes();
        }
        // Everybody is in the opening.
        let changes = if opens { Vec::new() } else { changes };
        let what = What::View { view: installed.id, refreshes: installed.refreshes, changes, words };
        bytes.extend(self.entry(cx, group, me, what).bytes);
        self.words_at = Some(cx.now + WORDS_WAIT);
        self.over = false;
        Chunk { opens, bytes }
    }

    /// More leaders' words for the last view.
    pub fn on_words(&mut self, cx: &Cx<'_>, group: &GroupInfo, me: &Identity, words: Vec<Word>) -> Option<Chunk> {
        (self.is_open() && !words.is_empty()).then(|| self.entry(cx, group, me, What::Words(words)))
    }

    /// Whether it is time to write down the words that came late.
    pub fn wants_words(&mut self, now: Time) -> bool {
        self.words_at.take_if(|at| now >= *at).is_some()
    }

    /// Time has passed.
    pub fn on_wakeup(&mut self, cx: &Cx<'_>, group: &GroupInfo, me: &Identity) -> Option<Chunk> {
        let due = self.is_open() && cx.now >= self.written_at + KEEP_PERIOD;
        due.then(|| self.entry(cx, group, me, What::Kept))
    }

    /// The stay has ended, or (`None`) the program.
    pub fn on_end(&mut self, cx: &Cx<'_>, group: &GroupInfo, me: &Identity, cause: Option<Cause>) -> Option<Chunk> {
        let open = self.is_open();
        let chunk = open.then(|| self.entry(cx, group, me, cause.map_or(What::Closed, What::Ended)));
        (self.over, self.opened) = (true, false);
        chunk
    }

    /// When [`Keeper::on_wakeup`] is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.is_open().then(|| self.words_at.unwrap_or(self.written_at + KEEP_PERIOD))
    }

    fn is_open(&self) -> bool {
        self.opened && !self.over
    }

    fn entry(&mut self, cx: &Cx<'_>, group: &GroupInfo, me: &Identity, what: What) -> Chunk {
        let entry = Entry::sign(&me.signing, group.id(), &me.id, self.head, cx.unix_ms, what);
        self.head = entry.head();
        self.written_at = cx.now;
        Chunk { opens: false, bytes: entry.to_bytes() }
    }
}
