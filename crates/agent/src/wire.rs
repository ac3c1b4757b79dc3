//! The JSON protocol of the sockets, version 1. `docs/agent.md` tells it for people.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ringfort::protocol::GroupInfo;
use ringfort::protocol::motion::MotionKind;
use ringfort::protocol::policy::Service;
use ringfort_files::{Action, Transfer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::plugins::Problem;
use crate::words;

/// The version spoken here.
pub const VERSION: u32 = 1;

/// What a page or a program asks.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Ask {
    /// First of all: from where on to tell.
    Hello {
        version: u32,
        #[serde(default)]
        run: String,
        #[serde(default)]
        after: u64,
        /// What the agent proves itself over to the page.
        #[serde(default)]
        nonce: Option<String>,
    },
    /// Send to all, or to some.
    Send {
        id: u64,
        topic: String,
        #[serde(default)]
        to: Vec<String>,
        #[serde(default)]
        text: Option<String>,
        #[serde(default)]
        base64: Option<String>,
        #[serde(default)]
        service: Option<ServiceWord>,
    },
    /// Read a kept value.
    Get { id: u64, plugin: String, key: String },
    /// Keep a value; none forgets it.
    Set {
        id: u64,
        plugin: String,
        key: String,
        #[serde(default)]
        value: Option<String>,
    },
    /// Do something with a file of a topic. Only the page may.
    File { id: u64, topic: String, file: u64, action: Action },
    /// Vote on letting a user in, or on sending one away. Only the page may.
    Vote { id: u64, motion: MotionWord, user: String, yes: bool },
    /// Leave the group. Only the page may.
    Leave { id: u64 },
    /// Log in, with a password or with a key in a file of this machine. Only the page may.
    Login {
        id: u64,
        user: String,
        #[serde(default)]
        password: Option<Password>,
        #[serde(default)]
        key: Option<PathBuf>,
        #[serde(default)]
        certificate: Option<PathBuf>,
    },
}

/// A password on its way to the login. Redacted in `Debug`, and wiped.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Password(pub Zeroizing<String>);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Password(Zeroizing::new(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// What members vote on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum MotionWord {
    Admit,
    Expel,
}

impl From<MotionKind> for MotionWord {
    fn from(kind: MotionKind) -> Self {
        match kind {
            MotionKind::Admit => MotionWord::Admit,
            MotionKind::Expel => MotionWord::Expel,
        }
    }
}

impl From<MotionWord> for MotionKind {
    fn from(word: MotionWord) -> Self {
        match word {
            MotionWord::Admit => MotionKind::Admit,
            MotionWord::Expel => MotionKind::Expel,
        }
    }
}

/// What the leaders ask of this member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MotionFacts {
    /// What.
    pub motion: MotionWord,
    /// About whom.
    pub user: String,
    /// What this member has answered.
    pub vote: Option<bool>,
}

/// What delivery promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ServiceWord {
    BestEffort,
    Reliable,
    Fifo,
}

impl From<ServiceWord> for Service {
    fn from(word: ServiceWord) -> Self {
        match word {
            ServiceWord::BestEffort => Service::BestEffort,
            ServiceWord::Reliable => Service::Reliable,
            ServiceWord::Fifo => Service::Fifo,
        }
    }
}

/// What a page or a program is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Tell {
    /// To a page that asked for it, before everything else: that this is the agent, and no program that has taken its port.
    Proof { proof: String },
    /// The answer to the hello.
    Welcome(Box<Welcome>),
    /// Where a login stands, for the page: instead of a welcome as long as nobody is logged in, and whenever it changes.
    Login(LoginFacts),
    /// The state of the stay, whenever it changes.
    State(State),
    /// Some older records are no longer kept.
    Skipped,
    /// It was done. `n` is the number of the record of what was sent.
    Done {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
    },
    /// It was not done.
    Failed { id: u64, why: String },
    /// All files of a topic, whenever something about them has changed. For the page only.
    Files { topic: String, files: Vec<Transfer> },
    /// This program runs, for the page only.
    Alive,
    /// A value that was kept.
    Value { id: u64, value: Option<String> },
    /// The last word before the socket closes.
    Closing { why: &'static str },
}

