//! Between the site and its clients: private names, and events as the client protocol says them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_kernel::Time;
use ringfort_peer::limits::GROUPS_PER_CLIENT_MAX;
use ringfort_peer::ring::window::Pace;
use ringfort_peer::site::{Cause, ClientId, Delivery, Event, Multicast, Rejected, Site, Step};
use ringfort_peer::{GroupViewId, Name as PeerName, Service};
use ringfort_spread::reply::{self, GroupId, Sets};
use ringfort_spread::{ByteOrder, ConnectName, Hint, Input, Kind, Name, Outgoing, Refusal};
use tracing::{debug, warn};

use crate::audit::{Decision, Observer};
use crate::clients::Request;
use crate::line::{BEHIND_BYTES_MAX, Line};
use crate::telling::Telling;

/// What all clients together may be behind, bytes.
const ALL_BEHIND_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Once so many bytes wait for a client, senders are slowed down.
const BEHIND_BYTES: usize = BEHIND_BYTES_MAX / 4;
/// How long a client that is behind may take for so many bytes; then nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(2);
const PROGRESS_BYTES: usize = 1024 * 1024;
/// How much slower the ring goes when a client is behind, and when it is far behind: then little more than nothing is sent.
const BEHIND: Pace = Pace { hold: Duration::from_millis(5), trickle: false };
const FAR_BEHIND: Pace = Pace { hold: Duration::from_millis(40), trickle: true };

/// Set in a message's mark when its sender is little-endian: a bit that no type of message uses.
const LITTLE: u32 = 0x80;

#[derive(Debug)]
struct Client {
    connection: u64,
    name: Name,
    line: Line,
    /// Whose program it is, as far as the system tells.
    from: Arc<str>,
    /// Since when it is behind, and what it had taken then.
    behind: Option<(Time, usize)>,
}

impl Client {
    fn cut_off(&self, why: &str) -> Decision {
        let (client, from) = (self.name.to_string(), self.from.to_string());
        Decision::ClientCutOff { client, from, why: why.to_owned() }
    }
}

/// The clients of a site.
#[derive(Debug)]
pub(crate) struct Hub {
    site_name: String,
    clients: BTreeMap<ClientId, Client>,
    by_connection: BTreeMap<u64, ClientId>,
    next_name: u32,
    cut: u64,
    telling: Telling,
    observer: Observer,
}

