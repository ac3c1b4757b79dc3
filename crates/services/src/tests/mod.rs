//! Both sides in one world: leaders of which some are hacked, members, and an order that hacked leaders write into too.

pub mod hostile;
mod once;
mod waiting;
pub mod world;
