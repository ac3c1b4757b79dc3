//! The wire format: what it is, byte for byte, and that each message has one encoding.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod any;
mod canonical;
mod golden;
