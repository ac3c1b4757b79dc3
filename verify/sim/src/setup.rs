//! What a run is made of, all of it drawn from one seed.

use std::sync::Arc;
use std::time::Duration;

use ringfort_protocol::group::{GroupInfo, LeaderSecrets, deal_group};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::{Policy, Rules};

use crate::dice::Dice;
use crate::mutator::script::Script;
use crate::network::{Weather, Wire};
use crate::strategy::Vice;

/// The parameters of one run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Everything random follows from it.
    pub seed: u64,
    /// Leaders.
    pub n: u8,
    /// Hostile ones.
    pub f: u8,
    /// Shares that make a key.
    pub key_threshold: u8,
    /// What the hostile leaders do.
    pub vice: Vice,
    /// What links are.
    pub wire: Wire,
    /// Users that come and go.
    pub users: usize,
    /// Operations of users and operators in the fault phase, and again in the stable one.
    pub operations: usize,
    /// Whether the fault phase has faults.
    pub faults: bool,
    /// How long the fault phase lasts.
    pub fault_phase: Duration,
    /// After the last operation, the time within which the group must have settled.
    pub patience: Duration,
    /// The rules of the group.
    pub policy: Policy,
    /// A rule that honest nodes do not keep, to see whether anybody notices.
    pub mutation: Option<Rule>,
    /// Whether events are printed.
    pub verbose: bool,
    /// What mutators may do.
    pub script: Script,
    /// Whether one of the users is in the attacker's hands.
    pub hacked_member: bool,
    /// Whether a message that neither comes nor is told to be lost is a violation.
    pub tells_gaps: bool,
    /// What the network does besides.
    pub weather: Weather,
    /// How many times slower than in short runs everything goes that people do.
    pub pace: u32,
}

/// The policy of runs: short periods, so that much happens in little time.
pub fn policy() -> Policy {
    Policy {
        heartbeat_ms: 200,
        confirm_within_ms: 1_000,
        overlap_ms: 2_000,
        rekey_period_ms: 3_000,
        remove_silent_after_ms: 3_000,
        members_max: 128,
        message_bytes_max: 4096,
        history_frames_max: 512,
        history_bytes_max: 1024 * 1024,
        login_attempts_per_minute: 240,
        argon2_memory_kib: 8,
        argon2_passes: 1,
        ..Policy::default()
    }
}

impl Setup {
    /// The run that `seed` stands for: sizes, faults and strategy are drawn from it.
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "setup");
        let (n, f) = *dice.pick(&[(4, 1), (4, 1), (4, 1), (7, 2), (5, 1)]).expect("a fixed list");
        let vice = *dice.pick(&Vice::ALL).expect("a fixed list");
        Setup::with(seed, n, f, vice)
    }

    /// The same with chosen sizes and strategy.
    pub fn with(seed: u64, n: u8, f: u8, vice: Vice) -> Self {
        let mut dice = Dice::new(seed, "setup detail");
        let key_threshold = f + 1 + u8::try_from(dice.below(u64::from(n - 2 * f))).expect("below n");
        let wire = if dice.chance(300) { Wire::Raw } else { Wire::Tls };
        let mut policy = policy();
        policy.origin = if dice.chance(800) { policy.origin } else { ringfort_protocol::policy::Origin::Group };
        Setup {
            seed,
            n,
            f,
            key_threshold,
            vice,
            wire,
            users: 3 + dice.index(6),
            operations: 6 + dice.index(14),
            faults: dice.chance(850),
            fault_phase: dice.between_ms(3_000, 7_000),
            patience: Duration::from_secs(40),
            policy,
            mutation: None,
            verbose: false,
            script: Script::Chance,
            hacked_member: false,
            tells_gaps: true,
            weather: Weather::default(),
            pace: 1,
        }
    }

    /// A run whose hostile leaders' every message is up to chance, and perhaps a member's.
    pub fn mutated(seed: u64, n: u8) -> Self {
        let setup = Setup::with(seed, n, n.saturating_sub(1) / 3, Vice::Mutate);
        let mut dice = Dice::new(seed, "weather");
        let weather = Weather {
            stalls_per_100k: *dice.pick(&[0, 0, 30, 200]).expect("a fixed list"),
            stall_max_ms: *dice.pick(&[2_000, 5_000]).expect("a fixed list"),
            favours_hostile: dice.chance(500),
            reset_every_ms: *dice.pick(&[0, 300, 1_000, 4_000]).expect("a fixed list"),
            outage_every_ms: 0,
        };
        Setup { wire: Wire::Tls, hacked_member: dice.chance(400), weather, ..setup }
    }

    /// A mutated run of hours: outages of a minute to an hour that do not overlap, members that sleep, frames that are
    /// minutes under way.
    pub fn long(seed: u64, n: u8, hours: u64) -> Self {
        let setup = Setup::mutated(seed, n);
        let mut dice = Dice::new(seed, "long weather");
        let weather = Weather {
            stalls_per_100k: *dice.pick(&[0, 10, 50]).expect("a fixed list"),
            stall_max_ms: *dice.pick(&[20_000, 100_000, 300_000]).expect("a fixed list"),
            reset_every_ms: *dice.pick(&[0, 60_000, 600_000]).expect("a fixed list"),
            outage_every_ms: 15 * 60_000,
            ..setup.weather
        };
        let policy = Policy {
            heartbeat_ms: 5_000,
            confirm_within_ms: 20_000,
            overlap_ms: 10_000,
            rekey_period_ms: 10 * 60_000,
            remove_silent_after_ms: 60_000,
            ..setup.policy
        };
        Setup { weather, policy, fault_phase: Duration::from_secs(hours * 3600), pace: 200, users: 4, ..setup }
    }

    /// A run without any fault, for a start.
    pub fn calm(seed: u64, n: u8, f: u8) -> Self {
        Setup { faults: false, wire: Wire::Tls, ..Setup::with(seed, n, f, Vice::Honest) }
    }

    /// Deals the group's keys.
    pub fn deal(&self) -> (Arc<GroupInfo>, Vec<LeaderSecrets>) {
        let rules = Rules::new(self.n, self.f, self.key_threshold).expect("a setup's sizes make a group");
        let addresses: Vec<String> = (1..=self.n).map(|i| format!("leader-{i}:1")).collect();
        let mut dice = Dice::new(self.seed, "deal");
        let (info, secrets) = deal_group("sim", rules, &addresses, self.policy.clone(), &mut dice.0);
        let info = match self.mutation {
            Some(rule) => info.mutated_for_testing_only(rule),
            None => info,
        };
        (Arc::new(info), secrets)
    }
}

/// A copy of a leader's secrets: the hostile share theirs.
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
