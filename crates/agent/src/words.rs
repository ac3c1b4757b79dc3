//! Leaders, faults and departures in plain words.

use std::time::Duration;

use ringfort::protocol::fault::Culprit;
use ringfort::protocol::login::Denial;
use ringfort::protocol::member::Confirmation;
use ringfort::protocol::motion::{Motion, MotionKind};
use ringfort::protocol::policy::WhenStale;
use ringfort::protocol::view::Cause;
use ringfort::protocol::{Fault, GroupInfo, UserName};
use ringfort::{JoinError, LeaderState};

use crate::wire::MotionWord;

/// What somebody sent, and why it was refused.
pub fn explain(fault: Fault) -> &'static str {
    match fault {
        Fault::Malformed => "sent bytes that are no message; they were thrown away",
        Fault::BadSeal => "sent a message that does not open under the key of this login; it was thrown away",
        Fault::Replayed => "sent a message for the second time; it was thrown away",
        Fault::BadProposal => "sent a vote with a signature that is not its own; the vote does not count",
        Fault::WrongSession => "sent a vote from another life of the group; the vote does not count",
        Fault::Flooding => "sent more than the limits allow; the rest was not read",
        Fault::BadShare => "sent a share of the group key with a false proof; the key was made from honest shares",
        Fault::BadEvaluation => "answered the login with a false proof; the answer was not used",
        Fault::BadStatement => "did not sign the view that it claimed; the claim was not counted",
        Fault::BadView => "claimed a member list that does not fit its own fingerprint; the list was refused",
        Fault::ClaimWentBack => "claimed an older view than it had claimed before; the claim was refused",
        Fault::Equivocated => "claimed two different views under one number; neither counts",
        Fault::StaleHeartbeat => "answered a heartbeat with an old answer; it does not count as a sign of life",
        Fault::BadLoginProof => {
            "could not prove that it knows this user, while other leaders could; it is not believed"
        }
        Fault::BadData => "sent a message that is not its own, or that nobody can read; it was refused",
        Fault::Altered => {
            "passed on a message that its sender had given to other leaders with other content, so one of the two altered it; \
             it was refused"
        }
        Fault::OldView => "sent a message under a key that is no longer in use; it was not read",
        Fault::BadRelay => "passed on a message under a wrong name, or one it should not; it was refused",
        Fault::Silent => "did not answer in time",
        Fault::LoginFailed => "did not accept the login",
        Fault::Throttled => "asks to wait: too many attempts",
        Fault::AgainstRole => "sent what its role in the group forbids; it was not passed on",
        Fault::Withheld => "left out numbers of its messages and did not supply them when asked",
        Fault::WrongAnswer => "answered a request otherwise than the other leaders",
    }
}

/// A leader's state: a mood for the colour, a word, and a sentence.
pub fn leader(state: &LeaderState) -> (&'static str, &'static str, String) {
    match (state.caught, state.answers, state.reached, &state.error) {
        (Some(fault), ..) => ("caught", "caught cheating", format!("It {}.", explain(fault))),
        (None, true, ..) => ("fine", "fine", "It confirms who is in the group.".to_owned()),
        (None, false, true, _) if state.linked => {
            ("silent", "silent", "It is connected but does not confirm who is in the group.".to_owned())
        }
        (None, false, true, _) => ("silent", "silent", "It can be reached, but does not answer.".to_owned()),
        (None, false, false, Some(error)) => ("away", "no connection", format!("It cannot be reached: {error}.")),
        (None, false, false, None) => ("away", "no connection", "Connecting.".to_owned()),
    }
}

/// What the members are asked.
pub fn motion(motion: &Motion, you: &UserName) -> String {
    let user = &motion.user;
    match motion.kind {
        MotionKind::Admit => format!("{user} asks to join. The members decide."),
        MotionKind::Expel if user == you => "A member wants you expelled. The others decide.".to_owned(),
        MotionKind::Expel => format!("A member wants {user} expelled. The members decide."),
    }
}

