//! What was said under each key, in the order in which people were given it, and who was given it.
//!
//! A message carries a number before its text, so that two people's copies of one message are known as one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::room::{View, ViewName};
use super::words::{Absence, absent, crowd, listed};

/// Keys that are kept, with what was said under them.
const KEYS_MAX: usize = 24;
/// Keys that are shown.
const SHOWN_MAX: usize = 6;
/// Messages under one key that are kept.
const WORDS_MAX: usize = 8;
/// Messages under one key that are known again when somebody is given them late.
const KNOWN_MAX: usize = 1024;

/// A message as it goes over the sites.
pub(super) fn seal(number: u64, text: &str) -> Vec<u8> {
    [&number.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The number and text of a message.
pub(super) fn open(message: &[u8]) -> Option<(u64, String)> {
    let (number, text) = message.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), String::from_utf8_lossy(text).into_owned()))
}

/// A key, who has it, and what was said under it.
struct Talk {
    n: u64,
    view: View,
    without: BTreeMap<Absence, BTreeSet<String>>,
    said: VecDeque<Word>,
    /// The numbers of the latest messages, also of those that are not kept.
    known: BTreeSet<u64>,
    count: u64,
}

struct Word {
    number: u64,
    /// Its place in the order, as the first of its readers was given it.
    place: u64,
    who: String,
    text: String,
    readers: BTreeSet<String>,
}

/// All of it.
#[derive(Default)]
pub(super) struct Spoken {
    talks: VecDeque<Talk>,
    begun: u64,
}

/// What was said under one key, for the page.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TalkFacts {
    pub n: u64,
    pub key: String,
    pub members: Vec<String>,
    /// Whether it is somebody's key now.
    pub now: bool,
    /// Who can read it, in a sentence.
    pub readable: String,
    /// Who cannot, and why: a sentence for each reason.
    pub unreadable: Vec<String>,
    /// Messages that were said earlier, and are shown no more.
    pub earlier: u64,
    pub said: Vec<WordFacts>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct WordFacts {
    pub place: u64,
    pub who: String,
    pub text: String,
    pub readers: Vec<String>,
    /// Who has read it, in words.
    pub read: String,
}

impl Spoken {
    /// A key that nobody had before.
    pub fn begin(&mut self, view: View, without: BTreeMap<Absence, BTreeSet<String>>) {
        if self.talks.len() == KEYS_MAX {
            self.talks.pop_front();
        }
        self.begun += 1;
        self.talks.push_back(Talk {
            n: self.begun,
            view,
            without,
            said: VecDeque::new(),
            known: BTreeSet::new(),
            count: 0,
        });
    }

    /// Somebody was given a message in a view.
    pub fn is_read(&mut self, reader: &str, view: &ViewName, (number, text): (u64, String), who: &str) {
        let Some(talk) = self.talks.iter_mut().find(|talk| talk.view.name == *view) else { return };
        if !talk.known.insert(number) {
            // Other words under one number are not this message.
            let same = |word: &&mut Word| (word.number, &*word.text, &*word.who) == (number, &text, who);
            if let Some(word) = talk.said.iter_mut().find(same) {
                word.readers.insert(reader.to_owned());
            }
            return;
        }
        if talk.known.len() > KNOWN_MAX {
            talk.known.pop_first();
        }
        if talk.said.len() == WORDS_MAX {
            talk.said.pop_front();
        }
        talk.count += 1;
        let (place, readers) = (talk.count, [reader.to_owned()].into());
        talk.said.push_back(Word { number, place, who: who.to_owned(), text, readers });
    }

    /// The newest first: keys that somebody has now, and earlier ones under which something was said. `waits` tells whether
    /// a member may still be given what it was not given yet.
    pub fn facts(&self, now: &BTreeSet<&ViewName>, waits: impl Fn(&str, &ViewName) -> bool) -> Vec<TalkFacts> {
        let shown = self.talks.iter().rev().filter(|talk| now.contains(&talk.view.name) || talk.count > 0);
        shown.take(SHOWN_MAX).map(|talk| talk.facts(now.contains(&talk.view.name), &waits)).collect()
    }
}

impl Talk {
    fn facts(&self, now: bool, waits: &impl Fn(&str, &ViewName) -> bool) -> TalkFacts {
        let members = &self.view.members;
        let names = crowd(members.iter().map(String::as_str));
        let has = if members.len() == 1 { "has" } else { "have" };
        let only = if self.without.is_empty() { "" } else { "Only " };
        let readable =
            if now { format!("{only}{names} {has} this key.") } else { format!("{only}{names} had this key.") };
        let unreadable = self.without.iter().map(|(why, names)| format!("{}, cannot read this.", absent(*why, names)));
        TalkFacts {
            n: self.n,
            key: self.view.key.clone(),
            members: members.iter().cloned().collect(),
            now,
            readable,
            unreadable: unreadable.collect(),
            earlier: self.count - self.said.len() as u64,
            said: self.said.iter().map(|word| word.facts(&self.view, waits)).collect(),
        }
    }
}

