//! The tree as a shape: who sits where, which blinded keys are known, and what joins, leaves and merges do to it.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_kernel::codec;
use ringfort_peer::Name;

use crate::group::Group;
use crate::ids::MEMBERS_MAX;
use crate::keys::element;
use crate::rules::Rules;

/// How deep a tree may be.
pub const DEPTH_MAX: usize = 64;

/// A node in a tree that is sent: all of them, each before its children, left before right.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Flat {
    /// A member and its blinded share.
    Leaf(Name, [u8; 32]) = 0,
    /// A node with two children, and its blinded key. The root has none.
    Inner(Option<[u8; 32]>) = 1,
}

/// Who replaces its share, and who is to tell the others what follows from that.
#[derive(Debug, Default)]
pub struct Renewed {
    /// Members whose leaf is the share that they offered.
    pub fresh: BTreeSet<Name>,
    /// Members from older trees who do: they can compute at once what is above them.
    pub sponsors: BTreeSet<Name>,
}

impl Renewed {
    /// A member of an older tree replaces its share.
    pub fn renew(&mut self, name: &Name) {
        self.fresh.insert(name.clone());
        self.sponsors.insert(name.clone());
    }
}

/// A tree.
pub enum Tree<G: Group> {
    /// A member.
    Leaf {
        /// Who.
        name: Name,
        /// Its blinded share.
        blinded: G::Element,
    },
    /// A node with two children.
    Inner {
        /// The left child.
        left: Box<Tree<G>>,
        /// The right child.
        right: Box<Tree<G>>,
        /// Its blinded key, where it is known and stands.
        blinded: Option<G::Element>,
    },
}

impl<G: Group> Tree<G> {
    /// A member alone.
    pub fn leaf(name: Name, blinded: G::Element) -> Self {
        Tree::Leaf { name, blinded }
    }

    /// A new node over two trees.
    pub fn over(left: Tree<G>, right: Tree<G>) -> Self {
        Tree::Inner { left: Box::new(left), right: Box::new(right), blinded: None }
    }

    /// The members, left to right.
    pub fn names(&self) -> Vec<&Name> {
        let mut names = Vec::new();
        self.collect(&mut names);
        names
    }

