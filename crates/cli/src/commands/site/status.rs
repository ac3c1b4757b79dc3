//! `ringfort site status`: asks a running site how it is.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ringfort_site::{Report, status};

use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{age, clean, count};

/// Which site to ask.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The site's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Print one JSON object
    #[arg(long, conflicts_with = "metrics")]
    pub json: bool,
    /// Print the figures in the text format of Prometheus
    #[arg(long)]
    pub metrics: bool,
}

/// Runs `ringfort site status`.
///
/// # Errors
/// No site runs there, or it misses others.
pub fn run(args: &StatusArgs) -> Outcome {
    let report = status::ask(&args.folder).map_err(|error| nobody(args, &error))?;
    match (args.json, args.metrics) {
        (true, _) => output::json(&report)?,
        (_, true) => output::line(report.metrics().trim_end())?,
        _ => print(&report)?,
    }
    // Told above already.
    if report.is_whole() { Ok(()) } else { Err(Failure::new(Status::TooFewLeaders, "")) }
}

fn nobody(args: &StatusArgs, error: &io::Error) -> Failure {
    let folder = args.folder.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::new(
            Status::Unreadable,
            format!("{folder}: no site answers here: start it with `ringfort site run {folder}`, or look at its log"),
        ),
        io::ErrorKind::PermissionDenied => {
            let told = format!("{folder}: only the site's own user may ask it: run this as that user");
            Failure::new(Status::Permissions, told)
        }
        _ => Failure::new(Status::Other, format!("{folder}: the site does not answer as it should ({error})")),
    }
}

fn print(report: &Report) -> Outcome {
    let verdict = match (report.ring.is_empty(), report.absent.as_slice()) {
        (true, _) => format!("It is in no ring: it {}.", clean(&report.state)),
        (false, []) => "It is in a ring with every site.".to_owned(),
        (false, absent) => format!("In the ring: {}. Absent: {}.", list(&report.ring), list(absent)),
    };
    output::line(format!("Site {} of network {}. {verdict}", clean(&report.site), clean(&report.network)))?;
    output::line(format!(
        "Up for {}; version {}; fingerprint {}.",
        age(Duration::from_secs(report.uptime_s)),
        clean(&report.version),
        clean(&report.fingerprint)
    ))?;
    output::line(format!(
        "{}; {} with {}.",
        count(report.clients, "client"),
        count(report.groups, "group"),
        count(report.memberships, "membership")
    ))?;
    output::line(format!(
        "{} bytes wait for the token, {} for clients; {} cut off for not reading.",
        report.waiting_bytes,
        report.clients_waiting_bytes,
        count(usize::try_from(report.clients_cut).unwrap_or(usize::MAX), "client")
    ))?;
    output::line("Messages are protected between sites, and not from the sites themselves or from their machines.")?;
    report
        .unreachable
        .iter()
        .try_for_each(|site| output::line(format!("  no link to {}: {}", clean(&site.site), clean(&site.why))))
}

fn list(sites: &[String]) -> String {
    clean(&sites.join(", "))
}
