//! What the front needs of a group's store.

use std::future::Future;

use ringfort::protocol::codec::{decode, encode};
use ringfort::{CallError, Group, KvError};
use ringfort_services::Refused;
use ringfort_services::kv::{KvReply, KvRequest, Range, Refusal, Revision};

/// A store that the front stands before.
pub trait Store: Send + Sync + 'static {
    /// Asks it, and returns what it replies: right, and in one order with what others ask.
    fn ask(&self, request: KvRequest) -> impl Future<Output = Result<KvReply, Unanswered>> + Send;

    /// Returns when the store may have changed behind a revision, at the end of a lease too.
    fn changed(&self, after: Revision) -> impl Future<Output = Result<(), Unanswered>> + Send;
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The member is not in the group: whether it was done, nobody knows.
    #[error("the member is not in the group")]
    Stopped,
    /// Too much waits already; nothing was done.
    #[error("too many requests wait")]
    Busy,
    /// The request is longer than the store takes; nothing was done.
    #[error("the request is too long")]
    TooLarge,
    /// The leaders run another version.
    #[error("the leaders run another version of Ringfort")]
    Version,
}

impl From<KvError> for Unanswered {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Call(CallError::Refused(Refused::TooLarge(_))) => Unanswered::TooLarge,
            KvError::Call(CallError::Refused(Refused::Busy)) => Unanswered::Busy,
            KvError::Call(_) => Unanswered::Stopped,
            KvError::Refused(Refusal::Waits) => Unanswered::Busy,
            _ => Unanswered::Version,
        }
    }
}

impl Store for Group {
    async fn ask(&self, request: KvRequest) -> Result<KvReply, Unanswered> {
        let request = encode(&request);
        loop {
            match self.call(&request).await {
                Ok(reply) => return decode(&reply.bytes).map_err(|_| Unanswered::Version),
                // It changed nothing, so it may be asked again.
                Err(CallError::Forgotten) => {}
                Err(error) => return Err(KvError::from(error).into()),
            }
        }
    }

    async fn changed(&self, after: Revision) -> Result<(), Unanswered> {
        self.kv().wait(&Range::all(), after).await.map(drop).map_err(Unanswered::from)
    }
}
