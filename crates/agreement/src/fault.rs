//! What a peer did wrong. None of it harms; all of it is told, with the name of who did it.

use ringfort_kernel::codec::DecodeError;

/// How a peer deviated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no frame.
    #[error("a frame cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    /// The block breaks a rule that can be seen in the block alone; whoever signed it is hacked.
    #[error("a signed block is invalid: {0}")]
    Invalid(Invalid),
    /// The signature is not the named author's.
    #[error("a signature does not fit")]
    BadSignature,
    /// A block of another author that nobody asked for.
    #[error("a block that was not asked for")]
    Unasked,
    /// Two signed blocks of one author for one round.
    #[error("two blocks for one round")]
    Equivocation,
    /// A share of the coin does not fit its proof.
    #[error("a bad share of the coin")]
    BadCoinShare,
    /// Two signed statements for one checkpoint.
    #[error("two statements for one checkpoint")]
    TwoStatements,
    /// A part of a state whose hash is not the certified one.
    #[error("a part of a state has the wrong hash")]
    BadPart,
}

/// The rule that a block breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is of another group or epoch.
    #[error("another epoch")]
    Epoch,
    /// There is no such author.
    #[error("no such author")]
    Author,
    /// There is no such round.
    #[error("no such round")]
    Round,
    /// The parents are too few, too many, repeated or out of order.
    #[error("parents")]
    Parents,
    /// A weak reference is out of its bounds, repeated or out of order.
    #[error("weak references")]
    Weak,
    /// A share of the coin is missing or not due.
    #[error("coin share")]
    CoinShare,
    /// Evidence that proves nothing, or is repeated.
    #[error("evidence")]
    Evidence,
    /// The payload is too large or no list of messages.
    #[error("payload")]
    Payload,
}
