//! One run, from a setup to a verdict.

use std::time::Duration;

use crate::checkers::{self, End, Violation};
use crate::mutator::script::Tried;
use crate::setup::Setup;
use crate::workload;
use crate::world::World;

/// After settling, the time in which probes must have arrived: first at once, then behind what the fault phase lost.
const PROBE: Duration = Duration::from_secs(4);
const PROBE_MAX: Duration = Duration::from_secs(20);

/// The outcome of a run.
#[derive(Debug)]
pub struct Verdict {
    /// What went wrong, if anything.
    pub violations: Vec<Violation>,
    /// The digest of all that happened.
    pub digest: [u8; 32],
    /// Happenings.
    pub events: u64,
    /// From the last operation to one view and one key everywhere.
    pub settled: Option<Duration>,
    /// Messages sent, and delivered.
    pub messages: (u64, u64),
    /// What mutators did.
    pub tried: Vec<Tried>,
}

impl Verdict {
    /// Whether nothing went wrong.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Runs a setup: the fault phase, the stable phase, the settling and the probe.
pub fn run(setup: Setup) -> Verdict {
    let (length, operations, faults, patience) = (setup.fault_phase, setup.operations, setup.faults, setup.patience);
    let users = setup.users;
    let mut world = World::new(setup);
    world.network.hostile = faults;
    workload::plan(&mut world, operations + users, length);
    workload::plan_sessions(&mut world, length + Duration::from_secs(3));
    workload::plan_weather(&mut world);
    world.run_for(length);
    world.stabilise();
    workload::plan(&mut world, operations, Duration::from_secs(3));
    world.run_for(Duration::from_secs(3));
    finish(world, patience)
}

/// Whether something has neither arrived nor been told to be lost.
fn is_waiting(world: &World) -> bool {
    !checkers::delivery::missing(world).is_empty()
        || world.setup.tells_gaps && !checkers::gaps::untold(world).is_empty()
}

/// Lets a world settle, probes it and judges it.
pub fn finish(mut world: World, patience: Duration) -> Verdict {
    let settled = world.settle(patience);
    workload::hush(&mut world);
    if settled.is_some() {
        workload::probe(&mut world);
        let sent = world.now;
        while world.now.since(sent) < PROBE || world.now.since(sent) < PROBE_MAX && is_waiting(&world) {
            world.run_for(Duration::from_secs(1));
        }
    }
    let checkers = std::mem::take(&mut world.checkers);
    let violations = checkers.finish(&End { settled, world: &world });
    Verdict {
        violations,
        digest: world.trace.digest(),
        events: world.trace.events,
        settled,
        messages: (world.facts.sent.len() as u64, world.facts.delivered),
        tried: world.tried,
    }
}
