//! Files of this member: offers, reports on them, and whose piece is next.

use ringfort::protocol::{Time, UserName};

use super::message::{Message, Offer, OfferId, Report, Stand, Word, chunk_head};
use super::sender::{Nudge, Sender};
use super::{Effect, Exchange, Number, Outbound, Outgoing, RECIPIENTS_MAX, Stage, To, What};

/// What waits to be said, above which nobody is told that a file is not sent any more: reports come again.
const ANSWERS_MAX: usize = 256;

impl Exchange {
    /// So much of a file was read. Whether the rest is wanted.
    pub fn on_preparing(&mut self, number: Number, bytes: u64) -> bool {
        match self.outgoing.get_mut(&number) {
            Some(Outgoing { stage: Stage::Preparing { done, .. }, .. }) => {
                *done = bytes;
                true
            }
            _ => false,
        }
    }

    /// A file was read: it can be offered, to those of its receivers who are here. `id` is random.
    pub fn on_prepared(&mut self, now: Time, number: Number, id: OfferId, bytes: u64, root: [u8; 32]) -> Vec<Effect> {
        let chunk_bytes = self.chunk_bytes();
        let Some(outgoing) = self.outgoing.get_mut(&number) else { return vec![Effect::Release(number)] };
        let Stage::Preparing { to, to_group, .. } = &outgoing.stage else { return vec![Effect::Release(number)] };
        let here: Vec<UserName> = to.iter().filter(|user| self.members.contains(*user)).cloned().collect();
        if here.is_empty() {
            outgoing.stage = Stage::Failed("nobody whom it was for is in the group any more".to_owned());
            return vec![Effect::Release(number)];
        }
        let offer = Offer { id, name: outgoing.name.clone(), bytes, chunk_bytes, root };
        outgoing.bytes = bytes;
        let to_some = (!*to_group).then(|| here.clone());
        outgoing.stage = Stage::Open(Box::new(Sender::new(now, offer.clone(), *to_group, here)));
        let topic = outgoing.topic.clone();
        self.sent_ids.insert(id, number);
        match to_some {
            None => self.say(&topic, To::Group, &Message::Offer(offer)),
            Some(to) => self.say_to(&topic, to, &Message::Offer(offer)),
        }
        Vec::new()
    }

    /// A file could not be read.
    pub fn on_unprepared(&mut self, number: Number, why: String) -> Vec<Effect> {
        let Some(outgoing) = self.outgoing.get_mut(&number) else { return Vec::new() };
        match &outgoing.stage {
            Stage::Preparing { .. } => outgoing.stage = Stage::Failed(why),
            Stage::Open(_) => {
                let effects = self.withdraw(number);
                if let Some(outgoing) = self.outgoing.get_mut(&number) {
                    outgoing.stage = Stage::Failed(why);
                }
                return effects;
            }
            Stage::Cancelled(_) | Stage::Failed(_) => {}
        }
        vec![Effect::Release(number)]
    }

    /// The length of a piece in this group.
    fn chunk_bytes(&self) -> u32 {
        let head = u32::try_from(super::message::CHUNK_HEAD_BYTES).unwrap_or(u32::MAX);
        self.limits.chunk_bytes.min(self.message_bytes_max.saturating_sub(head))
    }

    /// Withdraws an offer.
    pub(super) fn withdraw(&mut self, number: Number) -> Vec<Effect> {
        let Some(outgoing) = self.outgoing.get_mut(&number) else { return Vec::new() };
        match std::mem::replace(&mut outgoing.stage, Stage::Failed("it was stopped".to_owned())) {
            Stage::Open(sender) => {
                let (topic, id, concerned) = (outgoing.topic.clone(), sender.offer.id, sender.concerned());
                self.sent_ids.remove(&id);
                outgoing.stage = Stage::Cancelled(sender);
                self.say_to(&topic, concerned, &Message::Word(id, Word::Cancelled));
            }
            Stage::Preparing { .. } => {}
            over => outgoing.stage = over,
        }
        vec![Effect::Release(number)]
    }

    /// Pauses an offer, or goes on, and says so.
    pub(super) fn pause_sending(&mut self, now: Time, number: Number, paused: bool) {
        let Some(Outgoing { stage: Stage::Open(sender), topic, .. }) = self.outgoing.get_mut(&number) else { return };
        sender.pause(now, paused);
        let (topic, id, concerned) = (topic.clone(), sender.offer.id, sender.concerned());
        let word = if paused { Word::Paused } else { Word::Running };
        self.say_to(&topic, concerned, &Message::Word(id, word));
    }

