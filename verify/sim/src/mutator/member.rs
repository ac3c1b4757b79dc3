//! A hacked member: it has its own program, its session keys and its links, and sends what it likes.

use bytes::Bytes;
use ringfort_protocol::codec::decode;
use ringfort_protocol::member::{Effect, Member};
use ringfort_protocol::wire::{self, MemberRequest, Sorted};
use ringfort_protocol::{LeaderId, Time};
use std::time::Duration;

use super::fields::{edit, kind_of_request};
use super::script::{Hacked, Script, Tried, Turn};
use super::temper::{Deed, Kind, Temper};
use super::{FLOOD, hold_ticks};
use crate::dice::Dice;

/// One tick of a held frame.
const TICK: Duration = Duration::from_millis(170);
/// Frames that are held at once.
const HELD_MAX: usize = 512;
/// A hacked member's flood is smaller than a leader's, and its program speaks more often.
const MEMBERS_FLOOD: usize = FLOOD / 2;

/// What a hacked member does with what its program wants to send.
pub struct HackedMember {
    seed: u64,
    who: Hacked,
    temper: Temper,
    turns: u64,
    held: Vec<(Time, Effect)>,
}

impl HackedMember {
    /// A member's program, by its number.
    pub fn new(seed: u64, client: usize) -> Self {
        let who = Hacked::Member(client);
        HackedMember { seed, who, temper: Temper::draw(seed, who), turns: 0, held: Vec::new() }
    }

    /// What is sent in place of one frame, and what was held so long that its time has come.
    pub fn play(
        &mut self,
        now: Time,
        script: &Script,
        member: Option<&mut Member>,
        effect: Effect,
        tried: &mut Vec<Tried>,
    ) -> Vec<Effect> {
        let (due, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held).into_iter().partition(|(at, _)| *at <= now);
        self.held = held;
        let mut out = self.one(now, script, member, effect, tried);
        out.extend(due.into_iter().map(|(_, effect)| effect));
        out
    }

    fn one(
        &mut self,
        now: Time,
        script: &Script,
        member: Option<&mut Member>,
        effect: Effect,
        tried: &mut Vec<Tried>,
    ) -> Vec<Effect> {
        let Effect::Send(leader, class, frame) = effect else { return vec![effect] };
        let again = |frame: &Bytes| Effect::Send(leader, class, frame.clone());
        let turn = Turn { who: self.who, number: self.turns };
        self.turns += 1;
        let mut dice = Dice::new(self.seed, &format!("turn {} {}", turn.who, turn.number));
        let (request, kind) = sort(&frame);
        let deed = self.temper.deed(&mut dice, kind).filter(|_| script.allows(turn));
        let (sealed, deed) = match (&request, deed, member) {
            (Some(request), Some(Deed::Alter | Deed::Pad), Some(member)) => {
                let altered = edit(request, &mut dice).unwrap_or_else(|| request.clone());
                tried.push(Tried { turn, how: format!("Alter {kind:?} to {leader}") });
                return member.seal_for_testing_only(leader, &altered).map(|f| again(&f)).into_iter().collect();
            }
            (Some(request), deed, Some(member)) => (member.seal_for_testing_only(leader, request), deed),
            (Some(_), _, None) => return Vec::new(),
            (None, deed, _) => (Some(frame), deed),
        };
        let Some(sealed) = sealed else { return Vec::new() };
        let Some(deed) = deed else { return vec![again(&sealed)] };
        tried.push(Tried { turn, how: format!("{deed:?} {kind:?} to {leader}") });
        match deed {
            Deed::Drop => Vec::new(),
            Deed::Hold | Deed::Repeat | Deed::Stale => {
                if self.held.len() < HELD_MAX {
                    self.held.push((now + TICK * u32::try_from(hold_ticks(&mut dice)).unwrap_or(1), again(&sealed)));
                }
                if deed == Deed::Repeat { vec![again(&sealed)] } else { Vec::new() }
            }
            Deed::Flood => (0..MEMBERS_FLOOD).map(|_| again(&sealed)).collect(),
            Deed::Some => self.to_some(leader, kind, again(&sealed)),
            Deed::Alter | Deed::Pad => {
                let mut bytes = sealed.to_vec();
                let place = dice.index(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << dice.below(8);
                }
                vec![again(&bytes.into())]
            }
        }
    }

    /// Some leaders hear nothing of a kind, in the whole run.
    fn to_some(&self, leader: LeaderId, kind: Kind, effect: Effect) -> Vec<Effect> {
        let mut dark = Dice::new(self.seed, &format!("dark {} {kind:?} {leader}", self.who));
        if dark.chance(500) { Vec::new() } else { vec![effect] }
    }
}

/// The request in a frame, if it is one in clear, and what kind of frame it is.
fn sort(frame: &Bytes) -> (Option<MemberRequest>, Kind) {
    if let [0, body @ ..] = frame.as_ref() {
        let request = decode::<MemberRequest>(body).ok();
        let kind = request.as_ref().map_or(Kind::Other, kind_of_request);
        return (request, kind);
    }
    match wire::sort(frame) {
        Ok(Sorted::Data) => (None, Kind::Data),
        Ok(Sorted::Plain(_)) => (None, Kind::Login),
        _ => (None, Kind::Other),
    }
}
