//! What programs read: one JSON object per line, with stable names.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::leader;
use ringfort::protocol::motion::Count;
use ringfort::protocol::view::Cause;
use ringfort::protocol::{Fault, GroupInfo, MemberId, Role, UserName, ViewId};
use ringfort::{Event, Message};
pub use ringfort_daemon::words::cause_word;
use ringfort_daemon::words::{culprit_kind, denial_word, motion_word};
use serde::Serialize;

/// What `ringfort leader --json` prints.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LeaderLine {
    Listening {
        address: String,
        leader: u8,
        group: String,
        /// The libraries that this build computes with.
        back_ends: &'static str,
        /// "enforced", "partly", "absent" or "off".
        sandbox: String,
        /// Where it answers over HTTP, if it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        http: Option<String>,
    },
    Authenticated {
        user: String,
        stay: u64,
    },
    Denied {
        user: String,
        reason: &'static str,
    },
    Admitted {
        user: String,
        stay: u64,
    },
    Ended {
        user: String,
        cause: &'static str,
    },
    Published {
        epoch: u64,
        view: String,
        members: usize,
    },
    Session {
        session: u64,
        open: bool,
    },
    CaughtUp,
    /// What a renewal of the leaders' shares has come to.
    Renewal {
        generation: u32,
        /// "ordered", "begun", "blamed" or "certified".
        what: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        leader: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<&'static str>,
    },
    /// Somebody showed the key of a leader that was replaced.
    RetiredLeader {
        leader: u8,
    },
    CutOff {
        peer: u8,
        for_ms: u64,
    },
    MembersAsked {
        motion: &'static str,
        user: String,
    },
    MembersDecided {
        motion: &'static str,
        user: String,
        passed: bool,
        yes: usize,
        no: usize,
        of: usize,
    },
    Convicted {
        user: String,
        stay: u64,
    },
    Blamed {
        who: String,
        kind: &'static str,
        fault: &'static str,
    },
    Stopped {
        leader: u8,
    },
}

impl From<&leader::Event> for LeaderLine {
    fn from(event: &leader::Event) -> Self {
        match event {
            leader::Event::Authenticated(MemberId { user, incarnation }) => {
                LeaderLine::Authenticated { user: user.to_string(), stay: incarnation.0 }
            }
            leader::Event::Denied(user, denial) => {
                LeaderLine::Denied { user: user.to_string(), reason: denial_word(*denial) }
            }
            leader::Event::Admitted(MemberId { user, incarnation }) => {
                LeaderLine::Admitted { user: user.to_string(), stay: incarnation.0 }
            }
            leader::Event::Ended(user, cause) => {
                LeaderLine::Ended { user: user.to_string(), cause: cause_word(*cause) }
            }
            leader::Event::Published(view, members) => {
                LeaderLine::Published { epoch: view.epoch.0, view: view.digest.to_string(), members: *members }
            }
            leader::Event::Session(now) => LeaderLine::Session { session: now.number.get(), open: now.open },
            leader::Event::CaughtUp => LeaderLine::CaughtUp,
            leader::Event::CutOff(peer, length) => {
                let for_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                LeaderLine::CutOff { peer: peer.number(), for_ms }
            }
            leader::Event::MotionOpened(motion) => {
                LeaderLine::MembersAsked { motion: motion_word(motion), user: motion.user.to_string() }
            }
            leader::Event::MotionDecided(motion, passed, Count { yes, no, of }) => {
                let (word, user) = (motion_word(motion), motion.user.to_string());
                LeaderLine::MembersDecided { motion: word, user, passed: *passed, yes: *yes, no: *no, of: *of }
            }
            leader::Event::Convicted(MemberId { user, incarnation }) => {
                LeaderLine::Convicted { user: user.to_string(), stay: incarnation.0 }
            }
            leader::Event::Blamed(culprit, fault) => {
                LeaderLine::Blamed { who: culprit.to_string(), kind: culprit_kind(culprit), fault: fault.word() }
            }
        }
    }
}

/// What `ringfort listen --json` and `ringfort send --json` print.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum MemberLine {
    Joined {
        group: String,
        user: String,
        epoch: u64,
        view: String,
        members: Vec<String>,
        /// Who of them is no ordinary member, and what then.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        roles: BTreeMap<String, &'static str>,
    },
    Message {
        from: String,
        topic: String,
        /// The message if it is text; `base64` otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        /// The recipients of a private message; empty for all.
        to: Vec<String>,
        epoch: u64,
        seq: u64,
    },
    View {
        epoch: u64,
        view: String,
        joined: Vec<String>,
        left: Vec<Departure>,
    },
    Gap {
        from: String,
        first: u64,
        count: u64,
    },
    /// Somebody went without a last word: whether more of it is lost is not known.
    UnknownTail {
        from: String,
    },
    /// What was said at the end of this stay may be missing.
    Missed {},
    /// Too few leaders acknowledged so many messages of this stay before it ended.
    Unsent {
        count: u64,
    },
    Lagged {
        count: u64,
    },
    Confirmed {
        /// Whether n-f leaders confirm the view.
        confirmed: bool,
        /// `current` (n-f do), `believed` (f+1 do) or `unconfirmed`.
        state: &'static str,
    },
    Leader {
        leader: u8,
        answers: bool,
    },
    Blamed {
        who: String,
        kind: &'static str,
        fault: &'static str,
        /// How often so far: it is told the first time, the tenth, the hundredth and so on.
        times: u64,
    },
    Asked {
        motion: &'static str,
        user: String,
    },
    Sent {
        to: Vec<String>,
        topic: String,
        bytes: usize,
    },
    Ended {
        cause: &'static str,
    },
    Left {
        acknowledged: bool,
    },
}

