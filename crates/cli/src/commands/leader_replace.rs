//! `ringfort leader replace`, `renew`, `pack` and `take-place`: new shares for all leaders, and a new machine for a hacked one.
//!
//! docs/replacing-a-leader.md tells what is behind it.

use std::path::{Path, PathBuf};

use clap::Args;
use ringfort::protocol::LeaderId;
use ringfort::protocol::introduction::Introduction;
use ringfort::protocol::succession::ATTEMPTS_MAX;
use ringfort_documents as documents;
use ringfort_documents::FileError;
use ringfort_node::folder;
use ringfort_node::folder::{Making, OperatorRequest, RenewalOrder};
use serde::Serialize;

use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::count;

/// What to order, and at which leader.
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The folder of the leader that is to order it
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The introduction of the new machine, made there by `ringfort setup new` with the number of the leader to be replaced
    #[arg(value_name = "INTRODUCTION")]
    pub introduction: PathBuf,
    /// How it is tried.
    #[command(flatten)]
    pub attempt: AttemptArgs,
}

/// At which leader to order new shares.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The folder of the leader that is to order it
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// How it is tried.
    #[command(flatten)]
    pub attempt: AttemptArgs,
}

/// How a renewal is tried: the same at all operators that order it.
#[derive(Debug, Args)]
pub struct AttemptArgs {
    /// The leader that says which deals count [default: the first that is not replaced]
    #[arg(long, value_name = "NUMBER")]
    pub coordinator: Option<u8>,
    /// Counts the attempts since the last renewal, from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTEMPTS_MAX)))]
    pub attempt: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What to write for the new machine.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// The folder of a leader that has come to the new generation and was not started again since
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The file to write: public, for the operator of the new machine
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What makes a leader of the new machine.
#[derive(Debug, Args)]
pub struct TakePlaceArgs {
    /// The folder that `ringfort setup new` made on this machine
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The group file, of before or after
    #[arg(long, value_name = "FILE")]
    pub group: PathBuf,
    /// What another operator wrote with `ringfort leader pack`
    #[arg(value_name = "FILE")]
    pub package: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Ordered {
    request: &'static str,
    generation: u32,
    coordinator: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<u8>,
    state: &'static str,
    operators_needed: usize,
}

#[derive(Serialize)]
struct Made<'a> {
    generation: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a Path>,
}

/// Runs `ringfort leader replace`.
///
/// # Errors
/// An unusable folder, or an introduction that fits no place in the group.
pub fn replace(args: &ReplaceArgs) -> Outcome {
    let introduction = documents::read_introduction(&args.introduction)?;
    let group = documents::read_group(&args.folder.join(documents::GROUP_FILE))?;
    if !group.may_take_a_place(&introduction) {
        return Err(Failure::new(
            Status::Usage,
            format!(
                "{}: does not fit: it must be to the group {}, with the number of one of its leaders, and with keys and an address that \
                 nobody else here has or had. Make it with `ringfort setup new` on the new machine",
                args.introduction.display(),
                group.name
            ),
        ));
    }
    order(&args.folder, Some(introduction), &args.attempt)
}

/// Runs `ringfort leader renew`.
///
/// # Errors
/// An unusable folder.
pub fn renew(args: &RenewArgs) -> Outcome {
    order(&args.folder, None, &args.attempt)
}

fn order(folder: &Path, newcomer: Option<Introduction>, args: &AttemptArgs) -> Outcome {
    let group = documents::read_group(&folder.join(documents::GROUP_FILE))?;
    let replaced = newcomer.as_ref().map(|newcomer| newcomer.leader);
    let stays = |leader: &LeaderId| Some(*leader) != replaced && leader.number() <= group.rules.n();
    let named = args.coordinator.map(LeaderId::new);
    let coordinator = named.unwrap_or_else(|| group.rules.leaders().find(stays)).filter(stays).ok_or_else(|| {
        Failure::new(Status::Usage, "the coordinator has to be a leader of the group that is not replaced")
    })?;
    let generation = group.generation() + args.attempt;
    let newcomer = newcomer.map(Box::new);
    let order = RenewalOrder { newcomer, coordinator, attempt: args.attempt };
    folder::drop_request(folder, &OperatorRequest::Renew(order))?;
    let needed = group.rules.amplify();
    let leader = replaced.map(LeaderId::number);
    if args.json {
        let request = if leader.is_some() { "replace-leader" } else { "renew" };
        let coordinator = coordinator.number();
        return output::json(&Ordered {
            request,
            generation,
            coordinator,
            leader,
            state: "left",
            operators_needed: needed,
        });
    }
    let what = leader.map_or_else(String::new, |number| format!(" and that machine in the place of leader {number}"));
    output::line(format!(
        "This leader orders new shares for all leaders{what}: generation {generation}, coordinated by {coordinator}. It begins once {} \
         order the very same. The audit tells how it goes; once it says `certified`, start the leaders again, one after the other.",
        count(needed, "operator")
    ))
}

/// Runs `ringfort leader pack`.
///
/// # Errors
/// Nothing has been certified, or the file is there already.
pub fn pack(args: &PackArgs) -> Outcome {
    let generation = folder::pack(&args.folder, &args.file)?;
    if args.json {
        return output::json(&Made { generation, folder: None });
    }
    output::line(format!(
        "{}: all that the new machine needs to take its place in generation {generation}. It is public: its operator runs `ringfort leader take-place`.",
        args.file.display()
    ))
}

/// Runs `ringfort leader take-place`.
///
/// # Errors
/// The package is for another machine or group, or there is a leader in the folder already.
pub fn take_place(args: &TakePlaceArgs) -> Outcome {
    let made = || -> Result<_, FileError> {
        let making = Making::open(&args.folder)?;
        let folder = folder::take_place(&making, &args.group, &args.package)?;
        let generation = documents::read_group(&folder.join(documents::GROUP_FILE))?.generation();
        Ok((folder, generation))
    };
    let (folder, generation) = made()?;
    if args.json {
        return output::json(&Made { generation, folder: Some(&folder) });
    }
    output::line(format!(
        "{}: a leader in generation {generation}. Start it with `ringfort leader {}`: it catches up with the others first. Users' records are \
         not in it: those that are accepted here from now on count.",
        folder.display(),
        folder.display()
    ))
}
