//! One view of TGDH under way: who sends which blinded key, and what this member has computed.

use std::collections::BTreeSet;

use ringfort_crypto::Secret32;
use ringfort_peer::Name;
use zeroize::Zeroizing;

use super::tree::Tree;
use crate::group::Group;

struct Node<G: Group> {
    parent: Option<usize>,
    children: Option<(usize, usize)>,
    /// The member at a leaf; the sponsor elsewhere.
    name: Name,
    blinded: Option<G::Element>,
}

/// The tree as an array, each node before its children, left before right: everybody numbers the nodes alike.
pub(super) struct Plan<G: Group> {
    nodes: Vec<Node<G>>,
    me: Name,
    /// How far up this member has come, and the key there.
    reached: usize,
    key: Option<Zeroizing<G::Exponent>>,
    done: bool,
}

impl<G: Group> Plan<G> {
    pub fn new(tree: Tree<G>, me: &Name, sponsors: &BTreeSet<Name>) -> Option<Self> {
        let mut nodes = Vec::new();
        lay_out(tree, None, sponsors, &mut nodes);
        let leaf = nodes.iter().position(|node| node.children.is_none() && node.name == *me)?;
        Some(Plan { nodes, me: me.clone(), reached: leaf, key: None, done: false })
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the blinded key of a node is lacking, and `from` is who tells it.
    pub fn expects(&self, node: usize, from: &Name) -> bool {
        self.nodes.get(node).is_some_and(|node| {
            node.blinded.is_none() && node.children.is_some() && node.parent.is_some() && node.name == *from
        })
    }

    pub fn set(&mut self, node: usize, blinded: G::Element) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.blinded = Some(blinded);
        }
    }

    /// Computes as far up as blinded keys are known: what this member has to tell, and the secret once the root is
    /// reached.
    pub fn climb(&mut self, share: &Zeroizing<G::Exponent>) -> (Vec<(usize, G::Element)>, Option<Secret32>) {
        let mut told = Vec::new();
        let mut key = self.key.take().unwrap_or_else(|| share.clone());
        while let Some((parent, sibling)) = self.above(self.reached) {
            let Some(blinded) = self.nodes.get(sibling).and_then(|node| node.blinded.as_ref()) else { break };
            key = G::to_exponent(&G::raise(blinded, &key));
            self.reached = parent;
            if self.expects(parent, &self.me) {
                let blinded = G::generate(&key);
                told.push((parent, blinded.clone()));
                self.set(parent, blinded);
            }
        }
        let at_root = self.above(self.reached).is_none() && !std::mem::replace(&mut self.done, self.reached == 0);
        let secret = at_root.then(|| G::exponent_to_secret(&key));
        self.key = Some(key);
        (told, secret)
    }

    fn above(&self, node: usize) -> Option<(usize, usize)> {
        let parent = self.nodes.get(node)?.parent?;
        let (left, right) = self.nodes.get(parent)?.children?;
        Some((parent, if left == node { right } else { left }))
    }

    /// The sponsors of the lowest nodes whose blinded key is lacking.
    pub fn awaited(&self) -> BTreeSet<Name> {
        let known = |node: usize| self.nodes.get(node).is_some_and(|node| node.blinded.is_some());
        let lacking = self.nodes.iter().filter(|node| {
            node.parent.is_some()
                && node.blinded.is_none()
                && node.children.is_some_and(|(left, right)| known(left) && known(right))
        });
        lacking.map(|node| node.name.clone()).collect()
    }

    /// The tree with all that was learned.
    pub fn into_tree(self) -> Tree<G> {
        let mut nodes: Vec<Option<Node<G>>> = self.nodes.into_iter().map(Some).collect();
        build(&mut nodes, 0).expect("a plan is laid out from a tree")
    }
}

fn build<G: Group>(nodes: &mut [Option<Node<G>>], at: usize) -> Option<Tree<G>> {
    let node = nodes.get_mut(at)?.take()?;
    match node.children {
        None => Some(Tree::Leaf { name: node.name, blinded: node.blinded? }),
        Some((left, right)) => {
            let left = Box::new(build(nodes, left)?);
            let right = Box::new(build(nodes, right)?);
            Some(Tree::Inner { left, right, blinded: node.blinded })
        }
    }
}

/// Lays a subtree out; its place, and its sponsors from right to left as far as they matter to its parent.
fn lay_out<G: Group>(
    tree: Tree<G>,
    parent: Option<usize>,
    sponsors: &BTreeSet<Name>,
    nodes: &mut Vec<Node<G>>,
) -> usize {
    let at = nodes.len();
    match tree {
        Tree::Leaf { name, blinded } => {
            nodes.push(Node { parent, children: None, name, blinded: Some(blinded) });
        }
        Tree::Inner { left, right, blinded } => {
            nodes.push(Node { parent, children: None, name: Name::default(), blinded });
            let left = lay_out(*left, Some(at), sponsors, nodes);
            let right = lay_out(*right, Some(at), sponsors, nodes);
            let name_of = |child: usize| nodes.get(child).map(|node| node.name.clone()).unwrap_or_default();
            // Who replaces its share can compute at once; of several, and where nobody does, the one farthest right.
            let (from_left, from_right) = (name_of(left), name_of(right));
            let name =
                if sponsors.contains(&from_right) || !sponsors.contains(&from_left) { from_right } else { from_left };
            if let Some(node) = nodes.get_mut(at) {
                (node.children, node.name) = (Some((left, right)), name);
            }
        }
    }
    at
}
