//! What must hold in every state, and what must happen in some, so that nothing holds for want of events.

use std::sync::Arc;

use ringfort_protocol::view::Cause;
use stateright::Property;

use super::universe::Node;
use super::{Coordinated, Op, Scene, Whole, Wish};

/// What no step may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A leader's accepted state, or its epoch, fell.
    WentBack,
    /// A stay that had ended began again.
    Resurrected,
}

/// The names of properties, for tests of mutants.
pub const VALID_AUTHENTICATION: &str =
    "valid authentication: what an honest leader accepts, an honest leader was asked for";
/// Nothing goes back.
pub const FORWARD: &str = "no accepted state and no epoch goes back, and no stay that ended begins again";
/// One content for one stay.
pub const ONE_CONTENT: &str = "consistency: a stay has one content, and an epoch of one user one view";
/// The semilattice.
pub const SAME_VIEW: &str = "leaders that accepted the same operations are in the same epoch and view";
/// What the paper calls consistency and liveness.
pub const AGREEMENT: &str = "at rest, all honest leaders accepted the same, and all that f+1 of them were asked for";
/// Expulsion takes an operator.
pub const EXPULSION: &str = "nobody is barred unless an honest operator expelled them";
/// f leaders read nothing.
pub const KEYS: &str = "f leaders alone never make the key of a view";

type Holds = fn(&Coordinated, &Whole) -> bool;

/// The properties of a scene.
pub fn all(scene: &Scene) -> Vec<Property<Coordinated>> {
    let mut all = vec![
        Property::always(VALID_AUTHENTICATION, valid_authentication),
        Property::always(FORWARD, |_, whole: &Whole| whole.flaw.is_none()),
        Property::always(SAME_VIEW, same_view),
        Property::always(AGREEMENT, agreement),
        Property::always(EXPULSION, expulsion),
        Property::always(KEYS, keys),
        Property::sometimes("all came to rest with something accepted", |model: &Coordinated, whole: &Whole| {
            whole.accepted_ever != 0 && model.is_at_rest(whole)
        }),
        Property::sometimes("the hacked leader's vote was needed and counted", |model: &Coordinated, whole: &Whole| {
            nodes(model, whole).any(|node| node.liar_counted)
        }),
    ];
    if scene.users_are_honest {
        all.push(Property::always(ONE_CONTENT, one_content));
    }
    all.extend(scene.sometimes.iter().map(|(name, holds)| Property::sometimes(name, *holds as Holds)));
    all
}

fn nodes<'a>(model: &'a Coordinated, whole: &'a Whole) -> impl Iterator<Item = Arc<Node>> + 'a {
    whole.nodes.iter().map(|number| model.universe.node(*number))
}

fn asked_of(whole: &Whole, model: &Coordinated, op: Op) -> usize {
    let wish = model.universe.wish(op);
    let same = |(other, _): &(Op, &Wish)| model.universe.wish(*other).same(wish);
    let places: u16 = (0..).zip(model.universe.wishes()).filter(same).map(|(op, _)| 1 << op).sum();
    whole.asked.iter().filter(|asked| *asked & places != 0).count()
}

/// Whether any honest leader was ever asked for an operation, or for one that counts as the same.
fn asked_ever(whole: &Whole, model: &Coordinated, op: Op) -> bool {
    operations(whole.asked_ever).any(|other| model.universe.wish(other).same(model.universe.wish(op)))
}

fn operations(bits: u16) -> impl Iterator<Item = Op> {
    (0..16).filter(move |op| bits & (1 << op) != 0)
}

fn valid_authentication(model: &Coordinated, whole: &Whole) -> bool {
    operations(whole.accepted_ever).all(|op| asked_ever(whole, model, op))
}

/// Only for honest users: one keeps one pair of keys for each stay. All that one user can have accepted in an epoch
/// is then one content; with several users the paper and we allow two views of one epoch for a while (seed 002 §3.2).
fn one_content(model: &Coordinated, whole: &Whole) -> bool {
    let joins = |op: &Op| matches!(model.universe.wish(*op), Wish::Join { .. });
    let accepted: Vec<Op> = operations(whole.accepted_ever).filter(joins).collect();
    let stay = |op: &Op| model.universe.wish(*op).stay();
    accepted.iter().all(|a| accepted.iter().all(|b| a == b || stay(a) != stay(b)))
}

fn same_view(model: &Coordinated, whole: &Whole) -> bool {
    let nodes: Vec<Arc<Node>> = nodes(model, whole).collect();
    nodes.iter().all(|a| {
        nodes.iter().all(|b| {
            let same = a.ranks == b.ranks && a.accepted == b.accepted;
            !same || (a.epoch, a.members) == (b.epoch, b.members)
        })
    })
}

