//! The control channel: who is heard, in which epoch, and what a frame has to pass.

use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::kdf::derive;
use ringfort_crypto::secret::Secret32;
use ringfort_kernel::{Budget, Time};

use super::frame::{BODY_BYTES, Body, FRAME_BYTES, HEADER_BYTES, Header};
use super::group::{Group, Secrets};
use super::ids::{Boot, Epoch, Index};
use super::rules::{Rule, Rules};

/// Frames of unknown starts that are tried in a second: each costs a key to be derived.
const STRANGE_PER_SECOND: u64 = 200;

/// Why a frame does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a frame from another component to this one.
    Malformed,
    /// Of an earlier epoch of its sender.
    OldEpoch,
    /// Of an epoch that another start has: the key file is on two hosts, or the boot counter went back.
    Clone,
    /// It came before, or a newer one did.
    Replayed,
    /// Not sealed by its sender for this component.
    NotAuthentic,
    /// Its sender has not heard this component's present start.
    NoEcho,
    /// Too many of unknown starts.
    TooMany,
}

/// Which start of its sender a frame is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The one that is heard.
    Current,
    /// One that was not heard before.
    New,
    /// Another with the number of the one that is heard.
    Clone,
}

/// A start of a peer that is heard.
struct Session {
    epoch: Epoch,
    boot: Boot,
    key: AeadKey,
    newest: u64,
}

/// Another component.
struct Peer {
    base: Secret32,
    seal: AeadKey,
    current: Option<Session>,
    /// The newest start that its frames were authentic of, whether or not it has heard this one.
    known: Option<(Epoch, Boot)>,
    heard: Option<Time>,
    echo: Option<(u64, u64)>,
    strange: Budget,
}

/// All of the group but this one.
pub struct Peers {
    me: Index,
    epoch: Epoch,
    boot: Boot,
    rules: Rules,
    peers: Vec<(Index, Peer)>,
    number: u64,
}

/// A frame that counts.
pub struct Heard {
    /// Its sender.
    pub from: Index,
    /// What it says.
    pub body: Body,
    /// Whether its sender has been started again since it was last heard.
    pub new_epoch: bool,
}

impl Peers {
    /// Nobody is heard yet.
    pub fn new(group: &Group, me: Index, secrets: &Secrets, start: (Epoch, Boot), rules: Rules, now: Time) -> Self {
        let (epoch, boot) = start;
        let others = group.indices().filter(|index| *index != me);
        let peers = others.filter_map(|index| {
            let base = match rules.enforces(Rule::Seal) {
                true => secrets.exchange.agree(&group.member(index)?.exchange, "ttcb control", &[group.id()])?,
                false => Secret32::new([0; 32]),
            };
            let seal = key_of(&base, me, index, epoch, &boot);
            let strange = Budget::new(now, STRANGE_PER_SECOND, STRANGE_PER_SECOND);
            Some((index, Peer { base, seal, current: None, known: None, heard: None, echo: None, strange }))
        });
        Peers { me, epoch, boot, rules, peers: peers.collect(), number: 0 }
    }

    /// Takes a frame apart.
    ///
    /// # Errors
    /// Why it does not count. Nothing has changed then, except that the start of its sender may be known.
    pub fn open(&mut self, now: Time, frame: &[u8]) -> Result<Heard, Refusal> {
        let frame: &[u8; FRAME_BYTES] = frame.try_into().map_err(|_| Refusal::Malformed)?;
        let (head, sealed) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(Refusal::Malformed)?;
        let header = Header::decode(head).filter(|header| header.to == self.me).ok_or(Refusal::Malformed)?;
        let peer = self.peers.iter_mut().find(|(index, _)| *index == header.from);
        let (_, peer) = peer.ok_or(Refusal::Malformed)?;
        let start = peer.check(&self.rules, now, &header)?;
        let fresh = start != Start::Current;
        let derived;
        let key = match (&peer.current, fresh) {
            (Some(session), false) => &session.key,
            _ => {
                derived = key_of(&peer.base, header.from, self.me, header.epoch, &header.boot);
                &derived
            }
        };
        let body = key.open(&nonce(header.number), head, sealed).map_err(|_| Refusal::NotAuthentic)?;
        let body: [u8; BODY_BYTES] = body.try_into().map_err(|_| Refusal::Malformed)?;
        let body = Body::decode(&body).ok_or(Refusal::Malformed)?;
        if start == Start::Clone {
            return Err(Refusal::Clone);
        }
        if peer.known.is_none_or(|(epoch, _)| epoch < header.epoch) {
            peer.known = Some((header.epoch, header.boot));
        }
        if peer.known == Some((header.epoch, header.boot)) {
            peer.echo = Some((body.clock.sent_us, micros(now)));
        }
        if self.rules.enforces(Rule::Echo) && (body.echo_epoch, body.echo_boot) != (self.epoch, self.boot) {
            return Err(Refusal::NoEcho);
        }
        let restarted = fresh && peer.current.is_some();
        peer.heard = Some(now);
        match &mut peer.current {
            Some(session) if !fresh => session.newest = session.newest.max(header.number),
            current => {
                let key = key_of(&peer.base, header.from, self.me, header.epoch, &header.boot);
                *current = Some(Session { epoch: header.epoch, boot: header.boot, key, newest: header.number });
            }
        }
        Ok(Heard { from: header.from, body, new_epoch: restarted })
    }

