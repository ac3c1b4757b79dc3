//! The fixed story: every attack in turn, on a group that goes on talking, and whether every promise held.

mod endings;
mod scenes;
mod sites;
mod summary;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ringfort_attack::real::judging;

use crate::hosting;
use crate::peers::Peers;
use crate::stage::{Pace, Stage};
use crate::story::{Story, Tone};
use summary::{AttackSummary, Promise};

/// Exit status when a promise was broken.
const PROMISE_BROKEN: u8 = 30;

/// Between two messages of a member.
const TALK: Duration = Duration::from_millis(120);
/// Between two keys.
const REKEY: Duration = Duration::from_millis(1_000);

/// How long a scene may wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a join may take that must work.
const JOIN_WITHIN: Duration = Duration::from_secs(15);

/// How the script runs.
#[derive(Args, Clone, Debug)]
pub struct ScriptArgs {
    /// Tells a fixed story without asking, and exits with status 0 only if every promise held, 30 otherwise.
    #[arg(long)]
    pub script: bool,
    /// One JSON object as the summary on standard output; the story goes to standard error.
    #[arg(long, requires = "script")]
    pub json: bool,
    /// How long each attack lasts at least, in seconds.
    #[arg(long, value_name = "S", requires = "script", default_value_t = 1.4, value_parser = seconds)]
    pub seconds_per_attack: f64,
    /// Leaves the group's folder behind.
    #[arg(long)]
    pub keep: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0 to 600".to_owned()),
    }
}

/// A run of the script.
pub struct Script {
    stage: Stage,
    peers: Peers,
    attack_length: Duration,
    promises: Vec<Promise>,
    attacks: Vec<AttackSummary>,
}

/// Runs the script and says how it ended.
pub async fn run(args: &ScriptArgs) -> anyhow::Result<ExitCode> {
    let story = Story::new(args.json);
    let pace = Pace { talk: TALK, rekey: REKEY, show_talk: false, topic: "chat" };
    let mut stage = Stage::set(story, pace)?;
    if args.keep {
        stage.keep_folder();
        stage.desk.story.line("demo", Tone::Faint, &format!("the group's files stay in {}", stage.folder().display()));
    }
    let program = std::env::current_exe().context("this program's own file")?;
    let mut script = Script {
        stage,
        peers: Peers::new(program),
        attack_length: Duration::from_secs_f64(args.seconds_per_attack),
        promises: Vec::new(),
        attacks: Vec::new(),
    };
    let told = tokio::select! {
        told = script.play() => told,
        () = hosting::interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = told {
        script.promise("the story was told to its end", false, format!("{error:#}"));
    }
    let summary = script.summary();
    let desk = script.stage.desk.clone();
    script.peers.close().await;
    script.stage.close().await;
    desk.story.put(&summary.table());
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    }
    Ok(if summary.all_held() { ExitCode::SUCCESS } else { ExitCode::from(PROMISE_BROKEN) })
}

impl Script {
    /// Notes whether a promise held, and says so.
    fn promise(&mut self, name: impl Into<String>, held: bool, detail: impl Into<String>) {
        let (name, detail) = (name.into(), detail.into());
        let text = if detail.is_empty() { name.clone() } else { format!("{name} ({detail})") };
        self.stage.desk.story.promise(held, &text);
        self.promises.push(Promise { name, held, detail });
    }
}
