//! `leader-N/state/inbox/`: what an operator asks of a running leader, as small files.
//!
//! Who can write there is the operator: the folder is as private as the leader's secrets.
//! Requests wait while the leader is stopped.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::coordination::SessionOrder;
use ringfort_protocol::introduction::Introduction;
use ringfort_protocol::login::EnrolmentRecord;
use ringfort_protocol::succession::Generation;
use ringfort_protocol::{BadName, LeaderId, SessionNumber, UserName};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::enrolment::{RECORD_TEXT_BYTES_MAX, armour, open_record, unarmour};
use super::leader_folder::read_leader;
use ringfort_documents::disk::{Access, check_private_folder, make_private_folder, parent, read_text, write_new};
use ringfort_documents::text::{FORMAT, parse, render};
use ringfort_documents::{FileError, FileErrorKind};

/// The inbox in a leader's folder.
pub const INBOX: &str = "state/inbox";

/// The most requests that wait at once.
pub const REQUESTS_WAITING_MAX: usize = 1024;

/// The most requests that one reading gives; the rest waits for the next.
pub const REQUESTS_READ_MAX: usize = 64;

const REQUEST_BYTES_MAX: usize = 2 * RECORD_TEXT_BYTES_MAX;
const SUFFIX: &str = "request";
const HEADER: &str = "# A request to the leader that runs on this folder. It takes the file when it has read it.\n";

/// What an operator asks of a running leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRequest {
    /// Register the user of this record, or take an expelled one back.
    Accept(EnrolmentRecord),
    /// The same, in place of what the user has registered.
    Replace(EnrolmentRecord),
    /// Take a user out, now and later.
    Expel(UserName),
    /// Renew the group key.
    Refresh,
    /// End a session, or start one.
    Session(SessionOrder),
    /// Renew the shares of all leaders, and put a machine in the place of a leader.
    Renew(RenewalOrder),
}

/// An order to renew shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalOrder {
    /// Who takes the place of a leader, if anybody does.
    pub newcomer: Option<Box<Introduction>>,
    /// Who says which deals count.
    pub coordinator: LeaderId,
    /// Counts from 1 the attempts since the last renewal that came to an end.
    pub attempt: Generation,
}

/// A request that waits. It stays until [`Waiting::done`], so that a crash in between does not lose it.
#[derive(Debug)]
pub struct Waiting {
    /// What is asked.
    pub request: OperatorRequest,
    path: PathBuf,
}

/// What is in an inbox.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Requests, oldest first.
    pub waiting: Vec<Waiting>,
    /// Files that were no requests and have been deleted, or could not be.
    pub refused: Vec<FileError>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    request: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newcomer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Accept,
    Replace,
    Expel,
    #[default]
    Refresh,
    EndSession,
    StartSession,
    RestartSession,
    Renew,
}

impl Waiting {
    /// How long it has waited, by the clock of the file system; none if that cannot be told.
    pub fn age(&self) -> Duration {
        let left = fs::metadata(&self.path).and_then(|about| about.modified());
        left.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
    }

    /// Deletes the request's file: it has been carried out.
    pub fn done(self) -> Result<OperatorRequest, FileError> {
        fs::remove_file(&self.path).map_err(|error| FileError::writing(&self.path, error))?;
        Ok(self.request)
    }
}

/// Leaves a request for the leader that runs on `folder`. A record that this leader cannot open is refused here.
pub fn drop_request(folder: &Path, request: &OperatorRequest) -> Result<(), FileError> {
    let inbox = folder.join(INBOX);
    let (group, secrets) = read_leader(folder)?;
    // Where the secrets are sealed, the running leader finds out.
    if let (OperatorRequest::Accept(record) | OperatorRequest::Replace(record), Some(secrets)) = (request, &secrets) {
        open_record(folder, record, &group, secrets)?;
    }
    if !inbox.is_dir() {
        make_private_folder(&inbox)?;
    }
    if request_files(&inbox)?.len() >= REQUESTS_WAITING_MAX {
        let what = format!("{REQUESTS_WAITING_MAX} requests wait there already");
        return Err(FileError::new(FileErrorKind::Busy, &inbox, what, "start the leader, so that it takes them"));
    }
    let path = inbox.join(request_name(&inbox)?);
    write_new(&path, request_text(&path, request)?.as_bytes(), Access::Secret)
}

pub(super) fn request_text(path: &Path, request: &OperatorRequest) -> Result<String, FileError> {
    let document = match request {
        OperatorRequest::Accept(record) => {
            Document { request: Word::Accept, record: Some(armour(record)), ..Document::default() }
        }
        OperatorRequest::Replace(record) => {
            Document { request: Word::Replace, record: Some(armour(record)), ..Document::default() }
        }
        OperatorRequest::Expel(user) => {
            Document { request: Word::Expel, user: Some(user.to_string()), ..Document::default() }
        }
        OperatorRequest::Refresh => Document::default(),
        OperatorRequest::Session(order) => {
            let request = match order {
                SessionOrder::End(_) => Word::EndSession,
                SessionOrder::Start(_) => Word::StartSession,
                SessionOrder::Restart(_) => Word::RestartSession,
            };
            Document { request, session: Some(order.number().get()), ..Document::default() }
        }
        OperatorRequest::Renew(RenewalOrder { newcomer, coordinator, attempt }) => Document {
            request: Word::Renew,
            newcomer: newcomer.as_ref().map(|newcomer| BASE64.encode(&encode(newcomer))),
            coordinator: Some(coordinator.number()),
            attempt: Some(*attempt),
            ..Document::default()
        },
    };
    render(path, HEADER, &Document { format: FORMAT, ..document })
}

