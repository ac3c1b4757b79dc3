//! GDH as in Cliques: the secret is the generator to the product of everybody's shares.
//!
//! Source: seed 004 §4, and Steiner, Tsudik, Waidner 1998. Everybody holds its own share, and the list of *partials*:
//! for each member the generator to the product of all others' shares. Two invariants hold in every view: all members
//! agree who the *controller* is, the newest member; and the key depends on every member's share.
//!
//! - One newcomer: the controller replaces its share and passes the partials on to the newcomer, who puts its own share
//!   in and broadcasts the list. It is the controller then.
//! - Several newcomers: the controller replaces its share and passes the secret so far on as a token; each newcomer puts
//!   its share in and passes it on; the last one broadcasts it without. Everybody else takes its own share out of it,
//!   and the last one puts its share into what comes back, and broadcasts the list.
//! - Nobody new: the controller, or whoever asks for a refresh, replaces its share and broadcasts the list.
//!
//! Deviations: messages are signed over the view instead of going under long-term keys that enter as exponents (such
//! keys were shown to be unsafe in exactly these protocols). Everything is broadcast, so that all know whose turn it
//! is. Leave and merge at once are one run. Those who come from another view than the largest set are newcomers.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_crypto::hash::digest;
use ringfort_kernel::codec;
use ringfort_peer::Name;
use zeroize::Zeroizing;

use crate::group::Group;
use crate::keys::{Claim, KeyView, Output, base_and_newcomers, element};
use crate::rules::{Rule, Rules};

