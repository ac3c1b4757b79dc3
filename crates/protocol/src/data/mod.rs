//! The data channel: how one application message becomes a frame that only the right members read,
//! believe and accept once (seed 003 §2.1, §3.1; P7).
//!
//! A frame is made once by its sender and relayed as the same bytes: version, [`DATA_TAG`],
//! [`DataHeader`], body. Leaders read the header and nothing else (K29).
//!
//! * One AEAD seals and authenticates (K1, K26). Its key is the sender's own in that view, and the view
//!   digest names group, session, epoch and members; its associated data is the whole header, with
//!   sender and sequence number (K2, K24, K27).
//! * Under [`Origin::Signature`](crate::policy::Origin) the sender's session key signs header and body,
//!   so that no other member can speak in its name (K3, K25).
//! * A private message is sealed once under a one-time key, which is wrapped for each recipient under a
//!   key that only sender and recipient know (C5, K28–K30).
//!
//! What a frame must look like follows from the group's policy ([`Shape`]), never from the frame.
//! Whether a number was seen before is the receiver's affair: see [`delivery`](crate::delivery).

mod frame;
mod keyring;
mod peers;
mod seal;
#[cfg(test)]
pub(crate) mod tests;

pub use frame::{DATA_TAG, DataFrame, DataHeader, FrameKind, RECIPIENTS_MAX, Recipient, Recipients, SEQ_MAX, Shape};
pub use keyring::{KeyedView, Keyring, Lookup, VIEWS_MAX};
pub use peers::{DEPARTED_MAX, Departed, Identity, Peers};
pub use seal::{BadFrame, Opened, open, seal_mark, seal_multicast, seal_private, seal_private_mark, signed_by};