impl Hub {
    pub fn new(site_name: String, observer: Observer) -> Self {
        Hub {
            site_name,
            clients: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            next_name: 1,
            cut: 0,
            telling: Telling::default(),
            observer,
        }
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Bytes that wait for clients, and how many were cut off for not reading.
    pub fn queues(&self) -> (usize, u64) {
        (self.clients.values().map(|client| client.line.waiting_bytes()).sum(), self.cut)
    }

    /// One request of one connection.
    pub fn on_request(&mut self, now: Time, connection: u64, request: Request, site: &mut Site) -> Step {
        match request {
            Request::Connect { wanted, wants_membership, line, from, answer } => {
                let outcome = self.connect((connection, from), wanted.as_deref(), wants_membership, line, site);
                let _ = answer.send(outcome);
                Step::default()
            }
            Request::Gone => match self.by_connection.remove(&connection) {
                Some(id) => {
                    if let Some(Client { name, from, .. }) = self.clients.remove(&id) {
                        let (client, from) = (name.to_string(), from.to_string());
                        self.observer.tell(&Decision::ClientOut { client, from });
                    }
                    site.disconnect(now, id).unwrap_or_default()
                }
                None => Step::default(),
            },
            Request::Input(input) => {
                let Some(id) = self.by_connection.get(&connection).copied() else { return Step::default() };
                self.on_input(now, id, input, site)
            }
        }
    }

    fn connect(
        &mut self,
        (connection, from): (u64, Arc<str>),
        wanted: Option<&[u8]>,
        wants_membership: bool,
        line: Line,
        site: &mut Site,
    ) -> Result<Name, Refusal> {
        let chosen = match wanted {
            Some(text) => ConnectName::new(text).map_err(|_| Refusal::IllegalName)?,
            None => self.invented(connection),
        };
        let name = chosen.private_at(self.site_name.as_bytes()).map_err(|_| Refusal::NoName)?;
        let peer_name = to_peer(&name).ok_or(Refusal::IllegalName)?;
        let id = site.connect(peer_name, wants_membership).map_err(|rejected| match rejected {
            Rejected::NameInUse => Refusal::NameInUse,
            _ => Refusal::Quota,
        })?;
        debug!(connection, %name, "a client is in");
        self.observer.tell(&Decision::ClientIn { client: name.to_string(), from: from.to_string() });
        self.clients.insert(id, Client { connection, name, line, from, behind: None });
        self.by_connection.insert(connection, id);
        Ok(name)
    }

    /// A name for a client that asks for none.
    fn invented(&mut self, connection: u64) -> ConnectName {
        self.next_name = self.next_name % 999_999 + 1;
        let text = format!("r{}-{}", self.next_name, connection % 100);
        ConnectName::new(text.as_bytes()).expect("at most ten letters, digits and a sign")
    }

    fn on_input(&mut self, now: Time, id: ClientId, input: Input, site: &mut Site) -> Step {
        let outcome = match input {
            Input::Multicast(message) => site.multicast(now, id, to_multicast(message)),
            Input::Join(group) => to_peer(&group).map_or(Ok(Step::default()), |group| site.join(now, id, group)),
            Input::Leave(group) => to_peer(&group).map_or(Ok(Step::default()), |group| site.leave(now, id, group)),
            Input::Hello(_) | Input::Opened | Input::Disconnect => Ok(Step::default()),
        };
        outcome.unwrap_or_else(|rejected| {
            warn!(?id, %rejected, "a client's request was not done");
            Step::default()
        })
    }

    /// Tells clients what happened.
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Message(to, delivery) => {
                if let Some(frame) = message(&delivery) {
                    to.into_iter().for_each(|id| self.send(id, frame.clone()));
                }
            }
            Event::Membership { to, group, id, members, cause } => {
                self.on_membership(&to, &group, id, &members, &cause)
            }
            Event::Transitional { to, group, old } => {
                let Some(group) = to_wire(&group) else { return };
                let frame = reply::transitional(&group, group_id(old));
                to.into_iter().for_each(|id| self.send(id, frame.clone()));
            }
            Event::SelfLeave(id, group) => {
                if let Some(group) = to_wire(&group) {
                    self.send(id, reply::self_leave(&group));
                }
            }
            Event::JoinRefused(id, group) => {
                let me = self.clients.get(&id).map(|client| client.name);
                if let (Some(me), Some(group)) = (me, to_wire(&group)) {
                    if let Some(unsaid) = self.telling.may() {
                        warn!(name = %me, %group, unsaid, "a client's join is refused: one client may be in {GROUPS_PER_CLIENT_MAX} groups, and all together in so many as the site's table holds");
                    }
                    self.send(id, reply::join_refused(&me, &group));
                }
            }
            Event::Disconnected(id) => {
                if let Some(client) = self.clients.remove(&id) {
                    self.by_connection.remove(&client.connection);
                    client.line.cut();
                }
            }
            Event::SitesLost(_) | Event::Ring(..) | Event::Gathering(_) | Event::Overslept(_) => {}
        }
    }

    /// A view looks the same to all who came from the same one: it is put into bytes once for each set.
    fn on_membership(
        &mut self,
        to: &[ClientId],
        group: &PeerName,
        id: GroupViewId,
        members: &[PeerName],
        cause: &Cause,
    ) {
        let Some(group) = to_wire(group) else { return };
        let members: Vec<Name> = members.iter().filter_map(to_wire).collect();
        let (wire_cause, sets) = match cause {
            Cause::Join(who) => (to_wire(who).map(reply::Cause::Join), Vec::new()),
            Cause::Leave(who) => (to_wire(who).map(reply::Cause::Leave), Vec::new()),
            Cause::Disconnect(who) => (to_wire(who).map(reply::Cause::Disconnect), Vec::new()),
            Cause::Network(sets) => {
                let sets = sets.iter().map(|set| set.iter().filter_map(to_wire).collect::<Vec<_>>()).collect();
                (Some(reply::Cause::Network), sets)
            }
        };
        let Some(wire_cause) = wire_cause else { return };
        let mut sets = Sets { all: sets, mine: 0 };
        let mut frames: BTreeMap<usize, Bytes> = BTreeMap::new();
        for id_of in to {
            let Some(me) = self.clients.get(id_of).map(|client| client.name) else { continue };
            sets.mine = sets.all.iter().position(|set| set.contains(&me)).unwrap_or(0);
            let frame = frames
                .entry(sets.mine)
                .or_insert_with(|| reply::membership(&group, wire_cause, group_id(id), &members, &sets))
                .clone();
            self.send(*id_of, frame);
        }
    }

    fn send(&mut self, id: ClientId, frame: Bytes) {
        let Some(client) = self.clients.get(&id) else { return };
        if !client.line.send(frame) {
            self.cut += 1;
            let why = format!("it does not read what it is sent, and {BEHIND_BYTES_MAX} bytes wait for it");
            warn!(name = %client.name, "a client is cut off: {why}");
            self.observer.tell(&client.cut_off(&why));
            client.line.cut_with(farewell(&client.name, &why));
        }
    }

    /// How much slower the ring has to go, so that those who read can follow. Whoever reads little is waited for a while, and
    /// nobody waits for who does not read at all.
    pub fn pace(&mut self, now: Time) -> Pace {
        let mut pace = Pace::default();
        for client in self.clients.values_mut() {
            let waiting = client.line.waiting_bytes();
            if waiting < BEHIND_BYTES {
                client.behind = None;
                continue;
            }
            let written = client.line.written_bytes();
            let (since, had) = *client.behind.get_or_insert((now, written));
            if written.saturating_sub(had) >= PROGRESS_BYTES {
                client.behind = Some((now, written));
            } else if now.since(since) > PATIENCE {
                continue;
            }
            if waiting >= 2 * BEHIND_BYTES {
                pace = FAR_BEHIND;
            } else if pace != FAR_BEHIND {
                pace = BEHIND;
            }
        }
        pace
    }

    /// Once all clients together are too far behind, the one that is farthest behind is cut off.
    pub fn relieve(&mut self) {
        let (waiting, _) = self.queues();
        if waiting <= ALL_BEHIND_BYTES_MAX {
            return;
        }
        let reading = self.clients.values().filter(|client| !client.line.is_cut());
        if let Some(client) = reading.max_by_key(|client| client.line.waiting_bytes()) {
            self.cut += 1;
            let why = format!("{waiting} bytes wait for clients that do not read, and most of them for this one");
            warn!(name = %client.name, "a client is cut off: {why}");
            self.observer.tell(&client.cut_off(&why));
            client.line.cut_with(farewell(&client.name, &why));
        }
    }
}