type Share<G> = Zeroizing<<G as Group>::Exponent>;
type List<G> = BTreeMap<Name, <G as Group>::Element>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Offer {
    /// The digest of the list that the sender goes on from, and how many there are older than the sender.
    state: Claim,
    /// The sender wants to replace its share.
    refresh: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
enum Message {
    /// The controller to the only newcomer: the partials of all, oldest first, the newcomer's last.
    Partials(Vec<[u8; 32]>) = 0,
    /// The secret so far, to the next newcomer.
    Token([u8; 32]) = 1,
    /// The secret without the last newcomer's share, to all.
    Last([u8; 32]) = 2,
    /// The same without the sender's share too, to the last newcomer.
    Without([u8; 32]) = 3,
    /// The list of all partials, oldest first.
    List(Vec<[u8; 32]>) = 4,
}

/// What is kept from one view to the next.
struct Kept<G: Group> {
    order: Vec<Name>,
    list: List<G>,
    share: Share<G>,
    digest: [u8; 32],
}

/// A view under way.
struct Run<G: Group> {
    me: Name,
    /// Everybody, oldest first.
    order: Vec<Name>,
    /// How many of them are new.
    new: usize,
    /// Who begins.
    starter: Name,
    share: Share<G>,
    /// How many of the starter and the newcomers have passed something on.
    passed: usize,
    last: Option<G::Element>,
    without: List<G>,
    list: Option<List<G>>,
    done: bool,
}

/// GDH, at one member.
pub struct Gdh<G: Group> {
    me: Name,
    rules: Rules,
    kept: Option<Kept<G>>,
    run: Option<Run<G>>,
}

impl<G: Group> Gdh<G> {
    /// The member `me`, without a past.
    pub fn new(me: Name, rules: Rules) -> Self {
        Gdh { me, rules, kept: None, run: None }
    }

    /// See [`crate::keys::Protocol::offer`].
    pub fn offer(&mut self, afresh: bool, refresh: bool) -> Vec<u8> {
        self.run = None;
        let kept = self.kept.as_ref().filter(|_| !afresh);
        let state = kept.and_then(|kept| {
            let age = kept.order.iter().position(|name| *name == self.me)?;
            Some((kept.digest, u32::try_from(age).ok()?))
        });
        codec::encode(&Offer { state, refresh })
    }

    /// See [`crate::keys::Protocol::accepts`].
    pub fn accepts(&self, offer: &[u8]) -> bool {
        codec::decode::<Offer>(offer).is_ok()
    }

    /// See [`crate::keys::Protocol::start`].
    pub fn start(&mut self, rng: &mut dyn CryptoRng, view: &KeyView<'_>) -> Output {
        self.run = None;
        let offers: Option<Vec<Offer>> = view.members.iter().map(|(_, offer)| codec::decode(offer).ok()).collect();
        let Some(offers) = offers else { return Output::default() };
        let claims: Vec<_> = offers.iter().enumerate().map(|(place, offer)| (place, offer.state)).collect();
        let (base, newcomers) = base_and_newcomers(&claims, view.attempt);
        let mut refreshers = base.iter().copied().filter(|place| offers.get(*place).is_some_and(|offer| offer.refresh));
        let starter =
            if newcomers.is_empty() { refreshers.next_back().or(base.last().copied()) } else { base.last().copied() };
        let Some(starter) = starter.and_then(|place| view.name(place)).cloned() else { return Output::default() };
        let order: Vec<Name> = base.iter().chain(&newcomers).filter_map(|place| view.name(*place)).cloned().collect();
        // Who is new, or has no past that others share, has no share yet.
        let has_past = base.contains(&view.me) && offers.get(view.me).is_some_and(|offer| offer.state.is_some());
        let kept = self.kept.as_ref().filter(|_| has_past);
        let redraws = self.me == starter && self.rules.enforces(Rule::FreshShare);
        let share = kept.filter(|_| !redraws).map_or_else(|| G::random(rng), |kept| kept.share.clone());
        let me = self.me.clone();
        let mut run = Run {
            me,
            order,
            new: newcomers.len(),
            starter,
            share,
            passed: 0,
            last: None,
            without: List::<G>::new(),
            list: None,
            done: false,
        };
        let output = if run.starter == self.me { run.begin(kept) } else { Output::default() };
        self.run = Some(run);
        output
    }

    /// See [`crate::keys::Protocol::on_message`].
    pub fn on_message(&mut self, _rng: &mut dyn CryptoRng, from: &Name, message: &[u8]) -> Output {
        let (Some(run), Ok(message)) = (&mut self.run, codec::decode(message)) else { return Output::default() };
        run.on_message(from, message, self.rules).unwrap_or_default()
    }

    /// See [`crate::keys::Protocol::commit`].
    pub fn commit(&mut self) {
        if let Some(run) = self.run.take()
            && let Some(list) = run.list
        {
            let parts: Vec<(Vec<u8>, [u8; 32])> = run
                .order
                .iter()
                .filter_map(|name| Some((name.as_bytes().to_vec(), G::encode(list.get(name)?))))
                .collect();
            let digest = digest("peer group key list", &[&codec::encode(&parts)]);
            self.kept = Some(Kept { order: run.order, list, share: run.share, digest });
        }
    }

    /// See [`crate::keys::Protocol::awaited`].
    pub fn awaited(&self) -> BTreeSet<Name> {
        self.run.as_ref().map(Run::awaited).unwrap_or_default()
    }

    /// The newest member of the last view with a key: all of its members say the same.
    pub fn controller(&self) -> Option<&Name> {
        self.kept.as_ref().and_then(|kept| kept.order.last())
    }
}

impl<G: Group> Run<G> {
    fn base(&self) -> &[Name] {
        self.order.get(..self.order.len().saturating_sub(self.new)).unwrap_or_default()
    }

    fn newcomers(&self) -> &[Name] {
        self.order.get(self.order.len().saturating_sub(self.new)..).unwrap_or_default()
    }

    /// What the starter does: it has replaced its share.
    fn begin(&mut self, kept: Option<&Kept<G>>) -> Output {
        let mine = kept.and_then(|kept| kept.list.get(&self.me)).cloned().unwrap_or_else(G::generator);
        let secret = G::raise(&mine, &self.share);
        if self.new >= 2 {
            self.passed = 1;
            return self.send(Message::Token(G::encode(&secret)), None);
        }
        // My own share goes out of the others' partials, and the new one in.
        let change = kept.map(|kept| G::ratio(&self.share, &kept.share));
        let mut list = List::<G>::new();
        for name in self.base() {
            let old = kept.and_then(|kept| kept.list.get(name));
            let partial = match (old, &change) {
                (Some(old), Some(change)) if *name != self.me => G::raise(old, change),
                _ => mine.clone(),
            };
            list.insert(name.clone(), partial);
        }
        if let Some(newcomer) = self.newcomers().first() {
            list.insert(newcomer.clone(), secret);
            self.passed = 1;
            let message = Message::Partials(self.bytes_of(&list));
            return self.send(message, None);
        }
        let message = (self.order.len() > 1).then(|| Message::List(self.bytes_of(&list)));
        self.list = Some(list);
        self.done = true;
        let key = Some(G::to_secret(&secret));
        message.map_or_else(
            || Output { secret: key.clone(), ..Output::default() },
            |message| self.send(message, key.clone()),
        )
    }

    fn on_message(&mut self, from: &Name, message: Message, rules: Rules) -> Option<Output> {
        match message {
            Message::Partials(bytes) => {
                let newcomer = self.newcomers().first()?.clone();
                if self.new != 1 || *from != self.starter || self.passed != 0 {
                    return None;
                }
                let partials = self.list_of(&bytes, rules)?;
                self.passed = 1;
                (newcomer == self.me).then(|| self.answer_partials(partials))
            }
            Message::Token(bytes) => {
                let token = element::<G>(&bytes, rules)?;
                if self.new < 2 || self.turn()? != *from || self.passed >= self.new {
                    return None;
                }
                self.passed += 1;
                (self.turn()? == self.me).then(|| self.pass_on(token))
            }
            Message::Last(bytes) => {
                let last = element::<G>(&bytes, rules)?;
                if self.new < 2 || self.turn()? != *from || self.passed != self.new {
                    return None;
                }
                self.passed += 1;
                let without = G::raise(&last, &G::inverse(&self.share));
                self.last = Some(last);
                Some(self.send(Message::Without(G::encode(&without)), None))
            }
            Message::Without(bytes) => self.on_without(from, &bytes, rules),
            Message::List(bytes) => {
                let sender = if self.new == 0 { &self.starter } else { self.order.last()? };
                let complete = self.passed == if self.new >= 2 { self.new + 1 } else { self.new };
                if from != sender || self.list.is_some() || !complete {
                    return None;
                }
                let list = self.list_of(&bytes, rules)?;
                let secret = G::raise(list.get(&self.me)?, &self.share);
                (self.list, self.done) = (Some(list), true);
                Some(Output { secret: Some(G::to_secret(&secret)), ..Output::default() })
            }
        }
    }

    /// The only newcomer puts its share into everybody's partial.
    fn answer_partials(&mut self, mut partials: List<G>) -> Output {
        let me = self.me.clone();
        for (name, partial) in &mut partials {
            if *name != me {
                *partial = G::raise(partial, &self.share);
            }
        }
        let secret = partials.get(&me).map(|mine| G::to_secret(&G::raise(mine, &self.share)));
        let message = Message::List(self.bytes_of(&partials));
        (self.list, self.done) = (Some(partials), true);
        self.send(message, secret)
    }

    /// A newcomer among several has the token.
    fn pass_on(&mut self, token: G::Element) -> Output {
        self.passed += 1;
        if self.order.last() == Some(&self.me) {
            let message = Message::Last(G::encode(&token));
            self.last = Some(token);
            return self.send(message, None);
        }
        let token = G::raise(&token, &self.share);
        self.send(Message::Token(G::encode(&token)), None)
    }

    /// The last newcomer collects what everybody else's partial is made of; the others see whose turn it is.
    fn on_without(&mut self, from: &Name, bytes: &[u8; 32], rules: Rules) -> Option<Output> {
        let without = element::<G>(bytes, rules)?;
        let (last, last_member) = (self.last.clone()?, self.order.last()?.clone());
        if *from == last_member || !self.order.contains(from) || self.without.contains_key(from) {
            return None;
        }
        self.without.insert(from.clone(), without);
        if last_member != self.me || self.without.len() + 1 < self.order.len() {
            return None;
        }
        let mut list: List<G> =
            self.without.iter().map(|(name, without)| (name.clone(), G::raise(without, &self.share))).collect();
        list.insert(self.me.clone(), last.clone());
        let secret = G::to_secret(&G::raise(&last, &self.share));
        let message = Message::List(self.bytes_of(&list));
        (self.list, self.done) = (Some(list), true);
        Some(self.send(message, Some(secret)))
    }

    /// Who passes the token on next: the starter, then the newcomers.
    fn turn(&self) -> Option<Name> {
        match self.passed.checked_sub(1) {
            None => Some(self.starter.clone()),
            Some(place) => self.newcomers().get(place).cloned(),
        }
    }

    fn awaited(&self) -> BTreeSet<Name> {
        if self.list.is_some() {
            return BTreeSet::new();
        }
        let newest = self.order.last().cloned();
        match self.new {
            0 => [self.starter.clone()].into(),
            1 if self.passed == 0 => [self.starter.clone()].into(),
            1 => newest.into_iter().collect(),
            _ if self.last.is_none() => self.turn().into_iter().collect(),
            _ => {
                let others = self.order.iter().filter(|name| Some(*name) != newest.as_ref() && **name != self.me);
                let lacking: BTreeSet<Name> =
                    others.filter(|name| !self.without.contains_key(*name)).cloned().collect();
                if lacking.is_empty() { newest.into_iter().collect() } else { lacking }
            }
        }
    }

    fn bytes_of(&self, list: &List<G>) -> Vec<[u8; 32]> {
        self.order.iter().filter_map(|name| list.get(name)).map(G::encode).collect()
    }

    fn list_of(&self, bytes: &[[u8; 32]], rules: Rules) -> Option<List<G>> {
        if bytes.len() != self.order.len() {
            return None;
        }
        self.order.iter().zip(bytes).map(|(name, bytes)| Some((name.clone(), element::<G>(bytes, rules)?))).collect()
    }

    fn send(&self, message: Message, secret: Option<Secret32>) -> Output {
        Output { messages: vec![(None, codec::encode(&message))], secret, failed: false }
    }
}
