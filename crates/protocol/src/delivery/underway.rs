//! What a sender has under way: who has acknowledged what, and when to try again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};

use super::Channel;
use crate::ids::{LeaderId, Seq};
use crate::time::Time;

/// Ranges in one acknowledgement.
pub const RECEIPTS_MAX: usize = 128;

/// Messages whose acknowledgements are awaited. Above, the oldest counts as lost sight of.
const UNDER_WAY_MAX: usize = 65_536;

/// When a message is first given to leaders again that have not acknowledged it; the time doubles up to the second.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(4);

/// Messages tried again at once, and their bytes unless it is only one; and the wait before the next where there are more.
const AGAIN_MAX: usize = 256;
const AGAIN_BYTES_MAX: usize = 1024 * 1024;
const AGAIN_SPACING: Duration = Duration::from_millis(100);

/// A leader has these messages of the member's: `first` to `last` of one stream, both included.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// Of which stream; a message to several is named by the first recipient.
    pub channel: Channel,
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
}

/// What a leader has got over a link and not acknowledged yet: a few ranges however much it is.
#[derive(Debug, Default)]
pub struct Received {
    receipts: Vec<Receipt>,
}

impl Received {
    /// A message came.
    pub fn note(&mut self, channel: Channel, seq: Seq) {
        let next = |receipt: &&mut Receipt| receipt.channel == channel && receipt.last.0 + 1 == seq.0;
        match self.receipts.iter_mut().rev().find(next) {
            Some(receipt) => receipt.last = seq,
            None => self.receipts.push(Receipt { channel, first: seq, last: seq }),
        }
    }

    /// Whether an acknowledgement has room for no more.
    pub fn is_full(&self) -> bool {
        self.receipts.len() >= RECEIPTS_MAX
    }

    /// Takes what is to be acknowledged.
    pub fn take(&mut self) -> Vec<Receipt> {
        std::mem::take(&mut self.receipts)
    }
}

/// The messages that too few leaders have acknowledged.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    tickets: u64,
    messages: BTreeMap<u64, Message>,
    places: BTreeMap<(Channel, Seq), u64>,
    /// Of all of them.
    bytes: usize,
    again_at: Option<Time>,
    tries: u32,
    /// Messages whose acknowledgements are no longer awaited.
    lost_sight: u64,
}

/// A message that is to be tried again.
#[derive(Debug)]
pub(super) struct Due {
    pub place: (Channel, Seq),
    /// The leaders that have it already.
    pub has: BTreeSet<LeaderId>,
    /// The others had time enough to say that they have it.
    pub is_late: bool,
}

#[derive(Debug)]
struct Message {
    place: (Channel, Seq),
    bytes: usize,
    has: BTreeSet<LeaderId>,
    sent: Time,
}

impl UnderWay {
    /// A message was made; it is under way from now on.
    pub(super) fn add(&mut self, now: Time, (channel, seq): (Channel, Seq), bytes: usize) {
        self.tickets += 1;
        let place = (channel, seq);
        self.places.insert(place.clone(), self.tickets);
        self.messages.insert(self.tickets, Message { place, bytes, has: BTreeSet::new(), sent: now });
        self.bytes += bytes;
        if self.messages.len() > UNDER_WAY_MAX
            && let Some(oldest) = self.messages.keys().next().copied()
        {
            self.remove(oldest);
            self.lost_sight += 1;
        }
        self.again_at.get_or_insert(now + AGAIN_AFTER);
    }

    fn remove(&mut self, ticket: u64) {
        if let Some(message) = self.messages.remove(&ticket) {
            self.bytes -= message.bytes;
            self.places.remove(&message.place);
        }
    }

    /// A message cannot be given to anybody again: nobody will ever know whether it came.
    pub(super) fn lose_sight(&mut self, place: &(Channel, Seq)) {
        if let Some(ticket) = self.places.get(place).copied() {
            self.remove(ticket);
            self.lost_sight += 1;
        }
    }

    /// Messages that are under way, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// A leader has messages. Looks at what is under way alone, however long a range it names.
    pub(super) fn on_receipt(&mut self, from: LeaderId, receipt: &Receipt, enough: usize) {
        if receipt.first > receipt.last {
            return;
        }
        let range = (receipt.channel.clone(), receipt.first)..=(receipt.channel.clone(), receipt.last);
        let named: Vec<u64> = self.places.range(range).map(|(_, ticket)| *ticket).collect();
        for ticket in named {
            let Some(message) = self.messages.get_mut(&ticket) else { continue };
            message.has.insert(from);
            if message.has.len() >= enough {
                self.remove(ticket);
                self.tries = 0;
            }
        }
        if self.messages.is_empty() {
            self.again_at = None;
        }
    }

