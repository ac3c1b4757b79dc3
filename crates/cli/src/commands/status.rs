//! `ringfort status`: which leaders answer, without a login.

use std::time::{Duration, Instant};

use clap::Args;
use ringfort::protocol::group::LeaderInfo;
use ringfort::protocol::roles::RoleRule;
use ringfort::protocol::{GroupInfo, LeaderId, Rules};
use ringfort_link::{ConnectOptions, LinkError, LinkPublicKey, connect};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::common::GroupArgs;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, count};

/// Which group to look at.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Wait this long for each leader
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
}

/// What was seen of a group's leaders.
#[derive(Debug, Serialize)]
struct Report {
    name: String,
    fingerprint: String,
    answer: usize,
    leaders_total: u8,
    faults: u8,
    /// "all", "talking" (no joins, leaves or new keys) or "nothing".
    works: &'static str,
    leaders: Vec<Seen>,
    /// Who is no ordinary member, by the group's policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<RoleLine>,
}

/// A rule of the policy.
#[derive(Debug, Serialize)]
struct RoleLine {
    users: String,
    role: &'static str,
}

/// What was seen of one leader.
#[derive(Debug, Serialize)]
struct Seen {
    leader: u8,
    address: String,
    /// "fine", "unreachable", "wrong-key", "wrong-version", "refused" or "broken".
    state: &'static str,
    /// From the first packet to the proof of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_in_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs `ringfort status`.
///
/// # Errors
/// An unusable group file; too few leaders.
pub async fn run(args: StatusArgs) -> Outcome {
    let group = args.group.read()?;
    let leaders = look_at_all(&group, Duration::from_secs(args.timeout)).await;
    let answer = in_state(&leaders, "fine");
    let report = Report {
        name: group.name.clone(),
        fingerprint: group.fingerprint(),
        answer,
        leaders_total: group.rules.n(),
        faults: group.rules.f(),
        works: works(&group.rules, answer),
        leaders,
        roles: group.policy.roles.iter().map(RoleLine::of).collect(),
    };
    if args.json {
        output::json(&report)?
    } else {
        print(&group, &report)?
    }
    verdict(&group.rules, &report)
}

impl RoleLine {
    fn of(rule: &RoleRule) -> Self {
        RoleLine { users: rule.users.as_str().to_owned(), role: rule.role.word() }
    }
}

async fn look_at_all(group: &GroupInfo, timeout: Duration) -> Vec<Seen> {
    let mut looking = JoinSet::new();
    for id in group.rules.leaders() {
        if let Some(info) = group.leader(id) {
            looking.spawn(look_at(id, info.clone(), timeout));
        }
    }
    let mut seen = looking.join_all().await;
    seen.sort_by_key(|seen| seen.leader);
    seen
}

async fn look_at(id: LeaderId, info: LeaderInfo, timeout: Duration) -> Seen {
    let seen = |state, answered_in_ms, error| Seen {
        leader: id.number(),
        address: info.address.clone(),
        state,
        answered_in_ms,
        error,
    };
    match timed_link(&info, timeout).await {
        Ok(first) => {
            // The first link of a process also pays for starting its cryptography.
            let again = timed_link(&info, timeout).await.unwrap_or(first);
            let ms = (again.min(first).as_secs_f64() * 10_000.0).round() / 10.0;
            seen("fine", Some(ms), None)
        }
        Err(error) => seen(state_of(&error), None, Some(clean(&error.to_string()))),
    }
}

/// How long it takes until a leader has proved its key.
async fn timed_link(info: &LeaderInfo, timeout: Duration) -> Result<Duration, LinkError> {
    let options = ConnectOptions { connect_timeout: timeout, handshake_timeout: timeout, ..ConnectOptions::default() };
    let started = Instant::now();
    let link = connect(&info.address, LinkPublicKey(info.link_key), None, &options).await?;
    let took = started.elapsed();
    link.close();
    Ok(took)
}

fn state_of(error: &LinkError) -> &'static str {
    match error {
        LinkError::Unreachable(_) | LinkError::Timeout => "unreachable",
        LinkError::WrongKey => "wrong-key",
        LinkError::Version => "wrong-version",
        LinkError::Refused => "refused",
        _ => "broken",
    }
}

