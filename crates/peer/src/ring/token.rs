//! One visit of the token: answer, acknowledge, ask, send, pass on.

use bytes::Bytes;
use ringfort_kernel::Time;

use crate::ids::{RingId, SiteId};
use crate::ring::order::Message;
use crate::ring::pack::Outbox;
use crate::ring::repair::{self, ORIGIN_VISITS};
use crate::ring::window::Load;
use crate::ring::{Output, PACKET_OVERHEAD, Ring};
use crate::site::step::{Class, Effect};
use crate::wire::{Frame, Packet, Token};

impl Token {
    /// The token of a new ring, as if the last of its `places` had passed it on.
    pub fn first(ring: RingId, sender: SiteId, places: usize) -> Self {
        Token {
            ring,
            sender,
            visit: 1,
            seq: 0,
            acknowledged: vec![0; places],
            sent: vec![0; places],
            backlog: vec![0; places],
            lacking: Vec::new(),
            quiet: 0,
        }
    }
}

impl Ring {
    /// The token is here: everything that a visit does, then it goes on.
    pub(super) fn visit(&mut self, now: Time, mut token: Token, outbox: &mut Outbox, out: &mut Output) {
        let answered = self.answer(&mut token, out);
        self.learn(&mut token);
        let allowed = self.allowed(&mut token, outbox);
        let packets = self.fill(&mut token, allowed, outbox, &mut out.delivered);
        self.learn(&mut token);
        let settled = token.acknowledged.iter().all(|acknowledged| *acknowledged == token.seq);
        let is_quiet = answered == 0 && packets.is_empty() && settled && !outbox.has_work();
        token.quiet = if is_quiet { token.quiet.saturating_add(1) } else { 0 };
        self.visit = token.visit;
        self.visit_seen = self.visit_seen.max(token.visit);
        self.quiet = token.quiet;
        self.hurry_at = None;
        self.pass_on(now, token, packets, outbox, out);
        self.deliver(out);
    }

    /// Visits for which only a packet's own site answers.
    fn rotation_visits(&self) -> u16 {
        ORIGIN_VISITS * u16::try_from(self.members.len()).unwrap_or(u16::MAX)
    }

    /// Sends what is asked for: first the packet's own site does, then anybody that holds it.
    fn answer(&self, token: &mut Token, out: &mut Output) -> usize {
        let rotation = self.rotation_visits();
        let (me, kept) = (self.config.me, &self.packets);
        let may = |origin: SiteId, age: u16| match origin == me {
            true => age < rotation || age >= 2 * rotation,
            false => age >= rotation,
        };
        let answers = |seq: u64, age: u16| kept.get(&seq).is_some_and(|(origin, _)| may(*origin, age));
        let numbers = repair::answer(&mut token.lacking, self.config.visit_packets as usize, answers);
        for (origin, frame) in numbers.iter().filter_map(|seq| kept.get(seq)) {
            let relayed = (*origin != me).then(|| Frame::decode(frame).ok()).flatten();
            let frame = match relayed {
                Some(Frame::Packet(packet)) => Frame::Relayed(me, packet).encode(),
                _ => frame.clone(),
            };
            self.send_to_others(frame, out);
        }
        numbers.len()
    }

    /// Acknowledges, learns what all hold, and asks for what the token before this one counted.
    fn learn(&mut self, token: &mut Token) {
        if let Some(acknowledged) = token.acknowledged.get_mut(self.place) {
            *acknowledged = self.holds_to;
        }
        let held_by_all = self.config.rules.held_by_all(&token.acknowledged);
        self.held_by_all = self.held_by_all.max(held_by_all);
        let due = self.seq_before.min(token.seq);
        if self.holds_to < due {
            let kept = &self.packets;
            // What was answered and has not come for some rotations, somebody else is to send.
            let in_vain = self.stuck.1 >= u32::from(ORIGIN_VISITS) * 2;
            let age = if in_vain { self.rotation_visits() } else { 0 };
            repair::ask(&mut token.lacking, self.holds_to + 1, due, age, |seq| !kept.contains_key(&seq));
        }
    }

