//! An honest member under one hacked leader and a hostile wire.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use ringfort_crypto::sign::Signature;
use ringfort_protocol::data::Identity;
use ringfort_protocol::delivery::{Channel, RepairRequest, StreamKey};
use ringfort_protocol::ids::{Seq, ViewDigest, ViewId};
use ringfort_protocol::keys::{Base, ViewClaim};
use ringfort_protocol::leader::Command;
use ringfort_protocol::login::WireSignature;
use ringfort_protocol::policy::Service;
use ringfort_protocol::statement::Statement;
use ringfort_protocol::view::{Cause, Change};
use ringfort_protocol::wire::LeaderNotice;
use ringfort_protocol::{Epoch, Incarnation, LeaderId, MemberId};

use crate::fixture::{fixture, leader, rng, user};
use crate::leader_ops::pick;
use crate::meter::in_use;
use crate::mutate::Alteration;
use crate::stage::{Route, Stage};

/// Operations of one input.
const OPS_MAX: usize = 48;
/// How much honest state may grow under attack, besides what one input byte may leave behind.
const GROWTH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One act of the attacker, of a member or of time.
#[derive(Arbitrary, Debug)]
enum Op<'a> {
    /// The hacked leader says this to Ana, under the true session key.
    Claim(Claim, bool),
    Snapshot(View, u8, Vec<u8>, bool),
    HeartbeatAnswer([u8; 16], [u8; 16], View),
    Wanted(u8, u64, u8),
    Ended(u8, u64),
    /// Bytes on a link of Ana, from its leader's end.
    Bytes(u8, &'a [u8]),
    /// A true frame to Ana again, altered or not, on the link of any leader.
    Replay(u16, u8, Alteration),
    /// A true frame to anybody else, to Ana.
    Misdirect(u16, u8, Alteration),
    /// Links come and go.
    AnaLinks(u8),
    AnaLosesLink(u8),
    /// Honest members talk.
    AnaSays,
    AnaWhispers,
    BoSays,
    BoWhispers,
    /// A new key is asked for at an honest leader.
    Refresh(u8),
    /// Eve comes and goes, so that views change.
    EveLogsInEverywhere(u8),
    ExpelEve(u8),
    /// Time passes.
    Pass(u16),
}

/// A view: the true one, one beside it, or any.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum View {
    True,
    Epoch(i8),
    Digest([u8; 32], u8),
    FarAhead,
}

#[derive(Arbitrary, Debug)]
struct Claim {
    number: u8,
    far: bool,
    view: View,
    refreshes: u8,
    base: u8,
    changes: Vec<(u8, u8)>,
    share: Option<[u8; 16]>,
}

impl View {
    fn made(self, truth: ViewId) -> ViewId {
        match self {
            View::True => truth,
            View::Epoch(by) => ViewId { epoch: Epoch(truth.epoch.0.saturating_add_signed(by.into())), ..truth },
            View::Digest(digest, by) => {
                ViewId { epoch: Epoch(truth.epoch.0 + u64::from(by % 4)), digest: ViewDigest(digest) }
            }
            View::FarAhead => ViewId { epoch: Epoch(u64::MAX), ..truth },
        }
    }
}

impl Claim {
    fn made(&self, truth: ViewId) -> ViewClaim {
        let mut share = [0; 128];
        share.iter_mut().zip(self.share.unwrap_or_default().into_iter().cycle()).for_each(|(to, from)| *to = from);
        let base = match self.base % 4 {
            0 => Base::Empty,
            1 => Base::Omitted,
            2 => Base::View(truth.digest),
            _ => Base::View(ViewDigest([self.base; 32])),
        };
        let change = |(who, what): &(u8, u8)| {
            let name = user(["ana", "bo", "cy", "eve", "zoe"][usize::from(*who) % 5]);
            match what % 4 {
                0 => Change::Removed(name, Cause::Left),
                1 => Change::Removed(name, Cause::Expelled),
                _ => {
                    let stay = Incarnation(u64::from(what / 16));
                    Change::Added(Identity::generate(name, stay, &mut rng(u64::from(what % 3))).entry())
                }
            }
        };
        let view = self.view.made(truth);
        ViewClaim {
            number: if self.far { u64::MAX - u64::from(self.number) } else { self.number.into() },
            view,
            refreshes: self.refreshes.into(),
            base,
            changes: self.changes.iter().take(8).map(change).collect(),
            share,
            statement: self.statement(view),
        }
    }
}

