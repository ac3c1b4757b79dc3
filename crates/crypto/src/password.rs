//! The last step of a password login: a memory-hard function over the servers' joint answer.

use argon2::{Algorithm, Argon2, Params, Version};

use crate::kdf::derive;
use crate::secret::{Secret, Secret32};

/// What one hardening costs, for us and for a guesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
}

/// Costs outside 8 KiB..=4 GiB of memory or 1..=64 passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Argon2id cost out of range: {memory_kib} KiB, {passes} passes")]
pub struct CostError {
    memory_kib: u32,
    passes: u32,
}

impl Argon2Cost {
    /// Accepts 8 KiB to 4 GiB of memory and 1 to 64 passes; one lane.
    ///
    /// # Errors
    /// [`CostError`] outside these bounds: a cost may come from a file, and must not exhaust the machine.
    pub fn new(memory_kib: u32, passes: u32) -> Result<Self, CostError> {
        if !(8..=4 << 20).contains(&memory_kib) || !(1..=64).contains(&passes) {
            return Err(CostError { memory_kib, passes });
        }
        Ok(Self { memory_kib, passes })
    }

    /// Memory in KiB.
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub fn passes(self) -> u32 {
        self.passes
    }
}

/// 19 MiB and 2 passes, OWASP's recommendation: about 30 ms.
impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// Hardens the output of [`crate::oprf`] into a key; `context` names the user, the group and so on.
///
/// Source: Argon2id, version 0x13 (RFC 9106), salted with a digest of the context. The slowness matters only when
/// `threshold` leaders have been robbed; until then the OPRF alone stops offline guessing.
pub fn harden(oprf_output: &Secret<64>, context: &[&[u8]], cost: Argon2Cost) -> Secret32 {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).expect("Argon2Cost::new checked the bounds");
    let salt = crate::hash::digest("password hardening salt", context);
    let mut slow = Secret32::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(oprf_output.expose(), &salt, slow.expose_mut())
        .expect("lengths are constants within Argon2's bounds");
    derive(slow.expose(), "hardened password", context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_matters() {
        let small = Argon2Cost::new(64, 1).unwrap();
        let hard = |byte, context: &[&[u8]], cost| harden(&Secret::new([byte; 64]), context, cost);
        let first = hard(1, &[b"user", b"group"], small);
        assert_eq!(first, hard(1, &[b"user", b"group"], small));
        assert_ne!(first, hard(2, &[b"user", b"group"], small));
        assert_ne!(first, hard(1, &[b"userg", b"roup"], small));
        assert_ne!(first, hard(1, &[b"user", b"group"], Argon2Cost::new(64, 2).unwrap()));
        assert_ne!(first, hard(1, &[b"user", b"group"], Argon2Cost::new(128, 1).unwrap()));
    }

    #[test]
    fn costs_have_bounds() {
        for (memory_kib, passes) in [(7, 1), (0, 1), (64, 0), (64, 65), ((4 << 20) + 1, 1), (u32::MAX, u32::MAX)] {
            assert!(Argon2Cost::new(memory_kib, passes).is_err(), "{memory_kib} {passes}");
        }
        assert_eq!(Argon2Cost::new(19 * 1024, 2), Ok(Argon2Cost::default()));
    }
}
