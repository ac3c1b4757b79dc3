//! The frames of Ringfort: what follows the version byte.
//!
//! | tag | on a member's link | on a leaders' link |
//! |---|---|---|
//! | 1 | login ([`LoginRequest`], [`LoginAnswer`]) | [`PeerMessage`] |
//! | 2 | sealed ([`MemberRequest`], [`LeaderNotice`]) | |
//! | 3 | data, relayed as it is | |
//! | 4 | | a frame of the ordering service, for that alone to read ([`ordering`]) |

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::codec::{DecodeError, FRAME_BYTES_MAX, WIRE_VERSION, decode};
use crate::coordination::SignedProposal;
use crate::delivery::{HEADS_MAX, Head, RECEIPTS_MAX, Receipt, RepairRequest, Tail};
use crate::ids::{Epoch, MemberId, UserName, ViewDigest, ViewId, invalid};
use crate::keys::ViewClaim;
use crate::motion::Motion;
use crate::succession::{Certified, Generation};
use crate::unheard::Unheard;
use crate::view::{Cause, MemberEntry};

pub use crate::data::DATA_TAG;
pub use crate::login::{LoginAnswer, LoginRequest};

/// A login message.
pub const LOGIN_TAG: u8 = 1;
/// A frame of the management channel.
pub const SEALED_TAG: u8 = 2;
/// A message between leaders.
pub const PEER_TAG: u8 = 1;

/// A frame of the ordering service between leaders.
pub const ORDER_TAG: u8 = 4;

/// Entries in one part of a member list.
pub const SNAPSHOT_ENTRIES_MAX: usize = 1024;
/// A list up to this size goes with the claim itself.
pub const INLINE_ENTRIES_MAX: usize = 32;
/// Stays that a member asks about at once.
pub const FATES_MAX: usize = 256;
/// Proposals in one message: what checking their signatures takes, some two milliseconds, is what others wait for who are
/// served in turn.
pub const PROPOSALS_MAX: usize = 32;
/// Members in one message about whom a leader does not hear, and as many that it takes for lost.
pub const UNHEARD_MAX: usize = 1024;
/// Successions in one message.
pub const SUCCESSIONS_MAX: usize = 8;
/// Bytes of a request to the group's services, and of an answer.
pub const SERVICE_BYTES_MAX: usize = 144 * 1024;
/// The label that members sign their requests to the services under.
pub const SERVICE_LABEL: &str = "service request";
/// Classes of users whose state leaders compare.
pub const BUCKETS: usize = 256;

/// A frame, sorted by its tag.
#[derive(Debug, PartialEq, Eq)]
pub enum Sorted<'a> {
    /// To be decoded as a login message (or a leaders' message).
    Plain(&'a [u8]),
    /// To be opened by the management channel: the whole frame.
    Sealed(&'a [u8]),
    /// To be relayed or opened by the data channel: the whole frame.
    Data,
}

/// Looks at version, size and tag only.
pub fn sort(frame: &[u8]) -> Result<Sorted<'_>, DecodeError> {
    match frame {
        _ if frame.len() > FRAME_BYTES_MAX => Err(DecodeError::TooLarge(frame.len())),
        [WIRE_VERSION, LOGIN_TAG, body @ ..] => Ok(Sorted::Plain(body)),
        [WIRE_VERSION, SEALED_TAG, ..] => Ok(Sorted::Sealed(frame)),
        [WIRE_VERSION, DATA_TAG, ..] => Ok(Sorted::Data),
        [WIRE_VERSION, ..] | [] => Err(DecodeError::Malformed),
        [version, ..] => Err(DecodeError::Version(*version)),
    }
}

/// Puts a frame of the ordering service into one of this table.
pub fn ordering(frame: &[u8]) -> bytes::Bytes {
    [&[WIRE_VERSION, ORDER_TAG], frame].concat().into()
}

/// What [`ordering`] was given, if this is such a frame.
pub fn ordered(frame: &bytes::Bytes) -> Option<bytes::Bytes> {
    frame.starts_with(&[WIRE_VERSION, ORDER_TAG]).then(|| frame.slice(2..))
}

/// A plain frame: version, tag, body.
pub fn plain<T: BorshSerialize>(message: &T) -> bytes::Bytes {
    let mut frame = vec![WIRE_VERSION, LOGIN_TAG];
    borsh::to_writer(&mut frame, message).expect("writing to a vector fails only for lengths above 2^32");
    frame.into()
}

/// Decodes the body of a plain frame.
pub fn decode_plain<T: BorshDeserialize>(body: &[u8]) -> Result<T, DecodeError> {
    decode(body)
}

/// Whether a message between leaders says at its head that it lists more than any may: told before its items are decoded.
pub fn lists_too_many(body: &[u8]) -> bool {
    let [kind, length @ ..] = body else { return false };
    let length = length.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let most = match kind {
        1 => PROPOSALS_MAX,
        3 => BUCKETS,
        _ => return false,
    };
    usize::try_from(length).is_ok_and(|length| length > most)
}

