//! Four leaders, each a process, that put messages into one order: messages a second and latency, with all leaders well and
//! with one silent, slow or equivocating; beside what signatures, coins, hashes and links alone cost in the same run.

mod budget;
mod faulty;
mod leaders;
mod node;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use self::faulty::Fault;
use self::leaders::Leaders;
pub use self::node::run_leader;
use crate::BenchError;
use crate::row::{Report, Row};

const LEADERS: usize = 4;
/// How long a leader that was stopped has to come level with the others.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);
const KIB_A_PAGE: u64 = 4;

/// What of the order is measured, and how long.
#[derive(Clone, Debug)]
pub struct AgreementOptions {
    /// The `ringfort` program, which runs each leader.
    pub program: PathBuf,
    /// Bytes of a message.
    pub bytes: usize,
    /// Messages a second, of all leaders together, at which latency is measured.
    pub rates: Vec<u64>,
    /// Seconds for each measurement.
    pub seconds: u64,
    /// What is the matter with one leader, each in a run of its own.
    pub faults: Vec<Fault>,
    /// Seconds for which one leader is stopped under full load; 0 for not at all.
    pub pause_seconds: u64,
}

fn setup(error: impl std::fmt::Display) -> BenchError {
    BenchError::Setup(error.to_string())
}

fn lost(error: impl std::fmt::Display) -> BenchError {
    BenchError::Lost(error.to_string())
}

/// Measures the order; `told` is called with each row as it comes.
///
/// # Errors
/// [`BenchError`] if the leaders cannot be started, do not answer, or do not have one log.
pub async fn run(options: &AgreementOptions, mut told: impl FnMut(&Row)) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let mut add = |row: Row| {
        told(&row);
        report.rows.push(row);
    };
    let mut usual = None;
    for fault in &options.faults {
        let mut leaders = Leaders::start(options, *fault).await?;
        let honest = leaders.honest(*fault);
        let stretches = leaders.load(0, options.bytes, options.seconds).await?;
        let of_honest: Vec<_> = honest.iter().filter_map(|number| stretches.get(number)).collect();
        let least = of_honest.iter().map(|s| s.messages as f64 / s.length.as_secs_f64()).reduce(f64::min);
        let rate = least.unwrap_or_default();
        let what = format!("{} B, {}", options.bytes, words(*fault));
        add(Row::rate(format!("messages a second, as fast as they go: {what}"), rate, usual));
        if *fault == Fault::None {
            usual = Some(rate);
            budget::rows(&of_honest, options.bytes).into_iter().for_each(&mut add);
        }
        leaders.agree(&honest).await?;
        for offered in &options.rates {
            let stretches = leaders.load(*offered, options.bytes, options.seconds).await?;
            for row in steady(&honest, &stretches, *offered, &what) {
                add(row);
            }
            leaders.agree(&honest).await?;
        }
    }
    if options.pause_seconds > 0 {
        pause(options, &mut add).await?;
    }
    Ok(report)
}

fn words(fault: Fault) -> String {
    match fault {
        Fault::None => "all leaders well".to_owned(),
        Fault::Slow => "one leader 200 ms late".to_owned(),
        _ => format!("one leader {}", fault.word()),
    }
}

fn steady(
    honest: &[usize],
    stretches: &std::collections::BTreeMap<usize, node::Stretch>,
    offered: u64,
    what: &str,
) -> Vec<Row> {
    let of_honest = || honest.iter().filter_map(|number| stretches.get(number));
    let rate = of_honest().map(|s| s.messages as f64 / s.length.as_secs_f64()).fold(f64::INFINITY, f64::min);
    let p50 = of_honest().map(|stretch| stretch.p50).max().unwrap_or_default();
    let p99 = of_honest().map(|stretch| stretch.p99).max().unwrap_or_default();
    vec![
        Row::rate(format!("ordered a second of {offered} offered: {what}"), rate, None),
        Row::time(format!("latency p50 at {offered}/s: {what}"), p50, None),
        Row::time(format!("latency p99 at {offered}/s: {what}"), p99, None),
    ]
}

/// One leader is stopped under full load, and goes on: what the others hold meanwhile, and how soon it is level.
async fn pause(options: &AgreementOptions, add: &mut impl FnMut(Row)) -> Result<(), BenchError> {
    let mut leaders = Leaders::start(options, Fault::None).await?;
    let (all, stopped) = (leaders.numbers(), LEADERS - 1);
    let others: Vec<usize> = all.iter().copied().filter(|number| *number != stopped).collect();
    leaders.load(0, options.bytes, options.seconds).await?;
    leaders.agree(&all).await?;
    let load_seconds = options.pause_seconds + CATCH_UP_MAX.as_secs();
    let held = |leaders: &Leaders| others.iter().filter_map(|n| resident_kib(leaders.process(*n)?)).max().unwrap_or(0);
    leaders.tell_load(&others, 0, options.bytes, options.pause_seconds + 2).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let early = held(&leaders);
    let process = leaders.process(stopped).and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let process = process.ok_or_else(|| setup("the leader has ended"))?;
    kill_process(process, Signal::STOP).map_err(setup)?;
    let (began, mut most) = (Instant::now(), early);
    while began.elapsed() < Duration::from_secs(options.pause_seconds) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        most = most.max(held(&leaders));
    }
    kill_process(process, Signal::CONT).map_err(setup)?;
    let went_on = Instant::now();
    // What the others had when it went on.
    leaders.loaded(&others, load_seconds).await?;
    let (level, _) = leaders.place(others.first().copied().unwrap_or_default()).await?;
    while leaders.place(stopped).await?.0 < level {
        if went_on.elapsed() > CATCH_UP_MAX {
            return Err(lost("the leader that was stopped does not come level with the others"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = went_on.elapsed();
    leaders.agree(&all).await?;
    let seconds = options.pause_seconds;
    add(Row::kib(format!("memory of another, most while one leader is stopped for {seconds} s"), most, early));
    add(Row::time(format!("level with the others after {seconds} s of being stopped"), took, None));
    Ok(())
}

/// What a process holds in memory, KiB.
fn resident_kib(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? * KIB_A_PAGE)
}
