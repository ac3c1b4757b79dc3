//! The command `attack`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ringfort_sim::explore::Limits;

use crate::play::{self, LIMITS, Played, Replay};
use crate::report::{Report, introduce, seconds};
use crate::scenario::Scenario;
use crate::{catalogue, defences, report};

/// Plays every attack in the papers against this build.
#[derive(Args, Clone, Debug)]
pub struct AttackArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Lists the scenarios: the flaw, what the attacker holds and does, what must be observed
    List {
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Plays scenarios; exits 0 only if each attack was made and refused
    Run {
        /// Which: names from `attack list`, or rows such as K11.
        #[arg(required_unless_present_any = ["all", "replay"], conflicts_with = "all")]
        names: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Plays one order of deliveries again, as a report names it.
        #[arg(long, value_name = "PLAY@SEED:CHOICES", conflicts_with_all = ["all", "names"])]
        replay: Option<Replay>,
        #[command(flatten)]
        stages: Stages,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Plays everything and tells row by row what became of each flaw in the papers
    Report {
        #[command(flatten)]
        stages: Stages,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Hostile load on real leaders: their memory, and how long the honest wait; exits 0 only if every bound held
    Load(crate::load::LoadArgs),
    /// A group under load for an hour, while one thing after the other goes wrong; exits 0 only if every promise was kept
    Soak(crate::soak::SoakArgs),
    /// Removes every defence in turn; exits 0 only if a scenario notices each time
    Defences {
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

/// Where to play, and how much.
#[derive(Args, Clone, Debug)]
struct Stages {
    /// Only on the simulated stage.
    #[arg(long, conflicts_with = "real_only")]
    sim_only: bool,
    /// Only against real processes.
    #[arg(long)]
    real_only: bool,
    /// What everything random on the simulated stage follows from.
    #[arg(long, default_value_t = play::usual_seed())]
    seed: u64,
    /// Deliveries of a window whose order is tried out.
    #[arg(long, default_value_t = LIMITS.depth)]
    depth: usize,
    /// Orders of deliveries to be played of one window at most.
    #[arg(long, default_value_t = LIMITS.plays)]
    orders: usize,
}

/// Does what was asked; whether everything expected was observed.
///
/// # Errors
/// There is no such scenario, or the real stage cannot be set up.
pub async fn execute(args: &AttackArgs) -> anyhow::Result<bool> {
    match &args.command {
        Command::List { json } => list(*json),
        Command::Run { replay: Some(replay), json, .. } => again(replay, *json),
        Command::Run { names, stages, json, .. } => {
            let report = run(&chosen(names)?, stages).await?;
            show(*json, &report, || report.brief())?;
            Ok(report.good)
        }
        Command::Report { stages, json } => {
            let report = run(&chosen(&[])?, stages).await?;
            show(*json, &report, || report.full())?;
            Ok(report.good)
        }
        Command::Load(args) => crate::load::run(args).await,
        Command::Soak(args) => crate::soak::run(args).await,
        Command::Defences { json } => remove_defences(*json).await,
    }
}

/// Prints a value for machines, or a text for people.
fn show<T: serde::Serialize>(json: bool, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = if json { format!("{}\n", serde_json::to_string_pretty(value)?) } else { text() };
    // Somebody who has read enough closes the pipe.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes());
    Ok(())
}

fn list(json: bool) -> anyhow::Result<bool> {
    let all: Vec<&'static Scenario> = catalogue::all().collect();
    let reports: Vec<_> = all.iter().map(|scenario| report::ScenarioReport::of(scenario, &[])).collect();
    show(json, &reports, || all.iter().map(|scenario| introduce(scenario)).collect())?;
    Ok(true)
}

/// The scenarios by name or by row; without any, all.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    let mut chosen: Vec<&'static Scenario> = Vec::new();
    for name in names {
        let found = catalogue::named(name).map_or_else(|| catalogue::of_row(name), |scenario| vec![scenario]);
        if found.is_empty() {
            match crate::rows::named(name) {
                Some(row) => bail!("no scenario plays {name} ({}): see `attack report`", row.flaw),
                None => bail!("no scenario or row is called {name}: see `attack list`"),
            }
        }
        for scenario in found {
            if !chosen.iter().any(|known| known.name == scenario.name) {
                chosen.push(scenario);
            }
        }
    }
    Ok(if names.is_empty() { catalogue::all().collect() } else { chosen })
}

fn again(replay: &Replay, json: bool) -> anyhow::Result<bool> {
    let played = play::replay(replay)?;
    show(json, &played, || format!("{}: {}: {}\n", replay, played.outcome.word(), played.outcome.observed()))?;
    Ok(played.outcome.is_refused())
}

fn progress(length: usize) -> anyhow::Result<ProgressBar> {
    // Drawn on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(u64::try_from(length)?);
    bar.set_style(
        ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} {msg}")?.progress_chars("=> "),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    Ok(bar)
}

/// Says at once what did not end well.
fn tell(bar: &ProgressBar, played: &Played) {
    bar.inc(1);
    bar.set_message(played.name);
    if !played.outcome.is_refused() {
        bar.suspend(|| eprintln!("{}: {}: {}", played.name, played.outcome.word(), played.outcome.observed()));
    }
}

async fn run(scenarios: &[&'static Scenario], stages: &Stages) -> anyhow::Result<Report> {
    let began = Instant::now();
    let attacks = if stages.real_only { Vec::new() } else { play::simulated_of(scenarios) };
    let real = if stages.sim_only { Vec::new() } else { play::real_of(scenarios) };
    ensure!(!attacks.is_empty() || !real.is_empty(), "nothing of this is played on that stage");
    let bar = progress(attacks.len() + real.len())?;
    let limits = Limits { depth: stages.depth, plays: stages.orders.max(1) };
    let (seed, on_bar) = (stages.seed, bar.clone());
    let simulated =
        tokio::task::spawn_blocking(move || play::simulate(&attacks, seed, limits, |played| tell(&on_bar, played)));
    let mut played = simulated.await.context("the simulated stage")?;
    let program = std::env::current_exe().context("this program's own file")?;
    played.extend(against_processes(&real, program, &bar).await?);
    bar.finish_and_clear();
    let time_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report::new(scenarios, &played, time_ms))
}

async fn against_processes(
    real: &[(&'static str, crate::scenario::RealScenario)],
    program: PathBuf,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Played>> {
    if real.is_empty() {
        return Ok(Vec::new());
    }
    play::against_processes(real, &program, |played| tell(bar, played)).await
}

async fn remove_defences(json: bool) -> anyhow::Result<bool> {
    let began = Instant::now();
    let bar = progress(defences::count())?;
    let on_bar = bar.clone();
    let told = move |defence: &defences::Defence| {
        on_bar.inc(1);
        on_bar.set_message(defence.removed.clone());
    };
    let defences = tokio::task::spawn_blocking(move || defences::remove_each(told)).await?;
    bar.finish_and_clear();
    show(json, &defences, || {
        let mut text = String::new();
        for defence in &defences {
            let verdict = match (defence.as_expected, defence.implied) {
                (true, false) => "noticed",
                (true, true) => "implied",
                (false, _) => "MISSED",
            };
            text.push_str(&format!("{verdict:<8} {:<20} {}\n", defence.removed, defence.scenarios.join(", ")));
            let order = if defence.order > 1 { format!(" [order {}]", defence.order) } else { String::new() };
            let noticed: String = defence.noticed.chars().take(300).collect();
            text.push_str(&report::wrap("", &format!("{}: {noticed}{order}", defence.play)));
        }
        text + "\n" + &defences::summary(&defences, began.elapsed()) + "\n"
    })?;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if json {
        eprintln!("{}", seconds(took));
    }
    Ok(defences.iter().all(|defence| defence.as_expected))
}
