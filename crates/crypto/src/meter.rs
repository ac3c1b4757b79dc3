//! What the costly operations of this thread have cost, in declared nanoseconds: for simulations only.
//!
//! Declared, not measured, so that a run counts the same wherever it is played. The figures are of the order of
//! those that `cargo bench -p ringfort-crypto` shows.

/// One verification of a signature.
pub(crate) const VERIFY_NS: u64 = 45_000;
/// One signature.
pub(crate) const SIGN_NS: u64 = 20_000;
/// One verification key read: a point is decompressed and looked at.
pub(crate) const READ_KEY_NS: u64 = 10_000;
/// One hash to the group.
pub(crate) const HASH_TO_GROUP_NS: u64 = 25_000;
/// One multiplication in the group.
pub(crate) const MULTIPLY_NS: u64 = 50_000;

#[cfg(feature = "meter")]
thread_local! {
    static SPENT_NS: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// Counts a cost, in builds that do.
#[cfg(feature = "meter")]
pub(crate) fn charge(cost_ns: u64) {
    SPENT_NS.with(|spent| spent.set(spent.get().saturating_add(cost_ns)));
}

/// Counts a cost, in builds that do.
#[cfg(not(feature = "meter"))]
pub(crate) fn charge(_cost_ns: u64) {}

/// What this thread has spent since the last call, in declared nanoseconds.
#[cfg(feature = "meter")]
pub fn take_ns() -> u64 {
    SPENT_NS.with(|spent| spent.replace(0))
}

#[cfg(all(test, feature = "meter"))]
mod tests {
    use super::*;
    use crate::set_hash::SetHash;
    use crate::sign::SigningKey;
    use crate::testing::rng;

    #[test]
    fn what_is_costly_is_counted_once_and_what_is_cheap_is_not() {
        take_ns();
        let key = SigningKey::generate(&mut rng(1));
        assert_eq!(take_ns(), 0);
        let signature = key.sign("meter", &[b"once"]);
        assert_eq!(take_ns(), SIGN_NS);
        assert!(key.verifying_key().verify("meter", &[b"once"], &signature).is_ok());
        assert!(key.verifying_key().verify("meter", &[b"twice"], &signature).is_err());
        assert_eq!(take_ns(), 2 * VERIFY_NS, "what does not hold costs the same");
        SetHash::element(b"one");
        assert_eq!(take_ns(), HASH_TO_GROUP_NS);
    }
}
