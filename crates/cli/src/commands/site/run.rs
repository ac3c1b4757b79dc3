//! `ringfort site run`: a site, in its sandbox, until it is asked to end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use clap::Args;
use ringfort::protocol::LeaderId;
use ringfort_daemon::config::StatusAt;
use ringfort_daemon::http;
use ringfort_daemon::names::Names;
use ringfort_daemon::notify::Notifier;
use ringfort_daemon::sandbox::{self, Needs};
use ringfort_site::audit::Decision;
use ringfort_site::doors::{DoorOptions, Networks, Prefix, Users};
use ringfort_site::{Find, Folder, Options, Prepared, Report, Running, folder, prepare};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::around::{Audit, SiteAnswers};
use crate::commands::leader::resolve;
use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};
use crate::{Global, output, run_async, start_logs};

const CONFIG_FILE: &str = "config.toml";
const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// A site to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The site's folder, made by `ringfort site new`. What its config.toml says, the options here replace
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Listen here for other sites, instead of at the address in the network's file (behind a forwarder, say)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Let clients in at this unix socket [default: state/clients.sock in the folder]. The Spread library's own is /tmp/4803
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Let programs of this user in too, by name or number; may be given again [default: the site's own user]
    #[arg(long = "allow-user", value_name = "USER")]
    pub users: Vec<String>,
    /// Let clients in at this TCP address too. Any program of this machine can then connect, whoever runs it
    #[arg(long, value_name = "HOST:PORT")]
    pub tcp: Option<String>,
    /// Let clients of this network in over TCP; may be given again [default: this machine]. They are neither encrypted nor
    /// authenticated
    #[arg(long = "tcp-from", value_name = "ADDRESS/BITS", requires = "tcp")]
    pub networks: Vec<Prefix>,
    /// Tell how the site is over HTTP at this address of this machine: /health, /ready, /metrics, /status
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Do not enter the sandbox: whoever takes the site over then has all that its user may do on this machine
    #[arg(long)]
    pub no_sandbox: bool,
    /// Print what happens as JSON lines on the standard output
    #[arg(long)]
    pub json: bool,
}

/// What config.toml may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    listen: Option<String>,
    socket: Option<PathBuf>,
    allow_users: Vec<String>,
    tcp: Option<String>,
    tcp_from: Vec<String>,
    http: Option<String>,
    http_anywhere: bool,
    http_names: Vec<String>,
    no_sandbox: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Listening {
        site: String,
        address: SocketAddr,
        socket: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        tcp: Option<SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http: Option<SocketAddr>,
        fingerprint: String,
        sandbox: String,
    },
    Ring {
        number: u64,
        sites: Vec<String>,
        absent: Vec<String>,
    },
    Gathering {
        why: String,
    },
    NoLink {
        site: String,
        why: String,
    },
    Stopped,
}

/// A site that is ready to run.
struct Ready {
    prepared: Prepared,
    names: Option<Names>,
    notifier: Notifier,
    sandbox: String,
    site: String,
    fingerprint: String,
    socket: PathBuf,
    audit: Audit,
    status: StatusAt,
    asked: http::Doors,
    json: bool,
}

/// Runs `ringfort site run` from the first thread of the program: a sandbox holds for that thread and for those to come.
pub fn main(global: &Global, args: &RunArgs) -> ExitCode {
    start_logs(global, "info");
    match ready(args, true) {
        Ok(ready) => run_async(global, "info", lead(ready)),
        Err(failure) => failure.report(),
    }
}

/// Runs a site without a sandbox.
///
/// # Errors
/// As [`main`], which says them.
pub async fn run(args: &RunArgs) -> Outcome {
    lead(ready(args, false)?).await
}

