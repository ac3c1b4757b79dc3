//! Who can talk to whom, and whether those who can have one key.

use std::collections::{BTreeMap, BTreeSet};

use super::room::{Person, Presence, State, View};
use super::words::{Absence, absent, crowd};

impl State {
    fn reach(&self, a: usize, b: usize) -> bool {
        !self.cuts.iter().any(|cut| *cut == (a, b) || *cut == (b, a))
    }

    /// The people who take part, in as many groups as the network is in parts.
    pub fn halves(&self) -> Vec<BTreeSet<&str>> {
        let mut halves: Vec<(Vec<usize>, BTreeSet<&str>)> = Vec::new();
        for Person { name, place, .. } in self.people.iter().filter(|person| person.takes_part()) {
            let here = |(places, _): &&mut (Vec<usize>, _)| places.iter().any(|other| self.reach(*other, *place));
            match halves.iter_mut().find(here) {
                Some((places, names)) => {
                    places.push(*place);
                    names.insert(name);
                }
                None => halves.push((vec![*place], [name.as_str()].into())),
            }
        }
        halves.into_iter().map(|(_, names)| names).collect()
    }

    /// Whether each half has one key, and knows who else has it.
    pub fn is_settled(&self) -> bool {
        let halves = self.halves();
        !halves.is_empty() && halves.iter().all(|half| self.has_one_key(half))
    }

    fn has_one_key(&self, half: &BTreeSet<&str>) -> bool {
        let people = self.people.iter().filter(|person| half.contains(person.name.as_str()));
        let mut views = people.map(|person| person.view.as_ref().filter(|_| !person.changing));
        let Some(Some(first)) = views.next() else { return false };
        first.members.iter().map(String::as_str).eq(half.iter().copied()) && views.all(|view| view == Some(first))
    }

    /// Whether the network is cut, and each half has a key of its own.
    pub fn are_apart(&self) -> bool {
        self.halves().len() > 1 && self.is_settled()
    }

    /// Whether the network is whole, and all who take part have one key.
    pub fn all_have_one_key(&self) -> bool {
        self.cuts.is_empty() && self.halves().len() == 1 && self.is_settled()
    }

    /// Who has which key.
    pub fn parts_by_key(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut parts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for person in self.people.iter().filter(|person| person.takes_part()) {
            if let Some(view) = &person.view {
                parts.entry(&view.key).or_default().insert(&person.name);
            }
        }
        parts
    }

    /// Who is not in a view that somebody at this place has, and why.
    pub fn without(&self, view: &View, place: usize) -> BTreeMap<Absence, BTreeSet<String>> {
        let mut without: BTreeMap<Absence, BTreeSet<String>> = BTreeMap::new();
        for person in self.people.iter().filter(|person| !view.members.contains(&person.name)) {
            let why = match person.presence() {
                Presence::Away => Absence::Left,
                Presence::Frozen => Absence::Frozen,
                Presence::In if !self.reach(place, person.place) => Absence::CutOff,
                Presence::In if person.view.is_some() => Absence::OutOfReach,
                Presence::In => Absence::NotYet,
            };
            without.entry(why).or_default().insert(person.name.clone());
        }
        without
    }

    /// How a new view came about, from the views that its members have had so far.
    pub fn came_about(&self, view: &View, without: &BTreeMap<Absence, BTreeSet<String>>) -> String {
        let mut parts: BTreeMap<&[u8], (&View, Vec<&str>)> = BTreeMap::new();
        let mut fresh = Vec::new();
        for person in self.people.iter().filter(|person| view.members.contains(&person.name)) {
            match &person.view {
                Some(old) => parts.entry(&old.name).or_insert((old, Vec::new())).1.push(&person.name),
                None => fresh.push(person.name.as_str()),
            }
        }
        // Who came here by two steps and by one has not been apart.
        let all: BTreeSet<&String> = parts.values().flat_map(|(old, _)| &old.members).collect();
        let apart = all.len() == parts.values().map(|(old, _)| old.members.len()).sum::<usize>();
        let mut parts: Vec<String> = parts.into_values().map(|(_, names)| crowd(names)).collect();
        parts.sort();
        let mut text = String::new();
        if let [first, others @ ..] = parts.as_slice()
            && !others.is_empty()
            && apart
        {
            text += &format!("The halves meet: {first}; and {}. ", others.join("; and "));
        }
        if !fresh.is_empty() && !parts.is_empty() {
            text +=
                &format!("{} {} in. ", crowd(fresh.iter().copied()), if fresh.len() > 1 { "come" } else { "comes" });
        }
        for (why, names) in without.iter().filter(|(why, _)| **why != Absence::NotYet) {
            text += &format!("Without {}. ", absent(*why, names));
        }
        text + &format!("New key {}: {}.", view.key, crowd(view.members.iter().map(String::as_str)))
    }

