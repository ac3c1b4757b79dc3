//! TGDH: a binary tree whose leaves are the members' shares, and whose root is the group's secret.
//!
//! Source: Kim, Perrig, Tsudik, "Tree-based group key agreement" (2004), as remembered; names are theirs. The key of a
//! node is a hash of what its children's keys agree on; a *blinded key* is the generator to a key and public. A member
//! knows the keys on its path, and all blinded keys.
//!
//! Deviations: everybody brings a blinded fresh share with its flush-ok, so a join costs one broadcast after the view,
//! and a member without a past (or one whose past the others do not share) is a leaf of its own. Leaf order and shape
//! are a function of the offers, which all have alike. One loop serves every event: whoever is the *sponsor* of a node
//! broadcasts its blinded key as soon as it can compute it, until everybody knows the root.
//!
//! Security: every change makes at least one member replace its share, and at least one below every node whose key
//! somebody knew who is gone. Others keep their shares, and those are as old as they are: what steals the memory of
//! a member learns the keys since all shares below some node were last replaced. A sponsor chooses its share last, and
//! can try many until it likes the key: it has to be a member to do that, and then it has the key anyway.

mod plan;
#[cfg(test)]
mod tests;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::CryptoRng;
use ringfort_kernel::codec;
use ringfort_peer::Name;
use zeroize::Zeroizing;

use self::plan::Plan;
use self::tree::{Flat, Tree};
use crate::group::Group;
use crate::keys::{KeyView, Output, element};
use crate::rules::{Rule, Rules};

type Share<G> = Zeroizing<<G as Group>::Exponent>;

/// A contribution to the next view.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Offer {
    /// The blinded fresh share.
    leaf: [u8; 32],
    /// The digest of the tree that the sender goes on from.
    tree: Option<[u8; 32]>,
    /// That tree, from one of those who have it.
    shape: Option<Vec<Flat>>,
    /// The sender wants to replace its share.
    refresh: bool,
}

/// Blinded keys of nodes, by their place in the tree.
type Blinded = Vec<(u16, [u8; 32])>;

/// What is kept from one view to the next.
struct Kept<G: Group> {
    tree: Tree<G>,
    digest: [u8; 32],
    share: Share<G>,
}

/// TGDH, at one member.
pub struct Tgdh<G: Group> {
    me: Name,
    rules: Rules,
    kept: Option<Kept<G>>,
    /// The share whose blinded form was offered last.
    fresh: Option<Share<G>>,
    /// The view that is under way.
    plan: Option<(Plan<G>, Share<G>)>,
}

impl<G: Group> Tgdh<G> {
    /// The member `me`, without a past.
    pub fn new(me: Name, rules: Rules) -> Self {
        Tgdh { me, rules, kept: None, fresh: None, plan: None }
    }

    /// See [`crate::keys::Protocol::offer`].
    pub fn offer(
        &mut self,
        rng: &mut dyn CryptoRng,
        companions: &BTreeSet<Name>,
        afresh: bool,
        refresh: bool,
    ) -> Vec<u8> {
        self.plan = None;
        let share = G::random(rng);
        let leaf = G::encode(&G::generate(&share));
        self.fresh = Some(share);
        let kept = self.kept.as_ref().filter(|_| !afresh);
        // Of those who have been together since, the first that is in the tree tells the others what it looks like.
        let tells = |kept: &&Kept<G>| {
            let first = kept.tree.names().into_iter().filter(|name| companions.contains(*name)).min();
            first.is_none_or(|first| *first >= self.me)
        };
        let shape = kept.filter(tells).map(|kept| kept.tree.flatten());
        codec::encode(&Offer { leaf, tree: kept.map(|kept| kept.digest), shape, refresh })
    }

    /// See [`crate::keys::Protocol::accepts`].
    pub fn accepts(&self, offer: &[u8]) -> bool {
        let Ok(offer) = codec::decode::<Offer>(offer) else { return false };
        element::<G>(&offer.leaf, self.rules).is_some()
            && offer.shape.is_none_or(|shape| Tree::<G>::unflatten(&shape, self.rules).is_some())
    }

