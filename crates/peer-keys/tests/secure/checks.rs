//! The properties, each on what the processes saw.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_peer::Name;
use ringfort_peer_keys::Group;
use ringfort_peer_keys::ids::Context;
use ringfort_peer_keys::peer::SecureView;

use super::symbolic::{self, Secret};
use super::world::{Seen, World, text};

/// One stay in one secure view: what was delivered in it, and the view after it in the same stay.
struct Stay<'a> {
    view: &'a SecureView,
    got: Vec<(u64, &'a Name)>,
    next: Option<&'a SecureView>,
    stamp: u64,
    in_transition: bool,
}

fn stays<G: Group>(world: &World<G>) -> BTreeMap<&Name, Vec<Stay<'_>>> {
    let mut all = BTreeMap::new();
    for (name, process) in &world.processes {
        let mut stays: Vec<Stay<'_>> = Vec::new();
        let mut open = false;
        for (stamp, seen) in &process.log {
            match seen {
                Seen::Secure { view, in_transition, .. } => {
                    if open && let Some(last) = stays.last_mut() {
                        last.next = Some(view);
                    }
                    open = true;
                    stays.push(Stay {
                        view,
                        got: Vec::new(),
                        next: None,
                        stamp: *stamp,
                        in_transition: *in_transition,
                    });
                }
                Seen::Got { message, from, private: false } => {
                    if let Some(last) = stays.last_mut().filter(|_| open) {
                        last.got.push((*message, from));
                    }
                }
                Seen::Ended => open = false,
                _ => {}
            }
        }
        all.insert(name, stays);
    }
    all
}

/// Everything that is wrong, in words.
pub fn check<G: Group>(world: &World<G>) -> Vec<String> {
    let mut complaints = world.complaints.clone();
    let stays = stays(world);
    sending_views(world, &mut complaints);
    flushes(world, &mut complaints);
    beginnings(world, &stays, &mut complaints);
    virtual_synchrony(&stays, &mut complaints);
    keys(world, &stays, &mut complaints);
    safe_keys(world, &stays, &mut complaints);
    secrecy(world, &mut complaints);
    complaints
}

/// V1, V3: a message is delivered in the view in which it was sent, and its sender is in it.
fn sending_views<G: Group>(world: &World<G>, complaints: &mut Vec<String>) {
    let mut sent: BTreeMap<u64, (&Name, Context)> = BTreeMap::new();
    for (name, process) in &world.processes {
        for (_, seen) in &process.log {
            if let Seen::Sent { message, context, .. } = seen {
                sent.insert(*message, (name, *context));
            }
        }
    }
    for (name, process) in &world.processes {
        let mut view: Option<&SecureView> = None;
        let mut taken = BTreeSet::new();
        for (_, seen) in &process.log {
            match seen {
                Seen::Secure { view: new, .. } => view = Some(new),
                Seen::Ended => view = None,
                Seen::Got { message, from, .. } => {
                    if sent.get(message).is_none_or(|(sender, context)| {
                        *sender != from || Some(*context) != view.map(|view| view.context)
                    }) {
                        complaints.push(format!(
                            "V1: {name:?} got {message} of {from:?} in another view than it was sent in"
                        ));
                    }
                    if view.is_none_or(|view| !view.members.iter().any(|(member, _)| member == from)) {
                        complaints.push(format!("V3: {name:?} got {message} of {from:?}, who is not in the view"));
                    }
                    if !taken.insert(*message) {
                        complaints.push(format!("V1: {name:?} got {message} twice"));
                    }
                }
                _ => {}
            }
        }
    }
}

/// V5: of each sender's messages to all in a view, what is delivered is the beginning.
fn beginnings<G: Group>(world: &World<G>, stays: &BTreeMap<&Name, Vec<Stay<'_>>>, complaints: &mut Vec<String>) {
    let mut sent: BTreeMap<(Context, &Name), Vec<u64>> = BTreeMap::new();
    for (name, process) in &world.processes {
        for (_, seen) in &process.log {
            if let Seen::Sent { message, context, private: false } = seen {
                sent.entry((*context, name)).or_default().push(*message);
            }
        }
    }
    for (name, of) in stays {
        for stay in of {
            for (member, _) in &stay.view.members {
                let got: Vec<u64> = stay.got.iter().filter(|(_, from)| *from == member).map(|(m, _)| *m).collect();
                let sent = sent.get(&(stay.view.context, member)).map(Vec::as_slice).unwrap_or_default();
                if !sent.starts_with(&got) {
                    complaints.push(format!("V5: {name:?} got {got:?} of {sent:?} by {member:?}"));
                }
            }
        }
    }
}

