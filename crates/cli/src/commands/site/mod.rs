//! `ringfort site`: the daemons of a peer network, and programs that talk through them.

mod around;
mod network;
mod run;
mod status;
mod talk;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rand_core::Rng;
use ringfort_site::folder;
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::network::{InviteArgs, NetworkCommand};
pub use self::run::{RunArgs, main};
pub use self::status::StatusArgs;
pub use self::talk::{ChatArgs, ListenArgs, SendArgs, ServiceArg};
pub(crate) use self::talk::{Lines, door};
use crate::exit::Outcome;
use crate::output;

/// Sites: one daemon on each machine of a network, which orders the messages of local programs.
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// 1. On each machine: make a site's folder, with its key and its card
    New(NewArgs),
    /// 2. On one machine: make the network's file of all cards; show it
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Add a site to a network's file
    ///
    /// Give the file that comes out to every site with `ringfort site install`, and start them again: sites with different
    /// files do not talk to each other.
    Invite(InviteArgs),
    /// 3. On each machine: put the network's file into the site's folder
    Install(network::InstallArgs),
    /// 4. On each machine: run the site until Ctrl-C or SIGTERM
    ///
    /// Programs connect to state/clients.sock in the folder, with any client of the Spread toolkit or with `ringfort site chat`.
    Run(RunArgs),
    /// Ask the site that runs on a folder how it is
    ///
    /// Exit status 0: it is in a ring with every site of the network. 22: it runs, but misses some. 10: none runs there.
    Status(StatusArgs),
    /// Talk in a group: each line of the standard input is a message
    Chat(ChatArgs),
    /// Send messages to a group
    Send(SendArgs),
    /// Join groups, and print messages and views
    Listen(ListenArgs),
}

/// A site to be made.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The folder to make
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The site's name: up to 19 letters, digits, '-' and '_'. Clients are called #CLIENT#SITE
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Where the other sites reach it, by TCP and UDP
    #[arg(long, value_name = "HOST:PORT")]
    pub address: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Made {
    site: String,
    address: String,
    key: String,
    card: String,
}

/// Runs `ringfort site` but for `run`, which [`main`] carries out.
///
/// # Errors
/// Files that cannot be used, a site that does not answer, messages that cannot be sent.
pub async fn run(command: SiteCommand) -> Outcome {
    match command {
        SiteCommand::New(args) => new(&args),
        SiteCommand::Network(command) => network::run(&command),
        SiteCommand::Invite(args) => network::invite(&args),
        SiteCommand::Install(args) => network::install(&args),
        SiteCommand::Run(args) => run::run(&args).await,
        SiteCommand::Status(args) => status::run(&args),
        SiteCommand::Chat(args) => talk::chat(args).await,
        SiteCommand::Send(args) => talk::send(args).await,
        SiteCommand::Listen(args) => talk::listen(args).await,
    }
}

fn new(args: &NewArgs) -> Outcome {
    let mut seed = Zeroizing::new([0; 32]);
    ringfort_documents::os_rng().fill_bytes(seed.as_mut_slice());
    let site = folder::create(&args.folder, &args.name, &args.address, *seed)?;
    let card = args.folder.join("card.toml").display().to_string();
    if args.json {
        let key = data_encoding::HEXLOWER.encode(&site.key);
        return output::json(&Made { site: site.name, address: site.address, key, card });
    }
    let folder = args.folder.display();
    output::line(format!("Site {} is made in {folder}. Its key stays there.", site.name))?;
    output::line(format!("Next: give {card} to whoever makes the network's file (ringfort site network new)."))
}
