//! One table of the frames between sites.
//!
//! Every frame names its sender and binds what makes it fresh: a ring with a visit or a packet number, a ring with a
//! state's number, or an incarnation with a nonce. So a driver that seals frames per pair of sites needs to add
//! nothing of its own.

use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_kernel::codec::{self, DecodeError};

use crate::ids::{RingId, Service, SiteId, SiteSet};
use crate::limits::{CONTENT_BYTES_MAX, FRAME_BYTES_MAX, GAP_PACKETS_MAX, RANGES_MAX, SITES_MAX};

/// A frame between sites.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Frame {
    /// The token of a ring.
    Token(Token) = 0,
    /// A packet, from the site that made it.
    Packet(Packet) = 1,
    /// A packet, from another site that holds it.
    Relayed(SiteId, Packet) = 2,
    /// Somebody has something to send: wake an idle token.
    Hurry(Hurry) = 3,
    /// Who a site is, whom it hears, and what it chooses.
    Hello(Hello) = 4,
    /// The token that commits a new ring.
    Commit(Commit) = 5,
    /// What a site holds of its old ring.
    Recovering(Recovering) = 6,
}

/// Packets `first..=last` that somebody lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Range {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Visits for which nobody has answered: from [`crate::ring::repair::ORIGIN_VISITS`] rotations on anybody may.
    pub age: u16,
}

/// The token: who holds it may send. Vectors are by place in the ring.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Token {
    /// The ring it belongs to.
    pub ring: RingId,
    /// Who passes it on.
    pub sender: SiteId,
    /// Counts its visits; never the same twice on one ring.
    pub visit: u64,
    /// The newest packet's number.
    pub seq: u64,
    /// Up to which packet each site holds all.
    pub acknowledged: Vec<u64>,
    /// Packets that each site sent in its last visit.
    pub sent: Vec<u16>,
    /// Packets that each site would still send.
    pub backlog: Vec<u16>,
    /// What somebody lacks.
    pub lacking: Vec<Range>,
    /// Visits in which there was nothing to do.
    pub quiet: u16,
}

/// A part of a packet: a message, or a fragment of one.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Part {
    /// The sender's stream that it belongs to: one for each local client, 0 for the site itself.
    pub lane: u32,
    /// The service of the whole message.
    pub service: Service,
    /// What it is of a message.
    pub piece: Piece,
    /// The bytes.
    #[borsh(deserialize_with = "read_bytes")]
    pub bytes: Vec<u8>,
}

/// What a part is of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Piece {
    /// All of it.
    Whole = 0,
    /// The first fragment, of a message of so many bytes.
    First(u32) = 1,
    /// Neither the first nor the last fragment.
    Middle = 2,
    /// The last fragment.
    Last = 3,
}

/// One packet: the unit of numbering and of repair.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Packet {
    /// The ring it was sent on.
    pub ring: RingId,
    /// The site that made it.
    pub origin: SiteId,
    /// The visit in which it was made.
    pub visit: u64,
    /// Its place in the order.
    pub seq: u64,
    /// The place of the packet of the same site before it; 0 if there is none on this ring.
    pub before: u64,
    /// What it holds.
    pub parts: Vec<Part>,
}

/// A site that has something to send asks the holder of an idle token to let it go.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Hurry {
    /// The ring.
    pub ring: RingId,
    /// Who asks.
    pub sender: SiteId,
    /// The last visit that the sender had.
    pub visit: u64,
}

/// That a site was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Echo {
    /// Who.
    pub site: SiteId,
    /// In which of its lives.
    pub incarnation: u64,
    /// The newest nonce heard from it.
    pub nonce: u64,
}

/// What a site says of itself, in a ring and while it gathers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Hello {
    /// Who.
    pub sender: SiteId,
    /// Its life: grows with every start of its process.
    pub incarnation: u64,
    /// Grows with every hello of one life.
    pub nonce: u64,
    /// The highest counter of any ring that the sender took part in forming.
    pub counter: u64,
    /// Whether it gathers; otherwise it is in the ring that it names.
    pub gathering: bool,
    /// The ring that it is in, or was in last.
    pub ring: RingId,
    /// Whom it hears both ways.
    pub hears: SiteSet,
    /// With whom it would form a ring.
    pub choice: SiteSet,
    /// Whom it heard.
    pub echoes: Vec<Echo>,
    /// Fills the frame to the size of a full packet: a path that does not carry those counts as no path.
    #[borsh(deserialize_with = "read_bytes")]
    pub padding: Vec<u8>,
}

