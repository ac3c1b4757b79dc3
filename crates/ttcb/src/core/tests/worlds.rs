//! What holds in every weather.

use super::super::agreements::AGREEMENTS_OF_COMPONENT_MAX;
use super::super::ids::Index;
use super::super::rules::Rules;
use super::world::{Weather, World};

/// Seeds of each kind of weather, unless `TTCB_SEEDS` says otherwise.
const SEEDS: u64 = 12;

fn seeds() -> u64 {
    number("TTCB_SEEDS").unwrap_or(SEEDS)
}

/// The first of them, to play one again.
fn first() -> u64 {
    number("TTCB_FIRST").unwrap_or_default()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Weather that has something of everything, by seed.
pub fn rough(seed: u64) -> Weather {
    Weather {
        components: 3 + (seed % 5) as usize,
        lost: [0, 50, 200, 400][(seed / 5 % 4) as usize],
        delay_us: [800, 5_000, 30_000][(seed / 20 % 3) as usize],
        stalls: (5, [30_000, 200_000, 900_000][(seed % 3) as usize]),
        crashes: 2,
        cuts: seed.is_multiple_of(2),
        hostile_network: true,
        hostile_entities: true,
        millis: 2_500,
    }
}

#[test]
fn in_fair_weather_everything_is_decided_in_time() {
    for seed in 0..seeds() {
        let mut world =
            World::new(seed, Weather { components: 3 + (seed % 5) as usize, ..Weather::FAIR }, Rules::default());
        world.run();
        assert_eq!(world.violation, None, "seed {seed}");
        assert!(world.decided >= 4 * world.weather.components, "seed {seed}: only {} decisions", world.decided);
        assert_eq!((world.in_time, world.timing_failures), (world.decided, 0), "seed {seed}");
    }
}

#[test]
fn whatever_the_network_and_local_processes_do_nobody_is_told_wrong() {
    let (mut decided, mut late, mut failures) = (0, 0, 0);
    for seed in first()..first() + 4 * seeds() {
        let mut world = World::new(seed, rough(seed), Rules::default());
        world.run();
        assert_eq!(world.violation, None, "TTCB_FIRST={seed} replays it");
        decided += world.decided;
        late += world.decided - world.in_time;
        failures += world.timing_failures;
    }
    assert!(
        first() > 0 || decided > 100 && late > 10 && failures > 10,
        "vacuous: {decided} decided, {late} late, {failures} failures"
    );
}

#[test]
fn a_component_that_sleeps_says_that_it_was_late_and_is_timely_again_afterwards() {
    for (seed, sleep_us) in (0..seeds()).zip([10_000, 60_000, 1_000_000, 300_000].into_iter().cycle()) {
        let mut world = World::new(seed, Weather::FAIR, Rules::default());
        let sleeper = Index::new(1).unwrap();
        world.run_for(800);
        assert!(world.status(sleeper).timely, "seed {seed}");
        world.sleep(sleeper, sleep_us);
        world.run_for(sleep_us / 1000 + 2);
        assert_eq!(world.status(sleeper).timely, sleep_us < 50_000, "seed {seed}: after {sleep_us} us");
        world.run_for(400);
        assert!(world.status(sleeper).timely, "seed {seed}");
        assert_eq!(world.status(Index::new(0).unwrap()).gaps, 0, "the others did not sleep");
        assert_eq!(world.violation, None, "seed {seed}");
    }
}

#[test]
fn a_component_whose_others_are_gone_says_that_it_is_not_timely_and_its_clock_not_synchronised() {
    let mut world = World::new(5, Weather { hostile_network: true, ..Weather::FAIR }, Rules::default());
    world.run_for(600);
    let [one, others @ ..] = [0, 1, 2, 3].map(|place| Index::new(place).unwrap());
    assert!(world.status(one).timely);
    others.iter().for_each(|other| world.end(*other));
    world.replay_all(one);
    world.run_for(2_600);
    let status = world.status(one);
    assert!(!status.timely, "old frames stand in for nobody");
    assert_eq!((status.heard.count(), status.error_us), (1, None));
    assert_eq!(world.violation, None);
}

#[test]
fn old_frames_tell_a_component_that_was_started_again_nothing() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather { hostile_network: true, ..Weather::FAIR }, Rules::default());
        world.run_for(900);
        let again = Index::new(2).unwrap();
        world.end(again);
        world.run_for(400);
        world.restart(again);
        world.replay_start(again);
        world.run_for(600);
        assert_eq!(world.violation, None, "seed {seed}");
        let status = world.status(again);
        assert_eq!((status.heard.count(), status.error_us), (1, None), "seed {seed}: it hears nobody");
        assert!(!status.timely && status.refused > 50, "seed {seed}: {status:?}");
    }
}

#[test]
fn a_hacked_component_fills_no_more_than_its_room_moves_no_clock_and_leaves_nothing_behind() {
    for seed in 0..seeds().min(6) {
        let components = 4 + (seed % 3) as usize;
        let mut world = World::new(seed, Weather { components, ..Weather::FAIR }, Rules::default());
        let all: Vec<Index> = (0..components).filter_map(Index::new).collect();
        world.run_for(600);
        (world.quiet, world.weather.hostile_entities) = (true, false);
        let hacked = all[components - 1];
        world.hack(hacked, 1_500);
        for index in &all[..components - 1] {
            let open = world.open_agreements(*index);
            assert!(open > 0 && open <= AGREEMENTS_OF_COMPONENT_MAX * components, "seed {seed}: {open} are open");
            let status = world.status(*index);
            assert!(status.timely && status.error_us.is_some(), "seed {seed}: {status:?}");
            assert!(status.heard.has(hacked), "vacuous: it is not heard");
        }
        assert_eq!(world.violation, None, "seed {seed}");
        // It is put right, and what it opened is over.
        world.restart(hacked);
        world.run_for(8_500);
        world.quiet = false;
        let before = world.decided;
        world.run_for(2_500);
        assert_eq!(world.violation, None, "seed {seed}");
        assert!(world.decided >= before + 4 * components && world.timing_failures == 0, "seed {seed}");
    }
}
