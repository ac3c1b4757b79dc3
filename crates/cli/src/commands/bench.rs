//! `ringfort bench`: what it costs on this machine, each figure beside its floor from the same run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ringfort_bench::agreement::{self, AgreementOptions};
use ringfort_bench::peer::{self, Beside, PeerOptions};
use ringfort_bench::services::{self, ServicesOptions};
use ringfort_bench::{BenchError, Options, Report, Row, run as measure};

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
    /// Measure how four leaders on this machine put messages into one order: rates, latency, and where the time goes
    Agreement(AgreementArgs),
    /// Measure the store that four leaders on this machine keep for members, beside etcd
    Services(ServicesArgs),
    /// Runs a leader for `bench agreement`. That command starts this; people do not.
    #[command(hide = true)]
    RunLeader(RunLeaderArgs),
}

/// What of the order is measured.
#[derive(Debug, Args)]
pub struct AgreementArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The length of a message, in bytes
    #[arg(long, value_name = "N", default_value_t = 512,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(8..=65_536))]
    pub bytes: usize,
    /// Messages a second that are offered, rising; after them, as many as are taken
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_values_t = [500u64, 4000, 16_000, 64_000],
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rates: Vec<u64>,
    /// Seconds for which each load is measured
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
}

/// What of the store is measured.
#[derive(Debug, Args)]
pub struct ServicesArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How many ask at once
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_values_t = [1usize, 16, 64],
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub clients: Vec<usize>,
    /// The length of a value, in bytes
    #[arg(long, value_name = "N", default_value_t = 512,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(16..=1024))]
    pub bytes: usize,
    /// Seconds for which each is measured
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// The program that runs a server of etcd, measured in the same run if it is there
    #[arg(long, value_name = "PROGRAM", default_value = "etcd")]
    pub etcd: PathBuf,
}

/// Which leader to run.
#[derive(Debug, Args)]
pub struct RunLeaderArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Listen here instead of at the address in the group file
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<SocketAddr>,
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
    match args.part {
        Some(Part::Peer(args)) => return run_peer(args).await,
        Some(Part::Agreement(args)) => return run_agreement(args).await,
        Some(Part::Services(args)) => return run_services(args).await,
        Some(Part::RunLeader(args)) => return agreement::lead(&args.folder, args.listen).await.map_err(failed),
        None => {}
    }
    let options = Options { members: args.members, repeats: args.repeats, messages: args.messages };
    let mut rows = Rows::new(args.json);
    let report = measure(&options, |row| rows.add(row)).await;
    rows.finish(&report.map_err(failed)?)
}

fn failed(error: BenchError) -> Failure {
    Failure::new(Status::Other, error)
}

fn this_program() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(|error| Failure::io("cannot find this program", &error))
}

async fn run_agreement(args: AgreementArgs) -> Outcome {
    let options = AgreementOptions {
        program: this_program()?,
        bytes: args.bytes,
        rates: args.rates,
        length: Duration::from_secs(args.seconds),
    };
    let mut rows = Rows::new(args.json);
    let report = agreement::run(&options, |row| rows.add(row)).await;
    rows.finish(&report.map_err(failed)?)
}

async fn run_services(args: ServicesArgs) -> Outcome {
    let options = ServicesOptions {
        program: this_program()?,
        etcd: args.etcd,
        clients: args.clients,
        bytes: args.bytes,
        length: Duration::from_secs(args.seconds),
    };
    let mut rows = Rows::new(args.json);
    let report = services::run(&options, |row| rows.add(row)).await;
    rows.finish(&report.map_err(failed)?)
}

async fn run_peer(args: PeerArgs) -> Outcome {
    let options = PeerOptions {
        program: this_program()?,
        datagram_bytes: args.datagram_bytes,
        sizes: args.sizes,
        length: Duration::from_secs(args.seconds),
        changes: args.changes,
        beside: Beside { program: args.beside },
    };
    let mut rows = Rows::new(args.json);
    let report = peer::run(&options, |row| rows.add(row)).await;
    rows.finish(&report.map_err(failed)?)
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