/// Somebody who went, and why.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Departure {
    pub user: String,
    pub cause: &'static str,
}

impl From<&Event> for MemberLine {
    fn from(event: &Event) -> Self {
        match event {
            Event::Message(message) => message.into(),
            Event::View { view: ViewId { epoch, digest }, joined, left } => MemberLine::View {
                epoch: epoch.0,
                view: digest.to_string(),
                joined: strings(joined),
                left: left.iter().map(|(user, cause)| departure(user, *cause)).collect(),
            },
            Event::Gap { sender, first, count } => {
                MemberLine::Gap { from: sender.to_string(), first: *first, count: *count }
            }
            Event::UnknownTail { sender } => MemberLine::UnknownTail { from: sender.to_string() },
            Event::Missed => MemberLine::Missed {},
            Event::Unsent(count) => MemberLine::Unsent { count: *count },
            Event::Lagged(count) => MemberLine::Lagged { count: *count },
            Event::Confirmation(now) => MemberLine::Confirmed { confirmed: now.is_current(), state: now.word() },
            Event::LeaderAnswers(leader, answers) => MemberLine::Leader { leader: leader.number(), answers: *answers },
            Event::Asked(motion) => MemberLine::Asked { motion: motion_word(motion), user: motion.user.to_string() },
            Event::Blamed(culprit, fault) => MemberLine::blamed(culprit, *fault, 1),
            Event::Ended(cause) => MemberLine::Ended { cause: cause_word(*cause) },
        }
    }
}

impl MemberLine {
    /// An offence, and how often it was committed so far.
    pub fn blamed(culprit: &Culprit, fault: Fault, times: u64) -> Self {
        MemberLine::Blamed { who: culprit.to_string(), kind: culprit_kind(culprit), fault: fault.word(), times }
    }
}

impl From<&Message> for MemberLine {
    fn from(message: &Message) -> Self {
        let text = std::str::from_utf8(&message.payload).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| BASE64.encode(&message.payload));
        MemberLine::Message {
            from: message.sender.to_string(),
            topic: message.topic.clone(),
            text,
            base64,
            to: strings(&message.recipients),
            epoch: message.view.epoch.0,
            seq: message.seq,
        }
    }
}

/// Who of these users is no ordinary member, and what then.
pub fn roles(group: &GroupInfo, users: &[UserName]) -> BTreeMap<String, &'static str> {
    let role = |user: &UserName| match group.policy.role(user) {
        Role::Member => None,
        role => Some((user.to_string(), role.word())),
    };
    users.iter().filter_map(role).collect()
}

/// Names as text.
pub fn strings(names: &[UserName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn departure(user: &UserName, cause: Cause) -> Departure {
    Departure { user: user.to_string(), cause: cause_word(cause) }
}

#[cfg(test)]
mod tests {
    use ringfort::protocol::fault::Culprit;
    use ringfort::protocol::{Epoch, Fault, LeaderId, ViewDigest};

    use super::*;

    fn view() -> ViewId {
        ViewId { epoch: Epoch(7), digest: ViewDigest([0xab; 32]) }
    }

    #[test]
    fn leader_lines_keep_their_names() {
        let line = |event: leader::Event| serde_json::to_string(&LeaderLine::from(&event)).unwrap();
        assert_eq!(
            line(leader::Event::Published(view(), 3)),
            r#"{"event":"published","epoch":7,"view":"abababababab","members":3}"#
        );
        let leader = Culprit::Leader(LeaderId::new(3).unwrap());
        assert_eq!(
            line(leader::Event::Blamed(leader, Fault::BadShare)),
            r#"{"event":"blamed","who":"leader 3","kind":"leader","fault":"bad-share"}"#
        );
    }

    #[test]
    fn member_lines_keep_their_names() {
        let mut message = Message {
            sender: "ana".parse().unwrap(),
            topic: "chat".into(),
            payload: bytes::Bytes::from_static("héllo \u{1b}".as_bytes()),
            view: view(),
            seq: 4,
            recipients: vec!["ben".parse().unwrap()],
        };
        assert_eq!(
            serde_json::to_string(&MemberLine::from(&message)).unwrap(),
            r#"{"event":"message","from":"ana","topic":"chat","text":"héllo \u001b","to":["ben"],"epoch":7,"seq":4}"#
        );
        message.payload = bytes::Bytes::from_static(&[0xff, 0]);
        assert!(serde_json::to_string(&MemberLine::from(&message)).unwrap().contains(r#""base64":"/wA=""#));
    }
}
