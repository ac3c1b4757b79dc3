//! The `ringfort` command, as a library: other binaries can offer the same subcommands beside their own.
//!
//! ```no_run
//! use clap::{Parser, Subcommand};
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     global: ringfort_cli::Global,
//!     #[command(subcommand)]
//!     command: Command,
//! }
//!
//! #[derive(Subcommand)]
//! enum Command {
//!     #[command(flatten)]
//!     Ringfort(ringfort_cli::Command),
//!     /// Something of one's own
//!     Own,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let cli = Cli::parse();
//!     match cli.command {
//!         Command::Ringfort(command) => ringfort_cli::main_with(&cli.global, command),
//!         Command::Own => ringfort_cli::run_async(&cli.global, "warn", async { Ok(()) }),
//!     }
//! }
//! ```
//!
//! Results go to the standard output, remarks and logs to the standard error. Every failure is one sentence
//! and one of the statuses in [`exit::TABLE`].
//!
//! Architecture invariant: no protocol decision is taken here.

pub mod blames;
pub mod chat;
pub mod commands;
pub mod common;
pub mod describe;
pub mod exit;
pub mod json;
pub mod output;
pub mod text;
pub mod transfers;

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::exit::{Failure, Outcome, Status};

/// The version, with the libraries that this build computes with.
fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} {}", env!("CARGO_PKG_VERSION"), ringfort::BACK_ENDS));
    &VERSION
}

/// Private group conversation that survives the compromise of its servers.
#[derive(Debug, Parser)]
#[command(name = "ringfort", version = version(), after_long_help = exit::table(), propagate_version = true)]
pub struct Cli {
    /// What goes for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Tell more on the standard error; twice for everything (or set RUST_LOG)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How logs are written: for people, or one JSON object per line
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands of `ringfort`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up a new group on this machine, as its dealer: its public file and one private folder per leader
    ///
    /// This machine sees every secret of the group while it works, and whoever holds it then can read all that the group will ever say:
    /// use one that you trust, best offline, and delete the leaders' folders from it once they are where they belong. `ringfort setup`
    /// needs nobody's trust.
    Init(commands::init::InitArgs),
    /// Set up a new group without a dealer: the leaders' machines make it together
    #[command(subcommand)]
    Setup(commands::setup::SetupCommand),
    /// See what the leaders of a group have in common
    #[command(subcommand)]
    Group(commands::review::GroupCommand),
    /// Run a leader until Ctrl-C or SIGTERM; look after it
    ///
    /// SIGHUP opens the audit's file again. `ringfort leader config` prints all that can be configured.
    Leader(commands::leader::LeaderArgs),
    /// Run a site of a peer network: ordered messages for programs on several machines
    ///
    /// Each machine runs one; programs connect to it, with clients of the Spread toolkit too. Sites order messages through
    /// crashes and cut networks. Unlike leaders, they are trusted: docs/sites.md tells what is protected.
    #[command(subcommand)]
    Site(commands::site::SiteCommand),
    /// Take part in a secure group over sites: its members agree on a key that no site has
    ///
    /// Sites can stop such a group, and cannot read or forge what it says: docs/peer-groups.md.
    #[command(subcommand)]
    Peer(commands::peer::PeerCommand),
    /// Chat in a group
    ///
    /// `/help` there tells the commands. Without a terminal, each line of the standard input is a message or a command.
    Chat(chat::ChatArgs),
    /// Join a group and open its page in a browser: chat, and whatever is plugged in
    ///
    /// The page is served by this program, to this machine alone, until Ctrl-C. Whoever has the printed address has the
    /// page: keep it to yourself.
    Join(commands::join::JoinArgs),
    /// Join a group, send, and leave
    Send(commands::send::SendArgs),
    /// Join a group, send a file, and leave once everybody who wants it has it
    SendFile(commands::send_file::SendFileArgs),
    /// Join a group and take the files that are offered
    ///
    /// Everything that is offered is accepted, within the bounds given. A file appears in the folder only once its hash is
    /// right; one that breaks off goes on where it was when it is offered again.
    ReceiveFiles(commands::receive_files::ReceiveFilesArgs),
    /// Put, read and list keys in the store that the group's leaders keep, where its policy says `order = true`
    ///
    /// Up to f hacked leaders change no reply. Leaders read what is kept: encrypt what they must not know.
    #[command(subcommand)]
    Kv(commands::kv::KvCommand),
    /// Join a group and print its messages and events
    Listen(commands::listen::ListenArgs),
    /// See which leaders of a group answer, and what works
    ///
    /// Needs no login. Exit status 0: n-f leaders answer, so that everything works. 22: fewer do. 23 or 16: f+1 hold
    /// other keys or speak another version.
    Status(commands::status::StatusArgs),
    /// Print a group's fingerprint, for comparing
    Fingerprint(commands::group_file::GroupFileArgs),
    /// Prepare a user's registration: one sealed record per leader
    ///
    /// Send each record to that leader's operator by any means; only the leader can open it. Operators make sure that
    /// it is you, then run `ringfort accept`. Once f+1 of them have, you can join.
    Enrol(commands::enrol::EnrolArgs),
    /// Operator: register the user of a record at a leader (f+1 operators must)
    ///
    /// The user can join once f+1 leaders know them: as many operators must accept. Make sure by other means that the
    /// record comes from that user. It also takes an expelled user back.
    Accept(commands::operator::AcceptArgs),
    /// Operator: take a user out, now and later (f+1 operators must)
    Expel(commands::operator::ExpelArgs),
    /// Operator: ask for a new group key (f+1 operators must)
    Refresh(commands::operator::RefreshArgs),
    /// Operator: end a session, or start one (f+1 operators must)
    ///
    /// At the end of a session everybody's stay ends, and nobody gets in before the next is started. A new session shares
    /// no key with the one before it. Who is registered stays so, and who was expelled too.
    #[command(subcommand)]
    Session(commands::operator::SessionCommand),
    /// Make or show a user's key
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Authority: certify a user's key, so that the user needs no registration
    ///
    /// The authority's public key must be in the group's policy, under `authorities`.
    Certify(commands::key::CertifyArgs),
    /// Read a membership log: who could read, and when, proved by the leaders' signatures
    ///
    /// A member keeps one with `--log FILE`. Everything here works from files, with no leader's help.
    #[command(subcommand)]
    Log(commands::log::LogCommand),
    /// Check a piece of evidence against leaders
    ///
    /// Exit status 0: it convicts the leaders named. 11: it was altered, or is of another group. 32: an honest leader
    /// may have signed all of it.
    VerifyEvidence(commands::log::EvidenceArgs),
    /// Measure Ringfort on this machine, each figure beside its floor from the same run
    Bench(commands::bench::BenchArgs),
}

