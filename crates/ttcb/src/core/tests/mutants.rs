//! Each rule is noticed when it is missing.

use super::super::ids::Index;
use super::super::rules::{Rule, Rules};
use super::world::{Weather, World};
use super::worlds::rough;

/// The weather in which a rule matters.
fn played(rule: Rule, seed: u64) -> World {
    let mut world = World::new(seed, rough(seed), Rules::without(rule));
    match rule {
        Rule::Majority => world.weather = Weather { cuts: true, stalls: (0, 0), crashes: 0, ..world.weather },
        Rule::Echo | Rule::Replay => {
            world.weather = Weather { components: world.weather.components, hostile_network: true, ..Weather::FAIR };
            return replayed(world, rule);
        }
        Rule::Adopt | Rule::Epoch | Rule::Seal | Rule::Deadline | Rule::OneProposal => {}
    }
    world.run();
    world
}

fn replayed(mut world: World, rule: Rule) -> World {
    world.run_for(900);
    let again = Index::new(1).unwrap();
    match rule {
        Rule::Echo => {
            world.end(again);
            world.run_for(400);
            world.restart(again);
            world.replay_start(again);
            world.run_for(600);
        }
        _ => {
            for place in (0..world.weather.components).filter(|place| *place != 1) {
                world.end(Index::new(place).unwrap());
            }
            world.run_for(1_200);
            world.replay_all(again);
            world.run_for(130);
            if world.status(again).timely {
                world.violation = Some("timely, though nobody else is there".to_owned());
            }
        }
    }
    world
}

#[test]
fn a_rule_that_is_missing_is_noticed() {
    // What is forgotten is a matter of schedules: `game` plays those.
    for rule in Rule::ALL.into_iter().filter(|rule| ![Rule::Adopt, Rule::Epoch].contains(rule)) {
        let found = (0..200).find_map(|seed| Some((seed, played(rule, seed).violation?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("nothing notices that {rule:?} is missing"));
        println!("{rule:?}, seed {seed}: {violation}");
    }
}
