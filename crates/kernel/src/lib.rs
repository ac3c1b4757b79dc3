//! What every protocol is built from, whatever kind of group it serves.
//!
//! Nothing here knows a member, a leader or a message. All of it is pure: time and
//! randomness are arguments, nothing blocks, and no state is ordered by a hash.

pub mod budget;
mod class;
pub mod codec;
pub mod inbox;
pub mod penalty;
pub mod time;
pub mod window;

pub use budget::Budget;
pub use class::Class;
pub use penalty::Penalty;
pub use time::{Cx, Time};
