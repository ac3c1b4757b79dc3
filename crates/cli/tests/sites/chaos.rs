//! Sites that are killed, stopped, cut off from each other and put together again in the middle of traffic; then the
//! checker of traces, which knows no protocol, looks at what every client saw.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::clients::Crowd;
use super::dice::Dice;
use super::process::DEADLINE;
use super::proxy::Network;
use super::waits::Waits;
use super::world::World;

/// Clients of each site.
const CLIENTS: usize = 2;
/// Views are back so long after a healing.
const HEALED_WITHIN: Duration = Duration::from_secs(2);
/// What clients saw is looked at after so long at the latest: the checker's memory grows faster than a trace.
const ROUND: Duration = Duration::from_secs(240);

/// A healing: how long it took, and how much of that a site, or the network between them, waited for a processor.
struct Healing {
    what: String,
    took: Duration,
    waited: Duration,
}

struct Chaos {
    world: World,
    network: Network,
    stopped: [bool; 3],
    healings: Vec<Healing>,
}

impl Chaos {
    async fn new() -> Self {
        let addresses = ringfort_loopback::addresses().unwrap();
        let world = World::new(Some(addresses));
        let network = Network::start(addresses, world.listen).await;
        let mut chaos = Chaos { world, network, stopped: [false; 3], healings: Vec::new() };
        (0..3).for_each(|n| chaos.start(n));
        chaos.heal("the start").await;
        chaos
    }

    fn start(&mut self, n: usize) {
        self.world.start(n);
        self.network.is(n, self.world.sites[n].as_ref().unwrap().id());
    }

    fn kill(&mut self, n: usize) {
        self.stopped[n] = false;
        if let Some(site) = self.world.sites[n].take() {
            site.signal(Signal::KILL);
        }
    }

    fn pause(&mut self, n: usize, stop: bool) {
        if let Some(site) = self.world.sites[n].as_ref().filter(|_| self.stopped[n] != stop) {
            site.signal(if stop { Signal::STOP } else { Signal::CONT });
            self.stopped[n] = stop;
        }
    }

    async fn fault(&mut self, dice: &mut Dice) -> String {
        let n = dice.below(3);
        let other = (n + 1 + dice.below(2)) % 3;
        match dice.below(6) {
            0 => {
                self.kill(n);
                format!("site {n} is killed")
            }
            1 => {
                self.pause(n, true);
                tokio::time::sleep(Duration::from_millis(dice.between(50, 2500))).await;
                self.pause(n, false);
                format!("site {n} was stopped for a while")
            }
            2 => {
                self.network.cut(n, other);
                format!("cut one way, from {n} to {other}")
            }
            3 => {
                self.network.split(&[n]);
                format!("cut in two, {n} alone")
            }
            4 => {
                self.network.cut(n, other);
                self.network.cut(other, n);
                format!("no way between {n} and {other}")
            }
            _ => {
                self.kill(n);
                self.network.split(&[other]);
                format!("site {n} is killed, and {other} is alone")
            }
        }
    }

    /// Everything is mended; how long the sites take to come together.
    async fn heal(&mut self, what: &str) {
        self.network.heal();
        for n in 0..3 {
            self.pause(n, false);
            if self.world.sites[n].is_none() {
                self.start(n);
            }
        }
        let sites = self.world.sites.iter().flatten().map(super::process::Running::id);
        let mut waits = Waits::of(sites.collect());
        let started = Instant::now();
        while !self.world.is_whole(&[0, 1, 2]) {
            waits.sleep(Duration::from_millis(10)).await;
            let said = || (0..3).map(|n| self.world.said(n)).collect::<Vec<_>>().join("\n\n");
            let ran = started.elapsed().saturating_sub(waits.total());
            assert!(ran < DEADLINE, "no ring of all {:?} after {what}\n{}", started.elapsed(), said());
        }
        let (took, waited) = (started.elapsed(), waits.total());
        println!("{what}: together again after {took:?}, in which a process waited for the machine for {waited:?}");
        self.healings.push(Healing { what: what.to_owned(), took, waited });
    }
}

