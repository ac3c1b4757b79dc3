//! Attacks on setting up a group without a dealer.

use ringfort_protocol::rules::Rule;

use crate::scenario::Holds::{HackedLeaders, OldTraffic};
use crate::scenario::{Scenario, Twin};

/// On setups. `crates/setup` plays more of them in a world of its own.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "half-finished-setup",
        rows: &["gap-half-setup"],
        source: "seed 002 §3.3",
        flaw: "The dealer is trusted; machines that make the keys themselves have to end together, which is an atomic commitment.",
        holds: &[HackedLeaders],
        attack: "A participant withholds its confirmation and, once some were started again, shows one other that all have confirmed.",
        expected: "Whoever has confirmed waits for that, so the others finish with the one that was shown it, and with the same group.",
        simulated: &["half-finished-setup"],
        real: &[],
        twins: &[Twin {
            play: "half-finished-setup",
            without: Rule::ConfirmedOnce,
            like: "a key generation that starts anew with the same keys when somebody is silent",
        }],
    },
    Scenario {
        name: "old-start-of-a-setup",
        rows: &["gap-old-start"],
        source: "seed 002 §3.3",
        flaw: "Machines that make the keys themselves say who kept them from it; old words must not make them name each other.",
        holds: &[HackedLeaders, OldTraffic],
        attack: "A participant passes on the start of one that is not there yet, from an earlier try.",
        expected: "It opens nothing: all wait for the one itself, nobody honest is named, and all finish together.",
        simulated: &["old-start-of-a-setup"],
        real: &[],
        twins: &[Twin {
            play: "old-start-of-a-setup",
            without: Rule::AllReady,
            like: "a key generation that begins when it holds a word of everybody",
        }],
    },
];
