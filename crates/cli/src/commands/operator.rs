//! `ringfort accept`, `expel` and `refresh`: what an operator asks of their own leader.
//!
//! One operator alone changes nothing: the group acts once f+1 have asked.

use std::path::{Path, PathBuf};

use clap::Args;
use ringfort::files::{self, FileError, FileErrorKind, OperatorRequest};
use ringfort::protocol::UserName;
use serde::Serialize;

use crate::commands::leader_store::UnlockArgs;
use crate::exit::Outcome;
use crate::output;
use crate::text::count;

/// Which record, and at which leader.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The record made for this leader
    #[arg(value_name = "RECORD")]
    pub record: PathBuf,
    /// What opens a sealed folder.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Whom to expel, and at which leader.
#[derive(Debug, Args)]
pub struct ExpelArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Whom
    #[arg(value_name = "USER")]
    pub user: UserName,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// At which leader to ask for a new key.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Asked<'a> {
    request: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// "done" at a stopped leader, "left" in the inbox of a running one.
    state: &'static str,
    operators_needed: usize,
}

/// A leader that runs needs no key from us: its folder is locked.
fn accept_record(args: &AcceptArgs) -> Result<UserName, FileError> {
    match files::accept(&args.folder, &args.record) {
        Err(error) if error.kind() == FileErrorKind::Sealed => {
            let unlock = args.unlock.find(&args.folder).ok().flatten();
            files::accept_with(&args.folder, &args.record, unlock.as_ref())
        }
        outcome => outcome,
    }
}

/// Runs `ringfort accept`: at once if the leader is stopped, through its inbox if it runs.
///
/// # Errors
/// A record for another leader or group, an unusable folder.
pub fn accept(args: &AcceptArgs) -> Outcome {
    let needed = operators_needed(&args.folder)?;
    let (user, state) = match accept_record(args) {
        Ok(user) => (user, "done"),
        Err(error) if error.kind() == FileErrorKind::Busy => {
            let record = files::read_record(&args.record)?;
            files::drop_record(&args.folder, &record)?;
            (record.user, "left")
        }
        Err(error) => return Err(error.into()),
    };
    if args.json {
        let user = Some(user.as_str());
        return output::json(&Asked { request: "accept", user, state, operators_needed: needed });
    }
    let told = if state == "done" {
        format!("{user} is registered at this leader.")
    } else {
        format!("The running leader registers {user} within a second.")
    };
    output::line(format!("{told} {user} can join once {} have accepted.", count(needed, "operator")))
}

/// Runs `ringfort expel`.
///
/// # Errors
/// An unusable folder.
pub fn expel(args: &ExpelArgs) -> Outcome {
    let needed = operators_needed(&args.folder)?;
    files::drop_request(&args.folder, &OperatorRequest::Expel(args.user.clone()))?;
    if args.json {
        let user = Some(args.user.as_str());
        return output::json(&Asked { request: "expel", user, state: "left", operators_needed: needed });
    }
    output::line(format!(
        "This leader proposes to expel {}, now or when it is started. It happens once {} ask for it.",
        args.user,
        count(needed, "operator")
    ))
}

/// Runs `ringfort refresh`.
///
/// # Errors
/// An unusable folder.
pub fn refresh(args: &RefreshArgs) -> Outcome {
    let needed = operators_needed(&args.folder)?;
    files::drop_request(&args.folder, &OperatorRequest::Refresh)?;
    if args.json {
        return output::json(&Asked { request: "refresh", user: None, state: "left", operators_needed: needed });
    }
    output::line(format!(
        "This leader proposes a new group key, now or when it is started. It happens once {} ask for it.",
        count(needed, "operator")
    ))
}

/// f + 1, of the group that the folder belongs to.
fn operators_needed(folder: &Path) -> Outcome<usize> {
    Ok(files::read_group(&folder.join(files::GROUP_FILE))?.rules.amplify())
}
