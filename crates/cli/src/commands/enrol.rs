//! `ringfort enrol`: prepares one sealed record per leader.
//!
//! No leader is asked: this machine deals the user's login key, and forgets it.

use std::path::PathBuf;

use clap::Args;
use ringfort::protocol::UserName;
use ringfort::protocol::login::{self, Enrolment};
use ringfort_documents as documents;
use ringfort_documents::os_rng;
use ringfort_node::folder;
use serde::Serialize;

use crate::common::{GroupArgs, PasswordArgs};
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::count;

/// Whom to register, and where.
#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The name you want in the group
    #[arg(long, value_name = "NAME")]
    pub user: UserName,
    /// Register the key in this file instead of a password
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
    code: String,
    operators_needed: usize,
}

/// Runs `ringfort enrol`.
///
/// # Errors
/// Unusable files, a password that is too short or too long.
pub fn run(args: EnrolArgs) -> Outcome {
    let group = args.group.read()?;
    let Enrolment { records, code } = match &args.key {
        Some(path) => {
            let key = documents::read_user_key(path)?.verifying_key();
            login::enrol_key(&group, &args.user, &key, &mut os_rng())
        }
        None => {
            let password = ringfort_documents::password::prepare(&args.password.read(&args.user, true)?);
            let chars_min = documents::PASSWORD_CHARS_MIN;
            if password.chars().count() < chars_min || password.len() > documents::PASSWORD_BYTES_MAX {
                let told = format!(
                    "a password has at least {chars_min} characters and at most {} bytes: choose another",
                    documents::PASSWORD_BYTES_MAX
                );
                return Err(Failure::new(Status::Usage, told));
            }
            let records = login::enrol_password(&group, &args.user, password.as_bytes(), &mut os_rng());
            records.ok_or_else(|| Failure::new(Status::Usage, "choose another password"))?
        }
    };
    if !args.out.is_dir() {
        std::fs::create_dir(&args.out).map_err(|error| Failure::io(args.out.display(), &error))?;
    }
    let paths = folder::write_records(&args.out, &records)?;
    let needed = group.rules.amplify();
    if args.json {
        return output::json(&Prepared {
            user: args.user.to_string(),
            records: paths.iter().map(|path| path.display().to_string()).collect(),
            code,
            operators_needed: needed,
        });
    }
    for path in &paths {
        output::line(path.display().to_string())?;
    }
    output::line(format!("\nCode: {code}"))?;
    output::line(format!(
        "\nSend each record to that leader's operator, who runs `ringfort accept FOLDER RECORD`, and read them the code by voice:\n\
         it is the same for all of them, and shows that the record is yours. {} can join once {} have accepted; let all of them, so that {} may fail.",
        args.user,
        count(needed, "operator"),
        group.rules.f(),
    ))
}
