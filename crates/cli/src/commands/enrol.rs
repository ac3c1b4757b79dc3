//! `ringfort enrol`: prepares one sealed record per leader.
//!
//! A password is hardened first, by f+1 leaders that see neither it nor each other's answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringfort::link::{Class, ConnectOptions, LinkError, LinkPublicKey, connect};
use ringfort::protocol::login::{self, Credential, Denial, Hardening, LoginAnswer};
use ringfort::protocol::wire::{self, Sorted};
use ringfort::protocol::{GroupInfo, LeaderId, UserName};
use ringfort::{files, os_rng};
use serde::Serialize;
use tokio::task::JoinSet;
use tracing::debug;

use crate::common::{GroupArgs, PasswordArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::count;

/// How long the leaders may take to harden a password.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to register, and where.
#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The name you want in the group
    #[arg(long, value_name = "NAME")]
    pub user: UserName,
    /// Register the key in this file instead of a password; needs no leader in reach
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A password.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Where to put the records
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Prepared {
    user: String,
    records: Vec<String>,
    operators_needed: usize,
}

/// Runs `ringfort enrol`.
///
/// # Errors
/// Unusable files, a password that is too short, too few leaders to harden it.
pub async fn run(args: EnrolArgs) -> Outcome {
    let group = args.group.read()?;
    let credential = match &args.key {
        Some(path) => Credential::Key(files::read_user_key(path)?),
        None => {
            let password = args.password.read(&args.user, true)?;
            let chars_min = files::PASSWORD_CHARS_MIN;
            if password.chars().count() < chars_min || password.len() > files::PASSWORD_BYTES_MAX {
                let told = format!(
                    "a password has at least {chars_min} characters and at most {} bytes: choose another",
                    files::PASSWORD_BYTES_MAX
                );
                return Err(Failure::new(Status::Usage, told));
            }
            harden(&group, &args.user, password.as_bytes()).await?
        }
    };
    let records = login::enrol(&group, &args.user, &credential, &mut os_rng());
    if !args.out.is_dir() {
        std::fs::create_dir(&args.out).map_err(|error| Failure::io(args.out.display(), &error))?;
    }
    let paths = files::write_records(&args.out, &records)?;
    let needed = group.rules.amplify();
    if args.json {
        return output::json(&Prepared {
            user: args.user.to_string(),
            records: paths.iter().map(|path| path.display().to_string()).collect(),
            operators_needed: needed,
        });
    }
    for path in &paths {
        output::line(path.display().to_string())?;
    }
    output::line(format!(
        "\nSend each record to that leader's operator, who runs `ringfort accept FOLDER RECORD`.\n\
         {} can join once {} have accepted; let all of them, so that {} may fail.",
        args.user,
        count(needed, "operator"),
        group.rules.f(),
    ))
}

/// Hardens a password through f+1 leaders.
///
/// # Errors
/// Too few leaders that answer as they should, with the most telling reason.
pub async fn harden(group: &Arc<GroupInfo>, user: &UserName, password: &[u8]) -> Outcome<Credential> {
    let hardening = Hardening::start(user.clone(), password, &mut os_rng());
    let mut hardening = hardening.ok_or_else(|| Failure::new(Status::Usage, "choose another password"))?;
    let request = wire::plain(&hardening.request());
    let mut asking = JoinSet::new();
    for leader in group.rules.leaders() {
        asking.spawn(ask(group.clone(), leader, request.clone()));
    }
    let mut reasons = Vec::new();
    while let Some(answer) = asking.join_next().await {
        match answer {
            Ok((leader, Ok(evaluation))) => {
                let (root, caught) = hardening.on_evaluation(group, leader, &evaluation);
                for leader in &caught {
                    output::note(format!("ringfort: {leader} was caught: bad-evaluation"));
                }
                reasons.extend(caught.into_iter().map(|leader| (leader, NoAnswer::Wrong)));
                if let Some(root) = root {
                    return Ok(Credential::Password(root));
                }
            }
            Ok((leader, Err(reason))) => reasons.push((leader, reason)),
            Err(error) => debug!(%error, "a task that asks a leader failed"),
        }
    }
    Err(explain(group, &reasons))
}

/// Why a leader gave no evaluation.
#[derive(Debug)]
enum NoAnswer {
    Link(LinkError),
    Denied(Denial),
    Wrong,
    Late,
}

async fn ask(
    group: Arc<GroupInfo>,
    leader: LeaderId,
    request: bytes::Bytes,
) -> (LeaderId, Result<[u8; 128], NoAnswer>) {
    let answer = tokio::time::timeout(PATIENCE, ask_in_time(&group, leader, request)).await;
    (leader, answer.unwrap_or(Err(NoAnswer::Late)))
}

async fn ask_in_time(group: &GroupInfo, leader: LeaderId, request: bytes::Bytes) -> Result<[u8; 128], NoAnswer> {
    let info = group.leader(leader).ok_or(NoAnswer::Wrong)?;
    let link = connect(&info.address, LinkPublicKey(info.link_key), None, &ConnectOptions::default()).await;
    let (sender, mut receiver) = link.map_err(NoAnswer::Link)?.split();
    sender.send(Class::Control, request).map_err(|_| NoAnswer::Link(LinkError::Closed))?;
    let frame = receiver.recv().await.map_err(NoAnswer::Link)?.ok_or(NoAnswer::Link(LinkError::Closed))?;
    sender.close();
    let Ok(Sorted::Plain(body)) = wire::sort(&frame) else { return Err(NoAnswer::Wrong) };
    match wire::decode_plain(body) {
        Ok(LoginAnswer::Evaluated { evaluation }) => Ok(evaluation),
        // One leader's word, on a link that proves its key: enough to explain, and nothing else depends on it.
        Ok(LoginAnswer::Denied { reason, .. }) => Err(NoAnswer::Denied(reason)),
        Ok(LoginAnswer::KeyDist { .. }) | Err(_) => Err(NoAnswer::Wrong),
    }
}

fn explain(group: &GroupInfo, reasons: &[(LeaderId, NoAnswer)]) -> Failure {
    let needed = group.rules.login_threshold();
    let count = |f: fn(&NoAnswer) -> bool| reasons.iter().filter(|(_, reason)| f(reason)).count();
    if count(|r| matches!(r, NoAnswer::Link(LinkError::WrongKey))) >= needed {
        return ringfort::JoinError::WrongKeys.into();
    }
    if count(|r| matches!(r, NoAnswer::Link(LinkError::Version))) >= needed {
        return ringfort::JoinError::Version.into();
    }
    if count(|r| matches!(r, NoAnswer::Denied(_))) >= needed {
        return ringfort::JoinError::Denied(Denial::Throttled).into();
    }
    let told: Vec<String> = reasons
        .iter()
        .map(|(leader, reason)| match reason {
            NoAnswer::Link(error) => format!("{leader}: {error}"),
            NoAnswer::Denied(denial) => format!("{leader}: {denial}"),
            NoAnswer::Wrong => format!("{leader}: a wrong answer"),
            NoAnswer::Late => format!("{leader}: no answer in time"),
        })
        .collect();
    let sentence = format!(
        "{needed} leaders must answer to register a password, and fewer do: check the network, or register a key, which \
         needs none ({})",
        told.join("; ")
    );
    Failure::new(Status::TooFewLeaders, sentence)
}

#[cfg(test)]
mod tests {
    use ringfort::protocol::group::deal_group;
    use ringfort::protocol::{Policy, Rules};

    use super::*;

    #[test]
    fn the_reason_that_tells_most_is_told() {
        let addresses: Vec<String> = (1..=4).map(|i| format!("h:{i}")).collect();
        let rules = Rules::new(4, 1, 2).unwrap();
        let (group, _) = deal_group("g", rules, &addresses, Policy::default(), &mut os_rng());
        let status = |make: fn() -> NoAnswer, times| {
            let reasons: Vec<_> = LeaderId::all(4).take(times).map(|leader| (leader, make())).collect();
            explain(&group, &reasons).status
        };
        assert_eq!(status(|| NoAnswer::Link(LinkError::WrongKey), 2), Status::OtherKeys);
        assert_eq!(status(|| NoAnswer::Link(LinkError::WrongKey), 1), Status::TooFewLeaders);
        assert_eq!(status(|| NoAnswer::Link(LinkError::Version), 3), Status::Version);
        assert_eq!(status(|| NoAnswer::Denied(Denial::Throttled), 2), Status::Refused);
        assert_eq!(status(|| NoAnswer::Late, 4), Status::TooFewLeaders);
    }
}
