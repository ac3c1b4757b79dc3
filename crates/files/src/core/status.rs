//! What there is to show of transfers.

use ringfort::protocol::{Time, UserName};
use serde::Serialize;

use super::receiver::State;
use super::sender::{PeerState, Sender};
use super::{Exchange, Incoming, Number, Outgoing, Stage};

/// Receivers that are listed one by one.
const PEERS_MAX: usize = 64;

/// A transfer, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Its number in this run.
    pub id: Number,
    /// Whether this member sends it.
    pub own: bool,
    /// Its name, safe to show and to use.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// `preparing`, `offered`, `sending`, `paused`, `sent`, `cancelled`, `failed` of one's own; of others `asked`,
    /// `opening`, `receiving`, `paused`, `verifying`, `complete`, `declined`, `cancelled`, `failed`, `interrupted`.
    pub state: &'static str,
    /// Bytes that are here, or were read while it is prepared.
    pub done: u64,
    /// Bytes a second.
    pub per_s: u64,
    /// Who sends it.
    pub from: String,
    /// Whether it was offered to the whole group.
    pub to_group: bool,
    /// Its receivers, if this member sends it.
    pub peers: Vec<PeerProgress>,
    /// Receivers that are not listed.
    pub more_peers: usize,
    /// Whether the sender pauses.
    pub sender_paused: bool,
    /// What went wrong.
    pub why: Option<String>,
    /// Where it lies on this machine.
    pub path: Option<String>,
}

/// How far a receiver is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerProgress {
    /// Who.
    pub user: String,
    /// `offered`, `unanswered`, `asked`, `receiving`, `paused`, `silent`, `declined`, `complete`, `failed`, `left`.
    pub state: &'static str,
    /// Bytes on its disk.
    pub done: u64,
    /// Bytes a second.
    pub per_s: u64,
}

impl Exchange {
    /// The transfers of a topic, the oldest first.
    pub fn list(&self, now: Time, topic: &str) -> Vec<Transfer> {
        let of_others = self.incoming.iter().filter(|(_, i)| i.topic == topic).map(|(n, i)| of_other(now, *n, i));
        let own = self.outgoing.iter().filter(|(_, o)| o.topic == topic).map(|(n, o)| self.own(now, *n, o));
        let mut list: Vec<Transfer> = of_others.chain(own).collect();
        list.sort_by_key(|transfer| transfer.id);
        list
    }

    /// The transfers of all topics, for seeing whether anything has changed.
    pub fn all(&self, now: Time) -> Vec<Transfer> {
        let of_others = self.incoming.iter().map(|(number, incoming)| of_other(now, *number, incoming));
        of_others.chain(self.outgoing.iter().map(|(number, outgoing)| self.own(now, *number, outgoing))).collect()
    }

    /// Where a complete file of a topic lies.
    pub fn path(&self, topic: &str, number: Number) -> Option<&str> {
        let incoming = self.incoming.get(&number).filter(|incoming| incoming.topic == topic)?;
        incoming.receiver.path.as_deref()
    }

    fn own(&self, now: Time, id: Number, outgoing: &Outgoing) -> Transfer {
        let mut transfer = Transfer {
            id,
            own: true,
            name: outgoing.name.clone(),
            bytes: outgoing.bytes,
            state: "failed",
            done: 0,
            per_s: 0,
            from: self.me.to_string(),
            to_group: true,
            peers: Vec::new(),
            more_peers: 0,
            sender_paused: false,
            why: None,
            path: None,
        };
        match &outgoing.stage {
            Stage::Preparing { done, to_group, .. } => {
                (transfer.state, transfer.done, transfer.to_group) = ("preparing", *done, *to_group);
            }
            Stage::Failed(why) => transfer.why = Some(why.clone()),
            Stage::Open(sender) => {
                transfer.state = sending(sender);
                transfer.tell_peers(now, sender);
            }
            Stage::Cancelled(sender) => {
                transfer.state = "cancelled";
                transfer.tell_peers(now, sender);
            }
        }
        transfer
    }
}

impl Transfer {
    fn tell_peers(&mut self, now: Time, sender: &Sender) {
        self.to_group = sender.to_group;
        self.sender_paused = sender.paused;
        self.more_peers = sender.peers.len().saturating_sub(PEERS_MAX);
        let progress = |(user, peer): (&UserName, &super::sender::Peer)| PeerProgress {
            user: user.to_string(),
            state: peer_word(peer.state),
            done: if peer.state == PeerState::Complete {
                sender.offer.bytes
            } else {
                sender.offer.bytes_of(peer.acked)
            },
            per_s: if peer.state == PeerState::Receiving { peer.per_s(now) } else { 0 },
        };
        self.peers = sender.peers.iter().take(PEERS_MAX).map(progress).collect();
        // Together they are as far as the slowest that still receives.
        let receiving = self.peers.iter().filter(|peer| matches!(peer.state, "receiving" | "paused" | "complete"));
        self.done = receiving.map(|peer| peer.done).min().unwrap_or(0);
        self.per_s = self.peers.iter().map(|peer| peer.per_s).max().unwrap_or(0);
    }
}

fn of_other(now: Time, id: Number, incoming: &Incoming) -> Transfer {
    let receiver = &incoming.receiver;
    Transfer {
        id,
        own: false,
        name: super::name::safe(&receiver.offer.name),
        bytes: receiver.offer.bytes,
        state: receiver_word(receiver.state),
        done: receiver.bytes(),
        per_s: if receiver.state == State::Receiving { receiver.per_s(now) } else { 0 },
        from: incoming.key.from.to_string(),
        to_group: false,
        peers: Vec::new(),
        more_peers: 0,
        sender_paused: receiver.sender_paused,
        why: receiver.why.clone(),
        path: receiver.path.clone(),
    }
}

fn sending(sender: &Sender) -> &'static str {
    let any = |state: PeerState| sender.peers.values().any(|peer| peer.state == state);
    match () {
        () if sender.is_over() => "sent",
        () if sender.paused => "paused",
        () if any(PeerState::Receiving) => "sending",
        () => "offered",
    }
}

fn peer_word(state: PeerState) -> &'static str {
    match state {
        PeerState::Offered => "offered",
        PeerState::Unanswered => "unanswered",
        PeerState::Asked => "asked",
        PeerState::Receiving => "receiving",
        PeerState::Paused => "paused",
        PeerState::Silent => "silent",
        PeerState::Declined => "declined",
        PeerState::Complete => "complete",
        PeerState::Failed => "failed",
        PeerState::Left => "left",
    }
}

fn receiver_word(state: State) -> &'static str {
    match state {
        State::Asked => "asked",
        State::Opening => "opening",
        State::Receiving => "receiving",
        State::Paused => "paused",
        State::Verifying | State::Publishing => "verifying",
        State::Complete => "complete",
        State::Declined => "declined",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        State::Interrupted => "interrupted",
    }
}
