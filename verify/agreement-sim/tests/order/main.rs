//! The order among leaders in the simulator: its promises, its limits, and what hacked leaders try. One program, so that all cores are at work until the end.

mod bounds;
mod crashes;
mod graphs;
mod hostile;
mod liveness;
mod mutants;
mod seeds;
