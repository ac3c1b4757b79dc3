//! `ringfort-demo`: a group on one machine, and an attacker who takes over one of its servers.
//!
//! Four leaders run as processes of their own and talk over real sockets; the members live in this
//! process and use nothing but [`ringfort::Group`]. `attack 2 tamper` kills leader 2 and starts a hacked one in
//! its place, with the same folder, keys and shares. Beside it there are three sites, each a process, and a network
//! between them that the page cuts.
//!
//! The hacked leader exists in this crate alone ([`attack`]). The production binary `ringfort`, built from
//! `ringfort-cli`, knows no attack: it depends neither on this crate nor on the test hooks used here.

mod interactive;
mod order;
mod peers;
mod script;
mod visitor;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringfort_attack::adversary as attack;
use ringfort_attack::real::{desk, hosting, sites, stage, story};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "ringfort-demo", version, about = "A group under attack, on this machine; and all of `ringfort`")]
struct Args {
    #[command(flatten)]
    global: ringfort_cli::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows a group under attack, on a page and at a prompt: four leaders and three members on this machine
    Demo {
        #[command(flatten)]
        script: script::ScriptArgs,
        #[command(flatten)]
        live: interactive::LiveArgs,
    },
    /// Plays every attack in the papers against this build
    Attack(ringfort_attack::command::AttackArgs),
    /// Runs an honest leader for the demo
    #[command(hide = true)]
    DemoLeader {
        /// The leader's folder.
        folder: PathBuf,
        /// Where another leader is found, if not at its address in the group file.
        #[arg(long, value_name = "N=HOST:PORT")]
        dial: Vec<hosting::Dial>,
    },
    /// Runs a site for the demo
    #[command(hide = true)]
    DemoSite {
        /// The site's folder.
        folder: PathBuf,
        /// Where it listens for other sites.
        #[arg(long, value_name = "HOST:PORT")]
        listen: std::net::SocketAddr,
    },
    /// Runs a hacked leader for the demo
    #[command(hide = true)]
    Adversary {
        /// The leader's folder.
        folder: PathBuf,
        /// What it does.
        #[arg(long, value_enum)]
        kind: attack::Kind,
        /// One more leader's folder, for the spy's comparison.
        #[arg(long)]
        group_folder: Option<PathBuf>,
        /// Where another leader is found, if not at its address in the group file.
        #[arg(long, value_name = "N=HOST:PORT")]
        dial: Vec<hosting::Dial>,
    },
    #[command(flatten)]
    Ringfort(ringfort_cli::Command),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let command = match args.command {
        Command::Ringfort(command) => return ringfort_cli::main_with(&args.global, command),
        command => command,
    };
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let outcome = runtime.block_on(execute(command));
    // A thread may still be reading standard input.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failed(&error))
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo { script, .. } if script.script => script::run(&script).await,
        Command::Demo { script, live } => interactive::run(&live, script.keep).await,
        Command::Attack(args) => {
            let good = ringfort_attack::command::execute(&args).await?;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::DemoLeader { folder, dial } => hosting::lead(&folder, &dial).await.map(|()| ExitCode::SUCCESS),
        Command::DemoSite { folder, listen } => sites::host(&folder, listen).await.map(|()| ExitCode::SUCCESS),
        Command::Adversary { folder, kind, group_folder, dial } => {
            attack::run(&folder, kind, group_folder.as_deref(), &dial).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Ringfort(_) => Ok(ExitCode::SUCCESS),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("ringfort-demo: {error:#}");
    ExitCode::FAILURE
}