    /// See [`crate::keys::Protocol::start`].
    pub fn start(&mut self, view: &KeyView<'_>) -> Output {
        self.plan = None;
        let Some(fresh) = self.fresh.take() else { return Output::default() };
        let Some((tree, renewed)) = self.grow(view) else { return Output::default() };
        let mine_is_fresh = renewed.fresh.contains(&self.me);
        let share = match self.kept.as_ref().filter(|_| !mine_is_fresh) {
            Some(kept) => kept.share.clone(),
            None => fresh,
        };
        let Some(mut plan) = Plan::new(tree, &self.me, &renewed.sponsors) else { return Output::default() };
        let output = output::<G>(plan.climb(&share));
        self.plan = Some((plan, share));
        output
    }

    /// See [`crate::keys::Protocol::on_message`].
    pub fn on_message(&mut self, from: &Name, message: &[u8]) -> Output {
        let Some((plan, share)) = &mut self.plan else { return Output::default() };
        let Ok(blinded) = codec::decode::<Blinded>(message) else { return Output::default() };
        for (node, bytes) in blinded.into_iter().take(plan.len()) {
            if plan.expects(usize::from(node), from)
                && let Some(element) = element::<G>(&bytes, self.rules)
            {
                plan.set(usize::from(node), element);
            }
        }
        output::<G>(plan.climb(share))
    }

    /// See [`crate::keys::Protocol::commit`].
    pub fn commit(&mut self) {
        if let Some((plan, share)) = self.plan.take() {
            let tree = plan.into_tree();
            let digest = tree.digest();
            self.kept = Some(Kept { tree, digest, share });
        }
    }

    /// See [`crate::keys::Protocol::awaited`].
    pub fn awaited(&self) -> BTreeSet<Name> {
        self.plan.as_ref().map(|(plan, _)| plan.awaited()).unwrap_or_default()
    }

    /// The tree of a view: what its members come from, less who is gone, put together; and who replaces its share.
    fn grow(&self, view: &KeyView<'_>) -> Option<(Tree<G>, tree::Renewed)> {
        let mut leaves: BTreeMap<&Name, G::Element> = BTreeMap::new();
        let mut claims: BTreeMap<[u8; 32], BTreeSet<&Name>> = BTreeMap::new();
        let mut shapes: BTreeMap<[u8; 32], Tree<G>> = BTreeMap::new();
        let mut renewed = tree::Renewed::default();
        for (name, offer) in &view.members {
            let offer: Offer = codec::decode(offer).ok()?;
            leaves.insert(name, element::<G>(&offer.leaf, self.rules)?);
            if offer.refresh && offer.tree.is_some() {
                renewed.renew(name);
            }
            let Some(digest) = offer.tree else { continue };
            claims.entry(digest).or_default().insert(name);
            if let Some(shape) = offer.shape
                && let Some(tree) = Tree::unflatten(&shape, self.rules)
                && tree.digest() == digest
            {
                shapes.insert(digest, tree);
            }
        }
        let mut parts: Vec<Tree<G>> = Vec::new();
        let mut placed: BTreeSet<Name> = BTreeSet::new();
        for (digest, claimants) in &claims {
            let stays = |name: &Name| claimants.contains(name) && !placed.contains(name);
            let Some(tree) = shapes.remove(digest) else { continue };
            if let Some(tree) = tree.retain(&stays, &mut renewed) {
                placed.extend(tree.names().into_iter().cloned());
                parts.push(tree);
            }
        }
        for (name, leaf) in &leaves {
            if !placed.contains(*name) {
                renewed.fresh.insert((*name).clone());
                parts.push(Tree::leaf((*name).clone(), leaf.clone()));
            }
        }
        let mut tree = Tree::join(parts, &mut renewed)?;
        if renewed.sponsors.is_empty() && renewed.fresh.is_empty() {
            renewed.renew(tree.rightmost());
        }
        if !self.rules.enforces(Rule::FreshShare) {
            renewed.fresh.retain(|name| !placed.contains(name));
        }
        tree.replace(&renewed.fresh, &leaves);
        Some((tree, renewed))
    }
}

fn output<G: Group>((blinded, root): (Vec<(usize, G::Element)>, Option<ringfort_crypto::Secret32>)) -> Output {
    let blinded: Blinded = blinded
        .into_iter()
        .filter_map(|(node, element)| Some((u16::try_from(node).ok()?, G::encode(&element))))
        .collect();
    let messages = if blinded.is_empty() { Vec::new() } else { vec![(None, codec::encode(&blinded))] };
    Output { messages, secret: root, failed: false }
}
