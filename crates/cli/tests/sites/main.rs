//! Sites as real processes on loopback: what people type, what goes wrong, and what holds when everything does.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod admitted;
mod around;
mod cascades;
mod chaos;
mod clients;
mod commands;
mod crowd;
mod dice;
mod judge;
mod limits;
#[path = "../cli/process.rs"]
#[allow(dead_code, reason = "shared with the other tests of this command")]
mod process;
mod proxy;
mod secure;
mod trouble;
mod waits;
mod world;
