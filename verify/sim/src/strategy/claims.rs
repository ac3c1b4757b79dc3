//! Lies about views.

use std::collections::{BTreeMap, VecDeque};

use ringfort_protocol::keys::{Base, ViewClaim, view_point};
use ringfort_protocol::view::{Cause, Change, ViewHasher};
use ringfort_protocol::wire::LeaderNotice;
use ringfort_protocol::{Epoch, LinkId, ViewId};

use super::{Den, Lie, Strategy};

/// A claim with good proof of any view one likes.
pub fn claim(den: &mut Den<'_>, number: u64, view: ViewId, refreshes: u64, changes: Vec<Change>) -> ViewClaim {
    let point = view_point(den.group, den.group.session(), view, refreshes);
    let me = den.me;
    let secrets = den.gang.iter().find(|s| s.id == me).expect("one of the gang");
    let share = secrets.group_share.evaluate(&point, &mut den.dice.0).to_bytes();
    let statement = den.statement(view, refreshes);
    ViewClaim { number, view, refreshes, base: Base::Empty, changes, share, statement }
}

/// Views with members who are not there: all hostile leaders claim the same ones.
pub struct Ghosts;

impl Strategy for Ghosts {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        let LeaderNotice::Claim(honest) = notice else { return vec![notice] };
        let mut set = den.members.clone();
        // The same ghost at every hostile leader.
        let user = "ghost".parse().expect("a name");
        let mut dice = crate::dice::Dice::new(1, "ghost");
        let ghost = ringfort_protocol::data::Identity::generate(user, ringfort_protocol::Incarnation(1), &mut dice.0);
        set.insert(ghost.entry());
        let epoch = Epoch(honest.view.epoch.0 + 1);
        let hasher = ViewHasher::new(den.group, den.group.session());
        let view = hasher.view_id(epoch, honest.refreshes, set.hash());
        let list = set.iter().cloned().map(Change::Added).collect();
        let lie = claim(den, honest.number, view, honest.refreshes, list);
        vec![LeaderNotice::Claim(lie)]
    }
}

/// Old views as if they were current, with ever higher numbers.
#[derive(Default)]
pub struct Stale {
    first: Option<ViewClaim>,
    number: u64,
}

impl Strategy for Stale {
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        let LeaderNotice::Claim(honest) = notice else { return vec![notice] };
        let old = self.first.get_or_insert(honest);
        self.number = self.number.max(old.number) + 1;
        vec![LeaderNotice::Claim(ViewClaim { number: self.number, ..old.clone() })]
    }
}

/// True views with false content: members left out or put in.
pub struct FalseContent;

impl Strategy for FalseContent {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        vec![match notice {
            LeaderNotice::Claim(mut honest) => {
                if den.dice.chance(500) {
                    honest.changes.pop();
                } else if let Some(user) = den.dice.pick(den.users).cloned() {
                    let ghost = den.ghost(user, 1);
                    honest.changes.push(Change::Added(ghost));
                }
                if den.dice.chance(200) {
                    honest.refreshes += 1;
                    honest.statement = den.statement(honest.view, honest.refreshes);
                }
                LeaderNotice::Claim(honest)
            }
            LeaderNotice::Snapshot { view, after, mut entries, last } => {
                entries.reverse();
                entries.pop();
                LeaderNotice::Snapshot { view, after, entries, last }
            }
            other => other,
        }]
    }
}

/// Answers with an old challenge, or an old view.
#[derive(Default)]
pub struct StaleHeartbeats {
    seen: BTreeMap<LinkId, VecDeque<([u8; 16], ViewId)>>,
}

impl Strategy for StaleHeartbeats {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        let LeaderNotice::HeartbeatAnswer { answer, challenge, view } = notice else { return vec![notice] };
        let seen = self.seen.entry(to).or_default();
        seen.push_back((answer, view));
        if seen.len() > 16 {
            seen.pop_front();
        }
        let (old_answer, old_view) = seen.front().copied().unwrap_or((answer, view));
        vec![if den.dice.chance(500) {
            LeaderNotice::HeartbeatAnswer { answer, challenge, view: old_view }
        } else {
            LeaderNotice::HeartbeatAnswer { answer: old_answer, challenge, view }
        }]
    }
}

/// Tells members that their stay has ended.
pub struct ForgeEnds;

impl Strategy for ForgeEnds {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let cause = *den.dice.pick(&[Cause::Left, Cause::Lost, Cause::Expelled, Cause::Expired]).expect("a fixed list");
        let epoch = Epoch(den.view.epoch.0 + 1);
        den.links.iter().map(|(link, _)| Lie::Notice(*link, LeaderNotice::Ended { cause, epoch })).collect()
    }
}
