//! What programs of a host use: calls to its component, and checks of what components signed.
//!
//! A program has an X25519 key of its own, its *entity* key. Other hosts know its public half, and list it in agreements.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::secret::Secret32;

use crate::core::asking::greeted;
use crate::core::call::{CALL_BYTES, Kind, clear, is_busy, read_call_header};
pub use crate::core::call::{Call, Function, Refusal, Reply, Status, Timing, Verdict};
pub use crate::core::entities::key_name;
use crate::core::entities::{Channel, Direction};
pub use crate::core::group::Group;
pub use crate::core::ids::{Block, COMPONENTS_MAX, Decision, ENTITY_KEY_BYTES, Entity, Epoch, Index, Mask, Tag};
pub use crate::core::instance::Terms;
pub use crate::core::signed;
use crate::system::os_rng;

/// Between two questions for the same result: there is nothing new more often than once a round.
const PAUSE: Duration = crate::core::rules::ROUND;
/// How long an answer may take before the component is taken for stopped.
const ANSWER: Duration = Duration::from_secs(5);

/// A call that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The component cannot be reached.
    #[error("the trusted component cannot be reached ({0}): is it running, and may this user use it?")]
    Unreachable(#[from] io::Error),
    /// What answers is not a component of the group.
    #[error("what answers is not a component of this group, or it was started again: connect anew")]
    NotAuthentic,
    /// Too much was asked.
    #[error("this user asks too much of the component: ask again in a second")]
    Busy,
    /// The component refuses.
    #[error("the component refuses: {0}")]
    Refused(Refusal),
    /// It is not known in time.
    #[error("the component says that this came too late, or that it cannot tell the time")]
    TimingFailure,
}

/// A connection of one entity to the component of its host.
pub struct Client {
    stream: UnixStream,
    channel: Channel,
    number: u64,
    group: Group,
    me: Index,
    entity: Entity,
}

