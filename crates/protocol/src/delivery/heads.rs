//! How far each stream goes, as its sender says: what tells a receiver that it lacks the end of something.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Channel, StreamKey};
use crate::data::SEQ_MAX;
use crate::ids::{Incarnation, MemberId, Seq, UserName, ViewDigest};
use crate::policy::Service;

/// Streams that one message tells of.
pub const HEADS_MAX: usize = 256;

/// Private streams of one sender, and of all senders, of which a leader knows how far they go.
const PRIVATE_MAX: usize = 256;
const PRIVATE_TOTAL_MAX: usize = 65_536;

/// Starts that are remembered of one stream: who was out of reach for some views learns from which number on it is told of.
pub(super) const STARTS_MAX: usize = 8;

/// Changes looked at for one notice, most of them perhaps of private streams to others.
const LOOKED_AT_MAX: usize = 4096;

/// From where on a stream is counted, which says to whom its first numbers went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Since {
    /// To the group: from the first message in this view of the sender's.
    View(ViewDigest) = 0,
    /// Private: from the first message to this stay of the recipient.
    Stay(Incarnation) = 1,
    /// A private message alone shows the stream: to which stay of the recipient it went, its sender has not said yet.
    Unsaid = 2,
}

/// How far a stream goes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// Which of the sender's streams.
    pub channel: Channel,
    /// From where on `start` counts.
    pub since: Since,
    /// The first number since.
    pub start: Seq,
    /// The number of the next message: all below were sent.
    pub next: Seq,
    /// The first number that the sender still has. It cannot send what is older again.
    pub kept: Seq,
}

impl Head {
    /// Whether the numbers can be those of a stream that is repaired.
    pub fn is_sound(&self) -> bool {
        let counted = match self.channel {
            Channel::Group(Service::BestEffort) => false,
            Channel::Group(_) => matches!(self.since, Since::View(_)),
            Channel::Private(_) => !matches!(self.since, Since::View(_)),
        };
        counted && 1 <= self.start.0 && self.start <= self.next && self.kept <= self.next && self.next.0 <= SEQ_MAX
    }
}

impl Head {
    /// Whether a user may know of it.
    pub fn concerns(&self, user: &UserName) -> bool {
        match &self.channel {
            Channel::Private(to) => to == user,
            Channel::Group(_) => true,
        }
    }
}

/// What a leader tells a member of one sender.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Tail {
    /// How far one of its streams goes.
    Stream(MemberId, Head),
    /// It has said all that it had to say: how far its streams go was its last word.
    Complete(MemberId),
}

impl Tail {
    /// Of whose streams.
    pub fn sender(&self) -> &MemberId {
        match self {
            Tail::Stream(sender, _) | Tail::Complete(sender) => sender,
        }
    }
}

/// A leader's knowledge of how far streams go, and of what changed since when.
///
/// Taken from each sender over its own link and from the frames it gave, never from anybody else. Memory: two streams to
/// the group for each stay, each with its last [`STARTS_MAX`] starts, and [`PRIVATE_MAX`] private ones.
#[derive(Debug, Default)]
pub struct Heads {
    version: u64,
    heads: BTreeMap<StreamKey, Known>,
    complete: BTreeMap<MemberId, u64>,
    /// Who has private streams for which there was no room: that it has told everything would be believed of them too.
    cut: BTreeSet<MemberId>,
    changed: BTreeMap<u64, Subject>,
    private: BTreeMap<MemberId, usize>,
    private_total: usize,
}

/// What a leader knows of one stream.
#[derive(Debug)]
struct Known {
    head: Head,
    /// The version with which it last changed.
    at: u64,
    /// Where it began in views before, in rising order, each with the version that it came with.
    before: Vec<(Since, Seq, u64)>,
    /// The version that the start came with.
    start_at: u64,
}

impl Known {
    /// Where the stream began in an earlier view. Says whether that is new; the oldest is forgotten for it.
    fn note_start(&mut self, since: Since, start: Seq, at: u64) -> bool {
        let is_known = self.before.iter().any(|(known, ..)| *known == since) || self.head.since == since;
        if is_known || !matches!(since, Since::View(_)) || start >= self.head.start {
            return false;
        }
        let place = self.before.partition_point(|(_, known, _)| *known < start);
        if self.before.len() + 1 >= STARTS_MAX {
            if place == 0 {
                return false;
            }
            self.before.remove(0);
            self.before.insert(place - 1, (since, start, at));
        } else {
            self.before.insert(place, (since, start, at));
        }
        true
    }

