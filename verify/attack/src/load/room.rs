//! The group that suffers: leaders' processes, members that talk, somebody who comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfort_node::leader::LeaderOptions;
use ringfort_protocol::Policy;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::flood::{Flood, Mob};
use super::inside::busy;
use super::measure::{Cpu, Meter, Times, Watch, most_kib, resident_kib};
use super::report::{Bound, CaseReport};
use crate::real::PATIENCE;
use crate::real::insider::{Insider, Tap};
use crate::real::ledger::Totals;
use crate::real::stage::{N, Pace, Stage, fast_policy};
use crate::real::story::Story;

/// Members that are honest all the time.
const HONEST: [&str; 3] = ["ana", "ben", "eva"];
/// Those of them that hear ana.
const LISTENERS: [&str; 2] = ["ben", "eva"];
/// How many times as long messages may be under way at most, in one case of a hundred, and what counts as calm at least:
/// together 200 ms, which nobody notices in a chat.
const P99_TIMES: f64 = 5.0;
const P99_CALM_MIN_MS: f64 = 40.0;
/// The longest that a join may take where the honest must hardly notice.
const JOIN_MAX_MS: f64 = 2_000.0;
/// What others keep of their rate beside a slow reader.
const RATE_KEPT: f64 = 0.8;
/// The shortest time for which messages are listened to for comparison.
const LISTEN_MIN: Duration = Duration::from_secs(5);
/// Joins that failed of which the report tells the reason.
const TOLD_MAX: usize = 3;
/// All members on this stage, honest or not.
const MEMBERS: usize = 7;
/// Messages kept for repair, bytes: some seconds of what is said at most here, and small, so that the bound is sharp.
const HISTORY_BYTES: u32 = 16 * 1024 * 1024;
/// Files and sockets that the attackers may have open.
const DESCRIPTORS: u64 = 12_000;
/// Messages in a burst to members that do not read, and their length.
const BURST: usize = 200;
const BURST_BYTES: usize = 12 * 1024;
/// What a slow reader takes from each leader in a second, bytes.
const SLOW_BYTES_PER_S: u64 = 1_000_000;
/// Slow readers may hold senders up for a second in each minute: what is counted is the pace after that.
const HELD_AT_FIRST: Duration = Duration::from_secs(2);
/// The longest that a join may take under load.
const JOIN_WITHIN: Duration = Duration::from_secs(60);
/// The least time between two joins: leaders let one user in eight times a second, if he comes again and again.
const JOIN_EVERY: Duration = Duration::from_millis(150);

/// The group.
pub struct Room {
    stage: Stage,
    addresses: Vec<String>,
    /// The leader that is taken over, where one is.
    hacked: u8,
    /// A leader has flooded the others: they remember it.
    flooded: bool,
}

impl Room {
    /// Starts leaders and members; `hacked` is the leader that will be taken over.
    ///
    /// # Errors
    /// They cannot be started.
    pub async fn open(program: PathBuf, hacked: u8) -> anyhow::Result<Room> {
        more_descriptors();
        let pace =
            Pace { talk: Duration::from_millis(100), rekey: Duration::from_secs(2), show_talk: false, topic: "chat" };
        let policy = Policy {
            remove_silent_after_ms: 120_000,
            confirm_within_ms: 10_000,
            overlap_ms: 20_000,
            history_bytes_max: HISTORY_BYTES,
            login_attempts_per_minute: 60,
            ..fast_policy(pace)
        };
        let mut stage = Stage::deal(Story::silent(), pace, program, &Stage::all_users(), policy)?;
        stage.begin().await?;
        let addresses = stage.info.leaders.iter().map(|leader| leader.address.clone()).collect();
        Ok(Room { stage, addresses, hacked, flooded: false })
    }

    /// What a leader may use above its rest.
    pub fn bound(&self) -> Bound {
        Bound::of(&LeaderOptions::default(), &self.stage.info.policy, MEMBERS, usize::from(N) - 1)
    }

    /// Ends all processes.
    pub async fn close(self) {
        self.stage.close().await;
    }

