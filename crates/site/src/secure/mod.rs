//! A member of a secure group, over a connection to a site.
//!
//! [`SecureGroup::join`] connects, joins and gives a handle; a task of its own keeps the site's stream, the member's core
//! and its timers together and decides nothing. Whoever does not take its events is waited for by the others, and then
//! put out, so take them.

pub mod file;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringfort_crypto::sign::SigningKey;
use ringfort_documents::os_rng;
use ringfort_kernel::{Cx, Time};
use ringfort_peer::{GroupViewId, Name as PeerName, RingId, Service};
use ringfort_peer_keys::admission::identify;
use ringfort_peer_keys::flush::{OutWhy, SiteView};
use ringfort_peer_keys::peer::{Arrival, Config, Rejected};
use ringfort_peer_keys::{Certificate, Effect, Event, Peer, Policy, Rules, Step};
use ringfort_spread::client::Received;
use ringfort_spread::{Kind, Name};
use tokio::sync::{mpsc, oneshot};

use crate::client::{self, ClientError, Door, Incoming, Sender};

/// Events that wait for the application.
const EVENTS_MAX: usize = 1024;
/// The first pause before joining again but at once, and the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// After so long in secure views a member has been well, and does not pause the next time.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// Messages of the application that wait for a view in which they can be sent.
const MESSAGES_MAX: usize = 64;

/// Why a secure group cannot be joined, or a message not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    /// The site.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The policy does not have this key.
    #[error(
        "the peer file of group `{0}` does not admit this key: use the key file whose public key is in it, or have it added to everybody's copy"
    )]
    NotAdmitted(String),
    /// The certificate is not good, or not now.
    #[error("{0}")]
    Certificate(&'static str),
    /// The message cannot be sent.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The stay is over.
    #[error("this member is no longer in the group")]
    Ended,
}

/// What the application asks.
enum Command {
    Send { service: Service, to: Option<PeerName>, message: Vec<u8>, done: oneshot::Sender<Result<(), Rejected>> },
    Refresh(oneshot::Sender<Result<(), Rejected>>),
    FlushOk,
    Leave,
}

/// How to take part.
#[derive(Clone, Debug)]
pub struct SecureOptions {
    /// The name to use at the site, or one that the site makes up.
    pub name: Option<String>,
    /// What an authority of the peer file says of this member's key, if the file does not have it.
    pub certificate: Option<Certificate>,
    /// The flush is answered for the application: a message belongs to the view in which it is sent, not asked for.
    pub answer_flushes: bool,
    /// Whoever is put out for being late joins again by itself: at once, and then after growing pauses.
    pub rejoin: bool,
}

impl Default for SecureOptions {
    fn default() -> Self {
        SecureOptions { name: None, certificate: None, answer_flushes: true, rejoin: true }
    }
}

/// A stay in a secure group.
#[derive(Debug)]
pub struct SecureGroup {
    me: Name,
    messages: mpsc::Sender<Command>,
    controls: mpsc::Sender<Command>,
    events: mpsc::Receiver<Result<Event, ClientError>>,
}

impl SecureGroup {
    /// Connects to a site and joins the policy's group. [`Event::Secure`] says when this member is in.
    ///
    /// # Errors
    /// When the policy does not admit the key, or there is no site, or it does not let this program in.
    pub async fn join(
        door: &Door,
        policy: Arc<Policy>,
        key: SigningKey,
        options: SecureOptions,
    ) -> Result<Self, SecureError> {
        let certificate = options.certificate.clone();
        is_admitted(&policy, &key, certificate.as_ref())?;
        let group = client::group(&policy.group)?;
        let (mut sender, incoming) = client::connect(door, options.name.as_deref()).await?;
        let me = sender.name();
        let name = to_peer(&me).ok_or(SecureError::Ended)?;
        sender.join(group).await?;
        let (messages, messages_in) = mpsc::channel(MESSAGES_MAX);
        let (controls, controls_in) = mpsc::channel(MESSAGES_MAX);
        let (events_out, events) = mpsc::channel(EVENTS_MAX);
        let config = Config { policy, me: name, key, certificate, rules: Rules::all() };
        let started = Instant::now();
        let peer = Peer::new(config.clone(), Time::ZERO);
        let driver = Driver {
            peer,
            config,
            group,
            sender,
            events: events_out,
            options,
            started,
            leaving: false,
            put_out: None,
            pause: Duration::ZERO,
            joins_at: None,
            well_at: None,
        };
        tokio::spawn(driver.run(incoming, messages_in, controls_in));
        Ok(SecureGroup { me, messages, controls, events })
    }

    /// The name under which the site knows this member.
    pub fn name(&self) -> Name {
        self.me
    }

    /// What comes next; `None` once this member has left. Cancel safe.
    ///
    /// # Errors
    /// When the connection to the site is cut.
    pub async fn next(&mut self) -> Result<Option<Event>, SecureError> {
        Ok(self.events.recv().await.transpose()?)
    }

