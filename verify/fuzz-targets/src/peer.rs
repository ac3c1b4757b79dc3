//! Sites: what others send them, and what their clients do.

use std::time::Duration;

use ringfort_peer::limits::{Config, GAP_PACKETS_MAX};
use ringfort_peer::site::{ClientId, Durable, Effect, Multicast, Site, Step};
use ringfort_peer::wire::Frame;
use ringfort_peer::{Name, Service, SiteId, SiteSet, Time};
use ringfort_spread::client::{self, Receiver};
use ringfort_spread::{ByteOrder, ConnectName, Input, Kind, Name as WireName, READ_BYTES_MAX, Session};

use crate::meter::bounded;

const SITES: u8 = 3;
/// A record of `peer_site`: what, from whom, after how many milliseconds, and how many bytes follow.
const RECORD_BYTES: usize = 5;
const FROM_OTHERS: u8 = 0;
const WAKE: u8 = 1;
const MULTICAST: u8 = 2;
const JOIN: u8 = 3;
/// What a site may hold beside what it was given, in bytes.
const SITE_ROOM: usize = 2 * 1024 * 1024;

/// A frame between sites: one encoding for one value, and memory bounded by the bytes.
pub fn peer_frame(bytes: &[u8]) {
    let Ok(frame) = bounded("a site's frame", 64 * bytes.len() + 16 * 1024, || Frame::decode(bytes)) else { return };
    assert_eq!(frame.encode(), bytes, "one value has one encoding");
    assert!(Frame::decode(&[bytes, &[0]].concat()).is_err(), "a byte too many is refused");
    assert!(Frame::decode(&bytes[..bytes.len() - 1]).is_err(), "a byte too few is refused");
}

fn config(me: u8) -> Config {
    let sites: SiteSet = (0..SITES).filter_map(SiteId::new).collect();
    // Small frames: hellos are filled up to the size of a full one.
    Config { frame_bytes: 400, ..Config::new(SiteId::new(me).unwrap(), sites) }
}

/// One site among two hacked ones, which send what they like: it sends no frame that is too large, keeps no more packets
/// than may be outstanding, and its memory is bounded by what it was given.
pub fn peer_site(bytes: &[u8]) {
    bounded("a site", 256 * bytes.len() + SITE_ROOM, || {
        let mut now = Time::from_start(Duration::from_secs(1));
        let (mut site, step) = Site::new(config(0), Durable::default(), now);
        check(&site, &step);
        let client = site.connect(Name::new("#c#s".to_owned()).unwrap(), true).unwrap();
        let mut rest = bytes;
        while let Some((record, after)) = rest.split_at_checked(RECORD_BYTES) {
            now = now + Duration::from_millis(u64::from(record[2]));
            let length = usize::from(u16::from_le_bytes([record[3], record[4]])).min(after.len());
            let (body, after) = after.split_at(length);
            rest = after;
            let step = apply(&mut site, now, client, record, body);
            check(&site, &step);
        }
    });
}

fn apply(site: &mut Site, now: Time, client: ClientId, record: &[u8], body: &[u8]) -> Step {
    let group = Name::new("g".to_owned()).unwrap();
    match record[0] % 4 {
        FROM_OTHERS => site.on_frame(now, SiteId::new(1 + record[1] % (SITES - 1)).unwrap(), body),
        WAKE => site.on_wakeup(now),
        MULTICAST => {
            let service = if record[1] & 1 == 0 { Service::Agreed } else { Service::Safe };
            let payload = body.to_vec().into();
            let message =
                Multicast { service, groups: vec![group], self_discard: false, mark: 0, message_type: 0, payload };
            site.multicast(now, client, message).unwrap_or_default()
        }
        _ => site.join(now, client, group).unwrap_or_default(),
    }
}

fn check(site: &Site, step: &Step) {
    for effect in &step.effects {
        if let Effect::Send { to, frame, .. } = effect {
            assert!(frame.len() <= config(0).frame_bytes, "a frame of {} bytes", frame.len());
            assert!(!to.is_empty() && !to.has(SiteId::new(0).unwrap()), "to others only");
            assert!(Frame::decode(frame).is_ok(), "what a site sends it would take itself");
        }
    }
    assert!(site.queue_sizes().0 as u64 <= GAP_PACKETS_MAX + 64, "{:?}", site.queue_sizes());
}

/// A client's bytes in any split, and the same bytes as a site's answer to a client.
pub fn spread_session(bytes: &[u8]) {
    let Some((split, bytes)) = bytes.split_first() else { return };
    let room = 64 * bytes.len() + 512 * 1024;
    let whole = bounded("a client's session", room, || session(bytes, bytes.len().max(1)));
    let cut = bounded("a client's session", room, || session(bytes, 1 + usize::from(*split)));
    assert_eq!(whole, cut, "it does not matter how the bytes come");
    bounded("a client's receiver", room, || {
        let mut receiver = Receiver::default();
        for part in bytes.chunks(1 + usize::from(*split)) {
            receiver.feed(part);
            while let Ok(Some(_)) = receiver.poll() {}
        }
    });
}

