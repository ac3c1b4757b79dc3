//! Setting up a group: an offline dealer makes the public file and one folder per leader (P2).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_protocol::group::{LeaderSecrets, deal_group};
use ringfort_protocol::login::{Registration, enrol_password};
use ringfort_protocol::{GroupInfo, Policy, Rules, UserName};

use super::leader_folder::LeaderFolder;
use ringfort_documents::disk::{Staging, parent, temporary_beside};
use ringfort_documents::group::{GROUP_FILE, check_parts, write_group};
use ringfort_documents::password::prepare;
use ringfort_documents::users::{NewSecret, NewUser, check_users};
use ringfort_documents::{FileError, FileErrorKind};
use ringfort_documents::{OsRng, os_rng};

/// What group to set up.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// A name for people.
    pub name: String,
    /// Sizes.
    pub rules: Rules,
    /// One `host:port` per leader.
    pub addresses: Vec<String>,
    /// The policy.
    pub policy: Policy,
    /// Users known from the start.
    pub users: Vec<NewUser>,
}

/// What was set up.
#[derive(Clone, Debug)]
pub struct InitSummary {
    /// The group.
    pub group: Arc<GroupInfo>,
    /// What people compare.
    pub fingerprint: String,
    /// The leaders' folders, in order: each goes to its leader's machine and nowhere else.
    pub folders: Vec<PathBuf>,
}

/// Sets up a group in `dir`, which must be new or empty: `group.toml` and a folder per leader. All of it or nothing.
///
/// # Security
/// This machine sees every secret of the group while it works, and keeps none elsewhere.
pub fn init(dir: &Path, options: InitOptions) -> Result<InitSummary, FileError> {
    let InitOptions { name, rules, addresses, policy, users } = options;
    if addresses.len() != usize::from(rules.n()) {
        let what = format!("{} addresses were given for {} leaders", addresses.len(), rules.n());
        return Err(FileError::malformed(dir, what, "give one host:port for each leader"));
    }
    check_parts(dir, &name, &rules, &addresses, &policy)?;
    check_users(dir, &users)?;
    let place = Place::look_at(dir)?;

    let mut rng = os_rng();
    let staging = Staging::make(place.staging()?)?;
    let (group, secrets) = deal_group(&name, rules, &addresses, policy, &mut rng);
    let registrations = register(dir, &group, &secrets, &users, &mut rng)?;
    let mut entries = Vec::new();
    for (secrets, users) in secrets.iter().zip(&registrations) {
        LeaderFolder::create(staging.path(), &group, secrets, users)?;
        entries.push(LeaderFolder::name(secrets.id));
    }
    let folders = entries.iter().map(|entry| dir.join(entry)).collect();
    // Last: where it is, the rest is.
    write_group(&staging.path().join(GROUP_FILE), &group)?;
    entries.push(GROUP_FILE.to_owned());
    place.finish(staging, &entries)?;
    Ok(InitSummary { fingerprint: group.fingerprint(), group: Arc::new(group), folders })
}

/// Per leader, what it stores of each user.
fn register(
    dir: &Path,
    group: &GroupInfo,
    secrets: &[LeaderSecrets],
    users: &[NewUser],
    rng: &mut OsRng,
) -> Result<Vec<Vec<(UserName, Registration)>>, FileError> {
    let mut registrations: Vec<Vec<(UserName, Registration)>> = secrets.iter().map(|_| Vec::new()).collect();
    for NewUser { name, secret } in users {
        let refused = || {
            let what = format!("the password of user {name} cannot be registered");
            FileError::malformed(dir, what, "choose another password")
        };
        let records = match secret {
            NewSecret::Key(_) => Vec::new(),
            NewSecret::Password(password) => {
                enrol_password(group, name, prepare(password).as_bytes(), rng).ok_or_else(refused)?.records
            }
        };
        for (position, (leader, list)) in secrets.iter().zip(&mut registrations).enumerate() {
            let registration = match secret {
                NewSecret::Key(key) => Registration::Key(*key),
                NewSecret::Password(_) => {
                    let record = records.get(position).ok_or_else(refused)?;
                    record.open(group, leader).map_err(|_| refused())?
                }
            };
            list.push((name.clone(), registration));
        }
    }
    Ok(registrations)
}

/// Where the setup goes.
enum Place {
    /// Nothing is there yet: made beside it and renamed.
    New(PathBuf),
    /// An empty folder is there, perhaps somebody's working directory or a mount: filled from within.
    Empty(PathBuf),
}

impl Place {
    fn look_at(dir: &Path) -> Result<Self, FileError> {
        match fs::read_dir(dir) {
            Ok(mut entries) => match entries.next() {
                None => Ok(Place::Empty(dir.to_owned())),
                Some(_) => Err(FileError::new(
                    FileErrorKind::Exists,
                    dir,
                    "is not empty, and a setup overwrites nothing",
                    "choose a new folder",
                )),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && parent(dir).is_dir() => {
                Ok(Place::New(dir.to_owned()))
            }
            Err(error) => Err(FileError::writing(dir, not_a_place(dir, error))),
        }
    }

    fn staging(&self) -> Result<PathBuf, FileError> {
        match self {
            Place::New(dir) => temporary_beside(dir),
            Place::Empty(dir) => temporary_beside(&dir.join("group")),
        }
    }

    fn finish(&self, staging: Staging, entries: &[String]) -> Result<(), FileError> {
        match self {
            Place::New(dir) => staging.finish_as(dir),
            Place::Empty(dir) => staging.finish_into(dir, entries),
        }
    }
}

/// A file where the folder should be counts as something in the way.
fn not_a_place(dir: &Path, error: io::Error) -> io::Error {
    if dir.is_file() { io::ErrorKind::AlreadyExists.into() } else { error }
}
