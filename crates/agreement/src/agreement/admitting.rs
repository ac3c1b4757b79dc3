//! What a frame costs is paid for before it is done: reading it, and checking its signatures.

use ringfort_kernel::{Budget, Time};

use super::Agreement;
use crate::fault::Fault;
use crate::ids::{Author, Reference};
use crate::rules::Rule;
use crate::verify::{Inner, Opened};

/// What reading a frame costs besides its bytes, counted in those: about as long as hashing so many takes.
const FRAME_COST: u64 = 16 * 1024;
/// The same for a signature.
const SIGNATURE_COST: u64 = 60 * 1024;
/// What one peer may make this leader check, in a second and at once: a quarter of a second's work.
const CHECK_PER_SECOND: u64 = 256 * 1024 * 1024;
/// The part of it that is left to a peer which sent a signature that does not fit.
const FORGER_PART: u64 = 8;

/// What a peer may make a leader check, from the beginning.
pub(super) const fn budget(now: Time) -> Budget {
    Budget::new(now, CHECK_PER_SECOND, CHECK_PER_SECOND)
}

impl Agreement {
    /// Reads a frame of a peer: to be done before [`crate::verify::Verifier::verify_all`].
    ///
    /// `None` is a frame that is let go: there is no news in it, or the peer has spent what it may cost. If that was of
    /// use, it is asked for later.
    pub fn open(&mut self, now: Time, from: Author, frame: &[u8]) -> Option<Result<Opened, Fault>> {
        if !self.may_cost(now, from, FRAME_COST.saturating_add(frame.len() as u64)) {
            return None;
        }
        let opened = match self.verifier.open(frame, |evidence| self.evidence.get(&evidence.author) == Some(evidence)) {
            Ok(opened) => opened,
            Err(fault) => return Some(Err(fault)),
        };
        let is_anothers = match &opened.inner {
            Inner::Block(sealed) => sealed.reference().author != from,
            Inner::Statement(signed) => signed.author != from,
            _ => false,
        };
        if is_anothers {
            return Some(Err(Fault::Unasked));
        }
        let cost = SIGNATURE_COST.saturating_mul(opened.signatures() as u64);
        (self.needs(from, &opened.inner) && self.may_cost(now, from, cost)).then_some(Ok(opened))
    }

    fn may_cost(&mut self, now: Time, from: Author, cost: u64) -> bool {
        let is_free = !self.config.rules.enforces(Rule::CheckBudget);
        self.peers.get_mut(&from).is_some_and(|peer| peer.check.take(now, cost) || is_free)
    }

    /// Whether there may be news in a frame: what is known already is neither checked nor answered again.
    fn needs(&self, from: Author, inner: &Inner) -> bool {
        match inner {
            Inner::Block(sealed) | Inner::Answer(sealed) => {
                let name = sealed.reference();
                let is_wanted = self.pending.wanted(&name).is_some();
                is_wanted || from == name.author && !self.is_known(&name) && !self.is_shut_out(from)
            }
            Inner::Statement(signed) => self.checkpoints.needs(signed),
            Inner::Certificate(certificate) => self.checkpoints.needs_certificate(certificate),
            Inner::Reached(answer) => {
                self.recovering.as_ref().is_some_and(|recovery| recovery.question == answer.question)
            }
            Inner::Fetch(_) | Inner::Status(_) | Inner::Ask(_) | Inner::Part(..) => true,
        }
    }

    /// Whether a block is here, waits here, or is behind the log's end.
    pub(super) fn is_known(&self, name: &Reference) -> bool {
        self.dag.has(name) || self.pending.has(name) || self.log.is_past(name)
    }

    /// Whether a leader's blocks are taken only where others name them: it signed two for one round, and that is on record.
    pub(super) fn is_shut_out(&self, author: Author) -> bool {
        let is_convicted = author != self.config.me && self.log.convicted.contains(&author);
        is_convicted && self.config.rules.enforces(Rule::VariantsAsked)
    }

    /// A peer sent a signature that does not fit. No honest leader does.
    pub(super) fn has_forged(&mut self, now: Time, from: Author) {
        if let Some(peer) = self.peers.get_mut(&from).filter(|peer| !peer.forged) {
            peer.forged = true;
            let part = CHECK_PER_SECOND / FORGER_PART;
            peer.check = Budget::new(now, part, part);
        }
    }
}