fn in_state(leaders: &[Seen], state: &str) -> usize {
    leaders.iter().filter(|seen| seen.state == state).count()
}

fn works(rules: &Rules, answer: usize) -> &'static str {
    if answer >= usize::from(rules.n() - rules.f()) {
        "all"
    } else if answer > usize::from(rules.f()) {
        "talking"
    } else {
        "nothing"
    }
}

fn print(group: &GroupInfo, report: &Report) -> Outcome {
    output::line(format!("Group {:?}, fingerprint {}\n", report.name, report.fingerprint))?;
    let width = report.leaders.iter().map(|seen| seen.address.len()).max().unwrap_or_default();
    for seen in &report.leaders {
        let told = match (seen.answered_in_ms, &seen.error) {
            (Some(ms), _) => format!("fine, proved its key in {ms} ms"),
            (None, Some(error)) => error.clone(),
            (None, None) => seen.state.to_owned(),
        };
        output::line(format!("  leader {:<2}  {:<width$}  {told}", seen.leader, seen.address))?;
    }
    let (n, f) = (group.rules.n(), group.rules.f());
    let meaning = match report.works {
        "all" => "everything works".to_owned(),
        "talking" => format!("members who are in go on talking, but joining, leaving and new keys need {}", n - f),
        _ => format!("nobody can join, and members go on under their last key at most; {} are needed", n - f),
    };
    output::line(format!("\n{} of {n} leaders answer: {meaning}.", report.answer))?;
    let told: Vec<String> = report.roles.iter().map(|rule| format!("{} {}", rule.users, rule.role)).collect();
    if told.is_empty() { Ok(()) } else { output::line(format!("Roles, the first that fits: {}.", told.join(", "))) }
}

fn verdict(rules: &Rules, report: &Report) -> Outcome {
    let needed = usize::from(rules.f()) + 1;
    if report.works == "all" {
        return Ok(());
    }
    let (status, told) = if in_state(&report.leaders, "wrong-key") >= needed {
        let told = "the servers at the leaders' addresses do not hold the keys in the group file: the file is of another \
                    group, or somebody stands in for them; compare the fingerprint with the operators";
        (Status::OtherKeys, told.to_owned())
    } else if in_state(&report.leaders, "wrong-version") >= needed {
        let told = "the leaders speak another version of Ringfort: install the version that the group uses";
        (Status::Version, told.to_owned())
    } else {
        let told = format!(
            "only {} of {} answer, and joining takes {}: check the network, and ask the operators of the others",
            report.answer,
            count(rules.n().into(), "leader"),
            rules.n() - rules.f(),
        );
        (Status::TooFewLeaders, told)
    };
    Err(Failure::new(status, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rules: &Rules, states: [&'static str; 4]) -> Report {
        let seen = |(i, state)| Seen { leader: i, address: "h:1".into(), state, answered_in_ms: None, error: None };
        let leaders: Vec<Seen> = (1..).zip(states).map(seen).collect();
        let answer = in_state(&leaders, "fine");
        let works = works(rules, answer);
        Report {
            name: "g".into(),
            fingerprint: "f".into(),
            answer,
            leaders_total: 4,
            faults: 1,
            works,
            leaders,
            roles: vec![],
        }
    }

    #[test]
    fn the_verdict_follows_from_what_was_seen() {
        let rules = Rules::new(4, 1, 2).unwrap();
        let status = |states| verdict(&rules, &report(&rules, states)).err().map(|failure| failure.status);
        assert_eq!(status(["fine", "fine", "fine", "unreachable"]), None);
        assert_eq!(status(["fine", "fine", "unreachable", "wrong-key"]), Some(Status::TooFewLeaders));
        assert_eq!(status(["fine", "fine", "wrong-key", "wrong-key"]), Some(Status::OtherKeys));
        assert_eq!(status(["wrong-version", "fine", "wrong-version", "refused"]), Some(Status::Version));
        assert_eq!(works(&rules, 2), "talking");
        assert_eq!(works(&rules, 1), "nothing");
    }

    #[test]
    fn link_errors_have_their_words() {
        assert_eq!(state_of(&LinkError::Version), "wrong-version");
        assert_eq!(state_of(&LinkError::WrongKey), "wrong-key");
        assert_eq!(state_of(&LinkError::Timeout), "unreachable");
    }
}
