//! Secure groups over a model of the sites: seeds, schedules, weakened rules, attacks, and what it all costs.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod checks;
mod choices;
mod counting;
mod exhaustive;
mod insiders;
mod members;
mod mutants;
mod seeds;
mod sites;
mod symbolic;
mod tables;
mod world;
