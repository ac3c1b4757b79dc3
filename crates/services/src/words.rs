//! Who may ask, as the order has it: each leader's word on which stays it has accepted.
//!
//! Leaders accept stays at different moments, so what one of them knows is no common knowledge. Their words in the order are:
//! at each place of it all honest leaders agree which stays n-f of them name.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::{LeaderId, UserName};

use crate::limits::{WORDS_AT_ONCE, WORDS_MAX};
use crate::request::{Message, Stay};
use crate::rules::Rules;

/// The stays that each leader's words name, one of each user.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Words(BTreeMap<LeaderId, BTreeMap<UserName, Stay>>);

impl Words {
    /// A leader changes its words. What is too much for one leader is not there.
    pub fn change(&mut self, leader: LeaderId, added: Vec<Stay>, removed: &[UserName]) {
        let words = self.0.entry(leader).or_default();
        removed.iter().for_each(|user| drop(words.remove(user)));
        for stay in added {
            if words.len() < WORDS_MAX || words.contains_key(&stay.id.user) {
                words.insert(stay.id.user.clone(), stay);
            }
        }
    }

    /// Whether so many leaders name the stay that it may ask.
    pub fn let_speak(&self, stay: &Stay, rules: &Rules) -> bool {
        self.0.values().filter(|words| words.get(&stay.id.user) == Some(stay)).count() >= rules.vouchers()
    }

    /// Leaders that name any stay of a user.
    pub fn naming(&self, user: &UserName) -> usize {
        self.0.values().filter(|words| words.contains_key(user)).count()
    }

    /// What a leader has still to say so that its words name these stays; as much as one message holds.
    pub fn unsaid(&self, leader: LeaderId, stays: &BTreeMap<UserName, Stay>) -> Option<Message> {
        let none = BTreeMap::new();
        let words = self.0.get(&leader).unwrap_or(&none);
        let gone = words.keys().filter(|user| !stays.contains_key(*user));
        let removed: Vec<UserName> = gone.take(WORDS_AT_ONCE).cloned().collect();
        let room = WORDS_MAX.saturating_sub(words.len().saturating_sub(removed.len()));
        let (changed, new): (Vec<&Stay>, Vec<&Stay>) = stays
            .values()
            .filter(|stay| words.get(&stay.id.user) != Some(stay))
            .partition(|stay| words.contains_key(&stay.id.user));
        let added = changed.into_iter().chain(new.into_iter().take(room));
        let added: Vec<Stay> = added.take(WORDS_AT_ONCE.saturating_sub(removed.len())).cloned().collect();
        (!added.is_empty() || !removed.is_empty()).then_some(Message::Words { added, removed })
    }
}