    /// What is so, from what people report.
    pub fn banner(&self) -> String {
        if let Some(why) = &self.failed {
            return format!("This page's sites have failed: {why}.");
        }
        let parts = self.parts_by_key();
        let groups: Vec<String> = parts.values().map(|people| crowd(people.iter().copied())).collect();
        match (self.cuts.is_empty(), parts.len()) {
            (_, 0) if self.people.iter().all(|person| !person.takes_part()) => "Nobody takes part.".to_owned(),
            (_, 0) => "Three sites start, and six people make a key…".to_owned(),
            (false, _) if self.are_apart() => format!(
                "The network is cut. Each half goes on with a key and an order of its own, and neither can read the other: {}.",
                groups.join("; ")
            ),
            (false, 1) if self.is_settled() => {
                format!("The network is cut, and nobody is left on the other side. Still in: {}.", groups.join("; "))
            }
            (false, 1) => "The network is cut. The halves are about to notice it…".to_owned(),
            (false, _) => "The network is cut. Each half makes a key of its own…".to_owned(),
            (true, 1) if self.all_have_one_key() => {
                let away: Vec<&str> = self
                    .people
                    .iter()
                    .filter(|person| !person.takes_part())
                    .map(|person| person.name.as_str())
                    .collect();
                match away.as_slice() {
                    [] => "The network is whole, and all have one key.".to_owned(),
                    away => format!("The network is whole. All have one key, except {}.", crowd(away.iter().copied())),
                }
            }
            (true, 1) => "The people make a new key…".to_owned(),
            (true, _) => format!("Not all have one key yet: {}.", groups.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::Room;
    use super::super::words::fingerprint;
    use super::*;

    fn view(name: u8, members: &[&str]) -> View {
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        View { name: vec![name], key: fingerprint(&[name; 8]), members }
    }

    fn have(state: &mut State, views: &[Option<View>]) {
        state.people.iter_mut().zip(views).for_each(|(person, view)| person.view.clone_from(view));
    }

    #[test]
    fn halves_count_as_apart_only_with_keys_of_their_own() {
        let room = Room::new(&[("ana", 0), ("eva", 2)]);
        let mut state = room.state();
        assert!(!state.all_have_one_key() && !state.are_apart());
        let both = view(1, &["ana", "eva"]);
        have(&mut state, &[Some(both.clone()), Some(both.clone())]);
        assert!(state.all_have_one_key() && !state.are_apart());
        state.cuts = vec![(0, 2), (2, 0)];
        assert!(!state.all_have_one_key() && !state.are_apart());
        have(&mut state, &[Some(view(2, &["ana"])), Some(both)]);
        assert!(!state.are_apart(), "one half has not noticed yet");
        have(&mut state, &[Some(view(2, &["ana"])), Some(view(3, &["eva"]))]);
        assert!(state.are_apart() && !state.all_have_one_key());
        state.people.iter_mut().for_each(|person| person.changing = true);
        assert!(!state.are_apart());
    }

    #[test]
    fn a_new_view_is_told_by_where_its_members_come_from() {
        let room = Room::new(&[("ana", 0), ("ben", 0), ("eva", 2), ("finn", 2)]);
        let mut state = room.state();
        let told = |state: &State, view: &View| state.came_about(view, &state.without(view, 0));
        let (half, other) = (view(2, &["ana", "ben"]), view(3, &["eva"]));
        have(&mut state, &[Some(half.clone()), Some(half.clone()), Some(other), None]);
        let met = view(4, &["ana", "ben", "eva"]);
        assert_eq!(
            told(&state, &met),
            "The halves meet: Ana and Ben; and Eva. New key 0404 0404 0404 0404: Ana, Ben and Eva."
        );
        state.cuts = vec![(0, 2), (2, 0)];
        assert_eq!(
            told(&state, &half),
            "Without Eva and Finn, who were cut off. New key 0202 0202 0202 0202: Ana and Ben."
        );
        state.cuts.clear();
        have(&mut state, &[Some(met.clone()), Some(met.clone()), Some(met), None]);
        let all = view(5, &["ana", "ben", "eva", "finn"]);
        assert_eq!(told(&state, &all), "Finn comes in. New key 0505 0505 0505 0505: Ana, Ben, Eva and Finn.");
    }
}
