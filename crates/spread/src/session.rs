//! The daemon's side of one connection.

use bytes::{Bytes, BytesMut};

use crate::cursor::Inbox;
use crate::header::{HEADER_BYTES, Header, Hint, Kind};
use crate::hello::{self, BadHello, Hello};
use crate::name::{NAME_BYTES, Name};
use crate::{GROUPS_MAX, LARGE_BYTES_MAX, LARGE_REJECTED_BYTES_MAX, MESSAGE_BYTES_MAX, REJECTED_BYTES_MAX, reply};

/// Three slots of 30 bytes, each the name of a method.
const METHODS_BYTES: usize = 90;
const METHOD_BYTES: usize = 30;

/// What a session holds at the most: one message that is to be rejected, its header, and one read more.
const fn held_bytes_max(sizes: Sizes) -> usize {
    HEADER_BYTES + sizes.rejected + READ_BYTES_MAX
}

/// How large a message may be, and how large one that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    message: usize,
    rejected: usize,
}

const USUAL: Sizes = Sizes { message: MESSAGE_BYTES_MAX, rejected: REJECTED_BYTES_MAX };
const LARGE: Sizes = Sizes { message: LARGE_BYTES_MAX, rejected: LARGE_REJECTED_BYTES_MAX };

/// How much a driver may feed at once.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It wants to connect. [`Session::welcome`] or [`Session::refuse`] answers.
    Hello(Hello),
    /// It is connected.
    Opened,
    /// It sends a message.
    Multicast(Outgoing),
    /// It joins a group.
    Join(Name),
    /// It leaves a group.
    Leave(Name),
    /// It ends the session in order.
    Disconnect,
}

/// A message that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The type as sent, without the marks; exactly one service bit is set. Bits that mean nothing to the daemon are
    /// passed on: the toolkit's flush library needs that.
    pub kind: Kind,
    /// Where it goes, as sent: groups, or private names of connections. None at all is allowed.
    pub groups: Vec<Name>,
    /// The application's message type in the sender's byte order.
    pub hint: Hint,
    /// What is sent.
    pub data: Bytes,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// A version that is not served.
    #[error("the client's version is too old")]
    Version,
    /// The name that was asked for is no name.
    #[error("the name that the client asks for is not allowed")]
    BadName,
    /// The daemon refused it.
    #[error("the connection was refused")]
    Refused,
    /// No method of authentication that is allowed here.
    #[error("the client offers no method of authentication that is allowed here")]
    Authentication,
    /// It speaks in another's name.
    #[error("the client speaks in another's name")]
    Sender,
    /// A type that no client may send: not exactly one service or request, or one that daemons keep to themselves.
    #[error("the client sent a message of a type that clients may not send")]
    Type,
    /// Too many groups, a negative length, or more data than anybody may send.
    #[error("the client sent a message of an impossible size")]
    Size,
    /// A name without an end, or a hint with bits that it may not have.
    #[error("the client sent a message that is not well formed")]
    Malformed,
    /// It was fed more than it holds.
    #[error("the client sends faster than it is read")]
    Overrun,
}

/// Why a connection is refused, as the client's library understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are too many connections.
    Quota,
    /// No name can be made up.
    NoName,
    /// The name is not allowed.
    IllegalName,
    /// The name is in use at this daemon.
    NameInUse,
    /// The version is not served.
    Version,
    /// Authentication failed.
    Authentication,
}

impl Refusal {
    /// The byte that says so.
    pub const fn code(self) -> i8 {
        match self {
            Refusal::Quota => -3,
            Refusal::NoName => -4,
            Refusal::IllegalName => -5,
            Refusal::NameInUse => -6,
            Refusal::Version => -7,
            Refusal::Authentication => -9,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Hello,
    /// The daemon has to answer a hello.
    Deciding(Hello),
    Methods(Name),
    Open(Name),
    Over(Ended),
}

/// The daemon's side of one connection.
///
/// [`feed`](Session::feed) takes bytes in any split, [`poll`](Session::poll) tells what they mean, and
/// [`take_outgoing`](Session::take_outgoing) gives what the session answers by itself.
#[derive(Debug)]
pub struct Session {
    stage: Stage,
    /// Whether a client may ask for large messages, and what is allowed now.
    may_be_large: bool,
    sizes: Sizes,
    inbox: Inbox,
    outgoing: BytesMut,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            stage: Stage::Hello,
            may_be_large: false,
            sizes: USUAL,
            inbox: Inbox::default(),
            outgoing: BytesMut::new(),
        }
    }
}

