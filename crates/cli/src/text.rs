//! Text from others, made harmless for a terminal, and times and lists as people read them.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use ringfort::protocol::{GroupInfo, Role, UserName};
use unicode_width::UnicodeWidthChar as _;

/// Replaces what could steer a terminal, turn the direction of the text or hide in it. Line ends and tabs become spaces.
///
/// # Security
/// Every text that another member, a file or a server wrote goes through here before it is shown.
pub fn clean(text: &str) -> String {
    let mut last = ' ';
    let mut rest = text.chars().peekable();
    let mut cleaned = String::with_capacity(text.len());
    while let Some(c) = rest.next() {
        let joins = is_joiner(c) && is_joined(last) && rest.peek().copied().is_some_and(is_joined);
        cleaned.push(if joins { c } else { harmless(c) });
        last = c;
    }
    cleaned
}

/// As [`clean`], but keeps line ends; each further line is indented, so that it cannot pass for another message.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n    ")
}

/// What stands between the parts of some scripts' words and of some pictures.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner beside it means something: in the words that names are made of it only hides.
fn is_joined(c: char) -> bool {
    !c.is_ascii() && harmless(c) == c
}

fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() || turns || is_invisible(c) => '\u{fffd}',
        c => c,
    }
}

/// Characters that take no room, or look like none: two texts that differ in them look the same.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Breaks lines that are longer than a terminal is wide, and indents what follows: else a message that is padded to the
/// terminal's width goes on where the next message would begin.
pub fn folded(text: &str, width: usize) -> String {
    let indent = 4.min(width / 2);
    let mut folded = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        let mut column = 0;
        if number > 0 {
            folded.push('\n');
        }
        for c in line.chars() {
            let wide = c.width().unwrap_or(0);
            if column + wide > width && column > indent {
                // Writing to a string does not fail.
                let _ = write!(folded, "\n{:indent$}", "");
                column = indent;
            }
            folded.push(c);
            column += wide;
        }
    }
    folded
}

/// A list of names, as in "ana, ben and eva".
pub fn names<T: Display>(names: &[T]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

/// A list of users with the roles of those who are not ordinary members, as in "ana, ben and vault (archive)".
pub fn people<'a>(group: &GroupInfo, users: impl IntoIterator<Item = &'a UserName>) -> String {
    let person = |user: &UserName| match group.policy.role(user) {
        Role::Member => user.to_string(),
        role => format!("{user} ({role})"),
    };
    names(&users.into_iter().map(person).collect::<Vec<_>>())
}

/// Several names behind one option, separated by commas.
pub fn parse_names(text: &str) -> Result<Vec<UserName>, ringfort::protocol::BadName> {
    text.split(',').map(|name| name.trim().parse()).collect()
}

/// "1 leader", "2 leaders".
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A duration in one unit: "34 s", "12 min", "3 h".
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

/// The local time of day, hours and minutes.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%H:%M").to_string()
}

/// A moment as a local date and time.
pub fn date(unix_s: u64) -> String {
    let second = i64::try_from(unix_s).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(second) {
        Ok(moment) => moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "the end of time".to_owned(),
    }
}

/// A moment in full, as [`parse_moment`] reads it.
pub fn moment(unix_ms: u64) -> String {
    let told = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    told.map_or_else(|| "the end of time".to_owned(), |moment| moment.to_string())
}

/// Reads a moment: Unix time in milliseconds, or a date and time with its zone.
pub fn parse_moment(text: &str) -> Result<u64, String> {
    let parsed = text.parse().ok().or_else(|| {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_millisecond()).ok()
    });
    parsed.ok_or_else(|| {
        "write a moment as 2026-11-21T14:05:00Z, with a zone, or as Unix time in milliseconds".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\u{9b}c\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(clean("żółw 🐢"), "żółw 🐢");
        assert_eq!(clean_lines("one\nben: two"), "one\n    ben: two");
    }

    #[test]
    fn nothing_hides_in_a_message() {
        for hidden in ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{ad}', '\u{3164}', '\u{e0041}', '\u{feff}'] {
            assert_eq!(clean(&format!("an{hidden}a")), "an\u{fffd}a", "{hidden:?}");
            assert_eq!(clean(&format!("{hidden}żó{hidden}")), "\u{fffd}żó\u{fffd}", "{hidden:?}");
        }
        assert_eq!(clean("one\u{2028}ben: two\u{2029}three"), "one ben: two three");
        // Where joiners mean something they stay: a family, and a Persian word.
        for whole in ["👩\u{200d}👧", "می\u{200c}خواهم", "❤\u{fe0f}"] {
            assert_eq!(clean(whole), whole);
        }
        assert_eq!(clean("👩\u{200d}\u{200d}👧"), "👩\u{fffd}\u{fffd}👧");
    }

    #[test]
    fn a_long_line_does_not_begin_anew_where_messages_begin() {
        let padded = format!("14:05 mal: hi{}14:05 ben: yes", " ".repeat(7));
        assert_eq!(folded(&padded, 20), "14:05 mal: hi       \n    14:05 ben: yes");
        assert_eq!(folded("漢字漢字\n    x", 5), "漢字\n  漢\n  字\n    x");
        assert!(folded(&"long ".repeat(60), 30).lines().skip(1).all(|line| line.starts_with("    ")));
        assert_eq!(folded("abc", 0), "a\nb\nc");
        assert_eq!(folded("short", 80), "short");
    }

    #[test]
    fn lists_and_ages_read_well() {
        assert_eq!(names(&["ana", "ben", "eva"]), "ana, ben and eva");
        assert_eq!(names::<&str>(&[]), "nobody");
        assert_eq!(age(Duration::from_secs(119)), "119 s");
        assert_eq!(age(Duration::from_secs(600)), "10 min");
        assert_eq!(count(1, "leader"), "1 leader");
    }

    #[test]
    fn moments_are_read_as_they_are_told() {
        let ms = 1_800_000_000_250;
        assert_eq!(parse_moment(&moment(ms)), Ok(ms));
        assert_eq!(parse_moment("1800000000250"), Ok(ms));
        assert_eq!(parse_moment("2027-01-15T09:00:00.25+01:00"), Ok(ms));
        assert!(parse_moment("yesterday").is_err() && parse_moment("1969-12-31T00:00:00Z").is_err());
    }

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(parse_names("ana, ben").map(|n| n.len()), Ok(2));
        assert!(parse_names("ana,,ben").is_err());
    }
}
