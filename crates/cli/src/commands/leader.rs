//! `ringfort leader`: runs a leader, and looks after it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ringfort::protocol::leader::Event;
use ringfort::protocol::motion::Count;
use ringfort_daemon::config::Config;
use ringfort_daemon::words::{motion_word, renewal_words};
use ringfort_daemon::{Daemon, Helpers, hooks, names, try_start};
use ringfort_documents::{GROUP_FILE, check_address, read_group};
use ringfort_node::folder::LeaderFolder;
use ringfort_node::leader::Told;
use tracing::{debug, info, warn};

use crate::commands::leader_replace;
use crate::commands::leader_status;
use crate::commands::leader_store::{self, UnlockArgs};
use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};
use crate::json::{LeaderLine, cause_word};
use crate::{Global, LogFormat, output, run_async, start_logs};

/// What a leader's helper tells that was started by somebody else.
const NO_LEADER: &str = "no leader gives orders on the standard input";
/// Refusals in the log, per second.
const LINES_PER_S_MAX: u32 = 20;

/// Runs a leader, or looks after one.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LeaderArgs {
    /// What else to do.
    #[command(subcommand)]
    pub action: Option<LeaderAction>,
    /// The leader's folder, made by `ringfort init`
    #[arg(value_name = "FOLDER", required = true)]
    pub folder: Option<PathBuf>,
    /// The configuration, if it is not config.toml in the folder
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What opens a sealed folder.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Listen here instead of at the address in the group file (behind a forwarder, say)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Do not enter the sandbox: whoever takes the leader over then has all that its user may do on this machine
    #[arg(long)]
    pub no_sandbox: bool,
    /// Print what happens as JSON lines on the standard output
    #[arg(long)]
    pub json: bool,
}

/// What there is to do for a leader beside running it.
#[derive(Debug, Subcommand)]
pub enum LeaderAction {
    /// Ask the leader that runs on a folder how it is
    ///
    /// Exit status 0: it does its part. 22: it runs, but is linked to too few other leaders. 10: none runs there.
    Status(leader_status::LeaderStatusArgs),
    /// Print every setting with its meaning, its range and its default: a configuration to begin with
    Config,
    /// Check the configuration of a leader without starting it
    CheckConfig(CheckConfigArgs),
    /// Copy a leader's folder as it is at one moment, also while the leader runs
    Backup(leader_store::BackupArgs),
    /// Make a leader's folder of a backup
    ///
    /// The leader has gone back in time by that: at its start it catches up with f+1 others before it says anything.
    Restore(leader_store::RestoreArgs),
    /// Give a leader an empty memory in the place of a lost or damaged one
    ///
    /// At its start the leader catches up with f+1 others. Who is registered is known from a backup or from new records
    /// only: prefer `restore`.
    Rebuild(leader_store::FolderArgs),
    /// Check that a leader's folder or a backup is whole, also while the leader runs
    Check(leader_store::FolderArgs),
    /// Seal the secrets of a stopped leader's folder under a passphrase or a key file
    ///
    /// From then on the leader needs it at every start. If it is lost, so is the leader.
    Seal(leader_store::SealArgs),
    /// Open the secrets of a sealed folder for good
    ///
    /// From then on whoever reads the folder's files can act as this leader.
    Unseal(leader_store::SealArgs),
    /// Order a new machine in the place of a hacked leader, and new shares for all
    ///
    /// It begins once f+1 operators have ordered the very same. The group goes on meanwhile, and nobody enrols again.
    Replace(leader_replace::ReplaceArgs),
    /// Order new shares for all leaders: what was stolen of the old ones is worth nothing then
    ///
    /// It begins once f+1 operators have ordered the very same.
    Renew(leader_replace::RenewArgs),
    /// Write what the new machine needs to take its place
    Pack(leader_replace::PackArgs),
    /// Make a leader of a new machine, in the place that was ordered for it
    TakePlace(leader_replace::TakePlaceArgs),
    /// Runs an operator's program for a leader in its sandbox. Leaders start this; people do not.
    #[command(hide = true)]
    RunHooks,
    /// Looks up other leaders' host names for a leader in its sandbox. Leaders start this; people do not.
    #[command(hide = true)]
    LookUpNames,
}

