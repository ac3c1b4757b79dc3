//! Forward only (K11): a member's installed epoch never falls, and whom it saw gone after f+1 honest leaders had
//! ended the stay does not come back to it; an honest leader never admits a stay again that it saw end.
//!
//! That a member is missing from one view alone means nothing: among concurrent joins, views of the same epoch
//! hold different newcomers (seed 002 §3.2). For the same reason a view that honest leaders published just before
//! they ended the stay may still arrive just after: claims under way are given [`UNDER_WAY`].

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_protocol::ids::{Incarnation, MemberId};
use ringfort_protocol::member::{Event, Member};
use ringfort_protocol::{Epoch, LeaderId, Time, UserName, leader};

use super::{Checker, Seen, What};
use crate::world::{ClientId, Facts};

/// How long a claim may be under way, and how long a leader may wait before it publishes.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// Judged at each installed view, and at each admission.
#[derive(Default)]
pub struct Forward {
    clients: BTreeMap<ClientId, Way>,
    leaders: BTreeMap<LeaderId, BTreeMap<UserName, Incarnation>>,
}

#[derive(Default)]
struct Way {
    epoch: Epoch,
    members: Vec<MemberId>,
    ended: BTreeMap<UserName, (Incarnation, Time)>,
}

impl Checker for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        match &seen.what {
            What::Member { client, member, event: Event::View { .. } } => {
                self.see_view(facts, seen.at, *client, member, wrong);
            }
            What::Leader { id, event: leader::Event::Admitted(member), .. } => {
                let ended = facts.ended.get(member).is_some_and(|by| by.contains(id));
                let last = self.leaders.entry(*id).or_default().entry(member.user.clone()).or_default();
                if ended || member.incarnation < *last {
                    wrong.push(format!("{id} admitted {member} again, whose stay had ended"));
                }
                *last = member.incarnation.max(*last);
            }
            _ => {}
        }
    }
}

impl Forward {
    fn see_view(&mut self, facts: &Facts, now_at: Time, client: ClientId, member: &Member, wrong: &mut Vec<String>) {
        let (Some(view), Some(members)) = (member.view(), member.members()) else { return };
        let way = self.clients.entry(client).or_default();
        if view.epoch < way.epoch {
            wrong.push(format!("client {} went back from epoch {} to {view}", client.0, way.epoch.0));
        }
        let now: Vec<MemberId> = members.iter().map(|e| e.id.clone()).collect();
        for member in &now {
            let dead = |(ended, at): &(Incarnation, Time)| member.incarnation <= *ended && now_at > *at + UNDER_WAY;
            if way.ended.get(&member.user).is_some_and(dead) {
                wrong.push(format!("client {} sees {member} again, whose stay had ended", client.0));
            }
        }
        let dead = |m: &&MemberId| facts.ended.get(*m).is_some_and(|by| by.len() > facts.faults);
        for gone in way.members.iter().filter(|m| !now.contains(m)).filter(dead) {
            let ended = way.ended.entry(gone.user.clone()).or_insert((gone.incarnation, now_at));
            if gone.incarnation > ended.0 {
                *ended = (gone.incarnation, now_at);
            }
        }
        way.epoch = view.epoch;
        way.members = now;
    }
}