/// Checked where nothing is under way: there, and only there, no leader can come to accept more by itself. With crashes
/// too, although they are one fault more than f: what a leader was asked for, it has voted for, and its vote is on disk.
fn agreement(model: &Coordinated, whole: &Whole) -> bool {
    if !model.is_at_rest(whole) {
        return true;
    }
    let enough = usize::from(model.universe.rules().f()) + 1;
    let nodes: Vec<Arc<Node>> = nodes(model, whole).collect();
    let agreed = nodes.iter().all(|a| nodes.iter().all(|b| a.accepted == b.accepted && a.epoch == b.epoch));
    let done = |op: Op| {
        let wish = model.universe.wish(op);
        let (user, stay) = wish.stay();
        let rank = match wish {
            Wish::Join { .. } => 2 * u64::from(stay) - 1,
            Wish::Remove { .. } => 2 * u64::from(stay),
        };
        let reached = nodes.iter().all(|node| node.ranks.get(usize::from(user)).is_some_and(|r| *r >= rank));
        reached || asked_of(whole, model, op) < enough
    };
    agreed && (0..model.scene.wishes.len() as u8).all(done)
}

fn expulsion(model: &Coordinated, whole: &Whole) -> bool {
    let expels = |user: usize| {
        (0..).zip(model.universe.wishes()).any(|(op, wish)| match wish {
            Wish::Remove { user: whom, cause: Cause::Expelled, .. } => {
                usize::from(*whom) == user && asked_ever(whole, model, op)
            }
            _ => false,
        })
    };
    nodes(model, whole).all(|node| node.barred.iter().enumerate().all(|(user, barred)| !barred || expels(user)))
}

/// Each honest leader gives its share of a view to that view's members. The attacker has the hacked leader's shares
/// and those given to a user it owns; it makes the key of a view only if that user is in the view.
fn keys(model: &Coordinated, whole: &Whole) -> bool {
    let nodes: Vec<Arc<Node>> = nodes(model, whole).collect();
    nodes.iter().all(|view| {
        let insider = model.scene.attackers_user.is_some_and(|user| is_in(model, view, user));
        let same = |node: &&Arc<Node>| (node.epoch, node.members) == (view.epoch, view.members);
        let given = if insider { nodes.iter().filter(same).count() } else { 0 };
        let shares = usize::from(model.universe.rules().f()) + given;
        shares < model.key_threshold || insider
    })
}

fn is_in(model: &Coordinated, node: &Node, user: u8) -> bool {
    let accepted = node.accepted.get(usize::from(user)).copied().flatten();
    accepted.is_some_and(|op| matches!(model.universe.wish(op), Wish::Join { .. }))
}

/// Events that scenes must show.
pub mod happened {
    use super::*;

    fn accepted(model: &Coordinated, whole: &Whole, which: impl Fn(Wish) -> bool) -> bool {
        operations(whole.accepted_ever).any(|op| which(model.universe.wish(op)))
    }

    /// Somebody came in.
    pub fn join(model: &Coordinated, whole: &Whole) -> bool {
        accepted(model, whole, |wish| matches!(wish, Wish::Join { .. }))
    }

    /// Somebody went.
    pub fn removal(model: &Coordinated, whole: &Whole) -> bool {
        accepted(model, whole, |wish| matches!(wish, Wish::Remove { .. }))
    }

    /// Somebody came back.
    pub fn rejoin(model: &Coordinated, whole: &Whole) -> bool {
        accepted(model, whole, |wish| matches!(wish, Wish::Join { stay: 2, .. }))
    }

    /// Operators' expulsion took effect everywhere.
    pub fn expelled(model: &Coordinated, whole: &Whole) -> bool {
        nodes(model, whole).all(|node| node.barred.iter().any(|barred| *barred))
    }

    /// A leader accepted on the word of f+1 others that had.
    pub fn caught_up(model: &Coordinated, whole: &Whole) -> bool {
        nodes(model, whole).any(|node| node.caught_up)
    }

    /// Two leaders have the same epoch with different members, for a while.
    pub fn two_views(model: &Coordinated, whole: &Whole) -> bool {
        let nodes: Vec<Arc<Node>> = nodes(model, whole).collect();
        nodes.iter().any(|a| nodes.iter().any(|b| a.epoch == b.epoch && a.members != b.members))
    }

    /// Both pairs of keys of a dishonest user's stay were accepted, one after the other.
    pub fn both_keys(model: &Coordinated, whole: &Whole) -> bool {
        !one_content(model, whole)
    }

    /// A leader crashed and all came to rest again, with somebody in.
    pub fn recovered(model: &Coordinated, whole: &Whole) -> bool {
        whole.crashes_left < model.scene.crashes_max && join(model, whole) && model.is_at_rest(whole)
    }

    /// The attacker's user was in, and all honest leaders gave it their shares.
    pub fn insider(model: &Coordinated, whole: &Whole) -> bool {
        model.scene.attackers_user.is_some_and(|user| nodes(model, whole).all(|node| is_in(model, &node, user)))
    }
}
