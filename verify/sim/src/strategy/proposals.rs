//! Lies to other leaders.

use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::ids::MemberId;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::PeerMessage;
use ringfort_protocol::{Incarnation, LeaderId, SessionId};

use super::{Den, Lie, Strategy};

/// Tells each leader something else about the same user: no two hear the same entry.
pub struct Equivocate;

impl Strategy for Equivocate {
    fn peer(&mut self, den: &mut Den<'_>, _to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        let PeerMessage::Proposals(list) = message else { return vec![message] };
        let mut out = Vec::new();
        for proposal in list {
            let operation = match proposal.operation {
                Operation::Join(entry) => {
                    let ghost = den.ghost(entry.id.user.clone(), entry.id.incarnation.0);
                    match den.dice.below(3) {
                        0 => Operation::Join(entry),
                        1 => Operation::Join(ghost),
                        _ => Operation::Remove(entry.id, Cause::Expelled),
                    }
                }
                Operation::Remove(member, cause) => match den.dice.below(3) {
                    0 => Operation::Remove(member, cause),
                    1 => Operation::Remove(member, Cause::Expelled),
                    _ => Operation::Join(den.ghost(member.user, member.incarnation.0 + 1)),
                },
                Operation::Refresh(count) => Operation::Refresh(count + den.dice.below(3)),
                Operation::Session(rank) => Operation::Session(rank + den.dice.below(3)),
            };
            let accepted = den.dice.chance(500);
            out.push(den.propose(operation, accepted));
        }
        out
    }
}

/// Joins of users who are not there: registered, unregistered, in their own name and by other stays.
pub struct InventJoins;

impl Strategy for InventJoins {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let Some(user) = den.dice.pick(den.users).cloned() else { return Vec::new() };
        let present = den.members.get(&user).map_or(0, |e| e.id.incarnation.0);
        let stay = present + 1 + den.dice.below(3);
        // All hostile leaders invent the same entry, so that their votes add up.
        let mut shared = crate::dice::Dice::new(stay, user.as_str());
        let ghost = ringfort_protocol::data::Identity::generate(user, Incarnation(stay), &mut shared.0).entry();
        let accepted = den.dice.chance(700);
        den.others().into_iter().map(|l| Lie::Peer(l, den.propose(Operation::Join(ghost.clone()), accepted))).collect()
    }
}

/// Removals of members who are there, for every cause.
pub struct InventRemovals;

impl Strategy for InventRemovals {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let cause = *den.dice.pick(&[Cause::Left, Cause::Lost, Cause::Expelled, Cause::Expired]).expect("a fixed list");
        let accepted = den.dice.chance(500);
        let mut lies = Vec::new();
        for member in den.members.iter() {
            for leader in den.others() {
                let removal = Operation::Remove(member.id.clone(), cause);
                lies.push(Lie::Peer(leader, den.propose(removal, accepted)));
            }
        }
        lies
    }
}

/// Refreshes far ahead, and ends of sessions.
pub struct Refreshes;

impl Strategy for Refreshes {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let count = 1 + den.dice.below(40);
        let (rank, accepted) = (1 + count % 5, den.dice.chance(500));
        let lies = |l| {
            let refresh = Lie::Peer(l, den.propose(Operation::Refresh(count), true));
            [refresh, Lie::Peer(l, den.propose(Operation::Session(rank), accepted))]
        };
        den.others().into_iter().flat_map(lies).collect()
    }
}

/// Proposals in other leaders' names, of other sessions, with signatures that do not hold, and replays of
/// whatever was heard.
#[derive(Default)]
pub struct Forge {
    kept: Vec<SignedProposal>,
}

impl Strategy for Forge {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        for proposal in den.heard {
            if self.kept.len() < 256 {
                self.kept.push(proposal.clone());
            }
        }
        let others = den.others();
        let mut forged = Vec::new();
        if let Some(old) = den.dice.pick(&self.kept).cloned() {
            forged.push(old.clone());
            forged.push(SignedProposal { leader: den.me, ..old.clone() });
            forged.push(SignedProposal { accepted: true, ..old });
        }
        let user = den.dice.pick(den.users).cloned().expect("a run has users");
        let member = MemberId { user, incarnation: Incarnation(1 + den.dice.below(3)) };
        let removal = Operation::Remove(member, Cause::Expelled);
        let key = &den.secrets().signing;
        for leader in &others {
            forged.push(SignedProposal::sign(key, *leader, den.group.session(), removal.clone(), true));
        }
        forged.push(SignedProposal::sign(key, den.me, SessionId([7; 32]), removal, true));
        others.into_iter().map(|leader| Lie::Peer(leader, PeerMessage::Proposals(forged.clone()))).collect()
    }
}
