//! The adversary kit: every attack in the papers as a named scenario.
//!
//! A [`Scenario`](scenario::Scenario) says which flaw it is about, what the attacker holds, what it does and what
//! must be observed. It is played on up to two stages: simulated, where the order of deliveries inside a small
//! window is enumerated, and [`real`], where leader processes talk over real sockets. [`rows`] accounts for every
//! row of the list of attacks.
//!
//! Nothing here is linked by a production leader.

pub mod adversary;
pub mod catalogue;
pub mod command;
pub mod defences;
pub mod load;
pub mod play;
pub mod real;
pub mod report;
pub mod rows;
pub mod scenario;
pub mod soak;
