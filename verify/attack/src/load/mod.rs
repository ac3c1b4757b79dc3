//! Hostile load on real leaders: what it costs them, and what the honest notice of it.
//!
//! Everything stays on loopback, has bounded counts and ends by itself. The attackers come from addresses of their
//! own (127.0.1.x), and all leaders are attacked at once, so that no joiner can go around.

mod flood;
mod inside;
mod measure;
mod report;
mod room;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use flood::Flood;
pub use measure::{Cpu, Times, resident_kib};
pub use report::{Bound, CaseReport, Report};
pub use room::Room;

/// Makes glibc give long blocks back to the system at once. Each login of a member takes 19 MiB for its password; without
/// this, a process in which a thousand members log in one after the other keeps more of that each time.
const GIVES_BACK: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// How hard and how long.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// One JSON object on standard output in place of the table
    #[arg(long)]
    pub json: bool,
    /// How long each kind of load lasts at least, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub seconds: u64,
    /// Connections that an attacker keeps half open at once, on all leaders together
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u16).range(16..=8_000))]
    pub connections: u16,
    /// The leader that is taken over, where one is
    #[arg(long, value_name = "I", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub hacked_leader: u8,
    /// Only these kinds of load
    #[arg(value_enum)]
    pub kinds: Vec<Flood>,
}

/// Runs hostile load and says what came of it; true only if every bound held and the honest went on.
///
/// # Errors
/// The leaders cannot be started.
pub async fn run(args: &LoadArgs) -> anyhow::Result<bool> {
    let program = std::env::current_exe()?;
    if std::env::var_os(GIVES_BACK.0).is_none() {
        let mut again = Command::new(program);
        return Ok(again.args(std::env::args_os().skip(1)).env(GIVES_BACK.0, GIVES_BACK.1).status()?.success());
    }
    let report = play(args, program).await?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.held)
}

/// Runs hostile load, and reports.
///
/// # Errors
/// As [`run`].
pub async fn play(args: &LoadArgs, program: PathBuf) -> anyhow::Result<Report> {
    let kinds = if args.kinds.is_empty() { Flood::ALL.to_vec() } else { args.kinds.clone() };
    let bar = ProgressBar::with_draw_target(Some(kinds.len() as u64), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut room = Room::open(program, args.hacked_leader).await?;
    let mut cases = Vec::new();
    for kind in kinds {
        bar.set_message(kind.name());
        let case = room.suffer(kind, Duration::from_secs(args.seconds), usize::from(args.connections)).await?;
        cases.push(case);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let bound = room.bound();
    room.close().await;
    Ok(Report::of(bound, args.seconds, cases))
}
