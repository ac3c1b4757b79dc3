//! What a log is made of, and its bytes.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{BadSignature, SigningKey, VerifyingKey};

use super::Why;
use crate::codec::{decode, encode};
use crate::ids::{GroupId, MemberId, ViewId};
use crate::login::WireSignature;
use crate::statement::Word;
use crate::view::{Cause, Change, MemberEntry};

/// What a log starts with.
pub const LOG_MAGIC: &[u8; 15] = b"ringfort log 1\n";
/// The longest record: an opening with as many members as a policy allows.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
const LABEL: &str = "ringfort log entry";

/// Names an entry and, through the entries before it, the whole log up to it.
#[derive(Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head(pub [u8; 32]);

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Starts a segment. Proved by the entry that follows it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Opening {
    /// Of which group.
    pub group: GroupId,
    /// Whose log, in which stay.
    pub member: MemberId,
    /// The entry before; zero at the very start.
    pub previous: Head,
    /// The members of the first view, by name.
    pub members: Vec<MemberEntry>,
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum What {
    /// A view was installed.
    View {
        /// Which.
        view: ViewId,
        /// Refreshes so far, which the digest covers.
        refreshes: u64,
        /// From the view before, one per user. Causes are what the member was told; no signature covers them.
        changes: Vec<Change>,
        /// At least f+1.
        words: Vec<Word>,
    } = 1,
    /// More leaders' words for the same view: with 2f+1 of them the time is beyond f liars.
    Words(Vec<Word>) = 2,
    /// Still in that view.
    Kept = 3,
    /// The stay has ended.
    Ended(Cause) = 4,
    /// The program ended; what came after is not in this log.
    Closed = 5,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// The entry before.
    pub previous: Head,
    /// When, by the member's clock: Unix time, milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: What,
    /// By the member's session key of this stay.
    pub signature: WireSignature,
}

impl Entry {
    /// Signs an entry.
    pub fn sign(key: &SigningKey, group: GroupId, member: &MemberId, previous: Head, at_ms: u64, what: What) -> Self {
        let signed = encode(&(previous, at_ms, &what));
        let signature = WireSignature(key.sign(LABEL, &[&group.0, &encode(member), &signed]));
        Entry { previous, at_ms, what, signature }
    }

    /// Checks the signature.
    pub(super) fn verify(&self, key: &VerifyingKey, group: GroupId, member: &MemberId) -> Result<(), BadSignature> {
        let signed = encode(&(self.previous, self.at_ms, &self.what));
        key.verify(LABEL, &[&group.0, &encode(member), &signed], &self.signature.0)
    }

    /// Its name.
    pub fn head(&self) -> Head {
        Head(digest(LABEL, &[&encode(self)]))
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
enum Record {
    Opening(Opening) = 1,
    Entry(Entry) = 2,
}

fn frame(record: &Record) -> Vec<u8> {
    let body = encode(record);
    let length = u32::try_from(body.len()).expect("a policy bounds the members of a view");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

impl Opening {
    /// As in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        frame(&Record::Opening(self.clone()))
    }
}

impl Entry {
    /// As in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        frame(&Record::Entry(self.clone()))
    }
}

/// An opening and its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The start.
    pub opening: Opening,
    /// In order.
    pub entries: Vec<Entry>,
}

/// A log as it was read, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In order.
    pub segments: Vec<Segment>,
}

/// A log that is refused: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record}: {why}")]
pub struct Refused {
    /// The record, from 1.
    pub record: usize,
    /// Why.
    pub why: Why,
}

/// Reads the next record; `None` at the end. The error tells whether the bytes end in the middle of it.
fn next_record(bytes: &mut &[u8]) -> Result<Option<Record>, Why> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return if bytes.is_empty() { Ok(None) } else { Err(Why::CutShort) };
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > RECORD_BYTES_MAX {
        return Err(Why::Malformed);
    }
    let (body, rest) = rest.split_at_checked(length).ok_or(Why::CutShort)?;
    *bytes = rest;
    decode(body).map(Some).map_err(|_| Why::Malformed)
}

impl Log {
    /// Reads a log. Nothing is checked but its shape.
    ///
    /// # Errors
    /// [`Refused`]: not a log, cut short in the middle of a record, or malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refused> {
        let mut rest = bytes.strip_prefix(LOG_MAGIC).ok_or(Refused { record: 0, why: Why::NotALog })?;
        let mut segments: Vec<Segment> = Vec::new();
        let mut record = 0;
        loop {
            record += 1;
            let refused = |why| Refused { record, why };
            match (next_record(&mut rest).map_err(refused)?, segments.last_mut()) {
                (None, None) => return Err(refused(Why::Empty)),
                (None, Some(_)) => return Ok(Log { segments }),
                (Some(Record::Opening(opening)), _) => segments.push(Segment { opening, entries: Vec::new() }),
                (Some(Record::Entry(entry)), Some(segment)) => segment.entries.push(entry),
                (Some(Record::Entry(_)), None) => return Err(refused(Why::NoOpening)),
            }
        }
    }

    /// Writes a log.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = LOG_MAGIC.to_vec();
        for segment in &self.segments {
            bytes.extend(segment.opening.to_bytes());
            segment.entries.iter().for_each(|entry| bytes.extend(entry.to_bytes()));
        }
        bytes
    }
}

/// Where a file ends that is to be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last whole entry.
    pub head: Head,
    /// Bytes up to its end. What follows was torn by a crash.
    pub bytes: usize,
    /// Of which group.
    pub group: GroupId,
    /// Whose.
    pub member: MemberId,
}

/// Finds the end of a log that is to be continued; a record that a crash tore is left out.
///
/// # Errors
/// [`Refused`]: not a log, or malformed before its end.
pub fn resume(bytes: &[u8]) -> Result<Option<Tail>, Refused> {
    let mut rest = match bytes.strip_prefix(LOG_MAGIC) {
        Some(rest) => rest,
        // A crash in the middle of the very first write.
        None if LOG_MAGIC.starts_with(bytes) => return Ok(None),
        None => return Err(Refused { record: 0, why: Why::NotALog }),
    };
    let mut tail: Option<Tail> = None;
    let mut opened: Option<Opening> = None;
    let mut record = 0;
    loop {
        record += 1;
        match next_record(&mut rest) {
            Ok(Some(Record::Opening(opening))) => opened = Some(opening),
            Ok(Some(Record::Entry(entry))) => {
                let Some(opening) = &opened else { return Err(Refused { record, why: Why::NoOpening }) };
                let (group, member) = (opening.group, opening.member.clone());
                tail = Some(Tail { head: entry.head(), bytes: bytes.len() - rest.len(), group, member });
            }
            Ok(None) | Err(Why::CutShort) => return Ok(tail),
            Err(why) => return Err(Refused { record, why }),
        }
    }
}
