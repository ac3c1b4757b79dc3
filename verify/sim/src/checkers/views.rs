//! A member installs only views that an honest leader published, with real members, itself among them (A10).

use ringfort_protocol::member::Event;

use super::{Checker, Seen, What};
use crate::world::Facts;

/// Judged at each installed view.
pub struct TrueViews;

impl Checker for TrueViews {
    fn name(&self) -> &'static str {
        "true views"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Member { client, member, event: Event::View { .. } } = &seen.what else { return };
        let (Some(view), Some(members), Some(me)) = (member.view(), member.members(), member.id()) else { return };
        if !facts.published.contains(&view.digest) {
            wrong.push(format!("client {} installed {view}, which no honest leader published", client.0));
        }
        if members.get_member(me).is_none() {
            wrong.push(format!("client {} installed {view} without itself", client.0));
        }
        for entry in members.iter().filter(|e| !facts.genuine.contains(e)) {
            wrong.push(format!("client {} sees {} in {view}: a ghost", client.0, entry.id));
        }
    }
}
