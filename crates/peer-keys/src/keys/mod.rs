//! Keys: one robust frame around all protocols, and the protocols.
//!
//! A protocol is a value that makes an *offer* for the next view, is started with everybody's offers, exchanges messages
//! of that view and no other, and at last has a secret. It keeps what it needs for the next view only once the secret
//! has become a key ([`Protocol::commit`]): a view that breaks off leaves no trace in it.

pub mod ckd;
pub mod context;
pub mod gdh;
pub mod robust;
pub mod tgdh;

use std::collections::BTreeSet;

use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_peer::Name;

use crate::group::Group;
use crate::ids::Context;
use crate::policy::KeyProtocol;
use crate::rules::{Rule, Rules};

/// A view as a protocol sees it.
#[derive(Clone, Debug)]
pub struct KeyView<'a> {
    /// This member's place.
    pub me: usize,
    /// All members, sorted by name, each with its offer.
    pub members: Vec<(&'a Name, &'a [u8])>,
    /// How often the members have begun again in the sites' view.
    pub attempt: u32,
    /// What the view is bound by.
    pub context: Context,
}

impl KeyView<'_> {
    /// The place of a member.
    pub fn place(&self, name: &Name) -> Option<usize> {
        self.members.binary_search_by(|(other, _)| (*other).cmp(name)).ok()
    }

    /// The name at a place.
    pub fn name(&self, place: usize) -> Option<&Name> {
        self.members.get(place).map(|(name, _)| *name)
    }
}

/// What a step of a protocol brings.
#[must_use = "messages must be sent and a secret used"]
#[derive(Debug, Default)]
pub struct Output {
    /// Messages, each to one member or to all.
    pub messages: Vec<(Option<Name>, Vec<u8>)>,
    /// The secret, once.
    pub secret: Option<Secret32>,
    /// What came leaves this member without a secret: all have to begin again.
    pub failed: bool,
}

/// The protocol that a group's policy names.
pub enum Protocol<G: Group> {
    /// Tree of Diffie–Hellman keys.
    Tgdh(tgdh::Tgdh<G>),
    /// Group Diffie–Hellman.
    Gdh(gdh::Gdh<G>),
    /// Centralized key distribution.
    Ckd(ckd::Ckd<G>),
}

impl<G: Group> Protocol<G> {
    /// The protocol `kind`, for the member `me`.
    pub fn new(kind: KeyProtocol, me: Name, rules: Rules) -> Self {
        match kind {
            KeyProtocol::Tgdh => Protocol::Tgdh(tgdh::Tgdh::new(me, rules)),
            KeyProtocol::Gdh => Protocol::Gdh(gdh::Gdh::new(me, rules)),
            KeyProtocol::Ckd => Protocol::Ckd(ckd::Ckd::new(me, rules)),
        }
    }

    /// This member's contribution to the next view. `companions`: who has been with it since the last key; `afresh`:
    /// nothing that went before is to be used; `refresh`: this member wants to change its own share.
    pub fn offer(
        &mut self,
        rng: &mut dyn CryptoRng,
        companions: &BTreeSet<Name>,
        afresh: bool,
        refresh: bool,
    ) -> Vec<u8> {
        match self {
            Protocol::Tgdh(p) => p.offer(rng, companions, afresh, refresh),
            Protocol::Gdh(p) => p.offer(afresh, refresh),
            Protocol::Ckd(p) => p.offer(rng, afresh),
        }
    }

    /// Whether `offer` is one that a view can be begun with.
    pub fn accepts(&self, offer: &[u8]) -> bool {
        match self {
            Protocol::Tgdh(p) => p.accepts(offer),
            Protocol::Gdh(p) => p.accepts(offer),
            Protocol::Ckd(p) => p.accepts(offer),
        }
    }

    /// Begins with a view. What was under way is dropped.
    pub fn start(&mut self, rng: &mut dyn CryptoRng, view: &KeyView<'_>) -> Output {
        match self {
            Protocol::Tgdh(p) => p.start(view),
            Protocol::Gdh(p) => p.start(rng, view),
            Protocol::Ckd(p) => p.start(rng, view),
        }
    }

    /// A message of another member of the view. What is wrong in it is ignored.
    pub fn on_message(&mut self, rng: &mut dyn CryptoRng, from: &Name, message: &[u8]) -> Output {
        match self {
            Protocol::Tgdh(p) => p.on_message(from, message),
            Protocol::Gdh(p) => p.on_message(rng, from, message),
            Protocol::Ckd(p) => p.on_message(from, message),
        }
    }

    /// The secret has become a key: what the next view builds on is kept, and what it replaces is wiped.
    pub fn commit(&mut self) {
        match self {
            Protocol::Tgdh(p) => p.commit(),
            Protocol::Gdh(p) => p.commit(),
            Protocol::Ckd(p) => p.commit(),
        }
    }

    /// Whose message is due.
    pub fn awaited(&self) -> BTreeSet<Name> {
        match self {
            Protocol::Tgdh(p) => p.awaited(),
            Protocol::Gdh(p) => p.awaited(),
            Protocol::Ckd(p) => p.awaited(),
        }
    }
}

/// The element that `bytes` encode, if it makes a key that nobody can predict.
pub(crate) fn element<G: Group>(bytes: &[u8; 32], rules: Rules) -> Option<G::Element> {
    let element = G::decode_any(bytes)?;
    (!G::is_identity(&element) || !rules.enforces(Rule::IdentityRefused)).then_some(element)
}

/// What a member goes on from: the digest of a state, and how many members there are older than it. Or nothing.
pub(crate) type Claim = Option<([u8; 32], u32)>;

/// Members of one view by what they come from: those who share the most common past, oldest first, and all others.
///
/// Everybody computes the same from the same offers: each is a digest of the state that its sender goes on from, if it
/// has one, and the sender's place in the order of that state. Where nobody has a past, another one is the oldest at each
/// attempt, so that one who cheats in that place does not have it for ever.
pub(crate) fn base_and_newcomers(claims: &[(usize, Claim)], attempt: u32) -> (Vec<usize>, Vec<usize>) {
    let first = usize::try_from(attempt).unwrap_or(0) % claims.len().max(1);
    let turned: Vec<(usize, Claim)> = match claims.iter().all(|(_, claim)| claim.is_none()) {
        true => claims.iter().cycle().skip(first).take(claims.len()).copied().collect(),
        false => claims.to_vec(),
    };
    let claims = turned.as_slice();
    let mut groups: std::collections::BTreeMap<[u8; 32], Vec<(u32, usize)>> = std::collections::BTreeMap::new();
    for (place, claim) in claims {
        if let Some((digest, age)) = claim {
            groups.entry(*digest).or_default().push((*age, *place));
        }
    }
    let lowest = |group: &Vec<(u32, usize)>| group.iter().map(|(_, place)| *place).min().unwrap_or(usize::MAX);
    let largest = groups.into_values().min_by_key(|group| (usize::MAX - group.len(), lowest(group)));
    let mut base: Vec<usize> = match largest {
        Some(mut group) => {
            group.sort_unstable();
            group.into_iter().map(|(_, place)| place).collect()
        }
        None => claims.first().map(|(place, _)| *place).into_iter().collect(),
    };
    base.dedup();
    let newcomers = claims.iter().map(|(place, _)| *place).filter(|place| !base.contains(place)).collect();
    (base, newcomers)
}
