//! `ringfort bench`: what it costs on this machine, each figure beside its floor from the same run.

use clap::Args;
use ringfort_bench::{Options, run as measure};

use crate::exit::{Failure, Outcome, Status};
use crate::output;

/// How long to measure, and for which groups.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Sizes of the groups whose joins, leaves and rekeys are measured
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_values_t = [2usize, 10, 100, 1000],
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub members: Vec<usize>,
    /// Repetitions of each single operation
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(10..=100_000))]
    pub repeats: usize,
    /// Messages of one throughput measurement, at the smallest size
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(200..=10_000_000))]
    pub messages: usize,
}

/// Runs `ringfort bench`.
///
/// # Errors
/// A measurement that could not be set up.
pub async fn run(args: BenchArgs) -> Outcome {
    let options = Options { members: args.members, repeats: args.repeats, messages: args.messages };
    let mut printed = Ok(());
    let report = measure(&options, |row| {
        if !args.json && printed.is_ok() {
            printed = output::line(row.to_string());
        }
    });
    let report = report.await.map_err(|error| Failure::new(Status::Other, error))?;
    printed?;
    if args.json { output::json(&report) } else { Ok(()) }
}