    /// The stream once for each start that came after a version, and as it is now.
    fn tails(&self, sender: &MemberId, after: u64) -> impl Iterator<Item = Tail> {
        let before = self.before.iter().filter(move |(.., at)| *at > after);
        let earlier = before.map(|(since, start, _)| Head { since: *since, start: *start, ..self.head.clone() });
        earlier.chain([self.head.clone()]).map(|head| Tail::Stream(sender.clone(), head))
    }
}

#[derive(Clone, Debug)]
enum Subject {
    Stream(StreamKey),
    Complete(MemberId),
}

impl Heads {
    /// A sender says how far a stream of its own goes. It never goes back.
    ///
    /// What is new for receivers is a message more, or another start: a new view in which nothing was said is none.
    pub fn on_head(&mut self, sender: &MemberId, head: Head) {
        if !head.is_sound() {
            return;
        }
        let stream = StreamKey { sender: sender.clone(), channel: head.channel.clone() };
        if let Some(Known { head: known, .. }) = self.heads.get(&stream) {
            let moved = head.start > known.start || (known.since == Since::Unsaid && head.since != Since::Unsaid);
            let goes_on = head.next > known.next;
            let Some(entry) = self.heads.get_mut(&stream) else { return };
            entry.head.kept = entry.head.kept.max(head.kept);
            let version = self.version + 1;
            let mut earlier = false;
            if moved {
                let (since, start, at) = (entry.head.since, entry.head.start, entry.start_at);
                (entry.head.start, entry.head.since, entry.start_at) = (head.start, head.since, version);
                entry.note_start(since, start, at);
            } else if head.start == entry.head.start && head.since != Since::Unsaid {
                entry.head.since = head.since;
            } else {
                earlier = entry.note_start(head.since, head.start, version);
            }
            if !goes_on && !moved && !earlier {
                return;
            }
            entry.head.next = entry.head.next.max(head.next);
            let old = std::mem::replace(&mut entry.at, version);
            self.changed.remove(&old);
        } else {
            if matches!(head.channel, Channel::Private(_)) && !self.has_room(sender) {
                self.cut.insert(sender.clone());
                return;
            }
            let at = self.version + 1;
            self.heads.insert(stream.clone(), Known { head, at, before: Vec::new(), start_at: at });
        }
        self.version += 1;
        self.changed.insert(self.version, Subject::Stream(stream));
    }

    /// A frame of the sender's shows that a stream goes at least so far.
    pub fn on_frame(&mut self, sender: &MemberId, channel: Channel, (since, start): (Since, Seq), next: Seq) {
        let stream = StreamKey { sender: sender.clone(), channel: channel.clone() };
        let known = self.heads.get(&stream).map(|known| &known.head);
        if known.is_some_and(|head| head.next >= next && (head.start <= start || since == Since::Unsaid)) {
            return;
        }
        let kept = known.map_or(Seq(1), |head| head.kept);
        self.on_head(sender, Head { channel, since, start, next, kept });
    }

    /// The sender leaves, and has said how far each of its streams goes.
    pub fn on_complete(&mut self, sender: &MemberId) {
        if !self.complete.contains_key(sender) && !self.cut.contains(sender) {
            self.version += 1;
            self.complete.insert(sender.clone(), self.version);
            self.changed.insert(self.version, Subject::Complete(sender.clone()));
        }
    }

    /// Which numbers of a stream exist and can still be sent again by their sender.
    pub fn can_be_sent_again(&self, stream: &StreamKey) -> std::ops::Range<u64> {
        self.heads.get(stream).map_or(0..0, |known| known.head.kept.0..known.head.next.0)
    }

