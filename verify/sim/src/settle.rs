//! How long a group takes to settle.

use std::time::Duration;

use crate::network::Wire;
use crate::setup::Setup;
use crate::strategy::Vice;
use crate::workload::Work;
use crate::world::{Happening, World};

/// The kinds of change that are measured.
const SHAPES: [&str; 3] = ["joins", "joins and leaves", "leaves and rejoins"];

/// The window in which all operations fall.
const WINDOW: Duration = Duration::from_secs(1);

/// Prints medians and 99th percentiles of the time from the last operation to one view and one key everywhere.
pub fn report(runs: u64, users: usize) {
    println!("{users} users, all operations within {} ms, links of 1 to 4 ms, {runs} runs each", WINDOW.as_millis());
    println!("{:>3} {:>2}  {:<12} {:<20} {:>9} {:>9} {:>9}", "n", "f", "hostile", "operations", "p50", "p99", "views");
    for (n, f) in [(4, 1), (7, 2)] {
        for vice in [Vice::Honest, Vice::Silent, Vice::Equivocate] {
            for shape in SHAPES {
                let measured: Vec<(Duration, usize)> =
                    (0..runs).map(|seed| measure(seed, n, f, vice, users, shape)).collect();
                let mut times: Vec<Duration> = measured.iter().map(|m| m.0).collect();
                times.sort();
                let views = measured.iter().map(|m| m.1).sum::<usize>() / measured.len().max(1);
                println!(
                    "{n:>3} {f:>2}  {:<12} {shape:<20} {:>6} ms {:>6} ms {views:>9}",
                    vice.name(),
                    at(&times, 50).as_millis(),
                    at(&times, 99).as_millis(),
                );
            }
        }
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// One run: the time from the last operation to the moment from which the group stays settled, and how many views
/// honest leaders went through.
pub fn measure(seed: u64, n: u8, f: u8, vice: Vice, users: usize, shape: &str) -> (Duration, usize) {
    let mut setup = Setup { users, faults: false, wire: Wire::Tls, ..Setup::with(seed, n, f, vice) };
    setup.policy.rekey_period_ms = 0;
    let mut world = World::new(setup);
    let half = if shape == "joins" { 0 } else { users / 2 };
    if half > 0 {
        (0..half).for_each(|user| join(&mut world, user, seed));
        world.run_for(WINDOW * 2);
        world.settle(Duration::from_secs(30));
    }
    let views_before = world.facts.published.len();
    for user in 0..half {
        world.schedule(moment(user, seed), Happening::Work(Work::Leave(user, shape == "leaves and rejoins")));
    }
    if shape != "leaves and rejoins" {
        (half..users).for_each(|user| join(&mut world, user, seed));
    }
    let start = world.now;
    let mut since = None;
    while world.now.since(start) < WINDOW + Duration::from_secs(60) {
        world.run_for(Duration::from_millis(5));
        let settled = world.is_settled() && world.now.since(start) > WINDOW;
        since = if settled { since.or(Some(world.now)) } else { None };
        if since.is_some_and(|at| world.now.since(at) > Duration::from_secs(1)) {
            break;
        }
    }
    let settled = since.map_or(Duration::MAX, |at| at.since(world.facts.last_operation));
    (settled, world.facts.published.len() - views_before)
}

fn join(world: &mut World, user: usize, seed: u64) {
    if let Some(person) = world.users.get_mut(user) {
        person.wants_in = true;
    }
    world.schedule(moment(user, seed), Happening::Work(Work::Return(user)));
}

/// When in the window a user acts.
fn moment(user: usize, seed: u64) -> Duration {
    let spread = u64::try_from(WINDOW.as_micros()).expect("a short window");
    Duration::from_micros(crate::dice::Dice::new(seed, &format!("moment {user}")).below(spread))
}
