//! `ringfort chat`: a conversation on the terminal.
//!
//! `room` holds what there is to show, `draw` shows it, `screen` runs the terminal; `lines` is the plain
//! mode for pipes. None of them knows a protocol.

mod board;
mod command;
mod draw;
mod input;
mod lines;
mod room;
mod screen;
mod sender;
mod wrap;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use ringfort::Group;

use crate::common::{Ending, MemberArgs};
use crate::exit::Outcome;
use crate::output;

/// What chat messages are about.
pub const TOPIC: &str = "chat";

/// How long a quitting user waits for the leaders' acknowledgement.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);

/// Joins a group and chats. `/help` there tells the commands.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Who, where, with what secret.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Lines instead of a full screen, as when the input or the output is no terminal
    #[arg(long)]
    pub plain: bool,
}

/// How the user wants to end the stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Wait until the leaders have acknowledged.
    Leave,
    /// Say so and go.
    Quit,
}

/// Runs `ringfort chat`.
///
/// # Errors
/// Everything that keeps a user out, and an end that the user did not ask for.
pub async fn run(args: ChatArgs) -> Outcome {
    let plain = args.plain || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal();
    let info = args.member.group.read()?;
    let credentials = args.member.secret.credentials(&args.member.user)?;
    if !plain {
        output::note(format!("joining {:?}…", info.name));
    }
    let ending = Ending::listen()?;
    let (group, events) = args.member.secret.join(info, credentials).await?;
    if plain { lines::run(group, events, ending).await } else { screen::run(group, events, ending).await }
}

/// Ends the stay, unless it is over.
async fn leave(group: Group, end: End) {
    if group.snapshot().ended.is_some() {
        return;
    }
    let left = group.leave();
    match end {
        End::Leave => drop(left.await),
        End::Quit => drop(tokio::time::timeout(QUIT_PATIENCE, left).await),
    }
}
