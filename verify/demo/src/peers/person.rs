//! A person: a member of the secure group, through the site of its own machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_crypto::sign::SigningKey;
use ringfort_peer_keys::{Event, Policy};
use ringfort_site::client::Door;
use ringfort_site::{SecureGroup, SecureOptions};
use tokio::sync::watch;

use super::PEOPLE;
use super::room::{Presence, Room};

/// Between two tries, at first.
const AGAIN: Duration = Duration::from_millis(300);
/// Between two tries, at last.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// A stay of this length went well.
const WELL: Duration = Duration::from_secs(10);

/// Joins and stays for as long as it is to; joins again if the stay ends.
pub async fn live(room: Arc<Room>, person: usize, door: Door, policy: Arc<Policy>, key: SigningKey) {
    let Some(mut wish) = room.wish(person) else { return };
    let name = PEOPLE.get(person).map(|(name, _)| (*name).to_owned());
    let mut pause = AGAIN;
    // The room that holds the wish outlives this.
    while wish.wait_for(|wish| *wish == Presence::In).await.is_ok() {
        // A program that is frozen answers no flush, and does not come again by itself.
        let options =
            SecureOptions { name: name.clone(), answer_flushes: false, rejoin: false, ..SecureOptions::default() };
        let began = Instant::now();
        if let Ok(group) = SecureGroup::join(&door, policy.clone(), key.clone(), options).await {
            stay(&room, person, group, &mut wish).await;
        }
        room.is_out(person);
        let well = began.elapsed() > WELL || *wish.borrow() != Presence::In;
        pause = if well { AGAIN } else { (pause * 2).min(AGAIN_MAX) };
        tokio::time::sleep(pause).await;
    }
}

/// Takes what comes and answers, until the stay is over.
async fn stay(room: &Room, person: usize, mut group: SecureGroup, wish: &mut watch::Receiver<Presence>) {
    let speaker = group.speaker();
    room.speaks_with(person, group.speaker());
    let mut leaving = false;
    loop {
        let now = *wish.borrow_and_update();
        if now == Presence::Away && !leaving {
            leaving = true;
            speaker.leave().await;
        }
        tokio::select! {
            changed = wish.changed() => if changed.is_err() {
                return;
            },
            event = group.next(), if now != Presence::Frozen => match event {
                Ok(Some(Event::FlushRequest)) => speaker.flush_ok().await,
                Ok(Some(event)) => room.on_event(person, event),
                Ok(None) | Err(_) => return,
            },
        }
    }
}
