//! One leader's process, disk and links.

use std::collections::VecDeque;

use bytes::Bytes;
use ringfort_agreement::{Agreement, Author, Record, Time};

use crate::hacked::Hacked;

/// A place in a leader's life at which it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashAt {
    /// Which time that it makes something durable.
    pub persist: u64,
    /// Whether the write was done before the crash.
    pub written: bool,
}

/// The most that a leader held at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// Bytes in blocks, states and queues.
    pub bytes: usize,
    /// Accepted blocks.
    pub blocks: usize,
    /// Blocks that wait for others.
    pub waiting: usize,
    /// Blocks asked for.
    pub wanted: usize,
}

/// One leader.
#[derive(Default)]
pub struct Node {
    /// The component, while the process runs.
    pub core: Option<Agreement>,
    /// What it does, if it is hacked.
    pub hacked: Option<Hacked>,
    pub(crate) disk: Vec<Record>,
    pub(crate) asleep: bool,
    pub(crate) kept: VecDeque<(Author, Bytes)>,
    pub(crate) wake_at: Option<Time>,
    pub(crate) persists: u64,
    /// Where it crashes next.
    pub crash_at: Option<CrashAt>,
    /// How far its clock is off, in milliseconds.
    pub clock_off_ms: i64,
    /// The most that it held at once.
    pub peak: Peak,
}
