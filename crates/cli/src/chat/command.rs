//! What a typed line means.

use ringfort::protocol::UserName;
use ringfort::protocol::motion::Motion;

use crate::text::parse_names;

/// A line that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Nothing,
    Say(String),
    To(Vec<UserName>, String),
    Vote(Motion, bool),
    Members,
    Leaders,
    Leave,
    Quit,
    Help,
}

pub(super) const HELP: [&str; 9] = [
    "/to NAME[,NAME] TEXT   a private message: only these members can read it",
    "/admit NAME, /refuse NAME   vote on letting somebody in, where the group's policy asks its members",
    "/expel NAME, /keep NAME     ask for an expulsion and vote on it, where policy lets members",
    "/members               who is here",
    "/leaders               how the leaders are",
    "/leave                 leave the group and wait until the leaders say so",
    "/quit                  leave at once (also Ctrl-C and Ctrl-D)",
    "//TEXT                 a message that starts with a slash",
    "PageUp, PageDown and Shift with the arrows scroll; the arrows alone bring typed lines back",
];

/// Reads a typed line; the error tells what is wrong with it.
pub(super) fn parse(line: &str) -> Result<Line, String> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return Ok(if line.is_empty() { Line::Nothing } else { Line::Say(line.to_owned()) });
    };
    if command.starts_with('/') {
        return Ok(Line::Say(command.to_owned()));
    }
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    match word {
        "to" => to(rest.trim()),
        "admit" => vote(Motion::admit, rest, true),
        "refuse" => vote(Motion::admit, rest, false),
        "expel" => vote(Motion::expel, rest, true),
        "keep" => vote(Motion::expel, rest, false),
        "members" => Ok(Line::Members),
        "leaders" => Ok(Line::Leaders),
        "leave" => Ok(Line::Leave),
        "quit" => Ok(Line::Quit),
        "help" => Ok(Line::Help),
        other => Err(format!("there is no command /{other}: /help tells them all, // starts a message with a slash")),
    }
}

fn vote(motion: impl Fn(UserName) -> Motion, name: &str, yes: bool) -> Result<Line, String> {
    let user: UserName = name.trim().parse().map_err(|error| format!("the command needs one name: {error}"))?;
    Ok(Line::Vote(motion(user), yes))
}

fn to(rest: &str) -> Result<Line, String> {
    let usage = "it is /to NAME[,NAME] TEXT".to_owned();
    let (people, text) = rest.split_once(' ').ok_or(usage.clone())?;
    let people = parse_names(people).map_err(|error| error.to_string())?;
    let text = text.trim();
    if text.is_empty() { Err(usage) } else { Ok(Line::To(people, text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        assert_eq!(parse("  "), Ok(Line::Nothing));
        assert_eq!(parse(" hi there "), Ok(Line::Say("hi there".into())));
        assert_eq!(parse("//etc"), Ok(Line::Say("/etc".into())));
        assert_eq!(parse("/quit"), Ok(Line::Quit));
        let to = Line::To(vec!["ana".parse().unwrap(), "ben".parse().unwrap()], "psst you".into());
        assert_eq!(parse("/to ana,ben  psst you"), Ok(to));
        assert!(parse("/to ana").unwrap_err().contains("/to NAME"));
        assert!(parse("/to Ana hi").is_err());
        assert_eq!(parse("/admit eve"), Ok(Line::Vote(Motion::admit("eve".parse().unwrap()), true)));
        assert_eq!(parse("/keep eve "), Ok(Line::Vote(Motion::expel("eve".parse().unwrap()), false)));
        assert!(parse("/expel").unwrap_err().contains("one name"));
        assert!(parse("/nope").unwrap_err().contains("/help"));
    }
}
