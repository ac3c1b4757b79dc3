//! The attacks in plain words, for somebody who has never heard of any of this.

use ringfort_protocol::Fault;
use serde::Serialize;

use crate::attack::Kind;

/// An attack that can be chosen.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// Its name.
    kind: &'static str,
    title: &'static str,
    /// What the leader does, after "it".
    does: &'static str,
}

/// All attacks, the most telling first.
pub fn choices() -> Vec<Choice> {
    let first = [Kind::Ghost, Kind::Spy, Kind::Tamper, Kind::BadShares, Kind::Silent, Kind::Expel, Kind::Drop];
    let rest = Kind::ALL.into_iter().filter(|kind| !first.contains(kind));
    let choice = |kind: Kind| Choice { kind: kind.name(), title: title(kind), does: does(kind) };
    first.into_iter().chain(rest).map(choice).collect()
}

/// The attack in two or three words.
pub fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Silent => "Play dead",
        Kind::BadShares => "Poison the key",
        Kind::BadProofs => "Fake the proofs",
        Kind::Ghost => "Smuggle in a stranger",
        Kind::Expel => "Throw people out",
        Kind::Equivocate => "Tell two stories",
        Kind::OldView => "Turn back time",
        Kind::Drop => "Swallow messages",
        Kind::Tamper => "Alter messages",
        Kind::Deny => "Lock the door",
        Kind::Flood => "Flood everybody",
        Kind::Spy => "Listen in",
        Kind::Chaos => "Everything at once",
        Kind::Mutate => "Leave it to chance",
        Kind::TorrentLeaders => "Drown the leaders",
        Kind::TorrentMembers => "Drown the members",
        Kind::Torrent => "Drown everybody",
    }
}

/// What the leader does, in a line.
pub fn does(kind: Kind) -> &'static str {
    match kind {
        Kind::Silent => "takes everything and answers nobody",
        Kind::BadShares => "hands out wrong pieces of the group key",
        Kind::BadProofs => "hands out pieces of the key that it cannot vouch for",
        Kind::Ghost => "invents a member, so that somebody else can read along",
        Kind::Expel => "orders everybody out of the group",
        Kind::Equivocate => "tells each of them something different",
        Kind::OldView => "repeats what was true yesterday",
        Kind::Drop => "passes messages on to some and not to others",
        Kind::Tamper => "changes messages on their way, and sends old ones again",
        Kind::Deny => "refuses everybody who wants to come in",
        Kind::Flood => "sends thousands of bogus votes and frames",
        Kind::Spy => "behaves well, records everything, and tries all its keys on it",
        Kind::Chaos => "does all of this in turn",
        Kind::Mutate => "lets chance change each of its messages",
        Kind::TorrentLeaders => "sends the other leaders votes about nobody, ten megabytes a second",
        Kind::TorrentMembers => "sends everybody lists of invented people, ten megabytes a second",
        Kind::Torrent => "sends votes about nobody and lists of invented people, ten megabytes a second",
    }
}

/// What a leader did and what came of it, by the offence's word.
pub fn offence(word: &str) -> &'static str {
    let fault = Fault::ALL.iter().find(|fault| fault.word() == word);
    fault.map_or("did what no honest leader does", |fault| ringfort_agent::words::explain(*fault))
}

/// Who, in a row: `ana, ben and leaders 1, 3`.
pub fn crowd<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let (leaders, mut people): (Vec<&str>, Vec<String>) =
        names.into_iter().fold(Default::default(), |mut all, name| {
            match name.strip_prefix("leader ") {
                Some(number) => all.0.push(number),
                None => all.1.push(capital(name)),
            }
            all
        });
    match leaders.as_slice() {
        [] => {}
        [one] => people.push(format!("leader {one}")),
        more => people.push(format!("leaders {}", more.join(", "))),
    }
    match people.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        other => other.concat(),
    }
}

/// A name with a capital letter.
pub fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_and_every_offence_has_words() {
        let choices = choices();
        assert_eq!(choices.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(choices.iter().any(|choice| choice.kind == kind.name()));
            for word in kind.caught_as() {
                assert_ne!(offence(word), offence("nonsense"), "{word}");
            }
        }
    }

    #[test]
    fn crowds_are_named_in_a_row() {
        assert_eq!(crowd(["ana", "ben", "leader 1", "leader 3"]), "Ana, Ben and leaders 1, 3");
        assert_eq!(crowd(["leader 1"]), "leader 1");
        assert_eq!(crowd([]), "");
    }
}
