//! The header of 48 bytes, the same in both directions.
//!
//! ```text
//! 0        4                              36           40       44         48
//! | type   | private name or group (32)    | num_groups | hint   | data_len  |
//! ```
//!
//! Numbers are in the sender's byte order, and the marks in the type say which that is.

use crate::name::{NAME_BYTES, Name};

/// The bytes of a header.
pub(crate) const HEADER_BYTES: usize = 48;

/// Set in the type and in the hint of a little-endian sender. Both bytes lie where either order sees them.
const MARKS: u32 = 0x8000_0080;

/// The bits of a hint that may be set: the application's message type and the marks.
const HINT_BITS: u32 = 0x80ff_ff80;

/// The byte order of a sender's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The marks are set.
    Little,
    /// The marks are clear.
    Big,
}

impl ByteOrder {
    /// Reads a number of this order.
    pub fn read(self, bytes: [u8; 4]) -> u32 {
        match self {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Writes a number in this order.
    pub fn write(self, number: u32) -> [u8; 4] {
        match self {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        }
    }
}

/// The bits of a message's type, without the marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u32);

impl Kind {
    /// Unreliable service.
    pub const UNRELIABLE: Kind = Kind(0x01);
    /// Reliable service.
    pub const RELIABLE: Kind = Kind(0x02);
    /// Reliable, in the order of each sender.
    pub const FIFO: Kind = Kind(0x04);
    /// In causal order.
    pub const CAUSAL: Kind = Kind(0x08);
    /// In one total order.
    pub const AGREED: Kind = Kind(0x10);
    /// Agreed, and held by all before it is delivered.
    pub const SAFE: Kind = Kind(0x20);
    /// All service bits.
    pub const SERVICES: Kind = Kind(0x3f);
    /// Not to the session that sends it.
    pub const SELF_DISCARD: Kind = Kind(0x40);
    /// A membership was caused by a join.
    pub const CAUSED_BY_JOIN: Kind = Kind(0x100);
    /// A membership was caused by a leave.
    pub const CAUSED_BY_LEAVE: Kind = Kind(0x200);
    /// A membership was caused by a disconnect.
    pub const CAUSED_BY_DISCONNECT: Kind = Kind(0x400);
    /// A membership was caused by the network.
    pub const CAUSED_BY_NETWORK: Kind = Kind(0x800);
    /// A regular membership.
    pub const REGULAR: Kind = Kind(0x1000);
    /// A transitional membership.
    pub const TRANSITIONAL: Kind = Kind(0x2000);
    /// A request to join.
    pub const JOIN: Kind = Kind(0x1_0000);
    /// A request to leave.
    pub const LEAVE: Kind = Kind(0x2_0000);
    /// The orderly end of a session.
    pub const KILL: Kind = Kind(0x4_0000);
    /// A message that was not accepted, on its way back.
    pub const REJECT: Kind = Kind(0x40_0000);
    /// What only daemons may say: memberships and their causes, and messages between daemons.
    pub const DAEMONS_ONLY: Kind = Kind(0x3f00 | 0x4000 | 0x8000 | 0x8_0000 | 0x10_0000 | 0x20_0000 | 0x40_0000);

    /// Whether any bit of `bits` is set.
    pub const fn has(self, bits: Kind) -> bool {
        self.0 & bits.0 != 0
    }

    /// The bits of both.
    pub const fn and(self, bits: Kind) -> Kind {
        Kind(self.0 | bits.0)
    }
}

/// The hint of a data message, in its sender's order: the application's message type and the marks.
///
/// The daemon passes it on as it came, so that a receiver knows whether to swap the bytes of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint([u8; 4]);

impl Hint {
    /// The hint of what the daemon itself says.
    pub const DAEMON: Hint = Hint(MARKS.to_le_bytes());

    /// The hint of a message type, from a sender of this order.
    pub fn new(order: ByteOrder, message_type: i16) -> Self {
        let marks = if order == ByteOrder::Little { MARKS } else { 0 };
        Hint(order.write(marks | u32::from(message_type.cast_unsigned()) << 8))
    }

    /// As it stands on the wire; `None` if it has bits that no hint has.
    pub fn read(order: ByteOrder, bytes: [u8; 4]) -> Option<Self> {
        (order.read(bytes) & !HINT_BITS == 0).then_some(Hint(bytes))
    }

    /// The application's message type, for a sender of this order.
    pub fn message_type(self, order: ByteOrder) -> i16 {
        ((order.read(self.0) >> 8) as u16).cast_signed()
    }

    /// As it goes on the wire.
    pub fn bytes(self) -> [u8; 4] {
        self.0
    }
}

/// A header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type bits, without the marks.
    pub kind: Kind,
    /// The sender's byte order.
    pub order: ByteOrder,
    /// The sender's private name, or the group of a membership.
    pub name: Name,
    /// How many groups follow.
    pub groups: i32,
    /// The hint.
    pub hint: [u8; 4],
    /// How many bytes of data follow the groups.
    pub data_bytes: i32,
}

impl Header {
    /// Reads a header; `None` if its name has no end.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
        let kind: [u8; 4] = word(0)?;
        let order = if u32::from_le_bytes(kind) & MARKS == MARKS { ByteOrder::Little } else { ByteOrder::Big };
        Some(Header {
            kind: Kind(order.read(kind) & !MARKS),
            order,
            name: Name::read(bytes.get(4..4 + NAME_BYTES)?)?,
            groups: order.read(word(36)?).cast_signed(),
            hint: word(40)?,
            data_bytes: order.read(word(44)?).cast_signed(),
        })
    }

