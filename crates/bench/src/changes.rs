//! Join, leave and rekey, end to end, for groups of some size in one process (B1, P3).

use std::time::Duration;

use crate::bed::{Bed, user};
use crate::floor::Floor;
use crate::row::{Options, Row, middle};

/// A claim as it is sealed for each member, about.
const CLAIM_BYTES: usize = 330;
/// Members whose work is sampled.
const SAMPLES: usize = 20;

/// What a change costs one member, the joiner and one leader, in a group of `members`.
pub fn measure(options: &Options, members: usize) -> Vec<Row> {
    let mut bed = Bed::new(members + 1);
    let names: Vec<_> = (0..members).map(user).collect();
    for name in &names {
        bed.connect(name);
    }
    bed.settle(|bed| bed.agree(&names));
    assert!(bed.agree(&names), "the group is built");

    let joiner = user(members);
    let mut everybody = names.clone();
    everybody.push(joiner.clone());
    let repeats = (options.repeats / 10).clamp(3, if members >= 1000 { 5 } else { 20 });
    let (mut join, mut leave, mut rekey) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..repeats {
        bed.reset();
        bed.connect(&joiner);
        bed.settle(|bed| bed.agree(&everybody));
        assert!(bed.agree(&everybody), "the joiner is in");
        join.take(&bed, &names);
        join.joiner.push(bed.member(&joiner));

        bed.reset();
        let epoch = names.first().map_or(0, |name| bed.epoch(name));
        bed.refresh();
        bed.settle(|bed| names.iter().all(|name| bed.epoch(name) > epoch));
        rekey.take(&bed, &names);

        bed.reset();
        bed.leave(&joiner);
        bed.settle(|bed| bed.agree(&names));
        assert!(bed.agree(&names), "the joiner is out");
        leave.take(&bed, &names);
    }

    let mut floor = Floor::new(options.repeats);
    let size = u32::try_from(members).unwrap_or(u32::MAX);
    let with_change = floor.member_rekey(2, 4, CLAIM_BYTES, 1);
    let without = floor.member_rekey(2, 4, CLAIM_BYTES, 0);
    let leader_floor = floor.share() + floor.seal(CLAIM_BYTES) * size;
    let row = |what: &str| format!("{members} members: {what}");
    vec![
        Row::time(row("join, a member's work"), middle(join.member.clone()), Some(with_change))
            .with_wire_bytes(join.bytes),
        Row::time(row("join, the joiner's work"), middle(join.joiner.iter().map(|j| j.0).collect()), None)
            .with_wire_bytes(join.joiner.first().map_or(0, |j| j.1)),
        Row::time(row("join, a leader's work"), middle(join.leader), None),
        Row::time(row("leave, a member's work"), middle(leave.member), Some(with_change)).with_wire_bytes(leave.bytes),
        Row::time(row("leave, a leader's work"), middle(leave.leader), None),
        Row::time(row("rekey, a member's work"), middle(rekey.member), Some(without)).with_wire_bytes(rekey.bytes),
        Row::time(row("rekey, a leader's work"), middle(rekey.leader), Some(leader_floor)),
    ]
}

#[derive(Default)]
struct Samples {
    member: Vec<Duration>,
    leader: Vec<Duration>,
    joiner: Vec<(Duration, usize)>,
    bytes: usize,
}

impl Samples {
    fn take(&mut self, bed: &Bed, names: &[ringfort_protocol::UserName]) {
        let step = (names.len() / SAMPLES).max(1);
        for name in names.iter().step_by(step) {
            let (spent, received) = bed.member(name);
            self.member.push(spent);
            self.bytes = received;
        }
        self.leader.push(bed.leader());
    }
}
