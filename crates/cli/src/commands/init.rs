//! `ringfort init`: sets up a group.

use std::path::{Path, PathBuf};

use clap::Args;
use ringfort::protocol::{Policy, Rules};
use ringfort_documents as documents;
use ringfort_node::folder;
use ringfort_node::folder::InitOptions;
use serde::Serialize;

use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::count;

/// What group to set up.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to put the files: a new or empty folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Number of leaders
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub leaders: u8,
    /// Leaders that may be hacked without harm; needs at least 3 FAULTS + 1 leaders
    #[arg(long, value_name = "F", default_value_t = 1)]
    pub faults: u8,
    /// Shares that make the group key, from F+1 (the default) to N-F
    #[arg(long, value_name = "T")]
    pub key_threshold: Option<u8>,
    /// Where the leaders listen: HOST:PORT of each, or of the first for consecutive ports
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7400")]
    pub listen: Vec<String>,
    /// The group's policy (TOML); what it leaves out has its default
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Users to register at once (TOML: `[[user]]` with name, and password or key)
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// A name for people [default: the folder's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Made {
    name: String,
    fingerprint: String,
    group: String,
    folders: Vec<String>,
    addresses: Vec<String>,
    users: usize,
}

/// Runs `ringfort init`.
///
/// # Errors
/// Impossible sizes, a bad policy or list of users, a place that is taken or cannot be written.
pub fn run(args: &InitArgs) -> Outcome {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Status::Usage, error);
    let threshold = args.key_threshold.unwrap_or(args.faults.saturating_add(1));
    let rules = Rules::new(args.leaders, args.faults, threshold).map_err(|error| usage(&error))?;
    let addresses = addresses(&args.listen, args.leaders).map_err(|error| usage(&error))?;
    let local: Vec<&str> =
        addresses.iter().map(String::as_str).filter(|address| documents::is_loopback(address)).collect();
    if !local.is_empty() {
        output::note(format!(
            "WARNING: {} can be reached from this machine only. That is right for a trial; a group file cannot be changed later, so \
             for leaders on machines of their own start over with --listen HOST:PORT of each.",
            crate::text::names(&local)
        ));
    }
    let policy = args.policy.as_deref().map_or_else(|| Ok(Policy::default()), documents::read_policy)?;
    let users = args.users.as_deref().map_or_else(|| Ok(Vec::new()), documents::read_users)?;
    let registered = users.len();
    let name = args.name.clone().unwrap_or_else(|| folder_name(&args.dir));
    let options = InitOptions { name, rules, addresses: addresses.clone(), policy, users };
    let summary = folder::init(&args.dir, options)?;

    let group = args.dir.join(documents::GROUP_FILE);
    if args.json {
        return output::json(&Made {
            name: summary.group.name.clone(),
            fingerprint: summary.fingerprint,
            group: group.display().to_string(),
            folders: summary.folders.iter().map(|folder| folder.display().to_string()).collect(),
            addresses,
            users: registered,
        });
    }
    let f = usize::from(args.faults);
    output::line(format!(
        "The group {:?} is set up: {}, of which {f} may be hacked, and {}.\n",
        summary.group.name,
        count(args.leaders.into(), "leader"),
        count(registered, "user"),
    ))?;
    output::line(format!("  {}   public: for every leader and member", group.display()))?;
    for (folder, address) in summary.folders.iter().zip(&addresses) {
        output::line(format!("  {}   secret: for the machine at {address} alone", folder.display()))?;
    }
    output::line(format!("\nFingerprint: {}\n", summary.fingerprint))?;
    output::line("What to do next:")?;
    output::line("  1. Move each leader's folder to its own machine, run by its own person, and delete it here.")?;
    output::line(format!(
        "  2. There, run `ringfort leader FOLDER`. The group works with {} of them.",
        args.leaders - args.faults
    ))?;
    output::line("  3. Give group.toml to the members, and tell them the fingerprint by other means.")?;
    output::line(format!(
        "  4. More users: `ringfort enrol GROUP --user NAME`, then `ringfort accept` by at least {}.",
        count(f + 1, "operator"),
    ))
}

/// One address per leader: as given, or consecutive ports after the first.
fn addresses(listen: &[String], leaders: u8) -> Result<Vec<String>, String> {
    match listen {
        [first] if leaders > 1 => {
            let parts = first.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            let (host, port) = parts.ok_or_else(|| format!("{first:?} is not of the form HOST:PORT"))?;
            documents::check_address(first).map_err(|why| format!("the address {first:?} {why}"))?;
            let last = port.checked_add(u16::from(leaders) - 1);
            last.ok_or_else(|| format!("there are no {leaders} ports from {port} on: choose a lower one"))?;
            Ok((0..u16::from(leaders)).map(|i| format!("{host}:{}", port + i)).collect())
        }
        all if all.len() == usize::from(leaders) => Ok(all.to_vec()),
        all => Err(format!(
            "{} addresses were given for {leaders} leaders: give --listen one HOST:PORT for each, or one for consecutive ports",
            all.len()
        )),
    }
}

fn folder_name(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "ringfort".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_stands_for_consecutive_ports() {
        let made = addresses(&["host:7400".into()], 3).unwrap();
        assert_eq!(made, ["host:7400", "host:7401", "host:7402"]);
        assert_eq!(addresses(&["[::1]:1".into()], 1).unwrap(), ["[::1]:1"]);
        assert!(addresses(&["host:65535".into()], 2).is_err());
        assert!(addresses(&["host".into()], 2).is_err());
        assert!(addresses(&["a:1".into(), "b:1".into()], 3).is_err());
    }
}
