//! Hacked nodes whose every message chance decides on.
//!
//! A hacked leader runs the honest core. For each message that the core wants to send, the seed says whether it is sent
//! as it is, or held, repeated, kept from some, changed in a field, padded with what is true already or with what is
//! made up, replaced by an older one, or sent a hundred times. From time to time the leader has an idea of its own.
//! A hacked member does the same with its requests and its messages.
//!
//! Each message is a *turn* with a number, and what happens at a turn follows from the seed, the node and the number
//! alone. So a run that fails is played again with fewer turns until none can be spared ([`minimise`]), and what is left is
//! a line in the corpus.

pub mod fields;
mod ideas;
pub mod member;
pub mod minimise;
pub mod script;
pub mod sweep;
pub mod temper;

use bytes::Bytes;
use ringfort_protocol::wire::{self, LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId};

use crate::dice::Dice;
use crate::strategy::{Den, Lie, Strategy};
use fields::{Memory, Message, edit};
use script::{Hacked, Tried, Turn};
use temper::{Deed, Kind, Temper};

/// How often a flood says the same.
pub const FLOOD: usize = 100;
/// Frames that are held at once.
const HELD_MAX: usize = 512;

/// A hacked leader.
#[derive(Default)]
pub struct Mutator {
    temper: Option<Temper>,
    turns: u64,
    ticks: u64,
    held: Vec<(u64, Lie)>,
    memory: Memory,
}

/// How many ticks something is held.
pub fn hold_ticks(dice: &mut Dice) -> u64 {
    if dice.chance(150) { 60 + dice.below(600) } else { 1 + dice.below(40) }
}

impl Mutator {
    /// The next turn: its dice, and whether it may be taken.
    fn turn(&mut self, den: &Den<'_>) -> (Turn, Dice, bool) {
        let who = Hacked::Leader(den.me);
        let turn = Turn { who, number: self.turns };
        self.turns += 1;
        let dice = Dice::new(den.seed, &format!("turn {who} {}", turn.number));
        (turn, dice, den.script.allows(turn))
    }

    fn temper(&mut self, den: &Den<'_>) -> Temper {
        self.temper.get_or_insert_with(|| Temper::draw(den.seed, Hacked::Leader(den.me))).clone()
    }

    fn hold(&mut self, dice: &mut Dice, lie: Lie) {
        if self.held.len() < HELD_MAX {
            self.held.push((self.ticks + hold_ticks(dice), lie));
        }
    }

    /// What becomes of one message to one receiver.
    fn play<T: Message>(&mut self, den: &mut Den<'_>, to: u64, message: T, lie: impl Fn(T) -> Lie) -> Vec<T> {
        self.memory.look(den);
        let (temper, (turn, mut dice, allowed)) = (self.temper(den), self.turn(den));
        let older = self.memory.older(&mut dice, &message);
        let kind = message.kind();
        let Some(deed) = temper.deed(&mut dice, kind).filter(|_| allowed) else { return vec![message] };
        den.tried.push(Tried { turn, how: format!("{deed:?} {kind:?} to {to}") });
        match deed {
            Deed::Drop => Vec::new(),
            Deed::Hold => {
                self.hold(&mut dice, lie(message));
                Vec::new()
            }
            Deed::Repeat => {
                self.hold(&mut dice, lie(message.clone()));
                vec![message]
            }
            Deed::Flood => vec![message; FLOOD],
            Deed::Some => {
                // The same to each receiver throughout a run: some are in the dark about this kind of message.
                let mut dark = Dice::new(den.seed, &format!("dark {} {kind:?} {to}", turn.who));
                if dark.chance(500) { Vec::new() } else { vec![message] }
            }
            Deed::Alter => vec![self.altered(den, &mut dice, message)],
            Deed::Pad => {
                let mut padded = message.clone();
                if padded.pad(den, &mut dice, &mut self.memory) {
                    vec![padded]
                } else {
                    vec![self.altered(den, &mut dice, message)]
                }
            }
            Deed::Stale => older.into_iter().collect(),
        }
    }

