//! What other systems of this kind stumbled over in the field, each as a scenario by name.

use std::time::Duration;

use ringfort_peer::limits::{Config, MESSAGE_BYTES_MAX, RANGES_MAX};
use ringfort_peer::ring::window::Pace;
use ringfort_peer::wire::Frame;
use ringfort_peer::{Service, SiteId, SiteSet};
use ringfort_peer_sim::world::{Network, World};
use ringfort_trace_check::{Event, Record, check};

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

fn drops_packets_from_the_first_to_the_second(from: SiteId, to: SiteId, frame: &[u8]) -> bool {
    (from.get(), to.get()) == (0, 1) && matches!(Frame::decode(frame), Ok(Frame::Packet(_)))
}

#[test]
fn packets_that_never_arrive_from_their_own_site_come_by_another() {
    let mut world = together(10, 3);
    let rings = world.counts.rings;
    world.filter = Some(drops_packets_from_the_first_to_the_second);
    talk_for(&mut world, Duration::from_secs(5));
    assert_eq!(world.counts.rings, rings);
    world.go(Duration::from_millis(500));
    let core = world.site(site(1)).expect("it runs");
    assert_eq!(core.queue_sizes(), (0, 0), "it lacks nothing, although nothing comes directly");
    ends_well(world);
}

fn drops_every_second_packet(_: SiteId, to: SiteId, frame: &[u8]) -> bool {
    to.get() == 1 && matches!(Frame::decode(frame), Ok(Frame::Packet(packet)) if packet.seq % 2 == 0)
}

#[test]
fn more_holes_than_a_token_can_name_are_filled() {
    let mut world = together(11, 3);
    let rings = world.counts.rings;
    world.filter = Some(drops_every_second_packet);
    let client = world.clients(site(0))[0];
    for _ in 0..800 {
        world.send(site(0), client, Service::Agreed, &["talk"], false, 1300);
    }
    world.go(Duration::from_millis(8));
    let kept = world.site(site(1)).expect("it runs").queue_sizes().0;
    assert!(kept > RANGES_MAX, "before each packet that is kept there is a hole: {kept}");
    world.filter = None;
    world.go(Duration::from_secs(1));
    assert_eq!(world.counts.rings, rings);
    assert_eq!(world.site(site(1)).expect("it runs").queue_sizes(), (0, 0));
    ends_well(world);
}

#[test]
fn a_crash_and_a_return_are_noticed_within_a_second_whatever_the_moment() {
    for sites in [2, 3] {
        let (last, others) = (site(sites - 1), (0..sites - 1).collect::<Vec<_>>());
        for down_ms in (0..1200).step_by(75) {
            let mut world = together(12, sites);
            talk_for(&mut world, Duration::from_millis(down_ms / 3));
            world.crash(last);
            world.go(Duration::from_millis(down_ms));
            let left = |world: &World| world.ring_of(site(0)) == Some(set(&others));
            assert!(down_ms < 1000 || left(&world), "the others go on");
            world.start(last);
            assert!(world.go_until(Duration::from_secs(1), World::is_whole), "down for {down_ms} ms");
            ends_well(world);
        }
    }
}

#[test]
fn a_large_message_that_is_interrupted_is_delivered_whole_or_not_at_all() {
    for interrupted_us in (100..6000).step_by(350) {
        for stopped in [false, true] {
            let mut world = together(13, 3);
            let client = world.clients(site(1))[0];
            for (service, bytes) in [(Service::Fifo, 90_000), (Service::Agreed, 100), (Service::Safe, 400_000)] {
                world.send(site(1), client, service, &["talk"], false, bytes);
            }
            world.go(Duration::from_micros(interrupted_us));
            match stopped {
                true => world.sleep(site(1)),
                false => world.split(set(&[1])),
            }
            // Stop, send, wait, continue.
            talk_for(&mut world, Duration::from_millis(1200));
            world.wake(site(1), false);
            world.heal();
            talk_for(&mut world, Duration::from_millis(1200));
            ends_well(world);
        }
    }
}

#[test]
fn a_merge_sends_nothing_again_of_what_was_said_apart() {
    let mut world = together(14, 4);
    world.split(set(&[0, 1]));
    talk_for(&mut world, Duration::from_secs(10));
    let frames = world.counts.frames;
    world.heal();
    assert!(world.go_until(Duration::from_secs(2), World::is_whole));
    world.go(Duration::from_secs(1));
    let sent = world.counts.frames - frames;
    assert!(sent < 2000, "{sent} frames");
    ends_well(world);
}

#[test]
fn the_largest_message_passes_and_a_larger_one_is_refused_where_it_is_sent() {
    let mut world = together(15, 3);
    let client = world.clients(site(0))[0];
    let records = world.records.len();
    world.send(site(0), client, Service::Agreed, &["talk"], false, MESSAGE_BYTES_MAX + 1);
    world.go(Duration::from_millis(200));
    assert_eq!(world.records.len(), records, "nobody is given it");
    world.send(site(0), client, Service::Safe, &["talk"], false, MESSAGE_BYTES_MAX);
    world.go(Duration::from_secs(1));
    assert_eq!(world.records.len(), records + 1 + 3, "one sends it, three are given it");
    ends_well(world);
}

#[test]
fn a_reader_that_is_far_behind_slows_its_senders_down_and_ends_no_ring() {
    let mut world = together(16, 3);
    let rings = world.counts.rings;
    let flood = |world: &mut World, length| {
        let until = world.now + length;
        while world.now < until {
            for from in [0, 2] {
                let client = world.clients(site(from))[0];
                (0..5).for_each(|_| world.send(site(from), client, Service::Agreed, &["talk"], false, 4000));
            }
            world.go(Duration::from_millis(2));
        }
    };
    let is_given = |record: &&Record| matches!(record.event, Event::Deliver { .. });
    let given = |world: &World| world.records.iter().filter(is_given).count();
    let before = given(&world);
    flood(&mut world, Duration::from_secs(1));
    let fast = given(&world) - before;
    for readers in [&[1][..], &[0, 1, 2]] {
        let paced = |world: &mut World, pace: Pace| readers.iter().for_each(|of| world.pace(site(*of), pace));
        paced(&mut world, Pace { hold: Duration::from_millis(40), trickle: true });
        // What is under way arrives.
        world.go(Duration::from_millis(200));
        let before = given(&world);
        flood(&mut world, Duration::from_secs(1));
        let slow = given(&world) - before;
        assert!(slow * 20 < fast, "{fast} messages given in a second, and {slow}");
        assert_eq!(world.counts.rings, rings);
        paced(&mut world, Pace::default());
        world.go(Duration::from_secs(2));
        assert_eq!(world.site(site(0)).expect("it runs").queue_sizes().1, 0, "and then all of it is sent");
    }
    assert_eq!(world.counts.rings, rings);
    ends_well(world);
}

/// A clock that somebody sets makes no timer fire.
#[test]
fn no_site_reads_the_clock_on_the_wall() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    let mut folders = vec![crates.join("peer/src"), crates.join("site/src")];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // Members of secure groups look at certificates' dates; no site does.
                folders.extend(Some(path).filter(|path| !path.ends_with("secure")));
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            looked += 1;
            for clock in ["SystemTime", "ClockId::Realtime", "Timestamp::now", "UNIX_EPOCH"] {
                assert!(!text.contains(clock), "{} reads {clock}", path.display());
            }
        }
    }
    assert!(looked > 30, "{looked} files");
}
