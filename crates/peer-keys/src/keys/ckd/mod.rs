//! CKD: the oldest member draws the secret and seals it to each of the others.
//!
//! Source: seed 004, appendix. Deviations: members bring a fresh Diffie–Hellman key with their flush-ok, signed, so one
//! broadcast is all there is; the secret is random bytes sealed by AEAD under a key of the pair and the view, instead of
//! an element that is exponentiated; and no pair's key lives longer than the view, so that nobody's key of today
//! opens what was sealed yesterday.
//!
//! Security: not contributory. The controller alone chooses the secret; a bad one can choose one that it has told
//! somebody else before, as any member can tell anybody any key.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::hash::digest;
use ringfort_crypto::kdf::derive;
use ringfort_kernel::codec;
use ringfort_peer::Name;
use zeroize::Zeroizing;

use crate::group::Group;
use crate::ids::Context;
use crate::keys::{Claim, KeyView, Output, base_and_newcomers, element};
use crate::rules::Rules;

type Share<G> = Zeroizing<<G as Group>::Exponent>;

/// The sealed secret and its tag.
type SealedSecret = [u8; 48];

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Offer {
    /// The sender's key for this view.
    public: [u8; 32],
    /// The digest of the view that the sender comes from, and how many there were older than the sender.
    state: Claim,
}

struct Run<G: Group> {
    order: Vec<Name>,
    /// Places of the members in the controller's message.
    places: Vec<Name>,
    controller: Name,
    context: Context,
    /// What opens the controller's message; gone once it is opened.
    pair: Option<(G::Element, Share<G>)>,
    /// The controller's message was no good.
    complained: bool,
    done: bool,
}

/// CKD, at one member.
pub struct Ckd<G: Group> {
    me: Name,
    rules: Rules,
    /// The members of the last view with a key, oldest first, and what names that view.
    kept: Option<(Vec<Name>, [u8; 32])>,
    fresh: Option<Share<G>>,
    run: Option<Run<G>>,
}

impl<G: Group> Ckd<G> {
    /// The member `me`, without a past.
    pub fn new(me: Name, rules: Rules) -> Self {
        Ckd { me, rules, kept: None, fresh: None, run: None }
    }

    /// See [`crate::keys::Protocol::offer`].
    pub fn offer(&mut self, rng: &mut dyn CryptoRng, afresh: bool) -> Vec<u8> {
        self.run = None;
        let share = G::random(rng);
        let public = G::encode(&G::generate(&share));
        self.fresh = Some(share);
        let state = self.kept.as_ref().filter(|_| !afresh).and_then(|(order, digest)| {
            let age = order.iter().position(|name| *name == self.me)?;
            Some((*digest, u32::try_from(age).ok()?))
        });
        codec::encode(&Offer { public, state })
    }

    /// See [`crate::keys::Protocol::accepts`].
    pub fn accepts(&self, offer: &[u8]) -> bool {
        codec::decode::<Offer>(offer).is_ok_and(|offer| element::<G>(&offer.public, self.rules).is_some())
    }

    /// See [`crate::keys::Protocol::start`].
    pub fn start(&mut self, rng: &mut dyn CryptoRng, view: &KeyView<'_>) -> Output {
        self.run = None;
        let offers: Option<Vec<Offer>> = view.members.iter().map(|(_, offer)| codec::decode(offer).ok()).collect();
        let (Some(offers), Some(share)) = (offers, self.fresh.take()) else { return Output::default() };
        let claims: Vec<_> = offers.iter().enumerate().map(|(place, offer)| (place, offer.state)).collect();
        let (base, newcomers) = base_and_newcomers(&claims, view.attempt);
        let order: Vec<Name> = base.iter().chain(&newcomers).filter_map(|place| view.name(*place)).cloned().collect();
        let publics: Option<Vec<G::Element>> =
            offers.iter().map(|offer| element::<G>(&offer.public, self.rules)).collect();
        let (Some(publics), Some(controller)) = (publics, order.first().cloned()) else { return Output::default() };
        let places: Vec<Name> = view.members.iter().map(|(name, _)| (*name).clone()).collect();
        let mut run =
            Run { order, places, controller, context: view.context, pair: None, complained: false, done: false };
        let output = if run.controller == self.me {
            run.done = true;
            run.distribute(rng, &publics, &share)
        } else {
            let public =
                run.places.iter().position(|name| *name == run.controller).and_then(|place| publics.get(place));
            run.pair = public.map(|public| (public.clone(), share));
            Output::default()
        };
        self.run = Some(run);
        output
    }

    /// See [`crate::keys::Protocol::on_message`].
    pub fn on_message(&mut self, from: &Name, message: &[u8]) -> Output {
        let me = &self.me;
        let Some(run) = self.run.as_mut().filter(|run| run.controller == *from) else { return Output::default() };
        let secret = run.open(me, message);
        // Without a word this member would be the one that is waited for in vain.
        let failed = secret.is_none() && !run.done && !std::mem::replace(&mut run.complained, true);
        Output { secret, failed, ..Output::default() }
    }

    /// See [`crate::keys::Protocol::commit`].
    pub fn commit(&mut self) {
        if let Some(run) = self.run.take() {
            let names: Vec<Vec<u8>> = run.order.iter().map(|name| name.as_bytes().to_vec()).collect();
            let digest = digest("peer group controller's order", &[&run.context, &codec::encode(&names)]);
            self.kept = Some((run.order, digest));
        }
    }

    /// See [`crate::keys::Protocol::awaited`].
    pub fn awaited(&self) -> BTreeSet<Name> {
        self.run.iter().filter(|run| !run.done).map(|run| run.controller.clone()).collect()
    }
}

impl<G: Group> Run<G> {
    fn distribute(&self, rng: &mut dyn CryptoRng, publics: &[G::Element], share: &Share<G>) -> Output {
        let secret = Secret32::random(rng);
        let mut sealed: Vec<SealedSecret> = Vec::with_capacity(publics.len());
        for (name, public) in self.places.iter().zip(publics).filter(|(name, _)| **name != self.controller) {
            let key = self.pair_key(&G::raise(public, share), name);
            let bytes = AeadKey::new(&key).seal(&[0; 12], &self.context, secret.expose());
            sealed.push(bytes.try_into().unwrap_or([0; 48]));
        }
        let messages = if sealed.is_empty() { Vec::new() } else { vec![(None, codec::encode(&sealed))] };
        Output { messages, secret: Some(secret), failed: false }
    }

    fn open(&mut self, me: &Name, message: &[u8]) -> Option<Secret32> {
        let sealed: Vec<SealedSecret> = codec::decode(message).ok()?;
        let place = self.places.iter().filter(|name| **name != self.controller).position(|name| name == me)?;
        let mine = sealed.get(place).filter(|_| sealed.len() + 1 == self.places.len())?;
        let (public, share) = self.pair.as_ref()?;
        let key = self.pair_key(&G::raise(public, share), me);
        let secret = Zeroizing::new(AeadKey::new(&key).open(&[0; 12], &self.context, mine).ok()?);
        (self.pair, self.done) = (None, true);
        Some(Secret32::new(secret.as_slice().try_into().ok()?))
    }

    /// Good for one view, one controller, one member: it seals once.
    fn pair_key(&self, shared: &G::Element, member: &Name) -> Secret32 {
        let secret = G::to_secret(shared);
        derive(secret.expose(), "peer group pair key", &[&self.context, self.controller.as_bytes(), member.as_bytes()])
    }
}
