//! `ringfort fingerprint`, and the arguments of whatever only reads a group's public file.

use clap::Args;
use serde::Serialize;

use crate::common::GroupArgs;
use crate::exit::Outcome;
use crate::output;

/// Which group's file, and how to tell what is in it.
#[derive(Debug, Args)]
pub struct GroupFileArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    fingerprint: String,
    leaders: u8,
    faults: u8,
    key_threshold: usize,
}

/// Runs `ringfort fingerprint`.
///
/// # Errors
/// When the file is no group file, or not the one expected.
pub fn fingerprint(args: &GroupFileArgs) -> Outcome {
    let group = args.group.read()?;
    if args.json {
        return output::json(&Shown {
            name: group.name.clone(),
            fingerprint: group.fingerprint(),
            leaders: group.rules.n(),
            faults: group.rules.f(),
            key_threshold: group.rules.key_threshold(),
        });
    }
    output::line(group.fingerprint())
}
