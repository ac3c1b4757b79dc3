//! The root components: whole groups of leaders and members, and hostile bytes at each of their doors.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod alone;
#[path = "../wire/any.rs"]
mod any;
mod asleep;
mod catching_up;
mod ends;
mod enrolments;
mod expulsions;
mod harness;
mod held;
mod hostile;
mod network;
mod outages;
mod peers;
mod roles;
mod scenarios;
mod services;
mod sessions;
mod stays;
