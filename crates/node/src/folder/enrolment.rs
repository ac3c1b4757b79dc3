//! Enrolment records as files: one per leader, made to be mailed.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::{EnrolmentCode, EnrolmentRecord, Registration};
use ringfort_protocol::{GroupInfo, Rejected, UserName, group::LeaderSecrets};

use super::leader_folder::{LeaderFolder, OpenLeader, STORE_FILE, read_leader_with};
use crate::store::Store;
use ringfort_documents::disk::{Access, read_text, write_new};
use ringfort_documents::seal::StoreKey;
use ringfort_documents::sealing::Unlock;
use ringfort_documents::{FileError, FileErrorKind};

/// The format of records: 1 knew no login keys of users' own.
const FORMAT: u32 = 2;

/// The most users one leader registers, as in the protocol.
const USERS_MAX: usize = 65_536;

/// The longest text that is looked at: a record, and the mail around it.
pub(super) const RECORD_TEXT_BYTES_MAX: usize = 64 * 1024;

const BEGIN: &str = "-----BEGIN RINGFORT ENROLMENT RECORD-----";
const END: &str = "-----END RINGFORT ENROLMENT RECORD-----";
const LINE_CHARS: usize = 64;

/// Writes one file per record into `dir`, named `USER.leader-N.record`. They keep their secret however they are sent.
pub fn write_records(dir: &Path, records: &[EnrolmentRecord]) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = Vec::new();
    for record in records {
        let path = dir.join(format!("{}.{}.record", record.user, LeaderFolder::name(record.leader)));
        write_new(&path, armour(record).as_bytes(), Access::Public)?;
        paths.push(path);
    }
    Ok(paths)
}

/// Reads a record, also from the midst of a mail.
pub fn read_record(path: &Path) -> Result<EnrolmentRecord, FileError> {
    unarmour(path, &read_text(path, RECORD_TEXT_BYTES_MAX, Access::Public)?)
}

/// What a record is about: what an operator compares before it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who wants to be registered.
    pub user: UserName,
    /// What the user's machine showed, if the record can be opened here.
    pub code: Option<EnrolmentCode>,
    /// What the user has registered here, if that is something else.
    pub known: Option<Known>,
}

/// What somebody has registered at a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The code of it.
    pub code: EnrolmentCode,
    /// When it was accepted here, Unix seconds.
    pub since_unix_s: Option<u64>,
}

/// Looks into a record beside a leader, which may run, and changes nothing. Without `unlock` a sealed folder tells only the name.
pub fn look_at_record(folder: &Path, record: &Path, unlock: Option<&Unlock>) -> Result<Candidate, FileError> {
    let (path, record) = (record, read_record(record)?);
    let nothing = Candidate { user: record.user.clone(), code: None, known: None };
    let Some((group, secrets, key)) = read_leader_with(folder, unlock)? else { return Ok(nothing) };
    let registration = open_record(path, &record, &group, &secrets)?;
    let code = registration.code(&group, &record.user);
    let store = Store::read(&folder.join(STORE_FILE), group.id())?;
    let known = known(&store, &group, &record.user, key.as_ref())?.filter(|known| known.code != code);
    Ok(Candidate { user: record.user, code: Some(code), known })
}

fn known(
    store: &Store,
    group: &GroupInfo,
    user: &UserName,
    key: Option<&StoreKey>,
) -> Result<Option<Known>, FileError> {
    let Some(registration) = store.registration(user, key)? else { return Ok(None) };
    Ok(Some(Known { code: registration.code(group, user), since_unix_s: store.registered_at(user)? }))
}

/// Registers the user of a record at a leader that is stopped. A running one makes this [`FileErrorKind::Busy`]:
/// then leave it the record with [`super::drop_request`].
///
/// Also takes back a user whom operators expelled, as the running leader does. Who has registered something else is refused.
pub fn accept(folder: &Path, record: &Path) -> Result<Candidate, FileError> {
    accept_with(folder, record, None, false)
}

