//! The soak: a group under load for an hour, with members that come and go and one fault after the other.
//!
//! Leaders are processes, wires are real sockets that can be cut, and never more than one of four leaders is faulty. A fault
//! is over when everybody is in one view and hears all leaders; only then comes the next. Meanwhile every message is
//! in the books: what is lost, doubled, out of order, forged or leaked is told, and so is who is wronged.

mod audit;
mod faults;
mod plan;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use self::audit::Audit;
use self::faults::Running;
pub use self::plan::{Fault, Plan, Turn};
pub use self::report::{Report, Use};

/// From here on, a soak has faults of more than a minute.
const LONG: Duration = Duration::from_secs(300);

/// How long, and which faults.
#[derive(Args, Clone, Debug)]
pub struct SoakArgs {
    /// How long, in minutes
    #[arg(long, value_name = "M", default_value_t = 60.0)]
    pub minutes: f64,
    /// What all faults, and who comes and goes, follow from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One JSON object on standard output in place of the table
    #[arg(long)]
    pub json: bool,
    /// Leaves the leaders' folders behind, and says where
    #[arg(long)]
    pub keep: bool,
}

/// Soaks, and says what came of it; true only if every promise was kept.
///
/// # Errors
/// The group does not come about.
pub async fn run(args: &SoakArgs) -> anyhow::Result<bool> {
    let report = play(args, std::env::current_exe()?).await?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.is_good())
}

/// Soaks, and reports.
///
/// # Errors
/// As [`run`].
pub async fn play(args: &SoakArgs, program: PathBuf) -> anyhow::Result<Report> {
    let length = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    let bar = ProgressBar::with_draw_target(Some(length.as_secs()), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}")?);
    let mut running = Running::begin(args.seed, length >= LONG, program).await?;
    if args.keep {
        eprintln!("the leaders' folders stay in {}", running.keep().display());
    }
    let began = Instant::now();
    while began.elapsed() < length && running.is_sound() {
        let turn = running.plan.turn();
        bar.set_position(began.elapsed().as_secs());
        bar.set_message(format!("{} at leader {}", turn.fault, turn.leader));
        running.suffer(&turn).await;
        running.measure(began.elapsed() * 2 > length);
    }
    bar.finish_and_clear();
    Ok(running.end(began.elapsed()).await)
}
