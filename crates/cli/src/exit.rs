//! Exit statuses: one table, and the failures that end the program with one of them.

use std::fmt;
use std::io;
use std::process::ExitCode;

use ringfort::kv::Refusal;
use ringfort::protocol::login::Denial;
use ringfort::protocol::view::Cause;
use ringfort::protocol::{BadName, BadTopic, Rejected};
use ringfort::{CallError, JoinError, KvError, SendError};
use ringfort_daemon::DaemonError;
use ringfort_daemon::config::ConfigError;
use ringfort_documents::{FileError, FileErrorKind};
use ringfort_link::LinkError;
use ringfort_node::leader::LeaderError;
use ringfort_node::setup::SetupError;
use ringfort_site::client::ClientError;
use ringfort_site::secure::file::PeerFileError;
use ringfort_site::{DoorError, FolderError, SecureError, SiteError};

use crate::text::clean;

/// How the program ended, as its exit status. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Everything was done.
    Ok = 0,
    /// Something not listed here failed.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file is missing, may not be read or is not what it should be.
    Unreadable = 10,
    /// A file was altered, or belongs to another group.
    Altered = 11,
    /// The group is not the one with the fingerprint given.
    Fingerprint = 12,
    /// A file or folder may not be written, or is open to others.
    Permissions = 13,
    /// Something exists already and is not overwritten.
    Exists = 14,
    /// A leader's folder or a port is in use.
    Busy = 15,
    /// Leaders or files are of another version.
    Version = 16,
    /// The disk is full, or the group's store.
    Full = 17,
    /// The name, password, key or certificate is wrong.
    Credentials = 20,
    /// The leaders refuse: expelled, too many attempts, full; or the user's role forbids it.
    Refused = 21,
    /// Too few leaders are in reach, have acknowledged what was sent, or have replied.
    TooFewLeaders = 22,
    /// The leaders in reach do not hold the group's keys.
    OtherKeys = 23,
    /// Not a member, or not any more.
    NotAMember = 24,
    /// A setup without a dealer did not come to an end.
    Setup = 25,
    /// The same user has logged in elsewhere, and that stay took the place of this one.
    Elsewhere = 26,
    /// A log or receipt does not tell of the moment.
    NotCovered = 30,
    /// Logs hold evidence against leaders.
    Conflict = 31,
    /// A piece of evidence convicts nobody.
    NoEvidence = 32,
    /// There is no such key, or it has changed.
    NotThere = 40,
}

/// Every status with its meaning, in order.
pub const TABLE: [(Status, &str); 22] = [
    (Status::Ok, "everything was done"),
    (Status::Other, "something not listed here failed"),
    (Status::Usage, "the command line is wrong"),
    (Status::Unreadable, "a file is missing, may not be read or is malformed"),
    (Status::Altered, "a file was altered, or belongs to another group"),
    (Status::Fingerprint, "the group does not have the fingerprint given"),
    (Status::Permissions, "a file or folder may not be written, or a private one is open to others"),
    (Status::Exists, "a file or folder exists already and is not overwritten"),
    (Status::Busy, "the folder of the leader or site, or its port, is in use"),
    (Status::Version, "the leaders, or a file, are of another version of Ringfort"),
    (Status::Full, "the disk is full, or the group's store"),
    (Status::Credentials, "wrong name, password, key or certificate"),
    (
        Status::Refused,
        "the leaders refuse: expelled, too many attempts, or the group is full; or the user's role forbids it",
    ),
    (
        Status::TooFewLeaders,
        "too few leaders are in reach, or have acknowledged what was sent; or a site misses others",
    ),
    (Status::OtherKeys, "the servers at the leaders' addresses do not hold the group's keys"),
    (Status::NotAMember, "the user is not in the group, or the stay has ended"),
    (Status::Setup, "the setup of a group did not come to an end: it says at whom to look"),
    (Status::Elsewhere, "the same user has logged in elsewhere, and that stay took the place of this one"),
    (Status::NotCovered, "the log or receipt does not tell of that moment"),
    (Status::Conflict, "the logs hold evidence against leaders"),
    (Status::NoEvidence, "the evidence convicts nobody"),
    (Status::NotThere, "the group's store has no such key, or it has changed: nothing was done"),
];