async fn chaos(length: Duration) {
    let seed = std::env::var("RINGFORT_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("RINGFORT_CHAOS_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut chaos = Chaos::new().await;
    let started = Instant::now();
    while started.elapsed() < length {
        round(&mut chaos, &mut dice, ROUND.min(length - started.elapsed())).await;
    }
    let late = |healing: &&Healing| healing.took.saturating_sub(healing.waited) > HEALED_WITHIN;
    let told =
        |healing: &Healing| format!("{}: {:?}, {:?} of it the machine's", healing.what, healing.took, healing.waited);
    let slow: Vec<String> = chaos.healings.iter().filter(late).map(told).collect();
    assert!(slow.is_empty(), "views came back too late: {slow:?}");
    let in_time = chaos.healings.iter().filter(|healing| healing.took <= HEALED_WITHIN).count();
    println!(
        "{in_time} of {} healings in time as the clock has it, the others without the machine's part",
        chaos.healings.len()
    );
}

/// Clients come, live through what happens, and end; what they saw is judged.
async fn round(chaos: &mut Chaos, dice: &mut Dice, length: Duration) {
    let crowd = Crowd::default();
    let mut places = tokio::task::JoinSet::new();
    for n in 0..3 {
        for _ in 0..CLIENTS {
            places.spawn(crowd.clone().fill(chaos.world.door(n), dice.split()));
        }
    }
    let started = Instant::now();
    while started.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(dice.between(200, 1500))).await;
        let mut what = chaos.fault(dice).await;
        if dice.in_hundred(30) {
            tokio::time::sleep(Duration::from_millis(dice.between(0, 700))).await;
            what = format!("{what}; {}", chaos.fault(dice).await);
        }
        tokio::time::sleep(Duration::from_millis(dice.between(50, 2500))).await;
        chaos.heal(&what).await;
    }
    crowd.hush().await;
    crowd.end();
    while places.join_next().await.is_some() {}
    judge(chaos, &crowd);
    drop(crowd);
    // Whoever is seen in the next round belongs to it.
    while (0..3).any(|n| chaos.world.report(n).is_none_or(|report| report.memberships > 0)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn judge(chaos: &Chaos, crowd: &Crowd) {
    let traces = crowd.traces();
    let records = ringfort_trace_check::parse(&traces).unwrap();
    let report = ringfort_trace_check::check(&records);
    if !report.violations.is_empty() {
        let kept = std::env::temp_dir().join("ringfort-sites.trace");
        std::fs::write(&kept, &traces).unwrap();
        let told: Vec<String> =
            report.violations.iter().take(10).map(|v| format!("{}: {}", v.property, v.text)).collect();
        panic!(
            "{} properties are broken; the trace is in {}:\n{}",
            report.violations.len(),
            kept.display(),
            told.join("\n")
        );
    }
    let looked = |property: &str| report.looked.get(property).copied().unwrap_or(0);
    for property in ["I1", "I2", "I3", "M1", "M3", "M5", "M6", "M8", "E1", "E2", "E3", "E4", "E5", "E6", "E8"] {
        assert!(looked(property) > 0, "nothing was looked at for {property}");
    }
    println!("{} records, {} healings, no property broken", records.len(), chaos.healings.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_see_is_right_through_twenty_seconds_of_kills_stops_and_cuts() {
    chaos(Duration::from_secs(20)).await;
}

/// `RINGFORT_CHAOS_MINUTES=30 cargo test -p ringfort-cli --test sites -- --ignored --nocapture chaos`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "as many minutes as RINGFORT_CHAOS_MINUTES says, or three"]
async fn what_clients_see_is_right_through_minutes_of_kills_stops_and_cuts() {
    let minutes = std::env::var("RINGFORT_CHAOS_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(3);
    chaos(Duration::from_secs(60 * minutes)).await;
}