    pub(super) fn on_report(&mut self, now: Time, from: &UserName, topic: &str, report: &Report) -> Vec<Effect> {
        let number = self.sent_ids.get(&report.id).copied();
        let outgoing = number.and_then(|number| self.outgoing.get_mut(&number)).filter(|o| o.topic == topic);
        let sender = outgoing.and_then(|outgoing| match &mut outgoing.stage {
            Stage::Open(sender) if !sender.is_over() => Some(sender),
            _ => None,
        });
        match (sender, number) {
            (Some(sender), Some(number)) => {
                sender.on_report(now, from, report);
                if sender.is_over() {
                    self.trim_past();
                    return vec![Effect::Release(number)];
                }
            }
            _ if report.stand == Stand::Receiving && self.control.len() < ANSWERS_MAX => {
                // It waits for what is not sent any more.
                self.say_to(topic, vec![from.clone()], &Message::Word(report.id, Word::Cancelled));
            }
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn senders_on_members(&mut self, now: Time) {
        let mut again = Vec::new();
        for outgoing in self.outgoing.values_mut() {
            if let Stage::Open(sender) = &mut outgoing.stage {
                let back = sender.on_members(now, &self.members);
                again.push((outgoing.topic.clone(), back, sender.offer.clone()));
            }
        }
        for (topic, back, offer) in again {
            self.say_to(&topic, back, &Message::Offer(offer));
        }
    }

    pub(super) fn wake_senders(&mut self, now: Time) {
        let mut due = Vec::new();
        for outgoing in self.outgoing.values_mut() {
            if let Stage::Open(sender) = &mut outgoing.stage {
                for (user, nudge) in sender.on_wakeup(now) {
                    let message = match nudge {
                        Nudge::Offer => Message::Offer(sender.offer.clone()),
                        Nudge::Probe => Message::Word(sender.offer.id, Word::Running),
                    };
                    due.push((outgoing.topic.clone(), user, message));
                }
            }
        }
        for (topic, user, message) in due {
            self.say_to(&topic, vec![user], &message);
        }
    }

    /// The next piece, of the next file that has one to send. All files share one window.
    pub(super) fn next_chunk(&mut self, now: Time) -> Option<Outbound> {
        let busy: Vec<Number> = self.outgoing.iter().filter(|(_, o)| o.is_busy()).map(|(n, _)| *n).collect();
        let sharing = u32::try_from(busy.len()).unwrap_or(u32::MAX).max(1);
        let (before, after) = busy.split_at(busy.partition_point(|number| *number <= self.turn));
        let others = self.members.len().saturating_sub(1);
        for number in after.iter().chain(before) {
            let Some(outgoing) = self.outgoing.get_mut(number) else { continue };
            let Stage::Open(sender) = &mut outgoing.stage else { continue };
            let window = (self.limits.window_bytes / sender.offer.chunk_bytes / sharing).max(2);
            let Some((index, to)) = sender.next_chunk(now, window) else { continue };
            self.turn = *number;
            // Sent to all, a piece is not kept for repair by anybody, and costs less than to most of them in private.
            let most = sender.to_group && to.len() * 2 > others;
            let offer = &sender.offer;
            let what = What::Chunk {
                number: *number,
                head: chunk_head(offer.id, index),
                index,
                offset: offer.offset(index),
                len: offer.chunk_len(index).unwrap_or(0),
            };
            let to = if most { To::Group } else { To::Only(to) };
            return Some(Outbound { topic: outgoing.topic.clone(), to, what });
        }
        None
    }

    pub(super) fn chunk_unsent(&mut self, now: Time, number: Number, index: u32, to: &To) {
        let Some(Outgoing { stage: Stage::Open(sender), .. }) = self.outgoing.get_mut(&number) else { return };
        match to {
            To::Only(to) => sender.unsent(now, index, to),
            To::Group => {
                let all: Vec<UserName> = sender.peers.keys().cloned().collect();
                sender.unsent(now, index, &all);
            }
        }
    }

    /// To all of these, in as many messages as it takes.
    fn say_to(&mut self, topic: &str, to: Vec<UserName>, message: &Message) {
        for some in to.chunks(RECIPIENTS_MAX) {
            self.say(topic, To::Only(some.to_vec()), message);
        }
    }

    fn say(&mut self, topic: &str, to: To, message: &Message) {
        self.control.push_back(Outbound { topic: topic.to_owned(), to, what: What::Message(message.to_bytes()) });
    }
}

impl Outgoing {
    fn is_busy(&self) -> bool {
        matches!(&self.stage, Stage::Open(sender) if sender.is_busy())
    }

    /// Whether nothing more happens.
    pub(super) fn is_over(&self) -> bool {
        match &self.stage {
            Stage::Preparing { .. } => false,
            Stage::Open(sender) => sender.is_over(),
            Stage::Cancelled(_) | Stage::Failed(_) => true,
        }
    }
}
