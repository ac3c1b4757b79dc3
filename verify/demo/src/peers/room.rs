//! What the people see, and what of it must be the same: the books of the page.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ringfort_attack::real::sites::NAMES;
use ringfort_peer_keys::Event;
use ringfort_peer_keys::peer::SecureView;
use ringfort_site::{Report, Speaker};

use super::facts::{Facts, Line, Tone, capital, crowd, fingerprint, listed};

/// Lines of one person's conversation that are kept.
const LOG_MAX: usize = 40;
/// Lines of the story that are kept.
const STORY_MAX: usize = 100;
/// Ends of views that are kept to be compared.
const ENDS_MAX: usize = 256;

/// What identifies a secure view: its context's bytes, which no other view has.
pub(super) type ViewName = Vec<u8>;

/// One person.
pub(super) struct Person {
    pub name: String,
    pub place: usize,
    pub view: Option<View>,
    /// Members were lost, and there is no new key yet.
    pub changing: bool,
    pub log: VecDeque<Line>,
    voice: Option<Speaker>,
    /// What was delivered in the present view, in order.
    heard: Vec<(String, Vec<u8>)>,
}

/// A view with a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct View {
    pub name: ViewName,
    pub key: String,
    pub members: BTreeSet<String>,
}

/// A site.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Site {
    pub runs: bool,
    /// Who is in its ring, itself included.
    pub ring: Vec<String>,
}

/// What a person had heard in a view that it left for another.
struct End {
    from: ViewName,
    to: ViewName,
    who: String,
    heard: Vec<(String, Vec<u8>)>,
}

pub(super) struct State {
    pub people: Vec<Person>,
    pub sites: [Site; NAMES.len()],
    pub cuts: Vec<(usize, usize)>,
    pub talks: bool,
    pub wrote: bool,
    pub failed: Option<String>,
    pub delivered: u64,
    pub keys: BTreeSet<ViewName>,
    /// Pairs of people who left a view together and were compared, and how many of them had heard something else.
    pub compared: u64,
    pub differ: u64,
    pub cut_once: bool,
    pub mended_once: bool,
    /// Whether the halves of a cut were seen with keys of their own.
    pub seen_apart: bool,
    pub met_after_ms: Option<u64>,
    pub story: VecDeque<Line>,
    mended_at: Option<Instant>,
    ends: VecDeque<End>,
    lines: u64,
    started: Instant,
}

/// The books.
pub struct Room(Mutex<State>);

