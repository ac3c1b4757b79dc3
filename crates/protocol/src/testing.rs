//! What the tests of several components build on.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::data::Identity;
use crate::group::{GroupInfo, LeaderSecrets, deal_group};
use crate::ids::{Incarnation, LeaderId, UserName};
use crate::policy::Policy;
use crate::rules::Rules;
use crate::view::MemberEntry;

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

/// The default policy with the cheapest password hashing there is.
pub(crate) fn quick_policy() -> Policy {
    Policy { argon2_memory_kib: 8, argon2_passes: 1, ..Policy::default() }
}

/// `n` leaders of which `f` may be hacked; the key takes `key_threshold` shares.
pub(crate) fn group_of(n: u8, f: u8, key_threshold: u8, policy: Policy) -> (GroupInfo, Vec<LeaderSecrets>) {
    let addresses: Vec<String> = (1..=n).map(|i| format!("leader-{i}.example:4000")).collect();
    let rules = Rules::new(n, f, key_threshold).unwrap();
    deal_group("test", rules, &addresses, policy, &mut rng(u64::from(n)))
}

/// The usual group: 4 leaders, 1 may be hacked.
pub(crate) fn group_of_four() -> (GroupInfo, Vec<LeaderSecrets>) {
    group_of(4, 1, 2, quick_policy())
}

/// The keys of a stay, the same each time they are asked for.
pub(crate) fn identity(name: &str, incarnation: u64) -> Identity {
    let seed = name.bytes().fold(incarnation, |sum, byte| sum.wrapping_mul(257).wrapping_add(u64::from(byte)));
    Identity::generate(user(name), Incarnation(incarnation), &mut rng(seed))
}

pub(crate) fn entry(name: &str, incarnation: u64) -> MemberEntry {
    identity(name, incarnation).entry()
}
