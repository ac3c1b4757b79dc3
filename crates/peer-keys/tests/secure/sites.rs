//! A model of the sites: what extended virtual synchrony promises, and nothing more.
//!
//! Each process is at a site of its own. A component has one order of messages and changes. Each process has received a
//! part of it from the front, and delivers what it has received; a safe message only once everybody has received it. When
//! a component is cut, each part keeps what any of it has received; then comes the transitional signal, then what is
//! left: of those who are lost nothing that nobody here has received, of those here everything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringfort_peer::{GroupViewId, Name, RingId, Service};
use ringfort_peer_keys::flush::SiteView;
use ringfort_peer_keys::peer::Arrival;

/// What has a place in the order.
#[derive(Clone, Debug)]
pub enum Entry {
    Message { from: Name, service: Service, to: Option<Name>, bytes: Bytes },
    Join(Name),
    Leave(Name),
}

impl Entry {
    fn author(&self) -> &Name {
        match self {
            Entry::Message { from, .. } | Entry::Join(from) | Entry::Leave(from) => from,
        }
    }
}

/// What a process is told.
#[derive(Clone, Debug)]
pub enum Told {
    View(SiteView),
    Transitional,
    Message(Name, Arrival, Bytes),
}

#[derive(Clone, Debug, Default)]
struct Component {
    /// Who is connected.
    processes: BTreeSet<Name>,
    order: Vec<Entry>,
    /// How much each has received, and delivered.
    received: BTreeMap<Name, usize>,
    delivered: BTreeMap<Name, usize>,
    ring: RingId,
}

/// Where each process's own view of the group stands.
#[derive(Clone, Debug, Default)]
struct Seat {
    group: BTreeSet<Name>,
    index: u32,
}

#[derive(Debug, Default)]
pub struct Sites {
    components: Vec<Component>,
    seats: BTreeMap<Name, Seat>,
    outbox: BTreeMap<Name, Vec<Entry>>,
    counter: u64,
    /// What is to be told, in order.
    pub told: Vec<(Name, Told)>,
}

impl Sites {
    pub fn new(processes: &[Name]) -> Self {
        let mut sites = Sites { counter: 1, ..Sites::default() };
        let mut component = Component { ring: RingId { counter: 1, representative: 0 }, ..Component::default() };
        for name in processes {
            component.enter(name);
            sites.seats.insert(name.clone(), Seat::default());
        }
        sites.components.push(component);
        sites
    }

    fn of(&self, name: &Name) -> Option<usize> {
        self.components.iter().position(|component| component.processes.contains(name))
    }

    pub fn is_connected(&self, name: &Name) -> bool {
        self.of(name).is_some()
    }

    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// The group as `name` was told last.
    pub fn group_of(&self, name: &Name) -> &BTreeSet<Name> {
        &self.seats[name].group
    }

    pub fn post(&mut self, entry: Entry) {
        self.outbox.entry(entry.author().clone()).or_default().push(entry);
    }

    /// Who has something to be put into the order.
    pub fn senders(&self) -> Vec<Name> {
        self.outbox
            .iter()
            .filter(|(name, box_)| !box_.is_empty() && self.is_connected(name))
            .map(|(n, _)| n.clone())
            .collect()
    }

    /// Who has something to receive.
    pub fn receivers(&self) -> Vec<Name> {
        let behind = |component: &Component| -> Vec<Name> {
            component
                .received
                .iter()
                .filter(|(_, got)| **got < component.order.len())
                .map(|(name, _)| name.clone())
                .collect()
        };
        self.components.iter().flat_map(behind).collect()
    }

    pub fn order_one(&mut self, from: &Name) {
        let Some(at) = self.of(from) else { return };
        if let Some(box_) = self.outbox.get_mut(from)
            && !box_.is_empty()
        {
            let entry = box_.remove(0);
            self.components[at].order.push(entry);
        }
    }

    pub fn receive_one(&mut self, name: &Name) {
        let Some(at) = self.of(name) else { return };
        let component = &mut self.components[at];
        let got = component.received.get_mut(name).unwrap();
        *got = (*got + 1).min(component.order.len());
        let processes: Vec<Name> = component.processes.iter().cloned().collect();
        for name in processes {
            self.deliver_regular(at, &name);
        }
    }

    fn deliver_regular(&mut self, at: usize, name: &Name) {
        loop {
            let component = &self.components[at];
            let place = component.delivered[name];
            if place >= component.received[name] {
                return;
            }
            let entry = component.order[place].clone();
            let held_by_all = component.received.values().all(|got| *got > place);
            if matches!(entry, Entry::Message { service: Service::Safe, .. }) && !held_by_all {
                return;
            }
            self.deliver(at, name, &entry, place);
        }
    }

    fn deliver(&mut self, at: usize, name: &Name, entry: &Entry, place: usize) {
        let ring = self.components[at].ring;
        self.components[at].delivered.insert(name.clone(), place + 1);
        let seat = self.seats.get_mut(name).unwrap();
        match entry {
            Entry::Message { from, service, to, bytes } => {
                let addressed = to.as_ref().map_or(seat.group.contains(name), |to| to == name);
                if addressed {
                    let arrival = Arrival { service: *service, private: to.is_some() };
                    self.told.push((name.clone(), Told::Message(from.clone(), arrival, bytes.clone())));
                }
            }
            Entry::Join(who) | Entry::Leave(who) => {
                let joins = matches!(entry, Entry::Join(_));
                let changed = if joins { seat.group.insert(who.clone()) } else { seat.group.remove(who) };
                if !changed {
                    return;
                }
                seat.index += 1;
                if seat.group.contains(name) {
                    let members = seat.group.clone();
                    let moved = if joins && who == name {
                        [name.clone()].into()
                    } else {
                        members.iter().filter(|member| !joins || *member != who).cloned().collect()
                    };
                    let id = GroupViewId { ring, index: seat.index };
                    self.told.push((name.clone(), Told::View(SiteView { id, members, moved })));
                }
            }
        }
    }

