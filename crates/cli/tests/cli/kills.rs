//! Leaders' processes are killed, again and again, while people come and go and talk: each comes back right.
//!
//! `RINGFORT_KILLS=300 cargo test -p ringfort-cli --test cli kills -- --nocapture` is the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ringfort::protocol::coordination::Operation;
use ringfort::protocol::leader::Record;
use ringfort::protocol::{LeaderId, ViewId};
use ringfort::{Credentials, Event, Events, Group, JoinOptions};
use ringfort_node::folder::LeaderFolder;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{DEADLINE, Running, ringfort, run, text};
use super::world::write_private;

const LEADERS: usize = 4;
const KILLS: usize = 20;
const POLICY: &str = "argon2_memory_kib = 8\nargon2_passes = 1\nheartbeat_ms = 100\nconfirm_within_ms = 800\n\
                      remove_silent_after_ms = 20000\nlogin_attempts_per_minute = 6000\nrekey_period_ms = 1500\n";

/// Leaders as processes, and all that each has told in all its lives.
struct Leaders {
    home: TempDir,
    running: Vec<Option<Running>>,
    told: Vec<Vec<Value>>,
}

impl Leaders {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let users =
            ["ana", "ben", "cy"].map(|name| format!("[[user]]\nname = \"{name}\"\npassword = \"secret of {name}\"\n"));
        write_private(&home.path().join("users.toml"), &users.concat());
        std::fs::write(home.path().join("policy.toml"), POLICY).unwrap();
        let listen = ringfort_loopback::addresses::<4>().unwrap()[0].to_string();
        let path = |name: &str| home.path().join(name);
        let (group, users, policy) = (path("g"), path("users.toml"), path("policy.toml"));
        run(&["init", text(&group), "--listen", &listen, "--users", text(&users), "--policy", text(&policy)])
            .succeeded();
        let mut leaders = Leaders { home, running: Vec::new(), told: vec![Vec::new(); LEADERS] };
        for number in 1..=LEADERS {
            let process = leaders.process(number);
            leaders.running.push(Some(process));
        }
        leaders
    }

    fn folder(&self, number: usize) -> std::path::PathBuf {
        self.home.path().join(format!("g/leader-{number}"))
    }

    fn process(&self, number: usize) -> Running {
        let mut process = Running::start(ringfort(&["leader", text(&self.folder(number)), "--json"]));
        process.event("listening");
        process
    }

    /// Kills a leader in whatever it is doing, and starts it again.
    fn kill(&mut self, number: usize) {
        let killed = self.running[number - 1].take().unwrap();
        self.told[number - 1].extend(killed.killed());
        self.running[number - 1] = Some(self.process(number));
    }

    /// Stops all; what each has told in all its lives.
    fn stop(&mut self) {
        for number in 1..=LEADERS {
            let (status, told) = self.running[number - 1].take().unwrap().terminated();
            assert_eq!(status, 0);
            self.told[number - 1].extend(told);
        }
    }
}

/// The keys that members have installed, by view, as fingerprints.
type Keys = Arc<Mutex<BTreeMap<ViewId, BTreeSet<[u8; 8]>>>>;

async fn join(group: &Path, name: &str) -> (Group, Events) {
    let credentials = Credentials::password(name, format!("secret of {name}").as_bytes()).unwrap();
    let info = ringfort_documents::read_group(group).unwrap();
    let options = JoinOptions { timeout: DEADLINE, ..JoinOptions::default() };
    Group::join_with(info, credentials, options).await.unwrap()
}

fn note_key(group: &Group, keys: &Keys) {
    let snapshot = group.snapshot();
    if let (Some(view), Some(key)) = (snapshot.view, snapshot.key_fingerprint) {
        keys.lock().unwrap().entry(view).or_default().insert(key);
    }
}

/// Takes a member's events for as long as it is in; the numbers of the messages that it was given, and of those told lost. What
/// it has been told of so far is in `told`.
async fn listen(group: Weak<Group>, mut events: Events, keys: Keys, told: Arc<AtomicU64>) -> (Vec<u64>, u64) {
    let (mut heard, mut lost) = (Vec::new(), 0);
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => heard.push(String::from_utf8_lossy(&message.payload).parse().unwrap()),
            Event::Gap { count, .. } | Event::Lagged(count) => lost += count,
            _ => drop(group.upgrade().map(|group| note_key(&group, &keys))),
        }
        told.store(heard.len() as u64 + lost, Ordering::Relaxed);
    }
    (heard, lost)
}

/// Comes and goes until told to stop; how often.
async fn come_and_go(group: std::path::PathBuf, keys: Keys, stop: Arc<AtomicBool>) -> usize {
    let mut stays = 0;
    while !stop.load(Ordering::Relaxed) {
        let (ben, mut events) = join(&group, "ben").await;
        for _ in 0..10 {
            note_key(&ben, &keys);
            tokio::time::sleep(Duration::from_millis(20)).await;
            while events.try_next().is_some() {}
        }
        let _ = tokio::time::timeout(DEADLINE, ben.leave()).await.expect("a member can leave");
        stays += 1;
    }
    stays
}

