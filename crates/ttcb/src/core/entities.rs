//! Local authentication, and what each user and entity may cost (F8).
//!
//! An entity gives its public key and a challenge. The component answers with a key of its own for this session and signs all
//! of it, so the entity knows that it talks to this component, in this epoch, now. Both derive one key, which
//! only the holder of the entity's secret key gets; every later call is sealed under it.

use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_kernel::{Budget, Cx, Time};

use super::bytes::{Reader, Writer};
use super::call::{CALL_BYTES, CALL_HEADER_BYTES, Call, Function, Kind, Reply, call_header, clear, read_call_header};
use super::group::{Group, Secrets};
use super::ids::{ENTITY_KEY_BYTES, Epoch, Index};
use super::timed::Timed;

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 32;
/// Of them, those of one user.
pub const CONNECTIONS_OF_USER_MAX: usize = 8;
/// Users that are accounted for at once.
pub const USERS_MAX: usize = 16;
/// Calls of one user in a second, and at once.
const CALLS_PER_SECOND: u64 = 200;
const CALLS_AT_ONCE: u64 = 400;
/// What authentication costs, in calls, and what an alarm does, which somebody has to read.
const HELLO_CALLS: u64 = 10;
const ALARM_CALLS: u64 = 100;
pub(super) const HELLO_LABEL: &str = "ttcb local authentication";

/// What an entity's key is called.
pub fn key_name(public: &KemPublic) -> [u8; ENTITY_KEY_BYTES] {
    let mut name = [0; ENTITY_KEY_BYTES];
    name.iter_mut().zip(digest("ttcb entity", &[&public.to_bytes()])).for_each(|(to, from)| *to = from);
    name
}

/// An entity that has authenticated its component.
pub struct Session {
    /// Its key's name.
    pub key: [u8; ENTITY_KEY_BYTES],
    /// Whose process it is.
    pub user: u32,
    /// What it measures, watches and has executed.
    pub timed: Timed,
    channel: Channel,
    newest: u64,
}

struct Connection {
    user: u32,
    session: Option<Session>,
}

struct Account {
    user: u32,
    calls: Budget,
}

/// All connections of local processes.
pub struct Entities {
    connections: [Option<Connection>; CONNECTIONS_MAX],
    accounts: [Option<Account>; USERS_MAX],
}

/// A request that was read.
pub enum Asked<'a> {
    /// A call of an entity, and its number.
    Call(&'a mut Session, u64, Call),
    /// This is the answer.
    Answered([u8; CALL_BYTES]),
}

impl Default for Entities {
    fn default() -> Self {
        Entities { connections: [const { None }; CONNECTIONS_MAX], accounts: [const { None }; USERS_MAX] }
    }
}

impl Entities {
    /// A process of this user has connected: its place, or `None` if there is none for it.
    pub fn connected(&mut self, now: Time, user: u32) -> Option<usize> {
        let of_user = self.connections.iter().flatten().filter(|connection| connection.user == user).count();
        if of_user >= CONNECTIONS_OF_USER_MAX || !self.account(now, user) {
            return None;
        }
        let place = self.connections.iter().position(Option::is_none)?;
        *self.connections.get_mut(place)? = Some(Connection { user, session: None });
        Some(place)
    }

    /// A user's account stays until nobody of it is connected and it owes nothing: reconnecting makes nothing cheaper.
    fn account(&mut self, now: Time, user: u32) -> bool {
        if self.accounts.iter().flatten().any(|account| account.user == user) {
            return true;
        }
        let connections = &self.connections;
        let idle = |account: &mut Account| {
            let connected = connections.iter().flatten().any(|connection| connection.user == account.user);
            !connected && account.calls.left(now) >= CALLS_AT_ONCE
        };
        let free = self.accounts.iter_mut().find_map(|place| {
            let taken = place.as_mut().is_some_and(|account| !idle(account));
            (!taken).then_some(place)
        });
        let calls = Budget::new(now, CALLS_PER_SECOND, CALLS_AT_ONCE);
        free.map(|place| *place = Some(Account { user, calls })).is_some()
    }

    /// A process has gone.
    pub fn closed(&mut self, place: usize) {
        if let Some(connection) = self.connections.get_mut(place) {
            *connection = None;
        }
    }

    /// All sessions.
    pub fn sessions(&mut self) -> impl Iterator<Item = &mut Session> {
        self.connections.iter_mut().flatten().filter_map(|connection| connection.session.as_mut())
    }