impl Room {
    pub fn new(people: &[(&str, usize)]) -> Self {
        let person = |(name, place): &(&str, usize)| Person {
            name: (*name).to_owned(),
            place: *place,
            view: None,
            changing: false,
            log: VecDeque::new(),
            voice: None,
            heard: Vec::new(),
        };
        Room(Mutex::new(State {
            people: people.iter().map(person).collect(),
            sites: Default::default(),
            cuts: Vec::new(),
            talks: true,
            wrote: false,
            failed: None,
            delivered: 0,
            keys: BTreeSet::new(),
            compared: 0,
            differ: 0,
            cut_once: false,
            mended_once: false,
            seen_apart: false,
            met_after_ms: None,
            story: VecDeque::new(),
            mended_at: None,
            ends: VecDeque::new(),
            lines: 0,
            started: Instant::now(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn facts(&self) -> Facts {
        Facts::of(&self.state())
    }

    pub fn fail(&self, why: &str) {
        self.state().failed = Some(why.to_owned());
    }

    pub fn talks(&self) -> bool {
        self.state().talks
    }

    pub fn set_talks(&self, talks: bool) {
        self.state().talks = talks;
    }

    /// Whoever speaks in somebody's place wants it quiet.
    pub fn is_written_for(&self) {
        let mut state = self.state();
        (state.talks, state.wrote) = (false, true);
    }

    pub fn voice(&self, person: usize) -> Option<Speaker> {
        self.state().people.get(person)?.voice.clone()
    }

    pub fn speaks_with(&self, person: usize, voice: Speaker) {
        if let Some(person) = self.state().people.get_mut(person) {
            person.voice = Some(voice);
        }
    }

    /// A person's stay has ended.
    pub fn is_out(&self, person: usize) {
        if let Some(person) = self.state().people.get_mut(person) {
            (person.view, person.voice, person.changing) = (None, None, false);
            person.heard.clear();
        }
    }

    pub fn told(&self, person: usize, text: &str) {
        self.state().note(person, Tone::View, "", text);
    }

    pub fn is_cut(&self, place: usize) {
        let mut state = self.state();
        (state.cut_once, state.mended_at, state.met_after_ms, state.seen_apart) = (true, None, None, false);
        let site = NAMES.get(place).copied().unwrap_or_default();
        let others: Vec<String> = NAMES.iter().filter(|name| **name != site).map(|name| capital(name)).collect();
        state.tell(Tone::Bad, &format!("The network is cut: {} here, {} there.", capital(site), listed(&others)));
    }

    pub fn is_mended(&self, now: Instant) {
        let mut state = self.state();
        state.mended_once = state.cut_once;
        state.mended_at = Some(now);
        state.tell(Tone::Good, "The network is mended.");
    }

    /// How the network and the sites are.
    pub fn see(&self, cuts: &[(usize, usize)], reports: [Option<Report>; NAMES.len()], now: Instant) {
        let mut state = self.state();
        state.cuts = cuts.to_vec();
        state.sites =
            reports.map(|report| report.map_or_else(Site::default, |report| Site { runs: true, ring: report.ring }));
        if !state.cuts.is_empty() && state.parts_have_keys() {
            state.seen_apart = true;
        }
        if let Some(mended) = state.mended_at
            && state.all_have_one_key()
        {
            let took = u64::try_from(now.duration_since(mended).as_millis()).unwrap_or(u64::MAX);
            (state.mended_at, state.met_after_ms) = (None, Some(took));
            let seconds = took as f64 / 1000.0;
            state.tell(Tone::Good, &format!("All have one key again, {seconds:.1} s after the mending."));
        }
    }

    pub fn on_event(&self, person: usize, event: Event) {
        let mut state = self.state();
        match event {
            Event::Secure(view) => state.on_view(person, view),
            Event::Message { user, message, .. } => state.on_message(person, user, message),
            Event::Transitional => {
                state.change(person);
                state.note(person, Tone::View, "", "Somebody is out of reach.");
            }
            Event::PutOut(_) => {
                state.change(person);
                state.note(person, Tone::View, "", "The others went on without this person, who joins again.");
            }
            Event::Missed(from, count) => {
                state.note(person, Tone::Bad, "", &format!("{count} messages of {} never came.", named(&from)));
            }
            Event::NotOpened(from, _) => {
                state.note(person, Tone::View, "", &format!("Something in the name of {} did not open.", named(&from)));
            }
            Event::FlushRequest | Event::Out(..) | Event::Waiting(_) | Event::KeysDiffer | Event::Crowded(_) => {}
        }
    }
}

impl State {
    fn change(&mut self, person: usize) {
        if let Some(person) = self.people.get_mut(person) {
            person.changing = true;
        }
    }

    fn on_message(&mut self, person: usize, user: String, message: Vec<u8>) {
        self.delivered += 1;
        let text = String::from_utf8_lossy(&message).into_owned();
        self.note(person, Tone::Said, &user, &text);
        if let Some(person) = self.people.get_mut(person) {
            person.heard.push((user, message));
        }
    }

    fn on_view(&mut self, number: usize, secure: SecureView) {
        let users = |names: &BTreeSet<_>| -> BTreeSet<String> {
            secure.members.iter().filter(|(name, _)| names.contains(name)).map(|(_, user)| user.clone()).collect()
        };
        let members: BTreeSet<String> = secure.members.iter().map(|(_, user)| user.clone()).collect();
        let view = View { name: secure.context.to_vec(), key: fingerprint(&secure.tag), members: members.clone() };
        let moved = users(&secure.moved);
        let Some(person) = self.people.get_mut(number) else { return };
        let me = person.name.clone();
        let old = person.view.replace(view.clone());
        person.changing = false;
        let heard = std::mem::take(&mut person.heard);
        if let Some(old) = &old {
            self.compare(End { from: old.name.clone(), to: view.name.clone(), who: me.clone(), heard }, &moved);
        }
        self.note(number, Tone::View, "", &changed(&me, old.as_ref(), &view));
        if self.keys.insert(view.name) {
            let names: Vec<&str> = members.iter().map(String::as_str).collect();
            self.tell(Tone::Plain, &format!("New key {}: {}.", view.key, crowd(&names)));
        }
    }

    /// People who left a view together have heard the same in it, in one order. It is counted where it is not so.
    fn compare(&mut self, end: End, moved: &BTreeSet<String>) {
        for other in &self.ends {
            if (&other.from, &other.to) == (&end.from, &end.to) && moved.contains(&other.who) {
                self.compared += 1;
                self.differ += u64::from(other.heard != end.heard);
            }
        }
        if self.ends.len() == ENDS_MAX {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
    }

    fn note(&mut self, person: usize, tone: Tone, who: &str, text: &str) {
        let line = self.line(tone, who, text);
        if let Some(person) = self.people.get_mut(person) {
            if person.log.len() == LOG_MAX {
                person.log.pop_front();
            }
            person.log.push_back(line);
        }
    }

    fn tell(&mut self, tone: Tone, text: &str) {
        let line = self.line(tone, "", text);
        if self.story.len() == STORY_MAX {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    fn line(&mut self, tone: Tone, who: &str, text: &str) -> Line {
        self.lines += 1;
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Line { n: self.lines, at_ms, tone, who: capital(who), text: text.to_owned() }
    }

    pub fn all_have_one_key(&self) -> bool {
        self.parts_by_key().len() == 1 && self.all_are_settled()
    }

    pub fn all_are_settled(&self) -> bool {
        self.people.iter().all(|person| person.view.is_some() && !person.changing)
    }

    /// Who has which key.
    pub fn parts_by_key(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut parts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for person in &self.people {
            if let Some(view) = &person.view {
                parts.entry(&view.key).or_default().insert(&person.name);
            }
        }
        parts
    }

    /// Whether each half of a cut network has a key of its own, and knows who else has it.
    pub fn parts_have_keys(&self) -> bool {
        let parts = self.parts_by_key();
        let knows = |person: &Person| {
            let view = person.view.as_ref()?;
            let members: BTreeSet<&str> = view.members.iter().map(String::as_str).collect();
            Some(parts.get(view.key.as_str())? == &members)
        };
        parts.len() == 2 && self.all_are_settled() && self.people.iter().all(|person| knows(person) == Some(true))
    }
}

/// A change of view, as one of its members would tell it.
fn changed(me: &str, old: Option<&View>, view: &View) -> String {
    let others = |names: &BTreeSet<String>| -> Vec<String> {
        names.iter().filter(|name| *name != me).map(|name| capital(name)).collect()
    };
    let Some(old) = old else {
        let with = others(&view.members);
        let with = if with.is_empty() { "so far alone".to_owned() } else { format!("with {}", listed(&with)) };
        return format!("In, {with}. Key {}.", view.key);
    };
    let gone: BTreeSet<String> = old.members.difference(&view.members).cloned().collect();
    let come: BTreeSet<String> = view.members.difference(&old.members).cloned().collect();
    let mut text = String::new();
    if !gone.is_empty() {
        text += &format!("Out of reach: {}. ", listed(&others(&gone)));
    }
    if !come.is_empty() {
        text += &format!("Here now: {}. ", listed(&others(&come)));
    }
    text += &format!("New key {}.", view.key);
    text
}

/// As the site knows somebody: `#ana#north`.
fn named(name: &ringfort_peer::Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: u8, members: &[&str]) -> View {
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        View { name: vec![name], key: fingerprint(&[name; 8]), members }
    }

    fn end(who: &str, heard: &[&str]) -> End {
        let heard = heard.iter().map(|text| ("ana".to_owned(), text.as_bytes().to_vec())).collect();
        End { from: vec![1], to: vec![2], who: who.to_owned(), heard }
    }

    #[test]
    fn people_who_stayed_together_and_heard_something_else_are_counted() {
        let room = Room::new(&[("ana", 0), ("ben", 0)]);
        let mut state = room.state();
        let together: BTreeSet<String> = ["ana", "ben", "eva"].map(str::to_owned).into();
        state.compare(end("ana", &["one", "two"]), &together);
        state.compare(end("ben", &["one", "two"]), &together);
        assert_eq!((state.compared, state.differ), (1, 0));
        state.compare(end("eva", &["two", "one"]), &together);
        assert_eq!((state.compared, state.differ), (3, 2), "another order is another conversation");
        state.compare(end("dan", &["one"]), &BTreeSet::new());
        assert_eq!(state.compared, 3, "who was apart owes nothing");
    }

    #[test]
    fn a_change_is_told_as_its_member_sees_it() {
        let (all, half) = (view(1, &["ana", "ben", "eva"]), view(2, &["ana", "ben"]));
        assert_eq!(changed("ana", None, &half), "In, with Ben. Key 0202 0202 0202 0202.");
        assert_eq!(changed("ana", Some(&all), &half), "Out of reach: Eva. New key 0202 0202 0202 0202.");
        assert_eq!(changed("ana", Some(&half), &all), "Here now: Eva. New key 0101 0101 0101 0101.");
    }

    #[test]
    fn halves_count_as_apart_only_with_keys_of_their_own() {
        let room = Room::new(&[("ana", 0), ("eva", 2)]);
        let mut state = room.state();
        assert!(!state.all_have_one_key() && !state.parts_have_keys());
        for person in &mut state.people {
            person.view = Some(view(1, &["ana", "eva"]));
        }
        assert!(state.all_have_one_key() && !state.parts_have_keys());
        for (person, view) in state.people.iter_mut().zip([view(2, &["ana"]), view(1, &["ana", "eva"])]) {
            person.view = Some(view);
        }
        assert!(!state.parts_have_keys(), "one half has not noticed yet");
        for (person, view) in state.people.iter_mut().zip([view(2, &["ana"]), view(3, &["eva"])]) {
            person.view = Some(view);
        }
        assert!(state.parts_have_keys());
        state.people.iter_mut().for_each(|person| person.changing = true);
        assert!(!state.parts_have_keys());
    }
}
