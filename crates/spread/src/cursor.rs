//! Reading fixed parts from the front of what has come.

use bytes::{Buf, Bytes, BytesMut};

/// What has come and was not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: BytesMut,
}

impl Inbox {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn peek(&self, from: usize, len: usize) -> Option<&[u8]> {
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// The first `len` bytes, once they have all come.
    pub fn take(&mut self, len: usize) -> Option<Bytes> {
        (self.bytes.len() >= len).then(|| self.bytes.split_to(len).freeze())
    }

    pub fn clear(&mut self) {
        let len = self.bytes.len();
        self.bytes.advance(len);
    }
}
