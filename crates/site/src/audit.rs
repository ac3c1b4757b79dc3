//! What a site's audit has lines of: who was let in and who was not, and with which sites it was together.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Something that bears on security.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the documentation's, in docs/sites.md")]
pub enum Decision {
    Started { version: &'static str, fingerprint: String, sandbox: String },
    Stopping,
    Linked { other: String },
    NoLink { other: String, why: String },
    Ring { number: u64, sites: Vec<String>, absent: Vec<String> },
    LooksForOthers { why: String },
    Overslept { ms: u64 },
    ClientIn { client: String, from: String },
    ClientOut { client: String, from: String },
    ClientRefused { from: String, why: String },
    ClientCutOff { client: String, from: String, why: String },
    SessionEnded { from: String, why: String },
    LinesNotWritten { about: String, count: u64 },
    LinesLost { count: u64 },
}

impl Decision {
    /// Who pays for the line; nobody does for what happens seldom and by itself.
    pub fn account(&self) -> Option<&str> {
        match self {
            Decision::Linked { other } | Decision::NoLink { other, .. } => Some(other),
            Decision::Ring { .. } | Decision::LooksForOthers { .. } => Some("the ring"),
            Decision::ClientIn { from, .. }
            | Decision::ClientOut { from, .. }
            | Decision::ClientRefused { from, .. }
            | Decision::ClientCutOff { from, .. }
            | Decision::SessionEnded { from, .. } => Some(from),
            Decision::Started { .. }
            | Decision::Stopping
            | Decision::Overslept { .. }
            | Decision::LinesNotWritten { .. }
            | Decision::LinesLost { .. } => None,
        }
    }
}

/// Whoever is told of decisions. It must not wait for anything: the site does not go on meanwhile.
pub type Observe = Arc<dyn Fn(&Decision) + Send + Sync>;

/// The observer, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Observer(pub Option<Observe>);

impl Observer {
    pub fn tell(&self, decision: &Decision) {
        if let Some(observe) = &self.0 {
            observe(decision);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