    /// A new round: frames sealed from now on have a higher number.
    pub fn next_round(&mut self) {
        self.number += 1;
    }

    /// Which start of the peer its frame has to name, and what is told of its last frame: when it was sent by its
    /// clock, and when it came by this one's.
    pub fn echo_to(&self, to: Index) -> (Epoch, Boot, Option<(u64, u64)>) {
        let peer = self.peers.iter().find(|(index, _)| *index == to).map(|(_, peer)| peer);
        let (epoch, boot) = peer.and_then(|peer| peer.known).unwrap_or_default();
        (epoch, boot, peer.and_then(|peer| peer.echo))
    }

    /// Seals this round's frame for a peer. Once a round and peer: the number is the nonce.
    pub fn seal(&self, to: Index, body: &Body) -> Option<[u8; FRAME_BYTES]> {
        let (_, peer) = self.peers.iter().find(|(index, _)| *index == to)?;
        let header = Header { from: self.me, to, epoch: self.epoch, boot: self.boot, number: self.number };
        let head = header.encode();
        let mut frame = [0; FRAME_BYTES];
        let sealed = peer.seal.seal(&nonce(self.number), &head, &body.encode());
        frame.split_first_chunk_mut::<HEADER_BYTES>().map(|(first, rest)| {
            *first = head;
            rest.copy_from_slice(&sealed);
        })?;
        Some(frame)
    }

    /// The other components.
    pub fn indices(&self) -> impl Iterator<Item = Index> + '_ {
        self.peers.iter().map(|(index, _)| *index)
    }

    /// The epoch in which a component is heard; this one's own for itself.
    pub fn epoch_of(&self, index: Index) -> Option<Epoch> {
        if index == self.me {
            return Some(self.epoch);
        }
        let (_, peer) = self.peers.iter().find(|(other, _)| *other == index)?;
        peer.current.as_ref().map(|session| session.epoch)
    }

    /// When a component was last heard.
    pub fn heard(&self, index: Index) -> Option<Time> {
        self.peers.iter().find(|(other, _)| *other == index).and_then(|(_, peer)| peer.heard)
    }
}

impl Peer {
    /// Of which start the frame says it is: anybody could say so. An error if it cannot count.
    fn check(&mut self, rules: &Rules, now: Time, header: &Header) -> Result<Start, Refusal> {
        let mut start = Start::New;
        if let Some(session) = &self.current {
            if session.epoch == header.epoch && session.boot == header.boot {
                let newer = header.number > session.newest || !rules.enforces(Rule::Replay);
                return if newer { Ok(Start::Current) } else { Err(Refusal::Replayed) };
            }
            if session.epoch == header.epoch {
                start = Start::Clone;
            }
            if header.epoch < session.epoch && rules.enforces(Rule::Epoch) {
                return Err(Refusal::OldEpoch);
            }
        }
        if self.strange.take(now, 1) { Ok(start) } else { Err(Refusal::TooMany) }
    }
}

/// The key of one direction between two components in one start of the sender: its boot number makes it new even if
/// the epoch was used before, so no nonce repeats under it.
pub(super) fn key_of(base: &Secret32, from: Index, to: Index, epoch: Epoch, boot: &Boot) -> AeadKey {
    let context: [&[u8]; 3] = [&[from.get(), to.get()], &epoch.0.to_le_bytes(), boot];
    AeadKey::new(&derive(base.expose(), "ttcb frame", &context))
}

pub(super) fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce.split_first_chunk_mut().map(|(first, _)| *first = number.to_le_bytes()).unwrap_or_default();
    nonce
}

/// Microseconds since the start.
pub fn micros(now: Time) -> u64 {
    u64::try_from(now.since_start().as_micros()).unwrap_or(u64::MAX)
}
