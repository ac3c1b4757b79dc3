//! What can go wrong for a member, in words for a person.

use std::time::Duration;

use ringfort_protocol::login::Denial;
use ringfort_protocol::{BadName, BadTopic, Rejected};

use ringfort_documents::FileError;

/// Why a join failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The group file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The user name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The certificate is for another key.
    #[error("the certificate is not for this key: use the key file that the certificate was made for")]
    Certificate,
    /// n-f leaders say that name and password do not fit.
    #[error(
        "the leaders do not accept this name and password: check both. Whoever is new must first be accepted by the operators of at least f+1 leaders"
    )]
    NotAuthentic,
    /// n-f leaders refuse.
    #[error("the leaders refuse: {0}")]
    Denied(Denial),
    /// n-f leaders refuse, and no f+1 give the same reason.
    #[error("the leaders refuse, and no f+1 of them for the same reason: ask the operators")]
    Refused,
    /// Too few leaders in reach.
    #[error(
        "could not join within {} s: {needed} leaders must answer and agree. Check the network and that the leaders run ({problems})",
        timeout.as_secs()
    )]
    Timeout {
        /// How long it was tried.
        timeout: Duration,
        /// n - f.
        needed: usize,
        /// What is known of each leader that did not help.
        problems: String,
    },
    /// f+1 leaders speak another version.
    #[error("the leaders speak another version of Ringfort: install the version that the group uses")]
    Version,
    /// f+1 leaders do not hold the keys in the group file.
    #[error(
        "the servers at the leaders' addresses do not hold the keys in the group file: the file is of another group, or somebody stands in for them. Compare the fingerprint with the operators"
    )]
    WrongKeys,
    /// The member's task is gone.
    #[error("the member stopped before it had joined")]
    Stopped,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The message, the recipients or the moment is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The topic.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The stay ended before enough leaders had acknowledged so many messages.
    #[error("too few leaders acknowledged {0} of the messages: whether they arrive, nobody knows")]
    Unacknowledged(u64),
    /// The stay in the group has ended.
    #[error("you are no longer in the group: join again")]
    Ended,
}

/// How a leave went wrong.
#[derive(Debug, thiserror::Error)]
pub enum GroupEnded {
    /// Too few leaders answered.
    #[error("too few leaders acknowledged; the group will notice the silence")]
    Unacknowledged,
    /// It has left, but so many messages were not acknowledged by enough leaders in time.
    #[error("too few leaders acknowledged {0} of the messages: whether they arrive, nobody knows")]
    Unsent(u64),
    /// The member's task is gone.
    #[error("you were no longer in the group")]
    Stopped,
}
