//! `ringfort receive-files`: joins, and takes the files that are offered.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ringfort::Events;
use ringfort::protocol::UserName;
use ringfort_files::{Action, Files, FilesOptions, Limits, Transfer};

use super::send_file::{TOPIC, failure, follow, leave};
use crate::common::{Ending, MemberArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::transfers::Show;

/// Joins a group and takes files.
#[derive(Debug, Args)]
pub struct ReceiveFilesArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Where the files go (otherwise your folder of downloads)
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Take files of these members only
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub from: Vec<UserName>,
    /// Decline files that are larger
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().file_bytes_max)]
    pub bytes_max: u64,
    /// Leave after so many files
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// Leave after this long; with --count it is a failure if fewer files came
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Print progress as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfort receive-files`.
///
/// # Errors
/// Everything that keeps a user out or ends the stay, a folder that cannot be used, too few files in time.
pub async fn run(args: ReceiveFilesArgs) -> Outcome {
    let mut ending = Ending::listen()?;
    let (group, mut events) = args.member.join().await?;
    // Everything is looked at here before it is accepted.
    let limits = Limits { file_bytes_max: args.bytes_max, auto_bytes_max: 0, ..Limits::default() };
    let options = FilesOptions { folder: args.folder.clone(), limits, ..FilesOptions::default() };
    let files = Files::start(group.clone(), options).map_err(|error| failure(&error))?;
    if let Err(forbidden) = files.check_roles(&args.from) {
        leave(group).await;
        return Err(failure(&forbidden));
    }
    let time = Duration::from_secs(args.seconds.unwrap_or(u64::MAX / 4));
    let outcome = tokio::select! {
        outcome = receive(&args, &files, &mut events) => outcome,
        () = ending.asked() => Ok(()),
        () = tokio::time::sleep(time) => match args.count {
            Some(_) => Err(Failure::new(Status::Other, "time is up, and too few files came")),
            None => Ok(()),
        },
    };
    leave(group).await;
    outcome
}

async fn receive(args: &ReceiveFilesArgs, files: &Files, events: &mut Events) -> Outcome {
    let mut changed = files.changed();
    let mut show = Show::new(args.json);
    let mut complete = BTreeSet::new();
    loop {
        for transfer in files.list(TOPIC) {
            show.tell(&transfer)?;
            match transfer.state {
                "asked" => decide(args, files, &transfer),
                "complete" if complete.insert(transfer.id) && !args.json => {
                    output::line(transfer.path.unwrap_or_default())?;
                }
                "failed" => {
                    let why = transfer.why.unwrap_or_default();
                    output::note(format!("ringfort: {} of {}: {why}", transfer.name, transfer.from));
                    // Said once.
                    let _ = files.act(TOPIC, transfer.id, Action::Forget);
                }
                _ => {}
            }
        }
        if args.count.is_some_and(|count| complete.len() >= count) {
            // The senders are told.
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Ok(());
        }
        follow(files, events, &mut changed).await?;
    }
}

fn decide(args: &ReceiveFilesArgs, files: &Files, transfer: &Transfer) {
    let wanted = args.from.is_empty() || args.from.iter().any(|user| user.as_str() == transfer.from);
    let action = if wanted && transfer.bytes <= args.bytes_max { Action::Accept } else { Action::Decline };
    // One that cannot be accepted now is looked at again with the next news.
    if let Err(error) = files.act(TOPIC, transfer.id, action) {
        output::note(format!("ringfort: {} of {} waits: {error}", transfer.name, transfer.from));
    }
}