/// Runs the command line of the `ringfort` binary.
pub fn run(cli: Cli) -> ExitCode {
    main_with(&cli.global, cli.command)
}

/// Runs one command to its exit status.
pub fn main_with(global: &Global, command: Command) -> ExitCode {
    let level = match &command {
        // It has to do some things before there is a second thread.
        Command::Leader(args) => return commands::leader::main(global, args),
        Command::Site(commands::site::SiteCommand::Run(args)) => return commands::site::main(global, args),
        // Logs would be written over the screen.
        Command::Chat(_) | Command::Join(commands::join::JoinArgs { no_web: true, .. })
            if std::io::stderr().is_terminal() =>
        {
            "off"
        }
        _ => "warn",
    };
    run_async(global, level, execute(command))
}

/// Runs a future on a new runtime, with logs, and turns its outcome into an exit status.
///
/// `level` is the level of the logs where the user asked for none in particular.
pub fn run_async(global: &Global, level: &str, future: impl Future<Output = Outcome>) -> ExitCode {
    start_logs(global, level);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::io("cannot start", &error).report(),
    };
    let outcome = runtime.block_on(future);
    // A thread that waits for the keyboard must not hold the program up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::from(Status::Ok as u8),
        Err(failure) => failure.report(),
    }
}

/// Carries out one command. A leader that is run so enters no sandbox: [`main_with`] is for that.
///
/// # Errors
/// A [`Failure`] with the exit status.
pub async fn execute(command: Command) -> Outcome {
    match command {
        Command::Init(args) => commands::init::run(&args),
        Command::Setup(command) => commands::setup::run(command).await,
        Command::Group(command) => commands::review::run(&command),
        Command::Leader(args) => commands::leader::run(&args).await,
        Command::Site(command) => commands::site::run(command).await,
        Command::Peer(command) => commands::peer::run(command).await,
        Command::Chat(args) => chat::run(args).await,
        Command::Join(args) => commands::join::run(args).await,
        Command::Send(args) => commands::send::run(args).await,
        Command::SendFile(args) => commands::send_file::run(args).await,
        Command::ReceiveFiles(args) => commands::receive_files::run(args).await,
        Command::Kv(command) => commands::kv::run(command).await,
        Command::Listen(args) => commands::listen::run(args).await,
        Command::Status(args) => commands::status::run(args).await,
        Command::Fingerprint(args) => commands::group_file::fingerprint(&args),
        Command::Enrol(args) => commands::enrol::run(args),
        Command::Accept(args) => commands::operator::accept(&args),
        Command::Expel(args) => commands::operator::expel(&args),
        Command::Refresh(args) => commands::operator::refresh(&args),
        Command::Session(command) => commands::operator::session(&command),
        Command::Key(command) => commands::key::run(&command),
        Command::Certify(args) => commands::key::certify(&args),
        Command::Log(command) => commands::log::run(&command),
        Command::VerifyEvidence(args) => commands::log::evidence(&args),
        Command::Bench(args) => commands::bench::run(args).await,
    }
}

pub(crate) fn start_logs(global: &Global, level: &str) {
    let filter = match global.verbose {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level)),
        1 => EnvFilter::new("info,ringfort=debug,ringfort_cli=debug,ringfort_daemon=debug,ringfort_site=debug"),
        _ => EnvFilter::new("debug,ringfort=trace,ringfort_cli=trace,ringfort_daemon=trace,ringfort_site=trace"),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Somebody who embeds this may have set up logs already.
    let _ = match global.log_format.unwrap_or_default() {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).with_ansi(false).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Exit status:"), "{help}");
    }
}
