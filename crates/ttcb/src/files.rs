//! The files of a component: who all of them are, and its own secrets.
//!
//! ```text
//! ringfort-ttcb 1
//! north 192.0.2.1:4810 <signing key, 64 hexadecimal digits> <exchange key, 64>
//! south 192.0.2.2:4810 …
//! ```
//!
//! Both are read once, at the start, from the component's own folder. Lines are all there is to them: nothing here parses
//! anything that others can send.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rand_core::CryptoRng;
use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::core::group::{BadGroup, Group, Member, Secrets};
use crate::core::ids::COMPONENTS_MAX;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024;
const FIRST_LINE: &str = "ringfort-ttcb 1";
const SECRETS_LINE: &str = "ringfort-ttcb secrets 1";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// It cannot be written.
    #[error("{0} cannot be written: {1}")]
    Write(PathBuf, io::Error),
    /// It is there already.
    #[error("{0} is there already, and nothing is replaced: take another folder")]
    Exists(PathBuf),
    /// Others can read a secret.
    #[error("{0} can be read by others than its owner: its secrets may be known. Make new ones, with mode 0600")]
    NotPrivate(PathBuf),
    /// A line that is none.
    #[error("line {1} of {0} is not as `ringfort-ttcb init` writes it")]
    Line(PathBuf, usize),
    /// No group.
    #[error("{0} describes no group: {1}")]
    Group(PathBuf, BadGroup),
    /// The counter of starts is damaged or used up.
    #[error(
        "{0} holds no count of starts that could be continued: no epoch may come twice, so give the component a new \
         folder with new keys"
    )]
    Counter(PathBuf),
}

/// The group, and where each component is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFile {
    /// Who they are.
    pub group: Group,
    /// Where, in the same order.
    pub addresses: Vec<SocketAddr>,
}

/// Reads the file of the group.
///
/// # Errors
/// What is wrong with it.
pub fn read_group(path: &Path) -> Result<GroupFile, FileError> {
    let text = read(path)?;
    let wrong = |at: usize| FileError::Line(path.to_path_buf(), at + 1);
    let mut lines = text.lines().enumerate();
    if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
        return Err(wrong(0));
    }
    let (mut members, mut addresses) = (Vec::new(), Vec::new());
    for (at, line) in lines {
        let (member, address) = member_of(line).ok_or_else(|| wrong(at))?;
        if members.len() == COMPONENTS_MAX {
            return Err(FileError::Group(path.to_path_buf(), BadGroup::Count(COMPONENTS_MAX + 1)));
        }
        members.push(member);
        addresses.push(address);
    }
    let group = Group::new(members).map_err(|bad| FileError::Group(path.to_path_buf(), bad))?;
    Ok(GroupFile { group, addresses })
}

fn member_of(line: &str) -> Option<(Member, SocketAddr)> {
    let mut words = line.split(' ');
    let (name, address) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    let signing = VerifyingKey::from_bytes(&*key(words.next()?)?).ok()?;
    let exchange = KemPublic::from_bytes(&*key(words.next()?)?).ok()?;
    words.next().is_none().then_some((Member { name, signing, exchange }, address))
}

fn key(digits: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    let fits = HEXLOWER.decode_len(digits.len()) == Ok(key.len());
    HEXLOWER.decode_mut(digits.as_bytes().get(..64).filter(|_| fits)?, &mut *key).ok()?;
    Some(key)
}

/// The text of a group's file.
pub fn group_text(members: &[(Member, SocketAddr)]) -> String {
    let line = |(member, address): &(Member, SocketAddr)| {
        let keys = [member.signing.to_bytes(), member.exchange.to_bytes()].map(|key| HEXLOWER.encode(&key));
        format!("{} {address} {} {}\n", member.name, keys[0], keys[1])
    };
    format!("{FIRST_LINE}\n{}", members.iter().map(line).collect::<String>())
}

/// Reads a component's secrets.
///
/// # Errors
/// What is wrong with the file; also if others can read it.
pub fn read_secrets(path: &Path) -> Result<Secrets, FileError> {
    let metadata = fs::metadata(path).map_err(|error| FileError::Read(path.to_path_buf(), error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(FileError::NotPrivate(path.to_path_buf()));
    }
    let text = read(path)?;
    let mut lines = text.lines();
    let wrong = |at| FileError::Line(path.to_path_buf(), at);
    lines.next().filter(|line| *line == SECRETS_LINE).ok_or_else(|| wrong(1))?;
    let mut secret = |at| lines.next().and_then(key).map(|key| Secret32::new(*key)).ok_or_else(|| wrong(at));
    let (signing, exchange) = (secret(2)?, secret(3)?);
    Ok(Secrets { signing: SigningKey::from_secret(&signing), exchange: KemSecret::from_secret(&exchange) })
}

/// New secrets, written to a file that nobody else reads.
///
/// # Errors
/// It is there already, or cannot be written.
pub fn create_secrets(path: &Path, rng: &mut dyn CryptoRng) -> Result<Secrets, FileError> {
    if path.exists() {
        return Err(FileError::Exists(path.to_path_buf()));
    }
    let secrets = Secrets { signing: SigningKey::generate(rng), exchange: KemSecret::generate(rng) };
    let mut text = room();
    text.push_str(SECRETS_LINE);
    for secret in [secrets.signing.to_secret(), secrets.exchange.to_secret()] {
        text.push('\n');
        HEXLOWER.encode_append(secret.expose(), &mut text);
    }
    text.push('\n');
    write_private(path, &text)?;
    Ok(secrets)
}

/// For the text of a whole file at once: one that grows leaves copies behind, which nobody wipes.
fn room() -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(2 * FILE_BYTES_MAX as usize))
}

