//! The led group in the simulator: seeds, hacked nodes, and rules that are weakened. One program, so that all cores are at work until the end.

mod corpus;
mod mutants;
mod mutator;
mod outage;
mod secrets;
mod twins;
