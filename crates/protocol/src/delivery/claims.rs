//! What leaders say of how far streams go, until enough of them say it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Channel, StreamKey, Tail};
use crate::ids::{Epoch, LeaderId, MemberId, Seq, UserName};

/// Streams of which one leader's word waits for others': a hacked one invents no more.
const PER_LEADER_MAX: usize = 65_536;

/// Leaders' words for streams of which more was sent than is known here.
#[derive(Debug, Default)]
pub(super) struct Claims {
    streams: BTreeMap<StreamKey, BTreeMap<LeaderId, Claim>>,
    complete: BTreeMap<MemberId, BTreeSet<LeaderId>>,
    counts: BTreeMap<LeaderId, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    start: Seq,
    epoch: Epoch,
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
                let mine = matches!(&head.channel, Channel::Group(_)) || head.channel == Channel::Private(user.clone());
                if !mine || !head.is_sound() {
                    return None;
                }
                let stream = StreamKey { sender, channel: head.channel };
                let claim = Claim { start: head.start, epoch: head.epoch, next: head.next };
                if *count >= PER_LEADER_MAX && self.streams.get(&stream).is_none_or(|said| !said.contains_key(&from)) {
                    return None;
                }
                if self.streams.entry(stream.clone()).or_default().insert(from, claim).is_none() {
                    *count += 1;
                }
                Some(stream)
            }
        }
    }

    /// Where a stream starts and how far it goes, by the word of `enough` leaders whose sender had come to an epoch.
    pub(super) fn agreed(&self, stream: &StreamKey, enough: usize, since: Epoch) -> Option<(Seq, Seq)> {
        let said = || self.streams.get(stream).into_iter().flat_map(BTreeMap::values).filter(|c| c.epoch >= since);
        // Of any `enough` leaders one is honest: at least that one says as much.
        let backed = |numbers: Vec<Seq>| {
            let mut numbers = numbers;
            numbers.sort_by(|a, b| b.cmp(a));
            numbers.get(enough.saturating_sub(1)).copied()
        };
        Some((backed(said().map(|c| c.start).collect())?, backed(said().map(|c| c.next).collect())?))
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
        self.streams.keys().any(|stream| stream.sender == *member)
    }

    /// Whether `enough` leaders have the member's word that it has said everything.
    pub(super) fn is_complete(&self, member: &MemberId, enough: usize) -> bool {
        self.complete.get(member).is_some_and(|leaders| leaders.len() >= enough)
    }

    /// The member is gone for good.
    pub(super) fn forget(&mut self, member: &MemberId) {
        let of: Vec<StreamKey> = self.streams.keys().filter(|stream| stream.sender == *member).cloned().collect();
        of.iter().for_each(|stream| self.settle(stream, Seq(u64::MAX)));
        for leader in self.complete.remove(member).unwrap_or_default() {
            if let Some(count) = self.counts.get_mut(&leader) {
                *count = count.saturating_sub(1);
            }
        }
    }
}
