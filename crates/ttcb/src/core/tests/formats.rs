//! One meaning has one encoding, and nothing else is read.

use proptest::prelude::*;

use super::super::call::{CALL_BODY_BYTES, Call, Reply};
use super::super::frame::{BODY_BYTES, Body, FRAME_BYTES, HEADER_BYTES, Header};

/// Bytes that are mostly zero, so that some of them mean something.
fn sparse<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    prop::collection::vec((0..N, any::<u8>()), 0..12).prop_map(|spots| {
        let mut bytes = [0; N];
        spots.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes
    })
}

proptest! {
    #[test]
    fn calls_and_replies(mut bytes in sparse::<CALL_BODY_BYTES>(), kind in 0u8..16, second in 0u8..28) {
        (bytes[0], bytes[1]) = (kind, second);
        if let Some(call) = Call::decode(&bytes) { prop_assert_eq!(call.encode(), bytes); }
        if let Some(reply) = Reply::decode(&bytes) { prop_assert_eq!(reply.encode(), bytes); }
    }

    #[test]
    fn frames(bytes in sparse::<BODY_BYTES>(), mut head in sparse::<HEADER_BYTES>()) {
        head[0] = 1;
        if let Some(body) = Body::decode(&bytes) { prop_assert_eq!(body.encode(), bytes); }
        if let Some(header) = Header::decode(&head) { prop_assert_eq!(header.encode(), head); }
    }
}

#[test]
fn the_sizes_are_what_they_are_said_to_be() {
    assert_eq!((FRAME_BYTES, CALL_BODY_BYTES), (1200, 228));
    assert_eq!(Body::decode(&[0; BODY_BYTES]).map(|body| body.encode()), Some([0; BODY_BYTES]));
}
