//! What pages send carries no number of ours: a message is known again by what is in it.

use std::collections::{BTreeMap, VecDeque};

use ringfort_crypto::hash::digest;

use super::ledger::StayId;

/// Different messages remembered.
const MARKS_MAX: usize = 50_000;

/// Whose message on which topic with which content, private or not.
type Mark = [u8; 32];

/// The mark of a message.
pub fn mark(sender: &str, private: bool, topic: &str, payload: &[u8]) -> Mark {
    digest("demo postmark", &[sender.as_bytes(), &[u8::from(private)], topic.as_bytes(), payload])
}

/// Messages by their marks. The same words said twice are two messages, which everybody gets in order.
#[derive(Debug, Default)]
pub struct Postmarks {
    sent: BTreeMap<Mark, Sent>,
    order: VecDeque<Mark>,
    numbers: BTreeMap<StayId, u64>,
}

#[derive(Debug, Default)]
struct Sent {
    /// The stay and the number of each message with this mark.
    messages: Vec<(StayId, u64)>,
    /// How many of them each stay was given.
    got: BTreeMap<StayId, usize>,
}

impl Postmarks {
    /// A message is about to be sent; its number among those of its sender's page.
    pub fn note(&mut self, from: &StayId, mark: Mark) -> u64 {
        let number = self.numbers.entry(from.clone()).or_default();
        *number += 1;
        if !self.sent.contains_key(&mark) {
            self.order.push_back(mark);
        }
        self.sent.entry(mark).or_default().messages.push((from.clone(), *number));
        while self.order.len() > MARKS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.sent.remove(&oldest);
        }
        *number
    }

    /// The last message with this mark was not sent after all; its number.
    pub fn strike(&mut self, mark: Mark) -> Option<(StayId, u64)> {
        self.sent.get_mut(&mark)?.messages.pop()
    }

    /// A message has come to `to`: which it is. `None` if nobody sent such a thing; one that comes too often is
    /// the last once more.
    pub fn meet(&mut self, to: &StayId, mark: Mark) -> Option<(StayId, u64)> {
        let sent = self.sent.get_mut(&mark)?;
        let got = sent.got.entry(to.clone()).or_default();
        let message = sent.messages.get(*got).or(sent.messages.last()).cloned();
        *got += 1;
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stay(name: &str) -> StayId {
        (name.to_owned(), 1)
    }

    #[test]
    fn equal_words_are_two_messages_and_unknown_words_are_nobodys() {
        let mut marks = Postmarks::default();
        let hello = mark("ana", false, "chat", b"hello");
        assert_eq!((marks.note(&stay("ana"), hello), marks.note(&stay("ana"), hello)), (1, 2));
        for to in ["ben", "eva"] {
            let numbers: Vec<_> = (0..3).filter_map(|_| marks.meet(&stay(to), hello)).map(|m| m.1).collect();
            assert_eq!(numbers, [1, 2, 2], "the third is the second once more");
        }
        for other in [mark("ben", false, "chat", b"hello"), mark("ana", true, "chat", b"hello")] {
            assert_eq!(marks.meet(&stay("eva"), other), None);
        }
    }

    #[test]
    fn what_was_not_sent_is_struck_out() {
        let mut marks = Postmarks::default();
        let words = mark("ana", false, "chat", b"too long");
        marks.note(&stay("ana"), words);
        assert_eq!(marks.strike(words), Some((stay("ana"), 1)));
        assert_eq!(marks.meet(&stay("ben"), words), None);
    }
}