async fn useful(member: &Group, leader: LeaderId) -> bool {
    let confirms = |group: &Group| group.snapshot().leaders.iter().any(|l| l.leader == leader && l.confirms);
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if confirms(member) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn lost_sight(member: &Group, leader: LeaderId) {
    let started = Instant::now();
    while started.elapsed() < DEADLINE && member.snapshot().leaders.iter().any(|l| l.leader == leader && l.answers) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn leaders_that_are_killed_come_back_right() {
    let kills = std::env::var("RINGFORT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut leaders = Leaders::start();
    let (times, heard, lost, sent, stays, keys) = runtime.block_on(play(&mut leaders, kills));
    leaders.stop();

    assert_eq!(heard.windows(2).find(|pair| pair[0] >= pair[1]), None, "each message once, in order");
    assert!(heard.len() as u64 + lost >= sent, "{} of {sent} heard, {lost} told lost", heard.len());
    assert!(stays > 0 && !heard.is_empty());
    check_keys(&keys.lock().unwrap());
    (1..=LEADERS).for_each(|number| check_leader(&leaders, number));
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)].as_millis();
    println!(
        "{kills} kills, {stays} stays, {} of {sent} messages heard, {lost} told lost, {} keys; useful again after {} ms (p50), {} ms (p99)",
        heard.len(),
        keys.lock().unwrap().len(),
        at(50),
        at(99),
    );
}

type Played = (Vec<Duration>, Vec<u64>, u64, u64, usize, Keys);

async fn play(leaders: &mut Leaders, kills: usize) -> Played {
    let file = leaders.home.path().join("g/group.toml");
    let keys = Keys::default();
    let (ana, ana_events) = join(&file, "ana").await;
    let (cy, cy_events) = join(&file, "cy").await;
    let (ana, cy) = (Arc::new(ana), Arc::new(cy));
    let told = Arc::new(AtomicU64::new(0));
    let ana_listens = tokio::spawn(listen(Arc::downgrade(&ana), ana_events, keys.clone(), Arc::default()));
    let cy_listens = tokio::spawn(listen(Arc::downgrade(&cy), cy_events, keys.clone(), told.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let ben = tokio::spawn(come_and_go(file, keys.clone(), stop.clone()));
    let talking = tokio::spawn(talk(ana.clone(), stop.clone()));

    let mut times = Vec::new();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(40 + (kill as u64 * 97) % 400)).await;
        let number = 1 + (kill * 7 + kill / 4) % LEADERS;
        let leader = LeaderId::new(u8::try_from(number).unwrap()).unwrap();
        assert!(useful(&cy, leader).await, "{leader} does its part before it is killed");
        let killed = Instant::now();
        tokio::task::block_in_place(|| leaders.kill(number));
        lost_sight(&cy, leader).await;
        assert!(useful(&cy, leader).await, "{leader} did not come back after kill {kill}");
        times.push(killed.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let stays = ben.await.unwrap();
    let sent = talking.await.unwrap();
    let since = Instant::now();
    while told.load(Ordering::Relaxed) < sent && since.elapsed() < DEADLINE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    leave(ana).await;
    leave(cy).await;
    drop(ana_listens.await.unwrap());
    let (heard, lost) = cy_listens.await.unwrap();
    times.sort();
    (times, heard, lost, sent, stays, keys)
}

/// The tasks that look at a member now and then let it go.
async fn leave(mut member: Arc<Group>) {
    loop {
        match Arc::try_unwrap(member) {
            Ok(group) => return drop(group.leave().await),
            Err(shared) => member = shared,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn talk(ana: Arc<Group>, stop: Arc<AtomicBool>) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        if ana.multicast("chat", (sent + 1).to_string().as_bytes()).await.is_ok() {
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}

/// One key for each view, and no key for two.
fn check_keys(keys: &BTreeMap<ViewId, BTreeSet<[u8; 8]>>) {
    let mut views_of: BTreeMap<[u8; 8], ViewId> = BTreeMap::new();
    for (view, fingerprints) in keys {
        assert_eq!(fingerprints.len(), 1, "one key of {view}");
        for fingerprint in fingerprints {
            assert_eq!(views_of.insert(*fingerprint, *view), None, "the key of {view} was used before");
        }
    }
    assert!(keys.len() > 3, "{} views", keys.len());
}

/// What a leader told in all its lives is on its disk, was told once, and never went back.
fn check_leader(leaders: &Leaders, number: usize) {
    let records = LeaderFolder::open(&leaders.folder(number)).unwrap().store.load().unwrap();
    let mut ranks: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        if let Record::Life(life) = record {
            assert!(life.accepted.as_ref().is_none_or(|o| !matches!(o, Operation::Join(_))), "all have left: {life:?}");
            ranks.insert(life.subject.user().map(ToString::to_string).unwrap_or_default(), life.rank());
        }
    }
    let (mut epoch, mut admitted) = (0, BTreeSet::new());
    for line in &leaders.told[number - 1] {
        match line["event"].as_str().unwrap() {
            "published" => {
                let next = line["epoch"].as_u64().unwrap();
                assert!(next >= epoch, "leader {number} went back from epoch {epoch} to {next}");
                epoch = next;
            }
            "admitted" => {
                let (user, stay) = (line["user"].as_str().unwrap(), line["stay"].as_u64().unwrap());
                assert!(admitted.insert((user, stay)), "leader {number} accepted {user}#{stay} twice");
                assert!(ranks[user] >= 2 * stay - 1, "leader {number} forgot {user}#{stay}");
            }
            "blamed" => assert_ne!(line["kind"], "leader", "an honest leader was blamed: {line}"),
            _ => {}
        }
    }
    assert!(ranks.values().sum::<u64>() >= epoch, "leader {number} forgot what its epoch {epoch} counted");
}
