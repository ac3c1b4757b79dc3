//! What a hacked leader says of its own accord.

use ringfort_protocol::coordination::Operation;
use ringfort_protocol::delivery::{Channel, RepairRequest, StreamKey};
use ringfort_protocol::ids::Seq;
use ringfort_protocol::keys::{Base, ViewClaim};
use ringfort_protocol::policy::Service;
use ringfort_protocol::time::Time;
use ringfort_protocol::unheard::{Doubt, Unheard};
use ringfort_protocol::view::{Cause, Change, MemberEntry, MemberSet, ViewHasher};
use ringfort_protocol::wire::{BUCKETS, LeaderNotice, PROPOSALS_MAX, PeerMessage};
use ringfort_protocol::{Epoch, Incarnation, MemberId, ViewDigest, ViewId};

use super::fields::{Memory, pad_changes, signed};
use super::temper::Idea;
use crate::dice::Dice;
use crate::strategy::{Den, Lie, Vice, claim};

/// How often one idea says what it has to say.
const INSISTS: usize = 20;
/// Entries of an invented list.
const LIST: u64 = 300;

/// Has an idea.
pub fn have(idea: Idea, den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> Vec<Lie> {
    match idea {
        Idea::Classic => classic(den, dice),
        Idea::Foresee => foresee(den, dice, memory),
        Idea::Wanted => wanted(den, dice),
        Idea::PastViews => past_views(den, dice),
        Idea::Compare => {
            let buckets = PeerMessage::Buckets(vec![dice.bytes(); BUCKETS]);
            to_peers(den, dice, &buckets, INSISTS)
        }
        Idea::Proposals => {
            let nobody: MemberId = MemberId { user: "nobody".parse().expect("a name"), incarnation: Incarnation(1) };
            let removal = |stay: u64| {
                let member = MemberId { incarnation: Incarnation(stay), ..nobody.clone() };
                signed(den, Operation::Remove(member, Cause::Left), false)
            };
            let list = (2..2 + PROPOSALS_MAX as u64).map(removal).collect();
            to_peers(den, dice, &PeerMessage::Proposals(list), INSISTS)
        }
        Idea::Lost => {
            let lost = |entry: &MemberEntry| signed(den, Operation::Remove(entry.id.clone(), Cause::Lost), false);
            let list = den.members.iter().map(lost).collect();
            let mut lies = to_peers(den, dice, &PeerMessage::Proposals(list), 1);
            let unheard = unheard(den, dice);
            lies.extend(to_peers(den, dice, &unheard, 1));
            lies
        }
        Idea::LongList => long_list(den, dice, memory),
    }
}

/// That it hears nobody, takes some for lost, and says of others that they are found.
fn unheard(den: &Den<'_>, dice: &mut Dice) -> PeerMessage {
    let members: Vec<MemberId> = den.members.iter().map(|entry| entry.id.clone()).collect();
    let doubt = |stay: &MemberId| {
        let life = if dice.chance(300) { u64::MAX } else { dice.below(3) };
        Doubt { stay: stay.clone(), life, lost: dice.chance(700), found: dice.chance(300) }
    };
    let doubts = members.iter().map(doubt).collect();
    let number = u64::try_from(den.now.since(Time::ZERO).as_millis()).unwrap_or(u64::MAX);
    let key = &den.secrets().signing;
    PeerMessage::Unheard(Unheard::sign(key, den.me, den.group.session(), number, members, doubts))
}

/// To all leaders, or to some.
fn to_peers(den: &Den<'_>, dice: &mut Dice, message: &PeerMessage, times: usize) -> Vec<Lie> {
    let all = dice.chance(500);
    let some = den.others().into_iter().filter(|_| all || dice.chance(500));
    some.flat_map(|leader| (0..times).map(move |_| Lie::Peer(leader, message.clone()))).collect()
}

fn classic(den: &mut Den<'_>, dice: &mut Dice) -> Vec<Lie> {
    let vices = [
        Vice::InventJoins,
        Vice::InventRemovals,
        Vice::Refreshes,
        Vice::ForgeProposals,
        Vice::ForgeEnds,
        Vice::Garbage,
    ];
    let strategy = dice.pick(&vices).and_then(|vice| vice.strategy());
    strategy.map(|mut strategy| strategy.tick(den)).unwrap_or_default()
}

/// The next view as far as proposals that were heard say, claimed with something added that the digest does not see.
fn foresee(den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> Vec<Lie> {
    let heard = dice.pick(den.heard).map(|proposal| proposal.operation.clone());
    let refreshes = den.refreshes;
    let (mut changes, refreshes) = match heard {
        Some(Operation::Join(entry)) => (vec![Change::Added(entry)], refreshes),
        Some(Operation::Remove(member, cause)) => (vec![Change::Removed(member.user, cause)], refreshes),
        _ => (Vec::new(), refreshes + 1),
    };
    let mut set: MemberSet = den.members.clone();
    changes.iter().for_each(|change| set.apply(change));
    let epoch = Epoch(den.view.epoch.0 + 1 + dice.below(2));
    let view = ViewHasher::new(den.group, den.group.session()).view_id(epoch, refreshes, set.hash());
    if dice.chance(700) {
        let members: Vec<MemberEntry> = den.members.iter().cloned().collect();
        changes.extend(dice.pick(&members).cloned().map(Change::Added));
    } else {
        pad_changes(&mut changes, den, dice, memory);
    }
    memory.claims += 1;
    let base = Base::View(den.view.digest);
    let lie = ViewClaim { base, ..claim(den, memory.claims, view, refreshes, changes) };
    den.links.iter().map(|(link, _)| Lie::Notice(*link, LeaderNotice::Claim(lie.clone()))).collect()
}

fn wanted(den: &Den<'_>, dice: &mut Dice) -> Vec<Lie> {
    let mut lies = Vec::new();
    for (link, entry) in &den.links {
        for _ in 0..INSISTS {
            let services = [Service::Fifo, Service::Reliable, Service::BestEffort];
            let channel = Channel::Group(*dice.pick(&services).expect("a fixed list"));
            let stream = StreamKey { sender: entry.id.clone(), channel };
            let first = 1 + dice.below(20);
            let request = RepairRequest::new(stream, Seq(first), Seq(first + dice.below(200)));
            lies.extend(request.map(|request| Lie::Notice(*link, LeaderNotice::Wanted(request))));
        }
    }
    lies
}

fn past_views(den: &mut Den<'_>, dice: &mut Dice) -> Vec<Lie> {
    let mut lies = Vec::new();
    for _ in 0..INSISTS {
        let epoch = Epoch(den.view.epoch.0.saturating_sub(dice.below(3)));
        let view = ViewId { epoch, digest: ViewDigest(dice.bytes()) };
        let lie = claim(den, 1 + dice.below(100), view, den.refreshes, Vec::new());
        lies.extend(den.links.iter().map(|(link, _)| Lie::Notice(*link, LeaderNotice::PastClaim(lie.clone()))));
    }
    lies
}

/// One entry is as good as many: what costs the receiver is that each is hashed.
fn long_list(den: &mut Den<'_>, dice: &mut Dice, memory: &mut Memory) -> Vec<Lie> {
    let ghost = den.ghost("ghost".parse().expect("a name"), 1);
    let named = |number: u64| {
        let user = format!("ghost-{number}").parse().expect("a name");
        Change::Added(MemberEntry { id: MemberId { user, incarnation: Incarnation(1) }, ..ghost.clone() })
    };
    let list: Vec<Change> = (0..LIST).map(named).collect();
    let mut lies = Vec::new();
    for _ in 0..4 {
        memory.claims += 1;
        let view = ViewId { epoch: Epoch(den.view.epoch.0 + memory.claims), digest: ViewDigest(dice.bytes()) };
        let lie = claim(den, memory.claims, view, den.refreshes, list.clone());
        lies.extend(den.links.iter().map(|(link, _)| Lie::Notice(*link, LeaderNotice::Claim(lie.clone()))));
    }
    lies
}
