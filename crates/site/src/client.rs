//! A program's side: a connection to a site, as the Spread client protocol has it.
//!
//! [`connect`] gives two halves that can be used from two tasks. Whoever does not read what it is sent is cut off by
//! the site, so read. Whoever sends many messages at once puts them together: [`Sender::enqueue`], then
//! [`Sender::flush`].

use std::io;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use ringfort_peer::Service;
use ringfort_spread::client::{self, Garbled, Received, Receiver};
use ringfort_spread::{ByteOrder, ConnectName, Kind, LARGE_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES, Name};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;
/// So much is put together before it is written without being asked.
const WRITE_BYTES: usize = 64 * 1024;
/// Groups of one message.
const GROUPS_MAX: usize = 100;

/// Where a site lets its clients in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// A unix socket.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Door::Unix(path) => write!(f, "{}", path.display()),
            Door::Tcp(address) => f.write_str(address),
        }
    }
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("{0}: no site answers here ({1}): start it with `ringfort site run`, or look at its log")]
    Unreachable(Door, io::Error),
    /// The connection broke.
    #[error("the connection to the site was cut: the site has ended, or has cut this client off; its log says why")]
    Cut,
    /// The site ended the connection, and said why.
    #[error("{0}")]
    CutOff(String),
    /// The site did not answer as a site does.
    #[error("what answers is no site: {0}")]
    Garbled(#[from] Garbled),
    /// The name cannot be had.
    #[error("the site does not let this program in: {0}")]
    Refused(&'static str),
    /// The name is none.
    #[error("`{0}` is no name for a client: use 1 to 10 letters, digits and signs, without `#` and blanks")]
    Name(String),
    /// The group is none.
    #[error("`{0}` is no name for a group: use 1 to 31 bytes, none of them zero, and no `#` in front")]
    Group(String),
    /// The message is too large.
    #[error(
        "a message of {bytes} bytes is too large: this client sends at most {bytes_max} bytes, less 32 for each group"
    )]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have, groups included: a mebibyte over the unix socket.
        bytes_max: usize,
    },
}

type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// Connects under `name`, or under one that the site makes up.
///
/// # Errors
/// When there is no site, or it does not let this program in.
pub async fn connect(door: &Door, name: Option<&str>) -> Result<(Sender, Incoming), ClientError> {
    let wanted = name.map(|name| ConnectName::new(name.as_bytes()).map_err(|_| ClientError::Name(name.to_owned())));
    let wanted = wanted.transpose()?;
    let (reader, writer) = open(door).await.map_err(|error| ClientError::Unreachable(door.clone(), error))?;
    let mut incoming = Incoming { reader, receiver: Receiver::default(), chunk: BytesMut::with_capacity(READ_BYTES) };
    let unnamed = Name::new(b"").map_err(|_| ClientError::Cut)?;
    // Over TCP the site knows nothing of this program, and takes what a program of the toolkit may send.
    let (hello, bytes_max) = match door {
        Door::Unix(_) => (client::hello_for_large(wanted, true), LARGE_BYTES_MAX),
        Door::Tcp(_) => (client::hello(wanted, true), MESSAGE_BYTES_MAX),
    };
    let mut sender = Sender { writer, name: unnamed, queued: BytesMut::new(), bytes_max };
    sender.write(&hello).await?;
    loop {
        match incoming.next().await? {
            Received::Methods => sender.write(&client::null_method()).await?,
            Received::Opened(name) => {
                sender.name = name;
                return Ok((sender, incoming));
            }
            Received::Refused(code) => return Err(ClientError::Refused(refusal(code))),
            _ => return Err(ClientError::Garbled(Garbled)),
        }
    }
}

async fn open(door: &Door) -> io::Result<(Reading, Writing)> {
    match door {
        Door::Unix(path) => {
            let (reader, writer) = UnixStream::connect(path).await?.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
        Door::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
    }
}

fn refusal(code: i8) -> &'static str {
    match code {
        -3 => "it serves as many clients as it may",
        -5 => "it does not allow this name",
        -6 => "another client of this site has this name",
        -7 => "it does not serve this version",
        -9 => "it does not accept this way of authentication",
        _ => "it gives no reason",
    }
}

/// A group's name.
///
/// # Errors
/// When it is none.
pub fn group(name: &str) -> Result<Name, ClientError> {
    let found = Name::new(name.as_bytes()).ok().filter(|found| !name.is_empty() && !found.is_private());
    found.ok_or_else(|| ClientError::Group(name.to_owned()))
}