/// V2: a view but the first comes after the application's word, and has all who answered and are not out.
fn flushes<G: Group>(world: &World<G>, complaints: &mut Vec<String>) {
    for (name, process) in &world.processes {
        let (mut first, mut ready) = (true, false);
        for (stamp, seen) in &process.log {
            match seen {
                Seen::FlushOk => ready = true,
                Seen::Ended => (first, ready) = (true, false),
                Seen::Secure { view, site, out, .. } => {
                    if !first && !ready {
                        complaints.push(format!("V2: {name:?} was given a view without its word"));
                    }
                    (first, ready) = (false, false);
                    let members: BTreeSet<Name> = view.members.iter().map(|(member, _)| member.clone()).collect();
                    let expected: BTreeSet<Name> = site.difference(out).cloned().collect();
                    if members != expected {
                        complaints.push(format!("V2: {name:?} has a view of {members:?}, but {expected:?} are there"));
                    }
                    for member in &members {
                        let answered = world.processes.get(member).is_some_and(|process| {
                            let before = process.log.iter().take_while(|(at, _)| at < stamp);
                            before
                                .filter(|(_, seen)| matches!(seen, Seen::Answered(round) if *round == view.round))
                                .count()
                                > 0
                        });
                        if !answered {
                            complaints.push(format!("V2: {name:?} has a view with {member:?}, who did not answer"));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// V4: who moves together has delivered the same messages, in the same order; and both say that they moved together.
fn virtual_synchrony(stays: &BTreeMap<&Name, Vec<Stay<'_>>>, complaints: &mut Vec<String>) {
    for (p, of_p) in stays {
        for stay in of_p {
            let Some(next) = stay.next else { continue };
            for q in next.moved.iter().filter(|q| q != p) {
                let same = |other: &&Stay<'_>| other.next.is_some_and(|other| other.context == next.context);
                let Some(other) = stays.get(q).and_then(|of_q| of_q.iter().find(same)) else { continue };
                if other.view.context != stay.view.context {
                    complaints.push(format!("V4: {p:?} moved with {q:?}, who comes from another view"));
                } else if other.got != stay.got {
                    complaints.push(format!("V4: {p:?} moved with {q:?}: {:?} and {:?}", stay.got, other.got));
                }
                if !other.next.is_some_and(|other| other.moved.contains(*p)) {
                    complaints.push(format!("V4: {p:?} moved with {q:?}, who did not move with it"));
                }
            }
        }
    }
}

/// K1, K2: one key for one view, installed once, in order, confirmed by each of its members.
fn keys<G: Group>(world: &World<G>, stays: &BTreeMap<&Name, Vec<Stay<'_>>>, complaints: &mut Vec<String>) {
    let mut views: BTreeMap<Context, &SecureView> = BTreeMap::new();
    let mut tags: BTreeMap<[u8; 8], Context> = BTreeMap::new();
    for (name, of) in stays {
        let mut last = None;
        let mut seen = BTreeSet::new();
        for Stay { view, .. } in of {
            let known = views.entry(view.context).or_insert(view);
            if known.tag != view.tag || known.members != view.members {
                complaints.push(format!("K1: {name:?} has another key or other members in a view"));
            }
            if *tags.entry(view.tag).or_insert(view.context) != view.context {
                complaints.push(format!("K1: {name:?} has the key of another view"));
            }
            if !seen.insert(view.context) || last.is_some_and(|last| last >= view.round) {
                complaints.push(format!("K2: {name:?} installed a view again, or an older one"));
            }
            last = Some(view.round);
            let confirmed = world.processes[*name].confirmations.get(&view.context);
            let members: BTreeSet<&Name> = view.members.iter().map(|(member, _)| member).collect();
            if confirmed.is_none_or(|confirmed| !members.iter().all(|member| confirmed.contains(*member))) {
                complaints.push(format!("K2: {name:?} uses a key that not all have confirmed"));
            }
        }
    }
}

/// A view installed outside of a transition is installed by all its members, unless their stay ends.
fn safe_keys<G: Group>(world: &World<G>, stays: &BTreeMap<&Name, Vec<Stay<'_>>>, complaints: &mut Vec<String>) {
    for (p, of_p) in stays {
        for stay in of_p.iter().filter(|stay| !stay.in_transition) {
            for (q, _) in &stay.view.members {
                let installs = stays[q].iter().any(|other| other.view.context == stay.view.context);
                let answered = |seen: &Seen| matches!(seen, Seen::Answered(round) if *round == stay.view.round);
                let log = &world.processes[q].log;
                let since =
                    log.iter().rev().find(|(at, seen)| *at < stay.stamp && answered(seen)).map_or(0, |(at, _)| *at);
                let ended = log.iter().any(|(at, seen)| *at > since && matches!(seen, Seen::Ended));
                if !installs && !ended {
                    complaints.push(format!("K4: {p:?} uses a key that {q:?} never had"));
                }
            }
        }
    }
}

/// K3: the secret of a view follows from nothing that all others together ever held; and each member has a part in it.
fn secrecy<G: Group>(world: &World<G>, complaints: &mut Vec<String>) {
    let contributory = world.policy.protocol != ringfort_peer_keys::KeyProtocol::Ckd;
    let mut secrets: BTreeMap<Context, (BTreeSet<String>, BTreeSet<Secret>)> = BTreeMap::new();
    for process in world.processes.values() {
        for (_, seen) in &process.log {
            if let Seen::Secure { view, secret: Some(secret), .. } = seen {
                let members = view.members.iter().map(|(name, _)| text(name)).collect();
                // Of a view with one member, the controller draws a secret that is in no product.
                if contributory || view.members.len() > 1 {
                    secrets.entry(view.context).or_insert_with(|| (members, BTreeSet::new())).1.insert(*secret);
                }
            }
        }
    }
    let everybody: BTreeSet<String> = world.processes.keys().map(text).collect();
    for (members, secrets) in secrets.values() {
        let outsiders = everybody.difference(members).cloned().chain(["mallory".to_owned()]).collect();
        if !symbolic::follow(&outsiders, secrets).is_empty() {
            complaints.push(format!("K3: the key of {members:?} follows from what others held"));
        }
        for member in members.iter().filter(|_| contributory) {
            if !secrets.iter().all(|secret| symbolic::depends_on(*secret, member)) {
                complaints.push(format!("K3: {member} has no part in the key of {members:?}"));
            }
        }
    }
    let mut used: BTreeMap<Secret, Context> = BTreeMap::new();
    for (context, (_, of)) in secrets.iter().filter(|_| contributory) {
        for secret in of {
            if *used.entry(*secret).or_insert(*context) != *context {
                complaints.push("K1: two views have one secret".to_owned());
            }
        }
    }
}
