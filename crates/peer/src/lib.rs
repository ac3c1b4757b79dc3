//! Peer groups: ordered multicast on a ring of sites, with extended virtual synchrony.
//!
//! A *site* is one daemon. Sites pass a token round a ring; its holder may send, and what it sends has one place in
//! one order. A crash, a partition or a merge re-forms the ring, and every site learns of it by a *transitional* and
//! a *regular* configuration that stand at a definite place among the messages. Clients of a site join *lightweight
//! groups*: a join or a leave is one ordered message and changes no ring.
//!
//! All of it is a value without I/O. [`site::Site`] is the root component: it takes commands of local clients, frames
//! of other sites and wake-ups, and returns a [`site::Step`]. A driver seals frames for each receiver and moves them;
//! it decides nothing. Sites trust each other to follow the protocol (they may crash, sleep, lose or reorder
//! frames); no frame of a hacked site makes another panic or grow without bound.

pub mod evs;
pub mod groups;
pub mod ids;
pub mod limits;
pub mod membership;
pub mod ring;
pub mod rules;
pub mod site;
pub mod wire;

pub use ids::{GroupViewId, Name, RingId, Service, SiteId, SiteSet};
pub use limits::Config;
pub use ringfort_kernel::{Cx, Time};
pub use rules::{Rule, Rules};