    /// A handle for sending, to be used from other tasks.
    pub fn speaker(&self) -> Speaker {
        Speaker { messages: self.messages.clone(), controls: self.controls.clone() }
    }
}

/// The half that speaks.
#[derive(Clone, Debug)]
pub struct Speaker {
    messages: mpsc::Sender<Command>,
    controls: mpsc::Sender<Command>,
}

impl Speaker {
    /// Sends a message to all members, or to one, in the present view, or in the next one if it is about to change.
    ///
    /// # Errors
    /// When it is too large, there is no such member, or the stay is over.
    pub async fn send(&self, service: Service, to: Option<Name>, message: Vec<u8>) -> Result<(), SecureError> {
        let to = match to {
            Some(to) => Some(to_peer(&to).ok_or(Rejected::NoSuchMember)?),
            None => None,
        };
        let (done, outcome) = oneshot::channel();
        let command = Command::Send { service, to, message, done };
        self.messages.send(command).await.map_err(|_| SecureError::Ended)?;
        Ok(outcome.await.map_err(|_| SecureError::Ended)??)
    }

    /// Asks for a new key.
    ///
    /// # Errors
    /// When there is no secure view, or the stay is over.
    pub async fn refresh(&self) -> Result<(), SecureError> {
        let (done, outcome) = oneshot::channel();
        self.controls.send(Command::Refresh(done)).await.map_err(|_| SecureError::Ended)?;
        Ok(outcome.await.map_err(|_| SecureError::Ended)??)
    }

    /// Answers [`Event::FlushRequest`], where that is not done for the application.
    pub async fn flush_ok(&self) {
        // A stay that is over has no flush.
        let _ = self.controls.send(Command::FlushOk).await;
    }

    /// Leaves the group and ends the connection in order.
    pub async fn leave(&self) {
        let _ = self.controls.send(Command::Leave).await;
    }
}

/// Why the driver ends.
enum Stop {
    /// Nobody takes events any more, or all is done.
    Done,
    Site(ClientError),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Stop::Site(error)
    }
}

struct Driver {
    peer: Peer,
    config: Config,
    group: Name,
    sender: Sender,
    events: mpsc::Sender<Result<Event, ClientError>>,
    options: SecureOptions,
    started: Instant,
    leaving: bool,
    /// This member was put out, and why.
    put_out: Option<OutWhy>,
    /// How long to wait before joining again, and from when on a stay has gone well.
    pause: Duration,
    joins_at: Option<Instant>,
    well_at: Option<Instant>,
}

