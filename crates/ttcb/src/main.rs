//! The command `ringfort-ttcb`: the component's process, and what people do with it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringfort_ttcb::client::{Client, ClientError};
use ringfort_ttcb::core::Setup;
use ringfort_ttcb::core::group::check_name;
use ringfort_ttcb::driver::{Driver, OpenError, Options};
use ringfort_ttcb::files::{FileError, create_secrets, read_group, read_secrets};
use ringfort_ttcb::root::{File, Root};
use ringfort_ttcb::site::{self, Site};
use ringfort_ttcb::system::{lock_memory, os_rng};
use ringfort_ttcb::{files, sandbox};

const USAGE: &str = "\
The trusted component of a host.

usage: ringfort-ttcb new FOLDER NAME ADDRESS        makes a component's secrets, and prints its line for the group's file
       ringfort-ttcb init FOLDER NAME=ADDRESS...    makes all of a group, to try it on one machine
       ringfort-ttcb run FOLDER [--socket PATH] [--user UID]...
                                                    runs the component; FOLDER holds `group`, `secrets` and `starts`
       ringfort-ttcb status SITE SOCKET             how the component is; SITE holds `group`, `entities` and `key`
       ringfort-ttcb compare SITE SOCKET PLACE DATA [--times N]
                                                    compares DATA with the other sites', once a second

Addresses are IP:PORT. Processes of the users named may connect, or else those of the user who runs the component.
Real-time priority is yours to give: chrt -f 20 ringfort-ttcb run FOLDER.
docs/trusted-component.md says what a component is worth.";

/// What ends a command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{USAGE}")]
    Usage,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0} is not in {1}: a component runs for its own line of the group's file, and its secrets have to fit it")]
    NoSuchMember(PathBuf, PathBuf),
    #[error("the component cannot start: {0}")]
    Open(#[from] OpenError),
    #[error("the component cannot go on: {0}")]
    Run(#[from] io::Error),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["new", folder, name, address] => new(Path::new(folder), name, address),
        ["init", folder, members @ ..] if !members.is_empty() => init(Path::new(folder), members),
        ["run", folder, options @ ..] => run(Path::new(folder), options),
        ["status", site, socket] => status(Path::new(site), Path::new(socket)),
        ["compare", site, socket, place, data] => compare([site, socket, place, data], 1),
        ["compare", site, socket, place, data, "--times", times] => {
            times.parse().map_err(|_| Failure::Usage).and_then(|times| compare([site, socket, place, data], times))
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Failure::Usage),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("ringfort-ttcb: {failure}");
        ExitCode::from(if matches!(failure, Failure::Usage) { 2 } else { 1 })
    })
}

fn new(folder: &Path, name: &str, address: &str) -> Result<ExitCode, Failure> {
    let address: SocketAddr = address.parse().map_err(|_| Failure::Usage)?;
    check_name(name).map_err(|bad| FileError::Group(folder.to_path_buf(), bad))?;
    files::create_folder(folder)?;
    let member = create_secrets(&folder.join("secrets"), &mut os_rng())?.member(name);
    print!("{}", files::group_text(&[(member, address)]));
    Ok(ExitCode::SUCCESS)
}

fn init(folder: &Path, members: &[&str]) -> Result<ExitCode, Failure> {
    let named = members.iter().map(|member| {
        let (name, address) = member.split_once('=')?;
        Some((name.to_owned(), address.parse().ok()?))
    });
    let named: Vec<(String, SocketAddr)> = named.collect::<Option<_>>().ok_or(Failure::Usage)?;
    site::init(folder, &named)?;
    for (name, _) in &named {
        let at = folder.join(name);
        println!("{}: ringfort-ttcb run {}", name, at.join("component").display());
    }
    Ok(ExitCode::SUCCESS)
}

fn run(folder: &Path, options: &[&str]) -> Result<ExitCode, Failure> {
    let (mut socket, mut users) = (folder.join("socket"), Vec::new());
    for pair in options.chunks(2) {
        match pair {
            ["--socket", path] => socket = PathBuf::from(path),
            ["--user", user] => users.push(user.parse().map_err(|_| Failure::Usage)?),
            _ => return Err(Failure::Usage),
        }
    }
    if users.is_empty() {
        users.push(rustix::process::getuid().as_raw());
    }
    let group = folder.join("group");
    let (file, secrets) = (read_group(&group)?, read_secrets(&folder.join("secrets"))?);
    let own = |name: &str| secrets.member(name);
    let me =
        file.group.indices().find(|index| file.group.member(*index).is_some_and(|member| *member == own(&member.name)));
    let me = me.ok_or_else(|| Failure::NoSuchMember(folder.join("secrets"), group))?;
    let name = file.group.member(me).map(|member| member.name.clone()).unwrap_or_default();
    let mut root = File::new(folder.join("starts"));
    let epoch = root.next_epoch()?;
    let setup = Setup { group: file.group.clone(), me, secrets, epoch };
    let driver = Driver::open(Options::new(file, setup, socket, users))?;
    let memory = lock_memory();
    let enforcement = sandbox::enter();
    let told = |part: &Result<(), String>| match part {
        Ok(()) => "yes".to_owned(),
        Err(why) => format!("no ({why})"),
    };
    println!(
        "{name}: start {}, counted in a {}; memory locked: {}; Landlock: {}; seccomp: {}; real-time: as it was started",
        epoch.0,
        root.kind(),
        told(&memory),
        told(&enforcement.landlock),
        told(&enforcement.seccomp)
    );
    driver.run()?;
    Ok(ExitCode::SUCCESS)
}

fn status(site: &Path, socket: &Path) -> Result<ExitCode, Failure> {
    let site = Site::read(site)?;
    let mut client = Client::connect(socket, &site.group, &site.key)?;
    let status = client.status()?;
    println!("component: {}, start {}", site.name(status.me), client.entity().epoch.0);
    println!("timely: {}", if status.timely { "yes" } else { "no" });
    match status.error_us {
        Some(error) => println!("clock: {} us, within {error} us of a majority's", status.now_us),
        None => println!("clock: not synchronised"),
    }
    println!("hears: {}", site.names(status.heard));
    println!("missed rounds: {} times, at most {} us between two", status.gaps, status.gap_us_max);
    println!("frames that did not count: {}, of them of a second start: {}", status.refused, status.clones);
    println!("alarms raised: {}", status.alarms);
    Ok(ExitCode::SUCCESS)
}

fn compare([site, socket, place, data]: [&str; 4], times: u32) -> Result<ExitCode, Failure> {
    let place: u64 = place.parse().map_err(|_| Failure::Usage)?;
    let site = Site::read(Path::new(site))?;
    let mut client = Client::connect(Path::new(socket), &site.group, &site.key)?;
    let block = site::block(place, data.as_bytes());
    let mut deviant = false;
    for _ in 0..times {
        match site.compare(&mut client, block) {
            Ok(compared) => {
                deviant |= !compared.verdict.deviant.is_empty();
                println!("{}", site.told(&compared));
            }
            Err(ClientError::TimingFailure) => println!("timing failure: this component cannot say"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::from(if deviant { 3 } else { 0 }))
}
