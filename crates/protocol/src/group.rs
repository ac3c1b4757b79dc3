//! What everybody knows of a group, and what each leader alone knows (seed 002 §3.4, P2).

use std::sync::Arc;

use ringfort_crypto::CryptoRng;
use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::{SigningKey, VerifyingKey};
use ringfort_crypto::threshold::{KeyRole, PublicKeySet, SecretShare, deal};

use crate::codec::encode;
use crate::ids::{GroupId, LeaderId, SessionId, SessionNumber};
use crate::introduction::{Introduction, SignedFacts, is_signed};
use crate::policy::Policy;
use crate::rules::Rules;
use crate::succession::Certified;

/// One leader, as everybody knows it.
#[derive(Clone, Debug)]
pub struct LeaderInfo {
    /// Where it listens: `host:port`.
    pub address: String,
    /// The raw public key of its links (Ed25519).
    pub link_key: [u8; 32],
    /// Verifies its proposals.
    pub signing_key: VerifyingKey,
    /// Enrolment records are sealed to it.
    pub sealing_key: KemPublic,
}

/// The public document of a group: the same for leaders and members.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// A name for people.
    pub name: String,
    /// Random, drawn at setup.
    pub nonce: [u8; 32],
    /// Sizes and quorums.
    pub rules: Rules,
    /// Leader `i` at `i - 1`.
    pub leaders: Vec<LeaderInfo>,
    /// Verification keys `g_i` of the group key.
    pub group_keys: PublicKeySet,
    /// Verification keys of the common coin, for later use.
    pub coin_keys: PublicKeySet,
    /// The rules of the group.
    pub policy: Policy,
    /// What each leader's operator said of it, in order; none where a dealer set the group up.
    introductions: Vec<SignedFacts>,
    id: GroupId,
    /// What made this generation, and the one it follows; none for the group as it was set up.
    pub(crate) succeeded: Option<(Arc<Certified>, Arc<GroupInfo>)>,
}

/// What one leader alone holds. Never leaves its folder.
#[derive(Clone)]
pub struct LeaderSecrets {
    /// Whose.
    pub id: LeaderId,
    /// Seed of the link key (Ed25519).
    pub link: Secret32,
    /// Signs proposals.
    pub signing: SigningKey,
    /// Opens enrolment records.
    pub sealing: KemSecret,
    /// Share `x_i` of the group key.
    pub group_share: SecretShare,
    /// Share of the common coin.
    pub coin_share: SecretShare,
}

impl std::fmt::Debug for LeaderSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeaderSecrets({}, redacted)", self.id)
    }
}

impl GroupInfo {
    /// Puts the parts together and computes the group's id.
    pub fn new(
        name: String,
        nonce: [u8; 32],
        rules: Rules,
        leaders: Vec<LeaderInfo>,
        [group_keys, coin_keys]: [PublicKeySet; 2],
        policy: Policy,
    ) -> Self {
        let mut info = GroupInfo {
            name,
            nonce,
            rules,
            leaders,
            group_keys,
            coin_keys,
            policy,
            introductions: Vec::new(),
            id: GroupId([0; 32]),
            succeeded: None,
        };
        info.id = info.compute_id();
        info
    }

    /// The same group with what its leaders said of themselves. The id covers it.
    ///
    /// `None` unless there is one for each leader, and each is signed by its leader.
    pub fn with_introductions(mut self, introductions: Vec<SignedFacts>) -> Option<Self> {
        let mut signed = self.rules.leaders().zip(&self.leaders).zip(&introductions);
        let all_signed = signed.all(|((id, info), signed)| is_signed(&self.name, id, info, signed));
        drop(signed);
        if introductions.len() != self.leaders.len() || !all_signed {
            return None;
        }
        self.introductions = introductions;
        self.id = self.compute_id();
        Some(self)
    }

    /// Puts a newcomer in its place. What its operator says of it counts where leaders say something of themselves.
    pub(crate) fn put_in_place(&mut self, newcomer: &Introduction) -> Option<()> {
        let place = usize::from(newcomer.leader.number()) - 1;
        *self.leaders.get_mut(place)? = newcomer.info.clone();
        if let Some(said) = self.introductions.get_mut(place) {
            *said = newcomer.signed.clone();
        }
        Some(())
    }

