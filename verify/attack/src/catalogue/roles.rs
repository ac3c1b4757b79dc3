//! Attacks on roles.

use ringfort_protocol::rules::Rule;

use crate::scenario::Holds::{HackedLeaders, Insider};
use crate::scenario::{Scenario, Twin};

/// On roles.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "receiver-speaks",
        rows: &["L6"],
        source: "seed 003 §1.2; seed 000 §2.3",
        flaw: "Access rights of members are named, and nothing holds a member to them.",
        holds: &[Insider, HackedLeaders],
        attack: "A member that may only receive seals a message with the group's key, gives it to all leaders, and a hacked one relays it.",
        expected: "Honest leaders do not relay it and blame the member; nobody delivers it, and the hacked leader is blamed.",
        simulated: &["receiver-speaks"],
        real: &[],
        twins: &[
            Twin { play: "receiver-speaks", without: Rule::SenderRole, like: "Antigone and Enclaves 2.0" },
            Twin { play: "receiver-speaks", without: Rule::RelayRole, like: "Antigone and Enclaves 2.0" },
        ],
    },
    Scenario {
        name: "sender-reads",
        rows: &["L6"],
        source: "seed 003 §1.2; seed 000 §2.3",
        flaw: "Whoever is in the group holds its key, and can read.",
        holds: &[Insider, HackedLeaders],
        attack: "A member that may only send asks every leader for shares of this view's key and of the last one's, and a hacked leader gives its own.",
        expected: "Honest leaders give none and relay nothing to it: f shares make no key.",
        simulated: &["sender-reads"],
        real: &[],
        twins: &[
            Twin { play: "sender-reads", without: Rule::ShareToReadersOnly, like: "Antigone and Enclaves 2.0" },
            Twin { play: "sender-reads", without: Rule::RelayRole, like: "Antigone and Enclaves 2.0" },
        ],
    },
];