/// What a session makes of the bytes: each input, and how it ends.
fn session(bytes: &[u8], split: usize) -> Vec<String> {
    let me = ConnectName::new(b"me").unwrap().private_at(b"site").unwrap();
    let (mut session, mut told) = (Session::default(), Vec::new());
    for part in bytes.chunks(split.min(READ_BYTES_MAX)) {
        session.feed(part);
        loop {
            match session.poll() {
                Ok(Some(Input::Hello(hello))) => {
                    told.push(format!("{hello:?}"));
                    session.welcome(me);
                }
                Ok(Some(input)) => told.push(format!("{input:?}")),
                Ok(None) => break,
                Err(ended) => {
                    told.push(format!("{ended:?}"));
                    return told;
                }
            }
        }
    }
    told
}

/// What three sites send each other while they form a ring and a client of each joins and talks: to site 0, as records,
/// and every frame by itself.
pub(crate) fn peer_seeds() -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut now = Time::from_start(Duration::from_secs(1));
    let (mut records, mut frames, mut under_way) = (Vec::new(), Vec::new(), Vec::new());
    let mut sites: Vec<Site> = Vec::new();
    for me in 0..SITES {
        let (site, step) = Site::new(config(me), Durable::default(), now);
        sites.push(site);
        under_way.extend(posted(me, step));
    }
    let name = Name::new("#c#s".to_owned()).unwrap();
    let clients: Vec<ClientId> = sites.iter_mut().map(|site| site.connect(name.clone(), true).unwrap()).collect();
    let mut record = |what: u8, from: u8, wait: &mut u8, body: &[u8]| {
        records.extend([what, from, std::mem::take(wait)]);
        records.extend((body.len() as u16).to_le_bytes());
        records.extend(body);
    };
    let mut wait = 0;
    for turn in 0..80u64 {
        for (from, to, frame) in std::mem::take(&mut under_way) {
            if to == 0 {
                record(FROM_OTHERS, from - 1, &mut wait, &frame);
            }
            let step = sites[usize::from(to)].on_frame(now, SiteId::new(from).unwrap(), &frame);
            frames.push(frame);
            under_way.extend(posted(to, step));
        }
        if turn == 20 || turn == 40 {
            for me in 0..SITES {
                let (what, body) = if turn == 20 { (JOIN, &[][..]) } else { (MULTICAST, &b"hello"[..]) };
                if me == 0 {
                    record(what, 0, &mut wait, body);
                }
                let step = apply(&mut sites[usize::from(me)], now, clients[usize::from(me)], &[what, 0], body);
                under_way.extend(posted(me, step));
            }
        }
        (now, wait) = (now + Duration::from_millis(10), wait + 10);
        for me in 0..SITES {
            if sites[usize::from(me)].next_wakeup().is_some_and(|at| at <= now) {
                if me == 0 {
                    record(WAKE, 0, &mut wait, &[]);
                }
                let step = sites[usize::from(me)].on_wakeup(now);
                under_way.extend(posted(me, step));
            }
        }
    }
    assert!(sites.iter().all(|site| site.ring().is_some_and(|(_, members)| members.len() == usize::from(SITES))));
    frames.sort();
    frames.dedup();
    (records, frames)
}

fn posted(from: u8, step: Step) -> Vec<(u8, u8, Vec<u8>)> {
    let sent = step.effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { to, frame, .. } => Some((to, frame)),
        Effect::Persist(_) => None,
    });
    sent.flat_map(|(to, frame)| to.iter().map(move |to| (from, to.get(), frame.to_vec())).collect::<Vec<_>>()).collect()
}

/// What clients of both byte orders say.
pub(crate) fn spread_seeds() -> Vec<Vec<u8>> {
    let group = WireName::new(b"talk").unwrap();
    let me = ConnectName::new(b"me").unwrap().private_at(b"site").unwrap();
    let opening = [&client::hello(None, true)[..], &client::null_method()].concat();
    let orders = [ByteOrder::Little, ByteOrder::Big];
    let kinds = [Kind::JOIN, Kind::LEAVE, Kind::KILL, Kind::AGREED, Kind::SAFE.and(Kind::SELF_DISCARD), Kind(0x3f)];
    let said = orders
        .into_iter()
        .flat_map(|order| kinds.map(|kind| client::message(order, kind, &me, &[group, me], 7, b"hello")));
    said.map(|message| [&[9][..], &opening, &message, &message].concat()).collect()
}
