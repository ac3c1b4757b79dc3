//! The exchange of files as a value: messages, commands, answers of the disk and time go in; effects and messages come out.
//!
//! A sender makes an offer with the length and the hash. Whoever accepts tells from which piece on, is sent pieces within a
//! window, and reports; a report always tells everything, so that no message about files is indispensable. Pieces are
//! written in order, so what is on the disk is always a beginning of the file, and going on after any interruption is
//! to tell from which piece on. A file gets its name only once its hash is right.
//!
//! Every number from the network is checked in `message`, every amount is bounded in `limits`, and every name goes through
//! `name`. Other members are trusted with nothing: what they send that makes no sense is ignored.

mod actions;
mod incoming;
pub(crate) mod limits;
pub(crate) mod message;
pub(crate) mod name;
mod outgoing;
mod rate;
mod receiver;
mod sender;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ringfort::protocol::time::earliest;
use ringfort::protocol::{Time, UserName};

use limits::Limits;
use message::{Message, OfferId};
use receiver::Receiver;
use sender::Sender;

pub use actions::{Action, Refused};
pub use status::{PeerProgress, Transfer};

/// Recipients of one private message.
const RECIPIENTS_MAX: usize = 64;
/// The shortest messages of a group in which files can be sent.
const MESSAGE_BYTES_MIN: u32 = 1024;

/// A transfer's number in this process. Numbers are not used twice.
pub type Number = u64;

/// One making of a file on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job(pub u64);

/// What the same unfinished file is recognised by after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Who sends it.
    pub from: UserName,
    /// For which topic.
    pub topic: String,
    /// Its hash.
    pub root: [u8; 32],
    /// Its length.
    pub bytes: u64,
}

/// What the driver does on the disk. It answers with the method of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look whether a part of this is there from before.
    Find(Number, Part),
    /// Open or make the part, cut to whole pieces, and read what is there.
    Open(Job, Part, u32),
    /// Append.
    Write(Job, Vec<Bytes>),
    /// Tell the hash of everything that was written.
    Hash(Job),
    /// Make it durable, and give it this name or a similar one that is free.
    Publish(Job, String),
    /// Close the part, and keep it. No answer.
    Close(Job),
    /// Delete the part. No answer.
    Discard(Job),
    /// The file that was sent is not needed any more. No answer.
    Release(Number),
}

/// To whom something goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody.
    Group,
    /// These.
    Only(Vec<UserName>),
}

/// What goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message.
    Message(Vec<u8>),
    /// A piece of the file that is being sent under this number.
    Chunk {
        /// Which file.
        number: Number,
        /// What stands before the piece.
        head: [u8; message::CHUNK_HEAD_BYTES],
        /// Which piece.
        index: u32,
        /// Where it begins.
        offset: u64,
        /// Its length.
        len: usize,
    },
}

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// On whose behalf.
    pub topic: String,
    /// To whom.
    pub to: To,
    /// What.
    pub what: What,
}

#[derive(Debug)]
struct Incoming {
    topic: String,
    key: receiver::IncomingKey,
    receiver: Receiver,
    job: Option<Job>,
    /// The sender is to be told where this is.
    report_due: bool,
}

#[derive(Debug)]
enum Stage {
    /// The content is still being read.
    Preparing { done: u64, to: Vec<UserName>, to_group: bool },
    /// Offered.
    Open(Box<Sender>),
    /// Withdrawn; who had it by then.
    Cancelled(Box<Sender>),
    /// It could not be read.
    Failed(String),
}

#[derive(Debug)]
struct Outgoing {
    topic: String,
    name: String,
    bytes: u64,
    stage: Stage,
}

/// All transfers of one stay.
#[derive(Debug)]
pub struct Exchange {
    me: UserName,
    limits: Limits,
    /// The longest message of the group.
    message_bytes_max: u32,
    members: BTreeSet<UserName>,
    outgoing: BTreeMap<Number, Outgoing>,
    sent_ids: BTreeMap<OfferId, Number>,
    incoming: BTreeMap<Number, Incoming>,
    received_ids: BTreeMap<receiver::IncomingKey, Number>,
    jobs: BTreeMap<Job, Number>,
    next_number: Number,
    auto_bytes: u64,
    auto_files: u32,
    control: VecDeque<Outbound>,
    /// Whose pieces were sent last.
    turn: Number,
}

impl Exchange {
    /// An exchange without transfers.
    pub fn new(me: UserName, message_bytes_max: u32, limits: Limits) -> Self {
        Exchange {
            me,
            limits,
            message_bytes_max,
            members: BTreeSet::new(),
            outgoing: BTreeMap::new(),
            sent_ids: BTreeMap::new(),
            incoming: BTreeMap::new(),
            received_ids: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_number: 1,
            auto_bytes: 0,
            auto_files: 0,
            control: VecDeque::new(),
            turn: 0,
        }
    }

    /// A message about files from a member.
    pub fn on_message(&mut self, now: Time, from: &UserName, topic: &str, payload: &Bytes) -> Vec<Effect> {
        if *from == self.me {
            return Vec::new();
        }
        match Message::parse(payload) {
            Ok(Message::Offer(offer)) => self.on_offer(now, from, topic, offer),
            Ok(Message::Chunk(id, index, bytes)) => self.on_chunk(now, from, topic, id, index, bytes),
            Ok(Message::Word(id, word)) => self.on_word(now, from, topic, id, word),
            Ok(Message::Report(report)) => self.on_report(now, from, topic, &report),
            Err(_) => Vec::new(),
        }
    }

    /// Who is in the group now.
    pub fn on_members(&mut self, now: Time, members: impl IntoIterator<Item = UserName>) -> Vec<Effect> {
        self.members = members.into_iter().collect();
        self.senders_on_members(now);
        self.receivers_on_members()
    }

    /// What is to be sent next, if anything: reports, then words, then pieces, from each file in its turn.
    pub fn next_outbound(&mut self, now: Time) -> Option<Outbound> {
        self.next_report(now).or_else(|| self.control.pop_front()).or_else(|| self.next_chunk(now))
    }

    /// Something was not sent; `gone` is a recipient who is not in the group.
    pub fn on_unsent(&mut self, now: Time, outbound: Outbound, gone: Option<&UserName>) {
        match (outbound.what, outbound.to) {
            (What::Chunk { number, index, .. }, to) => self.chunk_unsent(now, number, index, &to),
            (what, To::Group) => self.control.push_front(Outbound { to: To::Group, what, ..outbound }),
            (what, To::Only(mut to)) => {
                to.retain(|user| Some(user) != gone && self.members.contains(user));
                if !to.is_empty() {
                    self.control.push_front(Outbound { to: To::Only(to), what, topic: outbound.topic });
                }
            }
        }
    }

    /// When [`Exchange::on_wakeup`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        let sending = self.outgoing.values().filter_map(|outgoing| match &outgoing.stage {
            Stage::Open(sender) => sender.next_wakeup(),
            _ => None,
        });
        let receiving = self.incoming.values().filter_map(|incoming| incoming.receiver.next_wakeup());
        sending.chain(receiving).map(Some).fold(None, earliest)
    }

    /// Does what time has made due.
    pub fn on_wakeup(&mut self, now: Time) {
        self.wake_senders(now);
        self.wake_receivers(now);
    }

    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.incoming.values().map(|incoming| incoming.receiver.held_bytes()).sum()
    }

    fn number(&mut self) -> Number {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}
