//! The decoders of all that crosses a wire.

use std::fmt::Debug;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_protocol::codec::{DecodeError, decode, decode_frame, encode, encode_frame};
use ringfort_protocol::data::{DATA_TAG, DataFrame, FrameKind, RECIPIENTS_MAX, Shape};
use ringfort_protocol::login::{LoginAnswer, LoginRequest};
use ringfort_protocol::sealed::{End, SealedChannel};
use ringfort_protocol::wire::{self, LeaderNotice, MemberRequest, PeerMessage, Sorted};
use ringfort_services::kv::{KvReply, KvRequest};
use ringfort_services::{Answer, Request};

use crate::fixture::fixture;
use crate::meter::bounded;

/// Memory that decoding may take: a point of a curve is some ten times as large as its encoding.
fn room(bytes: &[u8]) -> usize {
    24 * bytes.len() + 16 * 1024
}

/// Login messages, the management channel's messages, leaders' messages, whole frames, and what members and services say to each
/// other.
pub fn wire(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 12 {
        0 => canonical::<LoginRequest>(body),
        1 => canonical::<LoginAnswer>(body),
        2 => canonical::<MemberRequest>(body),
        3 => canonical::<LeaderNotice>(body),
        4 => canonical::<PeerMessage>(body),
        5 => whole_frame(body),
        6 => framed(body),
        7 => sealed(body),
        8 => canonical::<Request>(body),
        9 => canonical::<Answer>(body),
        10 => canonical::<KvRequest>(body),
        _ => canonical::<KvReply>(body),
    }
}

/// What decodes encodes to the same bytes, and to nothing with a byte more or less.
pub fn canonical<T>(bytes: &[u8])
where
    T: BorshSerialize + BorshDeserialize + PartialEq + Debug,
{
    let Ok(value) = bounded("decoding", room(bytes), || decode::<T>(bytes)) else { return };
    assert_eq!(encode(&value), bytes, "one value has one encoding");
    assert_eq!(decode::<T>(&encode(&value)).as_ref(), Ok(&value), "what was encoded decodes");
    let longer = [bytes, &[0]].concat();
    assert_eq!(decode::<T>(&longer).err(), Some(DecodeError::Malformed), "a byte too many is refused");
    if let Some((_, shorter)) = bytes.split_last() {
        assert_eq!(decode::<T>(shorter).err(), Some(DecodeError::Malformed), "a byte too few is refused");
    }
}

/// A frame goes one way only, by its tag, and a plain one is made again from its body.
fn whole_frame(frame: &[u8]) {
    match wire::sort(frame) {
        Ok(Sorted::Plain(body)) => {
            assert_eq!(body.len() + 2, frame.len());
            if let Ok(message) = wire::decode_plain::<PeerMessage>(body) {
                assert_eq!(wire::plain(&message), frame, "a frame is made again from its message");
            }
            if let Ok(message) = wire::decode_plain::<LoginRequest>(body) {
                assert_eq!(wire::plain(&message), frame, "a frame is made again from its message");
            }
        }
        Ok(Sorted::Sealed(whole)) => assert_eq!(whole, frame),
        Ok(Sorted::Data) => assert_eq!(frame[1], DATA_TAG),
        Err(_) => {
            assert!(DataFrame::parse(&Bytes::copy_from_slice(frame)).is_err(), "the two agree on what is a frame")
        }
    }
}

/// The version byte in front of a value.
fn framed(frame: &[u8]) {
    if let Ok(message) = bounded("decoding a frame", room(frame), || decode_frame::<LeaderNotice>(frame)) {
        assert_eq!(encode_frame(&message), frame);
    }
}

/// Nobody without the key makes a frame that opens, and a failed one does not move the window.
fn sealed(bytes: &[u8]) {
    let key = ringfort_crypto::secret::Secret32::new([5; 32]);
    let rules = &fixture().group.rules;
    let (mut member, mut leader) = (SealedChannel::new(&key, End::Member), SealedChannel::new(&key, End::Leader));
    let true_frame = member.seal(b"leave");
    let (at, with) = (bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0));
    let mut altered = true_frame.to_vec();
    altered[usize::from(at) % true_frame.len()] ^= with;
    let other_way = [bytes, &true_frame].concat();
    for forged in [bytes, &altered, &other_way] {
        if forged != true_frame.as_ref() && forged.get(..2) == true_frame.get(..2) {
            assert!(leader.open(rules, forged).is_err(), "a frame opened that its sender never sealed");
        }
    }
    assert_eq!(leader.open(rules, &true_frame).as_deref(), Ok(&b"leave"[..]), "the true frame still opens");
    assert!(leader.open(rules, &true_frame).is_err(), "and opens once");
}

/// The data channel's header, as a leader reads it.
pub fn data_frame(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(frame) = bounded("parsing a data frame", room(data), || DataFrame::parse(&bytes)) else { return };
    let header = [&data[..2], &encode(frame.header())].concat();
    assert_eq!(header, frame.prefix(), "one header has one encoding");
    assert_eq!([frame.prefix(), frame.body()].concat(), data, "nothing is lost between header and body");
    if let FrameKind::Private { to } = &frame.header().kind {
        assert!((1..=RECIPIENTS_MAX).contains(&to.names().len()));
        for name in to.names() {
            assert!(to.find(&name).is_some_and(|(_, r)| 1 <= r.start.0 && r.start <= r.seq));
        }
    }
    let shape = Shape::of(&fixture().group.policy);
    if shape.fits(&frame) {
        assert!(!frame.body().is_empty(), "a sealed message is not empty");
    }
    assert!(matches!(wire::sort(data), Ok(Sorted::Data)), "a data frame is sorted as one");
}

/// A number whose decoder takes two encodings of it: to see that [`canonical`] would notice.
#[derive(Debug, PartialEq)]
struct Loose(u8);

impl BorshSerialize for Loose {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.0.serialize(writer)
    }
}

impl BorshDeserialize for Loose {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        u8::deserialize_reader(reader).map(|value| Loose(value & 0x7f))
    }
}

/// Fails for a byte above 127.
#[doc(hidden)]
pub fn loose_for_testing_only(bytes: &[u8]) {
    canonical::<Loose>(bytes);
}
