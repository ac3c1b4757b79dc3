//! How each kind of message is changed: on purpose where a field has a meaning, blindly in its encoding otherwise.

use std::collections::{BTreeMap, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::keys::{Base, ViewClaim, view_point};
use ringfort_protocol::view::{Cause, Change, MemberEntry};
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, MemberRequest, PROPOSALS_MAX, PeerMessage};
use ringfort_protocol::{Epoch, Incarnation, UserName, ViewId};

use super::temper::Kind;
use crate::dice::Dice;
use crate::strategy::Den;

/// Entries and views that are remembered.
const REMEMBERED_MAX: usize = 64;
/// Messages of one kind that are remembered.
const OLD_MAX: usize = 24;
/// Entries that are made up at once.
const INVENTED_MAX: u64 = 40;

/// What a hacked leader has seen, to say it again elsewhere.
#[derive(Default)]
pub struct Memory {
    entries: VecDeque<MemberEntry>,
    views: VecDeque<ViewId>,
    old: BTreeMap<Kind, VecDeque<Vec<u8>>>,
    /// The highest number of a claim so far.
    pub claims: u64,
    /// A member that lists are padded with again and again.
    favourite: Option<MemberEntry>,
}

fn keep<T: PartialEq>(list: &mut VecDeque<T>, item: T, max: usize) {
    if !list.contains(&item) {
        list.push_back(item);
        if list.len() > max {
            list.pop_front();
        }
    }
}

impl Memory {
    /// Looks at who is in, and in which view.
    pub fn look(&mut self, den: &Den<'_>) {
        if self.views.back() != Some(&den.view) {
            den.members.iter().for_each(|entry| keep(&mut self.entries, entry.clone(), REMEMBERED_MAX));
            keep(&mut self.views, den.view, REMEMBERED_MAX);
        }
    }

    /// Remembers a message; an older one of its kind, if chance finds one.
    pub fn older<T: Message>(&mut self, dice: &mut Dice, message: &T) -> Option<T> {
        let old = self.old.entry(message.kind()).or_default();
        let found = dice.pick(old.make_contiguous()).and_then(|bytes| decode(bytes).ok());
        keep(old, encode(message), OLD_MAX);
        found
    }

    fn view(&mut self, dice: &mut Dice) -> Option<ViewId> {
        dice.pick(self.views.make_contiguous()).copied()
    }

    /// Somebody who was in once, or who never was.
    fn entry(&mut self, den: &mut Den<'_>, dice: &mut Dice) -> Option<MemberEntry> {
        match dice.below(4) {
            0 => invent(den, dice),
            1 => dice.pick(self.entries.make_contiguous()).cloned(),
            _ => {
                let members: Vec<MemberEntry> = den.members.iter().cloned().collect();
                dice.pick(&members).cloned()
            }
        }
    }
}

/// A member with keys that nobody holds, under a name that somebody may have.
fn invent(den: &mut Den<'_>, dice: &mut Dice) -> Option<MemberEntry> {
    let name = match dice.chance(500) {
        true => den.users.get(dice.index(den.users.len())).cloned(),
        false => format!("ghost-{}", dice.below(1000)).parse::<UserName>().ok(),
    };
    let stay = 1 + dice.below(4);
    name.map(|name| den.ghost(name, stay))
}

fn cause(dice: &mut Dice) -> Cause {
    let causes = [Cause::Left, Cause::Lost, Cause::Expelled, Cause::Expired, Cause::SessionOver];
    *dice.pick(&causes).expect("a fixed list")
}

/// Changes a few bytes of the encoding, to another value of the same type.
pub fn edit<T: BorshSerialize + BorshDeserialize>(value: &T, dice: &mut Dice) -> Option<T> {
    let encoded = encode(value);
    for _ in 0..24 {
        let mut bytes = encoded.clone();
        for _ in 0..=dice.below(2) {
            let place = dice.index(bytes.len());
            let (bit, way) = (1u8 << dice.below(8), dice.below(5));
            if let Some(byte) = bytes.get_mut(place) {
                *byte = match way {
                    0 => *byte ^ bit,
                    1 => 0,
                    2 => 0xff,
                    3 => byte.wrapping_sub(1),
                    _ => byte.wrapping_add(1),
                };
            }
        }
        if bytes != encoded
            && let Ok(other) = decode::<T>(&bytes)
        {
            return Some(other);
        }
    }
    None
}

