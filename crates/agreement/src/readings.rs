//! Other services, read from the one log: nothing here sends a message or needs one more round.
//!
//! * [`Reliable`]: each message once, as soon as no leader can miss it, in no order (reliable delivery).
//! * The log itself: each message once, in one order (agreed delivery): [`messages_of`].
//! * [`Proposals`]: agreement on one value of each instance, and on a vector of the values of `n - f` leaders.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec;

use crate::block::{Sealed, messages};
use crate::ids::{Author, Reference};
use crate::limits::HISTORY_ROUNDS;
use crate::rules::Rules;
use crate::sequence::Entry;
use crate::step::Event;

/// Proposals of one author that are open at once; further ones are as if they were not there.
pub const OPEN_MAX: usize = 256;
const TAG: [u8; 8] = *b"proposal";

/// The messages of an entry, in order, with their author.
pub fn messages_of(entry: &Entry) -> impl Iterator<Item = (Author, &[u8])> {
    let author = entry.block.reference().author;
    messages(&entry.block.body().payload).map(move |message| (author, message))
}

/// Delivers each block once, at the first of its certification and its place in the log.
#[derive(Clone, Debug, Default)]
pub struct Reliable {
    delivered: BTreeSet<Reference>,
    highest: u64,
}

impl Reliable {
    /// The block that an event lets one deliver, if any.
    pub fn on_event<'a>(&mut self, event: &'a Event) -> Option<&'a Sealed> {
        let sealed = match event {
            Event::Certified(sealed) => sealed,
            Event::Sequenced(entry) => &entry.block,
            _ => return None,
        };
        let reference = sealed.reference();
        let is_new = self.delivered.insert(reference);
        self.highest = self.highest.max(reference.round);
        // Neither event comes for a block so far below any more.
        let kept = Reference::lowest(self.highest.saturating_sub(2 * HISTORY_ROUNDS));
        self.delivered = self.delivered.split_off(&kept);
        is_new.then_some(sealed)
    }
}

/// One leader's value for one instance.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    tag: [u8; 8],
    /// Which agreement it is for.
    pub instance: u64,
    /// The value.
    pub value: Vec<u8>,
}

impl Proposal {
    /// A proposal, as a message to submit.
    pub fn message(instance: u64, value: Vec<u8>) -> Vec<u8> {
        codec::encode(&Proposal { tag: TAG, instance, value })
    }
}

/// What was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// The first valid proposal of the instance in the log: Byzantine agreement on a value that some leader proposed.
    Value {
        /// The instance.
        instance: u64,
        /// Who proposed it.
        author: Author,
        /// The value.
        value: Vec<u8>,
    },
    /// The first valid proposals of `n - f` leaders in the log: vector consensus. At least `f + 1` of them are honest ones'.
    Vector {
        /// The instance.
        instance: u64,
        /// Who proposed what, in the log's order.
        values: Vec<(Author, Vec<u8>)>,
    },
}

/// Proposals read from the log. The same log gives the same results at every leader.
#[derive(Clone, Debug)]
pub struct Proposals {
    rules: Rules,
    closed_below: u64,
    seen: BTreeMap<u64, Vec<(Author, Vec<u8>)>>,
    open: BTreeMap<Author, usize>,
}

impl Proposals {
    /// No proposals.
    pub fn new(rules: Rules) -> Self {
        Proposals { rules, closed_below: 0, seen: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// Instances below are over: their proposals are let go. To be called at the same place of the log everywhere.
    pub fn close_below(&mut self, instance: u64) {
        self.closed_below = self.closed_below.max(instance);
        let kept = self.seen.split_off(&self.closed_below);
        for (author, _) in std::mem::replace(&mut self.seen, kept).into_values().flatten() {
            if let Some(open) = self.open.get_mut(&author) {
                *open = open.saturating_sub(1);
            }
        }
    }

    /// The next message of the log. `is_valid` must depend on its arguments and on the log alone.
    pub fn on_message(&mut self, author: Author, message: &[u8], is_valid: impl Fn(u64, &[u8]) -> bool) -> Vec<Agreed> {
        let Some(proposal) = codec::decode::<Proposal>(message).ok().filter(|proposal| proposal.tag == TAG) else {
            return Vec::new();
        };
        let (instance, value) = (proposal.instance, proposal.value);
        let of_instance = self.seen.get(&instance);
        let repeats = of_instance.is_some_and(|seen| seen.iter().any(|(other, _)| *other == author));
        let open = self.open.entry(author).or_default();
        if instance < self.closed_below || repeats || *open >= OPEN_MAX || !is_valid(instance, &value) {
            return Vec::new();
        }
        *open += 1;
        let seen = self.seen.entry(instance).or_default();
        seen.push((author, value.clone()));
        let mut agreed = Vec::new();
        if seen.len() == 1 {
            agreed.push(Agreed::Value { instance, author, value });
        }
        if seen.len() == usize::from(self.rules.n() - self.rules.f()) {
            agreed.push(Agreed::Vector { instance, values: seen.clone() });
        }
        agreed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(place: u8) -> Author {
        Author::new(place).unwrap()
    }

    fn read(proposals: &mut Proposals, place: u8, instance: u64, value: u8) -> Vec<Agreed> {
        proposals.on_message(author(place), &Proposal::message(instance, vec![value]), |_, value| value != [0])
    }

    #[test]
    fn the_first_valid_value_is_agreed_and_then_the_vector_of_enough_leaders() {
        let mut proposals = Proposals::new(Rules::new(4, 1).unwrap());
        assert!(read(&mut proposals, 3, 7, 0).is_empty(), "an invalid value is nobody's");
        let first = Agreed::Value { instance: 7, author: author(2), value: vec![5] };
        assert_eq!(read(&mut proposals, 2, 7, 5), [first]);
        assert!(read(&mut proposals, 2, 7, 6).is_empty(), "a leader has one value");
        assert!(read(&mut proposals, 0, 7, 5).is_empty());
        let values = vec![(author(2), vec![5]), (author(0), vec![5]), (author(1), vec![9])];
        assert_eq!(read(&mut proposals, 1, 7, 9), [Agreed::Vector { instance: 7, values }]);
        assert!(read(&mut proposals, 3, 7, 9).is_empty(), "the vector is closed");
        assert_eq!(read(&mut proposals, 3, 8, 9).len(), 1, "another instance is another agreement");
    }

    #[test]
    fn one_leader_opens_a_bounded_number_of_instances_and_closed_ones_stay_closed() {
        let mut proposals = Proposals::new(Rules::new(4, 1).unwrap());
        let opened = (0..2 * OPEN_MAX as u64).filter(|instance| !read(&mut proposals, 3, *instance, 1).is_empty());
        assert_eq!(opened.count(), OPEN_MAX);
        assert_eq!(read(&mut proposals, 0, 400, 1).len(), 1, "it takes nobody else's place");
        proposals.close_below(100);
        assert!(read(&mut proposals, 1, 99, 1).is_empty());
        let again = (500..700).filter(|instance| !read(&mut proposals, 3, *instance, 1).is_empty());
        assert_eq!(again.count(), 100);
    }

    #[test]
    fn other_messages_of_the_log_are_no_proposals() {
        let mut proposals = Proposals::new(Rules::new(4, 1).unwrap());
        for message in [&b""[..], b"proposal", b"anything else", &[255; 300]] {
            assert!(proposals.on_message(author(0), message, |_, _| true).is_empty());
        }
        let mut longer = Proposal::message(1, vec![1]);
        longer.push(0);
        assert!(proposals.on_message(author(0), &longer, |_, _| true).is_empty());
    }
}
