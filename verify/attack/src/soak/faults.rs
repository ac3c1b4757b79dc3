//! How faults are made and mended on the real stage, and what is looked at all the while.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfort_node::folder::STATE_FOLDER;
use ringfort_protocol::view::Cause;

use super::audit::{Visits, audit};
use super::plan::{Fault, Plan, Turn};
use super::report::{Report, Use};
use crate::load::resident_kib;
use crate::real::PATIENCE;
use crate::real::desk::{MemberState, Mode, State};
use crate::real::members::CHAT;
use crate::real::stage::{N, Pace, Stage, fast_policy};
use crate::real::story::Story;
use crate::real::trial::HONEST;

/// Those who come and go, at most so many at once beside those who stay.
const GUESTS_MAX: usize = 4;
/// Time between two comings or goings.
const GUEST_PAUSE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1_500));
/// How long a leader may take until everybody hears it again, once its fault is over.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long a leader whose disk is full may take to notice: it writes with every join and leave.
const NOTICE: Duration = Duration::from_secs(20);

/// A soak under way.
pub(super) struct Running {
    pub plan: Plan,
    stage: Stage,
    report: Report,
    visits: Visits,
    /// Faults that could not be mended: nothing that follows would say anything.
    lost: bool,
}

impl Running {
    pub async fn begin(seed: u64, long: bool, program: PathBuf) -> anyhow::Result<Running> {
        let pace =
            Pace { talk: Duration::from_millis(100), rekey: Duration::from_secs(3), show_talk: false, topic: CHAT };
        let policy = ringfort_protocol::Policy {
            remove_silent_after_ms: 60_000,
            overlap_ms: 20_000,
            history_bytes_max: 4 << 20,
            ..fast_policy(pace)
        };
        let mut stage = Stage::wired(Story::silent(), pace, program, policy).await?;
        stage.keep_logs(&HONEST);
        stage.begin().await?;
        let (plan, report) = (Plan::new(seed, long), Report::new(seed));
        Ok(Running { plan, stage, report, lost: false, visits: Visits::default() })
    }

    /// Keeps the leaders' folders; where they are.
    pub fn keep(&mut self) -> PathBuf {
        self.stage.keep_folder();
        self.stage.folder()
    }

    /// Whether it makes sense to go on.
    pub fn is_sound(&self) -> bool {
        !self.lost
    }

    /// One fault from its beginning until all is well, with comings and goings all the while.
    pub async fn suffer(&mut self, turn: &Turn) {
        let outcome = async {
            self.make(turn).await?;
            match turn.fault {
                // Whoever came or left would wait until the sleeper knows of it, and the sleep would last as long.
                Fault::Sleep => tokio::time::sleep(turn.lasts).await,
                _ => self.come_and_go(turn.lasts).await,
            }
            self.mend(turn).await?;
            let mended = Instant::now();
            self.all_is_well().await?;
            self.report.recovered(turn.fault, mended.elapsed());
            anyhow::Ok(())
        }
        .await;
        if let Err(error) = outcome {
            self.report.broke(format!("{} at leader {}: {error:#}", turn.fault, turn.leader));
            self.lost = true;
            return;
        }
        self.come_and_go(turn.rest).await;
    }

    async fn make(&mut self, turn: &Turn) -> anyhow::Result<()> {
        let leader = turn.leader;
        match turn.fault {
            Fault::Kill => self.stage.stop(leader).await?,
            Fault::Freeze => self.stage.freeze(leader)?,
            Fault::CutOff | Fault::LongCut => self.stage.wires()?.around(leader).iter().for_each(|wire| wire.sever()),
            Fault::CutLeaders => self.stage.wires()?.between(leader, turn.other)?.sever(),
            Fault::CutMember => {
                let place = usize::from(turn.other) % HONEST.len();
                let member = HONEST.get(place).copied().unwrap_or("ana");
                self.stage.wires()?.of_member(member, leader)?.sever();
            }
            Fault::Sleep => {
                let wires = self.stage.wires()?;
                let member = HONEST.get(usize::from(turn.other) % HONEST.len()).copied().unwrap_or("ana");
                for leader in 1..=N {
                    wires.of_member(member, leader)?.sever();
                }
            }
            Fault::FullDisk => self.stage.fill_disk(leader)?,
            Fault::ClockAhead => self.stage.shift_clock(leader, turn.minutes * 60).await?,
            Fault::ClockBack => self.stage.shift_clock(leader, -turn.minutes * 60).await?,
            Fault::Attack(kind) => self.stage.attack(leader, kind).await?,
        }
        Ok(())
    }

    async fn mend(&mut self, turn: &Turn) -> anyhow::Result<()> {
        let leader = turn.leader;
        match turn.fault {
            Fault::Freeze => self.stage.thaw(leader)?,
            Fault::CutOff | Fault::CutLeaders | Fault::CutMember | Fault::LongCut | Fault::Sleep => {
                self.stage.wires()?.heal();
            }
            Fault::ClockAhead | Fault::ClockBack => self.stage.shift_clock(leader, 0).await?,
            Fault::Kill | Fault::Attack(_) => self.stage.start(leader).await?,
            Fault::FullDisk => {
                let began = Instant::now();
                while !self.stage.has_ended(leader)? {
                    anyhow::ensure!(began.elapsed() < NOTICE, "it goes on, though it can remember nothing");
                    self.come_and_go(Duration::from_millis(200)).await;
                }
                self.stage.start(leader).await?;
            }
        }
        Ok(())
    }