/// Which configuration to check.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The configuration, if it is not config.toml in the folder
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs `ringfort leader` from the first thread of the program: a sandbox holds for that thread and for those to come.
pub fn main(global: &Global, args: &LeaderArgs) -> ExitCode {
    if args.action.is_some() {
        return run_async(global, "warn", run(args));
    }
    let (config, path) = match configuration(args) {
        Ok(read) => read,
        Err(failure) => return failure.report(),
    };
    let format = if config.log.format == "json" { LogFormat::Json } else { LogFormat::Text };
    let global = Global { log_format: global.log_format.or(Some(format)), ..global.clone() };
    let level = config.log.level.clone();
    start_logs(&global, &level);
    let prepared = prepare(args, config, &path).and_then(|mut daemon| {
        daemon.enter_sandbox(!args.no_sandbox)?;
        Ok(daemon)
    });
    match prepared {
        Ok(daemon) => run_async(&global, &level, lead(args.json, daemon)),
        Err(failure) => failure.report(),
    }
}

/// Carries out what `ringfort leader` was asked for, without a sandbox.
///
/// # Errors
/// An unusable folder or configuration, a taken port, a store that fails.
pub async fn run(args: &LeaderArgs) -> Outcome {
    match &args.action {
        None => {
            let (config, path) = configuration(args)?;
            let mut daemon = prepare(args, config, &path)?;
            daemon.enter_sandbox(false)?;
            lead(args.json, daemon).await
        }
        Some(LeaderAction::Status(args)) => leader_status::run(args),
        Some(LeaderAction::Config) => output::line(Config::documented().trim_end()),
        Some(LeaderAction::CheckConfig(args)) => check_config(args),
        Some(LeaderAction::Backup(args)) => leader_store::back_up(args),
        Some(LeaderAction::Restore(args)) => leader_store::restore(args),
        Some(LeaderAction::Rebuild(args)) => leader_store::rebuild(args),
        Some(LeaderAction::Check(args)) => leader_store::check(args),
        Some(LeaderAction::Seal(args)) => leader_store::seal(args),
        Some(LeaderAction::Unseal(args)) => leader_store::unseal(args),
        Some(LeaderAction::Replace(args)) => leader_replace::replace(args),
        Some(LeaderAction::Renew(args)) => leader_replace::renew(args),
        Some(LeaderAction::Pack(args)) => leader_replace::pack(args),
        Some(LeaderAction::TakePlace(args)) => leader_replace::take_place(args),
        Some(LeaderAction::RunHooks) => hooks::run(io::stdin()).map_err(|error| Failure::io(NO_LEADER, &error)),
        Some(LeaderAction::LookUpNames) => {
            names::run(io::stdin(), io::stdout()).map_err(|error| Failure::io(NO_LEADER, &error))
        }
    }
}

fn folder(args: &LeaderArgs) -> Outcome<&Path> {
    args.folder.as_deref().ok_or_else(|| Failure::new(Status::Usage, "which leader? Give its folder"))
}

fn configuration(args: &LeaderArgs) -> Outcome<(Config, PathBuf)> {
    Ok(Config::read(folder(args)?, args.config.as_deref())?)
}

fn check_config(args: &CheckConfigArgs) -> Outcome {
    let (config, path) = Config::read(&args.folder, args.config.as_deref())?;
    let group = read_group(&args.folder.join(GROUP_FILE))?;
    config.listen_address().map_err(|what| told(&path, &what))?;
    let me = ringfort_node::folder::check(&args.folder)?.leader;
    let is_in_use = LeaderFolder::is_in_use(&args.folder);
    let untried =
        try_start(&config, &path, (&group, me), &args.folder, is_in_use).map_err(|what| told(&path, &what))?;
    let which = if path.exists() { path.display().to_string() } else { "the defaults".to_owned() };
    output::line(format!("{which}: a leader can run with this."))?;
    untried.iter().try_for_each(|what| output::line(format!("Not tried: {what}.")))
}

fn told(path: &Path, what: &str) -> Failure {
    Failure::new(Status::Usage, format!("{}: {what}", path.display()))
}

