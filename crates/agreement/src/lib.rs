//! Byzantine ordered multicast among leaders: one log, whatever `f` of `n >= 3f + 1` leaders do.
//!
//! Leaders exchange one kind of message, a signed *block*. A block of round `r` names blocks of a quorum of authors of
//! round `r - 1`; so blocks form a graph that grows round by round. Each leader decides from its own copy of the graph
//! which blocks are committed, by a pure function ([`decide`]), and walks through what those blocks have before them:
//! that is the log, the same at every honest leader ([`sequence`]).
//!
//! Promises, for at most `f` hacked leaders and a network that loses nothing for ever:
//!
//! * *Agreement and total order.* No two honest leaders have different entries at one index of the log.
//! * *Integrity.* An entry is a payload that its author signed, once.
//! * *Validity.* What an honest leader submits is in the log some day.
//! * *Liveness without clocks.* No rule compares a message with the time. Who is to be committed is named by a common
//!   coin after the votes are cast, so an adversary that orders every delivery cannot keep the log from growing.
//! * *Bounds.* Old blocks are let go once `f + 1` leaders certify a checkpoint, and each leader's part of another's
//!   memory is limited. Idle leaders make no blocks.
//!
//! All of it is a value without I/O. [`Agreement`] takes commands, verified frames and wake-ups, and returns a
//! [`Step`]. Its driver makes durable what the step says *before* it sends what the step says.
//!
//! Sources: Mahi-Mahi (Jovanovic, Kokoris-Kogias, Kumara, Sonnino, Tennage, Zablotchi 2024) for waves of five rounds and a
//! coin in each; Mysticeti-C (2024) for the direct and indirect rules; Cachin, Kursawe, Shoup 2000 for the coin.
//! Deviations are written where they are made.

pub mod agreement;
pub mod block;
pub mod checkpoint;
pub mod coin;
pub mod dag;
pub mod decide;
pub mod fault;
pub mod ids;
pub mod keys;
pub mod limits;
pub mod pace;
pub mod pending;
pub mod reached;
pub mod readings;
pub mod rules;
pub mod sequence;
pub mod step;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod verify;
pub mod wire;

pub use agreement::{Agreement, Memory};
pub use ids::{Author, AuthorSet, Digest, Reference, Slot};
pub use limits::Config;
pub use ringfort_kernel::{Cx, Time, codec};
pub use rules::{Rule, Rules};
pub use step::{Effect, Event, Record, Step};
