//! A deterministic world for Ringfort's protocols.
//!
//! Real [`Leader`](ringfort_protocol::leader::Leader)s and [`Member`](ringfort_protocol::member::Member)s
//! live on a virtual clock; a network delays, loses and cuts; up to `f` leaders follow a hostile
//! [`strategy`]; users come, go and talk ([`workload`]); [`checkers`] watch, one property each.
//! One seed replays one run bit for bit: [`World::digest`](world::World::digest) tells whether it did.
//!
//! A run has two phases. In the fault phase the network misbehaves and honest leaders may crash and
//! return: safety is judged. In the stable phase the network is kind and the hostile leaders are not:
//! liveness is judged as well.
//!
//! What the network does inside a link follows [`Wire`](network::Wire). Under `Tls` a link keeps order and
//! bytes, and ends when it loses a frame of the control class; nobody honest may then blame anybody honest.
//! Under `Raw` the world stands without TLS: frames are lost, repeated, reordered, altered and injected.
//! Safety and liveness must still hold; who is blamed for what is not judged, because no end of a bare link
//! can tell its peer from the wire.

pub mod attacks;
pub mod bench;
pub mod checkers;
pub mod dice;
pub mod explore;
pub mod mutants;
pub mod mutator;
pub mod network;
pub mod run;
pub mod settle;
pub mod setup;
pub mod strategy;
pub mod trace;
pub mod workload;
pub mod world;
