//! Silence, and lies about members' messages.

use bytes::Bytes;
use ringfort_protocol::data::DataFrame;
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId};

use super::{Den, Lie, Vice};

/// Says nothing.
pub struct Silent;

impl Vice for Silent {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, _notice: LeaderNotice) -> Vec<LeaderNotice> {
        den.tried("notices withheld", 1);
        Vec::new()
    }

    fn peer(&mut self, den: &mut Den<'_>, _to: LeaderId, _message: PeerMessage) -> Vec<PeerMessage> {
        den.tried("proposals withheld", 1);
        Vec::new()
    }

    fn login(&mut self, den: &mut Den<'_>, _to: LinkId, _answer: LoginAnswer) -> Vec<LoginAnswer> {
        den.tried("logins ignored", 1);
        Vec::new()
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, _frame: Bytes) -> Vec<(LinkId, Bytes)> {
        den.tried("messages withheld", links.len());
        Vec::new()
    }
}

/// Looks healthy and relays to every other link at most; supplies nothing that somebody misses.
pub struct Drop;

impl Vice for Drop {
    fn notice(&mut self, den: &mut Den<'_>, _to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        if matches!(notice, LeaderNotice::Wanted(_)) {
            den.tried("repairs withheld", 1);
            return Vec::new();
        }
        vec![notice]
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        let (kept, dropped): (Vec<_>, Vec<_>) =
            links.into_iter().partition(|link| link.0.is_multiple_of(2) && den.below(2) == 0);
        den.tried("messages withheld", dropped.len());
        kept.into_iter().map(|link| (link, frame.clone())).collect()
    }
}

/// Messages kept for replay.
const KEPT_MAX: usize = 64;

/// Alters what it relays, repeats it, sends it back, and relays for strangers.
#[derive(Default)]
pub struct Tamper {
    kept: Vec<Bytes>,
    ticks: u64,
}

impl Tamper {
    fn altered(den: &mut Den<'_>, frame: &Bytes) -> Bytes {
        let body_at = DataFrame::parse(frame).map_or(2, |parsed| parsed.prefix().len());
        let mut bytes = frame.to_vec();
        let place = body_at + den.below(bytes.len().saturating_sub(body_at));
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << den.below(8);
        }
        bytes.into()
    }
}

impl Vice for Tamper {
    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(frame.clone());
        }
        let mut out = Vec::new();
        for link in links {
            out.push((link, Self::altered(den, &frame)));
            den.tried("altered messages", 1);
            if den.below(2) == 0 {
                out.push((link, frame.clone()));
                out.push((link, frame.clone()));
                den.tried("repeated messages", 1);
            }
        }
        out
    }

    fn accomplice(&mut self, den: &mut Den<'_>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        den.tried("messages of a stranger relayed", 1);
        den.links.iter().map(|(link, _)| (*link, frame.clone())).collect()
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.ticks += 1;
        let place = den.below(self.kept.len());
        let Some(frame) = self.kept.get(place).filter(|_| self.ticks.is_multiple_of(3)).cloned() else {
            return Vec::new();
        };
        den.tried("replayed messages", den.links.len());
        // To everybody, its own sender too.
        den.links.iter().map(|(link, _)| Lie::Bytes(*link, frame.clone())).collect()
    }
}
