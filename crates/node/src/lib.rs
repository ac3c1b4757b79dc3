//! A leader of a group, as it runs on its machine: its folder and store, the driver of its core, the order that leaders
//! agree on, and the setup of a group without a dealer.
//!
//! Members need none of it: their library is `ringfort`.

pub mod folder;
pub mod leader;
pub mod order;
pub mod setup;
pub mod store;
