//! What a leader asks of its driver, and what it tells.

use std::sync::Arc;

use bytes::Bytes;

use crate::block::{Block, Evidence, Sealed};
use crate::checkpoint::Certificate;
use crate::fault::Fault;
use crate::ids::{Author, AuthorSet, Digest};
use crate::sequence::Entry;

/// What a leader must not forget. Records are appended in order; a checkpoint makes older ones unneeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An accepted block, own or another's, behind all that it names.
    Block(Arc<Block>),
    /// No block is made for rounds up to this again; `None` while that is not known, because a disk was lost.
    MadeUpTo(Option<u64>),
    /// A certified state. Of the records before it only those of blocks above `floor` are still needed.
    Checkpoint {
        /// The checkpoint.
        certificate: Certificate,
        /// The state's bytes.
        state: Bytes,
        /// As in [`Record::MadeUpTo`].
        made_up_to: Option<u64>,
        /// Blocks of rounds up to this are not needed.
        floor: u64,
    },
}

/// An order to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make durable before any later effect of this step or another is carried out.
    Persist(Vec<Record>),
    /// Send the frame to each of these leaders.
    Send {
        /// To whom; never this leader itself.
        to: AuthorSet,
        /// The frame's bytes.
        frame: Bytes,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An entry of the log.
    Sequenced(Entry),
    /// A block that every honest leader will put into the log, before its place is known (reliable delivery): of its author
    /// and round no leader ever tells this of another.
    Certified(Sealed),
    /// A checkpoint is due: the application gives its state at this place of the log, before it takes later entries.
    CheckpointDue {
        /// The place, to be given back.
        position: u64,
    },
    /// The log goes on behind a certified checkpoint; the entries before it are not told, the application takes this state.
    Installed {
        /// The place.
        position: u64,
        /// The next entry's index.
        index: u64,
        /// Hash of the log up to here.
        head: Digest,
        /// The application's state, as it was given at the checkpoint.
        application: Vec<u8>,
    },
    /// Own messages of which it is not known whether they are in the log, or ever will be: their blocks are behind an
    /// installed checkpoint, or were made before a restart.
    Uncertain(Vec<Vec<u8>>),
    /// An equivocator is on record, at the same place of the log everywhere.
    Convicted(Author),
    /// Two blocks for one round were seen.
    Equivocation(Evidence),
    /// A peer deviated.
    Blamed(Author, Fault),
    /// The application's state at a checkpoint is larger than allowed: without checkpoints nothing is ever let go, and who is
    /// away for long cannot come back. The application has to keep less.
    StateTooLarge {
        /// The place.
        position: u64,
    },
    /// `f + 1` leaders certify another state than this leader has: an operator has to look at it.
    Diverged {
        /// The place.
        position: u64,
    },
}

/// What a step brings.
#[must_use = "effects must be carried out and events told"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// For the driver, in order.
    pub effects: Vec<Effect>,
    /// For the application, in order.
    pub events: Vec<Event>,
}

/// A command that cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The message is larger than allowed.
    #[error("a message of {0} bytes is too large")]
    TooLarge(usize),
    /// Too many bytes wait already: try again when entries have come.
    #[error("too many messages wait to be ordered")]
    Busy,
}
