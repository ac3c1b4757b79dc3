//! Components in a simulated world, and what has to hold there.

mod channel;
mod clocks;
mod formats;
mod game;
mod mutants;
mod quorums;
mod services;
mod turns;
mod world;
mod worlds;
