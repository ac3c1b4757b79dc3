//! What there is to read: messages and notices, and how far the reader has scrolled.

use std::collections::VecDeque;
use std::sync::Arc;

use ringfort::Event;
use ringfort::protocol::{GroupInfo, UserName};

use super::TOPIC;
use super::board::Board;
use super::command::HELP;
use super::sender::{Act, Sent};
use crate::blames::Blames;
use crate::describe;
use crate::text::{clean, names, now, people};

/// Entries kept for scrolling back.
const ENTRIES_MAX: usize = 2000;
/// The longest text shown of one message, in characters.
const SHOWN_CHARS_MAX: usize = 4000;

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The local time.
    pub at: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Message { sender: String, to: Option<String>, text: String },
    Notice(String),
    Warning(String),
}

/// The conversation.
#[derive(Debug)]
pub(super) struct Room {
    pub info: Arc<GroupInfo>,
    pub me: UserName,
    entries: VecDeque<Entry>,
    /// Entries that came since the last drawing.
    pub fresh: usize,
    /// Lines between the bottom of what is shown and the newest line.
    pub scroll: usize,
    joined: bool,
    blames: Blames,
}

impl Room {
    pub fn new(info: Arc<GroupInfo>, me: UserName) -> Self {
        let entries = VecDeque::new();
        Room { info, me, entries, fresh: 0, scroll: 0, joined: false, blames: Blames::default() }
    }

    /// Newest last.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::Message(message) if message.topic == TOPIC => {
                let to = (!message.recipients.is_empty()).then(|| self.people(&message.recipients));
                let text = shortened(&String::from_utf8_lossy(&message.payload));
                self.push(What::Message { sender: message.sender.to_string(), to, text });
            }
            Event::Message(message) => {
                if let Some(request) = describe::request(message) {
                    self.push(What::Warning(request.text));
                }
            }
            Event::View { joined, .. } if !std::mem::replace(&mut self.joined, true) => {
                let others: Vec<&UserName> = joined.iter().filter(|user| **user != self.me).collect();
                let told = if others.is_empty() {
                    "nobody else is here yet".to_owned()
                } else {
                    format!("here: {}", people(&self.info, others))
                };
                let role = describe::own_role(&self.info, &self.me).map(|role| format!("; {role}")).unwrap_or_default();
                self.notice(format!("you joined; {told}{role}; /help tells the commands"));
            }
            // A leader under attack repeats itself: each blame is told once.
            Event::Blamed(culprit, fault) if self.blames.count(culprit, *fault) != Some(1) => {}
            Event::LeaderAnswers(..) => {} // The leaders' line shows it.
            event => {
                if let Some(describe::Notice { text, warning }) = describe::notice(&self.info, event) {
                    self.push(if warning { What::Warning(text) } else { What::Notice(text) });
                }
            }
        }
    }

    pub fn on_sent(&mut self, (act, outcome): Sent) {
        match (act, outcome) {
            (Act::Say(own), Ok(())) => {
                let to = (!own.to.is_empty()).then(|| self.people(&own.to));
                self.push(What::Message { sender: self.me.to_string(), to, text: shortened(&own.text) });
                self.scroll = 0;
            }
            (Act::Vote(motion, yes), Ok(())) => self.notice(describe::vote(&motion, yes)),
            (_, Err(failure)) => self.warn(format!("not sent: {failure}")),
        }
    }

    pub fn show_members(&mut self, board: &Board) {
        let text = format!("{} here: {}", board.members.len(), people(&self.info, &board.members));
        self.notice(text);
    }

    pub fn show_leaders(&mut self, board: &Board) {
        for light in &board.leaders {
            let address =
                self.info.leaders.get(usize::from(light.number).wrapping_sub(1)).map(|info| clean(&info.address));
            self.notice(format!("leader {} at {}: {}", light.number, address.unwrap_or_default(), light.word));
        }
    }

    pub fn show_help(&mut self) {
        HELP.iter().for_each(|line| self.notice((*line).to_owned()));
    }

    pub fn notice(&mut self, text: String) {
        self.push(What::Notice(text));
    }

    pub fn warn(&mut self, text: String) {
        self.push(What::Warning(text));
    }

    fn push(&mut self, what: What) {
        self.entries.push_back(Entry { at: now(), what });
        self.fresh += 1;
        if self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
        }
    }

    fn people(&self, people: &[UserName]) -> String {
        let named = people.iter().map(|user| if *user == self.me { "you".to_owned() } else { user.to_string() });
        names(&named.collect::<Vec<_>>())
    }
}

fn shortened(text: &str) -> String {
    let mut shown: String = clean(text).chars().take(SHOWN_CHARS_MAX).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push_str(" … (cut)");
    }
    shown
}