    /// Messages under way, those included that were lost sight of.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX).saturating_add(self.lost_sight)
    }

    /// The newest message's place in the order of sending, from 1.
    pub(super) fn newest(&self) -> u64 {
        self.tickets
    }

    /// Whether all messages up to a place are acknowledged.
    pub(super) fn is_settled(&self, up_to: u64) -> bool {
        self.messages.first_key_value().is_none_or(|(ticket, _)| *ticket > up_to)
    }

    pub(super) fn lost_sight(&self) -> u64 {
        self.lost_sight
    }

    pub(super) fn next_wakeup(&self) -> Option<Time> {
        self.again_at
    }

    /// A leader is in reach again: what is under way is tried at once.
    pub(super) fn hurry(&mut self, now: Time) {
        if !self.messages.is_empty() {
            self.again_at = Some(now);
            self.tries = 0;
            self.messages.values_mut().for_each(|message| message.sent = Time::ZERO);
        }
    }

    /// What is to be tried again.
    pub(super) fn due(&mut self, now: Time) -> Vec<Due> {
        if self.again_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let old = self
            .messages
            .values_mut()
            .filter(|message| message.sent == Time::ZERO || now.since(message.sent) >= AGAIN_AFTER);
        let (mut due, mut bytes, mut is_all) = (Vec::new(), 0, true);
        for message in old {
            if due.len() >= AGAIN_MAX || !due.is_empty() && bytes + message.bytes > AGAIN_BYTES_MAX {
                is_all = false;
                break;
            }
            bytes += message.bytes;
            let is_late = std::mem::replace(&mut message.sent, now) != Time::ZERO;
            due.push(Due { place: message.place.clone(), has: message.has.clone(), is_late });
        }
        let wait = if !is_all {
            AGAIN_SPACING
        } else {
            let wait = AGAIN_AFTER.saturating_mul(1 << self.tries.min(4)).min(AGAIN_AFTER_MAX);
            self.tries = self.tries.saturating_add(1);
            wait
        };
        self.again_at = Some(now + wait);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Service;

    const FIFO: Channel = Channel::Group(Service::Fifo);

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    fn receipt(first: u64, last: u64) -> Receipt {
        Receipt { channel: FIFO, first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn a_message_is_settled_by_enough_leaders_and_by_no_leader_twice() {
        let (one, two) = (LeaderId::new(1).unwrap(), LeaderId::new(2).unwrap());
        let mut under_way = UnderWay::default();
        (1..=3).for_each(|seq| under_way.add(at(0), (FIFO, Seq(seq)), 1));
        under_way.on_receipt(one, &receipt(1, 2), 2);
        under_way.on_receipt(one, &receipt(1, u64::MAX), 2);
        assert_eq!((under_way.count(), under_way.is_settled(1)), (3, false), "one leader is one leader");
        under_way.on_receipt(two, &receipt(1, 2), 2);
        assert_eq!((under_way.count(), under_way.is_settled(2), under_way.is_settled(3)), (1, true, false));
        under_way.on_receipt(two, &receipt(3, 1), 2);
        under_way.on_receipt(two, &receipt(3, 3), 2);
        assert_eq!((under_way.count(), under_way.next_wakeup()), (0, None));
    }

    #[test]
    fn what_is_not_acknowledged_is_tried_again_more_and_more_rarely_and_at_once_when_a_leader_is_back() {
        let mut under_way = UnderWay::default();
        under_way.add(at(0), (FIFO, Seq(1)), 1);
        assert!(under_way.due(at(999)).is_empty());
        let mut times = Vec::new();
        while let Some(due) = under_way.next_wakeup().filter(|due| *due < at(20_000)) {
            assert_eq!(under_way.due(due).len(), 1);
            times.push(due.since_start().as_millis());
        }
        assert_eq!(times, [1000, 2000, 4000, 8000, 12_000, 16_000]);
        under_way.hurry(at(17_000));
        assert_eq!(under_way.due(at(17_000)).len(), 1);
    }

    #[test]
    fn what_there_is_no_room_for_now_is_tried_again_a_moment_later_and_not_a_second_later() {
        let mut under_way = UnderWay::default();
        (1..=30).for_each(|seq| under_way.add(at(0), (FIFO, Seq(seq)), 100_000));
        let mut times = Vec::new();
        while let Some(due) = under_way.next_wakeup().filter(|due| *due < at(2_000)) {
            times.push((due.since_start().as_millis(), under_way.due(due).len()));
        }
        assert_eq!(times, [(1000, 10), (1100, 10), (1200, 10)]);
    }

    #[test]
    fn what_is_settled_or_out_of_sight_takes_no_room() {
        let mut under_way = UnderWay::default();
        (1..=3).for_each(|seq| under_way.add(at(0), (FIFO, Seq(seq)), 1_000));
        under_way.on_receipt(LeaderId::new(1).unwrap(), &receipt(1, 1), 1);
        under_way.lose_sight(&(FIFO, Seq(2)));
        under_way.lose_sight(&(FIFO, Seq(2)));
        assert_eq!((under_way.size(), under_way.count(), under_way.lost_sight()), ((1, 1_000), 2, 1));
    }

    #[test]
    fn acknowledgements_are_a_few_ranges() {
        let mut received = Received::default();
        (1..=500).for_each(|seq| received.note(FIFO, Seq(seq)));
        (7..=9).for_each(|seq| received.note(Channel::Group(Service::Reliable), Seq(seq)));
        received.note(FIFO, Seq(501));
        assert_eq!(received.take().iter().map(|r| (r.first.0, r.last.0)).collect::<Vec<_>>(), [(1, 501), (7, 9)]);
        assert_eq!(received.take(), []);
    }

    #[test]
    fn more_than_the_bound_is_lost_sight_of_and_said() {
        let mut under_way = UnderWay::default();
        (1..=70_000).for_each(|seq| under_way.add(at(0), (FIFO, Seq(seq)), 1));
        assert_eq!((under_way.messages.len(), under_way.places.len()), (UNDER_WAY_MAX, UNDER_WAY_MAX));
        assert_eq!((under_way.count(), under_way.lost_sight()), (70_000, 70_000 - 65_536));
    }
}