    /// Cuts a component into those in `part` and the others. What is known of safe messages is decided by `knows`.
    pub fn split(&mut self, at: usize, part: &BTreeSet<Name>, knows: &mut dyn FnMut() -> bool) {
        let component = self.components[at].clone();
        let (ours, theirs): (BTreeSet<Name>, BTreeSet<Name>) =
            component.processes.iter().cloned().partition(|name| part.contains(name));
        if ours.is_empty() || theirs.is_empty() {
            return;
        }
        let stable = component.received.values().min().copied().unwrap_or(0);
        let mut fresh = Vec::new();
        for side in [ours, theirs] {
            self.components[at] = component.clone();
            self.end(at, &side, stable, knows);
            let side_component = self.renewed(&[(at, side)]);
            fresh.push(side_component);
        }
        self.components.remove(at);
        self.components.extend(fresh);
    }

    /// `side` goes on alone: it delivers what is left of the old order.
    fn end(&mut self, at: usize, side: &BTreeSet<Name>, stable: usize, knows: &mut dyn FnMut() -> bool) {
        let component = self.components[at].clone();
        let reach = |map: &BTreeMap<Name, usize>| side.iter().map(|name| map[name]).max().unwrap_or(0);
        let (held, mut regular) = (reach(&component.received), reach(&component.delivered));
        while regular < held {
            let safe = matches!(component.order[regular], Entry::Message { service: Service::Safe, .. });
            if safe && !(regular < stable && knows()) {
                break;
            }
            regular += 1;
        }
        for name in side {
            while self.components[at].delivered[name] < regular {
                let place = self.components[at].delivered[name];
                self.deliver(at, name, &component.order[place], place);
            }
            if self.seats[name].group.contains(name) && self.seats[name].group.iter().any(|other| !side.contains(other))
            {
                self.told.push((name.clone(), Told::Transitional));
            }
            for (place, entry) in component.order.iter().enumerate().skip(regular) {
                if place < held || side.contains(entry.author()) {
                    self.deliver(at, name, entry, place);
                }
            }
        }
    }

    /// Two components come together.
    pub fn merge(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        let mut sides = Vec::new();
        for at in [a, b] {
            let side = self.components[at].processes.clone();
            let all = self.components[at].order.len();
            self.end(at, &side, all, &mut || true);
            sides.push((at, side));
        }
        let merged = self.renewed(&sides);
        let (low, high) = (a.min(b), a.max(b));
        self.components.remove(high);
        self.components.remove(low);
        self.components.push(merged);
    }

    /// A new component of these sides, each from where it was: everybody is told who came together.
    fn renewed(&mut self, sides: &[(usize, BTreeSet<Name>)]) -> Component {
        self.counter += 1;
        let representative = u8::try_from(self.counter % 7).unwrap();
        let ring = RingId { counter: self.counter, representative };
        let mut component = Component { ring, ..Component::default() };
        let mut parts: Vec<BTreeSet<Name>> = Vec::new();
        for (_, side) in sides {
            side.iter().for_each(|name| component.enter(name));
            // All of a side stand alike.
            let first = side.iter().next().unwrap();
            let before = self.seats[first].group.clone();
            parts.push(before.intersection(side).cloned().collect());
        }
        let members: BTreeSet<Name> = parts.iter().flatten().cloned().collect();
        let id = GroupViewId { ring, index: 1 };
        for ((_, side), part) in sides.iter().zip(&parts) {
            for name in side {
                let seat = self.seats.get_mut(name).unwrap();
                let changed = seat.group != members;
                seat.group = members.clone();
                seat.index = 1;
                if changed && members.contains(name) {
                    let view = SiteView { id, members: members.clone(), moved: part.clone() };
                    self.told.push((name.clone(), Told::View(view)));
                }
            }
        }
        component
    }

    /// A process is gone: from now on it is nowhere.
    pub fn crash(&mut self, name: &Name, knows: &mut dyn FnMut() -> bool) {
        let Some(at) = self.of(name) else { return };
        self.outbox.remove(name);
        if self.components[at].processes.len() > 1 {
            self.split(at, &[name.clone()].into(), knows);
        }
        let at = self.of(name).unwrap();
        self.components.remove(at);
        self.seats.insert(name.clone(), Seat::default());
        self.told.retain(|(to, _)| to != name);
    }

    /// A process that was gone connects, in a component of its own.
    pub fn start(&mut self, name: &Name) {
        if !self.is_connected(name) {
            self.outbox.remove(name);
            self.seats.insert(name.clone(), Seat::default());
            let component = self.renewed(&[(0, [name.clone()].into())]);
            self.components.push(component);
        }
    }
}

impl Component {
    fn enter(&mut self, name: &Name) {
        self.processes.insert(name.clone());
        self.received.insert(name.clone(), 0);
        self.delivered.insert(name.clone(), 0);
    }
}
