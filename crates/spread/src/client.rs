//! The client's side, for tests and measurements: what a client says, and what it makes of the answers.

use bytes::{BufMut, Bytes, BytesMut};

use crate::cursor::Inbox;
use crate::header::{ByteOrder, HEADER_BYTES, Header, Hint, Kind};
use crate::hello::LARGE_PRIORITY;
use crate::name::{ConnectName, NAME_BYTES, Name};
use crate::reply::GroupId;
use crate::{GROUPS_MAX, LARGE_REJECTED_BYTES_MAX};

/// The first bytes of a client of version 5.0.1.
pub fn hello(name: Option<ConnectName>, wants_membership: bool) -> Bytes {
    let text = name.as_ref().map(ConnectName::text).unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(5 + text.len());
    bytes.put_slice(&[5, 0, 1, u8::from(wants_membership), text.len() as u8]);
    bytes.put_slice(text);
    bytes.freeze()
}

/// The same, asking to send messages of up to [`LARGE_BYTES_MAX`](crate::LARGE_BYTES_MAX).
pub fn hello_for_large(name: Option<ConnectName>, wants_membership: bool) -> Bytes {
    let mut bytes = BytesMut::from(&hello(name, wants_membership)[..]);
    if let Some(flags) = bytes.get_mut(3) {
        *flags |= LARGE_PRIORITY << 4;
    }
    bytes.freeze()
}

/// The choice of `NULL` authentication.
pub fn null_method() -> Bytes {
    let mut bytes = BytesMut::zeroed(90);
    bytes.iter_mut().zip(b"NULL").for_each(|(to, from)| *to = *from);
    bytes.freeze()
}

/// A message or a request, in a byte order of choice.
pub fn message(order: ByteOrder, kind: Kind, me: &Name, groups: &[Name], message_type: i16, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + NAME_BYTES * groups.len() + data.len());
    put_message(&mut bytes, order, kind, me, groups, message_type, data);
    bytes.freeze()
}

/// The same, behind what is in `bytes` already.
pub fn put_message(
    bytes: &mut BytesMut,
    order: ByteOrder,
    kind: Kind,
    me: &Name,
    groups: &[Name],
    message_type: i16,
    data: &[u8],
) {
    let header = Header {
        kind,
        order,
        name: *me,
        groups: i32::try_from(groups.len()).unwrap_or(i32::MAX),
        hint: Hint::new(order, message_type).bytes(),
        data_bytes: i32::try_from(data.len()).unwrap_or(i32::MAX),
    };
    bytes.reserve(HEADER_BYTES + NAME_BYTES * groups.len() + data.len());
    bytes.put_slice(&header.write());
    groups.iter().for_each(|group| bytes.put_slice(group.field()));
    bytes.put_slice(data);
}

/// What a client receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The methods that the daemon offers: the choice has to be sent.
    Methods,
    /// The connection is open, under this private name.
    Opened(Name),
    /// The connection was refused with this code.
    Refused(i8),
    /// A message.
    Message {
        /// Its type, without marks.
        kind: Kind,
        /// Who sent it.
        sender: Name,
        /// Where it went.
        groups: Vec<Name>,
        /// The application's type.
        message_type: i16,
        /// What was sent.
        data: Bytes,
    },
    /// A regular membership.
    Membership {
        /// Whose.
        group: Name,
        /// What caused it: one of the four bits of [`Kind`].
        cause: Kind,
        /// The new membership's id.
        id: GroupId,
        /// All members.
        members: Vec<Name>,
        /// Who changed, or who came together.
        sets: Vec<Vec<Name>>,
        /// Where the receiver's own set is among them.
        mine: usize,
    },
    /// Members were lost; the id is the old membership's.
    Transitional {
        /// Whose.
        group: Name,
        /// The membership that ends.
        old: GroupId,
    },
    /// The client has left.
    SelfLeave(Name),
    /// A message came back.
    Rejected {
        /// Its type as it was sent.
        kind: Kind,
        /// Its groups.
        groups: Vec<Name>,
        /// Its data.
        data: Bytes,
    },
}

/// Bytes that no daemon sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon sent what no daemon sends")]
pub struct Garbled;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Methods,
    Verdict,
    Open,
}

/// Reads what a daemon sends, in any split.
#[derive(Debug)]
pub struct Receiver {
    stage: Stage,
    inbox: Inbox,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver { stage: Stage::Methods, inbox: Inbox::default() }
    }
}

impl Receiver {
    /// Takes what has come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    /// The next thing that came whole.
    ///
    /// # Errors
    /// When the bytes are not a daemon's.
    pub fn poll(&mut self) -> Result<Option<Received>, Garbled> {
        match self.stage {
            Stage::Methods => self.on_methods(),
            Stage::Verdict => self.on_verdict(),
            Stage::Open => self.on_message(),
        }
    }

