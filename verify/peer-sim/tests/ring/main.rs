//! The ring in the simulator: seeds, what others stumbled over, and rules that are weakened. One program, so that all cores are at work until the end.

mod mutants;
mod pitfalls;
mod seeds;
