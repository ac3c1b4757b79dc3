//! Three sites on loopback, with real sockets, and clients over the sockets that programs use.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfort_peer::Service;
use ringfort_site::client::{self, Door, Incoming, Sender, group};
use ringfort_site::{DoorOptions, Folder, Network, Options, Report, Running, SiteInfo, folder, prepare};
use ringfort_spread::client::Received;
use ringfort_spread::{Kind, Name};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const NAMES: [&str; 3] = ["north", "south", "west"];
/// After so long what is waited for will not come. It is no measure of pace: machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_PERIOD: Duration = Duration::from_millis(20);

struct World {
    temp: TempDir,
    network: Network,
    listen: [SocketAddr; 3],
    sites: Vec<Option<Running>>,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let listen: [SocketAddr; 3] = ringfort_loopback::addresses().unwrap();
        let make = |n: usize| {
            let address = listen[n].to_string();
            folder::create(&temp.path().join(NAMES[n]), NAMES[n], &address, [n as u8 + 1; 32]).unwrap()
        };
        let network = Network::new("plant".to_owned(), (0..3).map(make).collect()).unwrap();
        for name in NAMES {
            folder::install_network(&temp.path().join(name), &network).unwrap();
        }
        World { temp, network, listen, sites: vec![None, None, None] }
    }

    async fn started() -> Self {
        let mut world = World::new();
        for n in 0..3 {
            world.start(n).await;
        }
        world.whole(&[0, 1, 2]).await;
        world
    }

    fn path(&self, n: usize) -> PathBuf {
        self.temp.path().join(NAMES[n])
    }

    async fn start(&mut self, n: usize) {
        let unix = Some(folder::clients_socket(&self.path(n)));
        let doors = DoorOptions { unix, tcp: Some("127.0.0.1:0".parse().unwrap()), ..DoorOptions::default() };
        let options = Options { doors, ..Options::default() };
        let prepared = prepare(Folder::open(&self.path(n)).unwrap(), &options).unwrap();
        self.sites[n] = Some(prepared.start().await.unwrap());
    }

    fn report(&self, n: usize) -> Report {
        self.sites[n].as_ref().unwrap().report.borrow().clone()
    }

    /// Waits until these sites are in one ring, and nobody else. How long that took, in time in which this program was run.
    async fn whole(&self, which: &[usize]) -> Duration {
        let expected: Vec<&str> = which.iter().map(|n| NAMES[*n]).collect();
        let (started, mut took) = (Instant::now(), Duration::ZERO);
        loop {
            if which.iter().all(|n| self.report(*n).ring == expected) {
                return took;
            }
            let reports: Vec<Report> = which.iter().map(|n| self.report(*n)).collect();
            assert!(started.elapsed() < PATIENCE, "no ring of {expected:?}: {reports:#?}");
            tokio::time::sleep(LOOK_PERIOD).await;
            took += LOOK_PERIOD;
        }
    }

    async fn client(&self, n: usize, name: &str) -> Client {
        Client::at(&Door::Unix(folder::clients_socket(&self.path(n))), name).await
    }
}

struct Client {
    sender: Sender,
    incoming: Incoming,
}

impl Client {
    async fn at(door: &Door, name: &str) -> Self {
        let (sender, incoming) = client::connect(door, Some(name)).await.unwrap();
        Client { sender, incoming }
    }

    async fn next(&mut self) -> Received {
        timeout(PATIENCE, self.incoming.next()).await.expect("nothing came").unwrap()
    }

    /// Joins, and waits for the view with so many members.
    async fn join(&mut self, name: &str, members: usize) {
        self.sender.join(group(name).unwrap()).await.unwrap();
        self.view(members).await;
    }

    async fn view(&mut self, count: usize) -> Vec<Name> {
        loop {
            if let Received::Membership { members, .. } = self.next().await
                && members.len() == count
            {
                return members;
            }
        }
    }

    async fn message(&mut self) -> (String, Vec<u8>) {
        loop {
            if let Received::Message { sender, data, .. } = self.next().await {
                return (sender.to_string(), data.to_vec());
            }
        }
    }

