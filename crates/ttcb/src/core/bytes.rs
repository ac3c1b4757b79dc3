//! Reading and writing fixed layouts.

/// Writes one field after another into an array whose size is part of the format.
pub struct Writer<'a> {
    rest: &'a mut [u8],
}

impl<'a> Writer<'a> {
    /// Writes into these bytes, from the first.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Writer { rest: bytes }
    }

    /// The next field.
    ///
    /// # Panics
    /// If it does not fit: layouts are fixed, so that a test would.
    pub fn put(&mut self, field: &[u8]) {
        let (to, rest) = std::mem::take(&mut self.rest)
            .split_at_mut_checked(field.len())
            .expect("a layout is smaller than its format");
        to.copy_from_slice(field);
        self.rest = rest;
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }
}

/// Reads one field after another.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next field; `None` if there is not as much.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }

    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Two bytes, the lower first.
    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    /// Four bytes, the lowest first.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// Eight bytes, the lowest first.
    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The end: what is left has to be zero, so that one meaning has one encoding.
    pub fn end(self) -> Option<()> {
        self.rest.iter().all(|byte| *byte == 0).then_some(())
    }
}