    /// Reads a request of a connection.
    pub fn read(
        &mut self,
        cx: &mut Cx<'_>,
        place: usize,
        request: &[u8; CALL_BYTES],
        me: (&Group, Index, Epoch, &Secrets),
    ) -> Asked<'_> {
        let unread = |number| Asked::Answered(clear(Kind::Unread, number, &[]));
        let Some((head, rest)) = request.split_first_chunk::<CALL_HEADER_BYTES>() else { return unread(0) };
        let Some((kind, number)) = read_call_header(head) else { return unread(0) };
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return unread(number) };
        let user = connection.user;
        let busy = || Asked::Answered(clear(Kind::Busy, number, &[]));
        let account = self.accounts.iter_mut().flatten().find(|account| account.user == user);
        let cost = if kind == Kind::Hello { HELLO_CALLS } else { 1 };
        let paid = account.and_then(|account| account.calls.take(cx.now, cost).then_some(account));
        let Some(account) = paid else { return busy() };
        match kind {
            Kind::Hello => match hello(cx, number, rest, user, me) {
                Some((session, answer)) => {
                    connection.session = Some(session);
                    Asked::Answered(answer)
                }
                None => unread(number),
            },
            Kind::Sealed => {
                let Some(session) = connection.session.as_mut() else { return unread(number) };
                let Some(body) = session.channel.open(Direction::Request, request) else { return unread(number) };
                if number <= session.newest {
                    return unread(number);
                }
                session.newest = number;
                match Call::decode(&body) {
                    Some(Call::Execute(Function::Alarm, ..)) if !account.calls.take(cx.now, ALARM_CALLS) => busy(),
                    Some(call) => Asked::Call(session, number, call),
                    None => {
                        let refused = Reply::Refused(super::call::Refusal::Malformed);
                        Asked::Answered(session.seal(number, &refused))
                    }
                }
            }
            Kind::Unread | Kind::Busy => unread(number),
        }
    }
}

impl Session {
    /// An answer to the call of this number.
    pub fn seal(&self, number: u64, reply: &Reply) -> [u8; CALL_BYTES] {
        self.channel.seal(Direction::Answer, number, &reply.encode())
    }
}

fn hello(
    cx: &mut Cx<'_>,
    number: u64,
    rest: &[u8],
    user: u32,
    me: (&Group, Index, Epoch, &Secrets),
) -> Option<(Session, [u8; CALL_BYTES])> {
    let (group, index, epoch, secrets) = me;
    let mut from = Reader::new(rest);
    let (public, challenge) = (from.take::<32>()?, from.take::<32>()?);
    from.end()?;
    let public = KemPublic::from_bytes(&public).ok()?;
    let own = KemSecret::generate(cx.rng);
    let greeting = Greeting { index, epoch, own: own.public(), public, challenge };
    let signature = secrets.signing.sign(HELLO_LABEL, &[group.id(), &greeting.bytes()]).to_bytes();
    let channel = Channel::new(&own, &public, group, &challenge)?;
    let fields: [&[u8]; 4] = [&[index.get()], &epoch.0.to_le_bytes(), &greeting.own.to_bytes(), &signature];
    let session = Session { key: key_name(&public), user, timed: Timed::default(), channel, newest: 0 };
    Some((session, clear(Kind::Hello, number, &fields)))
}

/// What a component signs in local authentication.
pub(super) struct Greeting {
    pub index: Index,
    pub epoch: Epoch,
    pub own: KemPublic,
    pub public: KemPublic,
    pub challenge: [u8; 32],
}

impl Greeting {
    pub fn bytes(&self) -> [u8; 101] {
        let mut bytes = [0; 101];
        let mut to = Writer::new(&mut bytes);
        to.put(&[self.index.get()]);
        to.put(&self.epoch.0.to_le_bytes());
        to.put(&self.own.to_bytes());
        to.put(&self.public.to_bytes());
        to.put(&self.challenge);
        bytes
    }
}

/// Which way a message goes: numbers of the two do not meet in a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From an entity.
    Request = 0,
    /// From its component.
    Answer = 1,
}

/// What an entity and its component seal under.
#[derive(Debug)]
pub struct Channel(AeadKey);

impl Channel {
    pub(super) fn new(mine: &KemSecret, theirs: &KemPublic, group: &Group, challenge: &[u8; 32]) -> Option<Self> {
        mine.agree(theirs, "ttcb session", &[group.id(), challenge]).map(|key| Channel(AeadKey::new(&key)))
    }

    /// Seals a body. A number is used once in each direction.
    pub fn seal(&self, direction: Direction, number: u64, body: &[u8]) -> [u8; CALL_BYTES] {
        let head = call_header(Kind::Sealed, number);
        let mut bytes = [0; CALL_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.put(&head);
        to.put(&self.0.seal(&nonce(direction, number), &head, body));
        bytes
    }

    /// The body of a sealed message; `None` if it is none.
    pub fn open(&self, direction: Direction, message: &[u8; CALL_BYTES]) -> Option<[u8; super::call::CALL_BODY_BYTES]> {
        let (head, sealed) = message.split_first_chunk::<CALL_HEADER_BYTES>()?;
        let (_, number) = read_call_header(head)?;
        self.0.open(&nonce(direction, number), head, sealed).ok()?.try_into().ok()
    }
}

fn nonce(direction: Direction, number: u64) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [a, b, c, d, e, f, g, h, direction as u8, 0, 0, 0]
}
