//! One line of a trace. The schema is docs/traces.md.

use serde::{Deserialize, Serialize};

/// A view's id: counter and representative of the ring, and the index on it. Systems with other ids give any three
/// numbers that grow in this order.
pub type ViewId = [u64; 3];

/// How a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Service {
    Unreliable,
    Reliable,
    Fifo,
    Causal,
    Agreed,
    Safe,
}

/// Why a view came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Cause {
    Join,
    Leave,
    Disconnect,
    Network,
}

/// What a process did or saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "lowercase")]
pub enum Event {
    /// A client connected.
    Connect,
    /// It asked to join a group.
    Join {
        /// The group.
        g: String,
    },
    /// It asked to leave a group.
    Leave {
        /// The group.
        g: String,
    },
    /// It sent a message.
    Send {
        /// A name for the message that no other has.
        m: String,
        /// Its service.
        svc: Service,
        /// Where to.
        groups: Vec<String>,
        /// Whether the sender itself is left out.
        #[serde(default)]
        discard: bool,
        /// A hash of the bytes.
        hash: u64,
    },
    /// It received a message.
    Deliver {
        /// Which.
        m: String,
        /// Who it says sent it.
        from: String,
        /// Its service.
        svc: Service,
        /// Where it says it went.
        groups: Vec<String>,
        /// A hash of the bytes.
        hash: u64,
    },
    /// The transitional signal of a group.
    Trans {
        /// The group.
        g: String,
        /// The view that ends.
        old: ViewId,
    },
    /// A regular view of a group.
    Reg {
        /// The group.
        g: String,
        /// The view.
        id: ViewId,
        /// All members, in order.
        members: Vec<String>,
        /// Why.
        cause: Cause,
        /// For a network cause all sets; otherwise one set of the one who changed.
        sets: Vec<Vec<String>>,
    },
    /// It is out of a group by its own wish.
    SelfLeave {
        /// The group.
        g: String,
    },
    /// It ended its connection.
    Disconnect,
    /// It, or its site, crashed.
    Crash,
    /// A *site* installed a ring. `p` is then a site, which keeps its name over its lives.
    Ring {
        /// Counter and representative.
        id: [u64; 2],
        /// The sites.
        members: Vec<String>,
    },
    /// It is alive at the end of the trace, and the network has been whole for long enough.
    End,
}

/// One line: who, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The process: a client's private name, never used again by another, or a site.
    pub p: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// A line that is no record.
#[derive(Debug)]
pub struct BadTrace {
    /// Which, from 1.
    pub line: usize,
    /// Why.
    pub error: serde_json::Error,
}

impl std::fmt::Display for BadTrace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.error)
    }
}

impl std::error::Error for BadTrace {}

/// The records of a text of JSON lines; empty lines are passed over.
pub fn parse(text: &str) -> Result<Vec<Record>, BadTrace> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(n, line)| serde_json::from_str(line).map_err(|error| BadTrace { line: n + 1, error })).collect()
}