impl Session {
    /// A session whose client may send messages of up to [`LARGE_BYTES_MAX`], if it asks for that in its hello.
    pub fn with_large_messages() -> Self {
        Session { may_be_large: true, ..Session::default() }
    }

    /// Takes what has come. At most [`READ_BYTES_MAX`] at once, and only while [`wants_more`](Session::wants_more).
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.inbox.len() + bytes.len() > held_bytes_max(self.sizes) + READ_BYTES_MAX {
            self.end(Ended::Overrun, None);
            return;
        }
        if !matches!(self.stage, Stage::Over(_)) {
            self.inbox.push(bytes);
        }
    }

    /// Whether there is room for more. A driver that does not read meanwhile makes the client wait.
    pub fn wants_more(&self) -> bool {
        self.inbox.len() <= held_bytes_max(self.sizes) - READ_BYTES_MAX && !matches!(self.stage, Stage::Over(_))
    }

    /// The private name, once the daemon has given one.
    pub fn private_name(&self) -> Option<Name> {
        match self.stage {
            Stage::Methods(name) | Stage::Open(name) => Some(name),
            _ => None,
        }
    }

    /// What the session answers by itself: to be sent before anything that is delivered to the client.
    pub fn take_outgoing(&mut self) -> Bytes {
        self.outgoing.split().freeze()
    }

    /// The next thing that the client asks for; `None` when more has to come first.
    ///
    /// # Errors
    /// When the session is over. [`take_outgoing`](Session::take_outgoing) may hold a last byte for the client.
    pub fn poll(&mut self) -> Result<Option<Input>, Ended> {
        let outcome = match &self.stage {
            Stage::Hello => self.on_hello(),
            Stage::Deciding(_) => Ok(None),
            Stage::Methods(name) => self.on_methods(*name),
            Stage::Open(name) => self.on_message(*name),
            Stage::Over(ended) => Err(*ended),
        };
        outcome.inspect_err(|ended| self.over(*ended))
    }

    /// Lets the client in under a private name. Ignored unless it has just said hello.
    pub fn welcome(&mut self, name: Name) {
        let Stage::Deciding(hello) = &self.stage else { return };
        if hello.version.authenticates() {
            self.outgoing.extend_from_slice(&reply::methods());
            self.stage = Stage::Methods(name);
        } else {
            self.outgoing.extend_from_slice(&reply::accepted(&name));
            self.stage = Stage::Open(name);
        }
    }

    /// Turns the client away. Ignored unless it has just said hello.
    pub fn refuse(&mut self, refusal: Refusal) {
        if matches!(self.stage, Stage::Deciding(_)) {
            self.end(Ended::Refused, Some(refusal));
        }
    }

    fn on_hello(&mut self) -> Result<Option<Input>, Ended> {
        match hello::read(&mut self.inbox) {
            Ok(None) => Ok(None),
            Ok(Some(hello)) => {
                if hello.wants_large && self.may_be_large {
                    self.sizes = LARGE;
                }
                self.stage = Stage::Deciding(hello.clone());
                Ok(Some(Input::Hello(hello)))
            }
            Err(BadHello::Version) => Err(self.end(Ended::Version, Some(Refusal::Version))),
            Err(BadHello::Name) => Err(self.end(Ended::BadName, Some(Refusal::IllegalName))),
        }
    }

    /// The methods that the client offers, in its order. `NULL` and `IP` take no further bytes.
    fn on_methods(&mut self, name: Name) -> Result<Option<Input>, Ended> {
        let Some(methods) = self.inbox.take(METHODS_BYTES) else { return Ok(None) };
        let known = |method: &[u8]| {
            let end = method.iter().position(|b| *b == 0).unwrap_or(method.len());
            matches!(method.get(..end), Some(b"NULL" | b"IP"))
        };
        if !methods.chunks(METHOD_BYTES).any(known) {
            return Err(self.end(Ended::Authentication, Some(Refusal::Authentication)));
        }
        self.outgoing.extend_from_slice(&reply::accepted(&name));
        self.stage = Stage::Open(name);
        Ok(Some(Input::Opened))
    }

    fn on_message(&mut self, me: Name) -> Result<Option<Input>, Ended> {
        // A message that is rejected means nothing to the daemon: the next one may have come whole already.
        while let Some(bytes) = self.inbox.peek(0, HEADER_BYTES) {
            let header = Header::read(bytes).ok_or(Ended::Malformed)?;
            let request = check(&header, &me, self.sizes)?;
            let (groups, data) = (header.groups.cast_unsigned() as usize, header.data_bytes.cast_unsigned() as usize);
            let body = groups * NAME_BYTES + data;
            let Some(message) = self.inbox.take(HEADER_BYTES + body) else { return Ok(None) };
            if body > self.sizes.message {
                self.outgoing.extend_from_slice(&reply::rejected(&header, &message.slice(HEADER_BYTES..)));
                continue;
            }
            let names = message.slice(HEADER_BYTES..HEADER_BYTES + groups * NAME_BYTES);
            let groups = names.chunks(NAME_BYTES).map(Name::read).collect::<Option<Vec<Name>>>();
            let groups = groups.ok_or(Ended::Malformed)?;
            let input = match request {
                Request::Multicast(hint) => {
                    let data = message.slice(message.len() - data..);
                    Input::Multicast(Outgoing { kind: header.kind, groups, hint, data })
                }
                Request::Kill => Input::Disconnect,
                Request::Join | Request::Leave => match (groups.first(), request) {
                    (Some(group), Request::Join) => Input::Join(*group),
                    (Some(group), _) => Input::Leave(*group),
                    (None, _) => continue,
                },
            };
            return Ok(Some(input));
        }
        Ok(None)
    }

    fn end(&mut self, ended: Ended, refusal: Option<Refusal>) -> Ended {
        if let Some(refusal) = refusal {
            self.outgoing.extend_from_slice(&[refusal.code().cast_unsigned()]);
        }
        self.over(ended);
        ended
    }

    fn over(&mut self, ended: Ended) {
        self.inbox.clear();
        self.stage = Stage::Over(ended);
    }
}