    /// The header on the wire, in its order.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let marks = if self.order == ByteOrder::Little { MARKS } else { 0 };
        let parts: [&[u8]; 5] = [
            &self.order.write(self.kind.0 | marks),
            self.name.field(),
            &self.order.write(self.groups.cast_unsigned()),
            &self.hint,
            &self.order.write(self.data_bytes.cast_unsigned()),
        ];
        let mut header = [0; HEADER_BYTES];
        header.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, order: ByteOrder) -> Header {
        let name = Name::new(b"#bob#site1").unwrap();
        Header { kind, order, name, groups: 1, hint: Hint::new(order, 7).bytes(), data_bytes: 2 }
    }

    #[test]
    fn a_join_and_an_agreed_message_as_recorded() {
        let join = Header { data_bytes: 0, hint: Hint::DAEMON.bytes(), ..header(Kind::JOIN, ByteOrder::Little) };
        let bytes = join.write();
        assert_eq!(bytes[..4], [0x80, 0, 1, 0x80]);
        assert_eq!(bytes[4..15], *b"#bob#site1\0");
        assert_eq!(bytes[36..], [1, 0, 0, 0, 0x80, 0, 0, 0x80, 0, 0, 0, 0]);
        assert_eq!(Header { kind: Kind::LEAVE, ..join }.write()[..4], [0x80, 0, 2, 0x80]);
        assert_eq!(Header { kind: Kind::KILL, ..join }.write()[..4], [0x80, 0, 4, 0x80]);
        let agreed = header(Kind::AGREED, ByteOrder::Little).write();
        assert_eq!(agreed[..4], [0x90, 0, 0, 0x80]);
        assert_eq!(agreed[40..44], [0x80, 7, 0, 0x80]);
    }

    #[test]
    fn either_order_is_read_back() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let sent = header(Kind::SAFE.and(Kind::SELF_DISCARD), order);
            assert_eq!(Header::read(&sent.write()), Some(sent));
        }
        assert_eq!(header(Kind::JOIN, ByteOrder::Big).write()[..4], [0, 1, 0, 0]);
    }

    #[test]
    fn a_hint_carries_a_signed_type_and_nothing_else() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for message_type in [0, 7, -32768, 32767, -1] {
                let hint = Hint::new(order, message_type);
                assert_eq!(hint.message_type(order), message_type);
                assert_eq!(Hint::read(order, hint.bytes()), Some(hint));
            }
            assert_eq!(Hint::read(order, order.write(0x0100_0000)), None);
            assert_eq!(Hint::read(order, order.write(0x0000_0001)), None);
        }
    }
}
