//! What goes wrong on a site's machine: one clear sentence, and nobody else notices.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::process::{Running, eventually, finish, run, text};
use super::proxy::Network;
use super::world::{World, talk};

/// How many rings a site has been in.
fn rings(world: &World, n: usize) -> u64 {
    world.report(n).unwrap().rings
}

#[test]
fn a_full_disk_ends_one_site_with_a_sentence() {
    let mut world = World::running();
    // What the site writes next goes nowhere.
    let fresh = world.folder(2).join("state/numbers.new");
    symlink("/dev/full", &fresh).unwrap();
    drop(world.sites[2].take());
    world.whole(&[0, 1]);
    let before = rings(&world, 0);
    let mut command = world.command(2);
    // In its sandbox it could not open the device that is always full.
    command.arg("--no-sandbox");
    finish(command).failed(17, &["numbers", "cannot remember which ring it forms", "room on the disk"]);
    assert_eq!(rings(&world, 0), before, "the others' ring stands");
    std::fs::remove_file(&fresh).unwrap();
    world.start(2);
    world.whole(&[0, 1, 2]);
}

#[test]
fn a_site_with_another_network_file_says_so_and_so_do_the_others() {
    let mut world = World::running();
    world.stop(2);
    world.whole(&[0, 1]);
    let file = world.network();
    let other = world.path("other.toml");
    let text_of = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&other, text_of.replace("1400", "1300")).unwrap();
    run(&["site", "install", text(&world.folder(2)), text(&other)]).succeeded();
    let before = rings(&world, 0);
    world.start(2);
    eventually("both to say it", || {
        let told = |n: usize| world.said(n).contains("it has another network file");
        (told(0) && told(2)).then_some(())
    });
    eventually("the status to say it", || {
        let status = run(&["site", "status", text(&world.folder(2))]);
        assert_eq!(status.status, 22, "{status:?}");
        status.out.contains("no link to north: it has another network file").then_some(())
    });
    assert_eq!(rings(&world, 0), before, "the others' ring stands");
}

#[test]
fn a_site_whose_key_was_replaced_is_refused_and_says_so() {
    let mut world = World::running();
    world.stop(0);
    world.whole(&[1, 2]);
    let before = rings(&world, 1);
    // The machine was set up anew under the same name, and put into its own copy of the file only.
    std::fs::rename(world.folder(0), world.path("old")).unwrap();
    let address = world.listen[0].to_string();
    run(&["site", "new", text(&world.folder(0)), "--name", "north", "--address", &address]).succeeded();
    let (own, folders) = (world.path("own.toml"), [world.folder(0), world.folder(1), world.folder(2)]);
    let cards: Vec<&str> = folders.iter().map(|folder| text(folder)).collect();
    run(&[&["site", "network", "new", text(&own), "--name", "plant"], &cards[..]].concat()).succeeded();
    run(&["site", "install", text(&world.folder(0)), text(&own)]).succeeded();
    world.start(0);
    eventually("the refused site to say it", || {
        world.said(0).contains("does not accept this site's key").then_some(())
    });
    assert_eq!(rings(&world, 1), before, "the others' ring stands");
}

#[test]
fn a_lost_site_is_named_and_comes_back() {
    let mut world = World::running();
    drop(world.sites[2].take());
    world.whole(&[0, 1]);
    let status = run(&["site", "status", text(&world.folder(0))]);
    assert_eq!(status.status, 22, "{status:?}");
    assert!(status.out.contains("In the ring: north, south. Absent: west."), "{status:?}");
    eventually("the log to say why", || world.said(0).contains("nothing answers at its address").then_some(()));
    world.start(2);
    world.whole(&[0, 1, 2]);
}