/// What says in a message's type how it is delivered.
fn kind(service: Service) -> Kind {
    match service {
        Service::Unreliable => Kind::UNRELIABLE,
        Service::Reliable => Kind::RELIABLE,
        Service::Fifo => Kind::FIFO,
        Service::Causal => Kind::CAUSAL,
        Service::Agreed => Kind::AGREED,
        Service::Safe => Kind::SAFE,
    }
}

/// The service that a message's type asks for.
pub fn service(kind: Kind) -> Service {
    let services = [Service::Unreliable, Service::Reliable, Service::Fifo, Service::Causal, Service::Agreed];
    services.into_iter().find(|service| kind.has(self::kind(*service))).unwrap_or(Service::Safe)
}

/// The half that sends. A call that is dropped before it is done loses nothing: the next one writes what it left.
pub struct Sender {
    writer: Writing,
    name: Name,
    queued: BytesMut,
    bytes_max: usize,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sender {
    /// The private name, `#user#site`.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Asks to join a group. The group's view says when that is done.
    ///
    /// # Errors
    /// When the connection is cut.
    pub async fn join(&mut self, group: Name) -> Result<(), ClientError> {
        self.request(Kind::JOIN, group).await
    }

    /// Asks to leave a group.
    ///
    /// # Errors
    /// When the connection is cut.
    pub async fn leave(&mut self, group: Name) -> Result<(), ClientError> {
        self.request(Kind::LEAVE, group).await
    }

    /// Ends the connection in order.
    ///
    /// # Errors
    /// When it was cut before.
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        self.request(Kind::KILL, self.name).await
    }

    /// Sends a message; `to_me`: this client gets it too where it is in one of the groups.
    ///
    /// # Errors
    /// When it is too large, or the connection is cut.
    pub async fn multicast(
        &mut self,
        service: Service,
        groups: &[Name],
        to_me: bool,
        data: &[u8],
    ) -> Result<(), ClientError> {
        self.enqueue(service, groups, to_me, data).await?;
        self.flush().await
    }

    /// Puts a message behind those that wait; they go together at the next [`flush`](Self::flush), or once they are many.
    ///
    /// # Errors
    /// When it is too large, or the connection is cut.
    pub async fn enqueue(
        &mut self,
        service: Service,
        groups: &[Name],
        to_me: bool,
        data: &[u8],
    ) -> Result<(), ClientError> {
        if groups.len() > GROUPS_MAX || data.len() + NAME_BYTES * groups.len() > self.bytes_max {
            return Err(ClientError::TooLarge { bytes: data.len(), bytes_max: self.bytes_max });
        }
        let discard = if to_me { 0 } else { Kind::SELF_DISCARD.0 };
        let kind = Kind(kind(service).0 | discard);
        if self.queued.len() >= WRITE_BYTES {
            self.flush().await?;
        }
        client::put_message(&mut self.queued, ByteOrder::Little, kind, &self.name, groups, 0, data);
        Ok(())
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// When the connection is cut.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.queued.is_empty() {
            match self.writer.write_buf(&mut self.queued).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(ClientError::Cut),
            }
        }
        Ok(())
    }

    async fn request(&mut self, kind: Kind, group: Name) -> Result<(), ClientError> {
        let message: Bytes = client::message(ByteOrder::Little, kind, &self.name, &[group], 0, &[]);
        self.write(&message).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.queued.extend_from_slice(bytes);
        self.flush().await
    }
}

/// The half that receives.
pub struct Incoming {
    reader: Reading,
    receiver: Receiver,
    chunk: BytesMut,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl Incoming {
    /// What comes next. Cancel safe.
    ///
    /// # Errors
    /// When the connection is cut, or the site is none.
    pub async fn next(&mut self) -> Result<Received, ClientError> {
        loop {
            match self.receiver.poll()? {
                // The site ends the connection, and says why.
                Some(Received::Rejected { kind, data, .. }) if kind.has(Kind::KILL) => {
                    return Err(ClientError::CutOff(String::from_utf8_lossy(&data).into_owned()));
                }
                Some(received) => return Ok(received),
                None => {}
            }
            self.chunk.clear();
            match self.reader.read_buf(&mut self.chunk).await {
                Ok(0) | Err(_) => return Err(ClientError::Cut),
                Ok(_) => self.receiver.feed(&self.chunk),
            }
        }
    }
}
