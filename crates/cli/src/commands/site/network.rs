//! The network's file: made of cards, shown, compared, installed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use ringfort_site::{Network, SiteInfo, folder};
use serde::Serialize;

use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, count};

/// What there is to do with a network's file.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Make a network's file of the cards of all its sites
    New(NewArgs),
    /// Show a network's file: its fingerprint and its sites
    Show(FileArgs),
    /// Print a network's fingerprint, for comparing
    Fingerprint(FileArgs),
    /// Take a site out of a network's file
    Remove(RemoveArgs),
}

/// A network to be made.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The network's name
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// The cards of all sites, or the sites' folders
    #[arg(value_name = "CARD", required = true)]
    pub cards: Vec<PathBuf>,
    /// What every path between sites carries in one datagram: 1400 on most networks, 8900 with jumbo frames, 60000 on one
    /// machine
    #[arg(long, value_name = "BYTES")]
    pub datagram_bytes: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which file.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The network's file, or the folder of a site that has it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which site goes.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The network's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The site's name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Which site comes.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// The network's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The card of the new site, or its folder
    #[arg(value_name = "CARD")]
    pub card: PathBuf,
}

/// Which file goes where.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The site's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The network's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Go on only if the network has this fingerprint, learned from whoever made it by other means
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    network: String,
    fingerprint: String,
    datagram_bytes: usize,
    sites: Vec<ShownSite>,
}

#[derive(Serialize)]
struct ShownSite {
    name: String,
    address: String,
    key: String,
}

impl From<&Network> for Shown {
    fn from(network: &Network) -> Self {
        let site = |site: &SiteInfo| ShownSite {
            name: site.name.clone(),
            address: site.address.clone(),
            key: HEXLOWER.encode(&site.key),
        };
        Shown {
            network: network.name().to_owned(),
            fingerprint: network.fingerprint(),
            datagram_bytes: network.datagram_bytes(),
            sites: network.sites().iter().map(site).collect(),
        }
    }
}

/// Runs `ringfort site network`.
///
/// # Errors
/// Files that cannot be used, and cards that make no network.
pub fn run(command: &NetworkCommand) -> Outcome {
    match command {
        NetworkCommand::New(args) => new(args),
        NetworkCommand::Show(args) => show(&folder::read_network(&args.file)?, args.json),
        NetworkCommand::Fingerprint(args) => {
            let network = folder::read_network(&args.file)?;
            if args.json { output::json(&Shown::from(&network)) } else { output::line(network.fingerprint()) }
        }
        NetworkCommand::Remove(args) => remove(args),
    }
}

fn new(args: &NewArgs) -> Outcome {
    if args.file.exists() {
        let told = format!(
            "{} exists already: choose another file, or add to it with `ringfort site invite`",
            args.file.display()
        );
        return Err(Failure::new(Status::Exists, told));
    }
    let sites = args.cards.iter().map(|card| folder::read_card(card)).collect::<Result<Vec<_>, _>>()?;
    let unusable = |error| Failure::new(Status::Usage, format!("these cards make no network: {error}"));
    let mut network = Network::new(args.name.clone(), sites).map_err(unusable)?;
    if let Some(bytes) = args.datagram_bytes {
        network = network.with_datagrams(bytes).map_err(unusable)?;
    }
    folder::write_network(&args.file, &network)?;
    show(&network, args.json)?;
    if !args.json {
        next(&args.file)?;
    }
    Ok(())
}

fn next(file: &std::path::Path) -> Outcome {
    output::line(format!(
        "Next: give {} to every site (ringfort site install FOLDER FILE), and compare the fingerprint there.",
        file.display()
    ))
}

fn show(network: &Network, json: bool) -> Outcome {
    if json {
        return output::json(&Shown::from(network));
    }
    output::line(format!("Network {}: {}.", network.name(), count(network.sites().len(), "site")))?;
    output::line(format!("Fingerprint: {}", network.fingerprint()))?;
    let width = network.sites().iter().map(|site| site.name.len()).max().unwrap_or(0);
    network.sites().iter().try_for_each(|site| {
        let (name, key) = (&site.name, HEXLOWER.encode(site.key.get(..8).unwrap_or_default()));
        output::line(format!("  {name:width$}  {}  key {key}…", clean(&site.address)))
    })
}

/// Runs `ringfort site invite`.
///
/// # Errors
/// Files that cannot be used, and a site that cannot be told from one that is there.
pub fn invite(args: &InviteArgs) -> Outcome {
    let site = folder::read_card(&args.card)?;
    let name = site.name.clone();
    let network = folder::read_network(&args.file)?.with_site(site);
    let told =
        |error| Failure::new(Status::Usage, format!("{name} cannot be added to {}: {error}", args.file.display()));
    let network = network.map_err(told)?;
    folder::write_network(&args.file, &network)?;
    show(&network, false)?;
    next(&args.file)
}

fn remove(args: &RemoveArgs) -> Outcome {
    let network = folder::read_network(&args.file)?.without_site(&args.name).ok_or_else(|| {
        let told = format!("{}: there is no site `{}`, or it is the only one", args.file.display(), args.name);
        Failure::new(Status::Usage, told)
    })?;
    folder::write_network(&args.file, &network)?;
    show(&network, false)?;
    next(&args.file)
}

/// Runs `ringfort site install`.
///
/// # Errors
/// Another fingerprint than expected, or a network that does not have this site.
pub fn install(args: &InstallArgs) -> Outcome {
    let network = folder::read_network(&args.file)?;
    let digits = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    if let Some(expected) = &args.fingerprint
        && digits(expected) != digits(&network.fingerprint())
    {
        let told = format!(
            "{}: the fingerprint is {}, and not {expected}: this is another network's file, or an altered one. Nothing was installed",
            args.file.display(),
            network.fingerprint()
        );
        return Err(Failure::new(Status::Fingerprint, told));
    }
    folder::install_network(&args.folder, &network)?;
    show(&network, false)?;
    let folder = args.folder.display();
    output::line(format!("Next: compare the fingerprint with the other sites, and run `ringfort site run {folder}`."))
}