    fn altered<T: Message>(&mut self, den: &mut Den<'_>, dice: &mut Dice, message: T) -> T {
        let mut altered = message.clone();
        if dice.chance(750) && altered.alter(den, dice, &mut self.memory) {
            return altered;
        }
        let mut altered = edit(&message, dice).unwrap_or(message);
        if dice.chance(500) {
            altered.sign(den);
        }
        altered
    }

    fn relay_one(&mut self, deed: Deed, dice: &mut Dice, den: &Den<'_>, to: LinkId, frame: &Bytes) -> Vec<Bytes> {
        match deed {
            Deed::Drop => Vec::new(),
            Deed::Hold => {
                self.hold(dice, Lie::Bytes(to, frame.clone()));
                Vec::new()
            }
            Deed::Repeat => {
                self.hold(dice, Lie::Bytes(to, frame.clone()));
                vec![frame.clone()]
            }
            Deed::Flood => vec![frame.clone(); FLOOD],
            Deed::Some => {
                let whose = den.links.iter().find(|(link, _)| *link == to).map(|(_, entry)| entry.id.user.to_string());
                let mut dark = Dice::new(den.seed, &format!("dark {} {whose:?}", den.me));
                if dark.chance(500) { Vec::new() } else { vec![frame.clone()] }
            }
            Deed::Alter | Deed::Pad => {
                let mut bytes = frame.to_vec();
                let place = dice.index(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << dice.below(8);
                }
                vec![bytes.into()]
            }
            // The next time.
            Deed::Stale => {
                self.held.push((self.ticks + 600 + dice.below(600), Lie::Bytes(to, frame.clone())));
                vec![frame.clone()]
            }
        }
    }
}

impl Strategy for Mutator {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        if let LeaderNotice::Claim(claim) = &notice {
            self.memory.claims = self.memory.claims.max(claim.number);
        }
        self.play(den, to.0, notice, |notice| Lie::Notice(to, notice))
    }

    fn peer(&mut self, den: &mut Den<'_>, to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        self.play(den, to.number().into(), message, |message| Lie::Peer(to, message))
    }

    fn login(&mut self, den: &mut Den<'_>, to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        self.play(den, to.0, answer, |answer| Lie::Bytes(to, wire::plain(&answer)))
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        let (temper, (turn, mut dice, allowed)) = (self.temper(den), self.turn(den));
        let deed = temper.deed(&mut dice, Kind::Data).filter(|_| allowed);
        let Some(deed) = deed else { return links.into_iter().map(|link| (link, frame.clone())).collect() };
        den.tried.push(Tried { turn, how: format!("{deed:?} Data to {} links", links.len()) });
        let to_all = dice.chance(500);
        let mut relays = Vec::new();
        for link in links {
            if to_all || dice.chance(500) {
                let frames = self.relay_one(deed, &mut dice, den, link, &frame);
                relays.extend(frames.into_iter().map(|frame| (link, frame)));
            } else {
                relays.push((link, frame.clone()));
            }
        }
        relays
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        self.ticks += 1;
        self.memory.look(den);
        let now = self.ticks;
        let (due, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held).into_iter().partition(|(at, _)| *at <= now);
        self.held = held;
        let mut lies: Vec<Lie> = due.into_iter().map(|(_, lie)| lie).collect();
        let (temper, (turn, mut dice, allowed)) = (self.temper(den), self.turn(den));
        if let Some(idea) = temper.idea(&mut dice).filter(|_| allowed) {
            let more = ideas::have(idea, den, &mut dice, &mut self.memory);
            if !more.is_empty() {
                den.tried.push(Tried { turn, how: format!("{idea:?}, {} messages", more.len()) });
            }
            lies.extend(more);
        }
        lies
    }
}
