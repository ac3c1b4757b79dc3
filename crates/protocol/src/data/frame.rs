//! The frame: what a leader reads of a message, and where the rest begins.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_crypto::aead::TAG_BYTES;

use crate::codec::{DecodeError, FRAME_BYTES_MAX, WIRE_VERSION};
use crate::ids::{MemberId, Seq, TOPIC_BYTES_MAX, UserName, ViewDigest, invalid};
use crate::policy::{Origin, Policy, Protection, Service};

/// The second byte of every data frame.
pub const DATA_TAG: u8 = 3;

/// The most recipients of one private message.
pub const RECIPIENTS_MAX: usize = 64;

/// The highest sequence number, far above what any sender reaches: sums never overflow.
pub const SEQ_MAX: u64 = 1 << 62;

pub(super) const SIGNATURE_BYTES: usize = 64;
pub(super) const MAC_BYTES: usize = 32;
pub(super) const WRAP_BYTES: usize = 32 + TAG_BYTES;

/// What everybody on the way may read of a frame.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DataHeader {
    /// Who sent it, in which stay.
    pub sender: MemberId,
    /// The view under whose keys it is sealed.
    pub view: ViewDigest,
    /// What it is.
    pub kind: FrameKind,
}

/// The kinds of frames.
///
/// A sender numbers each of its streams (one per service, one per recipient of private messages) from 1
/// on, without a break across views.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum FrameKind {
    /// A message to the whole view.
    Multicast {
        /// What delivery promises.
        service: Service,
        /// Its number.
        seq: Seq,
        /// The first number of this stream in this view: where one that joined in it starts.
        view_start: Seq,
    } = 0,
    /// A message to a few members.
    Private {
        /// To whom, under which number for each.
        to: Recipients,
    } = 1,
    /// An idle sender says which number comes next, so that a lost tail is noticed.
    Mark {
        /// Of which stream; never best effort, of which nothing is repaired.
        service: Service,
        /// As in a multicast.
        view_start: Seq,
        /// The number of the next message.
        next: Seq,
    } = 2,
    /// The same for private messages.
    PrivateMark {
        /// To whom.
        to: UserName,
        /// As in [`Recipient`].
        start: Seq,
        /// The number of the next message.
        next: Seq,
    } = 3,
}

/// One recipient of a private message.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Recipient {
    /// Who.
    pub user: UserName,
    /// The number of the message between the two.
    pub seq: Seq,
    /// The first number the sender used to this stay of the recipient.
    pub start: Seq,
}

/// 1 to [`RECIPIENTS_MAX`] recipients, strictly sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// `None` for too few, too many, unsorted or repeated names, or numbers out of order.
    pub fn new(recipients: Vec<Recipient>) -> Option<Self> {
        let sorted = recipients.iter().zip(recipients.iter().skip(1)).all(|(a, b)| a.user < b.user);
        let numbered = recipients.iter().all(|r| ordered(r.start, r.seq));
        ((1..=RECIPIENTS_MAX).contains(&recipients.len()) && sorted && numbered).then_some(Recipients(recipients))
    }

    /// The recipients, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Recipient> {
        self.0.iter()
    }

    /// A user's place and entry.
    pub fn find(&self, user: &UserName) -> Option<(usize, &Recipient)> {
        let place = self.0.binary_search_by(|r| r.user.cmp(user)).ok()?;
        self.0.get(place).map(|r| (place, r))
    }

    /// Their names.
    pub fn names(&self) -> Vec<UserName> {
        self.0.iter().map(|r| r.user.clone()).collect()
    }
}

impl BorshSerialize for Recipients {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let count = u8::try_from(self.0.len()).map_err(|_| invalid("recipients"))?;
        count.serialize(writer)?;
        self.0.iter().try_for_each(|r| r.serialize(writer))
    }
}

impl BorshDeserialize for Recipients {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let count = usize::from(u8::deserialize_reader(reader)?);
        if count > RECIPIENTS_MAX {
            return Err(invalid("recipients"));
        }
        let recipients = (0..count).map(|_| Recipient::deserialize_reader(reader)).collect::<io::Result<_>>()?;
        Recipients::new(recipients).ok_or_else(|| invalid("recipients"))
    }
}

