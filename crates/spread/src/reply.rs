//! What a daemon says, as bytes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::header::{ByteOrder, HEADER_BYTES, Header, Hint, Kind};
use crate::name::{NAME_BYTES, Name};

/// The version that the daemon says it has. A client wants a major number of at least 3.
const VERSION: [u8; 3] = [5, 0, 1];

/// What names a membership: 12 bytes that never repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId {
    /// Says together with `time` which membership of the daemons it was.
    pub process: u32,
    /// A counter of memberships of the daemons. No clock.
    pub time: u32,
    /// Counts the group's changes within that membership.
    pub index: u32,
}

impl GroupId {
    fn put(self, to: &mut BytesMut) {
        [self.process, self.time, self.index].into_iter().for_each(|word| to.put_u32_le(word));
    }
}

/// Why a membership changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This one joined.
    Join(Name),
    /// This one left.
    Leave(Name),
    /// This one's connection ended.
    Disconnect(Name),
    /// Daemons came or went.
    Network,
}

impl Cause {
    fn bit(self) -> Kind {
        match self {
            Cause::Join(_) => Kind::CAUSED_BY_JOIN,
            Cause::Leave(_) => Kind::CAUSED_BY_LEAVE,
            Cause::Disconnect(_) => Kind::CAUSED_BY_DISCONNECT,
            Cause::Network => Kind::CAUSED_BY_NETWORK,
        }
    }
}

/// Who came together from which old membership, when the network changed one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// The sets; together they are all members.
    pub all: Vec<Vec<Name>>,
    /// The place of the receiver's own set: those in it moved together with the receiver.
    pub mine: usize,
}

/// The methods of authentication that are offered: `NULL`.
pub(crate) fn methods() -> Bytes {
    Bytes::from_static(b"\x05NULL ")
}

/// The client is in, under this private name.
pub(crate) fn accepted(name: &Name) -> Bytes {
    let text = name.text();
    let mut bytes = BytesMut::with_capacity(5 + text.len());
    bytes.put_u8(1);
    bytes.put_slice(&VERSION);
    bytes.put_u8(text.len() as u8);
    bytes.put_slice(text);
    bytes.freeze()
}

/// A data message on its way to a receiver: the type as sent, the sender's hint untouched.
pub fn message(kind: Kind, sender: &Name, groups: &[Name], hint: Hint, data: &[u8]) -> Bytes {
    framed(kind, sender, groups, hint, data)
}

/// A regular membership: the whole list and who changed, or, if the network did it, who came from where.
pub fn membership(group: &Name, cause: Cause, id: GroupId, members: &[Name], sets: &Sets) -> Bytes {
    let alone;
    let sets = match cause {
        Cause::Network => sets,
        Cause::Join(who) | Cause::Leave(who) | Cause::Disconnect(who) => {
            alone = Sets { all: vec![vec![who]], mine: 0 };
            &alone
        }
    };
    let mut data = BytesMut::new();
    id.put(&mut data);
    data.put_u32_le(sets.all.len() as u32);
    let before: usize = sets.all.iter().take(sets.mine).map(|set| 4 + NAME_BYTES * set.len()).sum();
    data.put_u32_le(before as u32);
    for set in &sets.all {
        data.put_u32_le(set.len() as u32);
        set.iter().for_each(|name| data.put_slice(name.field()));
    }
    framed(Kind::REGULAR.and(cause.bit()), group, members, Hint::DAEMON, &data)
}

/// The daemon ends the session: the client's end comes back to it, and the data says why.
pub fn cut_off(me: &Name, why: &[u8]) -> Bytes {
    let header = Header {
        kind: Kind::KILL,
        order: ByteOrder::Little,
        name: *me,
        groups: 0,
        hint: Hint::DAEMON.bytes(),
        data_bytes: i32::try_from(why.len()).unwrap_or(i32::MAX),
    };
    rejected(&header, why)
}

/// The signal that members were lost: what comes until the next regular membership has fewer guarantees.
pub fn transitional(group: &Name, old: GroupId) -> Bytes {
    let mut data = BytesMut::with_capacity(12);
    old.put(&mut data);
    framed(Kind::TRANSITIONAL, group, &[], Hint::DAEMON, &data)
}

/// The receiver has left the group, as it asked to.
pub fn self_leave(group: &Name) -> Bytes {
    framed(Kind::CAUSED_BY_LEAVE, group, &[], Hint::DAEMON, &[])
}

/// A message that was not accepted goes back to its sender, groups and data as sent.
pub(crate) fn rejected(header: &Header, body: &[u8]) -> Bytes {
    let kind = Kind(header.kind.0 & Kind::SELF_DISCARD.0).and(Kind::REJECT);
    let back = Header { kind, order: ByteOrder::Little, ..*header };
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + 4 + body.len());
    bytes.put_slice(&back.write());
    bytes.put_u32_le(header.kind.0);
    bytes.put_slice(body);
    bytes.freeze()
}

/// A request to join that was not granted goes back to its sender.
pub fn join_refused(me: &Name, group: &Name) -> Bytes {
    let header = Header {
        kind: Kind::JOIN,
        order: ByteOrder::Little,
        name: *me,
        groups: 1,
        hint: Hint::DAEMON.bytes(),
        data_bytes: 0,
    };
    rejected(&header, group.field())
}

fn framed(kind: Kind, name: &Name, groups: &[Name], hint: Hint, data: &[u8]) -> Bytes {
    let header = Header {
        kind,
        order: ByteOrder::Little,
        name: *name,
        groups: i32::try_from(groups.len()).unwrap_or(i32::MAX),
        hint: hint.bytes(),
        data_bytes: i32::try_from(data.len()).unwrap_or(i32::MAX),
    };
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + NAME_BYTES * groups.len() + data.len());
    bytes.put_slice(&header.write());
    groups.iter().for_each(|group| bytes.put_slice(group.field()));
    bytes.put_slice(data);
    bytes.freeze()
}
