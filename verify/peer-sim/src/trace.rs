//! What clients see, as records of a trace.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringfort_peer::site::{Cause, ClientId, Delivery, Event};
use ringfort_peer::{GroupViewId, Name, Service, SiteId};
use ringfort_trace_check::record::{self, Record};

/// A record of one process.
pub fn record(p: &str, event: record::Event) -> Record {
    Record { p: p.to_owned(), event }
}

/// The name of a site in a trace.
pub fn site_name(site: SiteId) -> String {
    format!("@{}", site.get())
}

/// A name as text.
pub fn text(name: &Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

/// A hash of a message's bytes (FNV-1a).
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The name of the message that `payload` is: its first eight bytes number it.
pub fn message_name(payload: &Bytes) -> String {
    let number = payload.first_chunk::<8>().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
    format!("m{number}")
}

/// A service in the words of a trace.
pub fn service(service: Service) -> record::Service {
    match service {
        Service::Unreliable => record::Service::Unreliable,
        Service::Reliable => record::Service::Reliable,
        Service::Fifo => record::Service::Fifo,
        Service::Causal => record::Service::Causal,
        Service::Agreed => record::Service::Agreed,
        Service::Safe => record::Service::Safe,
    }
}

/// The records that one event of a site makes, for its clients by number.
pub fn records(site: SiteId, clients: &BTreeMap<ClientId, String>, event: &Event) -> Vec<Record> {
    let each = |to: &[ClientId], event: record::Event| -> Vec<Record> {
        to.iter().filter_map(|client| Some(record(clients.get(client)?, event.clone()))).collect()
    };
    match event {
        Event::Message(to, delivery) => each(to, deliver(delivery)),
        Event::Membership { to, group, id, members, cause } => {
            let (cause, sets) = sets(cause);
            let members = members.iter().map(text).collect();
            each(to, record::Event::Reg { g: text(group), id: view_id(*id), members, cause, sets })
        }
        Event::Transitional { to, group, old } => each(to, record::Event::Trans { g: text(group), old: view_id(*old) }),
        Event::SelfLeave(client, group) => each(&[*client], record::Event::SelfLeave { g: text(group) }),
        Event::Ring(ring, members) => {
            let id = [ring.counter, u64::from(ring.representative)];
            let members = members.iter().map(site_name).collect();
            vec![record(&site_name(site), record::Event::Ring { id, members })]
        }
        Event::JoinRefused(..)
        | Event::Disconnected(_)
        | Event::SitesLost(_)
        | Event::Gathering(_)
        | Event::Overslept(_) => Vec::new(),
    }
}

fn deliver(delivery: &Delivery) -> record::Event {
    record::Event::Deliver {
        m: message_name(&delivery.payload),
        from: text(&delivery.sender),
        svc: service(delivery.service),
        groups: delivery.groups.iter().map(text).collect(),
        hash: hash(&delivery.payload),
    }
}

fn view_id(id: GroupViewId) -> record::ViewId {
    [id.ring.counter, u64::from(id.ring.representative), u64::from(id.index)]
}

fn sets(cause: &Cause) -> (record::Cause, Vec<Vec<String>>) {
    match cause {
        Cause::Join(who) => (record::Cause::Join, vec![vec![text(who)]]),
        Cause::Leave(who) => (record::Cause::Leave, vec![vec![text(who)]]),
        Cause::Disconnect(who) => (record::Cause::Disconnect, vec![vec![text(who)]]),
        Cause::Network(sets) => {
            (record::Cause::Network, sets.iter().map(|set| set.iter().map(text).collect()).collect())
        }
    }
}
