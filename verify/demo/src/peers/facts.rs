//! How everything is at one moment, for the page: what people and sites report, and nothing that is only hoped.

use data_encoding::HEXLOWER;
use ringfort_attack::real::sites::NAMES;
use serde::Serialize;

use super::room::{Site, State};

/// Everything.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    ready: bool,
    failed: Option<String>,
    talks: bool,
    wrote: bool,
    cut_once: bool,
    mended_once: bool,
    seen_apart: bool,
    /// Where the network is cut: from, to.
    cuts: Vec<(usize, usize)>,
    /// What is so, in a sentence.
    banner: String,
    one_key: bool,
    sites: Vec<SiteFacts>,
    people: Vec<PersonFacts>,
    delivered: u64,
    keys: usize,
    compared: u64,
    differ: u64,
    met_after_ms: Option<u64>,
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
struct PersonFacts {
    name: String,
    site: usize,
    key: Option<String>,
    members: Vec<String>,
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
        let person = |person: &super::room::Person| PersonFacts {
            name: person.name.clone(),
            site: person.place,
            key: person.view.as_ref().map(|view| view.key.clone()),
            members: person.view.iter().flat_map(|view| view.members.iter().cloned()).collect(),
            changing: person.changing,
            log: person.log.iter().cloned().collect(),
        };
        Facts {
            ready: !state.keys.is_empty() && state.people.iter().all(|person| person.view.is_some()),
            failed: state.failed.clone(),
            talks: state.talks,
            wrote: state.wrote,
            cut_once: state.cut_once,
            mended_once: state.mended_once,
            seen_apart: state.seen_apart,
            cuts: state.cuts.clone(),
            banner: banner(state),
            one_key: state.failed.is_none() && state.cuts.is_empty() && state.all_have_one_key(),
            sites: NAMES.iter().zip(&state.sites).map(|(name, site)| site_facts(name, site)).collect(),
            people: state.people.iter().map(person).collect(),
            delivered: state.delivered,
            keys: state.keys.len(),
            compared: state.compared,
            differ: state.differ,
            met_after_ms: state.met_after_ms,
            story: state.story.iter().cloned().collect(),
        }
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

/// What is so, from what people report.
fn banner(state: &State) -> String {
    if let Some(why) = &state.failed {
        return format!("This page's sites have failed: {why}.");
    }
    let parts = state.parts_by_key();
    let groups: Vec<String> = parts.values().map(|people| crowd(&people.iter().copied().collect::<Vec<_>>())).collect();
    match (state.cuts.is_empty(), parts.len()) {
        (_, 0) => "Three sites start, and six people make a key…".to_owned(),
        (false, 1) => "The network is cut. The halves are about to notice it…".to_owned(),
        (false, _) if !state.parts_have_keys() => "The network is cut. Each half makes a key of its own…".to_owned(),
        (false, _) => format!(
            "The network is cut. Each half goes on with a key of its own, and neither can read the other: {}.",
            groups.join("; ")
        ),
        (true, 1) if state.all_have_one_key() => "The network is whole, and all have one key.".to_owned(),
        (true, 1) => "The people make a new key…".to_owned(),
        (true, _) => format!("Not all have one key yet: {}.", groups.join("; ")),
    }
}

/// A key's tag, as people would compare it.
pub(super) fn fingerprint(tag: &[u8; 8]) -> String {
    let digits = HEXLOWER.encode(tag);
    let words: Vec<&str> = (0..4).filter_map(|word| digits.get(word * 4..word * 4 + 4)).collect();
    words.join(" ")
}

pub(super) fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `Ana, Ben and Eva`.
pub(super) fn crowd(names: &[&str]) -> String {
    listed(&names.iter().map(|name| capital(name)).collect::<Vec<_>>())
}

pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
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

    #[test]
    fn names_and_fingerprints_read_well() {
        assert_eq!(crowd(&["ana"]), "Ana");
        assert_eq!(crowd(&["ana", "ben", "eva"]), "Ana, Ben and Eva");
        assert_eq!(fingerprint(&[0x7d, 0x12, 0x88, 0xcf, 6, 0xa3, 0xb5, 0xe9]), "7d12 88cf 06a3 b5e9");
    }
}
