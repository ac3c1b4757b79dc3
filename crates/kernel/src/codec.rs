//! The canonical, strictly bounded encoding of everything that crosses a wire.
//!
//! Borsh with explicit discriminants: one value has one encoding. A decoder takes
//! all of its input or refuses it; frames are bounded by the link before they come here.

use borsh::{BorshDeserialize, BorshSerialize};

/// The version byte that starts every frame.
pub const WIRE_VERSION: u8 = 1;

/// The largest frame on an authenticated link, in bytes.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024 + 16 * 1024;

/// The largest frame on a link before login, in bytes.
pub const LOGIN_FRAME_BYTES_MAX: usize = 8 * 1024;

/// Bytes that are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is of another version of the protocol.
    #[error("version {0} of the protocol is not spoken here")]
    Version(u8),
    /// The frame is larger than allowed.
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// The bytes are not the canonical encoding of a message.
    #[error("the bytes are not a message")]
    Malformed,
}

/// Encodes without a version byte, for what is inside a sealed or signed envelope.
pub fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    borsh::to_vec(value).expect("writing to a vector fails only for lengths above 2^32")
}

/// Decodes what [`encode`] made, all of it.
pub fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, DecodeError> {
    borsh::from_slice(bytes).map_err(|_| DecodeError::Malformed)
}

/// Encodes a frame: the version byte, then the value.
pub fn encode_frame<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256);
    frame.push(WIRE_VERSION);
    borsh::to_writer(&mut frame, value).expect("writing to a vector fails only for lengths above 2^32");
    frame
}

/// Decodes a frame made by [`encode_frame`].
pub fn decode_frame<T: BorshDeserialize>(frame: &[u8]) -> Result<T, DecodeError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLarge(frame.len()));
    }
    match frame.split_first() {
        Some((&WIRE_VERSION, body)) => decode(body),
        Some((&version, _)) => Err(DecodeError::Version(version)),
        None => Err(DecodeError::Malformed),
    }
}
