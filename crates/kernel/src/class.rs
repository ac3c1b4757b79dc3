//! How a frame is treated on its way.

/// Which queue a frame waits in. Control goes first, then what is live; each class stays in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// What the group needs to go on: never dropped. A link whose control queue overflows is closed.
    Control,
    /// What members send each other: dropped when the peer is too slow. Receivers notice, and ask for it.
    Data,
    /// What is worth nothing later: goes before data, and the oldest is dropped when the peer is too slow.
    Live,
}
