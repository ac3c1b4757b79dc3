//! The agent over real sockets: who gets in, what it serves, what is told and told again, and its limits.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod door;
mod files;
mod login;
mod plugins;
mod python;
mod records;
