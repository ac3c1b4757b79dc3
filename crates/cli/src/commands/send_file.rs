//! `ringfort send-file`: joins, offers a file, and leaves once everybody who wants it has it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ringfort::protocol::UserName;
use ringfort::{Event, Events, Group};
use ringfort_files::{Files, FilesError, FilesOptions, Limits, Transfer};
use serde::Serialize;

use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::names;
use crate::transfers::Show;

/// What files are about unless told: the page's plugin.
pub const TOPIC: &str = "files";

/// Joins a group and sends a file.
#[derive(Debug, Args)]
pub struct SendFileArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Offer it to these members only, who must be in the group; nobody else can read it
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub to: Vec<UserName>,
    /// Leave after this long; it is a failure if somebody who did not decline lacks the file by then
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Print progress as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// What is printed with `--json`, for files in either direction.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FileLine<'a> {
    /// Something about a file has changed.
    File {
        /// How it stands.
        #[serde(flatten)]
        transfer: &'a Transfer,
    },
}

/// Runs `ringfort send-file`.
///
/// # Errors
/// Everything that keeps a user out, a file that cannot be read, and receivers that could not keep it.
pub async fn run(args: SendFileArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let (group, mut events) = args.member.join().await?;
    // Nothing is received here.
    let limits = Limits { offers_max: 0, ..Limits::default() };
    let files = Files::start(group.clone(), FilesOptions { limits, ..FilesOptions::default() })
        .map_err(|error| failure(&error))?;
    let time = Duration::from_secs(args.seconds.unwrap_or(u64::MAX / 4));
    let outcome = tokio::select! {
        outcome = send(&args, &files, &mut events) => outcome,
        () = ending.asked() => Err(lacking(&files, "stopped before everybody had the file")),
        () = tokio::time::sleep(time) => Err(lacking(&files, "time is up, and not everybody has the file")),
    };
    leave(group).await;
    outcome
}

/// A failure that names who lacks the file.
fn lacking(files: &Files, told: &str) -> Failure {
    let own = files.list(TOPIC).into_iter().filter(|transfer| transfer.own);
    let peers = own.flat_map(|transfer| transfer.peers);
    let lack: Vec<String> =
        peers.filter(|peer| !matches!(peer.state, "complete" | "declined")).map(|peer| peer.user).collect();
    let lack = if lack.is_empty() { String::new() } else { format!(": {} lacks it", names(&lack)) };
    Failure::new(Status::Other, format!("{told}{lack}"))
}

/// Leaves, and says if nobody acknowledged it.
pub async fn leave(group: Group) {
    if group.snapshot().ended.is_none()
        && let Err(error) = group.leave().await
    {
        output::note(format!("ringfort: {error}"));
    }
}

async fn send(args: &SendFileArgs, files: &Files, events: &mut Events) -> Outcome {
    let number = files.send_path(TOPIC, &args.to, &args.file).map_err(|error| failure(&error))?;
    let mut changed = files.changed();
    let mut show = Show::new(args.json);
    loop {
        let transfer = files.list(TOPIC).into_iter().find(|transfer| transfer.id == number);
        let Some(transfer) = transfer else { return Err(Failure::new(Status::Other, "the file was given up")) };
        show.tell(&transfer)?;
        match transfer.state {
            "sent" => return sent(args, &transfer),
            "failed" | "cancelled" => {
                let why = transfer.why.unwrap_or_else(|| "it was stopped".to_owned());
                return Err(Failure::new(Status::Unreadable, format!("the file was not sent: {why}")));
            }
            _ if !awaits_somebody(&transfer) => return sent(args, &transfer),
            _ => {}
        }
        follow(files, events, &mut changed).await?;
    }
}

/// Waits for news, and hands on what is about files.
///
/// # Errors
/// The stay has ended.
pub async fn follow(files: &Files, events: &mut Events, changed: &mut tokio::sync::watch::Receiver<u64>) -> Outcome {
    loop {
        tokio::select! {
            event = events.next() => {
                let told = "the stay in the group ended unexpectedly: join again";
                let event = event.ok_or_else(|| Failure::new(Status::NotAMember, told))?;
                files.on_event(&event);
                if let Event::Ended(cause) = event {
                    return Err(Failure::ended(cause).unwrap_or_else(|| Failure::new(Status::NotAMember, told)));
                }
            }
            _ = changed.changed() => return Ok(()),
        }
    }
}

/// Whether somebody may still want the file: not who has it, does not want it, or runs a program that takes none.
fn awaits_somebody(transfer: &Transfer) -> bool {
    let over = |state: &str| matches!(state, "complete" | "declined" | "failed" | "unanswered");
    transfer.state == "preparing" || transfer.more_peers > 0 || transfer.peers.iter().any(|peer| !over(peer.state))
}

fn sent(args: &SendFileArgs, transfer: &Transfer) -> Outcome {
    let with = |state: &str| -> Vec<&str> {
        transfer.peers.iter().filter(|peer| peer.state == state).map(|peer| peer.user.as_str()).collect()
    };
    let (have, declined, failed, deaf) = (with("complete"), with("declined"), with("failed"), with("unanswered"));
    if !failed.is_empty() {
        return Err(Failure::new(Status::Other, format!("{} could not keep the file", names(&failed))));
    }
    if have.is_empty() && !deaf.is_empty() {
        let told = format!("nobody has the file: the program of {} takes none, it seems", names(&deaf));
        return Err(Failure::new(Status::Other, told));
    }
    if args.json {
        return Ok(());
    }
    let deaf = if deaf.is_empty() {
        String::new()
    } else {
        format!("; the program of {} takes no files, it seems", names(&deaf))
    };
    let declined = if declined.is_empty() { String::new() } else { format!("; {} declined", names(&declined)) };
    output::line(format!("{}: {} has it, and the hash is right{declined}{deaf}.", transfer.name, names(&have)))
}

/// A failure about files with its status.
pub fn failure(error: &FilesError) -> Failure {
    let status = match error {
        FilesError::NoFolder => Status::Usage,
        FilesError::Role(..) => Status::Refused,
        FilesError::Folder(..) => Status::Permissions,
        FilesError::File(..) | FilesError::Upload(_) => Status::Unreadable,
        FilesError::Refused(_) => Status::Other,
    };
    Failure::new(status, error)
}
