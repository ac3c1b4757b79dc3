//! Provable membership: a member's log of the views that it was in (P6, A26, A28; seed 004 §1.2).
//!
//! Honest leaders may pass through different intermediate views (seed 002 §3.2), so there is no one chain of views
//! to agree on. Instead every member keeps its own: each entry names the one before it by its hash, carries the
//! signatures of f+1 leaders for the view it tells of, and is signed with the member's session key, which that
//! view's digest covers. So with the group file alone anybody can tell
//!
//! - that each view was certified and holds exactly these members (leaders' signatures, set hash);
//! - that the member was in these views, in this order, at these times (its own signature);
//! - whether anything was altered, left out, moved or joined on.
//!
//! A log answers for what its member sent: whoever was in the view could read it. What is cut off at the end of a
//! log is not noticed, but not answered for either: a log covers the moments from its first entry to its last.
//!
//! A log is a row of *segments*. A segment starts with an opening, which lists the members of its first view; the
//! opening is not signed, since everything in it is proved by the first entry. So a part that is cut out at a view
//! and given an opening is a log again: that is how receipts and shortened logs are made.

mod audit;
mod keeper;
mod receipt;
mod record;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

pub use audit::{Audited, SeenView, Why, verify};
pub use keeper::{Chunk, Keeper};
pub use receipt::Receipt;
pub use record::{Entry, Head, LOG_MAGIC, Log, Opening, RECORD_BYTES_MAX, Refused, Segment, Tail, What, resume};
pub use timeline::{Answer, Verdict};