impl DataHeader {
    /// The bytes in front of the body.
    pub(super) fn to_prefix(&self) -> Vec<u8> {
        let mut prefix = vec![WIRE_VERSION, DATA_TAG];
        borsh::to_writer(&mut prefix, self).expect("recipients and names are within their bounds");
        prefix
    }

    fn is_sound(&self) -> bool {
        match &self.kind {
            FrameKind::Multicast { seq, view_start, .. } => ordered(*view_start, *seq),
            FrameKind::Private { .. } => true,
            FrameKind::Mark { service, view_start, next } => {
                *service != Service::BestEffort && ordered(*view_start, *next)
            }
            FrameKind::PrivateMark { start, next, .. } => ordered(*start, *next),
        }
    }
}

fn ordered(start: Seq, seq: Seq) -> bool {
    1 <= start.0 && start <= seq && seq.0 <= SEQ_MAX
}

/// A frame whose header is read and whose body is not.
#[derive(Clone, Debug)]
pub struct DataFrame {
    header: DataHeader,
    bytes: Bytes,
    body_at: usize,
}

impl DataFrame {
    /// Reads the header; copies no message.
    ///
    /// # Errors
    /// Bytes that no honest member sends and no honest leader relays.
    pub fn parse(frame: &Bytes) -> Result<DataFrame, DecodeError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge(frame.len()));
        }
        let mut rest = match frame.as_ref() {
            [WIRE_VERSION, DATA_TAG, rest @ ..] => rest,
            [WIRE_VERSION, ..] | [] => return Err(DecodeError::Malformed),
            [version, ..] => return Err(DecodeError::Version(*version)),
        };
        let header = DataHeader::deserialize(&mut rest).map_err(|_| DecodeError::Malformed)?;
        if !header.is_sound() {
            return Err(DecodeError::Malformed);
        }
        Ok(DataFrame { header, bytes: frame.clone(), body_at: frame.len() - rest.len() })
    }

    /// The header.
    pub fn header(&self) -> &DataHeader {
        &self.header
    }

    /// The whole frame.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Everything in front of the body: the associated data.
    pub fn prefix(&self) -> &[u8] {
        self.bytes.split_at(self.body_at).0
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.bytes.split_at(self.body_at).1
    }

    /// The first `length` bytes of the body, shared with the frame.
    pub(super) fn body_start(&self, length: usize) -> Bytes {
        let end = self.body_at.saturating_add(length).min(self.bytes.len());
        self.bytes.slice(self.body_at..end)
    }
}

/// What frames of a group look like, from its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How messages are protected.
    pub protection: Protection,
    /// How their origin is shown.
    pub origin: Origin,
    /// The largest message.
    pub message_bytes_max: usize,
}

impl Shape {
    /// The shape that `policy` asks for.
    pub fn of(policy: &Policy) -> Self {
        let message_bytes_max = usize::try_from(policy.message_bytes_max).unwrap_or(usize::MAX);
        Shape { protection: policy.protection, origin: policy.origin, message_bytes_max }
    }

    /// Whether a frame's body has a length that such a header can have under this policy. Leaders check
    /// it, so a frame that fails came from a leader that did not.
    pub fn fits(&self, frame: &DataFrame) -> bool {
        let body = frame.body().len();
        let signature = if self.origin == Origin::Signature { SIGNATURE_BYTES } else { 0 };
        let sealed = self.protection != Protection::None;
        let message = |overhead: usize| {
            // A topic has a length byte and at least one more.
            let content = body.checked_sub(overhead + signature);
            content.is_some_and(|c| (2..=1 + TOPIC_BYTES_MAX + self.message_bytes_max).contains(&c))
        };
        match &frame.header.kind {
            FrameKind::Multicast { .. } => message(if sealed { TAG_BYTES } else { 0 }),
            FrameKind::Private { to } => message(to.iter().len() * WRAP_BYTES + TAG_BYTES),
            FrameKind::Mark { .. } => body == signature + if sealed { MAC_BYTES } else { 0 },
            FrameKind::PrivateMark { .. } => body == signature + MAC_BYTES,
        }
    }
}
