//! The page and its plugins in a real browser. Skipped, with a word, where there is none; see [`ringfort_browser::Browser`].

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod chat;
mod figures;
mod files;
mod hostile;
mod impostor;
mod login;
mod roles;
mod shares;
mod ticket;
mod votes;
mod whiteboard;
