//! `ringfort kv serve`: the group's store for clients of etcd.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringfort::protocol::GroupInfo;
use ringfort::protocol::view::Cause;
use ringfort::{CallError, Credentials, Events, Group};
use ringfort_etcd::{Address, Door, Identity, ListenError, Listener, Password, Store, Unanswered, fresh_secret};
use ringfort_services::kv::{KvReply, KvRequest, Revision};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::common::{Ending, MemberArgs, read_secret_line};
use crate::exit::{Failure, Outcome, Status};
use crate::output;

/// The socket in the user's folder for such things, if nothing else is asked for.
const SOCKET: &str = "ringfort/etcd.sock";
/// How long it is tried to join again after a stay that was lost.
const TRIES_FOR: Duration = Duration::from_secs(3_600);
/// Between two tries, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// `ringfort kv serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// As whom.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Where clients of etcd come: unix:PATH, or a loopback address with a port (otherwise ringfort/etcd.sock in the folder
    /// that the system keeps for you)
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Address>,
    /// For a port: clients' password in this private file, which is made if it is missing (otherwise a new one is printed)
    #[arg(long, value_name = "FILE")]
    pub client_password_file: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum ServeLine<'a> {
    Serving {
        endpoint: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<&'a str>,
    },
    Lost,
    JoinedAgain,
}

/// Serves until it is stopped, or the stay ends for good.
///
/// # Errors
/// Everything that keeps a user out, a taken address, and an end of the stay that the user did not ask for.
pub async fn serve(args: ServeArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let info = args.member.group.read()?;
    if !info.policy.order {
        return Err(CallError::NotOrdered.into());
    }
    let address = args.address()?;
    let password = args.client_password(&address)?;
    let door = Door::new(password.clone().map(|(password, _)| password));
    let door = door.map_err(|error| Failure::io("the system gives no random numbers", &error))?;
    let listener = Listener::open(&address).await?;
    let credentials = args.member.secret.credentials(&args.member.user)?;
    let (group, events) = args.member.secret.join(info.clone(), credentials.clone()).await?;
    let identity = Identity::of(&info, &args.member.user);
    let (place, places) = watch::channel(Some(group));
    args.announce(listener.endpoint(), password.as_ref())?;
    let ended = tokio::select! {
        () = ringfort_etcd::serve(Place(places), identity, door, listener) => Ok(()),
        ended = args.stay(&place, events, info, credentials) => ended,
        () = ending.asked() => Ok(()),
    };
    if let Some(group) = place.send_replace(None) {
        super::leave(group).await;
    }
    ended
}

impl ServeArgs {
    fn address(&self) -> Outcome<Address> {
        if let Some(address) = &self.listen {
            return Ok(address.clone());
        }
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let told = "the system keeps no folder for your sockets (XDG_RUNTIME_DIR): say where to listen with --listen";
        folder.map(|folder| Address::Unix(folder.join(SOCKET))).ok_or_else(|| Failure::new(Status::Usage, told))
    }

    /// What clients have to know, and whether it is new and kept nowhere.
    fn client_password(&self, address: &Address) -> Outcome<Option<(Password, bool)>> {
        let (password, is_new) = match (address, &self.client_password_file) {
            (Address::Unix(_), None) => return Ok(None),
            (_, None) => (fresh()?, true),
            (_, Some(path)) if path.exists() => (read_secret_line(path)?, false),
            (_, Some(path)) => {
                let password = fresh()?;
                write_secret(path, &password)
                    .map_err(|error| Failure::io(format!("{}: cannot write the password", path.display()), &error))?;
                (password, false)
            }
        };
        Ok(Some((Password { name: self.member.user.to_string(), password }, is_new)))
    }

    fn announce(&self, endpoint: &str, password: Option<&(Password, bool)>) -> Outcome {
        let user = password.map(|(password, _)| password.name.as_str());
        let new = password.filter(|(_, is_new)| *is_new).map(|(password, _)| password.password.as_str());
        if self.json {
            return output::json(&ServeLine::Serving { endpoint, user, password: new });
        }
        output::line("Clients of etcd can use the group's store, until Ctrl-C:")?;
        let login = match (user, new, &self.client_password_file) {
            (None, ..) => String::new(),
            (Some(user), Some(password), _) => format!(" --user {user}:{password}"),
            (Some(user), None, Some(path)) => format!(" --user {user}:$(cat {})", path.display()),
            (Some(user), None, None) => format!(" --user {user}"),
        };
        output::line(format!("\n  etcdctl --endpoints={endpoint}{login} get --prefix ''\n"))
    }

    /// Returns when the stay has ended for good.
    async fn stay(
        &self,
        place: &watch::Sender<Option<Group>>,
        mut events: Events,
        info: Arc<GroupInfo>,
        credentials: Credentials,
    ) -> Outcome {
        loop {
            // What others say is nothing to the store.
            while events.next().await.is_some() {}
            let ended = place.send_replace(None).and_then(|group| group.snapshot().ended);
            match ended {
                Some(Cause::Lost) => self.tell(&ServeLine::Lost)?,
                Some(cause) => return Failure::ended(cause).map_or(Ok(()), Err),
                None => {
                    return Err(Failure::new(
                        Status::NotAMember,
                        "the stay in the group ended unexpectedly: join again",
                    ));
                }
            }
            let group;
            (group, events) = self.join_again(&info, &credentials).await?;
            place.send_replace(Some(group));
            self.tell(&ServeLine::JoinedAgain)?;
        }
    }

    fn tell(&self, line: &ServeLine<'_>) -> Outcome {
        if self.json {
            return output::json(line);
        }
        output::note(match line {
            ServeLine::Lost => {
                "The connection to the group was lost. This program joins again by itself, for up to an hour."
            }
            _ => "In the group again.",
        });
        Ok(())
    }

    async fn join_again(&self, info: &Arc<GroupInfo>, credentials: &Credentials) -> Outcome<(Group, Events)> {
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            match self.member.secret.join(info.clone(), credentials.clone()).await {
                Err(failure) if failure.status == Status::TooFewLeaders && begun.elapsed() < TRIES_FOR => {}
                joined => return joined,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The member's place in the group, which may be lost and taken again.
struct Place(watch::Receiver<Option<Group>>);

impl Place {
    async fn group(&self) -> Result<Group, Unanswered> {
        let mut places = self.0.clone();
        let place = places.wait_for(Option::is_some).await.map_err(|_| Unanswered::Stopped)?;
        place.clone().ok_or(Unanswered::Stopped)
    }
}

impl Store for Place {
    async fn ask(&self, request: KvRequest) -> Result<KvReply, Unanswered> {
        Store::ask(&self.group().await?, request).await
    }

    async fn changed(&self, after: Revision) -> Result<(), Unanswered> {
        Store::changed(&self.group().await?, after).await
    }
}

fn fresh() -> Outcome<Zeroizing<String>> {
    fresh_secret().map_err(|error| Failure::io("the system gives no random numbers", &error))
}

fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let status = match &error {
            ListenError::Folder(_) => Status::Permissions,
            ListenError::NoSocket(_) => Status::Exists,
            ListenError::Busy(_) => Status::Busy,
            ListenError::System(_, cause) => Failure::io("", cause).status,
        };
        Failure::new(status, error)
    }
}
