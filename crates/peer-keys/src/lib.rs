//! Secure peer groups: who is in a group, with which key, and what it says under that key.
//!
//! Sites order messages and tell who is in a group (`ringfort-peer`). They are not trusted here: this crate runs in
//! the *members*, on top of what a site tells them. One order of messages comes in, with the views of the sites
//! between them; what goes out is a sequence of *secure views*, each with its members, its key, and the messages that
//! were sent in it.
//!
//! - [`flush`]: view synchrony. Members answer for every change of the sites' view before a new view is installed, so
//!   that a message is delivered in the view in which its sender sent it. Whoever does not answer in time is out.
//! - [`keys`]: one frame around all key protocols. A view goes in; a key that every member has confirmed comes out,
//!   whatever changes on the way. Nothing of another view ever reaches a protocol.
//! - [`data`]: messages sealed under the key of a secure view.
//! - [`peer::Peer`] is the root component, a member of one group. It takes what the site says, commands of the
//!   application and wake-ups, and returns a [`peer::Step`].
//!
//! What a hacked site or an attacker in the network can do is stop all this: it learns no key, forges no message, gets
//! nobody in who is not admitted. All of it is a value without I/O; time and randomness are arguments.

pub mod admission;
pub mod data;
pub mod flush;
pub mod group;
pub mod ids;
pub mod keys;
pub mod peer;
pub mod policy;
pub mod rules;
pub mod wire;

pub use admission::{Admission, Certificate};
pub use group::{Group, Ristretto};
pub use ids::Round;
pub use peer::{Effect, Event, Peer, Step};
pub use policy::{KeyProtocol, Policy};
pub use ringfort_peer::{GroupViewId, Name, Service};
pub use rules::{Rule, Rules};
