//! Everything in turn.

use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId, Time};

use super::{Den, Kind, Lie, Vice};

/// How long each vice lasts.
const TURN: Duration = Duration::from_millis(150);

/// A new vice every moment, none of them once only.
pub struct Chaos {
    vices: Vec<Box<dyn Vice>>,
    turn: usize,
    until: Time,
}

impl Default for Chaos {
    fn default() -> Self {
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Chaos);
        Chaos { vices: kinds.map(|kind| kind.vice(None)).collect(), turn: 0, until: Time::ZERO }
    }
}

impl Chaos {
    fn vice(&mut self, now: Time) -> &mut dyn Vice {
        if now >= self.until {
            self.until = now + TURN;
            self.turn = (self.turn + 1) % self.vices.len().max(1);
        }
        self.vices.get_mut(self.turn).expect("the turn is below the number of vices").as_mut()
    }
}

impl Vice for Chaos {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        self.vice(den.now).notice(den, to, notice)
    }

    fn peer(&mut self, den: &mut Den<'_>, to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        self.vice(den.now).peer(den, to, message)
    }

    fn login(&mut self, den: &mut Den<'_>, to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        self.vice(den.now).login(den, to, answer)
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        self.vice(den.now).relay(den, links, frame)
    }

    fn accomplice(&mut self, den: &mut Den<'_>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        self.vice(den.now).accomplice(den, frame)
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.vice(den.now).tick(den)
    }
}
