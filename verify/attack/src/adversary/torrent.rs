//! A flood at full length and a set pace: well-formed, signed, and about nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringfort_protocol::codec::encode;
use ringfort_protocol::coordination::{BALLOTS_PER_SUBJECT_MAX, Operation, SignedProposal};
use ringfort_protocol::keys::{Base, ViewClaim, view_point};
use ringfort_protocol::view::{Cause, MemberEntry};
use ringfort_protocol::wire::{self, BUCKETS, LeaderNotice, PROPOSALS_MAX, PeerMessage, SNAPSHOT_ENTRIES_MAX};
use ringfort_protocol::{Epoch, Incarnation, LeaderId, LinkId, MemberId, Time, ViewDigest, ViewId};

use super::{Den, Lie, Vice};

/// What each link is sent in a second, bytes.
const BYTES_PER_S: usize = 10_000_000;
/// What is sent at once after a pause.
const BYTES_MAX: usize = 2_000_000;
/// The length of the longest frames.
const LONG_BYTES: usize = 1024 * 1024 - 1024;

/// Pours frames on the other leaders, invented lists on members, or both.
pub struct Torrent {
    leaders: bool,
    members: bool,
    /// Frames for leaders, by kind: a new link is sent the next kind.
    frames: Vec<(&'static str, Vec<Bytes>)>,
    lives: BTreeMap<LeaderId, usize>,
    linked: BTreeSet<LeaderId>,
    entries: Vec<MemberEntry>,
    number: u64,
    last: Option<Time>,
}

impl Torrent {
    /// On whom.
    pub fn new(leaders: bool, members: bool) -> Self {
        let (lives, linked) = (BTreeMap::new(), BTreeSet::new());
        Torrent {
            leaders,
            members,
            frames: Vec::new(),
            lives,
            linked,
            entries: Vec::new(),
            number: 1 << 32,
            last: None,
        }
    }

    /// What is made once, and sent again and again.
    fn prepare(&mut self, den: &mut Den<'_>) {
        if self.leaders && self.frames.is_empty() {
            let most = PROPOSALS_MAX as u64;
            let batches = (0..8).map(|batch| frame(votes(den, batch * most, most))).collect();
            let crowds = (0..8).map(|batch| frame(crowd(den, batch))).collect();
            let classes = vec![wire::plain(&PeerMessage::Buckets(vec![[7; 32]; BUCKETS]))];
            let one = votes(den, 0, 1);
            let each = encode(&one).len().max(1);
            let long = frame(one.iter().cycle().take(LONG_BYTES / each).cloned().collect());
            self.frames = vec![
                ("votes about nobody", batches),
                ("votes about many", crowds),
                ("classes", classes),
                ("long frames", vec![long]),
            ];
        }
        if self.members && self.entries.is_empty() {
            let one = den.ghost("nobody".parse().expect("a good name"), 1);
            let names = (0..SNAPSHOT_ENTRIES_MAX).filter_map(|n| format!("nobody{n:05}").parse().ok());
            self.entries =
                names.map(|user| MemberEntry { id: MemberId { user, ..one.id.clone() }, ..one.clone() }).collect();
        }
    }

    fn on_leaders(&mut self, den: &mut Den<'_>, bytes: usize, lies: &mut Vec<Lie>) {
        for to in den.others() {
            let life = self.lives.entry(to).or_default();
            *life += usize::from(!self.linked.contains(&to));
            let Some((what, frames)) = self.frames.get(life.saturating_sub(1) % self.frames.len().max(1)) else {
                continue;
            };
            let mut left = bytes;
            for frame in frames.iter().cycle() {
                left = left.saturating_sub(frame.len());
                lies.push(Lie::PeerBytes(to, frame.clone()));
                den.tried(what, 1);
                if left == 0 {
                    break;
                }
            }
        }
        self.linked.clone_from(den.peers);
    }

    /// A claim, perfect in itself, of a view that nobody else knows; and parts of its list.
    fn on_members(&mut self, den: &mut Den<'_>, bytes: usize, lies: &mut Vec<Lie>) {
        let part = encode(&self.entries).len().max(1);
        for (link, _) in den.links.clone() {
            self.number += 1;
            let claim = invented(den, self.number);
            let view = claim.view.digest;
            lies.push(Lie::Notice(link, LeaderNotice::Claim(claim)));
            for _ in 0..bytes.div_ceil(part) {
                let entries = self.entries.clone();
                lies.push(Lie::Notice(link, LeaderNotice::Snapshot { view, after: None, entries, last: false }));
                den.tried("invented lists", 1);
            }
        }
    }
}

/// Signed votes about stays of nobody.
fn votes(den: &Den<'_>, first: u64, count: u64) -> Vec<SignedProposal> {
    let nobody = |stay| MemberId { user: "nobody".parse().expect("a good name"), incarnation: Incarnation(stay) };
    (first..first + count).map(|stay| den.proposal(Operation::Remove(nobody(stay + 2), Cause::Left), false)).collect()
}

/// Signed votes about as many users who do not exist as fit, with as many stays each as a leader can have votes on. Their
/// stays are others in each batch, so that each signature has to be checked again.
fn crowd(den: &Den<'_>, batch: u64) -> Vec<SignedProposal> {
    let user = |n: usize| format!("nobody{n}").parse().expect("a good name");
    let stays = (0..BALLOTS_PER_SUBJECT_MAX as u64).map(|stay| 2 + batch * 8 + stay);
    let one = |n: usize, stay| MemberId { user: user(n), incarnation: Incarnation(stay) };
    let users = PROPOSALS_MAX / BALLOTS_PER_SUBJECT_MAX;
    let stays = |n| stays.clone().map(move |stay| one(n, stay)).collect::<Vec<_>>();
    (0..users).flat_map(stays).map(|id| den.proposal(Operation::Remove(id, Cause::Left), false)).collect()
}

fn frame(votes: Vec<SignedProposal>) -> Bytes {
    wire::plain(&PeerMessage::Proposals(votes))
}

fn invented(den: &mut Den<'_>, number: u64) -> ViewClaim {
    let mut digest = [0; 32];
    den.rng.fill_bytes(&mut digest);
    let view = ViewId { epoch: Epoch(den.view.epoch.0 + 1), digest: ViewDigest(digest) };
    let refreshes = den.refreshes;
    let point = view_point(den.group, den.group.session(), view, refreshes);
    let share = den.secrets.group_share.evaluate(&point, den.rng).to_bytes();
    let statement = den.statement(view, refreshes);
    ViewClaim { number, view, refreshes, base: Base::Omitted, changes: Vec::new(), share, statement }
}

impl Vice for Torrent {
    /// Who pours lists on members claims nothing else.
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        if self.members && matches!(notice, LeaderNotice::Claim(_)) { Vec::new() } else { vec![notice] }
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.prepare(den);
        let passed = self.last.replace(den.now).map_or(0.1, |last| den.now.since(last).as_secs_f64());
        let bytes = ((passed * BYTES_PER_S as f64) as usize).min(BYTES_MAX);
        let mut lies = Vec::new();
        if self.leaders {
            self.on_leaders(den, bytes, &mut lies);
        }
        if self.members {
            self.on_members(den, bytes, &mut lies);
        }
        lies
    }
}
