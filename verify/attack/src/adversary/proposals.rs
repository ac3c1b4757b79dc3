//! Lies to other leaders: expulsions nobody asked for, and far too much of everything.

use bytes::Bytes;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{LeaderNotice, PROPOSALS_MAX, PeerMessage};
use ringfort_protocol::{Epoch, UserName};

use super::{Den, Lie, Vice};

/// Wants every member out.
#[derive(Default)]
pub struct Expel {
    ticks: u64,
}

impl Vice for Expel {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.ticks += 1;
        if self.ticks % 4 != 1 {
            return Vec::new();
        }
        let members: Vec<_> = den.members.iter().map(|entry| entry.id.clone()).collect();
        let mut lies = Vec::new();
        for to in den.others() {
            let removals = members.iter().map(|id| Operation::Remove(id.clone(), Cause::Expelled));
            let removals: Vec<_> = removals.map(|removal| den.proposal(removal, true)).collect();
            den.tried("proposed expulsions", removals.len());
            lies.push(Lie::Peer(to, PeerMessage::Proposals(removals)));
        }
        let epoch = Epoch(den.view.epoch.0 + 1);
        let ended = LeaderNotice::Ended { cause: Cause::Expelled, epoch };
        den.tried("forged ends", den.links.len());
        lies.extend(den.links.iter().map(|(link, _)| Lie::Notice(*link, ended.clone())));
        lies
    }
}

/// Proposals of one flood: more than a leader may have pending at its peers.
const PROPOSALS_TOTAL_MAX: usize = 5_000;
const PROPOSALS_PER_TICK: usize = 256;
/// Frames of one flood.
const FRAMES_TOTAL_MAX: usize = 1_500;
const FRAMES_PER_TICK: usize = 20;

/// More than anybody may say.
#[derive(Default)]
pub struct Flood {
    proposals: usize,
    frames: usize,
}

impl Vice for Flood {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let mut lies = Vec::new();
        // Not before somebody can hear it: what is spent too early floods nobody.
        if self.proposals < PROPOSALS_TOTAL_MAX && !den.others().is_empty() {
            let first = self.proposals;
            self.proposals += PROPOSALS_PER_TICK;
            let names = (first..self.proposals).filter_map(|n| format!("bogus-{n}").parse::<UserName>().ok());
            let entry = den.ghost("bogus".parse().expect("a good name"), 1);
            let joins = names.map(|user| {
                let mut entry = entry.clone();
                entry.id.user = user;
                den.proposal(Operation::Join(entry), true)
            });
            let joins: Vec<_> = joins.collect();
            // One more than a message may hold.
            let too_many: Vec<_> = joins.iter().take(PROPOSALS_MAX + 1).cloned().collect();
            for to in den.others() {
                den.tried("bogus proposals", joins.len());
                let messages = joins.chunks(PROPOSALS_MAX).map(|part| PeerMessage::Proposals(part.to_vec()));
                lies.extend(messages.map(|message| Lie::Peer(to, message)));
                lies.push(Lie::Peer(to, PeerMessage::Proposals(too_many.clone())));
            }
        }
        if self.frames < FRAMES_TOTAL_MAX {
            let links = den.links.clone();
            for (link, _) in links {
                for _ in 0..FRAMES_PER_TICK {
                    lies.push(Lie::Bytes(link, noise(den)));
                }
                self.frames += FRAMES_PER_TICK;
                den.tried("bogus frames", FRAMES_PER_TICK);
            }
        }
        lies
    }
}

fn noise(den: &mut Den<'_>) -> Bytes {
    let mut bytes = vec![0; 2 + den.below(200)];
    den.rng.fill_bytes(&mut bytes);
    if let [version, tag, ..] = bytes.as_mut_slice() {
        *version = 1;
        *tag = 1 + *tag % 3;
    }
    bytes.into()
}
