//! Nobody honest is blamed by the honest for something that only a deviating peer does (B4, I5).
//!
//! Judged where links keep order and bytes, as TLS makes them. On bare wires anybody can put bytes into a link,
//! and its ends can only blame each other.

use ringfort_protocol::fault::Culprit;
use ringfort_protocol::{leader, member};

use super::{Checker, Seen, What};
use crate::world::Facts;

/// Judged whenever an honest node blames.
pub struct Blame;

impl Checker for Blame {
    fn name(&self) -> &'static str {
        "honest blame"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let (who, culprit, fault) = match &seen.what {
            What::Leader { id, event: leader::Event::Blamed(culprit, fault), .. } => (id.to_string(), culprit, fault),
            What::Member { client, event: member::Event::Blamed(culprit, fault), .. } => {
                (format!("client {}", client.0), culprit, fault)
            }
            _ => return,
        };
        let honest = match culprit {
            Culprit::Leader(leader) => !facts.hostile.contains(leader),
            Culprit::Member(member) => !facts.hacked.contains(&member.user),
            // A login that fails is no accusation: whoever it was has proved nothing.
            Culprit::Outsider(_) => false,
        };
        if honest && fault.is_deviation() {
            wrong.push(format!("{who} blames {culprit} for {}", fault.word()));
        }
    }
}
