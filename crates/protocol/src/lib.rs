//! The protocols of Ringfort, as values without I/O.
//!
//! A component is given inputs (a message, a command, the passing of time) and
//! returns what must be done. Time and randomness are arguments, no state is
//! ordered by a hash, nothing blocks: one seed replays one run bit for bit.
//! A remote peer never causes an `Err`: what it sends is used, ignored or blamed.
//!
//! The root components are [`leader::Leader`] and [`member::Member`]. Drivers feed
//! them frames from links and carry out their effects.

pub mod coordination;
pub mod data;
pub mod delivery;
pub mod diversity;
pub mod evidence;
pub mod fault;
pub mod group;
pub mod ids;
pub mod introduction;
pub mod keys;
pub mod leader;
pub mod log;
pub mod login;
pub mod member;
pub mod motion;
pub mod policy;
pub mod roles;
pub mod rules;
pub mod sealed;
pub mod statement;
pub mod succession;
#[cfg(test)]
pub(crate) mod testing;
pub mod unheard;
pub mod view;
pub mod wire;

pub use ringfort_kernel::{codec, time, window};

pub use fault::{Fault, Rejected};
pub use group::GroupInfo;
pub use ids::*;
pub use policy::Policy;
pub use roles::Role;
pub use rules::Rules;
pub use time::{Cx, Time};
