//! The running digest of everything that happens in a run.

use ringfort_crypto::hash::digest;
use ringfort_protocol::Time;

/// Absorbs events in order; equal digests mean equal runs.
#[derive(Clone, Debug)]
pub struct Trace {
    state: [u8; 32],
    pending: Vec<u8>,
    /// Events so far.
    pub events: u64,
    /// Whether lines are printed as they come.
    pub verbose: bool,
}

const BATCH_BYTES: usize = 64 * 1024;

impl Trace {
    /// Nothing has happened.
    pub fn new(verbose: bool) -> Self {
        Trace { state: [0; 32], pending: Vec::with_capacity(BATCH_BYTES), events: 0, verbose }
    }

    /// Something with bytes happened: a frame was handed over.
    pub fn bytes(&mut self, at: Time, what: &str, numbers: [u64; 2], bytes: &[u8]) {
        self.events += 1;
        self.pending.extend_from_slice(&at.since_start().as_nanos().to_be_bytes());
        self.pending.extend_from_slice(what.as_bytes());
        numbers.iter().for_each(|n| self.pending.extend_from_slice(&n.to_be_bytes()));
        self.pending.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= BATCH_BYTES {
            self.fold();
        }
    }

    /// Something worth telling happened.
    pub fn line(&mut self, at: Time, text: &dyn std::fmt::Display) {
        let text = text.to_string();
        if self.verbose {
            println!("{:>10.6} {text}", at.since_start().as_secs_f64());
        }
        self.bytes(at, "line", [0; 2], text.as_bytes());
    }

    /// The digest of the run so far.
    pub fn digest(&mut self) -> [u8; 32] {
        self.fold();
        self.state
    }

    fn fold(&mut self) {
        self.state = digest("ringfort sim trace", &[&self.state, &self.pending]);
        self.pending.clear();
    }
}
