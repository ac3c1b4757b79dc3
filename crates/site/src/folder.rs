//! A site's folder: its secret key, the network file, and the two numbers that it must not forget.
//!
//! ```text
//! site.toml       name, address and secret key, mode 0600
//! card.toml       the same without the secret: for whoever makes the network's file
//! network.toml    the sites of the network, the same at all of them
//! state/          numbers: the site's life and the highest ring that it took part in forming;
//!                 lock: held while the site runs; clients.sock, status.sock
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ringfort_link::LinkKey;
use ringfort_peer::site::Durable;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::network::{BadNetwork, FILE_BYTES_MAX, Network, SiteInfo};

const SITE_FILE: &str = "site.toml";
const NETWORK_FILE: &str = "network.toml";
const CARD_FILE: &str = "card.toml";
/// What changes while the site runs, in a folder of its own: the rest may be read-only.
const STATE_FOLDER: &str = "state";
const STATE_FILE: &str = "state/numbers";
const LOCK_FILE: &str = "state/lock";
/// Counters of rings that are made durable at once.
const COUNTERS_RESERVED: u64 = 64;
/// Where the site's clients connect, unless told otherwise.
const CLIENTS_SOCKET: &str = "state/clients.sock";
/// Where the site says how it is.
const STATUS_SOCKET: &str = "state/status.sock";

/// Why a folder cannot be used: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others can read the secret key.
    #[error("{path} holds a secret key, but others can get at it (mode {mode:04o}): run `chmod 600 {path}`")]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not what it should be.
    #[error("{path}: {what}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The network file describes no network.
    #[error("{path}: {error}")]
    Network {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: BadNetwork,
    },
    /// The network file does not name this site with its key.
    #[error(
        "{path} has no site `{name}` with this site's key: get the network's file from whoever made it, or have this site added"
    )]
    NotInNetwork {
        /// The network file.
        path: PathBuf,
        /// This site.
        name: String,
    },
    /// The disk does not take what a site must not forget.
    #[error(
        "{path}: {error}: the site cannot remember which ring it forms, and stops rather than use a ring's name twice. Mend that, with room on the disk if it is full, and start it again; clients can use another site meanwhile"
    )]
    Forgets {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process runs this site.
    #[error("{0} is in use: this site is running already")]
    Busy(PathBuf),
    /// There is something where the folder should be made.
    #[error("{0} exists already: choose another folder")]
    Exists(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    name: String,
    address: String,
    secret_key: SecretDigits,
}

/// Wiped when it is dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct SecretDigits(String);

impl Drop for SecretDigits {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A site's folder that is open: nobody else runs this site meanwhile.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The network.
    pub network: Network,
    /// This site's place among the network's sites.
    pub me: usize,
    /// This site's key.
    pub key: LinkKey,
    /// What is durable: no ring that the site took part in has a higher counter.
    pub durable: Durable,
    _lock: File,
}

/// Makes a folder with a fresh key, and says how others know the site.
///
/// # Errors
/// When there is such a folder, or it cannot be written.
pub fn create(path: &Path, name: &str, address: &str, seed: [u8; 32]) -> Result<SiteInfo, FolderError> {
    let key = LinkKey::from_seed(seed);
    let site = SiteInfo { name: name.to_owned(), address: address.to_owned(), key: key.public().0 };
    // What makes no network alone will make none with others.
    Network::new("new".to_owned(), vec![site.clone()])
        .map_err(|error| FolderError::Network { path: path.to_owned(), error })?;
    DirBuilder::new().mode(0o700).create(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => FolderError::Exists(path.to_owned()),
        _ => FolderError::Io { path: path.to_owned(), error },
    })?;
    let secret_key = SecretDigits(HEXLOWER.encode(&seed));
    let file = SiteFile { name: site.name.clone(), address: site.address.clone(), secret_key };
    let text = Zeroizing::new(toml::to_string(&file).expect("a file of texts is TOML"));
    let state = path.join(STATE_FOLDER);
    DirBuilder::new().mode(0o700).create(&state).map_err(|error| FolderError::Io { path: state, error })?;
    write(&path.join(SITE_FILE), text.as_bytes(), 0o600)?;
    write(&path.join(CARD_FILE), site.to_card().as_bytes(), 0o644)?;
    Ok(site)
}

/// Where a site in a folder lets its clients in, unless told otherwise.
pub fn clients_socket(path: &Path) -> PathBuf {
    path.join(CLIENTS_SOCKET)
}

/// Where a site in a folder says how it is.
pub fn status_socket(path: &Path) -> PathBuf {
    path.join(STATUS_SOCKET)
}

/// What changes in a folder while its site runs.
pub fn state_folder(path: &Path) -> PathBuf {
    path.join(STATE_FOLDER)
}