impl Claim {
    /// Leader 4's own signature, or none that holds.
    fn statement(&self, view: ViewId) -> Statement {
        let at_ms = u64::from(self.number);
        let fixture = fixture();
        match fixture.secrets.last().filter(|_| !self.far) {
            Some(secrets) => Statement::sign(secrets, &fixture.group, view, self.refreshes.into(), at_ms),
            None => Statement { at_ms, signature: WireSignature(Signature::from_bytes([self.base; 64])) },
        }
    }
}

/// Ana, in the group with Bo and four leaders, takes anything; in the end Cy joins, and all hear each other.
pub fn member_ops(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let ops: Vec<Op<'_>> = input.arbitrary_iter().map(|all| all.flatten().take(OPS_MAX).collect()).unwrap_or_default();
    let all: Vec<LeaderId> = LeaderId::all(4).collect();
    let mut stage = Stage::new(false);
    let (ana, bo) = (stage.sit("ana"), stage.sit("bo"));
    stage.until("Ana and Bo are in", &all, Duration::from_secs(10), |s| {
        s.sees(ana, &["ana", "bo"]) && s.sees(bo, &["ana", "bo"])
    });
    let before = in_use();
    for op in &ops {
        act(&mut stage, ana, bo, op);
    }
    let grown = in_use().saturating_sub(before);
    let allowed = GROWTH_BYTES_MAX + 64 * data.len();
    assert!(grown <= allowed, "honest nodes keep {grown} bytes of {} of input", data.len());
    honest_work(&mut stage, ana, bo);
}

/// What the attacker did to the links is over; the hacked leader keeps what it has reached.
fn honest_work(stage: &mut Stage, ana: usize, bo: usize) {
    let honest: Vec<LeaderId> = Stage::honest().collect();
    for id in &honest {
        stage.link(ana, *id);
    }
    let cy = stage.sit("cy");
    let names = ["ana", "bo", "cy"];
    stage.until("Cy is in, and all know", &honest, Duration::from_secs(40), |s| {
        let view = |seat: usize| s.seats[seat].member.view();
        [ana, bo, cy].iter().all(|seat| s.sees(*seat, &names)) && view(ana) == view(bo) && view(bo) == view(cy)
    });
    for (seat, text) in [(ana, "Ana here"), (bo, "Bo here"), (cy, "Cy here")] {
        assert!(stage.says(seat, text), "who is in the group may speak");
    }
    stage.until("all hear each other", &honest, Duration::from_secs(20), |s| {
        s.heard(ana, "Bo here") && s.heard(ana, "Cy here") && s.heard(bo, "Ana here") && s.heard(cy, "Ana here")
    });
}

