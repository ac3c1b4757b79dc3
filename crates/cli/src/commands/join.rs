//! `ringfort join`: a member's own agent with its page, or the terminal.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use ringfort::protocol::view::Cause;
use ringfort_agent::{Agent, AgentError, Options};
use serde::Serialize;

use crate::chat::{self, ChatArgs};
use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;

/// How long the page has to show that the stay is over.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a quitting user waits for the leaders' acknowledgement.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);
/// The folder of plugins, in the user's configuration.
const PLUGINS_FOLDER: &str = "ringfort/plugins";

/// Joins a group and serves its page to this machine.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Open the page in the browser
    #[arg(long, conflicts_with = "no_web")]
    pub open: bool,
    /// No page: chat on the terminal, as `ringfort chat` does
    #[arg(long)]
    pub no_web: bool,
    /// The page's port on 127.0.0.1; 0 for any
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// A folder with further plugins (otherwise ringfort/plugins in the configuration folder)
    #[arg(long, value_name = "FOLDER")]
    pub plugins: Option<PathBuf>,
    /// Let a program take part: print a token with which it may read and send on this topic
    #[arg(long = "program", value_name = "TOPIC")]
    pub programs: Vec<String>,
    /// Print JSON lines
    #[arg(long, conflicts_with = "no_web")]
    pub json: bool,
}

/// What `ringfort join --json` prints.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum JoinLine<'a> {
    Page { url: &'a str },
    Program { topic: &'a str, url: &'a str, token: &'a str },
    SkippedPlugin { folder: &'a str, why: &'a str },
    Left { acknowledged: bool },
}

/// Runs `ringfort join`.
///
/// # Errors
/// Everything that keeps a user out, a taken port, and an end that the user did not ask for.
pub async fn run(args: JoinArgs) -> Outcome {
    if args.no_web {
        return chat::run(ChatArgs { member: args.member, plain: false }).await;
    }
    let info = args.member.group.read()?;
    let credentials = args.member.credentials()?;
    output::note(format!("joining {:?}…", info.name));
    let mut ending = Ending::listen()?;
    let (group, events) = args.member.join_as(info, credentials).await?;
    let plugins = args.plugins.clone().or_else(plugins_folder);
    let options = Options { port: args.port, plugins, programs: args.programs.clone(), ..Options::default() };
    let mut agent = Agent::start(group, events, options).await.map_err(failure)?;
    announce(&args, &agent)?;
    let ended = tokio::select! {
        ended = agent.ended() => Some(ended),
        () = ending.asked() => None,
    };
    match ended {
        None => quit(&args, &agent).await,
        Some(Some(Cause::Left)) => {
            tokio::time::sleep(FAREWELL).await;
            left(&args, true)
        }
        Some(cause) => {
            let told = "the stay in the group ended unexpectedly: join again";
            let failure = cause.and_then(Failure::ended);
            output::note("ringfort: the stay has ended; the page can still be read until Ctrl-C");
            ending.asked().await;
            Err(failure.unwrap_or_else(|| Failure::new(Status::NotAMember, told)))
        }
    }
}

fn announce(args: &JoinArgs, agent: &Agent) -> Outcome {
    for problem in agent.skipped_plugins() {
        match args.json {
            true => output::json(&JoinLine::SkippedPlugin { folder: &problem.folder, why: &problem.why })?,
            false => output::note(format!("ringfort: the plugin in {} is skipped: {}", problem.folder, problem.why)),
        }
    }
    for program in agent.programs() {
        let (topic, url, token) = (&program.topic, &program.url, &program.token);
        match args.json {
            true => output::json(&JoinLine::Program { topic, url, token })?,
            false => output::line(format!("A program on {topic:?}: RINGFORT_SOCKET={url} RINGFORT_TOKEN={token}"))?,
        }
    }
    let url = agent.url();
    match args.json {
        true => output::json(&JoinLine::Page { url: &url })?,
        false => {
            output::line("You are in the group. The page, for this machine and you alone, until Ctrl-C:")?;
            output::line(format!("\n  {url}\n"))?;
        }
    }
    if args.open {
        open(&url);
    }
    Ok(())
}

/// The user's browser, if there is a program that knows it.
fn open(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = tokio::process::Command::new(program);
    let started = command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Err(error) = started {
        output::note(format!("ringfort: {program} does not start ({error}): open the address yourself"));
    }
}

async fn quit(args: &JoinArgs, agent: &Agent) -> Outcome {
    let leaving = tokio::time::timeout(QUIT_PATIENCE, agent.group().clone().leave());
    let acknowledged = matches!(leaving.await, Ok(Ok(_)));
    left(args, acknowledged)
}

fn left(args: &JoinArgs, acknowledged: bool) -> Outcome {
    if args.json { output::json(&JoinLine::Left { acknowledged }) } else { Ok(()) }
}

fn plugins_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    config.map(|folder| folder.join(PLUGINS_FOLDER))
}

fn failure(error: AgentError) -> Failure {
    let status = match &error {
        AgentError::Listen { cause, .. } if cause.kind() == std::io::ErrorKind::AddrInUse => Status::Busy,
        AgentError::Listen { cause, .. } if cause.kind() == std::io::ErrorKind::PermissionDenied => Status::Permissions,
        AgentError::Topic(_) => Status::Usage,
        AgentError::Listen { .. } | AgentError::Random(_) => Status::Other,
    };
    Failure::new(status, error)
}
