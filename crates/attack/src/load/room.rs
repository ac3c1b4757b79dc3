//! The group that suffers: leaders' processes, members that talk, somebody who comes and goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ringfort::leader::LeaderOptions;
use ringfort_protocol::Policy;
use ringfort_protocol::wire::MemberRequest;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;

use super::flood::{Flood, Mob, Tally};
use super::measure::{Times, Watch, most_kib};
use super::report::{Bound, CaseReport};
use crate::real::PATIENCE;
use crate::real::insider::Insider;
use crate::real::stage::{N, Pace, Stage, fast_policy};
use crate::real::story::Story;

/// Members that attack at once.
const INSIDERS: [&str; 3] = ["mal", "moe", "max"];
/// All members on this stage, honest or not.
const MEMBERS: usize = 7;
/// Messages kept for repair, bytes: some seconds of what is said at most here, and small, so that the bound is sharp.
const HISTORY_BYTES: u32 = 16 * 1024 * 1024;
/// Files and sockets that the attackers may have open.
const DESCRIPTORS: u64 = 12_000;
/// Messages in a burst to members that do not read, and their length.
const BURST: usize = 200;
const BURST_BYTES: usize = 12 * 1024;
/// The longest that a join may take under load.
const JOIN_WITHIN: Duration = Duration::from_secs(60);
/// Requests and messages of an insider between two pauses.
const ASKS: usize = 50;
const ASK_PAUSE: Duration = Duration::from_millis(20);

/// The group.
pub struct Room {
    stage: Stage,
    addresses: Vec<String>,
    pids: Vec<u32>,
}

impl Room {
    /// Starts leaders and members.
    ///
    /// # Errors
    /// They cannot be started.
    pub async fn open(program: PathBuf) -> anyhow::Result<Room> {
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
        let pids: Option<Vec<u32>> = (1..=N).map(|leader| stage.pid(leader)).collect();
        Ok(Room { stage, addresses, pids: pids.context("the leaders' processes")? })
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
        let before = most_kib(&self.pids);
        let totals = self.stage.desk.look(|state| state.ledger.totals());
        let gaps = self.gaps();
        let insiders = self.insiders(flood).await?;
        self.stage.desk.with(|state| drop(state.ledger.take_latencies()));

        let watch = Watch::begin(self.pids.clone());
        let mob = Mob::gather(flood, &self.addresses, connections);
        let busy = busy(flood, insiders, &mob.tally);
        let (joins, failed) = self.come_and_go(flood, length).await;
        let tally = mob.tally.clone();
        let latencies = self.stage.desk.with(|state| state.ledger.take_latencies());
        let peak = watch.end().await;
        mob.disperse().await;
        for task in busy {
            task.abort();
            // Aborted, as it should be.
            let _ = task.await;
        }

        let missing = self.stage.all_arrived(Instant::now(), PATIENCE).await as u64;
        let calm = self.calm().await;
        let now = self.stage.desk.look(|state| state.ledger.totals());
        let wrong = [
            ("not delivered", missing),
            ("delivered twice", now.duplicated - totals.duplicated),
            ("out of order", now.out_of_order - totals.out_of_order),
            ("forged", now.forged - totals.forged),
            ("given up", self.gaps() - gaps),
        ];
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let mut report = CaseReport {
            kind: flood.name(),
            what: flood.what(),
            attempts: count(&tally.attempts),
            served: count(&tally.served),
            refused: count(&tally.refused),
            rss_before_kib: before,
            rss_peak_kib: peak,
            rss_after_kib: most_kib(&self.pids),
            joins: Times::of(joins),
            joins_failed: failed,
            messages: Times::of(latencies),
            messages_wrong: wrong.iter().map(|(_, count)| count).sum(),
            complaints: Vec::new(),
        };
        report.complaints = complaints(flood, &report, calm);
        let wrong = wrong.iter().filter(|(_, count)| *count > 0);
        report.complaints.extend(wrong.map(|(what, count)| format!("{count} messages {what}")));
        Ok(report)
    }

    /// Members that will attack.
    async fn insiders(&mut self, flood: Flood) -> anyhow::Result<Vec<Insider>> {
        let mut insiders = Vec::new();
        if matches!(flood, Flood::NeverReads | Flood::Insiders) {
            for name in INSIDERS {
                self.stage.desk.with(|state| state.insiders.insert(name.to_owned()));
                let password = self.stage.password(name)?.to_owned();
                insiders.push(Insider::join(&self.stage.info, name, &password).await?);
            }
        }
        Ok(insiders)
    }

    /// Somebody joins and leaves until the time is over, once at least; and much is said, if nobody reads.
    async fn come_and_go(&mut self, flood: Flood, length: Duration) -> (Vec<Duration>, u64) {
        let (mut joins, mut failed) = (Vec::new(), 0);
        let until = Instant::now() + length;
        // The attackers first.
        tokio::time::sleep(length / 4).await;
        while joins.is_empty() && failed == 0 || Instant::now() < until {
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
                Err(_) => failed += 1,
            }
            if self.stage.present().contains("dan") && self.stage.leave("dan").await.is_err() {
                failed += 1;
            }
        }
        (joins, failed)
    }

    /// Waits until everything is as before: one view, all leaders heard.
    async fn calm(&mut self) -> bool {
        self.stage.put_right().await.is_ok()
    }

    fn gaps(&self) -> u64 {
        self.stage.desk.look(|state| state.members.values().map(|member| member.gaps).sum())
    }
}

/// What did not hold.
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

/// What attackers do that are members.
fn busy(flood: Flood, insiders: Vec<Insider>, tally: &Arc<Tally>) -> Vec<JoinHandle<()>> {
    let works = insiders.into_iter().map(|insider| {
        let tally = tally.clone();
        tokio::spawn(async move {
            match flood {
                Flood::Insiders => ask_without_end(insider, &tally).await,
                _ => {
                    tally.tried();
                    hold(insider).await;
                }
            }
        })
    });
    works.collect()
}

/// Stays logged in and takes nothing from its links.
async fn hold(insider: Insider) {
    insider.go_deaf();
    std::future::pending::<()>().await;
    drop(insider);
}

async fn ask_without_end(mut insider: Insider, tally: &Tally) {
    let mut answers = insider.answers();
    loop {
        let mut asked = 0;
        for leader in insider.leaders() {
            for _ in 0..ASKS {
                tally.tried();
                asked += u64::from(insider.request(leader, &MemberRequest::Claim { have: None }));
            }
            // Leaders relay it, and nobody can open it.
            if let Ok(frame) = insider.noise() {
                tally.tried();
                insider.send(leader, frame);
            }
        }
        insider.live(ASK_PAUSE, |_| false).await;
        let answered = insider.answers() - std::mem::replace(&mut answers, insider.answers());
        tally.count(answered, asked.saturating_sub(answered));
    }
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