/// The same; `unlock` opens a sealed folder, and `replace` takes the record in place of what the user has registered.
pub fn accept_with(
    folder: &Path,
    record: &Path,
    unlock: Option<&Unlock>,
    replace: bool,
) -> Result<Candidate, FileError> {
    let path = record;
    let record = read_record(path)?;
    let OpenLeader { group, secrets, mut store, lock: _lock, .. } = LeaderFolder::open_with(folder, unlock)?;
    let registration = open_record(path, &record, &group, &secrets)?;
    let user = record.user;
    let code = registration.code(&group, &user);
    let known = known(&store, &group, &user, None)?.filter(|known| known.code != code);
    if known.is_some() && !replace {
        let what = format!("{user} has registered something else here");
        return Err(FileError::new(FileErrorKind::Exists, path, what, "compare the codes, and use --replace"));
    }
    let mut records = Vec::new();
    let mut registered = 0;
    for old in store.load()? {
        match old {
            Record::Life(mut life) if (life.barred || life.unwanted) && life.subject.user() == Some(&user) => {
                life.take_back();
                records.push(Record::Life(life));
            }
            Record::Registration(name, _) if name != user => registered += 1,
            Record::Life(_) | Record::Registration(..) | Record::Attempts(_) | Record::CatchingUp(_) => {}
        }
    }
    if registered >= USERS_MAX {
        let what = format!("this leader has {USERS_MAX} registered users already");
        return Err(FileError::new(FileErrorKind::Unwritable, folder, what, "expel users who left for good"));
    }
    records.push(Record::Registration(user.clone(), registration));
    store.persist(&records.iter().collect::<Vec<_>>())?;
    Ok(Candidate { user, code: Some(code), known })
}

pub(super) fn open_record(
    path: &Path,
    record: &EnrolmentRecord,
    group: &GroupInfo,
    secrets: &LeaderSecrets,
) -> Result<Registration, FileError> {
    record.open(group, secrets).map_err(|rejected| {
        if rejected == Rejected::BadLoginKey {
            let what = format!("the login key in this record of user {} does not fit {}", record.user, secrets.id);
            let action = "ask the user to enrol again, and accept none of the records made with this one";
            return FileError::new(FileErrorKind::ForeignRecord, path, what, action);
        }
        let what = if record.leader == secrets.id {
            format!("this record of user {} is for another group, or was altered", record.user)
        } else {
            format!("this record of user {} is for {}, not for {}", record.user, record.leader, secrets.id)
        };
        FileError::new(FileErrorKind::ForeignRecord, path, what, "ask the user for the record made for this leader")
    })
}

/// The record as text. The line for people is checked against the content when it is read.
pub(super) fn armour(record: &EnrolmentRecord) -> String {
    let digits = BASE64.encode(&encode(record));
    let mut text = format!("{BEGIN}\n{}\n\n", line_for_people(record));
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE_CHARS).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push('\n');
    text
}

fn line_for_people(record: &EnrolmentRecord) -> String {
    format!("Format {FORMAT}, user {}, {}", record.user, record.leader)
}

pub(super) fn unarmour(path: &Path, text: &str) -> Result<EnrolmentRecord, FileError> {
    let malformed = |what: &str| FileError::malformed(path, what, "ask the user to send the record again");
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != BEGIN).skip(1);
    let told = lines.next().ok_or_else(|| malformed("there is no enrolment record in it"))?;
    let format = told.strip_prefix("Format ").and_then(|rest| rest.split(',').next()?.parse::<u32>().ok());
    match format {
        Some(FORMAT) => {}
        Some(other) => {
            let what = format!("this enrolment record has format {other}, and this version knows format {FORMAT} only");
            let action = "ask the user to enrol again with this version, or use the one that made it";
            return Err(FileError::new(FileErrorKind::Version, path, what, action));
        }
        None => return Err(malformed("this enrolment record has lost its first line")),
    }
    let mut digits = String::new();
    let mut ended = false;
    for line in lines.by_ref() {
        if line == END {
            ended = true;
            break;
        }
        digits.push_str(line);
    }
    if !ended {
        return Err(malformed("this enrolment record has lost its end"));
    }
    let record: EnrolmentRecord = BASE64
        .decode(digits.as_bytes())
        .ok()
        .and_then(|bytes| decode(&bytes).ok())
        .ok_or_else(|| malformed("this enrolment record was damaged on the way"))?;
    if told != line_for_people(&record) {
        return Err(malformed("this enrolment record is of another user or leader than it says"));
    }
    Ok(record)
}