    /// Suffers one kind of load for at least `length`, while somebody joins and leaves all the time.
    ///
    /// # Errors
    /// The attackers themselves cannot get in.
    pub async fn suffer(&mut self, flood: Flood, length: Duration, connections: usize) -> anyhow::Result<CaseReport> {
        if flood.leader().is_some() && std::mem::replace(&mut self.flooded, true) {
            self.renew().await?;
        }
        let own_before = resident_kib(std::process::id()).unwrap_or_default();
        let before = most_kib(&self.pids(flood));
        let calm = if is_strict(flood) { self.listen(length).await } else { Calm::default() };
        let books = Books::of(&self.stage, self.hacked);
        let insiders = self.insiders(flood).await?;
        self.hack(flood).await?;

        let watch = Watch::begin(self.pids(flood), self.stage.desk.clone(), self.honest(flood).collect());
        let mob = Mob::gather(flood, &self.addresses, connections);
        let taps: Vec<Tap> = insiders.iter().filter(|_| flood == Flood::SlowReaders).map(Insider::tap).collect();
        let busy = busy(flood, insiders, &mob.tally);
        // As many receivers before, meanwhile and after: they all cost their share.
        let calm_rate = self.calm_rate(flood, length / 2).await;
        taps.iter().for_each(|tap| tap.limit(SLOW_BYTES_PER_S));
        self.stage.desk.with(|state| drop(state.ledger.take_latencies()));
        let meter = Meter::begin(self.hacked_pid(flood), self.pids(flood));
        let stir = self.come_and_go(flood, length).await;
        let cpu = meter.end();
        let tally = mob.tally.clone();
        let latencies = self.stage.desk.with(|state| state.ledger.take_latencies());
        let seen = watch.end().await;
        taps.iter().for_each(Tap::open);
        let rates = calm_rate.zip(self.calm_rate(flood, length / 2).await).map(|(a, b)| a.min(b)).zip(stir.rate);
        mob.disperse().await;
        for task in busy {
            task.abort();
            // Aborted, as it should be.
            let _ = task.await;
        }

        let missing = self.stage.all_arrived(Instant::now(), PATIENCE, &BTreeSet::new()).await as u64;
        let named = self.named(flood);
        let is_calm = self.calm(flood).await;
        let wrong = Books::of(&self.stage, self.hacked).since(&books, missing);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let tried = flood.leader().map_or(0, |_| self.stage.desk.look(|state| state.attempts(self.hacked)));
        let mut report = CaseReport {
            kind: flood.name(),
            what: flood.what(),
            attempts: count(&tally.attempts) + tried,
            served: count(&tally.served),
            refused: count(&tally.refused),
            rss_before_kib: before,
            rss_peak_kib: seen.peak_kib,
            rss_after_kib: most_kib(&self.pids(flood)),
            own_before_kib: own_before,
            own_peak_kib: seen.own_peak_kib,
            joins: Times::of(stir.joins),
            joins_failed: (stir.failed.len() + calm.failed.len()) as u64,
            messages: Times::of(latencies),
            messages_calm: calm.messages,
            cpu,
            cpu_calm: calm.cpu,
            rates,
            named: named.iter().map(|(word, by)| (word.clone(), by.values().sum())).collect(),
            messages_wrong: wrong.iter().map(|(_, count)| count).sum(),
            complaints: Vec::new(),
            delays: Vec::new(),
        };
        report.delays = delays(flood, &report);
        report.complaints = complaints(flood, &report, is_calm);
        report.complaints.extend(stir.failed.into_iter().chain(calm.failed).take(TOLD_MAX));
        report.complaints.extend(seen.unheard.into_iter().filter(|_| is_strict(flood)));
        report.complaints.extend(unnamed(flood, self.hacked, &named));
        let wrong = wrong.iter().filter(|(_, count)| *count > 0);
        report.complaints.extend(wrong.map(|(what, count)| format!("{count} {what}")));
        Ok(report)
    }

    /// The processes of honest leaders.
    fn pids(&self, flood: Flood) -> Vec<u32> {
        self.honest(flood).filter_map(|leader| self.stage.pid(leader)).collect()
    }

    /// The process of the hacked leader, if there is one.
    fn hacked_pid(&self, flood: Flood) -> Vec<u32> {
        flood.leader().and_then(|_| self.stage.pid(self.hacked)).into_iter().collect()
    }

    /// Leaders that are honest meanwhile.
    fn honest(&self, flood: Flood) -> impl Iterator<Item = u8> {
        let hacked = self.hacked;
        (1..=N).filter(move |leader| flood.leader().is_none() || *leader != hacked)
    }

    /// Everybody forgets what the hacked leader did: leaders start anew, members join anew.
    async fn renew(&mut self) -> anyhow::Result<()> {
        for leader in 1..=N {
            self.stage.start(leader).await?;
            anyhow::ensure!(self.stage.heard(leader).await, "the members do not hear leader {leader} again");
        }
        self.stage.fresh_stays().await
    }