    /// What each leader's operator said of it, in order; empty where a dealer set the group up.
    pub fn introductions(&self) -> &[SignedFacts] {
        &self.introductions
    }

    /// The digest of the whole document: two readers with the same id read the same keys, addresses and policy.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// The id as people compare it: groups of four characters.
    pub fn fingerprint(&self) -> String {
        let hex: Vec<String> = self.id.0.iter().take(16).map(|b| format!("{b:02x}")).collect();
        hex.chunks(2).map(|pair| pair.concat()).collect::<Vec<_>>().join("-")
    }

    /// The first session. What outlives sessions, such as leaders' votes and logins, names this one.
    pub fn session(&self) -> SessionId {
        self.session_of(SessionNumber::FIRST)
    }

    /// A session by its number. Its views and their keys are bound to it.
    pub fn session_of(&self, number: SessionNumber) -> SessionId {
        SessionId(digest("ringfort session", &[&self.id.0, &number.get().to_be_bytes()]))
    }

    /// What everybody knows of a leader.
    pub fn leader(&self, id: LeaderId) -> Option<&LeaderInfo> {
        self.leaders.get(usize::from(id.number()) - 1)
    }

    /// The same group with one rule weakened, for the mutant corpus.
    #[cfg(feature = "mutants")]
    pub fn mutated_for_testing_only(&self, rule: crate::rules::Rule) -> Self {
        GroupInfo { rules: self.rules.mutated_for_testing_only(rule), ..self.clone() }
    }

    fn compute_id(&self) -> GroupId {
        let leaders: Vec<_> = self
            .leaders
            .iter()
            .map(|l| (&l.address, l.link_key, l.signing_key.to_bytes(), l.sealing_key.to_bytes()))
            .collect();
        let keys = [&self.group_keys, &self.coin_keys].map(|k| (k.threshold(), k.to_bytes()));
        let sizes = [self.rules.n(), self.rules.f()];
        let introductions: Vec<_> =
            self.introductions.iter().map(|i| (i.facts.clone(), i.signature.to_bytes())).collect();
        let (leaders, keys, policy) = (encode(&leaders), encode(&keys), self.policy.to_bytes());
        let introductions = encode(&introductions);
        let mut parts: Vec<&[u8]> = vec![self.name.as_bytes(), &self.nonce, &sizes, &leaders, &keys, &policy];
        // Groups from before introductions keep their id.
        if !self.introductions.is_empty() {
            parts.push(&introductions);
        }
        GroupId(digest("ringfort group", &parts))
    }
}

/// Deals the keys of a group: what an offline dealer does once (B3, P1, P2).
///
/// The two threshold keys are independent (P1). The caller stores each [`LeaderSecrets`] for its
/// leader alone and forgets it. Assumes an honest dealer and a sound `rng`.
pub fn deal_group(
    name: &str,
    rules: Rules,
    addresses: &[String],
    policy: Policy,
    rng: &mut dyn CryptoRng,
) -> (GroupInfo, Vec<LeaderSecrets>) {
    let n = u16::from(rules.n());
    let sizes = "Rules hold 1 <= threshold <= n";
    let threshold = u16::try_from(rules.key_threshold()).expect(sizes);
    let coin_threshold = u16::try_from(rules.coin_threshold()).expect(sizes);
    let (group_keys, group_shares) = deal(KeyRole::GroupKey, n, threshold, rng).expect(sizes);
    let (coin_keys, coin_shares) = deal(KeyRole::Coin, n, coin_threshold, rng).expect(sizes);

    let mut secrets = Vec::new();
    let mut leaders = Vec::new();
    let shares = group_shares.into_iter().zip(coin_shares);
    for ((id, address), (group_share, coin_share)) in rules.leaders().zip(addresses).zip(shares) {
        let link = Secret32::random(rng);
        let signing = SigningKey::generate(rng);
        let sealing = KemSecret::generate(rng);
        leaders.push(LeaderInfo {
            address: address.clone(),
            link_key: SigningKey::from_secret(&link).verifying_key().to_bytes(),
            signing_key: signing.verifying_key(),
            sealing_key: sealing.public(),
        });
        secrets.push(LeaderSecrets { id, link, signing, sealing, group_share, coin_share });
    }
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    let info = GroupInfo::new(name.to_owned(), nonce, rules, leaders, [group_keys, coin_keys], policy);
    (info, secrets)
}
