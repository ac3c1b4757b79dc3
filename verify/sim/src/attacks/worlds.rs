//! Runs of the whole world under one strategy: chance decides the order, checkers judge every property.

use std::time::Duration;

use ringfort_protocol::rules::Rule;

use super::Attack;
use crate::explore::{Ended, Stage, kept};
use crate::network::Wire;
use crate::run::run;
use crate::setup::Setup;
use crate::strategy::Vice;

/// Attacks by chance.
pub const ALL: &[Attack] = &[
    Attack::new(
        "world-invented-joins",
        "hostile leaders invent joins",
        &[Rule::Amplify, Rule::CatchUp],
        invented_joins,
    ),
    Attack::new("world-forged-ends", "hostile leaders say that the stay has ended", &[Rule::Confirm], forged_ends),
    Attack::new("world-replaying-relays", "hostile relays repeat old frames", &[Rule::DataReplay], replaying_relays),
    Attack::new("world-bad-shares", "hostile leaders give bad shares", &[Rule::ShareProof], bad_shares),
    Attack::new("world-false-content", "hostile leaders give false content", &[Rule::ViewDigest], false_content),
    Attack::new("world-bare-wires", "nothing protects the wires: the network does anything to them", &[], bare_wires),
    Attack::new("world-everything", "hostile leaders change their vice every second", &[], everything),
];

fn invented_joins(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::InventJoins, Wire::Tls, 4)
}

fn forged_ends(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::ForgeEnds, Wire::Tls, 4)
}

fn replaying_relays(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::ReplayRelay, Wire::Tls, 6)
}

fn bad_shares(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::BadShares, Wire::Tls, 4)
}

fn false_content(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::FalseContent, Wire::Tls, 6)
}

fn bare_wires(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::Honest, Wire::Raw, 4)
}

fn everything(stage: &mut Stage) -> Result<String, Ended> {
    worlds(stage, Vice::Everything, Wire::Raw, 4)
}

/// Runs of the world from the stage's seed on, until one reports something.
fn worlds(stage: &mut Stage, vice: Vice, wire: Wire, runs: u64) -> Result<String, Ended> {
    let (mut events, mut delivered) = (0, 0);
    // The stage's usual seed stands for the seeds from zero on.
    for seed in (0..runs).map(|run| run + stage.seed().saturating_sub(7) * 1000) {
        let setup = Setup { mutation: stage.rule(), wire, key_threshold: 2, ..Setup::with(seed, 4, 1, vice) };
        let verdict = run(Setup { patience: Duration::from_secs(20), ..setup });
        let violations: Vec<String> = verdict.violations.iter().map(ToString::to_string).collect();
        kept(violations.is_empty(), format!("world {seed}: {}", violations.join("; ")))?;
        events += verdict.events;
        delivered += verdict.messages.1;
    }
    Ok(format!("{runs} worlds, {events} events, {delivered} deliveries, no property violated"))
}
