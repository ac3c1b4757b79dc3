//! The model checker's worlds, whole, and what becomes of them when a rule is weakened. One program, so that all cores are at work until the end.

mod coordination;
mod figure3;
mod login;
mod tie;
