//! Datagrams between two sites: sealed, numbered, and good for this pair only.
//!
//! ```text
//! 0       8           16
//! | key   | number    | sealed payload, 16 bytes longer than the payload
//! ```
//!
//! Both ends derive two keys, one for each direction, from a secret that their link's handshake gave them; so a
//! datagram opens at the other end of this pair and nowhere else, and never in the direction it came from. Numbers
//! never repeat under a key, and a number is taken once. A new handshake brings new keys; those before it stay good for
//! a while, so that nothing under way is lost, and a link that an attacker cuts takes no key with it.

use std::time::Duration;

use ringfort_crypto::aead::{AeadKey, TAG_BYTES};
use ringfort_crypto::kdf::derive;
use ringfort_kernel::Time;
use ringfort_kernel::window::ReplayWindow;

/// What a datagram is longer than its payload.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// How long the keys before the newest are still taken.
pub const OVERLAP: Duration = Duration::from_secs(30);

/// After so many datagrams a key is used no more: far below what AES-GCM allows.
const NUMBERS_MAX: u64 = 1 << 40;

const HEADER_BYTES: usize = 16;
const KEY_ID_BYTES: usize = 8;

/// The public key of a site.
pub type SiteKey = [u8; 32];

/// Why a datagram was not taken. Anybody can send datagrams, so none of these blames a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is shorter than any datagram.
    #[error("too short")]
    Short,
    /// It names a key that is not in use here.
    #[error("of another key")]
    OtherKey,
    /// It does not open under the key that it names.
    #[error("altered")]
    Altered,
    /// Its number was taken before, or is too old to tell.
    #[error("repeated")]
    Repeated,
}

/// There is no key yet, or the key is used up: a new handshake is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no key for this site: a new handshake is due")]
pub struct NoKey;

/// The channel to one other site.
#[derive(Debug, Default)]
pub struct Channel {
    current: Option<Pair>,
    previous: Option<(Pair, Time)>,
}

#[derive(Debug)]
struct Pair {
    sending: Direction,
    receiving: Direction,
    sent: u64,
    taken: ReplayWindow,
}

struct Direction {
    id: [u8; KEY_ID_BYTES],
    key: AeadKey,
}

impl std::fmt::Debug for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direction").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Direction {
    fn new(secret: &[u8; 32], from: &SiteKey, to: &SiteKey) -> Self {
        let key = derive(secret, "ringfort site datagram key", &[from, to]);
        let id = derive(secret, "ringfort site datagram id", &[from, to]);
        let mut short = [0; KEY_ID_BYTES];
        short.iter_mut().zip(id.expose()).for_each(|(to, from)| *to = *from);
        Direction { id: short, key: AeadKey::new(&key) }
    }
}

impl Channel {
    /// Takes up the keys of a handshake: `secret` is what both ends of the link know and nobody else does.
    pub fn rekey(&mut self, now: Time, secret: &[u8; 32], me: &SiteKey, peer: &SiteKey) {
        let fresh = Pair {
            sending: Direction::new(secret, me, peer),
            receiving: Direction::new(secret, peer, me),
            sent: 0,
            taken: ReplayWindow::default(),
        };
        // The same secret twice would start the numbers again.
        if self.pairs().any(|pair| pair.sending.id == fresh.sending.id) {
            return;
        }
        self.previous = self.current.replace(fresh).map(|old| (old, now + OVERLAP));
    }

    /// Whether datagrams can be sent.
    pub fn is_ready(&self) -> bool {
        self.current.as_ref().is_some_and(|pair| pair.sent < NUMBERS_MAX)
    }

    /// Seals a payload, appending the datagram to `out`.
    ///
    /// # Errors
    /// When there is no key.
    pub fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NoKey> {
        let pair = self.current.as_mut().filter(|pair| pair.sent < NUMBERS_MAX).ok_or(NoKey)?;
        pair.sent += 1;
        let header = header(&pair.sending.id, pair.sent);
        out.reserve(payload.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&header);
        pair.sending.key.seal_append(&nonce(pair.sent), &header, payload, out);
        Ok(())
    }

