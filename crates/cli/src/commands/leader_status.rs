//! `ringfort leader status`: asks a running leader how it is.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ringfort_daemon::state::StatusDocument;
use ringfort_daemon::status;

use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{age, clean, count};

/// Which leader to ask.
#[derive(Debug, Args)]
pub struct LeaderStatusArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfort leader status`.
///
/// # Errors
/// No leader runs there, or it cannot do its part.
pub fn run(args: &LeaderStatusArgs) -> Outcome {
    let document = status::ask(&args.folder).map_err(|error| nobody(args, &error))?;
    if args.json {
        output::json(&document)?;
    } else {
        print(&document)?;
    }
    match document.why_not {
        None => Ok(()),
        // Told above already.
        Some(_) => Err(Failure::new(Status::TooFewLeaders, "")),
    }
}

fn nobody(args: &LeaderStatusArgs, error: &io::Error) -> Failure {
    let folder = args.folder.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::new(
            Status::Unreadable,
            format!("{folder}: no leader answers here: start it with `ringfort leader {folder}`, or look at its log"),
        ),
        io::ErrorKind::PermissionDenied => {
            let told = format!("{folder}: only the leader's own user may ask it: run this as that user");
            Failure::new(Status::Permissions, told)
        }
        _ => Failure::new(Status::Other, format!("{folder}: the leader does not answer as it should ({error})")),
    }
}

fn print(status: &StatusDocument) -> Outcome {
    let ms = Duration::from_millis;
    let verdict = match &status.why_not {
        None => "It does its part.".to_owned(),
        Some(why) => format!("It cannot do its part: {}.", clean(why)),
    };
    output::line(format!("Leader {} of {:?}, {}. {verdict}", status.leader, clean(&status.group), status.phase))?;
    output::line(format!(
        "Up for {}; version {} {}; sandbox {}.",
        age(Duration::from_secs(status.uptime_s)),
        clean(&status.version),
        clean(&status.back_ends),
        clean(&status.sandbox)
    ))?;
    output::line(format!(
        "View of epoch {} ({}): {}; {} registered here.",
        status.epoch,
        clean(&status.view),
        count(status.members, "member"),
        count(status.registered, "user"),
    ))?;
    let state = if status.session_open { "running" } else { "over: nobody is in the group, and nobody gets in" };
    let asked = status.session_asked.as_deref().map(|asked| format!(" {}.", clean(asked))).unwrap_or_default();
    output::line(format!("Session {}: {state}.{asked}", status.session))?;
    if status.members_quiet > 0 {
        let longest = age(ms(status.member_quiet_longest_ms));
        output::line(format!("Quiet: {}, the longest for {longest}.", count(status.members_quiet, "member")))?;
    }
    output::line(format!(
        "Links: {} of members, {} not logged in; {} bytes wait. Store: {} bytes.",
        status.links_member, status.links_waiting, status.queued_bytes, status.store_bytes
    ))?;
    if status.audit_lines_lost > 0 {
        output::line(format!("The audit has lost {}: look at its disk.", count_u64(status.audit_lines_lost, "line")))?;
    }
    for (leader, link) in &status.leaders {
        let state = if link.up { "up" } else { "down" };
        let heard = match link.heard_ms {
            Some(heard) => format!("heard {} ms ago", heard),
            None => "not heard yet".to_owned(),
        };
        output::line(format!("  leader {leader}: {state}, {heard}"))?;
    }
    Ok(())
}

fn count_u64(number: u64, what: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), what)
}
