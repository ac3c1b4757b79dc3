//! `ringfort bench`: what it costs on this machine, each figure beside its floor from the same run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ringfort_bench::peer::{self, Beside, PeerOptions};
use ringfort_bench::{Options, Report, Row, run as measure};

use crate::exit::{Failure, Outcome, Status};
use crate::output;

/// How long to measure, and for which groups.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// Something else to measure
    #[command(subcommand)]
    pub part: Option<Part>,
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

/// What else can be measured.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Measure three sites on this machine: rates, latency, and how long changes of the membership take
    Peer(PeerArgs),
}

/// What of a peer network is measured.
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Sizes of messages, in bytes
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_values_t = [100usize, 1024, 8192],
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(8..=100_000))]
    pub sizes: Vec<usize>,
    /// Seconds for which each rate is measured, and each latency
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How often a site crashes and the network is cut; clients join ten times as often
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub changes: usize,
    /// What a datagram between sites may have, in bytes
    #[arg(long, value_name = "N", default_value_t = 1400,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(576..=60_000))]
    pub datagram_bytes: usize,
    /// A program that measures corosync in the same run; docs/sites.md says how it is called
    #[arg(long, value_name = "PROGRAM")]
    pub beside: Option<PathBuf>,
}

/// Runs `ringfort bench`.
///
/// # Errors
/// A measurement that could not be set up.
pub async fn run(args: BenchArgs) -> Outcome {
    if let Some(Part::Peer(args)) = args.part {
        return run_peer(args).await;
    }
    let options = Options { members: args.members, repeats: args.repeats, messages: args.messages };
    let mut rows = Rows::new(args.json);
    let report = measure(&options, |row| rows.add(row)).await;
    rows.finish(&report.map_err(|error| Failure::new(Status::Other, error))?)
}

async fn run_peer(args: PeerArgs) -> Outcome {
    let program = std::env::current_exe().map_err(|error| Failure::io("cannot find this program", &error))?;
    let options = PeerOptions {
        program,
        datagram_bytes: args.datagram_bytes,
        sizes: args.sizes,
        length: Duration::from_secs(args.seconds),
        changes: args.changes,
        beside: Beside { program: args.beside },
    };
    let mut rows = Rows::new(args.json);
    let report = peer::run(&options, |row| rows.add(row)).await;
    rows.finish(&report.map_err(|error| Failure::new(Status::Other, error))?)
}

/// Prints rows as they come, or all at the end as one JSON object.
struct Rows {
    json: bool,
    printed: Outcome,
}

impl Rows {
    fn new(json: bool) -> Self {
        Rows { json, printed: Ok(()) }
    }

    fn add(&mut self, row: &Row) {
        if !self.json && self.printed.is_ok() {
            self.printed = output::line(row.to_string());
        }
    }

    fn finish(self, report: &Report) -> Outcome {
        self.printed?;
        if self.json { output::json(report) } else { Ok(()) }
    }
}