    /// Opens a datagram.
    ///
    /// # Errors
    /// When it is not one that the other site sent to this one, or was taken before.
    pub fn open(&mut self, now: Time, datagram: &[u8]) -> Result<Vec<u8>, NotTaken> {
        let (header, sealed) = datagram.split_at_checked(HEADER_BYTES).ok_or(NotTaken::Short)?;
        let (id, number) = header.split_at(KEY_ID_BYTES);
        let number = u64::from_le_bytes(number.try_into().map_err(|_| NotTaken::Short)?);
        if self.previous.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.previous = None;
        }
        let pair = self.pairs_mut().find(|pair| pair.receiving.id == id).ok_or(NotTaken::OtherKey)?;
        // Nothing is remembered of a number before the datagram has opened: it could be anybody's.
        let payload = pair.receiving.key.open(&nonce(number), header, sealed).map_err(|_| NotTaken::Altered)?;
        if pair.taken.accept(number) { Ok(payload) } else { Err(NotTaken::Repeated) }
    }

    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.current.iter().chain(self.previous.iter().map(|(pair, _)| pair))
    }

    fn pairs_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        self.current.iter_mut().chain(self.previous.iter_mut().map(|(pair, _)| pair))
    }
}

fn header(id: &[u8; KEY_ID_BYTES], number: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header.iter_mut().zip(id.iter().chain(&number.to_le_bytes())).for_each(|(to, from)| *to = *from);
    header
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: SiteKey = [1; 32];
    const BEN: SiteKey = [2; 32];

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    fn pair(secret: u8) -> (Channel, Channel) {
        let (mut ana, mut ben) = (Channel::default(), Channel::default());
        ana.rekey(at(0), &[secret; 32], &ANA, &BEN);
        ben.rekey(at(0), &[secret; 32], &BEN, &ANA);
        (ana, ben)
    }

    fn sealed(channel: &mut Channel, payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        channel.seal(payload, &mut datagram).unwrap();
        datagram
    }

    #[test]
    fn a_datagram_is_taken_once_by_the_other_end_alone() {
        let (mut ana, mut ben) = pair(7);
        let datagram = sealed(&mut ana, b"token");
        assert_eq!(datagram.len(), 5 + OVERHEAD_BYTES);
        assert_eq!(ana.open(at(0), &datagram), Err(NotTaken::OtherKey), "not by its sender: nothing is reflected");
        assert_eq!(ben.open(at(0), &datagram).unwrap(), b"token");
        assert_eq!(ben.open(at(0), &datagram), Err(NotTaken::Repeated));
        let (_, mut cy) = pair(8);
        assert_eq!(cy.open(at(0), &datagram), Err(NotTaken::OtherKey));
    }

    #[test]
    fn no_bit_can_be_changed_and_an_altered_copy_uses_up_no_number() {
        let (mut ana, mut ben) = pair(7);
        let datagram = sealed(&mut ana, b"data");
        for bit in 0..datagram.len() * 8 {
            let mut altered = datagram.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(ben.open(at(0), &altered).is_err(), "bit {bit}");
        }
        for length in 0..datagram.len() {
            assert!(ben.open(at(0), &datagram[..length]).is_err(), "{length} bytes of it");
        }
        assert_eq!(ben.open(at(0), &datagram).unwrap(), b"data");
    }

    #[test]
    fn keys_overlap_and_then_end() {
        let (mut ana, mut ben) = pair(7);
        let late = sealed(&mut ana, b"late");
        let too_late = sealed(&mut ana, b"too late");
        ben.rekey(at(10), &[8; 32], &BEN, &ANA);
        assert_eq!(ben.open(at(11), &late).unwrap(), b"late", "what was under way is taken");
        assert_eq!(ben.open(at(10) + OVERLAP, &too_late), Err(NotTaken::OtherKey));
        ana.rekey(at(10), &[8; 32], &ANA, &BEN);
        assert!(ben.open(at(12), &sealed(&mut ana, b"new")).is_ok());
    }

    #[test]
    fn the_same_secret_again_starts_no_number_again() {
        let (mut ana, mut ben) = pair(7);
        let first = sealed(&mut ana, b"one");
        ana.rekey(at(1), &[7; 32], &ANA, &BEN);
        let second = sealed(&mut ana, b"two");
        assert_ne!(first[..HEADER_BYTES], second[..HEADER_BYTES], "a nonce is used once");
        assert!(ben.open(at(1), &first).is_ok() && ben.open(at(1), &second).is_ok());
    }

    #[test]
    fn without_a_handshake_nothing_is_sent() {
        assert_eq!(Channel::default().seal(b"x", &mut Vec::new()), Err(NoKey));
        assert!(!Channel::default().is_ready());
        assert!(pair(7).0.is_ready());
    }
}