    /// Takes a leader over, and waits until it does what it is there for.
    async fn hack(&mut self, flood: Flood) -> anyhow::Result<()> {
        let Some(kind) = flood.leader() else { return Ok(()) };
        self.stage.attack(self.hacked, kind).await?;
        let at_work = self.stage.desk.until(PATIENCE, |state| state.attempts(self.hacked) > 0).await;
        anyhow::ensure!(at_work, "leader {} floods nobody", self.hacked);
        Ok(())
    }

    /// Who named the hacked leader, by word and observer.
    fn named(&self, flood: Flood) -> Named {
        let Some(kind) = flood.leader() else { return Named::new() };
        let seen = self.stage.desk.look(|state| state.leader(self.hacked).map(|leader| leader.seen.clone()));
        // That it is silent may be said of anybody.
        seen.unwrap_or_default().into_iter().filter(|(word, _)| kind.caught_as().contains(&word.as_str())).collect()
    }

    /// What is seen while nobody attacks and all else is the same: somebody joins and leaves all the time.
    async fn listen(&mut self, length: Duration) -> Calm {
        self.stage.desk.with(|state| drop(state.ledger.take_latencies()));
        let meter = Meter::begin(Vec::new(), self.pids(Flood::Calm));
        let stir = self.come_and_go(Flood::Calm, (length / 2).max(LISTEN_MIN)).await;
        let messages = Times::of(self.stage.desk.with(|state| state.ledger.take_latencies()));
        Calm { messages, cpu: meter.end(), failed: stir.failed }
    }

    /// How many long messages a second the other honest members get, while one says as much as it can: what comes within the
    /// window, whatever still comes after it.
    async fn rate(&mut self, window: Duration) -> f64 {
        let (began, text, mut start) = (Instant::now(), "x".repeat(BURST_BYTES), None);
        while began.elapsed() < HELD_AT_FIRST + window {
            // A message that is not sent is not owed.
            let _ = self.stage.say("ana", &text).await;
            if began.elapsed() >= HELD_AT_FIRST {
                start.get_or_insert_with(|| (Instant::now(), self.received()));
            }
        }
        let (from, before) = start.unwrap_or((began, 0));
        let rate = (self.received() - before) as f64 / LISTENERS.len() as f64 / from.elapsed().as_secs_f64();
        // The next measurement starts afresh.
        self.stage.all_arrived(Instant::now(), PATIENCE, &BTreeSet::new()).await;
        rate
    }

    /// As [`Room::rate`], before and after a slow reader is one.
    async fn calm_rate(&mut self, flood: Flood, window: Duration) -> Option<f64> {
        if flood == Flood::SlowReaders { Some(self.rate(window).await) } else { None }
    }

    /// Messages that the listeners got so far.
    fn received(&self) -> u64 {
        self.stage.desk.look(|state| {
            let books = state.ledger.by_member();
            LISTENERS.iter().filter_map(|name| books.get(*name)).map(|(_, got)| got).sum()
        })
    }

    /// Members that will attack.
    async fn insiders(&mut self, flood: Flood) -> anyhow::Result<Vec<Insider>> {
        let mut insiders = Vec::new();
        for name in flood.insiders() {
            self.stage.desk.with(|state| state.insiders.insert((*name).to_owned()));
            let password = self.stage.password(name)?.to_owned();
            insiders.push(Insider::join(&self.stage.info, name, &password).await?);
        }
        Ok(insiders)
    }

