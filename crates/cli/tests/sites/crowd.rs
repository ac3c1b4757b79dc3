//! A thousand groups, two hundred clients, fifty joins and leaves a second: what each client sees is right, and what the
//! sites hold does not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfort_peer::Service;
use ringfort_site::client::{self, Incoming, Sender, group};
use ringfort_site::trace::Tracer;
use ringfort_spread::client::Received;
use ringfort_spread::{Kind, Name};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::dice::Dice;
use super::process::DEADLINE;
use super::world::World;

const GROUPS: usize = 1000;
const CLIENTS: usize = 200;
/// Groups that a client is in from the start: every group has somebody.
const OWN: usize = GROUPS / CLIENTS;
/// Joins and leaves a second; four times as many messages.
const CHANGES: u32 = 50;
const MESSAGES: usize = 4;
/// What a site's process may hold, and by how much that may grow once everybody is in, in KiB.
const HELD_KIB: u64 = 64 * 1024;
const GROWN_KIB: u64 = 8 * 1024;
/// The program is given so long to be scheduled.
const JOINED_WITHIN: Duration = Duration::from_secs(2);

type Trace = Arc<Mutex<Tracer<Vec<u8>>>>;
type Waiting = Arc<Mutex<BTreeMap<Name, Instant>>>;

struct Client {
    sender: Sender,
    trace: Trace,
    waiting: Waiting,
    groups: BTreeSet<usize>,
}

fn name(number: usize) -> Name {
    group(&format!("group-{number}")).unwrap()
}

impl Client {
    async fn change(&mut self, number: usize) {
        let group = name(number);
        if self.groups.insert(number) {
            self.trace.lock().unwrap().join(&group).unwrap();
            self.waiting.lock().unwrap().insert(group, Instant::now());
            self.sender.join(group).await.unwrap();
        } else {
            self.groups.remove(&number);
            self.trace.lock().unwrap().leave(&group).unwrap();
            self.sender.leave(group).await.unwrap();
        }
    }

    async fn send(&mut self, dice: &mut Dice, number: u64) {
        let Some(place) = self.groups.iter().nth(dice.below(self.groups.len().max(1))) else { return };
        let services = [Service::Fifo, Service::Causal, Service::Agreed, Service::Safe];
        let service = services[dice.below(services.len())];
        let mut data = vec![0; 8 + dice.below(200)];
        data[..8].copy_from_slice(&number.to_le_bytes());
        let to = [name(*place)];
        self.trace.lock().unwrap().send(service, &to, true, &data).unwrap();
        self.sender.multicast(service, &to, true, &data).await.unwrap();
    }
}

/// Reads until all is over; how long each of the client's joins took.
async fn read(
    mut incoming: Incoming,
    trace: Trace,
    waiting: Waiting,
    mut over: watch::Receiver<bool>,
) -> Vec<Duration> {
    let mut took = Vec::new();
    loop {
        let received = tokio::select! {
            received = incoming.next() => received.expect("nobody is cut off"),
            _ = over.changed() => return took,
        };
        trace.lock().unwrap().received(&received).unwrap();
        if let Received::Membership { group, cause, .. } = received
            && cause == Kind::CAUSED_BY_JOIN
        {
            took.extend(waiting.lock().unwrap().remove(&group).map(|since| since.elapsed()));
        }
    }
}