/// Opens all that the leader will need.
fn prepare(args: &LeaderArgs, config: Config, path: &Path) -> Outcome<Daemon> {
    let listen = args.listen.as_deref().map(resolve).transpose()?;
    let folder = folder(args)?;
    let unlock = args.unlock.find(folder)?;
    let open = LeaderFolder::open_with(folder, unlock.as_ref())?;
    if open.store.is_catching_up() {
        warn!("the memory is old or empty: the leader says nothing before it is in the state of f+1 others");
    }
    config.check_for(&open.group, path, folder).map_err(|what| told(path, &what))?;
    let program = std::env::current_exe().map_err(|error| Failure::io("this program cannot be found", &error))?;
    let helper = |action| {
        let mut command = Command::new(&program);
        command.args(["leader", action]);
        command
    };
    let helpers = Helpers { hooks: helper("run-hooks"), names: helper("look-up-names") };
    Ok(Daemon::prepare((config, path), open, listen, helpers)?)
}

async fn lead(json: bool, daemon: Daemon) -> Outcome {
    let mut ending = Ending::listen_as_daemon()?;
    let (leader, group) = daemon.identity();
    let (sandbox, http) = (daemon.sandbox().to_owned(), daemon.http_address().map(|address| address.to_string()));
    // Whoever read our output may have gone; the leader goes on.
    let tell = |line: &LeaderLine| {
        if json {
            drop(output::json(line));
        }
    };
    let mut log = Log::new();
    let observe = |told: &Told<'_>| match told {
        Told::Listening(address) => tell(&LeaderLine::Listening {
            address: address.to_string(),
            leader,
            group: group.clone(),
            back_ends: ringfort::BACK_ENDS,
            sandbox: sandbox.clone(),
            http: http.clone(),
        }),
        Told::Event(event) => {
            log.tell(event);
            tell(&(*event).into());
        }
        Told::Renewal(event) => {
            let (what, generation, leader, fault) = renewal_words(event);
            info!(generation, what, leader, fault, "renewal of the leaders' shares");
            tell(&LeaderLine::Renewal { generation, what, leader, fault });
        }
        Told::Retired(leader) => tell(&LeaderLine::RetiredLeader { leader: leader.number() }),
        _ => {}
    };
    daemon.run(observe, ending.asked()).await?;
    tell(&LeaderLine::Stopped { leader });
    Ok(())
}

/// What happens, for the log. An outsider can fail as often as it likes, but not fill the disk.
struct Log {
    second: Instant,
    lines: u32,
}

impl Log {
    fn new() -> Self {
        Log { second: Instant::now(), lines: 0 }
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Authenticated(member) => debug!(%member, "authenticated"),
            Event::Admitted(member) => info!(%member, "admitted"),
            Event::Ended(user, cause) => info!(%user, cause = cause_word(*cause), "stay ended"),
            Event::Published(view, members) => info!(epoch = view.epoch.0, members, "view published"),
            Event::Session(now) => info!(session = now.number.get(), open = now.open, "{now}"),
            Event::CaughtUp => info!("caught up with the other leaders: takes part from now on"),
            Event::MotionOpened(motion) => info!(motion = motion_word(motion), user = %motion.user, "members asked"),
            Event::MotionDecided(motion, passed, Count { yes, no, of }) => {
                info!(motion = motion_word(motion), user = %motion.user, passed, yes, no, of, "members decided");
            }
            Event::CutOff(peer, length) => {
                let seconds = length.as_secs_f32();
                warn!(
                    peer = peer.number(),
                    seconds, "a leader asked for too much work or deviated: it has no link for so long"
                );
            }
            Event::Convicted(member) => warn!(%member, "signed two messages under one number: expelled"),
            Event::Denied(..) | Event::Blamed(..) if !self.has_room() => {}
            Event::Denied(user, reason) => info!(%user, %reason, "login refused"),
            Event::Blamed(culprit, fault) => warn!(%culprit, fault = fault.word(), "caught or refused"),
        }
    }

    fn has_room(&mut self) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            if self.lines > LINES_PER_S_MAX {
                warn!(more = self.lines - LINES_PER_S_MAX, "refusals not shown");
            }
            *self = Log::new();
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= LINES_PER_S_MAX
    }
}

/// What `--listen` names.
pub(crate) fn resolve(address: &str) -> Outcome<SocketAddr> {
    // A good name that cannot be looked up is passing trouble, and no reason to give up for good.
    let status = if check_address(address).is_ok() { Status::Other } else { Status::Usage };
    let usage = |why: String| Failure::new(status, format!("--listen {address}: {why}: give HOST:PORT"));
    let mut found = address.to_socket_addrs().map_err(|error| usage(error.to_string()))?;
    found.next().ok_or_else(|| usage("no such host".to_owned()))
}