fn read(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let failed = |error| FileError::Read(path.to_path_buf(), error);
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = room();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The lines of a file.
///
/// # Errors
/// It cannot be read.
pub fn read_lines(path: &Path) -> Result<Vec<String>, FileError> {
    read(path).map(|text| text.lines().map(str::to_owned).collect())
}

/// Makes a folder that its owner alone can enter.
///
/// # Errors
/// It cannot be made.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| FileError::Write(path.to_path_buf(), error))
}

/// Writes a file that is not there yet.
///
/// # Errors
/// It is, or it cannot be written.
pub fn write_new(path: &Path, text: &str) -> Result<(), FileError> {
    if path.exists() {
        return Err(FileError::Exists(path.to_path_buf()));
    }
    write_private(path, text)
}

/// Writes a file whole and durably, readable by its owner alone.
///
/// # Errors
/// It cannot be written; what was there before is still there.
pub fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    let failed = |error| FileError::Write(path.to_path_buf(), error);
    let beside = path.with_extension("new");
    // One that is there has the mode and the owner that somebody gave it, or leads elsewhere.
    drop(fs::remove_file(&beside));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::system::os_rng;

    #[test]
    fn what_lies_where_a_secret_is_written_gives_it_neither_mode_nor_place() {
        let folder = tempfile::tempdir().unwrap();
        let [path, beside, other] = ["secrets", "secrets.new", "other"].map(|name| folder.path().join(name));
        fs::write(&other, "theirs").unwrap();
        std::os::unix::fs::symlink(&other, &beside).unwrap();
        write_private(&path, "mine").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        fs::write(&beside, "left over").unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "mine").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            let secrets = create_secrets(&path, &mut os_rng()).unwrap();
            assert_eq!(read_secrets(&path).unwrap().member(name), secrets.member(name));
            assert!(matches!(create_secrets(&path, &mut os_rng()), Err(FileError::Exists(_))));
            (secrets.member(name), "127.0.0.1:4810".parse().unwrap())
        });
        let path = folder.path().join("group");
        let text = group_text(&[one.clone(), two]);
        fs::write(&path, &text).unwrap();
        let read = read_group(&path).unwrap();
        assert_eq!((read.group.len(), read.addresses.len()), (2, 2));
        assert_eq!(read.group.find("one").and_then(|index| read.group.member(index)), Some(&one.0));
        for wrong in [String::new(), text.replace(" 1\n", " 2\n"), format!("{text}\n"), text.replace("4810 ", "4810  ")]
        {
            fs::write(&path, &wrong).unwrap();
            assert!(matches!(read_group(&path), Err(FileError::Line(..))), "{wrong}");
        }
        fs::write(&path, group_text(&[one.clone(), one])).unwrap();
        assert!(matches!(read_group(&path), Err(FileError::Group(_, BadGroup::Twice(_)))));
    }

    /// How often the text of a secret lies in this process's memory. It is compared digit by digit, so that to look for
    /// it makes no text.
    #[cfg(target_os = "linux")]
    fn texts_in_memory(secret: &Secret32) -> usize {
        use std::io::{Seek, SeekFrom};
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = fs::File::open("/proc/self/mem").unwrap();
        let mut found = 0;
        for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
            let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
            let mut bytes = Vec::new();
            if memory.seek(SeekFrom::Start(from)).is_err() || (&memory).take(to - from).read_to_end(&mut bytes).is_err()
            {
                continue;
            }
            let digit = |at: usize| {
                let byte = secret.expose()[at / 2];
                char::from_digit(u32::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 }), 16).unwrap() as u8
            };
            let first = [digit(0), digit(1), digit(2)];
            let starts = bytes.windows(64).filter(|window| window[..3] == first);
            found += starts.filter(|window| (0..64).all(|at| window[at] == digit(at))).count();
        }
        found
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_text_of_a_key_stays_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        let made = create_secrets(&path, &mut os_rng()).unwrap();
        let read = read_secrets(&path).unwrap();
        for secret in [made.signing.to_secret(), made.exchange.to_secret(), read.signing.to_secret()] {
            assert_eq!(texts_in_memory(&secret), 0);
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(texts_in_memory(&made.exchange.to_secret()) > 0, "vacuous: {} digits are not found", text.len());
    }

    #[test]
    fn a_secret_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        create_secrets(&path, &mut os_rng()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_secrets(&path), Err(FileError::NotPrivate(_))));
    }
}
