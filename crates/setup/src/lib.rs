//! Setting up a group without a dealer: `n` machines make the keys together, and none ever holds what belongs to two (P1, P2).
//!
//! Every leader first makes its own keys and introduces itself ([`ringfort_protocol::introduction`]). Operators pass the
//! introductions to each other by any means; the set of them, with sizes and policy, are the [`Terms`], and their fingerprint
//! is what operators compare before they start. Then the machines run a [`Ceremony`]:
//!
//! | stage | everybody tells everybody | why |
//! |---|---|---|
//! | meeting | a *hello* with a fresh nonce; then, signed, which hellos it holds | all are here, and nothing said earlier counts |
//! | deal | commitments to two polynomials, proofs that it knows them, a key to be sealed to | FROST, round 1 |
//! | shares | one sealed share of each polynomial for everybody; what it saw of the deals | FROST, round 2 |
//! | result | *confirm*, with the group's id; or *complain*, with the key that opens what it got | all agree, or all see who is to blame |
//!
//! What is told is signed and passed on by everybody who gets it, so two different words of one leader meet, and together
//! they prove what it did. Sealed shares are passed on as well. A leader that got a bad share shows the key that opens it: the keys
//! of that ceremony are thrown away, so it gives nothing away, and everybody sees which share was bad, or that none was.
//!
//! It is an atomic commitment. Nobody has a usable folder before it holds the confirmations of all `n`, and whoever holds them
//! passes them on. A leader that has confirmed takes part in no other attempt with the same keys: started again, it says its
//! confirmation again and waits for those of the others. So whenever one honest leader has finished, every honest leader holds
//! the same result and can finish, too, and no later attempt can take that away. The price is the price of every atomic
//! commitment: where one withholds its confirmation, the others wait, until their operators give that attempt up together and
//! make new keys.
//!
//! Guarantees, with any number of dishonest participants and a network that delivers between honest ones in time:
//! - *agreement*: two honest leaders that finish hold shares of the same group;
//! - *secrecy*: the keys are unknown to any set of participants smaller than the threshold (as FROST's key generation; a
//!   participant that speaks last can bias the public key a little, but cannot learn the secret);
//! - *atomicity*: whenever one honest leader has finished, all that have kept their folders can;
//! - *accountability*: when honest leaders fail, they name somebody who deviated or was silent, and never each other.
//!
//! Not guaranteed: that it finishes while somebody deviates. It takes all `n`; repeat it without the one that was named.
//!
//! Architecture invariant: pure, as the protocol cores are. Time and randomness are arguments.

mod board;
mod ceremony;
mod dkg;
mod evidence;
mod message;
mod outcome;
pub mod renewal;
mod terms;
#[cfg(test)]
mod tests;

pub use ceremony::{ATTEMPTS_MAX, Ceremony, Effect, Event, Keys, Limits, Past, Step, Unconfirmed};
pub use evidence::Evidence;
pub use message::{Certificate, Confirmation, FRAME_BYTES_MAX, Reason};
pub use outcome::{Blame, Fault, Verdict};
pub use terms::{BadTerms, Terms};
