//! Honest leaders under one hacked leader, a hostile member and a hostile wire.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use ringfort_protocol::codec::encode;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::delivery::{Channel, RepairRequest, StreamKey};
use ringfort_protocol::ids::{Seq, ViewDigest, ViewId};
use ringfort_protocol::leader::{Command, Step};
use ringfort_protocol::policy::Service;
use ringfort_protocol::unheard::{Doubt, Unheard};
use ringfort_protocol::view::{Cause, MemberEntry};
use ringfort_protocol::wire::{self, MemberRequest, PeerMessage};
use ringfort_protocol::{Epoch, Incarnation, LeaderId, MemberId};

use crate::fixture::{fixture, leader, rng, user};
use crate::meter::in_use;
use crate::mutate::Alteration;
use crate::stage::{Route, Stage};

/// Operations of one input.
const OPS_MAX: usize = 48;
/// How much honest state may grow under attack, besides what one input byte may leave behind.
const GROWTH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One act of the attacker, of an operator or of time.
#[derive(Arbitrary, Debug)]
enum Op<'a> {
    /// The hacked leader sends bytes.
    PeerBytes(u8, &'a [u8]),
    /// The hacked leader votes.
    Votes(u8, Vec<Vote>),
    /// The hacked leader signs a vote in another's name, or says another's words.
    Forge(u8, u8, Vote),
    /// The hacked leader compares states; or it says whom it does not hear, takes for lost, or has found.
    Status(u8, u8),
    /// The same by class, or by too few or too many.
    Buckets(u8, u8, u16),
    /// A true frame between leaders again, altered or not, from the hacked leader or on the wire.
    ReplayPeer(u16, u8, bool, Alteration),
    /// Links between leaders come and go.
    PeerUp(u8, u8),
    PeerDown(u8, u8),
    /// Eve, who is registered.
    EveLinks(u8),
    EveSends(u8, &'a [u8]),
    EveLogsIn(u8, u8),
    EveLogsInEverywhere(u8),
    EveSeals(u8, &'a [u8]),
    EveAsks(u8, Request),
    EveRelays(u8, u16, Alteration),
    EveLeaves(u8),
    /// A true frame of Ana again, altered or not, on her own link.
    Inject(u16, Alteration),
    /// Ana's link to a leader is made anew.
    AnaLinks(u8),
    /// Ana says something.
    AnaSays,
    /// Time passes.
    Pass(u16),
    /// Operators of honest leaders.
    ExpelEve(u8),
    TakeEveBack(u8),
    Refresh(u8),
}

#[derive(Arbitrary, Debug)]
enum Request {
    Heartbeat([u8; 16], [u8; 16], Option<(u64, [u8; 32])>),
    Claim(Option<[u8; 32]>),
    PastClaim([u8; 32]),
    Snapshot(Option<[u8; 32]>, u8),
    Repair(u8, u8, u64, u8),
    Leave,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
struct Vote {
    who: u8,
    removes: u8,
    incarnation: Number,
    accepted: bool,
}

/// Small numbers, and now and then any.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Number {
    Small(u8),
    Medium(u16),
    Any(u64),
    FromTheEnd(u8),
}

impl Number {
    fn value(self) -> u64 {
        match self {
            Number::Small(n) => u64::from(n % 8),
            Number::Medium(n) => n.into(),
            Number::Any(n) => n,
            Number::FromTheEnd(n) => u64::MAX - u64::from(n),
        }
    }
}

impl Vote {
    fn operation(self, stage: &Stage) -> Operation {
        let name = ["ana", "bo", "cy", "eve", "zoe"][usize::from(self.who) % 5];
        let id = MemberId { user: user(name), incarnation: Incarnation(self.incarnation.value()) };
        match self.removes % 6 {
            0 => Operation::Remove(id, Cause::Left),
            1 => Operation::Remove(id, Cause::Lost),
            2 => Operation::Remove(id, Cause::Expelled),
            3 if self.who >= 128 => Operation::Session(self.incarnation.value()),
            3 => Operation::Refresh(self.incarnation.value()),
            4 => Operation::Join(entry(id, self.who / 5)),
            _ => stage.entry_of(0).map_or(Operation::Refresh(1), Operation::Join),
        }
    }

    fn signed(self, stage: &Stage, name: LeaderId) -> SignedProposal {
        let key = &fixture().secrets[3].signing;
        SignedProposal::sign(key, name, fixture().group.session(), self.operation(stage), self.accepted)
    }
}

/// Some keys under any name: one of a few pairs.
fn entry(id: MemberId, which: u8) -> MemberEntry {
    let keys = Identity::generate(user("keys"), Incarnation(1), &mut rng(u64::from(which % 4))).entry();
    MemberEntry { id, ..keys }
}

/// Three honest leaders, with Ana in the group, take anything; in the end Bo joins, and the two talk.
pub fn leader_ops(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let ops: Vec<Op<'_>> = input.arbitrary_iter().map(|all| all.flatten().take(OPS_MAX).collect()).unwrap_or_default();
    let honest: Vec<LeaderId> = Stage::honest().collect();
    let mut stage = Stage::new(true);
    let ana = stage.sit("ana");
    stage.until("Ana is in", &honest, Duration::from_secs(10), |s| s.sees(ana, &["ana"]));
    let before = in_use();
    for op in &ops {
        act(&mut stage, ana, op);
    }
    let grown = in_use().saturating_sub(before);
    let allowed = GROWTH_BYTES_MAX + 64 * data.len();
    assert!(grown <= allowed, "honest nodes keep {grown} bytes of {} of input", data.len());
    honest_work(&mut stage, &honest, ana);
}

/// The attack is over, or goes on in silence: links are made again, somebody joins, and everybody is heard.
fn honest_work(stage: &mut Stage, honest: &[LeaderId], ana: usize) {
    stage.link_all_peers();
    for id in honest {
        stage.link(ana, *id);
    }
    let bo = stage.sit("bo");
    stage.until("Bo is in, and both know", honest, Duration::from_secs(40), |s| {
        s.sees(ana, &["ana", "bo"])
            && s.sees(bo, &["ana", "bo"])
            && s.seats[ana].member.view() == s.seats[bo].member.view()
    });
    assert!(stage.says(ana, "hello Bo") && stage.says(bo, "hello Ana"), "who is in the group may speak");
    stage.until("each hears the other", honest, Duration::from_secs(20), |s| {
        s.heard(bo, "hello Bo") && s.heard(ana, "hello Ana")
    });
}

fn any_leader(number: u8) -> LeaderId {
    leader(number % 4 + 1)
}

fn honest_leader(number: u8) -> LeaderId {
    leader(number % 3 + 1)
}

fn act(stage: &mut Stage, ana: usize, op: &Op<'_>) {
    match op {
        Op::PeerBytes(..) | Op::Votes(..) | Op::Forge(..) | Op::Status(..) | Op::Buckets(..) => as_leader(stage, op),
        Op::ReplayPeer(which, to, as_hostile, alteration) => {
            let frames = stage.true_frames(|route| matches!(route, Route::Peer(..)));
            let Some((Route::Peer(from, _), frame)) = pick(&frames, *which) else { return };
            let from = if *as_hostile { Stage::hostile() } else { *from };
            let to = honest_leader(*to);
            if from != to {
                stage.deliver(&Route::Peer(from, to), &alteration.of(frame));
                stage.pump();
            }
        }
        Op::PeerUp(a, b) | Op::PeerDown(a, b) => {
            let (a, b) = (honest_leader(*a), any_leader(*b));
            let up = matches!(op, Op::PeerUp(..));
            stage.on_leader(a, |core, _| {
                if up && a != b {
                    return core.on_peer_up(b);
                }
                core.on_peer_down(b);
                Step::default()
            });
            stage.pump();
        }
        Op::Inject(which, alteration) => {
            let frames = stage.true_frames(|route| matches!(route, Route::Up(seat, _) if *seat == ana));
            let Some((route, frame)) = pick(&frames, *which) else { return };
            stage.deliver(&route.clone(), &alteration.of(frame));
            stage.pump();
        }
        Op::AnaLinks(to) => stage.link(ana, honest_leader(*to)),
        Op::AnaSays => drop(stage.says(ana, "something")),
        Op::Pass(ms) => stage.pass(Duration::from_millis(u64::from(*ms % 2_000))),
        Op::ExpelEve(at) => {
            stage.orders_out("eve");
            stage.command(honest_leader(*at), Command::Expel(user("eve")));
        }
        Op::TakeEveBack(at) => stage.takes_eve_back(honest_leader(*at)),
        Op::Refresh(at) => stage.command(honest_leader(*at), Command::Refresh),
        _ => as_eve(stage, op),
    }
}

fn unheard(stage: &Stage, what: u8) -> Unheard {
    let name = if what & 1 == 0 { "ana" } else { "bo" };
    let stay = stage.entry_of(0).map_or(Incarnation(1), |entry| entry.id.incarnation);
    let stay = MemberId { user: user(name), incarnation: stay };
    let life = if what & 2 == 0 { u64::MAX } else { u64::from(what & 4) / 4 };
    let doubt = Doubt { stay: stay.clone(), life, lost: what & 8 == 0, found: what & 16 != 0 };
    let members = if what & 32 == 0 { vec![stay] } else { Vec::new() };
    let key = &fixture().secrets[3].signing;
    Unheard::sign(key, Stage::hostile(), fixture().group.session(), stage.millis(), members, vec![doubt])
}

fn as_leader(stage: &mut Stage, op: &Op<'_>) {
    let hostile = Stage::hostile();
    let (to, frame) = match op {
        Op::PeerBytes(to, bytes) => (to, Bytes::copy_from_slice(bytes)),
        Op::Votes(to, votes) => {
            let votes = votes.iter().take(8).map(|vote| vote.signed(stage, hostile)).collect();
            (to, wire::plain(&PeerMessage::Proposals(votes)))
        }
        Op::Forge(to, name, vote) => {
            let vote = vote.signed(stage, any_leader(*name));
            (to, wire::plain(&PeerMessage::Proposals(vec![vote])))
        }
        Op::Status(to, fill) if *fill >= 128 => (to, wire::plain(&PeerMessage::Unheard(unheard(stage, *fill)))),
        Op::Status(to, fill) => (to, wire::plain(&PeerMessage::Status([*fill; 32]))),
        Op::Buckets(to, fill, count) => {
            let count = if *count % 2 == 0 { wire::BUCKETS } else { usize::from(*count % 512) };
            (to, wire::plain(&PeerMessage::Buckets(vec![[*fill; 32]; count])))
        }
        _ => return,
    };
    stage.deliver(&Route::Peer(hostile, honest_leader(*to)), &frame);
    stage.pump();
}

fn as_eve(stage: &mut Stage, op: &Op<'_>) {
    match op {
        Op::EveLinks(at) => stage.eve_links(honest_leader(*at)),
        Op::EveSends(at, bytes) => stage.eve_sends(honest_leader(*at), &Bytes::copy_from_slice(bytes)),
        Op::EveLogsIn(at, stay) => stage.eve_logs_in(honest_leader(*at), u64::from(*stay)),
        Op::EveLogsInEverywhere(stay) => {
            for id in Stage::honest() {
                stage.eve_logs_in(id, u64::from(*stay % 8));
            }
        }
        Op::EveSeals(at, payload) => stage.eve_seals(honest_leader(*at), payload),
        Op::EveAsks(at, request) => {
            let id = honest_leader(*at);
            let request = request.made(stage.leader(id).view());
            stage.eve_seals(id, &encode(&request));
        }
        Op::EveRelays(at, which, alteration) => {
            let frames = stage.true_frames(|route| matches!(route, Route::Up(..)));
            let Some((_, frame)) = pick(&frames, *which) else { return };
            stage.eve_sends(honest_leader(*at), &alteration.of(frame));
        }
        Op::EveLeaves(at) => stage.eve_leaves(honest_leader(*at)),
        _ => {}
    }
}

impl Request {
    fn made(&self, view: ViewId) -> MemberRequest {
        match self {
            Request::Heartbeat(challenge, answer, installed) => MemberRequest::Heartbeat {
                challenge: *challenge,
                answer: *answer,
                installed: installed.map(|(epoch, digest)| ViewId { epoch: Epoch(epoch), digest: ViewDigest(digest) }),
            },
            Request::Claim(have) => MemberRequest::Claim { have: have.map(ViewDigest) },
            Request::PastClaim(digest) => MemberRequest::PastClaim(ViewDigest(*digest)),
            Request::Snapshot(of, after) => MemberRequest::Snapshot {
                view: of.map_or(view.digest, ViewDigest),
                after: ["ana", "bo", "eve"].get(usize::from(*after)).map(|name| user(name)),
            },
            Request::Repair(who, channel, first, span) => {
                let sender = MemberId { user: user(["ana", "eve"][usize::from(who % 2)]), incarnation: Incarnation(1) };
                let channel = match channel % 4 {
                    0 => Channel::Group(Service::BestEffort),
                    1 => Channel::Group(Service::Reliable),
                    2 => Channel::Group(Service::Fifo),
                    _ => Channel::Private(user("eve")),
                };
                let range = (Seq(*first), Seq(first.saturating_add((*span).into())));
                RepairRequest::new(StreamKey { sender, channel }, range.0, range.1)
                    .map_or(MemberRequest::Leave, MemberRequest::Repair)
            }
            Request::Leave => MemberRequest::Leave,
        }
    }
}

/// One of what there is.
pub fn pick<T>(items: &[T], which: u16) -> Option<&T> {
    items.get(usize::from(which).checked_rem(items.len())?)
}