/// A site's card: what others need to know of it. `path` is the card or the site's folder.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_card(path: &Path) -> Result<SiteInfo, FolderError> {
    let path = if path.is_dir() { path.join(CARD_FILE) } else { path.to_owned() };
    SiteInfo::parse_card(&read(&path)?).map_err(|error| FolderError::Network { path, error })
}

/// How others know the site in a folder.
///
/// # Errors
/// When the folder is not one.
pub fn introduce(path: &Path) -> Result<SiteInfo, FolderError> {
    let (file, key) = read_site(path)?;
    Ok(SiteInfo { name: file.name, address: file.address, key: key.public().0 })
}

/// Puts the network's file into a site's folder, in place of one that is there.
///
/// # Errors
/// When the network does not have this site, or the file cannot be written.
pub fn install_network(path: &Path, network: &Network) -> Result<(), FolderError> {
    place(path, network, &introduce(path)?)?;
    write(&path.join(NETWORK_FILE), network.to_text().as_bytes(), 0o644)
}

impl Folder {
    /// Opens a folder to run its site.
    ///
    /// # Errors
    /// When something of it is missing, wrong, open to others, or in use.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let (file, key) = read_site(path)?;
        let at = |error| FolderError::Io { path: path.join(LOCK_FILE), error };
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK_FILE));
        let lock = lock.map_err(at)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(error)),
        }
        let network = read_network(&path.join(NETWORK_FILE))?;
        let site = SiteInfo { name: file.name, address: file.address, key: key.public().0 };
        let me = place(path, &network, &site)?;
        let durable = read_state(&path.join(STATE_FILE))?;
        Ok(Folder { path: path.to_owned(), network, me, key, durable, _lock: lock })
    }

    /// Makes the two numbers durable.
    ///
    /// Writing takes as long as the disk likes, and the site does nothing meanwhile: if each new ring waited for a slow disk,
    /// its sites would look like sites that sleep, and no ring would last. So counters are reserved some ahead, and most
    /// rings need no writing. After a start the site goes on behind all that were reserved.
    ///
    /// # Errors
    /// When the disk does not take them: a site that cannot remember must not go on.
    pub fn persist(&mut self, durable: Durable) -> Result<(), FolderError> {
        let written = self.durable;
        if durable.incarnation == written.incarnation && durable.counter <= written.counter {
            return Ok(());
        }
        let reserved = Durable { counter: durable.counter.saturating_add(COUNTERS_RESERVED), ..durable };
        let text = format!("{} {}\n", reserved.incarnation, reserved.counter);
        write(&self.path.join(STATE_FILE), text.as_bytes(), 0o600).map_err(|error| match error {
            FolderError::Io { path, error } => FolderError::Forgets { path, error },
            other => other,
        })?;
        self.durable = reserved;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This site as the others know it.
    pub fn site(&self) -> &SiteInfo {
        self.network.sites().get(self.me).expect("the place was looked up in this network")
    }
}

/// Writes a network file, in place of one that is there.
///
/// # Errors
/// When it cannot be written.
pub fn write_network(path: &Path, network: &Network) -> Result<(), FolderError> {
    write(path, network.to_text().as_bytes(), 0o644)
}

/// Reads a network file. `path` is the file, or the folder of a site that has it.
///
/// # Errors
/// When it cannot be read or describes no network.
pub fn read_network(path: &Path) -> Result<Network, FolderError> {
    let path = &if path.is_dir() { path.join(NETWORK_FILE) } else { path.to_owned() };
    let text = read(path)?;
    Network::parse(&text).map_err(|error| FolderError::Network { path: path.to_owned(), error })
}

fn place(path: &Path, network: &Network, site: &SiteInfo) -> Result<usize, FolderError> {
    let found = network.sites().iter().position(|known| known.name == site.name && known.key == site.key);
    found.ok_or_else(|| FolderError::NotInNetwork { path: path.join(NETWORK_FILE), name: site.name.clone() })
}

fn read_site(folder: &Path) -> Result<(SiteFile, LinkKey), FolderError> {
    let path = folder.join(SITE_FILE);
    let text = Zeroizing::new(read(&path)?);
    let mode = fs::metadata(&path).map_err(|error| FolderError::Io { path: path.clone(), error })?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Permissions { path, mode });
    }
    let malformed = |what: String| FolderError::Malformed { path: path.clone(), what };
    let file: SiteFile = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
    let seed = Zeroizing::new(HEXLOWER.decode(file.secret_key.0.as_bytes()).unwrap_or_default());
    let seed: Zeroizing<[u8; 32]> = seed
        .as_slice()
        .try_into()
        .map(Zeroizing::new)
        .map_err(|_| malformed("the secret key is not 64 hexadecimal digits".to_owned()))?;
    let key = LinkKey::from_seed(*seed);
    Ok((file, key))
}

