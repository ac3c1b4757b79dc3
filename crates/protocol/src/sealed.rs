//! The management channel between a member and a leader, under the session key of a login (P8).
//!
//! Every frame is authenticated, numbered and confidential, whatever carries it: group-key
//! shares stay secret even where the link's own encryption fails or ends early (B5). The keys
//! are bound to group, session, leader, member and link, so a frame opens nowhere else.

use bytes::Bytes;
use ringfort_crypto::aead::{AeadKey, TAG_BYTES};
use ringfort_crypto::kdf::derive;
use ringfort_crypto::secret::Secret32;

use crate::codec::WIRE_VERSION;
use crate::fault::Fault;
use crate::rules::{Rule, Rules};
use crate::window::ReplayWindow;
use crate::wire::SEALED_TAG;

const HEADER_BYTES: usize = 2 + 8;

/// Which end of the channel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The member's.
    Member,
    /// The leader's.
    Leader,
}

/// One end of a management channel.
///
/// A frame is `version, tag, sequence number (8 bytes, big-endian), ciphertext`.
#[derive(Debug)]
pub struct SealedChannel {
    sending: AeadKey,
    receiving: AeadKey,
    sent: u64,
    window: ReplayWindow,
}

impl SealedChannel {
    /// A channel under the session key `K_a,i` of one login.
    pub fn new(session_key: &Secret32, end: End) -> Self {
        let key = |label| AeadKey::new(&derive(session_key.expose(), label, &[]));
        let up = key("ringfort sealed member to leader");
        let down = key("ringfort sealed leader to member");
        let (sending, receiving) = match end {
            End::Member => (up, down),
            End::Leader => (down, up),
        };
        SealedChannel { sending, receiving, sent: 0, window: ReplayWindow::default() }
    }

    /// Seals a payload into a whole frame with the next sequence number.
    pub fn seal(&mut self, payload: &[u8]) -> Bytes {
        self.sent += 1;
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len() + TAG_BYTES);
        frame.extend_from_slice(&[WIRE_VERSION, SEALED_TAG]);
        frame.extend_from_slice(&self.sent.to_be_bytes());
        let header: [u8; HEADER_BYTES] = frame.as_slice().try_into().expect("the header was just written");
        self.sending.seal_append(&nonce(self.sent), &header, payload, &mut frame);
        frame.into()
    }

    /// Opens a frame of the other end; each opens once.
    ///
    /// The replay window moves only after the frame authenticates, so a forger cannot move it.
    pub fn open(&mut self, rules: &Rules, frame: &[u8]) -> Result<Vec<u8>, Fault> {
        let (header, sealed) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(Fault::Malformed)?;
        let seq = header.last_chunk::<8>().map(|b| u64::from_be_bytes(*b)).ok_or(Fault::Malformed)?;
        let payload = match self.receiving.open(&nonce(seq), header, sealed) {
            Ok(payload) => payload,
            Err(_) if rules.enforces(Rule::Seal) => return Err(Fault::BadSeal),
            // The mutant takes what is there for a request in clear.
            Err(_) => sealed.iter().copied().take(sealed.len().saturating_sub(TAG_BYTES)).collect(),
        };
        if !self.window.accept(seq) && rules.enforces(Rule::SealedReplay) {
            return Err(Fault::Replayed);
        }
        Ok(payload)
    }
}

fn nonce(seq: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&seq.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SealedChannel, SealedChannel, Rules) {
        let key = Secret32::new([7; 32]);
        (SealedChannel::new(&key, End::Member), SealedChannel::new(&key, End::Leader), Rules::new(4, 1, 2).unwrap())
    }

    #[test]
    fn opens_once_in_any_order_and_only_at_the_other_end() {
        let (mut member, mut leader, rules) = pair();
        let frames = [member.seal(b"one"), member.seal(b"two")];
        assert_eq!(leader.open(&rules, &frames[1]).unwrap(), b"two");
        assert_eq!(leader.open(&rules, &frames[0]).unwrap(), b"one");
        assert_eq!(leader.open(&rules, &frames[0]), Err(Fault::Replayed));
        assert_eq!(member.open(&rules, &frames[0]), Err(Fault::BadSeal), "a frame reflected to its sender");
    }

    #[test]
    fn every_altered_byte_is_refused() {
        let (mut member, mut leader, rules) = pair();
        let frame = member.seal(b"leave");
        for i in 2..frame.len() {
            let mut altered = frame.to_vec();
            altered[i] ^= 1;
            assert_eq!(leader.open(&rules, &altered), Err(Fault::BadSeal), "byte {i}");
        }
        for length in 0..frame.len() {
            assert!(leader.open(&rules, &frame[..length]).is_err());
        }
        assert!(leader.open(&rules, &frame).is_ok());
    }
}
