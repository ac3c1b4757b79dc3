//! Agreed order: one order over all agreed and safe messages and all views, over all groups, that every process's
//! sequence keeps.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Event, Service, ViewId};
use crate::{History, Report};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Node<'a> {
    Message(&'a str),
    View(&'a str, ViewId),
}

pub fn check(history: &History<'_>, report: &mut Report) {
    let mut after: BTreeMap<Node<'_>, BTreeSet<Node<'_>>> = BTreeMap::new();
    let mut incoming: BTreeMap<Node<'_>, usize> = BTreeMap::new();
    for events in history.events.values() {
        let nodes: Vec<Node<'_>> = events.iter().filter_map(|event| node(event)).collect();
        nodes.iter().for_each(|node| {
            incoming.entry(*node).or_default();
        });
        for pair in nodes.windows(2) {
            if let [a, b] = pair
                && after.entry(*a).or_default().insert(*b)
            {
                *incoming.entry(*b).or_default() += 1;
            }
        }
    }
    let mut free: Vec<Node<'_>> = incoming.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut placed = 0;
    while let Some(node) = free.pop() {
        placed += 1;
        for next in after.get(&node).into_iter().flatten() {
            if let Some(count) = incoming.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    free.push(*next);
                }
            }
        }
    }
    let circle: Vec<_> = incoming.iter().filter(|(_, count)| **count > 0).map(|(node, _)| *node).take(6).collect();
    report.expect(placed == incoming.len(), || format!("no one order holds all sequences: {circle:?} are in a circle"));
}

fn node(event: &Event) -> Option<Node<'_>> {
    match event {
        Event::Deliver { m, svc: Service::Agreed | Service::Safe, .. } => Some(Node::Message(m)),
        Event::Reg { g, id, .. } => Some(Node::View(g, *id)),
        _ => None,
    }
}