/// Who and where one is.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Welcome {
    pub version: u32,
    /// This run of the agent. Another one has other records.
    pub run: String,
    pub user: String,
    pub group: GroupFacts,
    /// The longest message, in bytes.
    pub message_bytes_max: u32,
    /// Records follow from behind this one.
    pub after: u64,
    /// The newest record so far: what has a higher number happens from now on.
    pub head: u64,
    /// The only topic of a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    pub plugins: Vec<PluginFacts>,
    pub skipped_plugins: Vec<Problem>,
    /// Where complete files go; none if this agent exchanges no files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_folder: Option<String>,
    pub state: State,
}

/// A login on the page.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct LoginFacts {
    pub version: u32,
    pub group: GroupFacts,
    #[serde(flatten)]
    pub login: Login,
}

/// Where a login stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Login {
    /// Who tries, or has tried last.
    pub user: String,
    /// Whether it is going on.
    pub busy: bool,
    /// Why the last one failed, in words.
    pub why: Option<String>,
    /// Whether the agent tries by itself to take up a stay that was lost.
    pub returning: bool,
}

/// The group, as everybody knows it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct GroupFacts {
    pub name: String,
    pub fingerprint: String,
    pub leaders: u8,
    pub faults: u8,
    pub rekey_period_s: Option<u64>,
    /// Whether members may vote one of them out.
    pub members_expel: bool,
}

impl GroupFacts {
    /// The facts of a group.
    pub fn of(info: &GroupInfo) -> Self {
        GroupFacts {
            name: info.name.clone(),
            fingerprint: info.fingerprint(),
            leaders: info.rules.n(),
            faults: info.rules.f(),
            rekey_period_s: words::rekey_period(info).map(|period| period.as_secs()),
            members_expel: info.policy.expulsion_vote.is_some(),
        }
    }
}

/// A plugin, for the page.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct PluginFacts {
    pub id: String,
    pub name: String,
    pub topic: String,
    pub description: String,
    pub url: String,
    /// Whether it may send and receive files.
    pub files: bool,
    pub microphone: bool,
}

/// The state of the stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct State {
    pub epoch: Option<u64>,
    pub view: Option<String>,
    pub members: Vec<String>,
    /// Who of them, or of oneself, is no ordinary member, and what then: `receiver`, `sender` or `archive`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, &'static str>,
    /// Whether n-f leaders confirm the view.
    pub confirmed: bool,
    /// `current` (n-f leaders confirm the view), `believed` (f+1 do) or `unconfirmed` (fewer).
    pub confirmation: &'static str,
    /// Why it matters, if they do not.
    pub warning: Option<String>,
    /// Leaders that confirm, and how many are needed.
    pub confirming: usize,
    pub needed: usize,
    /// When the key was installed, in milliseconds since 1970.
    pub key_since_ms: Option<u64>,
    pub leaders: Vec<Leader>,
    /// What the leaders ask of this member.
    pub motions: Vec<MotionFacts>,
    /// How the stay ended, if it did.
    pub ended: Option<&'static str>,
}

/// A leader, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Leader {
    pub number: u8,
    pub address: String,
    /// `fine`, `silent`, `away` or `caught`.
    pub mood: &'static str,
    pub word: &'static str,
    pub detail: String,
}

/// What happened, with its number.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Record {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub n: u64,
    pub at_ms: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum What {
    Message {
        from: String,
        /// The recipients of a private message; empty for all.
        to: Vec<String>,
        topic: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        /// Whether it was sent from here.
        own: bool,
        epoch: Option<u64>,
    },
    View {
        epoch: u64,
        joined: Vec<String>,
        left: Vec<Departure>,
    },
    Gap {
        from: String,
        count: u64,
    },
    /// This member was away: what was said meanwhile is not here.
    Away {
        since_ms: u64,
        until_ms: u64,
    },
    Notice {
        words: String,
        warning: bool,
    },
}

/// Somebody who went.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Departure {
    pub user: String,
    pub how: &'static str,
}