/// The last thing that a client is told: its end comes back to it, with the reason.
fn farewell(name: &Name, why: &str) -> Bytes {
    reply::cut_off(name, format!("this site has cut this client off: {why}").as_bytes())
}

fn to_peer(name: &Name) -> Option<PeerName> {
    PeerName::new(Bytes::copy_from_slice(name.text()))
}

fn to_wire(name: &PeerName) -> Option<Name> {
    Name::new(name.as_bytes()).ok()
}

fn group_id(view: GroupViewId) -> GroupId {
    // A ring's counter grows by one or a few with each change of sites: 32 bits of it do not repeat within a group's life.
    let time = view.ring.counter as u32;
    GroupId { process: u32::from(view.ring.representative), time, index: view.index }
}

/// What a client sends, as the site takes it. The type's other bits and the byte order ride along unread.
fn to_multicast(message: Outgoing) -> Multicast {
    let hint = message.hint.bytes();
    let little = hint.first().is_some_and(|byte| byte & 0x80 != 0);
    let order = if little { ByteOrder::Little } else { ByteOrder::Big };
    Multicast {
        service: service(message.kind),
        groups: message.groups.iter().filter_map(to_peer).collect(),
        self_discard: message.kind.has(Kind::SELF_DISCARD),
        mark: message.kind.0 | if little { LITTLE } else { 0 },
        message_type: message.hint.message_type(order),
        payload: message.data,
    }
}

fn service(kind: Kind) -> Service {
    match Kind(kind.0 & Kind::SERVICES.0) {
        Kind::UNRELIABLE => Service::Unreliable,
        Kind::RELIABLE => Service::Reliable,
        Kind::FIFO => Service::Fifo,
        Kind::CAUSAL => Service::Causal,
        Kind::AGREED => Service::Agreed,
        _ => Service::Safe,
    }
}

/// The bytes of a message, the same for all its receivers.
fn message(delivery: &Arc<Delivery>) -> Option<Bytes> {
    let order = if delivery.mark & LITTLE != 0 { ByteOrder::Little } else { ByteOrder::Big };
    let groups: Vec<Name> = delivery.groups.iter().filter_map(to_wire).collect();
    let kind = Kind(delivery.mark & !LITTLE);
    let hint = Hint::new(order, delivery.message_type);
    Some(reply::message(kind, &to_wire(&delivery.sender)?, &groups, hint, &delivery.payload))
}