    /// Everybody in one confirmed view, hearing all leaders.
    async fn all_is_well(&mut self) -> anyhow::Result<()> {
        let names = self.stage.present();
        let well = self.stage.desk.until(RECOVERY, |state| state.agree(&names) && (1..=N).all(|l| state.all_hear(l)));
        if well.await {
            return Ok(());
        }
        let seen = self.stage.desk.look(|state| {
            let one = |(name, member): (&String, &MemberState)| {
                let deaf: Vec<u8> = (1..=N).filter(|leader| member.answers.get(leader) != Some(&true)).collect();
                format!(
                    "{name} in {:?} of {:?}, confirmed {}, without {deaf:?}",
                    member.view, member.members, member.confirmed
                )
            };
            state.present().map(one).collect::<Vec<_>>().join("; ")
        });
        anyhow::bail!("{names:?} are not in one view, hearing all leaders, within {RECOVERY:?}: {seen}");
    }

    /// Guests join and leave for a while, at least one of them.
    async fn come_and_go(&mut self, length: Duration) {
        let began = Instant::now();
        loop {
            let pause = self.plan.between(GUEST_PAUSE.0, GUEST_PAUSE.1);
            tokio::time::sleep(pause.min(length.saturating_sub(began.elapsed()))).await;
            self.one_comes_or_goes().await;
            if began.elapsed() >= length {
                return;
            }
        }
    }

    async fn one_comes_or_goes(&mut self) {
        let present = self.stage.present();
        let all = Stage::all_users();
        let guests: Vec<&str> = all.into_iter().filter(|name| !HONEST.contains(name)).collect();
        let (inside, outside): (Vec<&str>, Vec<&str>) = guests.into_iter().partition(|name| present.contains(*name));
        let full = inside.len() >= GUESTS_MAX;
        let from = if full || (!inside.is_empty() && self.plan.below(2) == 0) { &inside } else { &outside };
        let place = usize::try_from(self.plan.below(from.len() as u64)).unwrap_or(0);
        let Some(name) = from.get(place).copied() else { return };
        let began = Instant::now();
        self.visits.changes(name);
        let comes = !inside.contains(&name);
        let outcome = if comes {
            self.stage.join(name, PATIENCE).await.inspect(|()| self.report.joined(began.elapsed()))
        } else {
            self.report.leaves += 1;
            self.stage.leave(name).await
        };
        if let Err(error) = outcome {
            self.report.broke(format!("{name}, after {:?}: {error:#}", began.elapsed()));
            self.stage.forget(name);
        } else if self.everybody_sees(name, comes).await {
            self.visits.changed(name, comes);
        }
    }

    /// Waits until those who keep logs have a guest in their view, or not any more.
    async fn everybody_sees(&self, name: &str, inside: bool) -> bool {
        let seen = |state: &mut State| {
            HONEST.iter().all(|who| state.members.get(*who).is_some_and(|who| who.members.contains(name) == inside))
        };
        self.stage.desk.until(PATIENCE, seen).await
    }

    /// Looks at what leaders use.
    pub fn measure(&mut self, second_half: bool) {
        let used = (1..=N).filter_map(|leader| {
            let memory_kib = resident_kib(self.stage.pid(leader)?)?;
            let disk_kib = folder_bytes(&self.stage.leader_folder(leader)?.join(STATE_FOLDER)) / 1024;
            Some(Use { memory_kib, disk_kib })
        });
        let half = if second_half { &mut self.report.second_half } else { &mut self.report.first_half };
        *half = used.fold(*half, Use::most);
    }

    /// Waits for what is owed, and closes the books.
    pub async fn end(mut self, length: Duration) -> Report {
        self.report.seconds = length.as_secs();
        self.stage.desk.with(|state| state.talking = false);
        self.stage.settled().await;
        self.visits.close();
        for name in HONEST {
            if let Err(error) = self.stage.leave(name).await {
                self.report.broke(format!("{name} at the end: {error:#}"));
            }
            match audit(&self.stage.log_of(name), &self.stage.info, &self.visits, &mut self.plan) {
                Ok(audit) => self.report.audited(audit),
                Err(error) => self.report.broke(format!("the log of {name}: {error:#}")),
            }
        }
        let known = Stage::all_users();
        let (totals, owed, gaps, keys, strangers, wronged, departed, times) = self.stage.desk.with(|state| {
            let seen = state.ledger.views().flatten();
            let strangers: BTreeSet<String> = seen.filter(|name| !known.contains(&name.as_str())).cloned().collect();
            let departed: Vec<String> = (state.departed.iter())
                .filter(|((_, cause), _)| *cause != Cause::Left)
                .map(|((name, cause), _)| format!("{name} was put out ({cause:?})"))
                .collect();
            (
                state.ledger.totals(),
                state.ledger.owed().len() as u64,
                state.members.values().map(|member| member.gaps).sum(),
                state.keys(),
                strangers,
                state.wronged.clone(),
                departed,
                state.ledger.take_latencies(),
            )
        });
        self.report.views = keys;
        self.report.judge(totals, owed, gaps);
        strangers.into_iter().for_each(|name| self.report.broke(format!("{name}, whom nobody knows, was in a view")));
        wronged.into_iter().for_each(|text| self.report.broke(format!("honest and accused: {text}")));
        departed.into_iter().for_each(|text| self.report.broke(text));
        let hacked = self.stage.desk.look(|state| state.leaders.iter().any(|leader| leader.mode != Mode::Honest));
        if hacked && !self.lost {
            self.report.broke("a fault was not mended");
        }
        self.report.close(times);
        self.stage.close().await;
        self.report
    }
}

/// What the files in a folder take.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|entry| entry.is_file()).map(|entry| entry.len()).sum()
}