    async fn send(&mut self, service: Service, to: &str, data: &[u8]) {
        self.sender.multicast(service, &[group(to).unwrap()], true, data).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_sites_form_one_ring_and_their_clients_hear_each_other_in_one_order() {
    let world = World::started().await;
    let mut clients = Vec::new();
    for (n, name) in ["ana", "ben", "cy"].into_iter().enumerate() {
        let mut client = world.client(n, name).await;
        client.join("talk", n + 1).await;
        clients.push(client);
    }
    for client in clients.iter_mut().take(2) {
        client.view(3).await;
    }
    let services = [Service::Reliable, Service::Fifo, Service::Causal, Service::Agreed, Service::Safe];
    for round in 0..40u8 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(services[usize::from(round) % 5], "talk", &[n as u8, round]).await;
        }
    }
    let mut orders = Vec::new();
    for client in &mut clients {
        let mut order = Vec::new();
        for _ in 0..120 {
            let (sender, data) = client.message().await;
            let site = NAMES[usize::from(data[0])];
            assert!(sender.ends_with(site), "{sender} sent {data:?}");
            order.push(data);
        }
        let mut sorted = order.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 120, "each message once");
        // Reliable messages may overtake those of others.
        order.retain(|data| services[usize::from(data[1]) % 5].is_ordered());
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[1], orders[2]);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let report = world.report(0);
    assert!(report.is_whole() && report.clients == 1 && report.memberships == 3, "{report:#?}");
    assert!(report.datagrams_received > 20 && report.unreachable.is_empty(), "{report:#?}");
    // Once datagrams pass, nothing goes over links.
    let by_link = |world: &World| (0..3).map(|n| world.report(n).frames_by_link).sum::<u64>();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = by_link(&world);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(by_link(&world), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_largest_size_arrives_and_a_larger_one_comes_back() {
    let world = World::started().await;
    // Over TCP; programs of the site's own machine may send more.
    let door = |site: usize| Door::Tcp(world.sites[site].as_ref().unwrap().clients.unwrap().to_string());
    let (mut ana, mut ben) = (Client::at(&door(0), "ana").await, Client::at(&door(1), "ben").await);
    ana.join("talk", 1).await;
    ben.join("talk", 2).await;
    let largest: Vec<u8> = (0..ringfort_spread::MESSAGE_BYTES_MAX - 32).map(|n| n as u8).collect();
    ana.send(Service::Safe, "talk", &largest).await;
    assert_eq!(ben.message().await.1, largest);
    let too_large = vec![7; largest.len() + 1];
    let refused = ana.sender.multicast(Service::Safe, &[group("talk").unwrap()], true, &too_large).await;
    assert!(refused.is_err());
    // Past the library's own check, the site gives it back, to a program of its own machine that did not ask for more, too.
    let mut raw = tokio::net::UnixStream::connect(folder::clients_socket(&world.path(2))).await.unwrap();
    let me = handshake(&mut raw, "raw").await;
    let wire = ringfort_spread::client::message(
        ringfort_spread::ByteOrder::Little,
        Kind::SAFE,
        &me,
        &[group("talk").unwrap()],
        0,
        &too_large,
    );
    raw.write_all(&wire).await.unwrap();
    let mut header = [0; 48];
    timeout(PATIENCE, raw.read_exact(&mut header)).await.unwrap().unwrap();
    let kind = u32::from_le_bytes(header[..4].try_into().unwrap());
    assert_ne!(kind & Kind::REJECT.0, 0, "{kind:x}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_put_together_go_whole_and_in_order_though_the_call_is_dropped_again_and_again() {
    let world = World::started().await;
    let mut ben = world.client(1, "ben").await;
    ben.join("talk", 1).await;
    let mut ana = world.client(0, "ana").await;
    let reading = tokio::spawn(async move {
        for n in 0..20_000u32 {
            let (_, data) = ben.message().await;
            assert_eq!(data[..4], n.to_le_bytes(), "in order, none missing");
        }
    });
    let to = [group("talk").unwrap()];
    for n in 0..20_000u32 {
        let mut data = vec![0; 100 + n as usize % 900];
        data[..4].copy_from_slice(&n.to_le_bytes());
        ana.sender.enqueue(Service::Agreed, &to, true, &data).await.unwrap();
        if n % 50 == 0 {
            let _ = timeout(Duration::from_micros(20), ana.sender.flush()).await;
        }
    }
    ana.sender.flush().await.unwrap();
    timeout(PATIENCE * 3, reading).await.expect("all of them come").unwrap();
}

/// Greets a site by hand.
async fn handshake(stream: &mut tokio::net::UnixStream, name: &str) -> Name {
    let wanted = ringfort_spread::ConnectName::new(name.as_bytes()).unwrap();
    stream.write_all(&ringfort_spread::client::hello(Some(wanted), true)).await.unwrap();
    let mut methods = [0; 6];
    stream.read_exact(&mut methods).await.unwrap();
    stream.write_all(&ringfort_spread::client::null_method()).await.unwrap();
    let mut verdict = [0; 5];
    stream.read_exact(&mut verdict).await.unwrap();
    assert_eq!(verdict[0], 1);
    let mut private = vec![0; usize::from(verdict[4])];
    stream.read_exact(&mut private).await.unwrap();
    Name::new(&private).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_ends_leaves_the_others_views_and_comes_back() {
    let mut world = World::started().await;
    let (mut ana, mut cy) = (world.client(0, "ana").await, world.client(2, "cy").await);
    ana.join("talk", 1).await;
    cy.join("talk", 2).await;
    ana.view(2).await;
    world.sites[2].take().unwrap().stop().await.unwrap();
    let took = world.whole(&[0, 1]).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ana.view(1).await.len(), 1);
    assert!(
        timeout(PATIENCE, cy.incoming.next()).await.unwrap().is_err(),
        "its clients are told by the end of the connection"
    );
    let report = world.report(0);
    assert_eq!(report.absent, ["west"]);
    world.start(2).await;
    let took = world.whole(&[0, 1, 2]).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let mut cy = world.client(2, "cy2").await;
    cy.join("talk", 2).await;
    assert_eq!(ana.view(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_another_network_file_is_named_and_disturbs_nobody() {
    let mut world = World::new();
    let other = world.network.clone().with_datagrams(1300).unwrap();
    folder::install_network(&world.path(1), &other).unwrap();
    for n in 0..3 {
        world.start(n).await;
    }
    world.whole(&[0, 2]).await;
    let started = Instant::now();
    loop {
        let (here, there) = (world.report(0), world.report(1));
        let told = |report: &Report, site: &str| {
            report.unreachable.iter().any(|u| u.site == site && u.why.contains("another network file"))
        };
        if told(&here, "south") && told(&there, "north") && told(&there, "west") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{here:#?} {there:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It goes on by itself.
    world.whole(&[1]).await;
    let rings = world.report(0).rings;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.report(0).rings, rings, "the others' ring stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_an_older_key_is_refused_and_says_so() {
    let mut world = World::new();
    let fresh = folder::create(&world.temp.path().join("new"), "north", &world.listen[0].to_string(), [9; 32]);
    let mut sites: Vec<SiteInfo> = world.network.sites().to_vec();
    sites[0] = fresh.unwrap();
    let renewed = Network::new("plant".to_owned(), sites).unwrap();
    for n in [1, 2] {
        folder::install_network(&world.path(n), &renewed).unwrap();
    }
    for n in 0..3 {
        world.start(n).await;
    }
    world.whole(&[1, 2]).await;
    let started = Instant::now();
    while !world.report(0).unreachable.iter().all(|u| u.why.contains("does not accept this site's key")) {
        assert!(started.elapsed() < PATIENCE, "{:#?}", world.report(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_datagrams_are_counted_and_change_nothing() {
    let world = World::started().await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut ana = world.client(0, "ana").await;
    ana.join("talk", 1).await;
    for n in 0..20_000u32 {
        let datagram: Vec<u8> = (0..n % 1400).map(|byte| (byte ^ n) as u8).collect();
        let _ = stranger.send_to(&datagram, world.listen[0]);
    }
    ana.send(Service::Safe, "talk", b"through").await;
    assert_eq!(ana.message().await.1, b"through");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let report = world.report(0);
    assert!(report.datagrams_refused > 100, "{report:#?}");
    assert!(report.is_whole(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_and_nobody_else_notices() {
    let world = World::started().await;
    let rings = world.report(0).rings;
    let mut slow = tokio::net::UnixStream::connect(folder::clients_socket(&world.path(0))).await.unwrap();
    let me = handshake(&mut slow, "slow").await;
    let join = |me: &Name| {
        ringfort_spread::client::message(
            ringfort_spread::ByteOrder::Little,
            Kind::JOIN,
            me,
            &[group("talk").unwrap()],
            0,
            &[],
        )
    };
    slow.write_all(&join(&me)).await.unwrap();
    let mut ben = world.client(0, "ben").await;
    ben.join("talk", 2).await;
    let mut ana = world.client(1, "ana").await;
    let sending = tokio::spawn(async move {
        for n in 0..400u32 {
            let mut data = vec![0; 50_000];
            data[..4].copy_from_slice(&n.to_le_bytes());
            ana.send(Service::Agreed, "talk", &data).await;
        }
        ana
    });
    for n in 0..400u32 {
        let (_, data) = ben.message().await;
        assert_eq!(data[..4], n.to_le_bytes(), "in order, none missing");
    }
    let _ana = sending.await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let report = world.report(0);
    assert_eq!((report.clients_cut, report.clients), (1, 1), "{report:#?}");
    assert_eq!(report.rings, rings, "no other site noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_keep_nobody_out() {
    let world = World::started().await;
    let socket = folder::clients_socket(&world.path(0));
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tokio::net::UnixStream::connect(&socket).await.unwrap());
    }
    let mut ana = world.client(0, "ana").await;
    ana.join("talk", 1).await;
    // She did not wait until their time was up: the last of them are still there.
    let last = silent.last().unwrap().try_read(&mut [0]);
    assert!(last.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it waited for the silent to be closed");
    let mut oldest = silent.remove(0);
    let ended = timeout(PATIENCE, oldest.read(&mut [0; 1])).await.expect("the oldest makes way");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_garbage_or_announces_four_gigabytes_ends_alone() {
    let world = World::started().await;
    let rings = world.report(0).rings;
    let mut ana = world.client(0, "ana").await;
    ana.join("talk", 1).await;
    let socket = folder::clients_socket(&world.path(0));
    let ends = |mut stream: tokio::net::UnixStream, what: &'static str| async move {
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect(what).ok();
    };
    for n in 0..50u32 {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let garbage: Vec<u8> =
            (0..4000u32).map(|byte| (byte.wrapping_mul(n.wrapping_add(77)) >> 3) as u8 | 0x80).collect();
        let _ = stream.write_all(&garbage).await;
        ends(stream, "garbage instead of a hello").await;
    }
    for (name, bytes) in [("a", u32::MAX), ("b", i32::MAX as u32), ("c", 1 << 30), ("d", 200_000)] {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let me = handshake(&mut stream, name).await;
        let wire = ringfort_spread::client::message(
            ringfort_spread::ByteOrder::Little,
            Kind::AGREED,
            &me,
            &[group("talk").unwrap()],
            0,
            &[],
        );
        let mut wire = wire.to_vec();
        wire[44..48].copy_from_slice(&bytes.to_le_bytes());
        stream.write_all(&wire).await.unwrap();
        ends(stream, "a length that nobody may announce").await;
    }
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let me = handshake(&mut stream, "e").await;
    let mut wire =
        ringfort_spread::client::message(ringfort_spread::ByteOrder::Little, Kind::AGREED, &me, &[], 0, &[]).to_vec();
    wire[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
    stream.write_all(&wire).await.unwrap();
    ends(stream, "more groups than there can be").await;
    ana.send(Service::Agreed, "talk", b"still here").await;
    assert_eq!(ana.message().await.1, b"still here");
    assert_eq!(world.report(0).rings, rings, "no other site noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_nothing_stops_a_site_at_its_start_with_a_sentence_and_no_other() {
    let mut world = World::started().await;
    world.sites[2].take().unwrap().stop().await.unwrap();
    world.whole(&[0, 1]).await;
    let rings = world.report(0).rings;
    // What the site writes next goes nowhere.
    let fresh = world.path(2).join("state/numbers.new");
    std::os::unix::fs::symlink("/dev/full", &fresh).unwrap();
    let prepared = prepare(Folder::open(&world.path(2)).unwrap(), &Options::default()).unwrap();
    let error = prepared.start().await.unwrap_err().to_string();
    assert!(error.contains("numbers") && error.contains("room on the disk"), "{error}");
    assert_eq!(world.report(0).rings, rings, "no other site noticed");
    std::fs::remove_file(&fresh).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.start(2).await;
    world.whole(&[0, 1, 2]).await;
}