impl Driver {
    async fn run(
        mut self,
        mut incoming: Incoming,
        mut messages: mpsc::Receiver<Command>,
        mut controls: mpsc::Receiver<Command>,
    ) {
        let handle = self.events.clone();
        loop {
            let wakeup = self.joins_at.or(self.peer.next_wakeup().map(|at| self.started + at.since_start()));
            let asleep = async {
                match wakeup {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                received = incoming.next() => match received {
                    Ok(received) => self.on_received(received).await,
                    Err(error) => Err(error.into()),
                },
                Some(command) = controls.recv() => self.on_command(command).await,
                // Between two views messages wait here, and who sends them.
                Some(command) = messages.recv(), if self.peer.can_send() => self.on_command(command).await,
                // Whoever drops the handle has left.
                () = handle.closed() => Err(Stop::Done),
                () = asleep => self.on_wakeup().await,
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::Done) => {
                    // The site ends the connection; there is nothing to be done about one that is cut already.
                    let _ = self.sender.disconnect().await;
                    return;
                }
                Err(Stop::Site(error)) => {
                    let _ = self.events.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    fn with_peer<T>(&mut self, does: impl FnOnce(&mut Peer, &mut Cx<'_>) -> T) -> T {
        let now = Time::from_start(self.started.elapsed());
        let mut rng = os_rng();
        does(&mut self.peer, &mut Cx { now, unix_ms: unix_ms(), rng: &mut rng })
    }

    async fn on_wakeup(&mut self) -> Result<(), Stop> {
        if self.joins_at.take().is_some() {
            return Ok(self.sender.join(self.group).await?);
        }
        let step = self.with_peer(Peer::on_wakeup);
        self.carry_out(step).await
    }

    async fn on_command(&mut self, command: Command) -> Result<(), Stop> {
        match command {
            Command::Send { service, to, message, done } => {
                let outcome = match to {
                    Some(to) => self.peer.send_to(to, &message),
                    None => self.peer.send(service, &message),
                };
                self.answer(outcome, done).await
            }
            Command::Refresh(done) => {
                let outcome = self.peer.refresh();
                self.answer(outcome, done).await
            }
            Command::FlushOk => {
                let step = self.with_peer(Peer::flush_ok);
                self.carry_out(step).await
            }
            Command::Leave => {
                self.leaving = true;
                Ok(self.sender.leave(self.group).await?)
            }
        }
    }

    async fn answer(
        &mut self,
        outcome: Result<Step, Rejected>,
        done: oneshot::Sender<Result<(), Rejected>>,
    ) -> Result<(), Stop> {
        let step = match outcome {
            Ok(step) => step,
            Err(rejected) => {
                // Whoever asked may have gone away.
                let _ = done.send(Err(rejected));
                return Ok(());
            }
        };
        self.carry_out(step).await?;
        let _ = done.send(Ok(()));
        Ok(())
    }

    async fn on_received(&mut self, received: Received) -> Result<(), Stop> {
        let step = match received {
            Received::Message { kind, sender, groups, data, .. } => {
                let Some(from) = to_peer(&sender) else { return Ok(()) };
                let arrival = Arrival { service: client::service(kind), private: !groups.contains(&self.group) };
                self.with_peer(|peer, cx| peer.on_message(cx, &from, arrival, &data))
            }
            Received::Membership { group, cause, id, members, sets, mine } if group == self.group => {
                let view = self.view(cause, id, &members, &sets, mine);
                self.with_peer(|peer, cx| peer.on_view(cx, view))
            }
            Received::Transitional { group, .. } if group == self.group => self.peer.on_transitional(),
            Received::SelfLeave(group) if group == self.group => return self.on_left().await,
            _ => return Ok(()),
        };
        self.carry_out(step).await
    }

    /// The site has taken this member out of the group: as it asked, or because the others put it out.
    async fn on_left(&mut self) -> Result<(), Stop> {
        if self.leaving || !self.options.rejoin || self.put_out.is_some_and(OutWhy::is_final) {
            return Err(Stop::Done);
        }
        self.peer = Peer::new(self.config.clone(), Time::from_start(self.started.elapsed()));
        let now = Instant::now();
        if self.well_at.take().is_some_and(|at| at <= now) {
            self.pause = Duration::ZERO;
        }
        self.joins_at = Some(now + self.pause);
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        Ok(())
    }

    fn view(
        &self,
        cause: Kind,
        id: ringfort_spread::reply::GroupId,
        members: &[Name],
        sets: &[Vec<Name>],
        mine: usize,
    ) -> SiteView {
        let names = |names: &[Name]| -> BTreeSet<PeerName> { names.iter().filter_map(to_peer).collect() };
        let all = names(members);
        let moved = if cause.has(Kind::CAUSED_BY_NETWORK) {
            sets.get(mine).map(|set| names(set)).unwrap_or_default()
        } else if cause.has(Kind::CAUSED_BY_JOIN) {
            let joined = sets.first().map(|set| names(set)).unwrap_or_default();
            if joined.contains(&self.config.me) { joined } else { all.difference(&joined).cloned().collect() }
        } else {
            all.clone()
        };
        let representative = u8::try_from(id.process).unwrap_or(u8::MAX);
        let ring = RingId { counter: u64::from(id.time), representative };
        SiteView { id: GroupViewId { ring, index: id.index }, members: all, moved }
    }

    async fn carry_out(&mut self, step: Step) -> Result<(), Stop> {
        let mut steps = vec![step];
        while let Some(step) = steps.pop() {
            for effect in step.effects {
                match effect {
                    Effect::Multicast { service, to, bytes } => {
                        let to = to.as_ref().and_then(|to| Name::new(to.as_bytes()).ok());
                        self.sender.multicast(service, &[to.unwrap_or(self.group)], true, &bytes).await?;
                    }
                    Effect::Leave => self.sender.leave(self.group).await?,
                }
            }
            for event in step.events {
                if event == Event::FlushRequest && self.options.answer_flushes {
                    steps.push(self.with_peer(Peer::flush_ok));
                } else {
                    match &event {
                        Event::PutOut(why) => self.put_out = Some(*why),
                        Event::Secure(_) if self.well_at.is_none() => self.well_at = Some(Instant::now() + WELL_AFTER),
                        _ => {}
                    }
                    self.events.send(Ok(event)).await.map_err(|_| Stop::Done)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether the others can let this member in, as far as it can tell by itself.
fn is_admitted(policy: &Policy, key: &SigningKey, certificate: Option<&Certificate>) -> Result<(), SecureError> {
    match identify(policy, &key.verifying_key().to_bytes(), certificate) {
        Ok(who) if who.times.is_some_and(|(_, until)| until < unix_ms() / 1000) => {
            Err(SecureError::Certificate("the certificate has expired: get a new one from the authority"))
        }
        Ok(_) => Ok(()),
        Err(OutWhy::Revoked) => {
            Err(SecureError::Certificate("the peer file revokes this certificate: ask the authority for a new one"))
        }
        Err(_) if certificate.is_some() => Err(SecureError::Certificate(
            "the certificate is not for this key and group, or no authority of the peer file has signed it",
        )),
        Err(_) => Err(SecureError::NotAdmitted(policy.group.clone())),
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn to_peer(name: &Name) -> Option<PeerName> {
    PeerName::new(Bytes::copy_from_slice(name.text()))
}
