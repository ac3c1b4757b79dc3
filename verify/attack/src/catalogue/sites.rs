//! Attacks on sites: on the ring between them, and by programs at their doors.

use crate::rows::Shown;
use crate::scenario::Holds::{Network, OldTraffic, Stranger};
use crate::scenario::Scenario;

/// On sites. They are played against real processes here, and in simulators of their own ([`ELSEWHERE`]).
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ring-datagrams",
        rows: &["gap-ring"],
        source: "seed 004 §2, §5",
        flaw: "Daemons trust what comes by datagram: whoever can send one can misorder, replay, split or stop a ring.",
        holds: &[Network, OldTraffic],
        attack: "What went between sites comes again as it was, altered, cut short, at another site and in the other direction; noise comes too.",
        expected: "Each is refused, no ring ends, and every honest message is delivered once, in one order.",
        simulated: &[],
        real: &["ring-datagrams"],
        twins: &[],
    },
    Scenario {
        name: "ring-wrong-key",
        rows: &["gap-site-key"],
        source: "seed 004 §2, §5",
        flaw: "A machine with a daemon's name and address is taken for it, or all daemons share one key.",
        holds: &[Network],
        attack: "A machine with the name, the address and the network file of a site, and another key, runs in its place.",
        expected: "It is in no ring with anybody, the others' ring stands, and whoever calls is told which key is wrong.",
        simulated: &[],
        real: &["ring-wrong-key"],
        twins: &[],
    },
    Scenario {
        name: "client-garbage",
        rows: &["gap-client-bytes"],
        source: "seed 004 §2",
        flaw: "A program that says what no program should crashes its daemon, or keeps others out.",
        holds: &[Stranger],
        attack: "Every message that a client may not send, sizes that cannot be, noise, hellos byte by byte, and hundreds of connections that say nothing.",
        expected: "Each such session ends, what is a little too large comes back, a slow hello is let in, and nobody else notices.",
        simulated: &[],
        real: &["client-garbage"],
        twins: &[],
    },
];

/// Where scenarios of sites are played without processes: which test, in which file.
pub const ELSEWHERE: &[(&str, &[Shown])] = &[
    (
        "ring-datagrams",
        &[
            Shown {
                file: "verify/peer-sim/tests/ring/pitfalls.rs",
                text: "fn a_network_that_loses_doubles_and_reorders_ends_no_ring",
            },
            Shown {
                file: "crates/site/src/channel.rs",
                text: "fn no_bit_can_be_changed_and_an_altered_copy_uses_up_no_number",
            },
        ],
    ),
    (
        "ring-wrong-key",
        &[Shown { file: "crates/site/src/channel.rs", text: "fn a_datagram_is_taken_once_by_the_other_end_alone" }],
    ),
    (
        "client-garbage",
        &[
            Shown {
                file: "crates/spread/tests/session.rs",
                text: "fn what_clients_may_send_and_what_ends_the_session",
            },
            Shown { file: "crates/spread/tests/session.rs", text: "fn garbage_ends_a_session_and_nothing_else" },
        ],
    ),
];

/// Where a scenario is played without processes, if not on the simulated stage.
pub fn elsewhere(scenario: &str) -> &'static [Shown] {
    ELSEWHERE.iter().find(|(name, _)| *name == scenario).map_or(&[], |(_, shown)| shown)
}