    fn on_methods(&mut self) -> Result<Option<Received>, Garbled> {
        let Some(&[first]) = self.inbox.peek(0, 1) else { return Ok(None) };
        if first >= 128 {
            self.inbox.take(1);
            return Ok(Some(Received::Refused(first.cast_signed())));
        }
        let taken = self.inbox.take(1 + usize::from(first));
        if taken.is_some() {
            self.stage = Stage::Verdict;
        }
        Ok(taken.map(|_| Received::Methods))
    }

    fn on_verdict(&mut self) -> Result<Option<Received>, Garbled> {
        let Some(&[code]) = self.inbox.peek(0, 1) else { return Ok(None) };
        if code != 1 {
            self.inbox.take(1);
            return Ok(Some(Received::Refused(code.cast_signed())));
        }
        let Some(&[.., len]) = self.inbox.peek(0, 5) else { return Ok(None) };
        let Some(taken) = self.inbox.take(5 + usize::from(len)) else { return Ok(None) };
        let name = Name::new(taken.get(5..).unwrap_or_default()).map_err(|_| Garbled)?;
        self.stage = Stage::Open;
        Ok(Some(Received::Opened(name)))
    }

    fn on_message(&mut self) -> Result<Option<Received>, Garbled> {
        let Some(bytes) = self.inbox.peek(0, HEADER_BYTES) else { return Ok(None) };
        let header = Header::read(bytes).ok_or(Garbled)?;
        let groups = usize::try_from(header.groups).map_err(|_| Garbled)?;
        let data = usize::try_from(header.data_bytes).map_err(|_| Garbled)?;
        let rejected = header.kind.has(Kind::REJECT);
        // A membership names all members; a message at most a hundred groups.
        let allowed = if header.kind.has(Kind::REGULAR) { 1 << 20 } else { GROUPS_MAX };
        if groups > allowed || data > LARGE_REJECTED_BYTES_MAX + NAME_BYTES * allowed {
            return Err(Garbled);
        }
        let old_type = if rejected { 4 } else { 0 };
        let Some(mut message) = self.inbox.take(HEADER_BYTES + old_type + groups * NAME_BYTES + data) else {
            return Ok(None);
        };
        let mut rest = message.split_off(HEADER_BYTES);
        let old_type = rest.split_to(old_type);
        let names = rest.split_to(groups * NAME_BYTES);
        let names = names.chunks(NAME_BYTES).map(Name::read).collect::<Option<Vec<_>>>().ok_or(Garbled)?;
        meaning(&header, names, &old_type, rest).map(Some)
    }
}

fn meaning(header: &Header, names: Vec<Name>, old_type: &[u8], data: Bytes) -> Result<Received, Garbled> {
    let causes = Kind(0xf00);
    if header.kind.has(Kind::REJECT) {
        let kind = Kind(u32::from_le_bytes(old_type.try_into().map_err(|_| Garbled)?));
        return Ok(Received::Rejected { kind, groups: names, data });
    }
    if header.kind.has(Kind::REGULAR) {
        let mut data = Words(&data);
        let id = data.group_id()?;
        let (count, mine) = (data.word()?, data.word()?);
        let (mut sets, mut at, mut own) = (Vec::new(), 0, None);
        for place in 0..count {
            own = own.or((at == mine).then_some(place as usize));
            let names = data.names()?;
            at += 4 + (NAME_BYTES * names.len()) as u32;
            sets.push(names);
        }
        let cause = Kind(header.kind.0 & causes.0);
        return Ok(Received::Membership {
            group: header.name,
            cause,
            id,
            members: names,
            sets,
            mine: own.unwrap_or(0),
        });
    }
    if header.kind.has(Kind::TRANSITIONAL) {
        return Ok(Received::Transitional { group: header.name, old: Words(&data).group_id()? });
    }
    if header.kind.has(Kind::CAUSED_BY_LEAVE) {
        return Ok(Received::SelfLeave(header.name));
    }
    // The hint is in its sender's order, and its marks say which that is.
    let order = if header.hint.first().is_some_and(|b| b & 0x80 != 0) { ByteOrder::Little } else { ByteOrder::Big };
    let hint = Hint::read(order, header.hint).ok_or(Garbled)?;
    Ok(Received::Message {
        kind: header.kind,
        sender: header.name,
        groups: names,
        message_type: hint.message_type(order),
        data,
    })
}

/// Little-endian words and names from the front of a slice.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn word(&mut self) -> Result<u32, Garbled> {
        let (word, rest) = self.0.split_first_chunk::<4>().ok_or(Garbled)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*word))
    }

    fn group_id(&mut self) -> Result<GroupId, Garbled> {
        Ok(GroupId { process: self.word()?, time: self.word()?, index: self.word()? })
    }

    fn names(&mut self) -> Result<Vec<Name>, Garbled> {
        let count = self.word()? as usize;
        let bytes = count.checked_mul(NAME_BYTES).filter(|bytes| *bytes <= self.0.len()).ok_or(Garbled)?;
        let (names, rest) = self.0.split_at(bytes);
        self.0 = rest;
        names.chunks(NAME_BYTES).map(Name::read).collect::<Option<Vec<_>>>().ok_or(Garbled)
    }
}