    /// What changed since a version and is for a user to know, with the version it takes the user to.
    ///
    /// That somebody has said nothing yet is told to those alone who came later, after version `came`: who sees somebody
    /// join knows it. Where streams began before is told as far as it came after version `whole`, the last one at which the
    /// user knew everything.
    pub fn since(&self, version: u64, (came, whole): (u64, u64), to: &UserName) -> (Vec<Tail>, u64) {
        let (mut tails, mut reached) = (Vec::new(), version);
        for (at, subject) in self.changed.range(version.saturating_add(1)..).take(LOOKED_AT_MAX) {
            if tails.len() + STARTS_MAX > HEADS_MAX {
                return (tails, reached);
            }
            reached = *at;
            match subject {
                Subject::Complete(sender) => tails.push(Tail::Complete(sender.clone())),
                Subject::Stream(stream) if stream.sender.user == *to => {}
                Subject::Stream(stream) => {
                    let concerns = |k: &&Known| k.head.concerns(to) && (k.head.next > Seq(1) || *at <= came);
                    let known = self.heads.get(stream).filter(concerns);
                    tails.extend(known.into_iter().flat_map(|known| known.tails(&stream.sender, whole)));
                }
            }
        }
        (tails, reached)
    }

    /// All that is known of one sender's streams, private ones too.
    pub fn of(&self, sender: &MemberId) -> Vec<Tail> {
        let first = StreamKey { sender: sender.clone(), channel: Channel::Group(Service::BestEffort) };
        let own = self.heads.range(first..).take_while(|(stream, _)| stream.sender == *sender);
        let mut tails: Vec<Tail> = own.flat_map(|(_, known)| known.tails(sender, 0)).collect();
        if !tails.is_empty() && self.complete.contains_key(sender) {
            tails.push(Tail::Complete(sender.clone()));
        }
        tails
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Forgets a stay, once nobody asks for its frames any more.
    pub fn forget(&mut self, sender: &MemberId) {
        let first = StreamKey { sender: sender.clone(), channel: Channel::Group(Service::BestEffort) };
        let own = self.heads.range(first..).map(|(stream, _)| stream);
        let streams: Vec<StreamKey> = own.take_while(|stream| stream.sender == *sender).cloned().collect();
        for stream in streams {
            if let Some(known) = self.heads.remove(&stream) {
                self.changed.remove(&known.at);
            }
        }
        if let Some(at) = self.complete.remove(sender) {
            self.changed.remove(&at);
        }
        self.private_total -= self.private.remove(sender).unwrap_or(0);
        self.cut.remove(sender);
    }

    fn has_room(&mut self, sender: &MemberId) -> bool {
        if self.private_total >= PRIVATE_TOTAL_MAX {
            return false;
        }
        let count = self.private.entry(sender.clone()).or_default();
        let room = *count < PRIVATE_MAX;
        if room {
            *count += 1;
            self.private_total += 1;
        }
        room
    }

    /// Streams, stays that are complete, and changes remembered.
    #[cfg(test)]
    fn size(&self) -> (usize, usize, usize) {
        (self.heads.len(), self.complete.len(), self.changed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;

    const FIFO: Channel = Channel::Group(Service::Fifo);

    fn member(user: &str) -> MemberId {
        MemberId { user: user.parse().unwrap(), incarnation: Incarnation(1) }
    }

    fn head(channel: Channel, next: u64) -> Head {
        let since = match channel {
            Channel::Group(_) => Since::View(ViewDigest([1; 32])),
            Channel::Private(_) => Since::Stay(Incarnation(1)),
        };
        Head { channel, since, start: Seq(1), next: Seq(next), kept: Seq(1) }
    }

    fn nexts(tails: &[Tail]) -> Vec<(String, u64)> {
        let next = |tail: &Tail| match tail {
            Tail::Stream(sender, head) => (sender.user.to_string(), head.next.0),
            Tail::Complete(sender) => (sender.user.to_string(), 0),
        };
        tails.iter().map(next).collect()
    }

    /// What somebody is told who came after everything.
    fn told(heads: &Heads, version: u64, to: &UserName) -> (Vec<Tail>, u64) {
        heads.since(version, (u64::MAX, version), to)
    }

    #[test]
    fn who_has_been_told_is_told_what_changed_since_and_no_more() {
        let mut heads = Heads::default();
        let ben: UserName = "ben".parse().unwrap();
        heads.on_head(&member("ana"), head(FIFO, 5));
        heads.on_head(&member("cy"), head(FIFO, 2));
        let (tails, version) = told(&heads, 0, &ben);
        assert_eq!(nexts(&tails), [("ana".into(), 5), ("cy".into(), 2)]);
        assert_eq!(told(&heads, version, &ben), (Vec::new(), version));
        heads.on_head(&member("ana"), head(FIFO, 4));
        heads.on_head(&member("ana"), head(FIFO, 5));
        let later = Since::View(ViewDigest([2; 32]));
        heads.on_head(&member("ana"), Head { since: later, ..head(FIFO, 5) });
        assert_eq!(
            told(&heads, version, &ben).0,
            [],
            "a stream does not go back, and a view without a word is no news"
        );
        heads.on_frame(&member("ana"), FIFO, (later, Seq(1)), Seq(9));
        heads.on_complete(&member("ana"));
        let (tails, _) = told(&heads, version, &ben);
        assert_eq!(nexts(&tails), [("ana".into(), 9), ("ana".into(), 0)]);
        assert!(matches!(&tails[0], Tail::Stream(_, head) if head.since == later), "but it is the one that counts");
        assert_eq!(nexts(&told(&heads, 0, &ben).0), [("cy".into(), 2), ("ana".into(), 9), ("ana".into(), 0)]);
    }

    #[test]
    fn a_new_start_is_told_and_an_old_frame_does_not_take_it_back() {
        let mut heads = Heads::default();
        let (old, new) = (Since::View(ViewDigest([1; 32])), Since::View(ViewDigest([2; 32])));
        heads.on_frame(&member("ana"), FIFO, (old, Seq(1)), Seq(5));
        let (_, version) = told(&heads, 0, &"ben".parse().unwrap());
        heads.on_head(&member("ana"), Head { since: new, start: Seq(5), ..head(FIFO, 5) });
        heads.on_frame(&member("ana"), FIFO, (old, Seq(1)), Seq(6));
        let starts = |tails: Vec<Tail>| match &tails[..] {
            [Tail::Stream(_, head)] => (head.since, head.start.0, head.next.0),
            other => panic!("{other:?}"),
        };
        assert_eq!(starts(told(&heads, version, &"ben".parse().unwrap()).0), (new, 5, 6));
    }

    #[test]
    fn who_was_out_of_reach_for_some_views_is_told_where_a_stream_began_in_each_of_the_last_ones() {
        let (mut heads, ben): (_, UserName) = (Heads::default(), "ben".parse().unwrap());
        let view = |i: u64| Since::View(ViewDigest([u8::try_from(i).unwrap(); 32]));
        let starts = |(tails, _): (Vec<Tail>, u64)| -> Vec<(Since, u64, u64)> {
            let start = |tail: &Tail| match tail {
                Tail::Stream(_, head) => (head.since, head.start.0, head.next.0),
                Tail::Complete(_) => panic!("Ana stays"),
            };
            tails.iter().map(start).collect()
        };
        heads.on_head(&member("ana"), Head { since: view(1), ..head(FIFO, 4) });
        let whole = heads.version();
        heads.on_head(&member("cy"), head(FIFO, 2));
        heads.on_head(&member("ana"), Head { since: view(2), start: Seq(4), ..head(FIFO, 7) });
        heads.on_head(&member("ana"), Head { since: view(3), start: Seq(7), ..head(FIFO, 7) });
        assert_eq!(starts(heads.since(3, (0, 0), &ben)), [(view(1), 1, 7), (view(2), 4, 7), (view(3), 7, 7)]);
        let later = heads.since(3, (0, whole), &ben);
        assert_eq!(starts(later), [(view(2), 4, 7), (view(3), 7, 7)], "what the user knows is not told again");
        // Views that a leader learns of from frames, and late.
        (4..20).rev().for_each(|i| heads.on_frame(&member("ana"), FIFO, (view(i), Seq(2 * i)), Seq(2 * i + 1)));
        let all = starts(heads.since(0, (0, 0), &ben));
        let last: Vec<_> = (20 - STARTS_MAX as u64..20).map(|i| (view(i), 2 * i, 39)).collect();
        assert_eq!(all.iter().filter(|(.., next)| *next == 39).copied().collect::<Vec<_>>(), last, "the last ones");
        let Tail::Stream(_, first) = heads.of(&member("ana")).remove(0) else { panic!("a stream") };
        assert_eq!(first.since, last[0].0, "and so is everybody when she goes");
    }

    #[test]
    fn that_somebody_has_said_nothing_is_told_to_those_who_come_later_alone() {
        let (mut heads, ben) = (Heads::default(), "ben".parse().unwrap());
        heads.on_head(&member("ana"), head(FIFO, 1));
        let came = heads.version();
        heads.on_head(&member("cy"), head(FIFO, 1));
        assert_eq!(nexts(&heads.since(0, (came, 0), &ben).0), [("ana".into(), 1)]);
        heads.on_head(&member("cy"), head(FIFO, 2));
        assert_eq!(nexts(&heads.since(0, (came, 0), &ben).0), [("ana".into(), 1), ("cy".into(), 2)]);
    }

    #[test]
    fn how_far_a_private_stream_goes_is_for_its_recipient_alone_and_names_the_stay_it_goes_to() {
        let mut heads = Heads::default();
        let (ben, to_ben): (UserName, _) = ("ben".parse().unwrap(), Channel::Private("ben".parse().unwrap()));
        heads.on_head(&member("ana"), head(to_ben.clone(), 3));
        assert_eq!(nexts(&told(&heads, 0, &ben).0), [("ana".into(), 3)]);
        for other in ["cy", "ana"] {
            assert_eq!(told(&heads, 0, &other.parse().unwrap()), (Vec::new(), 1));
        }
        // A message to Ben's next stay, before its sender has said to which one it is.
        heads.on_frame(&member("ana"), to_ben.clone(), (Since::Unsaid, Seq(3)), Seq(4));
        assert!(matches!(&told(&heads, 1, &ben).0[..], [Tail::Stream(_, head)] if head.since == Since::Unsaid));
        let (stay, version) = (Since::Stay(Incarnation(2)), heads.version());
        heads.on_head(&member("ana"), Head { since: stay, start: Seq(3), ..head(to_ben, 4) });
        assert!(matches!(&told(&heads, version, &ben).0[..], [Tail::Stream(_, head)] if head.since == stay));
    }

    #[test]
    fn a_sender_takes_its_own_room_and_leaves_nothing_behind() {
        let mut heads = Heads::default();
        for i in 0..1000 {
            heads.on_head(&member("mal"), head(Channel::Private(format!("u{i}").parse().unwrap()), 2));
        }
        heads.on_head(&member("mal"), head(Channel::Group(Service::BestEffort), 2));
        heads.on_head(&member("mal"), head(FIFO, SEQ_MAX + 1));
        heads.on_head(&member("ana"), head(FIFO, 2));
        heads.on_complete(&member("mal"));
        assert_eq!(
            heads.size(),
            (PRIVATE_MAX + 1, 0, PRIVATE_MAX + 1),
            "of what is left out nobody is told that this is all"
        );
        heads.forget(&member("mal"));
        assert_eq!((heads.size(), heads.private_total), ((1, 0, 1), 0));
    }

    #[test]
    fn who_has_more_private_streams_than_are_known_is_never_said_to_have_told_everything() {
        let mut heads = Heads::default();
        let names: Vec<UserName> = (0..=PRIVATE_MAX).map(|i| format!("u{i}").parse().unwrap()).collect();
        for name in &names {
            heads.on_frame(&member("ana"), Channel::Private(name.clone()), (Since::Unsaid, Seq(1)), Seq(2));
        }
        heads.on_head(&member("ana"), head(FIFO, 1));
        heads.on_complete(&member("ana"));
        let (tails, _) = told(&heads, 0, &names[PRIVATE_MAX]);
        assert_eq!(nexts(&tails), [("ana".into(), 1)], "not that this was all: her message to this one is left out");
        heads.forget(&member("ana"));
        assert_eq!((heads.size(), heads.cut.len()), ((0, 0, 0), 0));
    }

    #[test]
    fn a_long_list_is_told_in_parts() {
        let mut heads = Heads::default();
        (0..1000).for_each(|i| heads.on_head(&member(&format!("u{i}")), head(FIFO, 2)));
        let (mut count, mut version) = (0, 0);
        while version < heads.version() {
            let (tails, reached) = told(&heads, version, &"ben".parse().unwrap());
            assert!(tails.len() <= HEADS_MAX && reached > version);
            (count, version) = (count + tails.len(), reached);
        }
        assert_eq!(count, 1000);
    }
}
