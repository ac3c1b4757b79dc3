//! What the people see, and what of it must be the same: the books of the page.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ringfort_attack::real::sites::NAMES;
use ringfort_peer_keys::Event;
use ringfort_peer_keys::flush::OutWhy;
use ringfort_peer_keys::peer::SecureView;
use ringfort_site::{Report, Speaker};
use serde::Serialize;
use tokio::sync::watch;

use super::facts::{Facts, Line, Tone};
use super::spoken::{self, Spoken};
use super::words::{capital, changed, fingerprint, listed};

/// Lines of one person's conversation that are kept.
const LOG_MAX: usize = 40;
/// Lines of the story that are kept.
const STORY_MAX: usize = 100;
/// Ends of views that are kept to be compared.
const ENDS_MAX: usize = 256;

/// What identifies a secure view: its context's bytes, which no other view has.
pub(super) type ViewName = Vec<u8>;

/// Whether somebody takes part, as whoever sits at the page wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Is in the group, or tries to be.
    #[default]
    In,
    /// Has left.
    Away,
    /// Its program freezes: it reads nothing and answers nothing.
    Frozen,
}

/// One person.
pub(super) struct Person {
    pub name: String,
    pub place: usize,
    pub view: Option<View>,
    /// Members were lost, and there is no new key yet.
    pub changing: bool,
    pub log: VecDeque<Line>,
    wish: watch::Sender<Presence>,
    voice: Option<Speaker>,
    /// What was delivered in the present view, in order.
    heard: Vec<(String, Vec<u8>)>,
}

impl Person {
    pub fn presence(&self) -> Presence {
        *self.wish.borrow()
    }

    pub fn takes_part(&self) -> bool {
        self.presence() == Presence::In
    }
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
    /// Whether somebody went out of the group while the network was cut.
    pub left_once: bool,
    pub spoken: Spoken,
    sent: u64,
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
            wish: watch::Sender::default(),
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
            left_once: false,
            spoken: Spoken::default(),
            sent: 0,
            met_after_ms: None,
            story: VecDeque::new(),
            mended_at: None,
            ends: VecDeque::new(),
            lines: 0,
            started: Instant::now(),
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

    /// What somebody speaks with, while it takes part.
    pub fn voice(&self, person: usize) -> Option<Speaker> {
        self.state().people.get(person).filter(|person| person.takes_part())?.voice.clone()
    }

    /// A message with a number of its own.
    pub fn seals(&self, text: &str) -> Vec<u8> {
        let mut state = self.state();
        state.sent += 1;
        spoken::seal(state.sent, text)
    }

    /// What somebody is to do, now and whenever it is changed.
    pub fn wish(&self, person: usize) -> Option<watch::Receiver<Presence>> {
        Some(self.state().people.get(person)?.wish.subscribe())
    }

    /// Somebody leaves, freezes or comes back; `false` if it does so already, or cannot.
    pub fn is_to(&self, person: usize, wish: Presence) -> bool {
        let mut state = self.state();
        let Some(person) = state.people.get(person) else { return false };
        let goes = matches!((person.presence(), wish), (Presence::In, Presence::Away | Presence::Frozen));
        let comes = matches!((person.presence(), wish), (Presence::Away | Presence::Frozen, Presence::In));
        if !goes && !comes {
            return false;
        }
        person.wish.send_replace(wish);
        let name = capital(&person.name);
        let (tone, text) = match wish {
            Presence::In => (Tone::Good, format!("{name} comes back.")),
            Presence::Away => (Tone::Plain, format!("{name} leaves the group.")),
            Presence::Frozen => (Tone::Bad, format!("{name}'s program freezes: it reads nothing and answers nothing.")),
        };
        state.left_once |= goes && !state.cuts.is_empty();
        state.tell(tone, &text);
        true
    }

    /// Somebody who takes part and has the same key as this person.
    pub fn companion(&self, person: usize) -> Option<(usize, Speaker)> {
        let state = self.state();
        let view = state.people.get(person)?.view.as_ref()?;
        let mut others = state.people.iter().enumerate().filter(|(number, _)| *number != person);
        let (number, other) = others.find(|(_, other)| other.takes_part() && other.view.as_ref() == Some(view))?;
        Some((number, other.voice.clone()?))
    }

    /// Somebody asks for a new key.
    pub fn refreshes(&self, person: usize, without: usize) {
        let mut state = self.state();
        let name = |number| state.people.get(number).map(|person: &Person| capital(&person.name)).unwrap_or_default();
        let text =
            format!("{} asks for a new key. All members must answer, and {} does not.", name(person), name(without));
        state.tell(Tone::Plain, &text);
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
        state.seen_apart |= state.are_apart();
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
            Event::PutOut(why) => {
                state.change(person);
                let text = match why {
                    OutWhy::OwnApplication => "This program did not answer in time. It is out, and the others go on.",
                    _ => "The others went on without this person, who joins again.",
                };
                state.note(person, Tone::View, "", text);
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

    fn on_message(&mut self, number: usize, user: String, message: Vec<u8>) {
        self.delivered += 1;
        let Some((sent, text)) = spoken::open(&message) else { return };
        self.note(number, Tone::Said, &user, &text);
        let Some(person) = self.people.get_mut(number) else { return };
        if let Some(view) = &person.view {
            self.spoken.is_read(&person.name, &view.name, (sent, text), &user);
        }
        person.heard.push((user, message));
    }

    fn on_view(&mut self, number: usize, secure: SecureView) {
        let users = |names: &BTreeSet<_>| -> BTreeSet<String> {
            secure.members.iter().filter(|(name, _)| names.contains(name)).map(|(_, user)| user.clone()).collect()
        };
        let members: BTreeSet<String> = secure.members.iter().map(|(_, user)| user.clone()).collect();
        let view = View { name: secure.context.to_vec(), key: fingerprint(&secure.tag), members };
        let moved = users(&secure.moved);
        if self.keys.insert(view.name.clone())
            && let Some(place) = self.people.get(number).map(|person| person.place)
        {
            let without = self.without(&view, place);
            let text = self.came_about(&view, &without);
            self.tell(Tone::Plain, &text);
            self.spoken.begin(view.clone(), without);
        }
        let Some(person) = self.people.get_mut(number) else { return };
        let me = person.name.clone();
        let old = person.view.replace(view.clone());
        let lost = std::mem::take(&mut person.changing);
        let heard = std::mem::take(&mut person.heard);
        if let Some(old) = &old {
            self.compare(End { from: old.name.clone(), to: view.name.clone(), who: me.clone(), heard }, &moved);
        }
        self.note(number, Tone::View, "", &changed(&me, old.as_ref(), &view, lost));
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
}

/// As the site knows somebody: `#ana#north`.
fn named(name: &ringfort_peer::Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
