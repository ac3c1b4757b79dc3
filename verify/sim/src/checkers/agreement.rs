//! One view, one member list, one key: members in the same view agree on both, and no two views share a key
//! (seed 002 §3.3; P3).

use std::collections::BTreeMap;

use ringfort_protocol::ViewDigest;
use ringfort_protocol::member::Event;
use ringfort_protocol::view::MemberEntry;

use super::{Checker, Seen, What};
use crate::world::Facts;

/// Judged at each installed view.
#[derive(Default)]
pub struct Agreement {
    keys: BTreeMap<ViewDigest, [u8; 32]>,
    views: BTreeMap<[u8; 32], ViewDigest>,
    lists: BTreeMap<ViewDigest, Vec<MemberEntry>>,
}

impl Checker for Agreement {
    fn name(&self) -> &'static str {
        "key agreement"
    }

    fn see(&mut self, _facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Member { client, member, event: Event::View { .. } } = &seen.what else { return };
        let (Some(view), Some(members), Some(key)) = (member.view(), member.members(), member.key_for_testing_only())
        else {
            wrong.push(format!("client {} installed a view without a name, members or key", client.0));
            return;
        };
        if *self.keys.entry(view.digest).or_insert(key) != key {
            wrong.push(format!("client {} has another key of view {view}", client.0));
        }
        if *self.views.entry(key).or_insert(view.digest) != view.digest {
            wrong.push(format!("view {view} has the key of another view"));
        }
        let list: Vec<MemberEntry> = members.iter().cloned().collect();
        if *self.lists.entry(view.digest).or_insert_with(|| list.clone()) != list {
            wrong.push(format!("client {} sees other members in view {view}", client.0));
        }
    }
}