/// Adds to a list of changes what is so already, or what is not so.
pub fn pad_changes(changes: &mut Vec<Change>, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) {
    if dice.chance(600) {
        let members: Vec<MemberEntry> = den.members.iter().cloned().collect();
        let favourite = memory.favourite.take().filter(|entry| members.contains(entry));
        memory.favourite = favourite.or_else(|| dice.pick(&members).cloned());
        let added = memory.favourite.clone().map(Change::Added);
        if changes.iter().all(|change| Some(change.user()) != added.as_ref().map(Change::user)) {
            changes.extend(added);
        }
        return;
    }
    let many = if dice.chance(100) { dice.below(INVENTED_MAX) } else { dice.below(3) };
    for _ in 0..=many {
        let change = match dice.below(4) {
            0 => memory.entry(den, dice).map(|entry| Change::Removed(entry.id.user, cause(dice))),
            1 => dice.pick(changes).cloned(),
            _ => memory.entry(den, dice).map(Change::Added),
        };
        let about = change.as_ref().map(|change| change.user().clone());
        // At most one change for each user is well formed: mostly it is kept so.
        if dice.chance(850) && changes.iter().any(|change| Some(change.user()) == about.as_ref()) {
            continue;
        }
        let place = dice.index(changes.len() + 1);
        changes.splice(place..place, change);
    }
}

