//! Silence, noise and lies about members' messages.

use bytes::Bytes;
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId};

use super::{Den, Lie, Strategy};

/// Says nothing.
pub struct Silent;

impl Strategy for Silent {
    fn notice(&mut self, _den: &mut Den<'_>, _to: LinkId, _notice: LeaderNotice) -> Vec<LeaderNotice> {
        Vec::new()
    }

    fn peer(&mut self, _den: &mut Den<'_>, _to: LeaderId, _message: PeerMessage) -> Vec<PeerMessage> {
        Vec::new()
    }

    fn login(&mut self, _den: &mut Den<'_>, _to: LinkId, _answer: LoginAnswer) -> Vec<LoginAnswer> {
        Vec::new()
    }

    fn relay(&mut self, _den: &mut Den<'_>, _links: Vec<LinkId>, _frame: Bytes) -> Vec<(LinkId, Bytes)> {
        Vec::new()
    }
}

/// Relays to some members only; looks healthy otherwise.
pub struct Selective;

impl Strategy for Selective {
    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        links.into_iter().filter(|_| den.dice.chance(400)).map(|link| (link, frame.clone())).collect()
    }
}

/// Flips a bit of what it relays, in the header or behind it.
pub struct Alter;

impl Strategy for Alter {
    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        let mut altered = frame.to_vec();
        let place = den.dice.index(altered.len());
        if let Some(byte) = altered.get_mut(place) {
            *byte ^= 1 << den.dice.below(8);
        }
        let altered = Bytes::from(altered);
        links.into_iter().map(|link| (link, altered.clone())).collect()
    }
}

/// Relays old frames again, and each frame also to its sender and to whom it does not concern.
#[derive(Default)]
pub struct Replay {
    old: Vec<Bytes>,
}

impl Strategy for Replay {
    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        if self.old.len() < 64 {
            self.old.push(frame.clone());
        }
        let all = den.links.iter().map(|(link, _)| *link);
        all.chain(links).map(|link| (link, frame.clone())).collect()
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let Some(frame) = den.dice.pick(&self.old).cloned() else { return Vec::new() };
        den.links.iter().map(|(link, _)| Lie::Bytes(*link, frame.clone())).collect()
    }
}

/// Bytes that are no messages, some of them long.
pub struct Garbage;

impl Strategy for Garbage {
    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let mut lies = Vec::new();
        for (link, _) in den.links.clone() {
            lies.push(Lie::Bytes(link, noise(den)));
        }
        for leader in den.others() {
            lies.push(Lie::PeerBytes(leader, noise(den)));
        }
        lies
    }
}

fn noise(den: &mut Den<'_>) -> Bytes {
    let mut bytes = den.dice.bytes::<256>().to_vec();
    bytes.truncate(den.dice.index(256));
    let tag = u8::try_from(den.dice.below(5)).expect("below five");
    [vec![1, tag], bytes].concat().into()
}