#[derive(Clone, Copy)]
enum Request {
    Multicast(Hint),
    Join,
    Leave,
    Kill,
}

/// What a header asks for, if a client may ask for it at all: one service or one request, in its own name, of a size
/// that can be.
fn check(header: &Header, me: &Name, sizes: Sizes) -> Result<Request, Ended> {
    let services = (header.kind.0 & Kind::SERVICES.0).count_ones();
    let requests = Kind::JOIN.and(Kind::LEAVE).and(Kind::KILL);
    let request = Kind(header.kind.0 & requests.0);
    if header.kind.has(Kind::DAEMONS_ONLY) || services + request.0.count_ones() != 1 {
        return Err(Ended::Type);
    }
    if header.name != *me {
        return Err(Ended::Sender);
    }
    let groups = usize::try_from(header.groups).ok().filter(|groups| *groups <= GROUPS_MAX).ok_or(Ended::Size)?;
    let data = usize::try_from(header.data_bytes).map_err(|_| Ended::Size)?;
    if data.saturating_add(groups * NAME_BYTES) > sizes.rejected {
        return Err(Ended::Size);
    }
    match request {
        Kind::JOIN => Ok(Request::Join),
        Kind::LEAVE => Ok(Request::Leave),
        Kind::KILL => Ok(Request::Kill),
        _ => Hint::read(header.order, header.hint).map(Request::Multicast).ok_or(Ended::Malformed),
    }
}
