//! What the thread runs: the agreement core, or anything that stands in its place.

use ringfort_agreement::fault::Fault;
use ringfort_agreement::verify::{Checked, Opened, Verifier};
use ringfort_agreement::{Agreement, Author, Cx, Step, Time};

/// What the core says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreFigures {
    /// The highest round of which a quorum's blocks are here.
    pub round: u64,
    /// Committed blocks in the log.
    pub position: u64,
    /// Entries in the log.
    pub entries: u64,
    /// Bytes held in blocks, states and queues.
    pub bytes: usize,
    /// Whether it comes to its peers' state first.
    pub is_catching_up: bool,
}

/// The inputs of the agreement core.
///
/// The driver knows the core only through this, so that a test can put a hacked leader in its place.
pub trait OrderCore: Send {
    /// See [`Agreement::open`].
    fn open(&mut self, now: Time, from: Author, frame: &[u8]) -> Option<Result<Opened, Fault>>;
    /// See [`Agreement::verifier`].
    fn verifier(&self) -> Verifier;
    /// See [`Agreement::on_many`].
    fn on_many(&mut self, cx: &mut Cx<'_>, frames: Vec<(Author, Result<Checked, Fault>)>) -> Step;
    /// See [`Agreement::submit_all`].
    fn submit_all(&mut self, cx: &mut Cx<'_>, messages: Vec<Vec<u8>>) -> (Step, Vec<Vec<u8>>);
    /// See [`Agreement::provide_state`].
    fn provide_state(&mut self, cx: &mut Cx<'_>, position: u64, state: Vec<u8>) -> Step;
    /// See [`Agreement::on_peer_up`].
    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: Author) -> Step;
    /// See [`Agreement::on_wakeup`].
    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step;
    /// See [`Agreement::next_wakeup`].
    fn next_wakeup(&self) -> Option<Time>;
    /// How it is.
    fn figures(&self) -> CoreFigures;
}

impl OrderCore for Agreement {
    fn open(&mut self, now: Time, from: Author, frame: &[u8]) -> Option<Result<Opened, Fault>> {
        Agreement::open(self, now, from, frame)
    }

    fn verifier(&self) -> Verifier {
        Agreement::verifier(self)
    }

    fn on_many(&mut self, cx: &mut Cx<'_>, frames: Vec<(Author, Result<Checked, Fault>)>) -> Step {
        Agreement::on_many(self, cx, frames)
    }

    fn submit_all(&mut self, cx: &mut Cx<'_>, messages: Vec<Vec<u8>>) -> (Step, Vec<Vec<u8>>) {
        Agreement::submit_all(self, cx, messages)
    }

    fn provide_state(&mut self, cx: &mut Cx<'_>, position: u64, state: Vec<u8>) -> Step {
        Agreement::provide_state(self, cx, position, state)
    }

    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: Author) -> Step {
        Agreement::on_peer_up(self, cx, peer)
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        Agreement::on_wakeup(self, cx)
    }

    fn next_wakeup(&self) -> Option<Time> {
        Agreement::next_wakeup(self)
    }

    fn figures(&self) -> CoreFigures {
        CoreFigures {
            round: self.quorum_round(),
            position: self.log().position,
            entries: self.log().index,
            bytes: self.bytes(),
            is_catching_up: self.is_catching_up(),
        }
    }
}