impl Word {
    fn facts(&self, view: &View, waits: &impl Fn(&str, &ViewName) -> bool) -> WordFacts {
        let (mut readers, mut late, mut never) = (Vec::new(), Vec::new(), Vec::new());
        for name in view.members.iter().map(String::as_str) {
            match (self.readers.contains(name), waits(name, &view.name)) {
                (true, _) => readers.push(name),
                (false, true) => late.push(name),
                (false, false) => never.push(name),
            }
        }
        let mut read = match (readers.as_slice(), late.len() + never.len()) {
            ([one], 0) => format!("read by {} alone", crowd([*one])),
            ([_, _], 0) => "read by both".to_owned(),
            (all, 0) => format!("read by all {}", count(all.len())),
            (some, _) => format!("read by {}", crowd(some.iter().copied())),
        };
        let mut others = Vec::new();
        if !late.is_empty() {
            others.push(format!("not yet by {}", crowd(late.iter().copied())));
        }
        if !never.is_empty() {
            others.push(format!("it never came to {}", crowd(never.iter().copied())));
        }
        if !others.is_empty() {
            read += &format!("; {}", listed(&others));
        }
        WordFacts {
            place: self.place,
            who: self.who.clone(),
            text: self.text.clone(),
            readers: readers.into_iter().map(str::to_owned).collect(),
            read,
        }
    }
}

/// Small numbers in words.
fn count(number: usize) -> String {
    let words = ["none", "one", "two", "three", "four", "five", "six"];
    words.get(number).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn half() -> View {
        View { name: vec![1], key: "0101".to_owned(), members: names(&["ana", "ben"]) }
    }

    fn spoken() -> Spoken {
        let mut spoken = Spoken::default();
        spoken.begin(half(), [(Absence::CutOff, names(&["eva"])), (Absence::Left, names(&["finn"]))].into());
        spoken
    }

    fn hello() -> (u64, String) {
        open(&seal(7, "hello")).unwrap()
    }

    #[test]
    fn it_is_told_who_read_what_and_who_could_not() {
        let mut spoken = spoken();
        spoken.is_read("ana", &vec![1], hello(), "ana");
        let name = vec![1];
        let now = BTreeSet::from([&name]);
        let facts = spoken.facts(&now, |_, _| true);
        assert_eq!(facts[0].readable, "Only Ana and Ben have this key.");
        assert_eq!(
            facts[0].unreadable,
            ["Eva, who was cut off, cannot read this.", "Finn, who had left, cannot read this."]
        );
        assert_eq!(facts[0].said[0].read, "read by Ana; not yet by Ben");
        assert_eq!(spoken.facts(&BTreeSet::new(), |_, _| false)[0].said[0].read, "read by Ana; it never came to Ben");
        spoken.is_read("ben", &vec![1], hello(), "ana");
        let facts = spoken.facts(&BTreeSet::new(), |_, _| true);
        assert_eq!(facts[0].readable, "Only Ana and Ben had this key.");
        assert_eq!((facts[0].said[0].place, facts[0].said[0].read.as_str()), (1, "read by both"));
    }

    #[test]
    fn other_words_under_one_number_are_not_read_by_all() {
        let mut spoken = spoken();
        spoken.is_read("ana", &vec![1], hello(), "ana");
        spoken.is_read("ben", &vec![1], (7, "forged".to_owned()), "ana");
        spoken.is_read("ben", &vec![2], hello(), "ana");
        assert_eq!(spoken.facts(&BTreeSet::new(), |_, _| false)[0].said[0].readers, ["ana"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spoken = spoken();
        for number in 0..20 {
            spoken.is_read("ana", &vec![1], (number, "word".to_owned()), "ana");
        }
        // Ben is slow: what came to him late is counted once.
        for number in 0..20 {
            spoken.is_read("ben", &vec![1], (number, "word".to_owned()), "ana");
        }
        let facts = spoken.facts(&BTreeSet::new(), |_, _| false);
        assert_eq!((facts[0].earlier, facts[0].said.len()), (12, WORDS_MAX));
        assert_eq!(facts[0].said.last().map(|word| (word.place, word.readers.len())), Some((20, 2)));
        (0..100).for_each(|_| spoken.begin(half(), BTreeMap::new()));
        assert_eq!((spoken.talks.len(), spoken.facts(&BTreeSet::new(), |_, _| false).len()), (KEYS_MAX, 0));
    }
}