/// A kind of message that a hacked node sends.
pub trait Message: Clone + BorshSerialize + BorshDeserialize {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// Changes a field that means something; false if it has none of those.
    fn alter(&mut self, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> bool;

    /// Makes its lists longer; false if it has none.
    fn pad(&mut self, _den: &mut Den<'_>, _dice: &mut Dice, _memory: &mut Memory) -> bool {
        false
    }

    /// Signs again what the leader itself can sign.
    fn sign(&mut self, _den: &mut Den<'_>) {}
}

impl Message for LeaderNotice {
    fn kind(&self) -> Kind {
        match self {
            LeaderNotice::Claim(_) => Kind::Claim,
            LeaderNotice::PastClaim(_) => Kind::PastClaim,
            LeaderNotice::Snapshot { .. } => Kind::List,
            LeaderNotice::HeartbeatAnswer { .. } => Kind::Heartbeat,
            LeaderNotice::Wanted(_) => Kind::Repair,
            LeaderNotice::Ended { .. } => Kind::End,
            LeaderNotice::Asked { .. } => Kind::Vote,
            #[allow(unreachable_patterns)]
            _ => Kind::Other,
        }
    }

    fn alter(&mut self, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> bool {
        match self {
            LeaderNotice::Claim(claim) | LeaderNotice::PastClaim(claim) => alter_claim(claim, den, dice, memory),
            LeaderNotice::Snapshot { view, entries, last, .. } => match dice.below(4) {
                0 => *last = !*last,
                1 => *view = memory.view(dice).map_or(*view, |other| other.digest),
                2 => drop(entries.pop()),
                _ => entries.reverse(),
            },
            LeaderNotice::HeartbeatAnswer { view, .. } => match memory.view(dice) {
                Some(other) if dice.chance(700) => *view = other,
                _ => return false,
            },
            LeaderNotice::Ended { cause: told, epoch } => {
                *told = cause(dice);
                *epoch = Epoch(epoch.0 + dice.below(3));
            }
            _ => return false,
        }
        true
    }

    fn pad(&mut self, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> bool {
        match self {
            LeaderNotice::Claim(claim) | LeaderNotice::PastClaim(claim) => {
                pad_changes(&mut claim.changes, den, dice, memory);
            }
            LeaderNotice::Snapshot { entries, .. } => entries.extend(memory.entry(den, dice)),
            _ => return false,
        }
        true
    }

    fn sign(&mut self, den: &mut Den<'_>) {
        if let LeaderNotice::Claim(claim) | LeaderNotice::PastClaim(claim) = self {
            sign_claim(claim, den);
        }
    }
}

/// Statement and share are those of whatever the claim says now.
fn sign_claim(claim: &mut ViewClaim, den: &mut Den<'_>) {
    claim.statement = den.statement(claim.view, claim.refreshes);
    let point = view_point(den.group, den.group.session(), claim.view, claim.refreshes);
    let share = den.secrets().group_share.clone();
    claim.share = share.evaluate(&point, &mut den.dice.0).to_bytes();
}

fn alter_claim(claim: &mut ViewClaim, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) {
    match dice.below(9) {
        0 => claim.number = claim.number.saturating_add(dice.below(5)).saturating_sub(2),
        1 => claim.view.epoch = Epoch(claim.view.epoch.0.saturating_add(dice.below(4)).saturating_sub(1)),
        2 => claim.view = memory.view(dice).unwrap_or(claim.view),
        3 => claim.refreshes = claim.refreshes.saturating_add(dice.below(3)).saturating_sub(1),
        4 => claim.base = memory.view(dice).map_or(Base::Omitted, |view| Base::View(view.digest)),
        5 => claim.base = if dice.chance(500) { Base::Empty } else { Base::Omitted },
        6 => drop(claim.changes.pop()),
        7 => {
            for change in &mut claim.changes {
                if let Change::Removed(_, told) = change {
                    *told = cause(dice);
                }
            }
        }
        _ => claim.share = dice.bytes(),
    }
    if dice.chance(600) {
        sign_claim(claim, den);
    }
}

impl Message for PeerMessage {
    fn kind(&self) -> Kind {
        match self {
            PeerMessage::Proposals(_) => Kind::Proposals,
            PeerMessage::Status(_) | PeerMessage::Buckets(_) => Kind::Status,
            #[allow(unreachable_patterns)]
            _ => Kind::Other,
        }
    }

    fn alter(&mut self, den: &mut Den<'_>, dice: &mut Dice, _memory: &mut Memory) -> bool {
        match self {
            PeerMessage::Proposals(list) => {
                let place = dice.index(list.len());
                list.get_mut(place).is_some_and(|proposal| {
                    alter_proposal(proposal, den, dice);
                    true
                })
            }
            _ => false,
        }
    }

    fn pad(&mut self, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> bool {
        let PeerMessage::Proposals(list) = self else { return false };
        let many = if dice.chance(100) { dice.below(INVENTED_MAX) } else { dice.below(3) };
        for _ in 0..=many {
            let Some(entry) = memory.entry(den, dice) else { continue };
            let operation = match dice.below(4) {
                0 => Operation::Join(entry),
                1 => Operation::Refresh(1 + dice.below(6)),
                _ => Operation::Remove(entry.id, cause(dice)),
            };
            list.push(signed(den, operation, dice.chance(300)));
        }
        list.truncate(PROPOSALS_MAX);
        true
    }

    fn sign(&mut self, den: &mut Den<'_>) {
        if let PeerMessage::Proposals(list) = self {
            for proposal in list {
                *proposal = signed(den, proposal.operation.clone(), proposal.accepted);
            }
        }
    }
}

/// A proposal in the hacked leader's own name.
pub fn signed(den: &Den<'_>, operation: Operation, accepted: bool) -> SignedProposal {
    SignedProposal::sign(&den.secrets().signing, den.me, den.group.session(), operation, accepted)
}

fn alter_proposal(proposal: &mut SignedProposal, den: &mut Den<'_>, dice: &mut Dice) {
    let step = |number: u64, dice: &mut Dice| number.saturating_add(dice.below(4)).saturating_sub(1);
    match &mut proposal.operation {
        Operation::Join(entry) => match dice.below(3) {
            0 => *entry = den.ghost(entry.id.user.clone(), entry.id.incarnation.0),
            1 => entry.id.incarnation = Incarnation(step(entry.id.incarnation.0, dice)),
            _ => proposal.accepted = !proposal.accepted,
        },
        Operation::Remove(member, told) => match dice.below(3) {
            0 => *told = cause(dice),
            1 => member.incarnation = Incarnation(step(member.incarnation.0, dice)),
            _ => proposal.accepted = !proposal.accepted,
        },
        Operation::Refresh(count) => *count = step(*count, dice),
        Operation::Session(rank) => *rank = step(*rank, dice),
    }
    *proposal = signed(den, proposal.operation.clone(), proposal.accepted);
}

impl Message for LoginAnswer {
    fn kind(&self) -> Kind {
        Kind::Login
    }

    fn alter(&mut self, _den: &mut Den<'_>, dice: &mut Dice, _memory: &mut Memory) -> bool {
        match self {
            LoginAnswer::Evaluated { evaluation, .. } if dice.chance(500) => *evaluation = dice.bytes(),
            _ => return false,
        }
        true
    }
}

/// What a hacked member asks of leaders: only blind changes, and no memory of a leader's.
pub fn kind_of_request(request: &MemberRequest) -> Kind {
    match request {
        MemberRequest::Heartbeat { .. } => Kind::Heartbeat,
        MemberRequest::Claim { .. } => Kind::Claim,
        MemberRequest::PastClaim(_) => Kind::PastClaim,
        MemberRequest::Snapshot { .. } => Kind::List,
        MemberRequest::Repair(_) => Kind::Repair,
        MemberRequest::Leave => Kind::End,
        MemberRequest::Vote { .. } => Kind::Vote,
        #[allow(unreachable_patterns)]
        _ => Kind::Other,
    }
}
