//! `ringfort leader backup | restore | rebuild | check | seal | unseal`: what a leader has on disk.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use ringfort_documents::{KEY_FILE_BYTES_MAX, Unlock};
use ringfort_node::folder;
use ringfort_node::folder::{FolderState, LeaderFolder};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::common::read_secret_line;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::count;

/// The credential that a service manager gives a leader: systemd's `LoadCredentialEncrypted=ringfort-leader`.
const CREDENTIAL: &str = "ringfort-leader";
/// The variable that names the folder of credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What opens a sealed folder.
#[derive(Clone, Debug, Default, Args)]
pub struct UnlockArgs {
    /// Sealed folder: the passphrase is the first line of this private file (otherwise it is asked for)
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
    /// Sealed folder: the key is in this private file (otherwise in the service's credential `ringfort-leader`)
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

impl UnlockArgs {
    /// What opens the folder, if it is sealed at all.
    ///
    /// # Errors
    /// A file that cannot be read or that others can, no terminal to ask at.
    pub fn find(&self, folder: &Path) -> Outcome<Option<Unlock>> {
        if !LeaderFolder::is_sealed(folder)? {
            return Ok(None);
        }
        self.given(false).map(Some)
    }

    fn given(&self, new: bool) -> Outcome<Unlock> {
        if let Some(path) = &self.key_file {
            return key_file(path);
        }
        if let Some(path) = &self.passphrase_file {
            return read_secret_line(path).map(Unlock::Passphrase);
        }
        let credential = std::env::var_os(CREDENTIALS_DIRECTORY).map(|folder| PathBuf::from(folder).join(CREDENTIAL));
        if let Some(path) = credential.filter(|path| path.exists()) {
            return key_file(&path);
        }
        ask("Passphrase of this leader: ").and_then(|passphrase| {
            if new && *ask("Repeat it: ")? != *passphrase {
                return Err(Failure::new(Status::Usage, "the two passphrases differ: start again"));
            }
            Ok(Unlock::Passphrase(passphrase))
        })
    }
}

fn ask(prompt: &str) -> Outcome<Zeroizing<String>> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|_| {
        let advice =
            "there is no terminal to ask for the passphrase: use --passphrase-file, --key-file or a credential";
        Failure::new(Status::Usage, advice)
    })
}

fn key_file(path: &Path) -> Outcome<Unlock> {
    let shown = path.display();
    let failed = |what: &str| Failure::new(Status::Unreadable, format!("{shown}: {what}"));
    crate::common::check_private(path)?;
    let about = std::fs::metadata(path).map_err(|error| failed(&format!("the key file cannot be read ({error})")))?;
    if about.len() > KEY_FILE_BYTES_MAX as u64 {
        return Err(failed("this is too large for a key file: check the path"));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&format!("the key file cannot be read ({error})")))?;
    Ok(Unlock::KeyFile(Zeroizing::new(bytes)))
}

/// Of which folder to make a backup, and where.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The backup: a new folder, as secret as the leader's
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which backup to make a folder of, and where.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// The leader's folder: where nothing is yet
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which folder.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which folder, and what seals it.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// The leader's folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// What seals it.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct State {
    state: &'static str,
    path: String,
    leader: u8,
    group: String,
    epoch: u64,
    members: usize,
    users: usize,
    unsettled_votes: usize,
    sealed: bool,
    catching_up: bool,
    memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_unix_s: Option<u64>,
}

impl State {
    fn of(state: &'static str, folder: &FolderState) -> Self {
        let since = |made: SystemTime| made.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        State {
            state,
            path: folder.path.display().to_string(),
            leader: folder.leader.number(),
            group: folder.group.to_string(),
            epoch: folder.memory.epoch,
            members: folder.memory.members,
            users: folder.memory.users,
            unsettled_votes: folder.memory.votes,
            sealed: folder.is_sealed,
            catching_up: folder.memory.is_catching_up,
            memory_bytes: folder.memory_bytes,
            made_unix_s: folder.made.map(since),
        }
    }

    fn tell(&self) -> String {
        let seal = if self.sealed { "sealed" } else { "in plain: whoever reads the folder can act as this leader" };
        let what = format!(
            "leader {} of group {}, epoch {}, {}, {} registered; secrets {seal}",
            self.leader,
            self.group,
            self.epoch,
            count(self.members, "member"),
            count(self.users, "user"),
        );
        let next =
            if self.catching_up { "\nAt its start it catches up with f+1 others before it says anything." } else { "" };
        format!("{what}.{next}")
    }
}

fn told(json: bool, state: &State, sentence: &str) -> Outcome {
    if json { output::json(state) } else { output::line(format!("{sentence}: {}", state.tell())) }
}

/// Runs `ringfort leader backup`.
///
/// # Errors
/// A folder that is not whole, a place that is taken or cannot be written.
pub fn back_up(args: &BackupArgs) -> Outcome {
    let state = folder::back_up(&args.folder, &args.out)?;
    told(args.json, &State::of("backed_up", &state), &format!("{} is a backup", args.out.display()))
}

/// Runs `ringfort leader restore`.
///
/// # Errors
/// A backup that is not whole, a place that is taken or cannot be written.
pub fn restore(args: &RestoreArgs) -> Outcome {
    let state = folder::restore(&args.backup, &args.folder)?;
    let state = FolderState { memory: folder::check(&args.folder)?.memory, ..state };
    let age = state.made.and_then(|made| made.elapsed().ok()).unwrap_or_default();
    let sentence = format!(
        "{} is restored, and {} behind. Never run two folders of one leader: wipe the other. It holds",
        args.folder.display(),
        crate::text::age(age),
    );
    told(args.json, &State::of("restored", &state), &sentence)
}

/// Runs `ringfort leader rebuild`.
///
/// # Errors
/// An unusable folder, one that a leader runs on.
pub fn rebuild(args: &FolderArgs) -> Outcome {
    let aside = folder::rebuild(&args.folder)?;
    let state = State::of("rebuilt", &folder::check(&args.folder)?);
    let kept = aside.map(|path| format!(" The old memory is kept as {}.", path.display())).unwrap_or_default();
    let sentence = format!(
        "{} has an empty memory. Users log in at the other leaders until their records are accepted here again.{kept} It is of",
        args.folder.display()
    );
    told(args.json, &state, &sentence)
}

/// Runs `ringfort leader check`, of a folder or of a backup.
///
/// # Errors
/// What is wrong with it.
pub fn check(args: &FolderArgs) -> Outcome {
    let is_backup = args.folder.join("backup.toml").exists();
    let state = if is_backup { folder::check_backup(&args.folder)? } else { folder::check(&args.folder)? };
    told(args.json, &State::of("whole", &state), &format!("{} is whole", args.folder.display()))
}

/// Runs `ringfort leader seal`.
///
/// # Errors
/// A folder that a leader runs on or that is sealed already, a weak passphrase.
pub fn seal(args: &SealArgs) -> Outcome {
    LeaderFolder::seal(&args.folder, &args.unlock.given(true)?)?;
    told(args.json, &State::of("sealed", &folder::check(&args.folder)?), "Sealed")
}

/// Runs `ringfort leader unseal`.
///
/// # Errors
/// A folder that a leader runs on, a wrong passphrase or key.
pub fn unseal(args: &SealArgs) -> Outcome {
    LeaderFolder::unseal(&args.folder, &args.unlock.given(false)?)?;
    told(args.json, &State::of("unsealed", &folder::check(&args.folder)?), "Unsealed")
}
