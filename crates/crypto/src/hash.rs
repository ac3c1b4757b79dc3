//! Hashing to bytes, to scalars and to the group, always under a label.

use curve25519_dalek::{RistrettoPoint, Scalar};
use sha2::{Digest, Sha256, Sha512};

use crate::meter;

/// Hashes a list of parts under a label, so that different labels or lists give unrelated results.
///
/// SHA-256 over an injective encoding: a fixed prefix, the label, the number of parts, each part; label
/// and parts prefixed with their length (8 bytes, big endian).
pub fn digest(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    encode("digest", label, parts, |bytes| hasher.update(bytes));
    hasher.finalize().into()
}

/// Feeds the injective encoding of `(purpose, label, parts)` to `sink`.
///
/// `purpose` separates the functions of this crate from each other.
pub(crate) fn encode(purpose: &str, label: &str, parts: &[&[u8]], mut sink: impl FnMut(&[u8])) {
    sink(b"ringfort-v1");
    for text in [purpose, label] {
        sink(&(text.len() as u64).to_be_bytes());
        sink(text.as_bytes());
    }
    sink(&(parts.len() as u64).to_be_bytes());
    for part in parts {
        sink(&(part.len() as u64).to_be_bytes());
        sink(part);
    }
}

/// 64 uniform bytes from labelled parts: SHA-512 over the same encoding.
pub(crate) fn digest_wide(purpose: &str, label: &str, parts: &[&[u8]]) -> [u8; 64] {
    let mut hasher = Sha512::new();
    encode(purpose, label, parts, |bytes| hasher.update(bytes));
    hasher.finalize().into()
}

/// Maps a message to a point of ristretto255 whose discrete logarithm nobody knows.
///
/// Source: RFC 9380 suite `ristretto255_XMD:SHA-512_R255MAP_RO_` (`expand_message_xmd` with SHA-512,
/// then the one-way map of RFC 9496 §4.3.4). `dst` is at most 255 bytes; ours are constants.
pub(crate) fn hash_to_group(dst: &[u8], msg: &[u8]) -> RistrettoPoint {
    meter::charge(meter::HASH_TO_GROUP_NS);
    let mut uniform = [0; 64];
    expand_message_xmd(dst, msg, &mut uniform);
    RistrettoPoint::from_uniform_bytes(&uniform)
}

/// Maps labelled parts to a scalar: SHA-512 of their encoding, reduced.
///
/// RFC 9497's `HashToScalar` serves its proofs and its key derivation, which we use in no mode, so the encoding
/// is ours.
pub(crate) fn hash_to_scalar(purpose: &str, label: &str, parts: &[&[u8]]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&digest_wide(purpose, label, parts))
}

/// RFC 9380 §5.3.1 with SHA-512; `out` sets the length wanted.
fn expand_message_xmd(dst: &[u8], msg: &[u8], out: &mut [u8]) {
    const INPUT_BLOCK_BYTES: usize = 128; // s_in_bytes
    let dst_bytes = u8::try_from(dst.len()).expect("domain separation tags are constants of at most 255 bytes");
    let out_bytes = u16::try_from(out.len()).expect("callers want 64 bytes, the RFC's vectors 128");
    let b0: [u8; 64] = Sha512::new()
        .chain_update([0; INPUT_BLOCK_BYTES])
        .chain_update(msg)
        .chain_update(out_bytes.to_be_bytes())
        .chain_update([0])
        .chain_update(dst)
        .chain_update([dst_bytes])
        .finalize()
        .into();
    let mut previous = [0; 64];
    for (i, chunk) in (1u8..).zip(out.chunks_mut(64)) {
        let mixed: [u8; 64] = core::array::from_fn(|k| match (b0.get(k), previous.get(k)) {
            (Some(a), Some(b)) => a ^ b,
            _ => 0,
        });
        let hasher = Sha512::new().chain_update(mixed).chain_update([i]).chain_update(dst).chain_update([dst_bytes]);
        previous = hasher.finalize().into();
        for (to, from) in chunk.iter_mut().zip(previous) {
            *to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, hex_array, vector_lines};
    use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
    use curve25519_dalek::ristretto::CompressedRistretto;

    #[test]
    fn rfc9380_k3_expand_message_xmd_sha512() {
        let lines = vector_lines(include_str!("../vectors/rfc9380_expand_message_xmd_sha512.txt"));
        assert_eq!(lines.len(), 10);
        for line in lines {
            let (message, expected) = line.split_once(' ').unwrap();
            let message = if message == "-" { Vec::new() } else { hex(message) };
            let expected = hex(expected);
            let mut out = vec![0; expected.len()];
            expand_message_xmd(b"QUUX-V01-CS02-with-expander-SHA512-256", &message, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn rfc9496_a1_multiples_of_the_generator() {
        let lines = vector_lines(include_str!("../vectors/rfc9496_multiples.txt"));
        assert_eq!(lines.len(), 16);
        for (k, line) in (0u64..).zip(lines) {
            let point = RISTRETTO_BASEPOINT_POINT * Scalar::from(k);
            assert_eq!(point.compress().to_bytes(), hex_array::<32>(line));
            let read = crate::threshold::decompress(&hex_array(line));
            assert_eq!(read, if k == 0 { None } else { Some(point) }, "the identity is refused");
        }
    }

    #[test]
    fn rfc9496_a2_bad_encodings_are_refused() {
        let lines = vector_lines(include_str!("../vectors/rfc9496_bad_encodings.txt"));
        assert_eq!(lines.len(), 29);
        for line in lines {
            assert_eq!(CompressedRistretto(hex_array(line)).decompress(), None, "{line}");
        }
    }

    #[test]
    fn rfc9496_a3_one_way_map() {
        let lines = vector_lines(include_str!("../vectors/rfc9496_one_way_map.txt"));
        assert_eq!(lines.len(), 11);
        for line in lines {
            let (input, expected) = line.split_once(' ').unwrap();
            let point = RistrettoPoint::from_uniform_bytes(&hex_array(input));
            assert_eq!(point.compress().to_bytes(), hex_array::<32>(expected));
        }
    }

    #[test]
    fn digest_separates_labels_and_boundaries() {
        let digests = [
            digest("a", &[b"bc"]),
            digest("ab", &[b"c"]),
            digest("a", &[b"b", b"c"]),
            digest("a", &[b"bc", b""]),
            digest("a", &[b"", b"bc"]),
            digest("", &[b"abc"]),
            digest("abc", &[]),
        ];
        for (i, a) in digests.iter().enumerate() {
            assert!(!digests[..i].contains(a), "{i}");
        }
    }
}
