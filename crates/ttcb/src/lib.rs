//! The trusted component of a host: small, apart from everything else, and talked to in fixed formats only.
//!
//! Hosts' software can be hacked; what this process answers stays right while its host's system does not fall. It runs as its
//! own user, has its own keys and a control channel of its own, and gives few services: local authentication, random numbers,
//! timestamps, agreement on small blocks and their comparison, measuring, watching, executing in time. `docs/trusted-component.md`
//! says what that is worth today and what it is not.
//!
//! * [`core`] is the component as a value.
//! * [`driver`] gives it sockets and a clock; [`sandbox`] takes everything else away.
//! * [`root`] counts its starts, and [`files`] holds names and keys.
//! * [`client`] and [`site`] are what other programs of the host use. They are not part of what has to be trusted.
//!
//! Architecture invariants: the process reads nothing of variable length from anybody but its own operator; what is asked of it
//! and what it says has one size; tables refuse when they are full; nothing of a led or a peer group is known here.

pub mod client;
pub mod core;
pub mod driver;
pub mod files;
pub mod root;
pub mod sandbox;
pub mod site;
pub mod system;
