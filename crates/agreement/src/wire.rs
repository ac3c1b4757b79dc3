//! One table of the frames between leaders. The link says who sent a frame.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_kernel::codec::{self, DecodeError};

use crate::block::Block;
use crate::checkpoint::{Certificate, Signed};
use crate::ids::{LEADERS_MAX, Reference};
use crate::limits::{FETCH_MAX, PART_BYTES};
use crate::reached::{Answer, Reached};

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
    /// Answers a leader that lost its disk.
    Reached(Answer) = 8,
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
    /// Not 0 if it asks for an answer: it lost its disk, or is behind.
    pub question: u64,
}

/// A part of a state: number 0 is the list of the others' hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct PartName {
    /// The checkpoint.
    pub position: u64,
    /// Which part.
    pub part: u32,
}

/// A frame with a block that stays where it is.
#[derive(BorshSerialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
enum Lent<'a> {
    Block(&'a Block) = 0,
    Answer(&'a Block) = 1,
}

impl Frame {
    /// The bytes of [`Frame::Block`].
    pub fn encode_block(block: &Block) -> Bytes {
        Bytes::from(codec::encode_frame(&Lent::Block(block)))
    }

    /// The bytes of [`Frame::Answer`].
    pub fn encode_answer(block: &Block) -> Bytes {
        Bytes::from(codec::encode_frame(&Lent::Answer(block)))
    }

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
            Frame::Reached(Answer { reached: Reached::Blocks { signers, .. }, .. }) => {
                signers.len() <= usize::from(LEADERS_MAX)
            }
            Frame::Reached(Answer { reached: Reached::Checkpoint(certificate), .. }) => {
                certificate.signatures.len() <= usize::from(LEADERS_MAX)
            }
            Frame::Block(_) | Frame::Answer(_) | Frame::Statement(_) | Frame::Ask(_) | Frame::Reached(_) => true,
        };
        if bounded { Ok(frame) } else { Err(DecodeError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Author;

    fn status() -> Frame {
        Frame::Status(Status { quorum_round: 5, lowest: 1, have: vec![5, 4, 5, 0], ..Status::default() })
    }

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        let fetch = Frame::Fetch(vec![Reference::lowest(3)]);
        let part = Frame::Part(PartName { position: 3, part: 1 }, vec![1; 99]);
        for frame in [status(), fetch, part, Frame::Ask(PartName { position: 1, part: 0 })] {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Ok(frame));
            for end in 0..bytes.len() {
                assert!(Frame::decode(&bytes[..end]).is_err(), "{end} bytes of {bytes:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Frame::decode(&longer).is_err());
        }
    }

    #[test]
    fn a_block_that_is_lent_makes_the_same_frame() {
        let block = crate::testing::block_of(1, 7, 3).block().as_ref().clone();
        assert_eq!(Frame::encode_block(&block), Frame::Block(block.clone()).encode());
        assert_eq!(Frame::encode_answer(&block), Frame::Answer(block).encode());
    }

    #[test]
    fn lists_longer_than_allowed_and_leaders_that_cannot_be_are_refused() {
        assert!(Frame::decode(&Frame::Fetch(vec![Reference::lowest(3); FETCH_MAX + 1]).encode()).is_err());
        let part = Frame::Part(PartName { position: 3, part: 1 }, vec![1; PART_BYTES + 1]);
        assert!(Frame::decode(&part.encode()).is_err());
        let many = Frame::Status(Status { have: vec![1; 65], ..Status::default() });
        assert!(Frame::decode(&many.encode()).is_err());
        let signers = vec![(Author::new(1).unwrap(), crate::ids::Digest::default(), [0; 64]); 65];
        let reached = Reached::Blocks { round: 7, signers };
        assert!(Frame::decode(&Frame::Reached(Answer { question: 1, reached }).encode()).is_err());
        let mut bytes = Frame::Fetch(vec![Reference::lowest(3)]).encode().to_vec();
        let place = bytes.len() - 33;
        bytes[place] = LEADERS_MAX;
        assert!(Frame::decode(&bytes).is_err());
        assert!(Author::new(LEADERS_MAX).is_none());
    }

    proptest! {
        /// Whatever comes: no panic, and what is read is written as it came.
        #[test]
        fn any_bytes_are_a_frame_or_none(kind in 0u8..10, rest in prop::collection::vec(any::<u8>(), 0..400)) {
            let bytes = [&[codec::WIRE_VERSION, kind][..], &rest].concat();
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(&frame.encode()[..], &bytes[..]);
            }
        }
    }
}