    /// Somebody joins and leaves until the time is over, once at least; and much is said, if nobody reads.
    async fn come_and_go(&mut self, flood: Flood, length: Duration) -> Stir {
        let (mut joins, mut failed, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        let until = Instant::now() + length;
        // The attackers first.
        tokio::time::sleep(length / 4).await;
        while joins.is_empty() && failed.is_empty() || Instant::now() < until {
            if flood == Flood::SlowReaders {
                rates.push(self.rate(length / 4).await);
            }
            if flood == Flood::NeverReads {
                let text = "x".repeat(BURST_BYTES);
                for _ in 0..BURST {
                    // A message that is not sent is not owed.
                    let _ = self.stage.say("ana", &text).await;
                }
            }
            let began = Instant::now();
            match self.stage.join("dan", JOIN_WITHIN).await {
                Ok(()) => joins.push(began.elapsed()),
                Err(e) => failed.push(format!("dan did not get in: {e:#}")),
            }
            if self.stage.present().contains("dan")
                && let Err(e) = self.stage.leave("dan").await
            {
                failed.push(format!("dan did not get out: {e:#}"));
            }
            tokio::time::sleep(JOIN_EVERY.saturating_sub(began.elapsed())).await;
        }
        let rate = (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64);
        Stir { joins, failed, rate }
    }

    /// Waits until everything is as before: one view, all leaders heard.
    async fn calm(&mut self, flood: Flood) -> bool {
        let right = self.stage.put_right().await.is_ok();
        // Whoever was cut off is taken back within a minute.
        right || flood.leader().is_some() && self.stage.put_right().await.is_ok()
    }
}

/// What came of somebody's coming and going.
struct Stir {
    joins: Vec<Duration>,
    /// What a person would have read, for each join that failed.
    failed: Vec<String>,
    rate: Option<f64>,
}

/// What is seen while nobody attacks.
#[derive(Default)]
struct Calm {
    messages: Times,
    cpu: Cpu,
    failed: Vec<String>,
}

/// Who named a leader: by word, by observer, how often.
type Named = BTreeMap<String, BTreeMap<String, u64>>;

/// What must not change while somebody attacks.
struct Books {
    totals: Totals,
    gaps: u64,
    wronged: u64,
    cut_off: u64,
}

impl Books {
    fn of(stage: &Stage, hacked: u8) -> Self {
        stage.desk.look(|state| Books {
            totals: state.ledger.totals(),
            gaps: state.members.values().map(|member| member.gaps).sum(),
            wronged: state.wronged.len() as u64,
            cut_off: (1..=N).filter(|l| *l != hacked).map(|l| state.seen(&format!("leader {l}"), "cut-off")).sum(),
        })
    }

    fn since(self, before: &Books, missing: u64) -> [(&'static str, u64); 7] {
        [
            ("messages not delivered", missing),
            ("messages delivered twice", self.totals.duplicated - before.totals.duplicated),
            ("messages out of order", self.totals.out_of_order - before.totals.out_of_order),
            ("messages forged", self.totals.forged - before.totals.forged),
            ("messages given up", self.gaps - before.gaps),
            ("honest leaders and members blamed", self.wronged - before.wronged),
            ("times an honest leader cut off", self.cut_off - before.cut_off),
        ]
    }
}

/// Whether the honest must hardly notice.
fn is_strict(flood: Flood) -> bool {
    flood.leader().is_some() || flood == Flood::Holes
}

/// Whoever was flooded by the hacked leader and did not name it.
fn unnamed(flood: Flood, hacked: u8, named: &Named) -> Vec<String> {
    let leaders = (1..=N).filter(|leader| *leader != hacked).map(|leader| format!("leader {leader}"));
    let members = HONEST.map(str::to_owned);
    let flooded: Vec<String> = match flood {
        Flood::LeaderFrames => leaders.collect(),
        Flood::LeaderLists => members.to_vec(),
        Flood::LeaderTorrent => leaders.chain(members).collect(),
        _ => Vec::new(),
    };
    let silent = flooded.iter().filter(|who| !named.values().any(|by| by.contains_key(*who)));
    silent.map(|who| format!("{who} does not name the attacker")).collect()
}

/// What went wrong.
fn complaints(flood: Flood, report: &CaseReport, calm: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    if flood != Flood::Calm && report.attempts == 0 {
        complaints.push("no attack was made".to_owned());
    }
    if report.joins.count == 0 || report.joins_failed > 0 {
        complaints.push(format!("{} joins failed", report.joins_failed));
    }
    if report.messages.count == 0 {
        complaints.push("nobody heard anybody".to_owned());
    }
    if !calm {
        complaints.push("the group is not as before".to_owned());
    }
    complaints
}

/// What took longer than it may.
fn delays(flood: Flood, report: &CaseReport) -> Vec<String> {
    let mut delays = Vec::new();
    if is_strict(flood) {
        let (p99, limit) = (report.messages.p99_ms, P99_TIMES * report.messages_calm.p99_ms.max(P99_CALM_MIN_MS));
        if p99 >= limit {
            delays.push(format!("the p99 of messages was {p99} ms, and {limit} ms is the limit"));
        }
        if report.joins.max_ms > JOIN_MAX_MS {
            delays.push(format!("a join took {} ms", report.joins.max_ms));
        }
    }
    if let Some((calm, meanwhile)) = report.rates.filter(|(calm, meanwhile)| *meanwhile < RATE_KEPT * calm) {
        delays.push(format!("{meanwhile:.0} messages a second, of {calm:.0}"));
    }
    delays
}

/// As many as the system allows, up to what the attackers need.
fn more_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = DESCRIPTORS.min(maximum.unwrap_or(DESCRIPTORS));
    if current.is_some_and(|current| current < wanted) {
        // With fewer, fewer connections are held; the report says how many.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
