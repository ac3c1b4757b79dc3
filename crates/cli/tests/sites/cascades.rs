//! Members of a secure group come, go, crash, ask for new keys and are cut off from each other, a change each fifth of a
//! second on average, so that most come in the middle of another. Whenever it is quiet, each part of the network has to
//! have one key soon; and what every member saw is judged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ringfort_crypto::sign::SigningKey;
use ringfort_peer::Service;
use ringfort_peer_keys::{KeyProtocol, Policy};
use ringfort_site::secure::file;
use ringfort_site::{SecureError, SecureGroup, SecureOptions, Speaker};
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::judge::{Judge, Life};
use super::process::DEADLINE;
use super::proxy::Network;
use super::world::World;

/// Users of each site.
const USERS: usize = 3;
/// A change comes so long after the last one, on average half of it.
const CHANGE_MS: u64 = 400;
/// After the last change each part has a key within this time.
const KEYED_WITHIN: Duration = Duration::from_secs(2);
/// A machine that does not run this test for so long does not run sites and members either.
const STARVED: Duration = Duration::from_millis(100);

struct User {
    site: usize,
    name: String,
    key: SigningKey,
    stay: Option<Stay>,
}

struct Stay {
    life: Life,
    speaker: Speaker,
    tasks: [JoinHandle<()>; 2],
}

struct Cascades {
    world: World,
    network: Network,
    apart: Option<usize>,
    users: Vec<User>,
    policy: Arc<Policy>,
    quiet: Arc<AtomicBool>,
    lives: u64,
    judge: Judge,
    /// How long each part took to have a key, and how long this test was not run meanwhile.
    settled: Vec<(Duration, Duration)>,
    changes: usize,
}

impl Cascades {
    async fn new(protocol: KeyProtocol) -> Self {
        let addresses = ringfort_loopback::addresses().unwrap();
        let mut world = World::new(Some(addresses));
        let network = Network::start(addresses, world.listen).await;
        for n in 0..3 {
            world.start(n);
            network.is(n, world.sites[n].as_ref().unwrap().id());
        }
        world.whole(&[0, 1, 2]);
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let users: Vec<User> = (0..3 * USERS)
            .map(|n| User { site: n % 3, name: format!("u{n}"), key: SigningKey::generate(&mut rng), stay: None })
            .collect();
        let members: Vec<_> = users.iter().map(|user| (user.name.clone(), user.key.verifying_key())).collect();
        let policy = Arc::new(Policy { protocol, ..file::policy("talk", &members).unwrap() });
        Cascades {
            world,
            network,
            apart: None,
            users,
            policy,
            quiet: Arc::default(),
            lives: 0,
            judge: Judge::default(),
            settled: Vec::new(),
            changes: 0,
        }
    }

