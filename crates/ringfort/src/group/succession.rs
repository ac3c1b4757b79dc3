//! A member's links when the group goes on in another generation.

use std::sync::Arc;

use ringfort_protocol::{GroupInfo, LeaderId, member};

use super::driver::Driver;
use super::links;
use ringfort_link::ConnectOptions;

/// Links to whoever took a place are numbered far behind those to the one before.
const REPLACED: u64 = 1 << 32;

impl Driver {
    /// Keeps a link to every leader.
    pub(super) fn keep_links(&mut self) {
        let leaders: Vec<LeaderId> = self.info.rules.leaders().collect();
        leaders.into_iter().for_each(|leader| self.keep_link(leader, 0));
    }

    /// Keeps a link to where a leader is in the present generation; numbers of links go on from `number`.
    fn keep_link(&mut self, leader: LeaderId, number: u64) {
        let options = ConnectOptions { limits: self.limits.clone(), ..ConnectOptions::default() };
        let keep = links::keep(self.info.clone(), leader, options, self.shared.clone(), number);
        if let Some(before) = self.keeping.insert(leader, self.tasks.spawn(keep)) {
            before.abort();
        }
    }

    /// The group goes on: whoever was replaced is left, and whoever has taken its place is called.
    pub(super) async fn on_succession(&mut self, group: Arc<GroupInfo>) {
        let before = std::mem::replace(&mut self.info, group);
        for (leader, _) in member::replaced(&before, &self.info) {
            let link = self.links.remove(&leader);
            let number = link.as_ref().map_or(0, |(number, _)| *number);
            self.keep_link(leader, number + REPLACED);
            if let Some((_, sender)) = link {
                sender.close();
                let step = self.member.on_link_down(self.outside.clock.now(), leader);
                Box::pin(self.carry_out(step)).await;
            }
            self.note(leader, false, None);
        }
        tracing::info!(generation = self.info.generation(), "the group goes on under new shares");
    }
}
