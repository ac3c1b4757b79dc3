//! One table of the frames between leaders. The link says who sent a frame.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_kernel::codec::{self, DecodeError};

use crate::block::Block;
use crate::checkpoint::{Certificate, Signed};
use crate::ids::{LEADERS_MAX, Reference};
use crate::limits::{FETCH_MAX, PART_BYTES};

/// A frame between leaders.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Frame {
    /// A block of the sender's own.
    Block(Block) = 0,
    /// A block that the receiver asked for.
    Answer(Block) = 1,
    /// Names blocks that the sender lacks.
    Fetch(Vec<Reference>) = 2,
    /// How far the sender is.
    Status(Status) = 3,
    /// What the sender says of a checkpoint.
    Statement(Signed) = 4,
    /// A certified checkpoint.
    Certificate(Certificate) = 5,
    /// Asks for a part of a checkpoint's state.
    Ask(PartName) = 6,
    /// A part of a checkpoint's state.
    Part(PartName, Vec<u8>) = 7,
}

/// How far a leader is.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Status {
    /// The highest round of which it holds a quorum's blocks.
    pub quorum_round: u64,
    /// The lowest round whose blocks it still gives.
    pub lowest: u64,
    /// The highest round of each author's blocks that it holds, by place.
    pub have: Vec<u64>,
    /// Position of the newest certified checkpoint whose state it gives; 0 if there is none.
    pub checkpoint: u64,
    /// The round that the sender has to wait for before it can make blocks, having lost its disk; 0 if it has not.
    pub wants_round: u64,
    /// Whether it asks for an answer: it lost its disk, or is behind.
    pub asks: bool,
}

/// A part of a state: number 0 is the list of the others' hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct PartName {
    /// The checkpoint.
    pub position: u64,
    /// Which part.
    pub part: u32,
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Bytes {
        Bytes::from(codec::encode_frame(self))
    }

    /// The frame that `bytes` are, with every length within its bound.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Frame, DecodeError> {
        let frame: Frame = codec::decode_frame(bytes)?;
        let bounded = match &frame {
            Frame::Fetch(references) => references.len() <= FETCH_MAX,
            Frame::Status(status) => status.have.len() <= usize::from(LEADERS_MAX),
            Frame::Certificate(certificate) => certificate.signatures.len() <= usize::from(LEADERS_MAX),
            Frame::Part(_, bytes) => bytes.len() <= PART_BYTES,
            Frame::Block(_) | Frame::Answer(_) | Frame::Statement(_) | Frame::Ask(_) => true,
        };
        if bounded { Ok(frame) } else { Err(DecodeError::Malformed) }
    }
}
