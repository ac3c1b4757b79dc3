//! What other systems of this kind stumbled over in the field, each as a scenario by name.

use std::time::Duration;

use ringfort_peer::limits::Config;
use ringfort_peer::wire::Frame;
use ringfort_peer::{Service, SiteId, SiteSet};
use ringfort_peer_sim::world::{Network, World};
use ringfort_trace_check::check;

const SETTLED: Duration = Duration::from_secs(3);

fn site(number: u8) -> SiteId {
    SiteId::new(number).expect("a number of a site")
}

fn set(numbers: &[u8]) -> SiteSet {
    numbers.iter().map(|number| site(*number)).collect()
}

/// Sites in one ring, with a client at each, all in one group.
fn together(seed: u64, sites: u8) -> World {
    let mut world = World::new(seed, sites, Config::new(site(0), SiteSet::EMPTY));
    assert!(world.go_until(SETTLED, World::is_whole), "{sites} sites form a ring");
    for site in world.sites() {
        let client = world.connect(site, true).expect("a site that runs takes a client");
        world.join(site, client, "talk");
    }
    world.go(Duration::from_millis(200));
    world
}

fn say(world: &mut World, from: u8, service: Service) {
    if let Some(client) = world.clients(site(from)).first().copied() {
        world.send(site(from), client, service, &["talk"], false, 100);
    }
}

/// Everybody says something for so long, every few milliseconds.
fn talk_for(world: &mut World, length: Duration) {
    let until = world.now + length;
    while world.now < until {
        for site in world.sites().into_iter().filter(|site| world.is_awake(*site)).collect::<Vec<_>>() {
            say(world, site.get(), Service::Agreed);
        }
        world.go(Duration::from_millis(5));
    }
}

/// Mended, all come together, and no property is broken.
#[track_caller]
fn ends_well(mut world: World) {
    world.heal();
    for site in world.sites() {
        world.start(site);
        world.wake(site, false);
    }
    assert!(world.go_until(SETTLED, World::is_whole), "together again");
    world.go(Duration::from_secs(1));
    world.end();
    let report = check(&world.records);
    let told: Vec<_> = report.violations.iter().map(|v| format!("{}: {}", v.property, v.text)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// With links cut the rings settle, and stay for seconds.
#[track_caller]
fn settles_without(cut: &[(u8, u8)]) -> World {
    let mut world = together(1, 3);
    world.cut.extend(cut.iter().map(|(from, to)| (site(*from), site(*to))));
    talk_for(&mut world, SETTLED);
    let rings = world.counts.rings;
    talk_for(&mut world, Duration::from_secs(10));
    assert_eq!(world.counts.rings, rings, "no ring is formed anew without end");
    let largest = world.sites().into_iter().filter_map(|site| world.ring_of(site)).map(SiteSet::len).max();
    assert_eq!(largest, Some(2), "two go on together");
    world
}

#[test]
fn a_link_that_works_one_way_leaves_two_sites_in_a_ring_that_stands() {
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        ends_well(settles_without(&[(from, to)]));
    }
}

#[test]
fn three_sites_with_one_link_down_are_usable() {
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        ends_well(settles_without(&[(a, b), (b, a)]));
    }
}

fn drops_tokens(_: SiteId, _: SiteId, frame: &[u8]) -> bool {
    matches!(Frame::decode(frame), Ok(Frame::Token(_)))
}

#[test]
fn a_token_that_a_switch_drops_is_sent_again_and_no_ring_ends() {
    let mut world = together(2, 4);
    let rings = world.counts.rings;
    for _ in 0..20 {
        world.filter = Some(drops_tokens);
        talk_for(&mut world, Duration::from_millis(20));
        world.filter = None;
        talk_for(&mut world, Duration::from_millis(100));
    }
    assert_eq!(world.counts.rings, rings);
    ends_well(world);
}

#[test]
fn a_network_that_loses_doubles_and_reorders_ends_no_ring() {
    let mut world = together(3, 5);
    let rings = world.counts.rings;
    world.network = Network { loss: 100, doubled: 300, late: 300, ..Network::default() };
    talk_for(&mut world, Duration::from_secs(10));
    assert_eq!(world.counts.rings, rings, "a tenth of all datagrams lost is no reason");
    ends_well(world);
}