/// Speaks a hello and then bytes that are no message, and reads what the site still says.
fn talk_nonsense(socket: &Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut bytes = vec![5, 0, 1, 1, 0];
    bytes.extend([&b"NULL"[..], &[0; 86]].concat());
    bytes.extend([0xff; 48]);
    let _ = stream.write_all(&bytes);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_client_that_talks_nonsense_is_told_of_in_a_sentence_and_a_thousand_of_them_in_few() {
    let world = World::running();
    let before = rings(&world, 0);
    let mut ana = Running::start(talk(&world.folder(0), "listen", &["--group", "g", "--json"]));
    ana.event("view");
    let socket = world.folder(0).join("state/clients.sock");
    talk_nonsense(&socket);
    let told = |world: &World| world.said(0).matches("a client's session ends: the client sent a message").count();
    eventually("the log to say it", || (told(&world) == 1).then_some(()));
    (0..1000).for_each(|_| talk_nonsense(&socket));
    run(&["site", "send", text(&world.folder(1)), "--group", "g", "still here"]).succeeded();
    assert_eq!(ana.event("message")["text"], "still here");
    assert!((2..200).contains(&told(&world)), "{} lines", told(&world));
    assert_eq!(rings(&world, 0), before, "the others notice nothing");
}

#[test]
fn a_client_that_stops_reading_is_cut_off_with_a_sentence_and_nobody_else_notices() {
    let world = World::running();
    let before = rings(&world, 0);
    let slow = Running::start(talk(&world.folder(0), "listen", &["--group", "g", "--name", "slow", "--json"]));
    let mut ben = Running::start(talk(&world.folder(1), "listen", &["--group", "g", "--name", "ben", "--json"]));
    let view_of = |count: usize| {
        move |event: &serde_json::Value| event["event"] == "view" && event["members"].as_array().unwrap().len() == count
    };
    ben.next("a view of both", view_of(2));
    let both = ben.seen.len();
    slow.signal(rustix::process::Signal::STOP);
    let line = "x".repeat(100_000);
    let lines = format!("{line}\n").repeat(150);
    let sending = talk(&world.folder(2), "send", &["--group", "g"]);
    super::process::finish_with_input(sending, &lines).succeeded();
    for _ in 0..150 {
        assert_eq!(ben.event("message")["text"].as_str().unwrap().len(), line.len(), "nobody else waits for it");
    }
    eventually("the log to say it", || {
        world.said(0).contains("a client is cut off: it does not read what it is sent").then_some(())
    });
    if !ben.seen[both..].iter().any(view_of(1)) {
        ben.next("a view without it", view_of(1));
    }
    assert_eq!(rings(&world, 0), before, "the others' ring stands");
    slow.signal(rustix::process::Signal::CONT);
}

#[test]
fn a_second_process_on_a_folder_is_refused_and_a_taken_port_is_named() {
    let mut world = World::running();
    finish(world.command(0)).failed(15, &["this site is running already"]);
    world.stop(0);
    let _taken = std::net::UdpSocket::bind(world.listen[0]).unwrap();
    finish(world.command(0)).failed(15, &["cannot listen for other sites", "--listen"]);
}

#[test]
fn clients_learn_of_the_end_of_their_site() {
    let mut world = World::running();
    let mut ana = Running::start(talk(&world.folder(0), "listen", &["--group", "g", "--json"]));
    ana.event("view");
    world.stop(0);
    assert_eq!(ana.finish(), 24);
    assert!(!world.folder(0).join("state/clients.sock").exists(), "an orderly end leaves no socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_lets_no_datagram_through_makes_a_network_slow_and_not_silent() {
    for both_ways in [false, true] {
        let addresses = ringfort_loopback::addresses().unwrap();
        let mut world = World::new(Some(addresses));
        let network = Network::start(addresses, world.listen).await;
        for (from, to) in [(0, 1), (0, 2), (2, 1)] {
            network.cut_datagrams(from, to);
            if both_ways {
                network.cut_datagrams(to, from);
            }
        }
        for n in 0..3 {
            world.start(n);
            network.is(n, world.sites[n].as_ref().unwrap().id());
        }
        world.whole(&[0, 1, 2]);
        let mut ben = Running::start(talk(&world.folder(1), "listen", &["--group", "g", "--json"]));
        ben.event("view");
        let sent = run(&["site", "send", text(&world.folder(0)), "--group", "g", "--service", "safe", "by the link"]);
        sent.succeeded();
        assert_eq!(ben.event("message")["text"], "by the link");
        assert!(world.report(0).unwrap().frames_by_link > 0);
    }
}
