//! What clients do in a random run.

use ringfort_peer::{Service, SiteId};

use crate::dice::Dice;
use crate::world::World;

const GROUPS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const SERVICES: [Service; 8] = [
    Service::Unreliable,
    Service::Reliable,
    Service::Fifo,
    Service::Causal,
    Service::Agreed,
    Service::Agreed,
    Service::Safe,
    Service::Safe,
];
/// Clients of one site.
const CLIENTS: usize = 3;

/// Every running site gets clients, and each joins a group or two.
pub fn populate(world: &mut World, dice: &mut Dice) {
    for site in world.sites() {
        while world.is_awake(site) && world.clients(site).len() < CLIENTS {
            arrive(world, dice, site);
        }
    }
}

/// One client somewhere does something.
pub fn act(world: &mut World, dice: &mut Dice) {
    let awake: Vec<SiteId> = world.sites().into_iter().filter(|site| world.is_awake(*site)).collect();
    let Some(site) = dice.pick(&awake) else { return };
    let Some(client) = dice.pick(&world.clients(site)) else {
        arrive(world, dice, site);
        return;
    };
    let group = dice.pick(&GROUPS).unwrap_or("alpha");
    match dice.below(100) {
        0..4 => world.join(site, client, group),
        4..7 => world.leave(site, client, group),
        7..8 => world.disconnect(site, client),
        8..10 if world.clients(site).len() < CLIENTS + 1 => arrive(world, dice, site),
        _ => send(world, dice, site, client, group),
    }
}

fn arrive(world: &mut World, dice: &mut Dice, site: SiteId) {
    if let Some(client) = world.connect(site, true) {
        for _ in 0..=dice.below(2) {
            let group = dice.pick(&GROUPS).unwrap_or("alpha");
            world.join(site, client, group);
        }
    }
}

fn send(world: &mut World, dice: &mut Dice, site: SiteId, client: ringfort_peer::site::ClientId, group: &str) {
    let service = dice.pick(&SERVICES).unwrap_or(Service::Agreed);
    let bytes = match dice.below(200) {
        0 => 40_000,
        1..8 => 4000,
        8..30 => 700,
        _ => 20 + dice.index(60),
    };
    let other = dice.pick(&GROUPS).unwrap_or("beta");
    let sites = world.sites();
    let friend = dice.pick(&sites).and_then(|site| {
        let clients = world.clients(site);
        dice.pick(&clients).and_then(|client| world.name(site, client))
    });
    let discard = dice.chance(100);
    match (dice.below(10), friend) {
        (0, Some(friend)) => world.send(site, client, service, &[group, &friend], discard, bytes),
        (1 | 2, _) => world.send(site, client, service, &[group, other], discard, bytes),
        _ => world.send(site, client, service, &[group], discard, bytes),
    }
}
