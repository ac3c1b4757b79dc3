//! Runs seeds, sweeps of seeds and the mutant corpus.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use ringfort_sim::explore::Limits;
use ringfort_sim::mutants;
use ringfort_sim::mutator::script::Script;
use ringfort_sim::mutator::sweep::Sweep;
use ringfort_sim::run::{Verdict, run};
use ringfort_sim::settle;
use ringfort_sim::setup::Setup;
use ringfort_sim::strategy::Vice;

/// How many schedules a mutant is given to be noticed in.
const LIMITS: Limits = Limits { depth: 12, plays: 256 };

#[derive(Parser)]
#[command(about = "A deterministic world for Ringfort's protocols: one seed replays one run bit for bit")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed.
    Run {
        /// The seed.
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        shape: Shape,
        /// Prints every event.
        #[arg(long)]
        verbose: bool,
    },
    /// Runs many seeds; those that fail are printed with the command that replays them.
    Sweep {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        count: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: u64,
        #[command(flatten)]
        shape: Shape,
    },
    /// Runs in which chance decides on every message of the hacked leaders, and perhaps of a member's. What fails is played
    /// again with fewer changes until none can be spared, and told as a line for `verify/sim/corpus`.
    Mutate {
        /// The seeds: one, or A..B.
        #[arg(long, default_value = "0..100")]
        seeds: String,
        /// Leaders.
        #[arg(long, default_value_t = 4)]
        n: u8,
        /// Hours of the run, for one with outages and sleep.
        #[arg(long)]
        hours: Option<u64>,
        /// The only turns that are taken, as they were printed.
        #[arg(long)]
        script: Option<String>,
        /// Threads.
        #[arg(long, default_value_t = 1)]
        jobs: u64,
        /// Runs that are spent on finding the fewest changes of one failure.
        #[arg(long, default_value_t = 60)]
        effort: usize,
        /// Prints every event.
        #[arg(long)]
        verbose: bool,
    },
    /// Weakens every rule in turn and shows who noticed.
    Mutants,
    /// Measures how long groups take to settle after many concurrent joins, leaves and rejoins.
    Settle {
        /// Runs for each size.
        #[arg(long, default_value_t = 20)]
        runs: u64,
        /// Users.
        #[arg(long, default_value_t = 40)]
        users: usize,
    },
}

/// What is not drawn from the seed.
#[derive(clap::Args, Clone)]
struct Shape {
    /// Leaders.
    #[arg(long, requires = "faults")]
    leaders: Option<u8>,
    /// Hostile leaders.
    #[arg(long, requires = "leaders")]
    faults: Option<u8>,
    /// What the hostile leaders do.
    #[arg(long)]
    strategy: Option<String>,
    /// No fault of any kind.
    #[arg(long)]
    calm: bool,
}

impl Shape {
    fn setup(&self, seed: u64) -> Result<Setup> {
        let drawn = Setup::random(seed);
        let (n, f) = (self.leaders.unwrap_or(drawn.n), self.faults.unwrap_or(drawn.f));
        ensure!(u16::from(f) * 3 < u16::from(n), "{n} leaders cannot tolerate {f} hostile ones");
        if self.calm {
            return Ok(Setup::calm(seed, n, f));
        }
        let vice = match &self.strategy {
            Some(name) => {
                let names: Vec<String> = Vice::ALL.iter().map(|v| v.name()).collect();
                Vice::named(name).with_context(|| format!("no strategy {name}; there are: {}", names.join(", ")))?
            }
            None => drawn.vice,
        };
        Ok(Setup::with(seed, n, f, vice))
    }

    fn replay(&self, seed: u64) -> String {
        let mut command = format!("cargo run --release -p ringfort-sim -- run --seed {seed}");
        if let (Some(n), Some(f)) = (self.leaders, self.faults) {
            command += &format!(" --leaders {n} --faults {f}");
        }
        if let Some(strategy) = &self.strategy {
            command += &format!(" --strategy {strategy}");
        }
        if self.calm {
            command += " --calm";
        }
        command
    }
}

fn main() -> Result<ExitCode> {
    let good = match Cli::parse().command {
        Command::Run { seed, shape, verbose } => {
            let setup = Setup { verbose, ..shape.setup(seed)? };
            println!("{} of {} leaders are hostile: {}; {:?}", setup.f, setup.n, setup.vice.name(), setup.wire);
            let verdict = run(setup);
            tell(&verdict);
            verdict.is_good()
        }
        Command::Sweep { from, count, jobs, shape } => sweep(from, count, jobs.max(1), &shape)?,
        Command::Mutate { seeds, n, hours, script, jobs, effort, verbose } => {
            ensure!(n >= 4, "fewer than four leaders tolerate no hacked one");
            let script = script.as_deref().map_or(Ok(Script::Chance), str::parse)?;
            let start = Instant::now();
            let good = Sweep { seeds: range(&seeds)?, n, hours, script, jobs: jobs.max(1), effort, verbose }.report();
            println!("{:.1} s", start.elapsed().as_secs_f64());
            good
        }
        Command::Mutants => mutants::report(LIMITS),
        Command::Settle { runs, users } => {
            settle::report(runs, users);
            true
        }
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One seed, or A..B without the last.
fn range(text: &str) -> Result<std::ops::Range<u64>> {
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (first.parse()?, last.parse()?),
        None => text.parse::<u64>().map(|seed| (seed, seed + 1))?,
    };
    ensure!(first < last, "there is no seed in {text}");
    Ok(first..last)
}

fn tell(verdict: &Verdict) {
    for violation in &verdict.violations {
        println!("  {violation}");
    }
    let digest: String = verdict.digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    println!(
        "{}: {} events, {} messages sent, {} delivered, settled after {:?}, digest {digest}",
        if verdict.is_good() { "good" } else { "VIOLATED" },
        verdict.events,
        verdict.messages.0,
        verdict.messages.1,
        verdict.settled,
    );
}

fn sweep(from: u64, count: u64, jobs: u64, shape: &Shape) -> Result<bool> {
    shape.setup(from)?;
    let start = Instant::now();
    let next = AtomicU64::new(from);
    let (sender, receiver) = mpsc::channel();
    let mut bad = Vec::new();
    let (mut events, mut messages) = (0, 0);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| shape.setup(seed).ok().map(run));
                    if sender.send((seed, outcome.ok().flatten())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, verdict) in receiver {
            let good = verdict.as_ref().is_some_and(Verdict::is_good);
            if let Some(verdict) = &verdict {
                events += verdict.events;
                messages += verdict.messages.1;
            }
            if !good {
                println!("seed {seed} fails; replay: {}", shape.replay(seed));
                match &verdict {
                    Some(verdict) => tell(verdict),
                    None => println!("  it panicked"),
                }
                bad.push(seed);
            }
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} seeds, {} failed, {events} events, {messages} deliveries, {seconds:.1} s", bad.len());
    Ok(bad.is_empty())
}