/// Member to leader, sealed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum MemberRequest {
    /// Proof of life and of currency, both ways (D4, K15–K18).
    Heartbeat {
        /// The leader answers this very nonce.
        challenge: [u8; 16],
        /// The answer to the leader's last challenge on this link; zero for the first.
        answer: [u8; 16],
        /// What the member has installed.
        installed: Option<ViewId>,
    } = 1,
    /// Asks for the current claim again, as a difference from what the member has (B11, K19).
    Claim {
        /// The installed view.
        have: Option<ViewDigest>,
    } = 2,
    /// Asks for the share of a past view that messages in flight were sent under.
    PastClaim(ViewDigest) = 3,
    /// Asks for a part of a view's member list.
    Snapshot {
        /// Which view.
        view: ViewDigest,
        /// The part that starts after this name.
        after: Option<UserName>,
    } = 4,
    /// Asks for lost data frames.
    Repair(RepairRequest) = 5,
    /// Leaves (A15). Authenticated and fresh by its seal (K12, K34).
    Leave = 6,
    /// Votes on a motion; a vote for an expulsion that nobody has asked for yet asks for it (A17, A24).
    Vote {
        /// Which.
        motion: Motion,
        /// For it, or against.
        yes: bool,
    } = 7,
    /// Shows a frame that its sender signed. Two such of different content under one number convict the sender (A18).
    Accuse(#[borsh(deserialize_with = "crate::codec::read_bytes")] Vec<u8>) = 8,
    /// How far the member's streams go; with each heartbeat, and before it leaves.
    Heads {
        /// At most [`HEADS_MAX`].
        heads: Few<Head, HEADS_MAX>,
        /// Whether this is the member's last word.
        complete: bool,
    } = 9,
    /// Asks which stays are over, at most [`FATES_MAX`]: the view that the leader claims takes them out, and its list
    /// does not say why.
    Fates(Vec<MemberId>) = 10,
    /// Asks for the successions that lead on from this generation.
    Successions(Generation) = 11,
    /// Asks the group's services something: for the service beside the leader to read, at most [`SERVICE_BYTES_MAX`].
    Service(#[borsh(deserialize_with = "crate::codec::read_bytes")] Vec<u8>) = 12,
}

/// Leader to member, sealed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum LeaderNotice {
    /// The leader's current view and its share of the key.
    Claim(ViewClaim) = 1,
    /// A past view's share, on request.
    PastClaim(ViewClaim) = 2,
    /// A part of a member list.
    Snapshot {
        /// Which view.
        view: ViewDigest,
        /// The part starts after this name.
        after: Option<UserName>,
        /// Members by name, at most [`SNAPSHOT_ENTRIES_MAX`].
        entries: Vec<MemberEntry>,
        /// Whether it ends the list.
        last: bool,
    } = 3,
    /// The answer to a heartbeat.
    HeartbeatAnswer {
        /// The member's challenge.
        answer: [u8; 16],
        /// The leader's next challenge.
        challenge: [u8; 16],
        /// What the leader has published last.
        view: ViewId,
    } = 4,
    /// Somebody misses frames that this member sent and the leader no longer has.
    Wanted(RepairRequest) = 5,
    /// The member is no longer in the view (A15, A16). Believed from f+1 leaders (K36).
    Ended {
        /// Why.
        cause: Cause,
        /// Since when.
        epoch: Epoch,
    } = 6,
    /// The leader asks for a vote, or tells a newcomer that it does.
    Asked {
        /// On what.
        motion: Motion,
        /// How long it still waits, milliseconds.
        left_ms: u32,
    } = 7,
    /// How far streams of others go, as they said themselves. Believed from f+1 leaders. At most [`HEADS_MAX`].
    Tails(Few<Tail, HEADS_MAX>) = 8,
    /// The leader has these messages of the member's, at most [`RECEIPTS_MAX`] ranges.
    Received(Few<Receipt, RECEIPTS_MAX>) = 9,
    /// The answer about the stays asked for, at most [`FATES_MAX`] together.
    Fates {
        /// Those that are over here, and why.
        over: Vec<(MemberId, Cause)>,
        /// Those that are not.
        open: Vec<MemberId>,
    } = 10,
    /// The generation that the leader is in, if it is not the first: said before anything that rests on its shares.
    Generation(Generation) = 11,
    /// Successions, in order: they speak for themselves. At most [`SUCCESSIONS_MAX`]; the rest is asked for again.
    Successions(Few<Certified, SUCCESSIONS_MAX>) = 12,
    /// What the service beside the leader answers, at most [`SERVICE_BYTES_MAX`].
    Service(#[borsh(deserialize_with = "crate::codec::read_bytes")] Vec<u8>) = 13,
}

/// A list that is refused before it is decoded if it names more than `MAX` items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Few<T, MAX> {
    /// `None` for too many.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Few(items))
    }

    /// The items.
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }

    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: BorshSerialize, const MAX: usize> BorshSerialize for Few<T, MAX> {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.0.serialize(writer)
    }
}

impl<T: BorshDeserialize, const MAX: usize> BorshDeserialize for Few<T, MAX> {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let count = usize::try_from(u32::deserialize_reader(reader)?).map_err(|_| invalid("list"))?;
        if count > MAX {
            return Err(invalid("list"));
        }
        Ok(Few((0..count).map(|_| T::deserialize_reader(reader)).collect::<io::Result<_>>()?))
    }
}

/// Leader to leader.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum PeerMessage {
    /// The sender's own proposals and acceptances (Figure 3), at most [`PROPOSALS_MAX`].
    Proposals(Vec<SignedProposal>) = 1,
    /// A digest of all that the sender has accepted.
    Status([u8; 32]) = 2,
    /// The same by class of users, for whoever found a difference. Exactly [`BUCKETS`].
    Buckets(Vec<[u8; 32]>) = 3,
    /// Members that the sender does not hear at the moment, or takes for lost: said again for as long as it is so.
    Unheard(Unheard) = 4,
}
