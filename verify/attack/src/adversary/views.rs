//! Lies about views: ghosts, different words to different ears, old news.

use std::collections::BTreeMap;

use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::keys::{Base, ViewClaim, view_point};
use ringfort_protocol::view::{Cause, Change, MemberEntry, ViewHasher};
use ringfort_protocol::wire::{LeaderNotice, PeerMessage};
use ringfort_protocol::{Epoch, LeaderId, LinkId, MemberId, UserName, ViewId};

use super::{Den, Lie, Vice};

/// A user who does not exist.
fn ghost_name() -> UserName {
    "ghost".parse().expect("a good name")
}

/// A claim, perfect in itself, of the next view with a ghost in it.
fn haunted(den: &mut Den<'_>, honest: &ViewClaim, ghost: &MemberEntry) -> ViewClaim {
    let mut members = den.members.clone();
    members.insert(ghost.clone());
    let hasher = ViewHasher::new(den.group, den.group.session());
    let view = hasher.view_id(Epoch(honest.view.epoch.0 + 1), honest.refreshes, members.hash());
    let point = view_point(den.group, den.group.session(), view, honest.refreshes);
    let share = den.secrets.group_share.evaluate(&point, den.rng).to_bytes();
    let changes = members.iter().cloned().map(Change::Added).collect();
    let (number, refreshes) = (honest.number, honest.refreshes);
    let statement = den.statement(view, refreshes);
    ViewClaim { number, view, refreshes, base: Base::Empty, changes, share, statement }
}

/// Claims views with an invented member, and wants the other leaders to accept it.
#[derive(Default)]
pub struct Ghost {
    ghost: Option<MemberEntry>,
    ticks: u64,
}

impl Ghost {
    fn ghost(&mut self, den: &mut Den<'_>) -> MemberEntry {
        self.ghost.get_or_insert_with(|| den.ghost(ghost_name(), 1)).clone()
    }
}

impl Vice for Ghost {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        let LeaderNotice::Claim(honest) = notice else { return vec![notice] };
        let ghost = self.ghost(den);
        den.tried("views with a ghost", 1);
        vec![LeaderNotice::Claim(haunted(den, &honest, &ghost))]
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.ticks += 1;
        if self.ticks % 4 != 1 {
            return Vec::new();
        }
        let join = Operation::Join(self.ghost(den));
        let mut lies = Vec::new();
        for to in den.others() {
            lies.push(Lie::Peer(to, PeerMessage::Proposals(vec![den.proposal(join.clone(), true)])));
            den.tried("proposed ghosts", 1);
            // The same in the name of another leader: f+1 names would let it in.
            let name = den.group.rules.leaders().find(|l| *l != to && *l != den.secrets.id).unwrap_or(to);
            let key = &den.secrets.signing;
            let forged = SignedProposal::sign(key, name, den.group.session(), join.clone(), true);
            lies.push(Lie::Peer(to, PeerMessage::Proposals(vec![forged])));
            den.tried("forged proposals", 1);
        }
        lies
    }
}

/// No two hear the same.
#[derive(Default)]
pub struct Equivocate {
    ghosts: BTreeMap<LinkId, MemberEntry>,
}

impl Vice for Equivocate {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        let LeaderNotice::Claim(honest) = notice else { return vec![notice] };
        let ghost = self.ghosts.entry(to).or_insert_with(|| den.ghost(ghost_name(), 1)).clone();
        let other = haunted(den, &honest, &ghost);
        den.tried("two views to one member", 1);
        if to.0.is_multiple_of(2) {
            vec![LeaderNotice::Claim(honest), LeaderNotice::Claim(other)]
        } else {
            vec![LeaderNotice::Claim(other), LeaderNotice::Claim(honest)]
        }
    }

    fn peer(&mut self, den: &mut Den<'_>, to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        let PeerMessage::Proposals(list) = message else { return vec![message] };
        let turn = to.number() % 3;
        let twisted = list.into_iter().map(|proposal| {
            let operation = match (proposal.operation, turn) {
                (operation, 0) => operation,
                (Operation::Join(entry), 1) => Operation::Join(den.ghost(entry.id.user, entry.id.incarnation.0)),
                (Operation::Join(entry), _) => Operation::Remove(entry.id, Cause::Expelled),
                (Operation::Remove(MemberId { user, incarnation }, _), 1) => {
                    Operation::Join(den.ghost(user, incarnation.0 + 1))
                }
                (Operation::Remove(member, _), _) => Operation::Remove(member, Cause::Expelled),
                (Operation::Refresh(count), turn) => Operation::Refresh(count + u64::from(turn)),
                (Operation::Session(rank), turn) => Operation::Session(rank + u64::from(turn)),
            };
            den.tried("different proposals to different leaders", 1);
            den.proposal(operation, proposal.accepted)
        });
        vec![PeerMessage::Proposals(twisted.collect())]
    }
}

/// Lives in the past.
#[derive(Default)]
pub struct OldView {
    claims: BTreeMap<LinkId, ViewClaim>,
    answers: BTreeMap<LinkId, ([u8; 16], ViewId)>,
    ticks: u64,
}

impl Vice for OldView {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        match notice {
            LeaderNotice::Claim(honest) => {
                let old = self.claims.entry(to).or_insert_with(|| honest.clone());
                let mut claims = vec![LeaderNotice::Claim(ViewClaim { number: honest.number, ..old.clone() })];
                if honest.view != old.view {
                    den.tried("old views claimed", 1);
                    // And one that is older than what this very leader said before.
                    let view = ViewId { epoch: Epoch(old.view.epoch.0.saturating_sub(1)), ..old.view };
                    let statement = den.statement(view, old.refreshes);
                    claims.push(LeaderNotice::Claim(ViewClaim {
                        number: honest.number,
                        view,
                        statement,
                        ..old.clone()
                    }));
                }
                claims
            }
            LeaderNotice::HeartbeatAnswer { answer, challenge, view } => {
                let (old_answer, old_view) = *self.answers.entry(to).or_insert((answer, view));
                if old_answer == answer {
                    return vec![LeaderNotice::HeartbeatAnswer { answer, challenge, view }];
                }
                den.tried("old heartbeat answers", 1);
                vec![
                    LeaderNotice::HeartbeatAnswer { answer: old_answer, challenge, view },
                    LeaderNotice::HeartbeatAnswer { answer, challenge, view: old_view },
                ]
            }
            other => vec![other],
        }
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(4) || den.heard.is_empty() {
            return Vec::new();
        }
        let old: Vec<SignedProposal> = den.heard.to_vec();
        let others = den.others();
        den.tried("replayed proposals", old.len() * others.len());
        others.into_iter().map(|to| Lie::Peer(to, PeerMessage::Proposals(old.clone()))).collect()
    }
}
