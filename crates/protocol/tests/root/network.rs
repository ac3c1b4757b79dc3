//! What the network holds back, and when it delivers it.

use std::collections::VecDeque;

use bytes::Bytes;
use ringfort_protocol::time::{Cx, Time};
use ringfort_protocol::{LinkId, wire};

use crate::harness::{Packet, World};

impl World {
    /// The network delivers what it has held back from members up to a time, and holds back what is said in answer.
    pub fn let_down(&mut self, until: Time) -> usize {
        let (due, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.delayed_mail).into_iter().partition(|(at, ..)| *at <= until);
        self.delayed_mail = rest;
        let count = due.len();
        for (_, link, frame) in due {
            let Some((who, id)) = self.links.get(&link).copied() else { continue };
            let step = self.agents[who].member.on_frame(
                &mut Cx { now: self.now, unix_ms: 1_800_000_000_000, rng: &mut self.rng },
                id,
                &frame,
            );
            self.carry_out_member(who, step);
            self.deliver();
        }
        count
    }

    pub fn is_held_back(&self, link: LinkId, frame: &Bytes) -> bool {
        let of_login = matches!(wire::sort(frame), Ok(wire::Sorted::Plain(_)));
        !of_login && self.links.get(&link).is_some_and(|pair| self.held_back.contains(pair))
    }

    /// The network delivers at once all that it held back between members and leaders.
    pub fn let_go(&mut self) {
        self.held_back.clear();
        self.mail.append(&mut self.held_mail);
        self.deliver();
    }

    /// The network delivers all that it held back between leaders.
    pub fn let_through(&mut self) {
        self.kept_from.clear();
        let kept = std::mem::take(&mut self.kept);
        self.mail.extend(kept.into_iter().map(|(from, to, frame)| Packet::Between(from, to, frame)));
        self.deliver();
    }
}