#[test]
fn a_machine_that_slept_says_so_and_acts_on_nothing_old() {
    for slept_ms in [800, 1500, 20_000] {
        for timers_first in [false, true] {
            let mut world = together(4, 3);
            say(&mut world, 1, Service::Safe);
            say(&mut world, 1, Service::Agreed);
            world.sleep(site(1));
            talk_for(&mut world, Duration::from_millis(slept_ms));
            assert_eq!(world.ring_of(site(0)), Some(set(&[0, 2])), "the others go on");
            world.wake(site(1), timers_first);
            assert!(world.counts.overslept > 0);
            talk_for(&mut world, SETTLED);
            ends_well(world);
        }
    }
}

#[test]
fn a_pause_shorter_than_the_tokens_patience_ends_no_ring() {
    let mut world = together(5, 3);
    let rings = world.counts.rings;
    for _ in 0..10 {
        world.sleep(site(1));
        talk_for(&mut world, Duration::from_millis(150));
        world.wake(site(1), true);
        talk_for(&mut world, Duration::from_millis(300));
    }
    assert_eq!((world.counts.rings, world.counts.overslept), (rings, 0));
    ends_well(world);
}

fn drops_states(_: SiteId, _: SiteId, frame: &[u8]) -> bool {
    matches!(Frame::decode(frame), Ok(Frame::Recovering(_)))
}

#[test]
fn a_site_that_comes_and_dies_before_tables_are_exchanged_leaves_no_ghost() {
    for live_ms in (0..400).step_by(20) {
        let mut world = together(6, 3);
        world.crash(site(2));
        talk_for(&mut world, SETTLED);
        world.start(site(2));
        if let Some(client) = world.connect(site(2), true) {
            world.join(site(2), client, "talk");
        }
        if live_ms % 40 == 0 {
            world.filter = Some(drops_states);
        }
        talk_for(&mut world, Duration::from_millis(live_ms));
        world.filter = None;
        world.crash(site(2));
        talk_for(&mut world, SETTLED);
        for number in [0, 1] {
            let core = world.site(site(number)).expect("it runs");
            assert_eq!(core.group_sizes(), (1, 2), "after {live_ms} ms: the two who are left, and nobody else");
        }
        ends_well(world);
    }
}

#[test]
fn a_path_that_carries_no_full_datagram_counts_as_none() {
    let mut world = together(7, 3);
    for other in [0, 1] {
        world.mtu.insert((site(2), site(other)), 1000);
        world.mtu.insert((site(other), site(2)), 1000);
    }
    talk_for(&mut world, SETTLED);
    assert_eq!(world.ring_of(site(0)), Some(set(&[0, 1])), "small frames alone make no path");
    ends_well(world);
}

#[test]
fn thirty_two_sites_form_a_ring_and_keep_it() {
    let mut world = together(8, 32);
    let rings = world.counts.rings;
    talk_for(&mut world, Duration::from_secs(2));
    assert_eq!(world.counts.rings, rings);
    ends_well(world);
}

#[test]
fn a_flood_of_one_client_starves_nobody() {
    let mut world = together(9, 3);
    let rings = world.counts.rings;
    for _ in 0..300 {
        for _ in 0..20 {
            say(&mut world, 0, Service::Agreed);
        }
        let client = world.clients(site(0))[0];
        world.send(site(0), client, Service::Agreed, &["talk"], false, 40_000);
        say(&mut world, 1, Service::Agreed);
        say(&mut world, 2, Service::Safe);
        world.go(Duration::from_millis(2));
    }
    world.go(SETTLED);
    assert_eq!(world.counts.rings, rings);
    let (kept, waiting) = world.site(site(0)).expect("it runs").queue_sizes();
    assert!(kept < 64 && waiting == 0, "all is sent and forgotten: {kept} packets, {waiting} bytes");
    ends_well(world);
}
