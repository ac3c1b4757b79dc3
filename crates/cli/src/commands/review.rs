//! `ringfort group review`: what the leaders of a group share.

use clap::Subcommand;
use ringfort::protocol::diversity::{Score, review};
use ringfort::protocol::introduction::FactKind;
use ringfort::protocol::{GroupInfo, LeaderId};
use serde::Serialize;

use super::group_file::GroupFileArgs;
use crate::exit::Outcome;
use crate::output;
use crate::text::names;

/// What can be learned from a group's public file.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// See what the leaders share: owners, places, systems
    ///
    /// A group withstands F hacked leaders only as far as they are hacked one by one. It shows who or what an attacker would have to
    /// hold to hold more than F at once. What leaders say of themselves is their operators' word.
    Review(GroupFileArgs),
}

#[derive(Serialize)]
struct Shown {
    name: String,
    fingerprint: String,
    leaders: u8,
    faults: u8,
    /// False where a dealer set the group up: nothing is known.
    stated: bool,
    best: usize,
    scores: Vec<ShownScore>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ShownScore {
    kind: &'static str,
    needed: usize,
    single_point: bool,
    values: Vec<ShownValue>,
    unknown: Vec<u8>,
}

#[derive(Serialize)]
struct ShownValue {
    value: String,
    leaders: Vec<u8>,
}

/// Runs `ringfort group`.
///
/// # Errors
/// When the file is no group file, or not the one expected.
pub fn run(command: &GroupCommand) -> Outcome {
    let GroupCommand::Review(args) = command;
    let group = args.group.read()?;
    let scores = review(&group);
    let warnings = scores.as_deref().map_or_else(|| vec![NOTHING_SAID.to_owned()], |scores| warnings(&group, scores));
    if args.json {
        return output::json(&Shown {
            name: group.name.clone(),
            fingerprint: group.fingerprint(),
            leaders: group.rules.n(),
            faults: group.rules.f(),
            stated: scores.is_some(),
            best: Score::best(&group),
            scores: scores.unwrap_or_default().iter().map(shown).collect(),
            warnings,
        });
    }
    output::line(format!(
        "The group {:?} has {} leaders, of which {} may be hacked.{}\n",
        group.name,
        group.rules.n(),
        group.rules.f(),
        if scores.is_some() { " To hold more, an attacker needs:" } else { "" }
    ))?;
    for score in scores.iter().flatten() {
        output::line(format!(
            "  {:<14}{} of {}   {}",
            score.kind.word(),
            score.needed,
            Score::best(&group),
            spread(score)
        ))?;
    }
    if scores.is_some() {
        output::line("")?;
    }
    match warnings.as_slice() {
        [] => output::line("Nothing that was said is shared by more leaders than the group withstands."),
        all => all.iter().try_for_each(|warning| output::line(format!("WARNING: {warning}"))),
    }
}

const NOTHING_SAID: &str =
    "a dealer set this group up, and nothing is known of who runs its leaders and where: ask their operators";

fn warnings(group: &GroupInfo, scores: &[Score]) -> Vec<String> {
    let (n, f) = (usize::from(group.rules.n()), group.rules.f());
    let single = scores.iter().filter(|score| score.is_single_point());
    single
        .map(|score| {
            let kind = score.kind.word();
            let unsaid = match score.unknown.len() {
                0 => String::new(),
                _ => format!("{} did not say their {kind}", leaders(&score.unknown)),
            };
            match score.values.first() {
                Some((value, shared)) if shared.len() > usize::from(f) || score.unknown.is_empty() => {
                    let who = if shared.len() == n {
                        format!("all {n} leaders have")
                    } else {
                        format!("{} have", leaders(shared))
                    };
                    let and = if unsaid.is_empty() { String::new() } else { format!(" ({unsaid})") };
                    format!("{who} one {kind}, {value}{and}: {}. The group withstands {f}.", risk(score.kind))
                }
                _ => format!("{unsaid}, so they may share it with others: {}. Ask their operators.", risk(score.kind)),
            }
        })
        .collect()
}

fn risk(kind: FactKind) -> &'static str {
    match kind {
        FactKind::Owner | FactKind::Operator => "one order, one theft or one bribe takes them at once",
        FactKind::Place => "one raid or one fire takes them at once",
        FactKind::Hosting => "the host's staff can take them at once",
        FactKind::Network => "one cut, or one tap, takes them at once",
        FactKind::System | FactKind::Architecture | FactKind::Build => "one flaw there takes them at once",
    }
}

fn spread(score: &Score) -> String {
    let one = |(value, shared): &(String, Vec<LeaderId>)| format!("{value} ({})", numbers(shared));
    let mut parts: Vec<String> = score.values.iter().map(one).collect();
    if !score.unknown.is_empty() {
        parts.push(format!("not said ({})", numbers(&score.unknown)));
    }
    parts.join("; ")
}

fn numbers(leaders: &[LeaderId]) -> String {
    leaders.iter().map(|id| id.number().to_string()).collect::<Vec<_>>().join(", ")
}

fn leaders(ids: &[LeaderId]) -> String {
    match ids {
        [one] => format!("leader {}", one.number()),
        many => format!("leaders {}", names(&many.iter().map(|id| id.number().to_string()).collect::<Vec<_>>())),
    }
}

fn shown(score: &Score) -> ShownScore {
    let plain = |leaders: &[LeaderId]| leaders.iter().map(|id| id.number()).collect::<Vec<u8>>();
    ShownScore {
        kind: score.kind.word(),
        needed: score.needed,
        single_point: score.is_single_point(),
        values: score
            .values
            .iter()
            .map(|(value, leaders)| ShownValue { value: value.clone(), leaders: plain(leaders) })
            .collect(),
        unknown: plain(&score.unknown),
    }
}