fn read_state(path: &Path) -> Result<Durable, FolderError> {
    if !path.exists() {
        return Ok(Durable::default());
    }
    let text = read(path)?;
    let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    match numbers.as_slice() {
        [incarnation, counter] => Ok(Durable { incarnation: *incarnation, counter: *counter }),
        _ => Err(FolderError::Malformed {
            path: path.to_owned(),
            what:
                "is not a site's state. If it is damaged, make a new site: one that forgets may use a ring's name twice"
                    .to_owned(),
        }),
    }
}

fn read(path: &Path) -> Result<String, FolderError> {
    let at = |error| FolderError::Io { path: path.to_owned(), error };
    let bytes = fs::metadata(path).map_err(at)?.len();
    if bytes > FILE_BYTES_MAX as u64 {
        let what = format!("is larger than the {FILE_BYTES_MAX} bytes that such a file may have");
        return Err(FolderError::Malformed { path: path.to_owned(), what });
    }
    fs::read_to_string(path).map_err(at)
}

/// Writes a file, complete at any moment and durable at return.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FolderError> {
    let fresh = path.with_extension("new");
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(parent)?.sync_all()
    })();
    written.map_err(|error| FolderError::Io { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn two(folder: &Path) -> Network {
        let a = create(&folder.join("a"), "a", "a.example:4804", [1; 32]).unwrap();
        let b = create(&folder.join("b"), "b", "b.example:4804", [2; 32]).unwrap();
        Network::new("plant".to_owned(), vec![b, a]).unwrap()
    }

    #[test]
    fn a_site_is_made_joined_to_a_network_and_opened_once() {
        let temp = tempfile::tempdir().unwrap();
        let network = two(temp.path());
        let path = temp.path().join("b");
        assert!(
            matches!(Folder::open(&path), Err(FolderError::Io { .. })),
            "without a network there is nothing to run"
        );
        install_network(&path, &network).unwrap();
        let mut folder = Folder::open(&path).unwrap();
        assert_eq!((folder.me, folder.site().name.as_str()), (1, "b"));
        assert!(matches!(Folder::open(&path), Err(FolderError::Busy(_))));
        folder.persist(Durable { incarnation: 3, counter: 9 }).unwrap();
        drop(folder);
        assert_eq!(Folder::open(&path).unwrap().durable, Durable { incarnation: 3, counter: 9 + COUNTERS_RESERVED });
        assert!(matches!(create(&path, "b", "b.example:1", [2; 32]), Err(FolderError::Exists(_))));
    }

    #[test]
    fn no_counter_is_used_that_is_not_durable_and_few_need_the_disk() {
        let temp = tempfile::tempdir().unwrap();
        let network = two(temp.path());
        let path = temp.path().join("a");
        install_network(&path, &network).unwrap();
        let mut folder = Folder::open(&path).unwrap();
        let on_disk = || read_state(&path.join(STATE_FILE)).unwrap();
        folder.persist(Durable { incarnation: 1, counter: 0 }).unwrap();
        // From here on the disk takes nothing.
        std::os::unix::fs::symlink("/dev/full", path.join("state/numbers.new")).unwrap();
        for counter in 1..=COUNTERS_RESERVED {
            folder.persist(Durable { incarnation: 1, counter }).unwrap();
            assert!(on_disk().counter >= counter);
        }
        let next = Durable { incarnation: 1, counter: COUNTERS_RESERVED + 1 };
        assert!(matches!(folder.persist(next), Err(FolderError::Forgets { .. })));
        let restarted = Durable { incarnation: 2, counter: 1 };
        assert!(matches!(folder.persist(restarted), Err(FolderError::Forgets { .. })), "a new life is always written");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let network = two(temp.path());
        let stranger = create(&temp.path().join("c"), "a", "c.example:4804", [3; 32]).unwrap();
        assert_eq!(stranger.name, "a");
        let refused = install_network(&temp.path().join("c"), &network);
        assert!(
            matches!(refused, Err(FolderError::NotInNetwork { .. })),
            "the same name with another key is another site"
        );
        let path = temp.path().join("a");
        install_network(&path, &network).unwrap();
        fs::write(path.join(STATE_FILE), "many").unwrap();
        assert!(matches!(Folder::open(&path), Err(FolderError::Malformed { .. })));
        fs::remove_file(path.join(STATE_FILE)).unwrap();
        fs::set_permissions(path.join(SITE_FILE), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Folder::open(&path), Err(FolderError::Permissions { .. })));
    }
}