impl Client {
    /// Connects, and makes sure that a component of the group answers, now (F8).
    ///
    /// # Errors
    /// It cannot be reached, or is none.
    pub fn connect(socket: &Path, group: &Group, secret: &KemSecret) -> Result<Self, ClientError> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let challenge = *Secret32::random(&mut os_rng()).expose();
        stream.write_all(&clear(Kind::Hello, 0, &[&secret.public().to_bytes(), &challenge]))?;
        let mut answer = [0; CALL_BYTES];
        stream.read_exact(&mut answer)?;
        unless_busy(&answer)?;
        let (me, epoch, channel) = greeted(group, secret, &challenge, &answer).ok_or(ClientError::NotAuthentic)?;
        let entity = Entity { epoch, key: key_name(&secret.public()) };
        Ok(Client { stream, channel, number: 0, group: group.clone(), me, entity })
    }

    /// Which component this is.
    pub fn me(&self) -> Index {
        self.me
    }

    /// What this program is to components.
    pub fn entity(&self) -> Entity {
        self.entity
    }

    /// Any call.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn call(&mut self, call: &Call) -> Result<Reply, ClientError> {
        self.number += 1;
        self.stream.write_all(&self.channel.seal(Direction::Request, self.number, &call.encode()))?;
        let mut answer = [0; CALL_BYTES];
        self.stream.read_exact(&mut answer)?;
        unless_busy(&answer)?;
        let numbered = answer.first_chunk().and_then(read_call_header).is_some_and(|(_, number)| number == self.number);
        let body =
            self.channel.open(Direction::Answer, &answer).filter(|_| numbered).ok_or(ClientError::NotAuthentic)?;
        match Reply::decode(&body).ok_or(ClientError::NotAuthentic)? {
            Reply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            Reply::TimingFailure => Err(ClientError::TimingFailure),
            reply => Ok(reply),
        }
    }

    /// How the component is.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.call(&Call::Status)? {
            Reply::Status(status) => Ok(status),
            _ => Err(ClientError::NotAuthentic),
        }
    }

    /// 64 random bytes (F4).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn random(&mut self) -> Result<[u8; 64], ClientError> {
        match self.call(&Call::Random)? {
            Reply::Random(random) => Ok(random),
            _ => Err(ClientError::NotAuthentic),
        }
    }

    /// The group's time in microseconds, the bound on its error, and the component's signature over both and the hash
    /// ([`signed::timestamp`]) (F5).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn timestamp(&mut self, hash: &Block) -> Result<(u64, u64, [u8; 64]), ClientError> {
        match self.call(&Call::Timestamp(*hash))? {
            Reply::Timestamp(time, error, signature) => Ok((time, error, signature)),
            _ => Err(ClientError::NotAuthentic),
        }
    }

    /// Terms among entities of these keys, in the epochs in which this component hears theirs. Components that were
    /// never heard are listed, and are silent.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn terms(
        &mut self,
        decision: Decision,
        start_us: u64,
        name: u64,
        keys: &[(Index, [u8; ENTITY_KEY_BYTES])],
    ) -> Result<Terms, ClientError> {
        let status = self.status()?;
        let mut entities = [Entity::default(); COMPONENTS_MAX];
        for (index, key) in keys {
            let epoch = status.epochs.get(index.place()).copied().unwrap_or_default();
            if let Some(place) = entities.get_mut(index.place()) {
                *place = Entity { epoch, key: *key };
            }
        }
        Ok(Terms { decision, start_us, name, listed: keys.iter().map(|(index, _)| *index).collect(), entities })
    }

    /// Proposes a block (F6, F7, F9).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn propose(&mut self, terms: &Terms, block: Block) -> Result<Tag, ClientError> {
        match self.call(&Call::Propose(*terms, block))? {
            Reply::Proposed(tag) => Ok(tag),
            _ => Err(ClientError::NotAuthentic),
        }
    }

    /// What came of an agreement, and the component's signature over it ([`signed::verdict`]); `None` while it is
    /// pending.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::TimingFailure`] after its deadline.
    pub fn decide(&mut self, tag: Tag) -> Result<Option<(Verdict, [u8; 64])>, ClientError> {
        match self.call(&Call::Decide(tag))? {
            Reply::Decided(verdict, signature) => Ok(Some((verdict, signature))),
            Reply::Pending => Ok(None),
            _ => Err(ClientError::NotAuthentic),
        }
    }

    /// The same, waiting for it.
    ///
    /// # Errors
    /// As [`Client::decide`].
    pub fn wait(&mut self, tag: Tag) -> Result<(Verdict, [u8; 64]), ClientError> {
        loop {
            if let Some(decided) = self.decide(tag)? {
                return Ok(decided);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The blocks that counted in an agreement, by component.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn blocks(&mut self, verdict: &Verdict) -> Result<Vec<(Index, Block)>, ClientError> {
        let mut blocks = Vec::new();
        for index in verdict.proposed_any.iter() {
            match self.call(&Call::BlockOf(verdict.tag, index))? {
                Reply::BlockOf(Some(block)) => blocks.push((index, block)),
                _ => return Err(ClientError::NotAuthentic),
            }
        }
        Ok(blocks)
    }

    /// Authenticates two or more entities to each other (F9): all learn of the same fresh public keys, and each gets a
    /// key with every other that nobody else has. Waits for the start and the result.
    ///
    /// # Errors
    /// As [`Client::wait`]; [`ClientError::NotAuthentic`] also if an entity gave no key.
    pub fn authenticate(
        &mut self,
        start_us: u64,
        name: u64,
        keys: &[(Index, [u8; ENTITY_KEY_BYTES])],
    ) -> Result<Vec<(Index, Secret32)>, ClientError> {
        let fresh = KemSecret::generate(&mut os_rng());
        let terms = self.terms(Decision::Collect, start_us, name, keys)?;
        let tag = self.propose(&terms, fresh.public().to_bytes())?;
        let (verdict, _) = self.wait(tag)?;
        let transcript = verdict.block.filter(|_| verdict.silent.is_empty()).ok_or(ClientError::NotAuthentic)?;
        let others = self.blocks(&verdict)?.into_iter().filter(|(index, _)| *index != self.me);
        let key = |(index, block): (Index, Block)| {
            let public = KemPublic::from_bytes(&block).map_err(|_| ClientError::NotAuthentic)?;
            let context: [&[u8]; 3] = [self.group.id(), &tag, &transcript];
            let key = fresh.agree(&public, "ttcb distributed authentication", &context);
            key.map(|key| (index, key)).ok_or(ClientError::NotAuthentic)
        };
        others.map(key).collect()
    }
}

fn unless_busy(answer: &[u8; CALL_BYTES]) -> Result<(), ClientError> {
    if is_busy(answer) { Err(ClientError::Busy) } else { Ok(()) }
}
