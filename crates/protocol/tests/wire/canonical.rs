//! Each message has one encoding, and bytes that are none are refused.

use std::fmt::Debug;

use borsh::{BorshDeserialize, BorshSerialize};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use ringfort_protocol::codec::{
    DecodeError, FRAME_BYTES_MAX, WIRE_VERSION, decode, decode_frame, encode, encode_frame,
};
use ringfort_protocol::coordination::{LifeRecord, Operation, SignedProposal};
use ringfort_protocol::delivery::RepairRequest;
use ringfort_protocol::keys::ViewClaim;
use ringfort_protocol::login::{Certificate, EnrolmentRecord, LoginAnswer, LoginRequest};
use ringfort_protocol::policy::Policy;
use ringfort_protocol::view::{Change, MemberEntry};
use ringfort_protocol::wire::{
    DATA_TAG, LOGIN_TAG, LeaderNotice, MemberRequest, PeerMessage, SEALED_TAG, Sorted, decode_plain, plain, sort,
};

use crate::any;

/// A flipped bit: where, and which.
type Flip = (usize, u8);

fn flips() -> impl Strategy<Value = Vec<Flip>> {
    prop::collection::vec((any::<usize>(), 0u8..8), 1..16)
}

/// That bytes are the encoding of what they decode to, or are refused.
fn one_encoding<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = decode::<T>(bytes) {
        prop_assert_eq!(encode(&value), bytes);
    }
    Ok(())
}

fn check<T>(value: &T, flips: &[Flip]) -> Result<(), TestCaseError>
where
    T: BorshSerialize + BorshDeserialize + PartialEq + Debug,
{
    let bytes = encode(value);
    prop_assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    for cut in 0..bytes.len() {
        prop_assert_eq!(decode::<T>(&bytes[..cut]), Err(DecodeError::Malformed));
    }
    prop_assert!(decode::<T>(&[bytes.as_slice(), &[0]].concat()).is_err(), "one byte too many");
    for (at, bit) in flips {
        let mut altered = bytes.clone();
        let at = at % altered.len();
        altered[at] ^= 1 << bit;
        one_encoding::<T>(&altered)?;
        if let Ok(other) = decode::<T>(&altered) {
            prop_assert_ne!(&other, value, "two encodings of one value");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn login_requests(value in any::login_request(), flips in flips()) { check(&value, &flips)?; }

    #[test]
    fn login_answers(value in any::login_answer(), flips in flips()) { check(&value, &flips)?; }

    #[test]
    fn member_requests(value in any::member_request(), flips in flips()) { check(&value, &flips)?; }

    #[test]
    fn leader_notices(value in any::leader_notice(), flips in flips()) { check(&value, &flips)?; }

    #[test]
    fn peer_messages(value in any::peer_message(), flips in flips()) { check(&value, &flips)?; }

    #[test]
    fn frames(value in any::login_request()) {
        let frame = plain(&value);
        match sort(&frame) {
            Ok(Sorted::Plain(body)) => prop_assert_eq!(decode_plain::<LoginRequest>(body).unwrap(), value.clone()),
            other => prop_assert!(false, "{:?}", other),
        }
        let frame = encode_frame(&value);
        prop_assert_eq!(decode_frame::<LoginRequest>(&frame), Ok(value));
        prop_assert_eq!(decode_frame::<LoginRequest>(&frame[..frame.len() - 1]), Err(DecodeError::Malformed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever the bytes: no panic, and nothing is read that would be written differently.
    #[test]
    fn any_bytes(tag in 0u8..8, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let tagged = [&[tag], rest.as_slice()].concat();
        for bytes in [&tagged, &rest] {
            one_encoding::<LoginRequest>(bytes)?;
            one_encoding::<LoginAnswer>(bytes)?;
            one_encoding::<MemberRequest>(bytes)?;
            one_encoding::<LeaderNotice>(bytes)?;
            one_encoding::<PeerMessage>(bytes)?;
            one_encoding::<SignedProposal>(bytes)?;
            one_encoding::<Operation>(bytes)?;
            one_encoding::<LifeRecord>(bytes)?;
            one_encoding::<EnrolmentRecord>(bytes)?;
            one_encoding::<Certificate>(bytes)?;
            one_encoding::<RepairRequest>(bytes)?;
            one_encoding::<ViewClaim>(bytes)?;
            one_encoding::<MemberEntry>(bytes)?;
            one_encoding::<Change>(bytes)?;
            one_encoding::<Policy>(bytes)?;
            let _ = sort(bytes);
        }
    }
}

#[test]
fn frames_are_sorted_by_version_size_and_tag_alone() {
    for tag in 0..=255u8 {
        let frame = [WIRE_VERSION, tag, 9, 9];
        match sort(&frame) {
            Ok(Sorted::Plain(body)) => assert_eq!((tag, body), (LOGIN_TAG, [9, 9].as_slice())),
            Ok(Sorted::Sealed(whole)) => assert_eq!((tag, whole), (SEALED_TAG, frame.as_slice())),
            Ok(Sorted::Data) => assert_eq!(tag, DATA_TAG),
            Err(error) => {
                assert_eq!(error, DecodeError::Malformed);
                assert!(![LOGIN_TAG, SEALED_TAG, DATA_TAG].contains(&tag), "{tag}");
            }
        }
    }
    assert_eq!(sort(&[]), Err(DecodeError::Malformed));
    assert_eq!(sort(&[WIRE_VERSION]), Err(DecodeError::Malformed));
    for version in (0..=255).filter(|v| *v != WIRE_VERSION) {
        assert_eq!(sort(&[version, LOGIN_TAG]), Err(DecodeError::Version(version)));
        assert_eq!(decode_frame::<u8>(&[version, 1]), Err(DecodeError::Version(version)));
    }
}

#[test]
fn a_frame_of_the_largest_size_is_read_and_one_byte_more_is_not() {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    frame[..2].copy_from_slice(&[WIRE_VERSION, DATA_TAG]);
    assert_eq!(sort(&frame), Ok(Sorted::Data));
    frame.push(0);
    assert_eq!(sort(&frame), Err(DecodeError::TooLarge(FRAME_BYTES_MAX + 1)));
    assert_eq!(decode_frame::<Vec<u8>>(&frame), Err(DecodeError::TooLarge(FRAME_BYTES_MAX + 1)));
    assert_eq!(decode_frame::<u8>(&[]), Err(DecodeError::Malformed));
}

/// A length that promises more than there is must not be believed before it is checked.
#[test]
fn false_lengths_take_no_memory() {
    for message in [1u8, 3] {
        for length in [u32::MAX, 1 << 30, 1 << 20] {
            let bytes = [&[message], length.to_le_bytes().as_slice(), &[0; 64]].concat();
            assert_eq!(decode::<PeerMessage>(&bytes), Err(DecodeError::Malformed));
        }
    }
}