    fn allowed(&self, token: &mut Token, outbox: &Outbox) -> u32 {
        let mine = outbox.packets(self.room());
        if let Some(backlog) = token.backlog.get_mut(self.place) {
            *backlog = mine;
        }
        let others = token.sent.iter().enumerate().filter(|(place, _)| *place != self.place);
        let lowest = token.acknowledged.iter().min().copied().unwrap_or(0);
        let load = Load {
            window: self.config.window_packets,
            visit: self.config.visit_packets,
            sent_by_others: others.map(|(_, sent)| u32::from(*sent)).sum(),
            backlog: token.backlog.iter().map(|backlog| u32::from(*backlog)).sum(),
            mine: u32::from(mine),
            gap: token.seq - lowest.min(token.seq),
            sites: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
        };
        if self.pace.trickle { load.allowed().min(1) } else { load.allowed() }
    }

    /// Makes up to `allowed` packets, and counts them as if they were sent.
    fn fill(
        &mut self,
        token: &mut Token,
        allowed: u32,
        outbox: &mut Outbox,
        delivered: &mut Vec<Message>,
    ) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while frames.len() < allowed as usize {
            let parts = outbox.fill(self.room());
            if parts.is_empty() {
                break;
            }
            token.seq += 1;
            let (origin, before) = (self.config.me, self.own_before);
            let packet = Packet { ring: self.id, origin, visit: token.visit, seq: token.seq, before, parts };
            self.own_before = token.seq;
            self.keep(packet, delivered);
            frames.extend(self.packets.get(&token.seq).map(|(_, frame)| frame.clone()));
        }
        let sent = u16::try_from(frames.len()).unwrap_or(u16::MAX);
        if let Some(place) = token.sent.get_mut(self.place) {
            *place = sent;
        }
        if let Some(backlog) = token.backlog.get_mut(self.place) {
            *backlog = backlog.saturating_sub(sent);
        }
        if self.pace.trickle {
            // To the others it looks as if this site took the whole window, and wanted more: each sends the little that it may.
            let full = [&mut token.sent, &mut token.backlog].into_iter().filter_map(|of| of.get_mut(self.place));
            full.for_each(|mine| *mine = u16::MAX);
        }
        frames
    }

    /// The first packets, the token, then the rest: the next site begins while those are still on their way.
    fn pass_on(&mut self, now: Time, mut token: Token, packets: Vec<Bytes>, outbox: &Outbox, out: &mut Output) {
        self.note_progress(&token);
        self.seq_before = token.seq;
        self.highest = self.highest.max(token.seq);
        token.visit += 1;
        token.sender = self.config.me;
        let late = packets.len().saturating_sub(self.config.accelerated_packets as usize);
        for (number, frame) in packets.iter().enumerate() {
            if number == late {
                self.send_token(now, &token, out);
            }
            self.send_to_others(frame.clone(), out);
        }
        if packets.is_empty() {
            self.send_token(now, &token, out);
        }
        if self.members.len() == 1 {
            self.paced = !self.pace.hold.is_zero();
            let pause = match (self.paced, outbox.has_work()) {
                (true, _) => self.pace.hold,
                (false, true) => std::time::Duration::ZERO,
                (false, false) => self.config.timers.hello_interval,
            };
            self.idle = Some((token, now + pause));
        }
    }

    fn send_token(&mut self, now: Time, token: &Token, out: &mut Output) {
        let next = (self.place + 1) % self.members.len();
        let Some(next) = self.members.get(next).copied().filter(|next| *next != self.config.me) else { return };
        let frame = Frame::Token(token.clone()).encode();
        out.effects.push(Effect::send(next, Class::Token, frame.clone()));
        self.forwarded = Some((next, frame));
        let idle = usize::from(token.quiet) + 1 >= 2 * self.members.len();
        let hold = if idle { self.config.timers.idle_hold } else { std::time::Duration::ZERO };
        self.resend_at = Some(now + self.rotation.token_resend() + hold);
    }

    fn send_to_others(&self, frame: Bytes, out: &mut Output) {
        let others = self.members().without(self.config.me);
        if !others.is_empty() {
            out.effects.push(Effect::Send { to: others, class: Class::Data, frame });
        }
    }

    fn note_progress(&mut self, token: &Token) {
        let behind = self.holds_to < self.seq_before.min(token.seq);
        self.stuck = match (behind, self.stuck) {
            (true, (at, visits)) if at == self.holds_to => (at, visits + 1),
            _ => (self.holds_to, 0),
        };
    }

    /// Bytes of parts that a packet takes.
    fn room(&self) -> usize {
        self.config.frame_bytes.saturating_sub(PACKET_OVERHEAD)
    }
}
