//! `ringfort join`: a member's own agent with its page, or the terminal.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use ringfort::Group;
use ringfort::protocol::UserName;
use ringfort::protocol::view::Cause;
use ringfort_agent::door::{TICKET_LIVES, Token};
use ringfort_agent::{Agent, AgentError, FilesOptions, Options, Turn, site};
use ringfort_documents::LogOptions;
use serde::Serialize;

use crate::chat::{self, ChatArgs};
use crate::common::{Ending, GroupArgs, MemberArgs, PASSWORD_VARIABLE, SecretArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;

/// How long a quitting user waits for the leaders' acknowledgement.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);
/// The folder of plugins, in the user's configuration.
const PLUGINS_FOLDER: &str = "ringfort/plugins";

/// Joins a group and serves its page to this machine.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// Your user name; otherwise the page asks for it
    #[arg(long, value_name = "NAME", required_if_eq("no_web", "true"))]
    pub user: Option<UserName>,
    /// With what secret.
    #[command(flatten)]
    pub secret: SecretArgs,
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
    /// Where files of others go (otherwise your folder of downloads)
    #[arg(long, value_name = "FOLDER")]
    pub downloads: Option<PathBuf>,
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
    Joined { user: &'a str },
    Ended { how: Option<&'a str> },
    Left { acknowledged: bool },
}

/// Runs `ringfort join`. A secret in the options logs in at once, and what keeps the user out ends the program; without one
/// the page asks, as often as it takes.
///
/// # Errors
/// Everything that keeps a user out, a taken port, and an end that the user did not ask for.
pub async fn run(args: JoinArgs) -> Outcome {
    if args.no_web {
        return on_terminal(args).await;
    }
    let info = args.group.read()?;
    let credentials = match (&args.user, args.secret.is_given()) {
        (Some(user), true) => Some(args.secret.credentials(user)?),
        (None, true) => return Err(Failure::new(Status::Usage, "a password or a key needs a name: use --user")),
        (_, false) => None,
    };
    let options = Options {
        port: args.port,
        plugins: args.plugins.clone().or_else(plugins_folder),
        programs: args.programs.clone(),
        files: Some(FilesOptions { folder: args.downloads.clone(), ..FilesOptions::default() }),
        user: args.user.as_ref().map(ToString::to_string),
        login_within: Some(Duration::from_secs(args.secret.timeout)),
        log: args.secret.log.clone().map(LogOptions::at),
        ..Options::default()
    };
    let mut ending = Ending::listen()?;
    let mut agent = match credentials {
        None => Agent::open(info, options).await.map_err(failure)?,
        Some(credentials) => {
            output::note(format!("joining {:?}…", info.name));
            let (group, events) = args.secret.join(info, credentials.clone()).await?;
            let options = Options { credentials: Some(credentials), ..options };
            Agent::start(group, events, options).await.map_err(failure)?
        }
    };
    announce(&args, &agent)?;
    let mut ended = None;
    loop {
        tokio::select! {
            turn = agent.turn() => {
                tell(&args, &turn)?;
                ended = if let Turn::Ended(cause) = turn { Some(cause) } else { None };
                // A program cannot log in again on the page: who started it is told instead.
                if ended.is_some() && !args.programs.is_empty() {
                    break;
                }
            }
            () = ending.asked() => break,
        }
    }
    match (ended, agent.group()) {
        (None, Some(group)) => quit(&args, group).await,
        (Some(Some(Cause::Left)), _) | (None, None) => Ok(()),
        (Some(cause), _) => {
            let told = "the stay in the group ended unexpectedly: join again";
            Err(cause.and_then(Failure::ended).unwrap_or_else(|| Failure::new(Status::NotAMember, told)))
        }
    }
}

async fn on_terminal(args: JoinArgs) -> Outcome {
    let Some(user) = args.user else { return Err(Failure::new(Status::Usage, "--no-web needs --user")) };
    let member = MemberArgs { group: args.group, user, secret: args.secret };
    chat::run(ChatArgs { member, plain: false }).await
}

fn tell(args: &JoinArgs, turn: &Turn) -> Outcome {
    let how = |cause: &Option<Cause>| {
        cause.map(|cause| match cause {
            Cause::Left => "left",
            Cause::Lost => "lost",
            Cause::Expelled => "expelled",
            Cause::Expired => "expired",
            Cause::SessionOver => "session-over",
            Cause::Elsewhere => "elsewhere",
        })
    };
    match (turn, args.json) {
        (Turn::Entered(user), true) => output::json(&JoinLine::Joined { user: user.as_str() }),
        (Turn::Ended(cause), true) => output::json(&JoinLine::Ended { how: how(cause) }),
        (Turn::Entered(user), false) => output::line(format!("{user} is in the group.")),
        (Turn::Ended(cause), false) => {
            let told = match cause {
                Some(Cause::Lost) => "The connection was lost. This program joins again by itself, for up to an hour.",
                Some(Cause::Left) => {
                    "You have left the group. The page still shows what you saw; you can join again there."
                }
                Some(Cause::Expelled) => "You were expelled from the group. The page still shows what you saw.",
                Some(Cause::Expired) => {
                    "Your stay is over: the group's policy limits how long one lasts. You can log in again on the page."
                }
                Some(Cause::SessionOver) => {
                    "You are no longer in the group: the operators ended the session. The page still shows what you saw."
                }
                Some(Cause::Elsewhere) => {
                    "You logged in somewhere else, which ended this stay. If that was not you, tell the operators."
                }
                None => "Your stay has ended. The page still shows what you saw; you can join again there.",
            };
            output::line(told)
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
            output::line("The page, for this machine and you alone, until Ctrl-C:")?;
            output::line(format!("\n  {url}\n"))?;
        }
    }
    if args.open {
        match agent.ticket_url() {
            Ok(ticket) => open(&ticket),
            Err(error) => output::note(format!("ringfort: no browser is started ({error}): open the address yourself")),
        }
    }
    Ok(())
}

/// Opens an address in the user's browser, if there is a program that knows it. The address is a secret, and every user of the
/// machine can read command lines: it stands in a file that this user alone can read, for as long as it opens anything. The
/// browser outlives this program and gets no password of its user.
pub fn open(url: &str) {
    let file = match Lead::write(url) {
        Ok(file) => file,
        Err(error) => {
            return output::note(format!("ringfort: no browser is started ({error}): open the address yourself"));
        }
    };
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = tokio::process::Command::new(program);
    command.arg(&file.0).env_remove(PASSWORD_VARIABLE);
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Err(error) = started {
        return output::note(format!("ringfort: {program} does not start ({error}): open the address yourself"));
    }
    tokio::spawn(async move {
        tokio::time::sleep(TICKET_LIVES).await;
        drop(file);
    });
}

/// A file of the user alone that leads a browser to an address. It goes with its value.
struct Lead(PathBuf);

impl Lead {
    fn write(url: &str) -> io::Result<Lead> {
        let private = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
        let name = format!("ringfort-{}.html", Token::fresh()?.as_str());
        let path = private.unwrap_or_else(std::env::temp_dir).join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let lead = Lead(path);
        file.write_all(site::leading_to(url).as_bytes())?;
        Ok(lead)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn quit(args: &JoinArgs, group: Group) -> Outcome {
    let leaving = tokio::time::timeout(QUIT_PATIENCE, group.leave());
    let acknowledged = matches!(leaving.await, Ok(Ok(_)));
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
