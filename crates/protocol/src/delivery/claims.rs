//! What leaders say of how far streams go, until enough of them say it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::heads::STARTS_MAX;
use super::{Channel, Since, StreamKey, Tail};
use crate::ids::{Incarnation, LeaderId, MemberId, Seq, UserName};

/// Streams of which one leader's word waits for others': a hacked one invents no more.
const PER_LEADER_MAX: usize = 65_536;

/// Leaders' words for streams of which more was sent than is known here.
#[derive(Debug, Default)]
pub(super) struct Claims {
    streams: BTreeMap<StreamKey, BTreeMap<LeaderId, Claim>>,
    /// Where streams began, in views of before too; the last words of each leader, however much of the stream is known.
    starts: BTreeMap<StreamKey, BTreeMap<LeaderId, VecDeque<(Since, Seq)>>>,
    complete: BTreeMap<MemberId, BTreeSet<LeaderId>>,
    counts: BTreeMap<LeaderId, usize>,
}

/// Whether what is counted so may be for a stay: it is not private to another one.
fn is_to(since: Since, me: Incarnation) -> bool {
    !matches!(since, Since::Stay(stay) if stay != me)
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    since: Since,
    next: Seq,
}

impl Claims {
    /// A leader's word; the stream it is about, if this member `user` may know of it.
    pub(super) fn note(&mut self, from: LeaderId, tail: Tail, user: &UserName) -> Option<StreamKey> {
        let count = self.counts.entry(from).or_default();
        match tail {
            Tail::Complete(sender) => {
                if *count < PER_LEADER_MAX && self.complete.entry(sender).or_default().insert(from) {
                    *count += 1;
                }
                None
            }
            Tail::Stream(sender, head) => {
                if !head.concerns(user) || !head.is_sound() {
                    return None;
                }
                let stream = StreamKey { sender, channel: head.channel };
                let claim = Claim { since: head.since, next: head.next };
                if *count >= PER_LEADER_MAX && self.streams.get(&stream).is_none_or(|said| !said.contains_key(&from)) {
                    return None;
                }
                if self.streams.entry(stream.clone()).or_default().insert(from, claim).is_none() {
                    *count += 1;
                }
                let starts = self.starts.entry(stream.clone()).or_default().entry(from).or_default();
                let start = (head.since, head.start);
                if !starts.contains(&start) {
                    if starts.len() >= STARTS_MAX || *count >= PER_LEADER_MAX {
                        *count -= usize::from(starts.pop_front().is_some());
                    }
                    if *count < PER_LEADER_MAX {
                        starts.push_back(start);
                        *count += 1;
                    }
                }
                Some(stream)
            }
        }
    }

    /// How far a stream goes, by the word of `enough` leaders: of these one is honest, and says as much or more.
    pub(super) fn agreed_next(&self, stream: &StreamKey, enough: usize) -> Option<Seq> {
        let mut said: Vec<Seq> = self.streams.get(stream)?.values().map(|claim| claim.next).collect();
        said.sort_by(|a, b| b.cmp(a));
        said.get(enough.saturating_sub(1)).copied()
    }

    /// Where a stream first starts for this member, by the very same word of `enough` leaders: of these one is honest and has it
    /// from the sender. A number between two words would be nobody's.
    pub(super) fn agreed_start(
        &self,
        stream: &StreamKey,
        enough: usize,
        counts: impl Fn(&Since) -> bool,
    ) -> Option<Seq> {
        let mut said = BTreeMap::<(Seq, Since), usize>::new();
        for (since, start) in self.starts.get(stream)?.values().flatten().filter(|(since, _)| counts(since)) {
            *said.entry((*start, *since)).or_default() += 1;
        }
        said.into_iter().find(|(_, leaders)| *leaders >= enough).map(|((start, _), _)| start)
    }