fn act(stage: &mut Stage, ana: usize, bo: usize, op: &Op<'_>) {
    match op {
        Op::Bytes(from, bytes) => to_ana(stage, ana, leader(from % 4 + 1), &Bytes::copy_from_slice(bytes)),
        Op::Replay(which, from, alteration) => {
            let link = |route: &Route| matches!(route, Route::Down(id, link) if stage.link_of(ana, *id) == Some(*link));
            let frames = stage.true_frames(link);
            let Some((Route::Down(id, _), frame)) = pick(&frames, *which) else { return };
            let id = if *from < 128 { *id } else { leader(from % 4 + 1) };
            to_ana(stage, ana, id, &alteration.of(frame));
        }
        Op::Misdirect(which, from, alteration) => {
            let frames = stage.true_frames(|_| true);
            let Some((_, frame)) = pick(&frames, *which) else { return };
            to_ana(stage, ana, leader(from % 4 + 1), &alteration.of(frame));
        }
        Op::AnaLinks(to) => stage.link(ana, leader(to % 4 + 1)),
        Op::AnaLosesLink(to) => {
            let id = leader(to % 4 + 1);
            if let Some(link) = stage.link_of(ana, id) {
                stage.cut(id, link);
            }
        }
        Op::AnaSays => drop(stage.says(ana, "from Ana")),
        Op::BoSays => drop(stage.says(bo, "from Bo")),
        Op::AnaWhispers => stage.whispers(ana, "bo", "to Bo"),
        Op::BoWhispers => stage.whispers(bo, "ana", "to Ana"),
        Op::Refresh(at) => stage.command(leader(at % 3 + 1), Command::Refresh),
        Op::EveLogsInEverywhere(stay) => {
            for id in LeaderId::all(4) {
                stage.eve_logs_in(id, u64::from(*stay % 4));
            }
        }
        Op::ExpelEve(at) => {
            stage.orders_out("eve");
            stage.command(leader(at % 3 + 1), Command::Expel(user("eve")));
        }
        Op::Pass(ms) => stage.pass(Duration::from_millis(u64::from(*ms % 2_000))),
        _ => {
            if let Some(notice) = notice(stage, op) {
                says(stage, ana, &notice);
            }
        }
    }
}

/// What the hacked leader says.
fn notice(stage: &mut Stage, op: &Op<'_>) -> Option<LeaderNotice> {
    let truth = stage.leader(leader(1)).view();
    Some(match op {
        Op::Claim(claim, past) if *past => LeaderNotice::PastClaim(claim.made(truth)),
        Op::Claim(claim, _) => LeaderNotice::Claim(claim.made(truth)),
        Op::Snapshot(view, after, names, last) => LeaderNotice::Snapshot {
            view: view.made(truth).digest,
            after: ["ana", "bo"].get(usize::from(*after)).map(|name| user(name)),
            entries: names.iter().take(8).map(|which| some_entry(*which)).collect(),
            last: *last,
        },
        Op::HeartbeatAnswer(answer, challenge, view) => {
            LeaderNotice::HeartbeatAnswer { answer: *answer, challenge: *challenge, view: view.made(truth) }
        }
        Op::Wanted(channel, first, span) => {
            let sender = MemberId { user: user("ana"), incarnation: Incarnation(1) };
            let channel = match channel % 3 {
                0 => Channel::Group(Service::Fifo),
                1 => Channel::Group(Service::Reliable),
                _ => Channel::Private(user("bo")),
            };
            let last = Seq(first.saturating_add((*span).into()));
            LeaderNotice::Wanted(RepairRequest::new(StreamKey { sender, channel }, Seq(*first), last)?)
        }
        Op::Ended(cause, epoch) => {
            let cause = [Cause::Left, Cause::Lost, Cause::Expelled, Cause::SessionOver][usize::from(cause % 4)];
            LeaderNotice::Ended { cause, epoch: Epoch(*epoch) }
        }
        _ => return None,
    })
}

fn some_entry(which: u8) -> ringfort_protocol::view::MemberEntry {
    let name = ["ana", "bo", "cy", "eve", "zoe"][usize::from(which) % 5];
    Identity::generate(user(name), Incarnation(u64::from(which / 64)), &mut rng(u64::from(which % 3))).entry()
}

/// The hacked leader seals a notice for Ana.
fn says(stage: &mut Stage, ana: usize, notice: &LeaderNotice) {
    let hostile = Stage::hostile();
    let Some(link) = stage.link_of(ana, hostile) else { return };
    if let Some(frame) = stage.leader(hostile).seal_for_testing_only(link, notice) {
        to_ana(stage, ana, hostile, &frame);
    }
}

fn to_ana(stage: &mut Stage, ana: usize, from: LeaderId, frame: &Bytes) {
    if let Some(link) = stage.link_of(ana, from) {
        stage.deliver(&Route::Down(from, link), frame);
        stage.pump();
    }
}
