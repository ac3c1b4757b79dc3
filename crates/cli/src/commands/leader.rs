//! `ringfort leader`: runs a leader.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ringfort::files::LeaderFolder;
use ringfort::leader::{LeaderOptions, Told, run_leader};
use ringfort::protocol::leader::Event;
use tracing::{debug, info, warn};

use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};
use crate::json::{LeaderLine, cause_word};
use crate::output;

/// Refusals in the log, per second.
const LINES_PER_S_MAX: u32 = 20;

/// Runs a leader until Ctrl-C or SIGTERM.
#[derive(Debug, Args)]
pub struct LeaderArgs {
    /// The leader's folder, made by `ringfort init`
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Listen here instead of at the address in the group file (behind a forwarder, say)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Print what happens as JSON lines on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfort leader`.
///
/// # Errors
/// An unusable folder, a taken port, or a store that fails.
pub async fn run(args: LeaderArgs) -> Outcome {
    let listen = args.listen.as_deref().map(resolve).transpose()?;
    let mut ending = Ending::listen()?;
    let folder = LeaderFolder::open(&args.folder)?;
    let leader = folder.secrets.id;
    let group = folder.group.clone();
    let planned = group.leader(leader).map(|info| info.address.clone()).unwrap_or_default();
    let address = listen.map_or(planned, |address| address.to_string());
    let options = LeaderOptions { listen, ..LeaderOptions::default() };

    // Whoever read our output may have gone; the leader goes on.
    let tell = |line: &LeaderLine| {
        if args.json {
            drop(output::json(line));
        }
    };
    // First looked at when the leader listens.
    let until_asked = async {
        tell(&LeaderLine::Listening { address, leader: leader.number(), group: group.fingerprint() });
        ending.asked().await;
    };
    let mut log = Log::new();
    let observe = |told: &Told<'_>| {
        if let Told::Event(event) = told {
            log.tell(event);
            tell(&(*event).into());
        }
    };
    run_leader(folder, options, observe, until_asked).await?;
    tell(&LeaderLine::Stopped { leader: leader.number() });
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
    let usage = |why: String| Failure::new(Status::Usage, format!("--listen {address}: {why}: give HOST:PORT"));
    let mut found = address.to_socket_addrs().map_err(|error| usage(error.to_string()))?;
    found.next().ok_or_else(|| usage("no such host".to_owned()))
}