    async fn join(&mut self, n: usize) {
        let (site, name, key) = (self.users[n].site, self.users[n].name.clone(), self.users[n].key.clone());
        let options = SecureOptions { name: Some(name), ..SecureOptions::default() };
        // The site may not have noticed yet that the last stay of this name is over.
        let started = Instant::now();
        let group = loop {
            match SecureGroup::join(&self.world.door(site), self.policy.clone(), key.clone(), options.clone()).await {
                Ok(group) => break group,
                Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        self.lives += 1;
        let (life, speaker) = (Life::new(&group.name().to_string(), self.lives), group.speaker());
        let listening = tokio::spawn(listen(group, life.clone()));
        let talking = tokio::spawn(talk(speaker.clone(), life.number(), self.quiet.clone()));
        self.users[n].stay = Some(Stay { life, speaker, tasks: [listening, talking] });
    }

    async fn end(&mut self, n: usize, in_order: bool) {
        let Some(stay) = self.users[n].stay.take() else { return };
        let [listening, talking] = stay.tasks;
        talking.abort();
        if in_order {
            stay.speaker.leave().await;
            listening.await.unwrap();
        } else {
            listening.abort();
            // Its program is gone once the site has seen that; until then it may answer for the user's next one.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.judge.add(stay.life);
    }

    async fn change(&mut self, dice: &mut Dice) {
        self.changes += 1;
        let n = dice.below(self.users.len());
        match (dice.below(100), self.users[n].stay.is_some(), self.apart) {
            (0..55, false, _) => self.join(n).await,
            (0..25, true, _) => self.end(n, true).await,
            (25..45, true, _) => self.end(n, false).await,
            (45..65, true, _) => {
                // Between two views there is nothing to refresh.
                if let Some(stay) = &self.users[n].stay {
                    let _ = stay.speaker.refresh().await;
                }
            }
            (_, _, None) => {
                let site = dice.below(3);
                self.network.split(&[site]);
                self.apart = Some(site);
            }
            (_, _, Some(_)) => {
                self.network.heal();
                self.apart = None;
                if dice.in_hundred(30) {
                    let site = dice.below(3);
                    self.network.split(&[site]);
                    self.apart = Some(site);
                }
            }
        }
    }

    /// The members of each part of the network.
    fn parts(&self) -> Vec<Vec<Life>> {
        let of = |sites: &[usize]| -> Vec<Life> {
            let users = self.users.iter().filter(|user| sites.contains(&user.site));
            users.filter_map(|user| user.stay.as_ref()).map(|stay| stay.life.clone()).collect()
        };
        match self.apart {
            None => vec![of(&[0, 1, 2])],
            Some(apart) => vec![of(&[apart]), of(&[(apart + 1) % 3, (apart + 2) % 3])],
        }
    }

    /// Waits until each part of the network has one key, which all of its members have and nobody else.
    async fn settle(&mut self, since: Instant) {
        let mut starved = Duration::ZERO;
        let is_keyed = |part: &Vec<Life>| {
            let names: BTreeSet<String> = part.iter().map(Life::name).collect();
            let views: BTreeSet<_> = part.iter().map(Life::view).collect();
            views.len() <= 1 && views.iter().all(|view| view.as_ref().is_some_and(|view| view.members == names))
        };
        while !self.parts().iter().all(is_keyed) {
            let asleep = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            starved = starved.max(asleep.elapsed().saturating_sub(Duration::from_millis(5)));
            let sites = || (0..3).map(|n| self.world.said(n)).collect::<Vec<_>>().join("\n\n");
            let told = || self.parts().iter().flatten().map(Life::tell).collect::<Vec<_>>().join("\n") + &sites();
            assert!(
                since.elapsed() < DEADLINE,
                "no key in each part after {DEADLINE:?}, {:?}:\n{}",
                self.apart,
                told()
            );
        }
        self.settled.push((since.elapsed(), starved));
    }

    /// Everybody says something, and hears what all others in its part say.
    async fn everybody_is_heard(&self) {
        for part in self.parts() {
            let numbers: Vec<u64> = part.iter().map(Life::number).collect();
            let speakers = self.users.iter().filter_map(|user| user.stay.as_ref());
            for stay in speakers.filter(|stay| numbers.contains(&stay.life.number())) {
                let said = format!("{} last {}", stay.life.number(), self.changes);
                stay.speaker.send(Service::Agreed, None, said.into_bytes()).await.unwrap();
            }
            let wanted: Vec<String> = numbers.iter().map(|number| format!("{number} last {}", self.changes)).collect();
            let since = Instant::now();
            while !part.iter().all(|life| life.has_heard(&wanted)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(since.elapsed() < DEADLINE, "not everybody hears everybody");
            }
        }
    }

    /// A row of changes, and then quiet; what all saw is judged.
    async fn round(&mut self, dice: &mut Dice) {
        self.quiet.store(false, Ordering::Relaxed);
        for _ in 0..5 + dice.below(20) {
            tokio::time::sleep(Duration::from_millis(dice.below(CHANGE_MS as usize) as u64)).await;
            self.change(dice).await;
        }
        let last = Instant::now();
        self.settle(last).await;
        self.quiet.store(true, Ordering::Relaxed);
        self.everybody_is_heard().await;
        let present = self.users.iter().filter_map(|user| user.stay.as_ref()).map(|stay| stay.life.clone());
        self.judge.judge(present.collect());
    }
}

async fn listen(mut group: SecureGroup, life: Life) {
    while let Ok(Some(event)) = group.next().await {
        life.see(event);
    }
}

async fn talk(speaker: Speaker, number: u64, quiet: Arc<AtomicBool>) {
    let mut next = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(40)).await;
        if quiet.load(Ordering::Relaxed) {
            continue;
        }
        match speaker.send(Service::Agreed, None, format!("{number} {next}").into_bytes()).await {
            Ok(()) => next += 1,
            Err(SecureError::Rejected(_)) => {}
            Err(_) => return,
        }
    }
}

async fn cascades(protocol: KeyProtocol, length: Duration) {
    let seed = std::env::var("RINGFORT_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("RINGFORT_CHAOS_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut cascades = Cascades::new(protocol).await;
    let started = Instant::now();
    while started.elapsed() < length {
        cascades.round(&mut dice).await;
    }
    let Cascades { settled, changes, judge, .. } = &cascades;
    let mut took: Vec<Duration> = settled.iter().map(|(took, _)| *took).collect();
    took.sort_unstable();
    let starved = settled.iter().filter(|(_, starved)| *starved >= STARVED).count();
    println!(
        "{protocol:?}: {changes} changes, {} rests ({starved} on a starved machine), a key after {:?} (median), {:?} (most); {}",
        settled.len(),
        took[took.len() / 2],
        took[took.len() - 1],
        judge.tell()
    );
    judge.has_looked();
    let late: Vec<_> = settled.iter().filter(|(took, starved)| *took > KEYED_WITHIN && *starved < STARVED).collect();
    assert!(late.is_empty(), "keys came too late: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_network_has_one_key_soon_after_seconds_of_cascades() {
    cascades(KeyProtocol::Tgdh, Duration::from_secs(12)).await;
}

/// `RINGFORT_CHAOS_MINUTES=30 cargo test -p ringfort-cli --test sites -- --ignored --nocapture cascades`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "as many minutes as RINGFORT_CHAOS_MINUTES says, or three"]
async fn every_part_of_a_network_has_one_key_soon_after_minutes_of_cascades() {
    let minutes = std::env::var("RINGFORT_CHAOS_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(3);
    let protocol = match std::env::var("RINGFORT_CHAOS_KEYS").as_deref() {
        Ok("gdh") => KeyProtocol::Gdh,
        Ok("ckd") => KeyProtocol::Ckd,
        _ => KeyProtocol::Tgdh,
    };
    cascades(protocol, Duration::from_secs(60 * minutes)).await;
}
