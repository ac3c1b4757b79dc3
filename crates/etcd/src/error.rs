//! What etcd says when it refuses, word for word: clients compare these texts.

use tonic::{Code, Status};

macro_rules! refusals {
    ($($name:ident = $code:ident, $text:literal;)*) => {
        /// Why etcd refuses something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal { $($name),* }

        impl Refusal {
            /// What clients look at: gRPC's code and etcd's words.
            pub fn told(self) -> (Code, &'static str) {
                match self { $(Refusal::$name => (Code::$code, $text)),* }
            }
        }
    };
}

refusals! {
    EmptyKey = InvalidArgument, "etcdserver: key is not provided";
    KeyNotFound = InvalidArgument, "etcdserver: key not found";
    ValueProvided = InvalidArgument, "etcdserver: value is provided";
    LeaseProvided = InvalidArgument, "etcdserver: lease is provided";
    TooManyOps = InvalidArgument, "etcdserver: too many operations in txn request";
    DuplicateKey = InvalidArgument, "etcdserver: duplicate key given in txn request";
    InvalidSort = InvalidArgument, "etcdserver: invalid sort option";
    Compacted = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FutureRevision = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    NoSpace = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    LeaseNotFound = NotFound, "etcdserver: requested lease not found";
    LeaseExists = FailedPrecondition, "etcdserver: lease already exists";
    LeaseTooLong = OutOfRange, "etcdserver: too large lease TTL";
    TooLarge = InvalidArgument, "etcdserver: request is too large";
    TooManyRequests = ResourceExhausted, "etcdserver: too many requests";
    NoUser = InvalidArgument, "etcdserver: user name is empty";
    AuthFailed = InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    AuthOff = FailedPrecondition, "etcdserver: authentication is not enabled";
    BadToken = Unauthenticated, "etcdserver: invalid auth token";
    Denied = PermissionDenied, "etcdserver: permission denied";
    Stopped = Unavailable, "etcdserver: server stopped";
    Timeout = Unavailable, "etcdserver: request timed out";
    NoElectionLeader = Unknown, "election: no leader";
    NotElected = Unknown, "election: not leader";
    NoLeaderKey = Unknown, "\"leader\" field must be provided";
    SessionExpired = Unknown, "mutex: session is expired";
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let (code, text) = refusal.told();
        Status::new(code, text)
    }
}
