//! Extended virtual synchrony: what is delivered at the end of a ring, and the configurations around it.

pub mod configuration;
pub mod recovery;
