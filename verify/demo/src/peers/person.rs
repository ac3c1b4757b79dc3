//! A person: a member of the secure group, through the site of its own machine.

use std::sync::Arc;
use std::time::Duration;

use ringfort_crypto::sign::SigningKey;
use ringfort_peer_keys::Policy;
use ringfort_site::client::Door;
use ringfort_site::{SecureGroup, SecureOptions};

use super::PEOPLE;
use super::room::Room;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(300);

/// Joins and stays; joins again if the stay ends.
pub async fn live(room: Arc<Room>, person: usize, door: Door, policy: Arc<Policy>, key: SigningKey) {
    let name = PEOPLE.get(person).map(|(name, _)| (*name).to_owned());
    loop {
        let options = SecureOptions { name: name.clone(), ..SecureOptions::default() };
        if let Ok(mut group) = SecureGroup::join(&door, policy.clone(), key.clone(), options).await {
            room.speaks_with(person, group.speaker());
            while let Ok(Some(event)) = group.next().await {
                room.on_event(person, event);
            }
        }
        room.is_out(person);
        tokio::time::sleep(AGAIN).await;
    }
}
