//! `ringfort accept`, `expel`, `refresh` and `session`: what an operator asks of their own leader.
//!
//! One operator alone changes nothing: the group acts once f+1 have asked.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ringfort::protocol::coordination::SessionOrder;
use ringfort::protocol::{SESSIONS_MAX, SessionNumber, UserName};
use ringfort_daemon::words::session_word;
use ringfort_documents as documents;
use ringfort_documents::FileErrorKind;
use ringfort_node::folder;
use ringfort_node::folder::{Candidate, Known, OperatorRequest};
use serde::Serialize;

use crate::commands::leader_store::UnlockArgs;
use crate::exit::{Failure, Outcome, Status};
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
    /// Replace what the user has registered here: from then on that opens nothing at this leader
    #[arg(long)]
    pub replace: bool,
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

/// What an operator can do with a session.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// End the session: everybody is out, and nobody gets in until another is started
    End(SessionArgs),
    /// Start the next session, once the one before it is over
    Start(SessionArgs),
    /// End the session and start the next in one: everybody is out, and can log in again at once
    Restart(SessionArgs),
}

/// Which session, and at which leader.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Its number: the one to end, to start or to restart. `ringfort leader status FOLDER` tells which there is
    ///
    /// An order that comes late thus never meets the next session.
    #[arg(value_name = "SESSION", value_parser = session_number)]
    pub session: SessionNumber,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

fn session_number(text: &str) -> Result<SessionNumber, String> {
    let number = text.parse().ok().and_then(SessionNumber::new);
    number.ok_or_else(|| format!("a session's number is between 1 and {SESSIONS_MAX}"))
}

#[derive(Serialize)]
struct Asked<'a> {
    request: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    /// "done" at a stopped leader, "left" in the inbox of a running one.
    state: &'static str,
    operators_needed: usize,
}

#[derive(Serialize)]
struct AcceptedRecord<'a> {
    request: &'static str,
    user: &'a str,
    /// What the user's machine showed; none where a running leader's folder is sealed.
    code: Option<&'a str>,
    /// The code of what is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a str>,
    state: &'static str,
    operators_needed: usize,
}

/// Runs `ringfort accept`: at once if the leader is stopped, through its inbox if it runs.
///
/// # Errors
/// A record for another leader or group, a user who has registered something else, an unusable folder.
pub fn accept(args: &AcceptArgs) -> Outcome {
    let needed = operators_needed(&args.folder)?;
    let unlock = args.unlock.find(&args.folder).ok().flatten();
    let found = folder::look_at_record(&args.folder, &args.record, unlock.as_ref())?;
    if let Some(known) = found.known.as_ref().filter(|_| !args.replace) {
        return Err(refuse_known(&found, known));
    }
    let state = match folder::accept_with(&args.folder, &args.record, unlock.as_ref(), args.replace) {
        Ok(_) => "done",
        // A leader that runs needs no key from us: its folder is locked.
        Err(error) if error.kind() == FileErrorKind::Busy => {
            folder::drop_record(&args.folder, &folder::read_record(&args.record)?, args.replace)?;
            "left"
        }
        Err(error) => return Err(error.into()),
    };
    let user = &found.user;
    if args.json {
        return output::json(&AcceptedRecord {
            request: if args.replace { "replace" } else { "accept" },
            user: user.as_str(),
            code: found.code.as_deref(),
            replaces: found.known.as_ref().map(|known| known.code.as_str()),
            state,
            operators_needed: needed,
        });
    }
    let replaces = found.known.as_ref().map(|known| {
        format!(
            " It replaces what {user} had registered here{}, which opens nothing at this leader any more.",
            since(known)
        )
    });
    let replaces = replaces.unwrap_or_default();
    let told = match (state, &found.code) {
        ("done", _) => format!("{user} is registered at this leader."),
        (_, Some(_)) => format!("The running leader registers {user} within a second."),
        _ => format!(
            "The running leader registers {user} within a second, unless something else is registered: see its audit."
        ),
    };
    output::line(format!("{told}{replaces} {user} can join once {} have accepted.", count(needed, "operator")))?;
    match &found.code {
        Some(code) => output::line(format!(
            "\nCode: {code}\nHave {user} read you the code by voice. If it is another, {user} did not make this record: run `ringfort expel`."
        )),
        None => output::line("The folder is sealed: give the key to see the code that the user reads you."),
    }
}

fn refuse_known(found: &Candidate, known: &Known) -> Failure {
    let (user, new) = (&found.user, found.code.as_deref().unwrap_or("unknown"));
    Failure::new(
        Status::Exists,
        format!(
            "{user} is registered here already{}, with the code {}; this record has the code {new}. \
             Ask {user}, by voice, for the new code and why it is new; if both are right, use --replace",
            since(known),
            known.code
        ),
    )
}

fn since(known: &Known) -> String {
    known.since_unix_s.map_or_else(String::new, |unix_s| format!(" since {}", crate::text::date(unix_s)))
}

/// Runs `ringfort expel`.
///
/// # Errors
/// An unusable folder.
pub fn expel(args: &ExpelArgs) -> Outcome {
    let needed = operators_needed(&args.folder)?;
    folder::drop_request(&args.folder, &OperatorRequest::Expel(args.user.clone()))?;
    if args.json {
        let user = Some(args.user.as_str());
        return output::json(&Asked { user, ..left("expel", needed) });
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
    folder::drop_request(&args.folder, &OperatorRequest::Refresh)?;
    if args.json {
        return output::json(&left("refresh", needed));
    }
    output::line(format!(
        "This leader proposes a new group key, now or when it is started. It happens once {} ask for it.",
        count(needed, "operator")
    ))
}

/// Runs `ringfort session`.
///
/// # Errors
/// An unusable folder.
pub fn session(command: &SessionCommand) -> Outcome {
    let (args, order) = match command {
        SessionCommand::End(args) => (args, SessionOrder::End(args.session)),
        SessionCommand::Start(args) => (args, SessionOrder::Start(args.session)),
        SessionCommand::Restart(args) => (args, SessionOrder::Restart(args.session)),
    };
    let needed = operators_needed(&args.folder)?;
    folder::drop_request(&args.folder, &OperatorRequest::Session(order))?;
    if args.json {
        return output::json(&Asked { session: Some(args.session.get()), ..left(session_word(order), needed) });
    }
    let number = args.session;
    let (what, then) = match order {
        SessionOrder::End(_) => (format!("end session {number}"), "Everybody is out then, and nobody gets in."),
        SessionOrder::Start(_) => (format!("start session {number}"), "Users can log in then."),
        SessionOrder::Restart(_) => {
            (format!("end session {number} and start the next"), "Everybody is out then, and can log in again.")
        }
    };
    output::line(format!(
        "This leader proposes to {what}, now or when it is started. It happens once {} ask for it. {then} \
         `ringfort leader status` shows it.",
        count(needed, "operator")
    ))
}

/// What is left in the inbox.
fn left(request: &'static str, operators_needed: usize) -> Asked<'static> {
    Asked { request, user: None, session: None, state: "left", operators_needed }
}

/// f + 1, of the group that the folder belongs to.
fn operators_needed(folder: &Path) -> Outcome<usize> {
    Ok(documents::read_group(&folder.join(documents::GROUP_FILE))?.rules.amplify())
}