    fn collect<'a>(&'a self, names: &mut Vec<&'a Name>) {
        match self {
            Tree::Leaf { name, .. } => names.push(name),
            Tree::Inner { left, right, .. } => {
                left.collect(names);
                right.collect(names);
            }
        }
    }

    /// The longest path from here down.
    pub fn height(&self) -> usize {
        match self {
            Tree::Leaf { .. } => 0,
            Tree::Inner { left, right, .. } => 1 + left.height().max(right.height()),
        }
    }

    /// The member farthest to the right.
    pub fn rightmost(&self) -> &Name {
        match self {
            Tree::Leaf { name, .. } => name,
            Tree::Inner { right, .. } => right.rightmost(),
        }
    }

    fn leftmost(&self) -> &Name {
        match self {
            Tree::Leaf { name, .. } => name,
            Tree::Inner { left, .. } => left.leftmost(),
        }
    }

    /// The tree without those who do not stay: the sibling of who goes takes its parent's place, and somebody under it
    /// replaces its share, so that no key above it is one that the one who goes has known.
    pub fn retain(self, stays: &dyn Fn(&Name) -> bool, renewed: &mut Renewed) -> Option<Self> {
        match self {
            Tree::Leaf { name, blinded } => stays(&name).then_some(Tree::Leaf { name, blinded }),
            Tree::Inner { left, right, blinded } => {
                let (before_left, before_right) = (left.names().len(), right.names().len());
                match (left.retain(stays, renewed), right.retain(stays, renewed)) {
                    (Some(left), Some(right)) => {
                        let whole = left.names().len() == before_left && right.names().len() == before_right;
                        Some(Tree::Inner {
                            left: Box::new(left),
                            right: Box::new(right),
                            blinded: blinded.filter(|_| whole),
                        })
                    }
                    (Some(only), None) | (None, Some(only)) => {
                        renewed.renew(only.rightmost());
                        Some(only)
                    }
                    (None, None) => None,
                }
            }
        }
    }

    /// One tree of several: the others go into the tallest, each at the shallowest rightmost node where the tree does not
    /// grow, or else over its root. At each such node one member of either side replaces its share.
    pub fn join(mut parts: Vec<Tree<G>>, renewed: &mut Renewed) -> Option<Self> {
        parts.sort_by(|a, b| (b.height(), a.leftmost()).cmp(&(a.height(), b.leftmost())));
        let mut parts = parts.into_iter();
        let mut whole = parts.next()?;
        for part in parts {
            if let Tree::Inner { .. } = part {
                renewed.renew(part.rightmost());
            }
            let depth = (0..=whole.height()).find(|depth| whole.has_place(*depth, part.height(), whole.height()));
            whole = whole.insert(part, depth.unwrap_or(0), renewed);
        }
        (whole.height() <= DEPTH_MAX).then_some(whole)
    }

    /// Whether some node at `depth` can take a part of `height` without making a tree of `total` grow.
    fn has_place(&self, depth: usize, height: usize, total: usize) -> bool {
        match (self, depth) {
            (_, 0) => self.height().max(height) < total,
            (Tree::Inner { left, right, .. }, _) => {
                let total = total.saturating_sub(1);
                right.has_place(depth - 1, height, total) || left.has_place(depth - 1, height, total)
            }
            (Tree::Leaf { .. }, _) => false,
        }
    }

    fn insert(self, part: Tree<G>, depth: usize, renewed: &mut Renewed) -> Self {
        let total = self.height();
        self.insert_below(part, depth, total, renewed)
    }

    fn insert_below(self, part: Tree<G>, depth: usize, total: usize, renewed: &mut Renewed) -> Self {
        match self {
            Tree::Inner { left, right, .. } if depth > 0 => {
                let total = total.saturating_sub(1);
                if right.has_place(depth - 1, part.height(), total) {
                    let right = right.insert_below(part, depth - 1, total, renewed);
                    Tree::over(*left, right)
                } else {
                    let left = left.insert_below(part, depth - 1, total, renewed);
                    Tree::over(left, *right)
                }
            }
            node => {
                renewed.renew(node.rightmost());
                Tree::over(node, part)
            }
        }
    }

    /// Puts the fresh leaves in; no blinded key above one of them stands.
    pub fn replace(&mut self, fresh: &BTreeSet<Name>, leaves: &BTreeMap<&Name, G::Element>) -> bool {
        match self {
            Tree::Leaf { name, blinded } => {
                let leaf = leaves.get(name).filter(|_| fresh.contains(name));
                if let Some(leaf) = leaf {
                    *blinded = leaf.clone();
                }
                leaf.is_some()
            }
            Tree::Inner { left, right, blinded } => {
                let (in_left, in_right) = (left.replace(fresh, leaves), right.replace(fresh, leaves));
                if in_left || in_right {
                    *blinded = None;
                }
                in_left || in_right
            }
        }
    }

    /// As it is sent. The root's blinded key is nobody's business.
    pub fn flatten(&self) -> Vec<Flat> {
        let mut nodes = Vec::new();
        self.flatten_into(&mut nodes);
        if let Some(Flat::Inner(blinded)) = nodes.first_mut() {
            *blinded = None;
        }
        nodes
    }

    fn flatten_into(&self, nodes: &mut Vec<Flat>) {
        match self {
            Tree::Leaf { name, blinded } => nodes.push(Flat::Leaf(name.clone(), G::encode(blinded))),
            Tree::Inner { left, right, blinded } => {
                nodes.push(Flat::Inner(blinded.as_ref().map(G::encode)));
                left.flatten_into(nodes);
                right.flatten_into(nodes);
            }
        }
    }

    /// The tree that was sent, if it is one: bounded, each member once.
    pub fn unflatten(nodes: &[Flat], rules: Rules) -> Option<Self> {
        if nodes.len() > 2 * MEMBERS_MAX {
            return None;
        }
        let mut rest = nodes.iter();
        let tree = Self::read(&mut rest, DEPTH_MAX, rules)?;
        let mut names = tree.names();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        (rest.next().is_none() && names.len() == count).then_some(tree)
    }

    fn read(nodes: &mut std::slice::Iter<'_, Flat>, depth: usize, rules: Rules) -> Option<Self> {
        match nodes.next()? {
            Flat::Leaf(name, bytes) => Some(Tree::Leaf { name: name.clone(), blinded: element::<G>(bytes, rules)? }),
            Flat::Inner(bytes) => {
                let depth = depth.checked_sub(1)?;
                let blinded = match bytes {
                    Some(bytes) => Some(element::<G>(bytes, rules)?),
                    None => None,
                };
                let left = Box::new(Self::read(nodes, depth, rules)?);
                let right = Box::new(Self::read(nodes, depth, rules)?);
                Some(Tree::Inner { left, right, blinded })
            }
        }
    }

    /// What names the tree: shape, members and blinded keys.
    pub fn digest(&self) -> [u8; 32] {
        digest("peer group key tree", &[&codec::encode(&self.flatten())])
    }
}
