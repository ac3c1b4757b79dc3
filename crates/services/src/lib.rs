//! Services of a led group: a deterministic machine that every leader has, and the way of members to it and back.
//!
//! A member signs a request with the key of its stay and gives it to f+1 leaders ([`Caller`]). Leaders put it into their
//! one order; each applies it to its own copy of the machine ([`Replica`]) and answers the member over its link. The member
//! believes what f+1 leaders answer equally, and names who answers otherwise.
//!
//! Promises, for at most `f` hacked leaders out of `n >= 3f + 1`:
//!
//! * *Who asks is who is named.* A request is applied only with the signature of a stay that the words of n-f leaders in the
//!   order name, so no f leaders ask in anybody's name. It speaks no more once f+1 leaders take their words back.
//! * *Exactly once.* A request of one stay and number is applied once at most, however often and by whomever it is put
//!   into the order; and once a member sees an answer, it was applied.
//! * *Waiting.* A reply may come later, at the place in the order where something happens: it too counts from f+1 leaders.
//! * *One order.* Reads are ordered like writes: a member that has its answer finds what it did in every later answer.
//! * *Bounds.* What waits is bounded for each member, and members are served in turn. Whoever sends too much waits alone. A
//!   leader that puts forged requests into the order is not listened to for so many entries that checking them costs nothing.
//!
//! Leaders read what they are asked, and what they keep.
//!
//! Both sides are values without I/O: inputs in, what is to be done out. Nothing depends on a clock, but when a request
//! is repeated.

mod allowance;
mod caller;
mod callers;
pub mod kv;
pub mod limits;
mod machine;
mod replica;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod words;

pub use caller::{Call, Caller, Event, Refused, Step};
pub use machine::{Applied, Machine, Ordered, Reply};
pub use replica::{Origin, Output, Replica};
pub use request::{Answer, Request, Stay};
pub use rules::Rules;