/// Leaves an enrolment record for the leader that runs on `folder`; `replace` whatever the user has registered, or not.
pub fn drop_record(folder: &Path, record: &EnrolmentRecord, replace: bool) -> Result<(), FileError> {
    let record = record.clone();
    drop_request(folder, &if replace { OperatorRequest::Replace(record) } else { OperatorRequest::Accept(record) })
}

/// Reads what waits, at most [`REQUESTS_READ_MAX`]. What is no request is deleted and reported.
pub fn read_requests(folder: &Path) -> Result<Inbox, FileError> {
    let inbox = folder.join(INBOX);
    let mut found = Inbox::default();
    for path in request_files(&inbox)?.into_iter().take(REQUESTS_READ_MAX) {
        match read_request(&path) {
            Ok(request) => found.waiting.push(Waiting { request, path }),
            Err(error) => {
                let removed = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
                found.refused.push(error);
                found.refused.extend(removed.err().map(|error| FileError::writing(&path, error)));
            }
        }
    }
    Ok(found)
}

/// Takes what waits, at most [`REQUESTS_READ_MAX`], and deletes what it took. What is wrong goes to the log.
pub fn take_requests(folder: &Path) -> Vec<OperatorRequest> {
    let Inbox { waiting, mut refused } =
        read_requests(folder).unwrap_or_else(|error| Inbox { waiting: Vec::new(), refused: vec![error] });
    let mut requests = Vec::new();
    for waiting in waiting {
        match waiting.done() {
            Ok(request) => requests.push(request),
            Err(error) => refused.push(error),
        }
    }
    for error in refused {
        warn!(%error, "request refused");
    }
    requests
}

/// The requests' files by age, of at most [`REQUESTS_WAITING_MAX`] looked at.
fn request_files(inbox: &Path) -> Result<Vec<PathBuf>, FileError> {
    let reading = |error| FileError::reading(inbox, error);
    match fs::symlink_metadata(inbox) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && parent(inbox).is_dir() => return Ok(Vec::new()),
        _ => check_private_folder(inbox)?,
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(inbox).map_err(reading)?.take(2 * REQUESTS_WAITING_MAX) {
        let path = entry.map_err(reading)?.path();
        let named = path.extension() == Some(OsStr::new(SUFFIX));
        if named && files.len() < REQUESTS_WAITING_MAX {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_request(path: &Path) -> Result<OperatorRequest, FileError> {
    parse_request(path, &read_text(path, REQUEST_BYTES_MAX, Access::Secret)?)
}

pub(super) fn parse_request(path: &Path, text: &str) -> Result<OperatorRequest, FileError> {
    let document: Document = parse(path, text, "a request", Access::Public)?;
    let malformed = |what: String| FileError::malformed(path, what, "ask again with the ringfort command");
    Ok(match document {
        Document { request: Word::Accept, record: Some(record), user: None, session: None, .. } => {
            OperatorRequest::Accept(unarmour(path, &record)?)
        }
        Document { request: Word::Replace, record: Some(record), user: None, session: None, .. } => {
            OperatorRequest::Replace(unarmour(path, &record)?)
        }
        Document { request: Word::Expel, user: Some(user), record: None, session: None, .. } => {
            OperatorRequest::Expel(user.parse().map_err(|error: BadName| malformed(error.to_string()))?)
        }
        Document { request: Word::Refresh, user: None, record: None, session: None, .. } => OperatorRequest::Refresh,
        Document {
            request: Word::Renew,
            user: None,
            record: None,
            session: None,
            newcomer,
            coordinator: Some(coordinator),
            attempt: Some(attempt),
            ..
        } => {
            let read = |text: String| decode::<Introduction>(&BASE64.decode(text.as_bytes()).ok()?).ok().map(Box::new);
            let newcomer = newcomer.map(|text| read(text).ok_or_else(|| malformed("no introduction".to_owned())));
            let coordinator =
                LeaderId::new(coordinator).ok_or_else(|| malformed(format!("there is no leader {coordinator}")))?;
            OperatorRequest::Renew(RenewalOrder { newcomer: newcomer.transpose()?, coordinator, attempt })
        }
        Document { request, user: None, record: None, session: Some(number), .. } => {
            let number =
                SessionNumber::new(number).ok_or_else(|| malformed(format!("there is no session {number}")))?;
            OperatorRequest::Session(match request {
                Word::EndSession => SessionOrder::End(number),
                Word::StartSession => SessionOrder::Start(number),
                Word::RestartSession => SessionOrder::Restart(number),
                Word::Accept | Word::Replace | Word::Expel | Word::Refresh | Word::Renew => {
                    return Err(malformed("this request says too much".to_owned()));
                }
            })
        }
        _ => return Err(malformed("this request does not say whom it is about, or says too much".to_owned())),
    })
}

/// Sorts by age; random, so that two at the same moment differ.
fn request_name(inbox: &Path) -> Result<String, FileError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = getrandom::u64().map_err(|error| FileError::writing(inbox, std::io::Error::other(error)))?;
    Ok(format!("{:020}-{random:016x}.{SUFFIX}", now.as_nanos()))
}