/// Opens all that the site will need, and closes the sandbox behind it.
fn ready(args: &RunArgs, may_enter: bool) -> Outcome<Ready> {
    let config = configuration(&args.folder)?;
    let opened = Folder::open(&args.folder)?;
    let listen = args.listen.as_deref().or(config.listen.as_deref()).map(resolve).transpose()?;
    let doors = doors(args, &config)?;
    let socket = doors.unix.clone().unwrap_or_default();
    let (network, me, site) = (opened.network.clone(), opened.me, opened.site().name.clone());
    let fingerprint = network.fingerprint();
    let prepared = prepare(opened, &Options { listen, doors, ..Options::default() })?;
    let audit = Audit::open(&args.folder, &site, network.name())?;
    let status = status_at(args, &config)?;
    let asked = http::Doors::open(&status, &args.folder).map_err(|told| Failure::new(Status::Unreadable, told))?;
    let names = helper(&network, me)?;
    let notifier =
        Notifier::from_environment().map_err(|error| Failure::io("the service manager is not there", &error))?;
    let mut needs = Needs::default();
    needs.folders.push(folder::state_folder(&args.folder));
    needs.listens.insert(prepared.address().port());
    let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    needs.connects.extend(network.sites().iter().skip(me + 1).filter_map(|site| port(&site.address)));
    let sandbox = if args.no_sandbox || config.no_sandbox || !may_enter {
        warn!("no sandbox: whoever takes this process over has all that its user may do on this machine");
        "off".to_owned()
    } else {
        let enforcement = sandbox::enter(&needs);
        match enforcement.word() {
            "enforced" => info!(%enforcement, "sandbox"),
            _ => warn!(%enforcement, "sandbox"),
        }
        enforcement.word().to_owned()
    };
    let json = args.json;
    Ok(Ready { prepared, names, notifier, sandbox, site, fingerprint, socket, audit, status, asked, json })
}

fn configuration(folder: &Path) -> Outcome<Config> {
    let path = folder.join(CONFIG_FILE);
    let shown = path.display();
    let Ok(about) = std::fs::metadata(&path) else { return Ok(Config::default()) };
    if about.len() > CONFIG_BYTES_MAX {
        return Err(Failure::new(Status::Unreadable, format!("{shown} is too large to be a configuration")));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::io(shown.to_string(), &error))?;
    toml::from_str(&text).map_err(|error| Failure::new(Status::Usage, format!("{shown}: {}", error.message())))
}

/// Where it tells how it is over HTTP, if anywhere.
fn status_at(args: &RunArgs, config: &Config) -> Outcome<StatusAt> {
    let http = args.http.as_ref().or(config.http.as_ref());
    if let Some(address) = http
        && !resolve(address)?.ip().is_loopback()
        && !config.http_anywhere
    {
        let told = "http is not on this machine's loopback: set http_anywhere = true in config.toml if that is meant";
        return Err(Failure::new(Status::Usage, told));
    }
    let (http, http_names) = (http.cloned(), config.http_names.clone());
    Ok(StatusAt { socket: false, http, http_names, ..StatusAt::default() })
}

fn doors(args: &RunArgs, config: &Config) -> Outcome<DoorOptions> {
    let unix = args.socket.clone().or(config.socket.clone()).unwrap_or(folder::clients_socket(&args.folder));
    let names = if args.users.is_empty() { &config.allow_users } else { &args.users };
    let users = names.iter().map(|name| user(name)).collect::<Outcome<Vec<_>>>()?;
    let tcp = args.tcp.as_deref().or(config.tcp.as_deref()).map(resolve).transpose()?;
    let prefix = |text: &String| {
        text.parse().map_err(|error| Failure::new(Status::Usage, format!("{CONFIG_FILE}: tcp_from {text:?}: {error}")))
    };
    let configured = config.tcp_from.iter().map(prefix).collect::<Outcome<Vec<Prefix>>>()?;
    let networks = if args.networks.is_empty() { configured } else { args.networks.clone() };
    Ok(DoorOptions { unix: Some(unix), users: Users(users), tcp, networks: Networks(networks) })
}

/// A user by number, or by a name in this machine's own list.
fn user(name: &str) -> Outcome<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    list.lines().find_map(number).ok_or_else(|| {
        let told = format!("there is no user {name:?} in /etc/passwd: give the user's number (`id -u NAME`)");
        Failure::new(Status::Usage, told)
    })
}

