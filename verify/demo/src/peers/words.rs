//! How names, keys and changes read, for people.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;

use super::room::View;

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
pub(super) fn crowd<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    listed(&names.into_iter().map(capital).collect::<Vec<_>>())
}

pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Why somebody is not in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Absence {
    /// The network was cut between them and the view's members.
    CutOff,
    /// They had left the group.
    Left,
    /// Their program did not answer.
    Frozen,
    /// They were not heard, though nobody has cut the network between them.
    OutOfReach,
    /// They had not come in yet.
    NotYet,
}

impl Absence {
    /// `who were cut off`.
    pub fn clause(self, several: bool) -> &'static str {
        match (self, several) {
            (Absence::CutOff, false) => "who was cut off",
            (Absence::CutOff, true) => "who were cut off",
            (Absence::Left, _) => "who had left",
            (Absence::Frozen, _) => "who did not answer",
            (Absence::OutOfReach, false) => "who was out of reach",
            (Absence::OutOfReach, true) => "who were out of reach",
            (Absence::NotYet, _) => "who had not come in yet",
        }
    }
}

/// `Eva and Finn, who were cut off`.
pub(super) fn absent(why: Absence, names: &BTreeSet<String>) -> String {
    format!("{}, {}", crowd(names.iter().map(String::as_str)), why.clause(names.len() > 1))
}

/// A change of view, as one of its members would tell it; `lost` if the site has said that members were lost.
pub(super) fn changed(me: &str, old: Option<&View>, view: &View, lost: bool) -> String {
    let others = |names: &BTreeSet<String>| crowd(names.iter().map(String::as_str).filter(|name| *name != me));
    let Some(old) = old else {
        let with =
            if view.members.len() < 2 { "so far alone".to_owned() } else { format!("with {}", others(&view.members)) };
        return format!("In, {with}. Key {}.", view.key);
    };
    let gone: BTreeSet<String> = old.members.difference(&view.members).cloned().collect();
    let come: BTreeSet<String> = view.members.difference(&old.members).cloned().collect();
    let mut text = String::new();
    if !gone.is_empty() {
        text += &format!("{}: {}. ", if lost { "Out of reach" } else { "Gone" }, others(&gone));
    }
    if !come.is_empty() {
        text += &format!("Here now: {}. ", others(&come));
    }
    text += &format!("New key {}.", view.key);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: u8, members: &[&str]) -> View {
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        View { name: vec![name], key: fingerprint(&[name; 8]), members }
    }

    #[test]
    fn names_and_fingerprints_read_well() {
        assert_eq!(crowd(["ana"]), "Ana");
        assert_eq!(crowd(["ana", "ben", "eva"]), "Ana, Ben and Eva");
        assert_eq!(
            absent(Absence::CutOff, &["eva", "finn"].map(str::to_owned).into()),
            "Eva and Finn, who were cut off"
        );
        assert_eq!(fingerprint(&[0x7d, 0x12, 0x88, 0xcf, 6, 0xa3, 0xb5, 0xe9]), "7d12 88cf 06a3 b5e9");
    }

    #[test]
    fn a_change_is_told_as_its_member_sees_it() {
        let (all, half) = (view(1, &["ana", "ben", "eva"]), view(2, &["ana", "ben"]));
        assert_eq!(changed("ana", None, &half, false), "In, with Ben. Key 0202 0202 0202 0202.");
        assert_eq!(changed("ana", Some(&all), &half, true), "Out of reach: Eva. New key 0202 0202 0202 0202.");
        assert_eq!(changed("ana", Some(&all), &half, false), "Gone: Eva. New key 0202 0202 0202 0202.");
        assert_eq!(changed("ana", Some(&half), &all, false), "Here now: Eva. New key 0101 0101 0101 0101.");
    }
}
