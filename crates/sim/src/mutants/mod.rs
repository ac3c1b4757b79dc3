//! Does the suite notice? Every rule of [`Rule::ALL`] is weakened in the honest nodes, one at a time, and a
//! scenario that attacks it must report a violation; unmutated, the same scenario reports none.
//!
//! Scenarios are runs of the world under one strategy where that suffices, and directed attacks on a bench where
//! the attacker needs luck or a hole elsewhere. A directed attack gives the attacker what the rule protects
//! against, such as a carrier without TLS, and says so.

mod bench;
mod logins;
mod messages;
mod views;
mod votes;

use ringfort_protocol::rules::Rule;

use crate::network::Wire;
use crate::run::run;
use crate::setup::Setup;
use crate::strategy::Vice;

/// How a rule is attacked.
pub struct Attack {
    /// The rule.
    pub rule: Rule,
    /// The attack in a few words.
    pub how: &'static str,
    run: Box<dyn Fn(Option<Rule>) -> Vec<String> + Send + Sync>,
    /// Why nothing can show that the rule is missing: then the attack must fail even so.
    pub implied: Option<&'static str>,
}

impl Attack {
    fn directed(rule: Rule, how: &'static str, run: fn(Option<Rule>) -> Vec<String>) -> Attack {
        Attack { rule, how, run: Box::new(run), implied: None }
    }

    /// Runs of the world, until one reports something.
    fn world(rule: Rule, how: &'static str, vice: Vice, seeds: std::ops::Range<u64>) -> Attack {
        let run = move |mutation: Option<Rule>| {
            for seed in seeds.clone() {
                let setup = Setup { mutation, wire: Wire::Tls, key_threshold: 2, ..Setup::with(seed, 4, 1, vice) };
                let patience = std::time::Duration::from_secs(20);
                let verdict = run(Setup { patience, ..setup });
                if !verdict.is_good() {
                    return verdict.violations.iter().map(ToString::to_string).collect();
                }
            }
            Vec::new()
        };
        Attack { rule, how, run: Box::new(run), implied: None }
    }

    /// Whether the outcome is as it should be, and what was reported.
    pub fn judge(&self) -> (bool, Vec<String>, Vec<String>) {
        let (mutated, unmutated) = (self.mutated(), self.unmutated());
        let noticed = mutated.is_empty() == self.implied.is_some();
        (noticed && unmutated.is_empty(), mutated, unmutated)
    }

    /// What the suite reports with the rule weakened.
    pub fn mutated(&self) -> Vec<String> {
        (self.run)(Some(self.rule))
    }

    /// What it reports with the rule in force.
    pub fn unmutated(&self) -> Vec<String> {
        (self.run)(None)
    }
}

/// All attacks: at least one for each rule.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::world(Rule::Amplify, "hostile leaders invent joins", Vice::InventJoins, 0..4),
        Attack::directed(Rule::Accept, "a hostile vote for one honest leader only", votes::accept),
        Attack {
            implied: Some("f+1 proposals make a leader propose before n-f can make it accept"),
            ..Attack::directed(Rule::AcceptOwn, "votes of all others at a leader that has not voted", votes::accept_own)
        },
        Attack::world(Rule::CatchUp, "hostile leaders say they have accepted", Vice::InventJoins, 0..4),
        Attack::world(Rule::Confirm, "hostile leaders say that the stay has ended", Vice::ForgeEnds, 0..4),
        Attack::directed(Rule::ProposalSignature, "forged votes on leaders' links without TLS", votes::signature),
        Attack::directed(Rule::ProposalSession, "an old session's votes on leaders' links without TLS", votes::session),
        Attack::directed(Rule::Incarnation, "a login and its votes replayed after the stay", votes::incarnation),
        Attack::directed(Rule::Exporter, "a login carried over to another link", logins::exporter),
        Attack::directed(Rule::LoginNonce, "a login replayed on a link with the same exporter", logins::nonce),
        Attack::directed(Rule::LoginThrottle, "a thousand guesses at a password", logins::throttle),
        Attack::directed(Rule::Possession, "a login with somebody else's session keys", logins::possession),
        Attack::directed(Rule::SealedReplay, "an old notice repeated by the network", messages::sealed_replay),
        Attack::world(Rule::DataReplay, "hostile relays repeat old frames", Vice::ReplayRelay, 0..6),
        Attack::directed(Rule::HeartbeatNonce, "answers held back and let through one by one", views::heartbeat),
        Attack::world(Rule::ShareProof, "hostile leaders give bad shares", Vice::BadShares, 0..4),
        Attack::world(Rule::ViewDigest, "hostile leaders give false content", Vice::FalseContent, 0..6),
        Attack::directed(Rule::EpochForward, "a late leader and a hostile one claim the view before", views::backward),
        Attack::directed(
            Rule::Tombstone,
            "a late leader and a hostile one bring back an expelled user",
            views::tombstone,
        ),
        Attack::directed(Rule::ShareToMembersOnly, "an expelled user asks on for shares", views::shares),
        Attack::directed(Rule::ClaimForward, "the network lets an old claim arrive last", views::claim_forward),
        Attack::directed(Rule::OriginSignature, "a member speaks in another's name", messages::origin),
        Attack::directed(
            Rule::RelaySender,
            "a member sends another's name through honest leaders",
            messages::relay_sender,
        ),
        Attack::directed(Rule::OverlapEnds, "a message held back until its view is over", messages::overlap),
    ]
}

/// Prints who noticed what; true if every mutant was caught and no unmutated attack was.
pub fn report() -> bool {
    let mut good = true;
    for attack in attacks() {
        let (fine, mutated, unmutated) = attack.judge();
        good &= fine;
        let noticed = mutated.first().map_or(attack.implied.unwrap_or("nobody noticed"), |first| first.as_str());
        let verdict = match (fine, attack.implied) {
            (true, None) => "caught",
            (true, Some(_)) => "implied",
            (false, _) => "MISSED",
        };
        println!("{verdict:<7} {:<20} {}", format!("{:?}", attack.rule), attack.how);
        println!("       {:<20} -> {}", "", noticed.chars().take(160).collect::<String>());
        for wrong in unmutated {
            println!("       unmutated: {wrong}");
        }
    }
    good
}
