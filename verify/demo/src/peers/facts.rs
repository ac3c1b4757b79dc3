//! How everything is at one moment, for the page: what people and sites report, and nothing that is only hoped.

use ringfort_attack::real::sites::NAMES;
use serde::Serialize;

use super::room::{Person, Presence, Site, State, ViewName};
use super::spoken::TalkFacts;
use super::words::{capital, listed};

/// Everything.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    ready: bool,
    pub failed: Option<String>,
    talks: bool,
    wrote: bool,
    cut_once: bool,
    mended_once: bool,
    seen_apart: bool,
    left_once: bool,
    /// Where the network is cut: from, to.
    cuts: Vec<(usize, usize)>,
    /// What is so, in a sentence.
    banner: String,
    /// The network is whole, and all who take part have one key.
    pub one_key: bool,
    /// The network is cut, and each half has a key of its own.
    pub apart: bool,
    sites: Vec<SiteFacts>,
    pub people: Vec<PersonFacts>,
    /// What was said under which key, the newest key first.
    pub spoken: Vec<TalkFacts>,
    delivered: u64,
    keys: usize,
    pub compared: u64,
    pub differ: u64,
    pub met_after_ms: Option<u64>,
    story: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct SiteFacts {
    name: String,
    /// `fine`, `alone`, `part`, `looking` or `off`: for the colour.
    mood: &'static str,
    word: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PersonFacts {
    pub name: String,
    site: usize,
    presence: Presence,
    pub key: Option<String>,
    pub members: Vec<String>,
    changing: bool,
    log: Vec<Line>,
}

/// What sort of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    Said,
    View,
    Plain,
    Good,
    Bad,
}

/// A line of a conversation, or of the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub(super) n: u64,
    pub(super) at_ms: u64,
    pub(super) tone: Tone,
    pub(super) who: String,
    pub(super) text: String,
}

impl Facts {
    pub(super) fn of(state: &State) -> Self {
        let person = |person: &Person| PersonFacts {
            name: person.name.clone(),
            site: person.place,
            presence: person.presence(),
            key: person.view.as_ref().map(|view| view.key.clone()),
            members: person.view.iter().flat_map(|view| view.members.iter().cloned()).collect(),
            changing: person.changing,
            log: person.log.iter().cloned().collect(),
        };
        let has = |person: &&Person| person.takes_part() && person.view.is_some();
        let now = state.people.iter().filter(has).filter_map(|person| Some(&person.view.as_ref()?.name)).collect();
        let waits = |name: &str, view: &ViewName| {
            state.people.iter().any(|p| p.name == name && p.view.as_ref().is_some_and(|now| now.name == *view))
        };
        Facts {
            ready: !state.keys.is_empty()
                && state.people.iter().all(|person| person.view.is_some() || !person.takes_part()),
            failed: state.failed.clone(),
            talks: state.talks,
            wrote: state.wrote,
            cut_once: state.cut_once,
            mended_once: state.mended_once,
            seen_apart: state.seen_apart,
            left_once: state.left_once,
            cuts: state.cuts.clone(),
            banner: state.banner(),
            one_key: state.failed.is_none() && state.all_have_one_key(),
            apart: state.failed.is_none() && state.are_apart(),
            sites: NAMES.iter().zip(&state.sites).map(|(name, site)| site_facts(name, site)).collect(),
            people: state.people.iter().map(person).collect(),
            spoken: state.spoken.facts(&now, waits),
            delivered: state.delivered,
            keys: state.keys.len(),
            compared: state.compared,
            differ: state.differ,
            met_after_ms: state.met_after_ms,
            story: state.story.iter().cloned().collect(),
        }
    }
}

/// For the script.
impl Facts {
    fn person(&self, name: &str) -> Option<&PersonFacts> {
        self.people.iter().find(|person| person.name == name)
    }

    /// Somebody's key; empty without one.
    pub fn key_of(&self, name: &str) -> String {
        self.person(name).and_then(|person| person.key.clone()).unwrap_or_default()
    }

    /// Who has the same key, as this person knows it.
    pub fn members_of(&self, name: &str) -> Vec<String> {
        self.person(name).map(|person| person.members.clone()).unwrap_or_default()
    }

    /// Who was given a message, under whatever key.
    pub fn read_by(&self, text: &str) -> Vec<String> {
        let words = self.spoken.iter().flat_map(|talk| &talk.said).filter(|word| word.text == text);
        words.flat_map(|word| word.readers.iter().cloned()).collect()
    }
}

fn site_facts(name: &str, site: &Site) -> SiteFacts {
    let others: Vec<String> = site.ring.iter().filter(|other| *other != name).map(|other| capital(other)).collect();
    let (mood, word) = match (site.runs, site.ring.len(), others.len()) {
        (false, ..) => ("off", "does not run".to_owned()),
        (true, 0, _) => ("looking", "looks for the others".to_owned()),
        (true, _, 0) => ("alone", "hears nobody".to_owned()),
        (true, _, count) if count + 1 == NAMES.len() => ("fine", "hears both others".to_owned()),
        (true, ..) => ("part", format!("hears {} only", listed(&others))),
    };
    SiteFacts { name: name.to_owned(), mood, word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_told_by_whom_it_hears() {
        let site = |ring: &[&str]| Site { runs: true, ring: ring.iter().map(|name| (*name).to_owned()).collect() };
        let facts = |site: &Site| {
            let facts = site_facts("south", site);
            (facts.mood, facts.word)
        };
        assert_eq!(facts(&Site::default()), ("off", "does not run".to_owned()));
        assert_eq!(facts(&site(&[])), ("looking", "looks for the others".to_owned()));
        assert_eq!(facts(&site(&["south"])), ("alone", "hears nobody".to_owned()));
        assert_eq!(facts(&site(&["south", "west"])), ("part", "hears West only".to_owned()));
        assert_eq!(facts(&site(&NAMES)), ("fine", "hears both others".to_owned()));
    }
}