/// The helper outside the sandbox that looks up the other sites' names, if any is known by a name.
fn helper(network: &ringfort_site::Network, me: usize) -> Outcome<Option<Names>> {
    let others = (1u8..).zip(network.sites()).enumerate().filter(|(place, _)| *place != me);
    let names: BTreeMap<u8, String> = others
        .map(|(_, (number, site))| (number, site.address.clone()))
        .filter(|(_, address)| address.parse::<SocketAddr>().is_err())
        .collect();
    let failed = |error| Failure::io("the helper that looks up names cannot be started", &error);
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["leader", "look-up-names"]);
    Names::start_for(names, command).map_err(failed)
}

fn find_with(names: Names) -> Outcome<Find> {
    let lookup =
        names.serve().map_err(|error| Failure::io("the helper that looks up names does not answer", &error))?;
    Ok(Arc::new(move |place: usize| {
        let lookup = lookup.clone();
        Box::pin(async move {
            let number = u8::try_from(place + 1).ok().and_then(LeaderId::new);
            lookup.find(number.ok_or(std::io::ErrorKind::NotFound)?).await
        })
    }))
}

async fn lead(ready: Ready) -> Outcome {
    let Ready { mut prepared, names, notifier, sandbox, site, fingerprint, socket, audit, status, asked, json } = ready;
    let mut ending = Ending::listen_as_daemon()?;
    if let Some(names) = names {
        prepared.look_up_with(find_with(names)?);
    }
    let writer = audit.start();
    let version = env!("CARGO_PKG_VERSION");
    let (its_fingerprint, its_sandbox) = (fingerprint.clone(), sandbox.clone());
    writer.tell(Decision::Started { version, fingerprint: its_fingerprint, sandbox: its_sandbox });
    prepared.observe_with(writer.observe());
    let mut running = prepared.start().await?;
    let answers = Arc::new(SiteAnswers::new(running.report.clone()));
    let http = asked.http_address();
    let serving = asked.serve(&status, answers.clone());
    let _serving = serving.map_err(|error| Failure::io("cannot answer over HTTP", &error))?;
    // Whoever read our output may have gone; the site goes on.
    let tell = |line: &Line| {
        if json {
            drop(output::json(line));
        }
    };
    let (address, tcp) = (running.address, running.clients);
    tell(&Line::Listening { site, address, socket: socket.display().to_string(), tcp, http, fingerprint, sandbox });
    notifier.ready();
    let mut outcome = watch(&mut running, &mut ending, (&notifier, &answers), &tell).await;
    notifier.stopping();
    writer.tell(Decision::Stopping);
    match &outcome {
        Ok(()) => outcome = running.stop().await.map_err(Failure::from),
        Err(_) => drop(running),
    }
    writer.close().await;
    outcome?;
    tell(&Line::Stopped);
    Ok(())
}

/// Passes on what changes, until somebody asks the site to end.
async fn watch(
    running: &mut Running,
    ending: &mut Ending,
    (notifier, answers): (&Notifier, &SiteAnswers),
    tell: &dyn Fn(&Line),
) -> Outcome {
    let mut reports = running.report.clone();
    let mut before = Report::default();
    loop {
        tokio::select! {
            () = ending.asked() => return Ok(()),
            outcome = running.ended() => return Ok(outcome?),
            changed = reports.changed() => if changed.is_err() {
                // It has ended: the next turn says why.
                continue;
            },
        }
        let now = reports.borrow_and_update().clone();
        answers.told();
        notifier.alive(&format!(
            "{} sites in the ring, {} absent, {} clients",
            now.ring.len(),
            now.absent.len(),
            now.clients
        ));
        if now.ring_number != before.ring_number && !now.ring.is_empty() {
            tell(&Line::Ring { number: now.ring_number, sites: now.ring.clone(), absent: now.absent.clone() });
        } else if now.ring.is_empty() && now.state != before.state {
            tell(&Line::Gathering { why: now.state.clone() });
        }
        for site in now.unreachable.iter().filter(|site| !before.unreachable.contains(site)) {
            tell(&Line::NoLink { site: site.site.clone(), why: site.why.clone() });
        }
        before = now;
    }
}
