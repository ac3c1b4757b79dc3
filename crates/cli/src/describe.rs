//! What happens in a group, in words for people.

use ringfort::protocol::member::Confirmation;
use ringfort::protocol::motion::{Motion, MotionKind};
use ringfort::protocol::view::Cause;
use ringfort::protocol::{GroupInfo, Role, UserName};
use ringfort::{Event, Message};

use crate::text::{age, clean, clean_lines, count, names, now, people};

/// The topic on which members ask the operators to expel somebody.
const REQUESTS: &str = "ringfort/expel";
const REQUEST_CHARS_MAX: usize = 300;

/// Something to tell that is not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The words.
    pub text: String,
    /// Whether it deserves attention.
    pub warning: bool,
}

/// An event other than a message; `None` for messages.
pub fn notice(group: &GroupInfo, event: &Event) -> Option<Notice> {
    let (text, warning) = match event {
        Event::Message(_) => return None,
        Event::View { view, joined, left } => {
            let again = |user: &UserName| left.iter().any(|left| *left == (user.clone(), Cause::Elsewhere));
            let came = |user: &UserName| {
                let how = if again(user) { "logged in anew, in place of an earlier login" } else { "joined" };
                format!("{} {how}", people(group, [user]))
            };
            let mut told: Vec<String> = joined.iter().map(came).collect();
            let gone = left.iter().filter(|(user, cause)| *cause != Cause::Elsewhere || !joined.contains(user));
            told.extend(gone.map(|(user, cause)| format!("{user} {}", departure(*cause))));
            if told.is_empty() {
                told.push("the group has a new key".to_owned());
            }
            (format!("{} (view {})", told.join(", "), view.epoch.0), false)
        }
        Event::Gap { sender, count: lost, .. } => {
            let lost = usize::try_from(*lost).unwrap_or(usize::MAX);
            (format!("{} of {sender} got lost", count(lost, "message")), true)
        }
        Event::UnknownTail { sender } => {
            (format!("{sender} went without a last word: whether all that {sender} said has come, nobody knows"), true)
        }
        Event::Missed => ("what was said at the end of this stay may be missing".to_owned(), true),
        Event::Unsent(unsent) => {
            let unsent = usize::try_from(*unsent).unwrap_or(usize::MAX);
            (
                format!(
                    "too few leaders acknowledged {} of yours: whether they arrive, nobody knows",
                    count(unsent, "message")
                ),
                true,
            )
        }
        Event::Lagged(missed) => (format!("this program was too slow and missed {missed} events"), true),
        Event::Confirmation(now) => match unsure(group, *now, None) {
            Some(told) => (told, true),
            None => ("enough leaders confirm that the view is current".to_owned(), false),
        },
        Event::LeaderAnswers(leader, true) => (format!("{leader} confirms the view"), false),
        Event::LeaderAnswers(leader, false) => (format!("{leader} no longer confirms the view"), false),
        Event::Blamed(culprit, fault) => {
            let who = clean(&culprit.to_string());
            let deviates = fault.is_deviation();
            let told = if deviates {
                format!("{who} was caught: {}", fault.word())
            } else {
                format!("{who}: {}", fault.word())
            };
            (told, deviates)
        }
        Event::Asked(Motion { kind: MotionKind::Admit, user }) => {
            (format!("{user} asks to join, and the members decide: /admit {user} or /refuse {user}"), true)
        }
        Event::Asked(Motion { kind: MotionKind::Expel, user }) => {
            (format!("a member wants {user} expelled, and the members decide: /expel {user} or /keep {user}"), true)
        }
        Event::Ended(cause) => (format!("the stay has ended: you {}", departure(*cause)), true),
    };
    Some(Notice { text, warning })
}

/// A vote that was sent.
pub fn vote(motion: &Motion, yes: bool) -> String {
    let what = match (motion.kind, yes) {
        (MotionKind::Admit, true) => "to let in",
        (MotionKind::Admit, false) => "not to let in",
        (MotionKind::Expel, true) => "to expel",
        (MotionKind::Expel, false) => "to keep",
    };
    format!("you voted {what} {}", motion.user)
}

/// A request to the operators to expel somebody, as the pages of members send it; `None` for other messages.
pub fn request(message: &Message) -> Option<Notice> {
    #[derive(serde::Deserialize)]
    struct Request {
        user: String,
        why: String,
    }
    if message.topic != REQUESTS || !message.recipients.is_empty() {
        return None;
    }
    let Request { user, why } = serde_json::from_slice(&message.payload).ok()?;
    let user: UserName = user.parse().ok()?;
    let why: String = clean(&why).chars().take(REQUEST_CHARS_MAX).collect();
    let text = format!("{} asks the operators to expel {user}: \u{201c}{why}\u{201d}", message.sender);
    Some(Notice { text, warning: true })
}

/// An event as a line of a log.
pub fn line(group: &GroupInfo, event: &Event) -> String {
    match (event, notice(group, event)) {
        (Event::Message(Message { sender, recipients, payload, .. }), _) => {
            let text = clean_lines(&String::from_utf8_lossy(payload));
            let private =
                if recipients.is_empty() { String::new() } else { format!(" (to {} only)", names(recipients)) };
            format!("{} {sender}{private}: {text}", now())
        }
        (_, Some(notice)) => format!("-- {}", notice.text),
        (_, None) => String::new(),
    }
}

/// What this user may not do in the group, if anything.
pub fn own_role(group: &GroupInfo, me: &UserName) -> Option<String> {
    let role = group.policy.role(me);
    let may_not = match role {
        Role::Member => return None,
        Role::Receiver | Role::Archive => "you receive and do not send",
        Role::Sender => "you send to all who receive, and read nothing",
    };
    Some(format!("your role is {role}: {may_not}"))
}

/// That too few leaders confirm the view, and what follows.
pub fn unsure(group: &GroupInfo, confirmation: Confirmation, key_age: Option<std::time::Duration>) -> Option<String> {
    use ringfort::protocol::policy::WhenStale;

    let (needed, current) = (usize::from(group.rules.f()) + 1, usize::from(group.rules.n() - group.rules.f()));
    let goes_on = group.policy.when_stale == WhenStale::Continue;
    Some(match confirmation {
        Confirmation::Current => return None,
        Confirmation::Believed => {
            let talking = if goes_on { "talking works" } else { "nothing can be sent" };
            let back = match current {
                _ if current != needed + 1 => format!("{current} leaders are back"),
                3 => "a third leader is back".to_owned(),
                more => format!("leader number {more} is back"),
            };
            format!("{talking}; nobody can join or be put out, and the key cannot change, until {back}")
        }
        Confirmation::Unconfirmed => {
            let key_age = key_age.map(|time| format!(", {} old", age(time))).unwrap_or_default();
            let follows = if goes_on {
                format!("going on under the last key{key_age}")
            } else {
                "sending stops until they do".to_owned()
            };
            format!("fewer than {needed} leaders confirm this view: {follows}")
        }
    })
}

fn departure(cause: Cause) -> &'static str {
    match cause {
        Cause::Left => "left",
        Cause::Lost => "lost the connection",
        Cause::Expired => "was logged out: the time limit of a stay",
        Cause::Expelled => "was expelled",
        Cause::SessionOver => "left at the end of the session",
        Cause::Elsewhere => "logged in elsewhere, and that login took the place of this one",
    }
}