/// One member of a ring that is being formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Newcomer {
    /// Who.
    pub site: SiteId,
    /// In which of its lives; 0 until it has written itself in.
    pub incarnation: u64,
    /// The ring it comes from.
    pub old: RingId,
}

/// The token that forms a ring: twice round. In the first pass each member writes itself in, in the second each
/// reads who comes from where.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Commit {
    /// The ring to be.
    pub ring: RingId,
    /// Who passes it on.
    pub sender: SiteId,
    /// Counts its hops over both passes.
    pub visit: u16,
    /// The members, lowest first.
    pub members: Vec<Newcomer>,
}

/// What a site holds of its old ring, told to all members of the new one until all have what any of them has.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Recovering {
    /// The ring to be.
    pub ring: RingId,
    /// Who.
    pub sender: SiteId,
    /// Counts the sender's states on this ring.
    pub number: u64,
    /// The ring it comes from.
    pub old: RingId,
    /// Up to which packet of the old ring it holds all.
    pub holds_to: u64,
    /// Which it holds above, bit by bit from `holds_to + 1`.
    #[borsh(deserialize_with = "read_bytes")]
    pub holds_above: Vec<u8>,
    /// Up to which packet it knows that every site of the old ring holds all.
    pub held_by_all: u64,
    /// Sites whose messages it has undertaken to deliver.
    pub obligations: SiteSet,
    /// Whether it holds all that any of those who come from its old ring holds.
    pub complete: bool,
}

/// Bytes of a length that goes before them: memory follows what comes, not what is announced.
fn read_bytes<R: Read>(reader: &mut R) -> io::Result<Vec<u8>> {
    const CHUNK: usize = 4096;
    let announced = u32::deserialize_reader(reader)? as usize;
    if announced > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::with_capacity(announced.min(CHUNK));
    while bytes.len() < announced {
        let at = bytes.len();
        bytes.resize(announced.min(at + CHUNK), 0);
        reader.read_exact(bytes.get_mut(at..).unwrap_or_default())?;
    }
    Ok(bytes)
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Bytes {
        Bytes::from(codec::encode_frame(self))
    }

    /// The frame that `bytes` are, with every length within its bound.
    pub fn decode(bytes: &[u8]) -> Result<Frame, DecodeError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge(bytes.len()));
        }
        let frame: Frame = codec::decode_frame(bytes)?;
        if frame.is_within_bounds() { Ok(frame) } else { Err(DecodeError::Malformed) }
    }

    /// Who says that it sends this frame.
    pub fn sender(&self) -> SiteId {
        match self {
            Frame::Token(token) => token.sender,
            Frame::Packet(packet) => packet.origin,
            Frame::Relayed(sender, _) => *sender,
            Frame::Hurry(hurry) => hurry.sender,
            Frame::Hello(hello) => hello.sender,
            Frame::Commit(commit) => commit.sender,
            Frame::Recovering(state) => state.sender,
        }
    }

    fn is_within_bounds(&self) -> bool {
        match self {
            Frame::Token(token) => token.is_within_bounds(),
            Frame::Packet(packet) | Frame::Relayed(_, packet) => packet.is_within_bounds(),
            Frame::Hurry(_) => true,
            Frame::Hello(hello) => hello.echoes.len() <= SITES_MAX,
            Frame::Commit(commit) => {
                let ascending = commit.members.windows(2).all(|pair| matches!(pair, [a, b] if a.site < b.site));
                !commit.members.is_empty() && commit.members.len() <= SITES_MAX && ascending
            }
            Frame::Recovering(state) => {
                state.holds_above.len() <= (GAP_PACKETS_MAX as usize).div_ceil(8) && state.holds_to < u64::MAX / 2
            }
        }
    }
}

impl Token {
    fn is_within_bounds(&self) -> bool {
        let places = self.acknowledged.len();
        let ranges = self.lacking.iter().all(|range| range.first <= range.last && range.last <= self.seq);
        (1..=SITES_MAX).contains(&places)
            && self.sent.len() == places
            && self.backlog.len() == places
            && self.lacking.len() <= RANGES_MAX
            && self.seq < u64::MAX / 2
            && self.visit < u64::MAX / 2
            && ranges
    }
}

impl Packet {
    fn is_within_bounds(&self) -> bool {
        let pieces = self.parts.iter().all(|part| match part.piece {
            Piece::First(bytes) => bytes as usize <= CONTENT_BYTES_MAX,
            Piece::Whole | Piece::Middle | Piece::Last => true,
        });
        self.seq > 0 && self.seq < u64::MAX / 2 && self.before < self.seq && !self.parts.is_empty() && pieces
    }
}