/// The table as text, for the long help.
pub fn table() -> String {
    let rows = TABLE.map(|(status, meaning)| format!("  {:>3}  {meaning}\n", status as u8));
    format!("Exit status:\n{}", rows.concat())
}

/// Why a command failed: the status for programs, one sentence for people.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// What happened, what it means and what to do. Empty: nothing needs to be said.
    pub message: String,
}

/// The outcome of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with its sentence.
    pub fn new(status: Status, message: impl fmt::Display) -> Self {
        Failure { status, message: message.to_string() }
    }

    /// The reader of the standard output has gone away: an end, but nobody's fault.
    pub fn closed_output() -> Self {
        Failure { status: Status::Ok, message: String::new() }
    }

    /// A system call failed.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::NotFound => Status::Unreadable,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Status::Permissions,
            io::ErrorKind::AlreadyExists => Status::Exists,
            _ => Status::Other,
        };
        Failure::new(status, format!("{what}: {error}"))
    }

    /// Why a stay that this program did not end is over; `None` if the user left.
    pub fn ended(cause: Cause) -> Option<Self> {
        match cause {
            Cause::Left => None,
            Cause::Lost => Some(Failure::new(
                Status::NotAMember,
                "the group has taken this member out because no leader heard it any more: check the network and join again",
            )),
            Cause::Expired => Some(Failure::new(
                Status::NotAMember,
                "the stay has lasted as long as the group's policy allows: join again with password or key",
            )),
            Cause::Expelled => {
                Some(Failure::new(Status::Refused, "this user was expelled from the group: ask the operators why"))
            }
            Cause::Elsewhere => Some(Failure::new(
                Status::Elsewhere,
                "this user has logged in elsewhere, and that login took the place of this one: if it was not you, tell the operators",
            )),
            Cause::SessionOver => Some(Failure::new(
                Status::NotAMember,
                "the operators have ended the session: join again, at once if they have started the next",
            )),
        }
    }

    /// Prints the sentence and gives the status to the system.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            // A closed standard error leaves nobody to tell.
            let told = format!("ringfort: {}\n", clean(&self.message));
            let _ = io::Write::write_all(&mut io::stderr(), told.as_bytes());
        }
        ExitCode::from(self.status as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<FileErrorKind> for Status {
    fn from(kind: FileErrorKind) -> Self {
        match kind {
            FileErrorKind::Unreadable | FileErrorKind::Malformed => Status::Unreadable,
            FileErrorKind::Altered | FileErrorKind::ForeignRecord => Status::Altered,
            FileErrorKind::WrongFingerprint => Status::Fingerprint,
            FileErrorKind::Permissions | FileErrorKind::Unwritable => Status::Permissions,
            FileErrorKind::Sealed => Status::Credentials,
            FileErrorKind::Exists => Status::Exists,
            FileErrorKind::Full => Status::Full,
            FileErrorKind::Busy => Status::Busy,
            FileErrorKind::Version => Status::Version,
            FileErrorKind::Io => Status::Other,
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Failure::new(error.kind().into(), error)
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let status = match &error {
            JoinError::File(_) => {
                let JoinError::File(error) = error else { return Failure::new(Status::Other, error) };
                return error.into();
            }
            JoinError::Name(_) => Status::Usage,
            JoinError::Certificate | JoinError::NotAuthentic | JoinError::Denied(Denial::NotAuthentic) => {
                Status::Credentials
            }
            JoinError::Denied(_) | JoinError::Refused => Status::Refused,
            JoinError::Timeout { .. } => Status::TooFewLeaders,
            JoinError::Version => Status::Version,
            JoinError::WrongKeys => Status::OtherKeys,
            JoinError::Stopped => Status::Other,
        };
        Failure::new(status, error)
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let status = match &error {
            SendError::Rejected(Rejected::NotJoined | Rejected::Ended | Rejected::NotAMember(_)) | SendError::Ended => {
                Status::NotAMember
            }
            SendError::Rejected(Rejected::TooLarge { .. } | Rejected::Recipients { .. }) | SendError::Topic(_) => {
                Status::Usage
            }
            SendError::Rejected(Rejected::Role { .. }) => Status::Refused,
            SendError::Rejected(Rejected::Stale) | SendError::Unacknowledged(_) => Status::TooFewLeaders,
            SendError::Rejected(_) => Status::Other,
        };
        Failure::new(status, error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let status = match error {
            CallError::Rejected(rejected) => return SendError::Rejected(rejected).into(),
            CallError::NotOrdered => Status::Refused,
            CallError::Refused(_) => Status::Usage,
            CallError::Ended => Status::NotAMember,
            CallError::Forgotten => Status::TooFewLeaders,
        };
        Failure::new(status, error)
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        let status = match error {
            KvError::Call(error) => return error.into(),
            KvError::Refused(
                Refusal::Key | Refusal::Value | Refusal::Many | Refusal::Twice | Refusal::Reply | Refusal::Lease,
            ) => Status::Usage,
            KvError::Refused(Refusal::Unknown) | KvError::Version => Status::Version,
            KvError::Refused(Refusal::Role) => Status::Refused,
            KvError::Refused(
                Refusal::StoreFull | Refusal::UserFull | Refusal::Leases | Refusal::LeaseKeys | Refusal::Waits,
            ) => Status::Full,
            KvError::Conflict { .. } | KvError::Compacted { .. } => Status::NotThere,
            KvError::Refused(Refusal::NoKey | Refusal::NoLease | Refusal::LeaseExists) => Status::NotThere,
        };
        Failure::new(status, error)
    }
}

impl From<LeaderError> for Failure {
    fn from(error: LeaderError) -> Self {
        let status = match &error {
            LeaderError::Listen { cause: LinkError::Local(cause), .. } => match cause.kind() {
                io::ErrorKind::AddrInUse => Status::Busy,
                io::ErrorKind::PermissionDenied => Status::Permissions,
                _ => Status::Other,
            },
            // Names may resolve a moment later: after a power cut the router often comes up last.
            LeaderError::Address(_) => Status::Other,
            LeaderError::Store(error) => FileErrorKind::from(error).into(),
            LeaderError::Renewal(error) => error.kind().into(),
            LeaderError::Listen { .. } | LeaderError::Order(_) => Status::Other,
        };
        Failure::new(status, error)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let status = match error {
            SetupError::File(error) => return error.into(),
            SetupError::Listen { cause: LinkError::Local(ref cause), .. } => match cause.kind() {
                io::ErrorKind::AddrInUse => Status::Busy,
                io::ErrorKind::PermissionDenied => Status::Permissions,
                _ => Status::Other,
            },
            SetupError::Listen { .. } | SetupError::Address(_) => Status::Other,
            SetupError::NotMine(_) => Status::Usage,
        };
        Failure::new(status, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::new(if error.unreadable { Status::Unreadable } else { Status::Usage }, error)
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Leader(error) => error.into(),
            DaemonError::System(error) => Failure::io("the leader cannot start", &error),
            DaemonError::Config(_) => Failure::new(Status::Usage, error),
            DaemonError::Sandbox(_) => Failure::new(Status::Other, error),
        }
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        let of = |error: &io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Status::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Status::Permissions,
            io::ErrorKind::NotFound => Status::Unreadable,
            _ => Status::Other,
        };
        let status = match &error {
            FolderError::Io { error, .. } | FolderError::Forgets { error, .. } => of(error),
            FolderError::Permissions { .. } => Status::Permissions,
            FolderError::Malformed { .. } | FolderError::Network { .. } => Status::Unreadable,
            FolderError::NotInNetwork { .. } => Status::Altered,
            FolderError::Busy(_) => Status::Busy,
            FolderError::Exists(_) => Status::Exists,
        };
        Failure::new(status, error)
    }
}

impl From<SiteError> for Failure {
    fn from(error: SiteError) -> Self {
        let of = |error: &io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => Status::Busy,
            io::ErrorKind::PermissionDenied => Status::Permissions,
            _ => Status::Other,
        };
        let status = match &error {
            SiteError::Folder(_) => {
                let SiteError::Folder(error) = error else { return Failure::new(Status::Other, error) };
                return error.into();
            }
            SiteError::Listen { cause, .. } => of(cause),
            SiteError::Doors(DoorError::Open(_)) => Status::Usage,
            SiteError::Doors(DoorError::Unix { error, .. } | DoorError::Tcp { error, .. }) => of(error),
            SiteError::Address(_) | SiteError::System(_) => Status::Other,
        };
        Failure::new(status, error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let status = match &error {
            ClientError::Unreachable(..) => Status::Unreadable,
            ClientError::Cut | ClientError::CutOff(_) => Status::NotAMember,
            ClientError::Refused(_) => Status::Refused,
            ClientError::Name(_) | ClientError::Group(_) | ClientError::TooLarge { .. } => Status::Usage,
            ClientError::Garbled(_) => Status::Other,
        };
        Failure::new(status, error)
    }
}

impl From<PeerFileError> for Failure {
    fn from(error: PeerFileError) -> Self {
        match &error {
            PeerFileError::Unwritten(error) => Failure::new(error.kind().into(), error),
            PeerFileError::Io { path, error } => Failure::io(path.display(), error),
            PeerFileError::Malformed { .. } | PeerFileError::Certificate { .. } => {
                Failure::new(Status::Unreadable, error)
            }
            PeerFileError::Policy(_) => Failure::new(Status::Usage, error),
        }
    }
}

impl From<SecureError> for Failure {
    fn from(error: SecureError) -> Self {
        let status = match error {
            SecureError::Client(error) => return error.into(),
            SecureError::NotAdmitted(_) | SecureError::Certificate(_) => Status::Credentials,
            SecureError::Rejected(_) => Status::Usage,
            SecureError::Ended => Status::NotAMember,
        };
        Failure::new(status, error)
    }
}

impl From<BadName> for Failure {
    fn from(error: BadName) -> Self {
        Failure::new(Status::Usage, error)
    }
}

impl From<BadTopic> for Failure {
    fn from(error: BadTopic) -> Self {
        Failure::new(Status::Usage, error)
    }
}

#[cfg(test)]
mod tests {
    use ringfort::protocol::Incarnation;

    use super::*;

    #[test]
    fn the_table_is_in_order_and_says_each_once() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(TABLE.last().map(|row| row.0), Some(Status::NotThere));
        assert!(table().contains("\n   22  too few"));
    }

    #[test]
    fn errors_keep_their_meaning() {
        let status = |error: JoinError| Failure::from(error).status;
        assert_eq!(status(JoinError::Version), Status::Version);
        assert_eq!(status(JoinError::WrongKeys), Status::OtherKeys);
        assert_eq!(status(JoinError::NotAuthentic), Status::Credentials);
        assert_eq!(status(JoinError::Denied(Denial::Expelled(Incarnation(1)))), Status::Refused);
        assert_eq!(status(JoinError::Refused), Status::Refused);
        assert_eq!(status(JoinError::Denied(Denial::Throttled)), Status::Refused);
        assert_eq!(status(JoinError::Denied(Denial::Full)), Status::Refused);
        assert_eq!(Failure::from(SendError::Ended).status, Status::NotAMember);
        assert_eq!(Failure::from(SendError::Rejected(Rejected::Stale)).status, Status::TooFewLeaders);
        assert_eq!(Failure::ended(Cause::Expelled).map(|f| f.status), Some(Status::Refused));
        assert!(Failure::ended(Cause::Left).is_none());
    }
}