    /// So much of a stream is known: words for no more are of no use.
    pub(super) fn settle(&mut self, stream: &StreamKey, known: Seq) {
        let Some(said) = self.streams.get_mut(stream) else { return };
        let counts = &mut self.counts;
        said.retain(|leader, claim| {
            let open = claim.next > known;
            if !open && let Some(count) = counts.get_mut(leader) {
                *count = count.saturating_sub(1);
            }
            open
        });
        if said.is_empty() {
            self.streams.remove(stream);
        }
    }

    /// The streams that leaders' words wait for, each with one of these leaders.
    pub(super) fn streams(&self) -> Vec<(StreamKey, LeaderId)> {
        let first = |said: &BTreeMap<LeaderId, Claim>| said.keys().next().copied();
        self.streams.iter().filter_map(|(stream, said)| Some((stream.clone(), first(said)?))).collect()
    }

    /// Whether a leader said of a member that it had spoken, and the word is open.
    pub(super) fn names(&self, member: &MemberId) -> bool {
        let of = |(stream, said): (&StreamKey, &BTreeMap<LeaderId, Claim>)| {
            stream.sender == *member && said.values().any(|claim| claim.next > Seq(1))
        };
        self.streams.iter().any(of)
    }

    /// Streams to the group, or to the stay `me` or perhaps to it, that `enough` leaders know something was said on.
    pub(super) fn spoken(&self, member: &MemberId, me: Incarnation, enough: usize) -> impl Iterator<Item = &StreamKey> {
        let counts = move |claim: &&Claim| claim.next > Seq(1) && is_to(claim.since, me);
        let of = self.streams.iter().filter(move |(stream, _)| stream.sender == *member);
        of.filter(move |(_, said)| said.values().filter(counts).count() >= enough).map(|(stream, _)| stream)
    }

    /// Whether `enough` leaders say how much a member said on a stream to the group, be it nothing.
    pub(super) fn tells_of(&self, member: &MemberId, enough: usize) -> bool {
        let to_group = |stream: &StreamKey| matches!(stream.channel, Channel::Group(_));
        let of = self.streams.iter().filter(|(stream, _)| stream.sender == *member && to_group(stream));
        of.map(|(_, said)| said.len()).any(|leaders| leaders >= enough)
    }

    /// Whether a leader says of a member that it has said more to the stay `me` than is known.
    pub(super) fn is_open(
        &self,
        member: &MemberId,
        me: Incarnation,
        known: impl Fn(&StreamKey) -> Option<Seq>,
    ) -> bool {
        let of = self.streams.iter().filter(|(stream, _)| stream.sender == *member);
        of.flat_map(|(stream, said)| said.values().map(move |claim| (stream, claim))).any(|(stream, claim)| {
            let said = claim.next > Seq(1) && is_to(claim.since, me);
            known(stream).map_or(said, |known| claim.next > known)
        })
    }

    /// Whether `enough` leaders have the member's word that it has said everything.
    pub(super) fn is_complete(&self, member: &MemberId, enough: usize) -> bool {
        self.complete.get(member).is_some_and(|leaders| leaders.len() >= enough)
    }

    /// The member is gone for good.
    pub(super) fn forget(&mut self, member: &MemberId) {
        let of: Vec<StreamKey> = self.streams.keys().filter(|stream| stream.sender == *member).cloned().collect();
        of.iter().for_each(|stream| self.settle(stream, Seq(u64::MAX)));
        let of: Vec<StreamKey> = self.starts.keys().filter(|stream| stream.sender == *member).cloned().collect();
        for (leader, starts) in of.iter().filter_map(|stream| self.starts.remove(stream)).flatten() {
            if let Some(count) = self.counts.get_mut(&leader) {
                *count = count.saturating_sub(starts.len());
            }
        }
        for leader in self.complete.remove(member).unwrap_or_default() {
            if let Some(count) = self.counts.get_mut(&leader) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Words that wait, and starts.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let starts = self.starts.values().flat_map(BTreeMap::values).map(VecDeque::len).sum();
        (self.streams.values().map(BTreeMap::len).sum(), starts)
    }
}
