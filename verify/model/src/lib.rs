//! Ringfort under a model checker: every order of events in small worlds, with a hacked leader that says anything.
//!
//! - [`coordination`]: the real component of `ringfort-protocol`, four leaders, one of them hacked.
//! - [`login`]: the three messages of a login, symbolically, against an attacker who owns the network inside the
//!   links, one leader and a registered user.
//! - [`figure3`]: the coordination of *Intrusion-Tolerant Enclaves* as the paper writes it, in which the checker
//!   finds the stall.
//!
//! `docs/model.md` says what each proves, within which bounds, and how many states that took.

pub mod coordination;
pub mod figure3;
pub mod login;
pub mod report;
pub mod worlds;
