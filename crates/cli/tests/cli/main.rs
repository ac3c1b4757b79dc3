//! The real program, with real leader processes on loopback: what it does, what it says, how it ends.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod chat;
mod enrolment;
mod etcd;
mod files;
mod group;
mod join;
mod kills;
mod kv;
mod log;
mod operations;
mod process;
mod roles;
mod second;
mod secrets;
mod sessions;
mod setup;
mod state;
mod transfers;
mod world;