/// What this member has answered.
pub fn voted(motion: MotionWord, user: &UserName, yes: bool) -> String {
    match (motion, yes) {
        (MotionWord::Admit, true) => format!("You voted to let {user} in."),
        (MotionWord::Admit, false) => format!("You voted not to let {user} in."),
        (MotionWord::Expel, true) => format!("You voted to expel {user}."),
        (MotionWord::Expel, false) => format!("You voted to keep {user}."),
    }
}

/// Why a login failed.
pub fn login(error: &JoinError, group: &GroupInfo) -> String {
    let needed = usize::from(group.rules.f()) + 1;
    match error {
        JoinError::NotAuthentic | JoinError::Denied(Denial::NotAuthentic) => format!(
            "The leaders do not know this name with this password or key. Check both. Whoever is new must be accepted by at least {needed} operators first."
        ),
        JoinError::Denied(Denial::Throttled) => {
            "There were too many attempts with this name. Wait a minute, then try again. A login with a key is not affected.".to_owned()
        }
        JoinError::Denied(Denial::Outvoted) => {
            "The members of the group were asked and did not let you in. Talk to one of them, then try again.".to_owned()
        }
        JoinError::Denied(Denial::Expelled(_)) => {
            "The operators have expelled this user. Ask them if you think that it is a mistake.".to_owned()
        }
        JoinError::Denied(Denial::NoSession(_)) => {
            "The operators have ended the session and not started another. Try again when they have.".to_owned()
        }
        JoinError::Timeout { timeout, needed, .. } => format!(
            "Not enough leaders answered within {} s; {needed} must. Check the network of this machine. “ringfort status” shows which leaders can be reached.",
            timeout.as_secs()
        ),
        other => sentence(&other.to_string()),
    }
}

/// A sentence has a capital at its start and a full stop at its end.
pub fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if words.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// How somebody went.
pub fn departure(cause: Cause) -> &'static str {
    match cause {
        Cause::Left => "left",
        Cause::Lost => "lost the connection",
        Cause::Expelled => "was expelled",
        Cause::Expired => "was logged out: the time limit of a stay",
        Cause::SessionOver => "left at the end of the session",
        Cause::Elsewhere => "logged in anew; the earlier stay is over",
    }
}

/// A blame as a sentence, and whether it is a warning.
pub fn blame(culprit: &Culprit, fault: Fault) -> (String, bool) {
    let who = match culprit {
        Culprit::Leader(leader) => format!("Leader {}", leader.number()),
        Culprit::Member(member) => member.user.to_string(),
        Culprit::Outsider(Some(user)) => format!("Somebody calling themselves {user}"),
        Culprit::Outsider(None) => "An outsider".to_owned(),
    };
    (format!("{who} {}.", explain(fault)), fault.is_deviation())
}

/// That too few leaders confirm the view, and what follows.
pub fn unsure(group: &GroupInfo, confirmation: Confirmation) -> Option<String> {
    let rules = &group.rules;
    let (believed, current) = (usize::from(rules.f()) + 1, usize::from(rules.n() - rules.f()));
    let goes_on = group.policy.when_stale == WhenStale::Continue;
    Some(match confirmation {
        Confirmation::Current => return None,
        Confirmation::Believed => {
            let talking = if goes_on { "Talking works." } else { "Nothing can be sent." };
            let back = match current {
                _ if current != believed + 1 => format!("{current} leaders are back"),
                3 => "a third leader is back".to_owned(),
                more => format!("leader number {more} is back"),
            };
            format!("{talking} Nobody can join or be put out, and the key cannot change, until {back}.")
        }
        Confirmation::Unconfirmed => {
            let follows = if goes_on {
                "You go on under the last key; somebody may have left or joined without your knowing."
            } else {
                "Nothing can be sent until they do."
            };
            format!("Fewer than {believed} leaders confirm who is in the group. {follows}")
        }
    })
}

/// The rekey period of the policy, if there is one.
pub fn rekey_period(group: &GroupInfo) -> Option<Duration> {
    let period_ms = group.policy.rekey_period_ms;
    (period_ms > 0).then(|| Duration::from_millis(period_ms.into()))
}
