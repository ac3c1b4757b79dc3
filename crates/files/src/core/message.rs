//! What members say to each other about files. Every number in it is checked here, once.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

use super::name::NAME_BYTES_MAX;

/// The largest file that is spoken about: 1 TiB.
pub const FILE_BYTES_MAX: u64 = 1 << 40;
/// The smallest piece.
pub const CHUNK_BYTES_MIN: u32 = 512;
/// The largest piece: the largest message of any group.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Missing ranges that one report names.
pub const MISSING_MAX: usize = 16;
/// What a piece costs besides its bytes.
pub const CHUNK_HEAD_BYTES: usize = 1 + 16 + 4;

const OFFER: u8 = 1;
const CHUNK: u8 = 2;
const WORD: u8 = 3;
const REPORT: u8 = 4;

/// Names an offer among those of its sender; chosen at random by the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct OfferId(pub [u8; 16]);

/// A file that somebody would send.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// What its sender calls it. Only [`super::name::safe`] makes a file name of it.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The length of each piece but the last.
    pub chunk_bytes: u32,
    /// BLAKE3 of the whole content.
    pub root: [u8; 32],
}

/// What the sender says about an offer as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Word {
    /// It is being sent; also asks for a report.
    Running = 0,
    /// The sender pauses.
    Paused = 1,
    /// The sender has withdrawn it.
    Cancelled = 2,
}

/// How far a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Stand {
    /// It knows of the offer, and its user has not decided.
    Asked = 0,
    /// It wants all pieces from `next` on.
    Receiving = 1,
    /// It wants none for now.
    Paused = 2,
    /// It wants none at all.
    Declined = 3,
    /// It has the whole file, and the hash is right.
    Complete = 4,
    /// It could not keep the file, or the hash was wrong.
    Failed = 5,
}

/// What a receiver tells the sender: always its whole state, so that a lost report costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Report {
    /// Of which offer.
    pub id: OfferId,
    /// How far it is.
    pub stand: Stand,
    /// It has all pieces before this one on its disk.
    pub next: u32,
    /// Pieces behind `next` that it lacks while it has later ones: first and last.
    pub missing: Vec<(u32, u32)>,
}

/// One message about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Sender to receivers.
    Offer(Offer),
    /// Sender to receivers: a piece.
    Chunk(OfferId, u32, Bytes),
    /// Sender to receivers.
    Word(OfferId, Word),
    /// Receiver to sender.
    Report(Report),
}

/// Bytes that are no message about files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message about files")]
pub struct Malformed;

impl Offer {
    /// Pieces of the file.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.bytes.div_ceil(self.chunk_bytes.into())).unwrap_or(u32::MAX)
    }

    /// The length of a piece; `None` if there is no such piece.
    pub fn chunk_len(&self, index: u32) -> Option<usize> {
        let start = self.offset(index);
        let left = self.bytes.checked_sub(start).filter(|left| *left > 0)?;
        usize::try_from(left.min(self.chunk_bytes.into())).ok()
    }

    /// Where a piece begins.
    pub fn offset(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.chunk_bytes)
    }

    /// How many bytes the first `chunks` pieces are.
    pub fn bytes_of(&self, chunks: u32) -> u64 {
        self.offset(chunks).min(self.bytes)
    }

    fn is_sound(&self) -> bool {
        self.bytes <= FILE_BYTES_MAX
            && (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&self.chunk_bytes)
            && self.bytes.div_ceil(self.chunk_bytes.into()) < u32::MAX.into()
            && (1..=NAME_BYTES_MAX).contains(&self.name.len())
    }
}

impl Report {
    fn is_sound(&self) -> bool {
        let mut behind = self.next;
        self.missing.len() <= MISSING_MAX
            && self.missing.iter().all(|(first, last)| {
                let sound = behind <= *first && first <= last && *last < u32::MAX;
                behind = last.saturating_add(1);
                sound
            })
    }
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(payload: &Bytes) -> Result<Self, Malformed> {
        let (tag, rest) = payload.split_first().ok_or(Malformed)?;
        match *tag {
            OFFER => read::<Offer>(rest).filter(Offer::is_sound).map(Message::Offer),
            WORD => read::<(OfferId, Word)>(rest).map(|(id, word)| Message::Word(id, word)),
            REPORT => read::<Report>(rest).filter(Report::is_sound).map(Message::Report),
            CHUNK => parse_chunk(payload),
            _ => None,
        }
        .ok_or(Malformed)
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let with = |tag: u8, body: Result<Vec<u8>, borsh::io::Error>| {
            let mut bytes = vec![tag];
            bytes.extend(body.expect("writing to memory does not fail"));
            bytes
        };
        match self {
            Message::Offer(offer) => with(OFFER, borsh::to_vec(offer)),
            Message::Word(id, word) => with(WORD, borsh::to_vec(&(id, word))),
            Message::Report(report) => with(REPORT, borsh::to_vec(report)),
            Message::Chunk(id, index, bytes) => [&chunk_head(*id, *index), bytes.as_ref()].concat(),
        }
    }
}

/// What stands before the bytes of a piece.
pub fn chunk_head(id: OfferId, index: u32) -> [u8; CHUNK_HEAD_BYTES] {
    let mut head = [0; CHUNK_HEAD_BYTES];
    let parts = [CHUNK].into_iter().chain(id.0).chain(index.to_le_bytes());
    head.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    head
}

fn parse_chunk(payload: &Bytes) -> Option<Message> {
    let (id, index): (OfferId, u32) = read(payload.get(1..CHUNK_HEAD_BYTES)?)?;
    let bytes = payload.slice(CHUNK_HEAD_BYTES..);
    (!bytes.is_empty()).then_some(Message::Chunk(id, index, bytes))
}

fn read<T: BorshDeserialize>(bytes: &[u8]) -> Option<T> {
    borsh::from_slice(bytes).ok()
}
