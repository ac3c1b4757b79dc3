//! The canonical, strictly bounded encoding of everything that crosses a wire.
//!
//! Borsh with explicit discriminants: one value has one encoding. A decoder takes
//! all of its input or refuses it; frames are bounded by the link before they come here.

use std::io::{self, Read};

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

/// As many bytes as are announced, as they come: a length alone takes no memory. For `deserialize_with`.
///
/// # Errors
/// If there are fewer.
pub fn read_bytes<R: Read>(reader: &mut R) -> io::Result<Vec<u8>> {
    let length = u64::from(u32::deserialize_reader(reader)?);
    let mut bytes = Vec::new();
    let came = reader.by_ref().take(length).read_to_end(&mut bytes)?;
    if came as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The same, if there are any.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_optional_bytes<R: Read>(reader: &mut R) -> io::Result<Option<Vec<u8>>> {
    match u8::deserialize_reader(reader)? {
        0 => Ok(None),
        1 => read_bytes(reader).map(Some),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The same, several times: each of them as it comes.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_bytes_of_each<R: Read>(reader: &mut R) -> io::Result<Vec<Vec<u8>>> {
    let count = u32::deserialize_reader(reader)?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(read_bytes(reader)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_are_written_and_not_if_some_are_missing() {
        for bytes in [vec![], vec![7; 3], vec![7; 70_000]] {
            let written = encode(&bytes);
            assert_eq!(read_bytes(&mut written.as_slice()).unwrap(), bytes);
            assert!(bytes.is_empty() || read_bytes(&mut &written[..written.len() - 1]).is_err());
            let optional = encode(&Some(bytes.clone()));
            assert_eq!(read_optional_bytes(&mut optional.as_slice()).unwrap(), Some(bytes));
        }
        assert_eq!(read_optional_bytes(&mut &[0][..]).unwrap(), None);
        assert!(read_optional_bytes(&mut &[2][..]).is_err());
        assert!(read_bytes(&mut &[0xff, 0xff, 0xff, 0xff, 1][..]).is_err());
        let several = vec![vec![1, 2], vec![], vec![3]];
        assert_eq!(read_bytes_of_each(&mut encode(&several).as_slice()).unwrap(), several);
        assert!(read_bytes_of_each(&mut &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..]).is_err());
    }
}