fn held_kib(world: &World, n: usize) -> u64 {
    let file = format!("/proc/{}/status", world.sites[n].as_ref().unwrap().id());
    let status = std::fs::read_to_string(file).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn crowd(length: Duration) {
    let world = tokio::task::spawn_blocking(World::running).await.unwrap();
    let mut dice = Dice::new(7);
    let (over, is_over) = watch::channel(false);
    let (mut clients, mut reading) = (Vec::new(), JoinSet::new());
    for number in 0..CLIENTS {
        let door = world.door(number % 3);
        let (sender, incoming) = client::connect(&door, Some(&format!("c{number}"))).await.unwrap();
        let trace = Arc::new(Mutex::new(Tracer::start(Vec::new(), &sender.name()).unwrap()));
        let mut client = Client { sender, trace, waiting: Waiting::default(), groups: BTreeSet::new() };
        reading.spawn(read(incoming, client.trace.clone(), client.waiting.clone(), is_over.clone()));
        for own in 0..OWN {
            client.change(number * OWN + own).await;
        }
        clients.push(client);
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CHANGES);
    let started = Instant::now();
    let (mut number, mut changes, mut early) = (0, 0, [0; 3]);
    while started.elapsed() < length {
        ticks.tick().await;
        let who = dice.below(CLIENTS);
        // Half of all changes are in ten groups, which grow large.
        let which = if dice.in_hundred(50) { dice.below(10) } else { dice.below(GROUPS) };
        clients[who].change(which).await;
        changes += 1;
        for _ in 0..MESSAGES {
            number += 1;
            let who = dice.below(CLIENTS);
            clients[who].send(&mut dice, number).await;
        }
        if early == [0; 3] && started.elapsed() > length / 3 {
            early = [0, 1, 2].map(|n| held_kib(&world, n));
        }
    }
    settled(&world, &clients).await;
    over.send_replace(true);
    let mut took: Vec<Duration> = reading.join_all().await.concat();
    took.sort_unstable();
    let at = |hundredths: usize| took[took.len() * hundredths / 100];
    let late = [0, 1, 2].map(|n| held_kib(&world, n));
    println!("{changes} joins and leaves, {number} messages; a join took {:?}, 99 in 100 at most {:?}", at(50), at(99));
    println!("the sites hold {early:?} KiB after a third of it, {late:?} KiB at the end");
    judge(&world, &clients);
    assert!(at(99) < JOINED_WITHIN, "{:?}", at(99));
    for (early, late) in early.into_iter().zip(late) {
        assert!(late < HELD_KIB && late < early + GROWN_KIB, "a site grows: {early} KiB, then {late} KiB");
    }
}

/// Waits until what everybody asked for has come about.
async fn settled(world: &World, clients: &[Client]) {
    let memberships: usize = clients.iter().map(|client| client.groups.len()).sum();
    let started = Instant::now();
    loop {
        // What was under way when it came about arrives, too.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let all_joined = clients.iter().all(|client| client.waiting.lock().unwrap().is_empty());
        let all_know = (0..3).all(|n| world.report(n).is_some_and(|report| report.memberships == memberships));
        if all_joined && all_know || started.elapsed() > DEADLINE {
            return;
        }
    }
}

fn clients_at(n: usize) -> usize {
    (0..CLIENTS).filter(|number| number % 3 == n).count()
}

fn judge(world: &World, clients: &[Client]) {
    let memberships: usize = clients.iter().map(|client| client.groups.len()).sum();
    for n in 0..3 {
        let report = world.report(n).unwrap();
        assert_eq!(
            (report.memberships, report.clients, report.clients_cut),
            (memberships, clients_at(n), 0),
            "{report:#?}"
        );
    }
    let mut traces = String::new();
    for client in clients {
        let mut trace = client.trace.lock().unwrap();
        trace.end().unwrap();
        let unused = Tracer::start(Vec::new(), &client.sender.name()).unwrap();
        traces += &String::from_utf8(std::mem::replace(&mut *trace, unused).finish().unwrap()).unwrap();
    }
    let report = ringfort_trace_check::check(&ringfort_trace_check::parse(&traces).unwrap());
    let told: Vec<_> = report.violations.iter().take(10).map(|v| format!("{}: {}", v.property, v.text)).collect();
    assert!(told.is_empty(), "{} properties are broken:\n{}", report.violations.len(), told.join("\n"));
    for property in ["I1", "I2", "I3", "M1", "M2", "M3", "M4", "M7", "M8", "E2", "E4", "E5", "E6", "E8"] {
        assert!(report.looked.get(property).is_some_and(|times| *times > 0), "nothing was looked at for {property}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_groups_and_two_hundred_clients_are_served_in_bounded_memory() {
    crowd(Duration::from_secs(6)).await;
}

/// `RINGFORT_CROWD_MINUTES=10 cargo test -p ringfort-cli --test sites -- --ignored --nocapture thousand`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "as many minutes as RINGFORT_CROWD_MINUTES says, or five"]
async fn a_thousand_groups_are_served_for_minutes_in_bounded_memory() {
    let minutes = std::env::var("RINGFORT_CROWD_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(5);
    crowd(Duration::from_secs(60 * minutes)).await;
}
