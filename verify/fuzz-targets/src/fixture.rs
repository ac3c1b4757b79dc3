//! The group that all targets know: dealt once, the same in every process.

use std::sync::{Arc, OnceLock};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::{LeaderSecrets, deal_group};
use ringfort_protocol::login::{Certificate, EnrolmentRecord, enrol_key, enrol_password};
use ringfort_protocol::view::SessionVerifyingKey;
use ringfort_protocol::{GroupInfo, LeaderId, Policy, Rules, UserName};

/// The end of the fixture's certificate.
pub const EXPIRES_UNIX_S: u64 = 4_000_000_000;

/// A moment before it.
pub const UNIX_S: u64 = 1_800_000_000;

/// Four leaders, one of whom may be hacked, and what belongs to them.
pub struct Fixture {
    /// The public document.
    pub group: Arc<GroupInfo>,
    /// The leaders' secrets, in order.
    pub secrets: Vec<LeaderSecrets>,
    /// A certificate of the policy's authority for the user `cat`.
    pub certificate: Certificate,
    /// Enrolment records of the users `ana` (a key) and `pia` (a password) for every leader.
    pub records: Vec<EnrolmentRecord>,
}

/// The fixture.
pub fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let mut rng = rng(1);
        let authority = key_of("authority");
        // Long periods: who is silent stays, and no key is renewed, unless the input asks for it.
        let policy = Policy {
            argon2_memory_kib: 8,
            argon2_passes: 1,
            rekey_period_ms: 0,
            remove_silent_after_ms: 86_400_000,
            members_max: 64,
            message_bytes_max: 4096,
            history_frames_max: 64,
            history_bytes_max: 256 * 1024,
            authorities: vec![authority.verifying_key().to_bytes()],
            ..Policy::default()
        };
        let addresses: Vec<String> = (1..=4).map(|i| format!("leader-{i}.example:4000")).collect();
        let rules = Rules::new(4, 1, 2).expect("four leaders tolerate one hacked");
        let (group, secrets) = deal_group("fuzz", rules, &addresses, policy, &mut rng);
        let key = SessionVerifyingKey(key_of("cat").verifying_key());
        let certificate = Certificate::issue(&group, 0, &authority, user("cat"), key, EXPIRES_UNIX_S);
        let mut records = enrol_key(&group, &user("ana"), &key_of("ana").verifying_key(), &mut rng).records;
        let pia = enrol_password(&group, &user("pia"), b"correct horse", &mut rng);
        records.extend(pia.expect("a password hashes to a point").records);
        Fixture { group: Arc::new(group), secrets, certificate, records }
    })
}

/// A stream of chance that `seed` names.
pub fn rng(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

/// The long-term key of whoever logs in with one.
pub fn key_of(name: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_secret(&Secret32::new(seed))
}

/// A user's name.
pub fn user(name: &str) -> UserName {
    name.parse().expect("a name")
}

/// A leader's number.
pub fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).expect("a leader's number")
}

/// A copy of a leader's secrets.
pub fn copy_secrets(secrets: &LeaderSecrets) -> LeaderSecrets {
    LeaderSecrets {
        id: secrets.id,
        link: secrets.link.clone(),
        signing: secrets.signing.clone(),
        sealing: secrets.sealing.clone(),
        group_share: secrets.group_share.clone(),
        coin_share: secrets.coin_share.clone(),
    }
}
