//! A large message travels as one chain of fragments; here its bytes come together again.

use bytes::Bytes;

use crate::ids::Service;
use crate::limits::CONTENT_BYTES_MAX;
use crate::wire::{Part, Piece};

/// The one chain of a sender that is under way.
#[derive(Debug, Default)]
pub struct Assembly {
    chain: Option<Chain>,
}

#[derive(Debug)]
struct Chain {
    lane: u32,
    service: Service,
    bytes: Vec<u8>,
    total: usize,
}

impl Assembly {
    /// Takes the sender's next part; the message's bytes once they are whole.
    ///
    /// A chain that contradicts itself is dropped. Memory follows the bytes that came, never the size that was said.
    pub fn take(&mut self, part: Part) -> Option<Bytes> {
        match part.piece {
            Piece::Whole => return Some(Bytes::from(part.bytes)),
            Piece::First(total) => {
                let total = total as usize;
                let chain = Chain { lane: part.lane, service: part.service, bytes: part.bytes, total };
                self.chain = (total <= CONTENT_BYTES_MAX && chain.bytes.len() <= total).then_some(chain);
            }
            Piece::Middle | Piece::Last => {
                let chain = self.chain.as_mut()?;
                let fits = chain.bytes.len() + part.bytes.len() <= chain.total;
                if chain.lane != part.lane || chain.service != part.service || !fits {
                    self.chain = None;
                    return None;
                }
                chain.bytes.extend_from_slice(&part.bytes);
            }
        }
        if part.piece != Piece::Last {
            return None;
        }
        let chain = self.chain.take()?;
        (chain.bytes.len() == chain.total).then(|| Bytes::from(chain.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(lane: u32, piece: Piece, bytes: &[u8]) -> Part {
        Part { lane, service: Service::Agreed, piece, bytes: bytes.to_vec() }
    }

    #[test]
    fn small_messages_pass_between_the_fragments_of_a_large_one() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(part(1, Piece::First(6), b"ab")), None);
        assert_eq!(assembly.take(part(2, Piece::Whole, b"small")), Some(Bytes::from_static(b"small")));
        assert_eq!(assembly.take(part(1, Piece::Middle, b"cd")), None);
        assert_eq!(assembly.take(part(1, Piece::Last, b"ef")), Some(Bytes::from_static(b"abcdef")));
    }

    #[test]
    fn a_chain_that_contradicts_itself_is_dropped() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(part(1, Piece::Last, b"tail of nothing")), None);
        for wrong in [part(2, Piece::Last, b"cd"), part(1, Piece::Last, b"c"), part(1, Piece::Last, b"cdefgh")] {
            assert_eq!(assembly.take(part(1, Piece::First(4), b"ab")), None);
            assert_eq!(assembly.take(wrong), None);
            assert_eq!(assembly.take(part(1, Piece::Last, b"cd")), None, "nothing is left of the chain");
        }
        assert_eq!(assembly.take(part(1, Piece::First(u32::MAX), b"ab")), None);
        assert!(assembly.chain.is_none(), "a size above the bound begins nothing");
    }
}
