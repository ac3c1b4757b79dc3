//! Runs the models and prints what was found.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use ringfort_model::coordination::{Coordinated, SCENES};
use ringfort_model::figure3::{LIVENESS, tell};
use ringfort_model::report::{Report, check};
use ringfort_model::worlds;

#[derive(Parser)]
#[command(about = "Tries every order of events in small worlds with one hacked leader")]
struct Cli {
    /// The larger worlds as well.
    #[arg(long)]
    large: bool,
    /// Only this one, by its name.
    #[arg(long)]
    only: Option<String>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Stops a world that has more steps than this; it is then reported as incomplete.
    #[arg(long)]
    steps_max: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let wanted = |name: &str| cli.only.as_deref().is_none_or(|only| only == name);
    let mut all_good = true;
    let mut ran = 0;
    for scene in SCENES.iter().filter(|scene| (cli.large || !scene.large || cli.only.is_some()) && wanted(scene.name)) {
        let report = check(Coordinated::new(scene, None), cli.threads, cli.steps_max);
        print(&format!("coordination, {}: {}", scene.name, scene.about), &report);
        all_good &= report.is_good();
        ran += 1;
    }
    for (name, world, large) in worlds::logins() {
        if (cli.large || !large || cli.only.is_some()) && wanted(name) {
            let report = check(world, cli.threads, cli.steps_max);
            print(&format!("login, {name}"), &report);
            all_good &= report.is_good();
            ran += 1;
        }
    }
    for (name, model, stalls) in worlds::figures() {
        if wanted(name) {
            let report = check(model, cli.threads, cli.steps_max);
            print(&format!("the paper's Figure 3, {name}"), &report);
            // Here a counterexample is what is looked for.
            all_good &= stalls == report.breaks(LIVENESS);
            ran += 1;
        }
    }
    if ran == 0 {
        bail!("there is no such world");
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(title: &str, report: &Report) {
    println!("{title}");
    println!(
        "  {} states, {} steps, depth {}, {:.1} s{}",
        report.states,
        report.steps,
        report.depth,
        report.took.as_secs_f64(),
        if report.complete { ", complete" } else { ", NOT complete" },
    );
    report.held.iter().for_each(|name| println!("  always     {name}"));
    report.happened.iter().for_each(|(name, events)| println!("  sometimes  {name} (after {events} events)"));
    report.never.iter().for_each(|name| println!("  NEVER      {name}"));
    for (name, events) in &report.broken {
        println!("  BROKEN     {name} (after {} events)", events.len());
        events.iter().zip(1..).for_each(|(act, number)| println!("    {number:2}. {}", tell(act)));
    }
}
