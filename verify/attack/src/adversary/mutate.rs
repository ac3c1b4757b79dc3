//! Chance decides on every message, as in the simulator: the same mutator, in a real leader's process.

use std::slice;

use bytes::Bytes;
use ringfort_protocol::wire::{LeaderNotice, LoginAnswer, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId, UserName};
use ringfort_sim::dice::Dice;
use ringfort_sim::mutator::Mutator;
use ringfort_sim::mutator::script::Script;
use ringfort_sim::strategy::{self, Strategy};

use super::{Den, Lie, Vice};

/// The simulator's mutator, with what it needs to see.
#[derive(Default)]
pub struct Mutate {
    mutator: Mutator,
    /// Drawn when the leader is taken over, and its dice.
    chance: Option<(u64, Dice)>,
}

impl Mutate {
    fn with<T>(&mut self, den: &mut Den<'_>, play: impl FnOnce(&mut Mutator, &mut strategy::Den<'_>) -> T) -> T {
        let (seed, dice) = self.chance.get_or_insert_with(|| {
            let mut bytes = [0; 8];
            den.rng.fill_bytes(&mut bytes);
            let seed = u64::from_le_bytes(bytes);
            (seed, Dice::new(seed, "hacked leader"))
        });
        let mut users: Vec<UserName> = den.members.iter().map(|entry| entry.id.user.clone()).collect();
        users.extend("nobody".parse::<UserName>());
        let (script, mut tried) = (Script::Chance, Vec::new());
        let mut inner = strategy::Den {
            now: den.now,
            dice,
            me: den.secrets.id,
            gang: slice::from_ref(den.secrets),
            group: den.group,
            links: den.links.clone(),
            members: den.members,
            view: den.view,
            users: &users,
            heard: den.heard,
            refreshes: den.refreshes,
            seed: *seed,
            script: &script,
            tried: &mut tried,
        };
        let out = play(&mut self.mutator, &mut inner);
        den.tried("changes", tried.len());
        out
    }
}

impl Vice for Mutate {
    fn notice(&mut self, den: &mut Den<'_>, to: LinkId, notice: LeaderNotice) -> Vec<LeaderNotice> {
        self.with(den, |mutator, den| mutator.notice(den, to, notice))
    }

    fn peer(&mut self, den: &mut Den<'_>, to: LeaderId, message: PeerMessage) -> Vec<PeerMessage> {
        self.with(den, |mutator, den| mutator.peer(den, to, message))
    }

    fn login(&mut self, den: &mut Den<'_>, to: LinkId, answer: LoginAnswer) -> Vec<LoginAnswer> {
        self.with(den, |mutator, den| mutator.login(den, to, answer))
    }

    fn relay(&mut self, den: &mut Den<'_>, links: Vec<LinkId>, frame: Bytes) -> Vec<(LinkId, Bytes)> {
        self.with(den, |mutator, den| mutator.relay(den, links, frame))
    }

    fn tick(&mut self, den: &mut Den<'_>) -> Vec<Lie> {
        let lies = self.with(den, |mutator, den| mutator.tick(den));
        let lie = |lie| match lie {
            strategy::Lie::Notice(link, notice) => Some(Lie::Notice(link, notice)),
            strategy::Lie::Peer(peer, message) => Some(Lie::Peer(peer, message)),
            strategy::Lie::Bytes(link, frame) => Some(Lie::Bytes(link, frame)),
            strategy::Lie::PeerBytes(..) => None,
        };
        lies.into_iter().filter_map(lie).collect()
    }
}
