//! Hostile load on real leaders, a short version: bounded memory, honest members that join and talk, attackers that are
//! named. How long things take is the command's to say, on a machine that has nothing else to do.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use ringfort_attack::load::{Flood, LoadArgs, Report, play};
use tokio::sync::Mutex;

/// One group at a time: each has the machine to itself.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn short(hacked_leader: u8, seconds: u64, kinds: &[Flood]) -> Report {
    let _alone = MACHINE.lock().await;
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ringfort-demo"));
    let args = LoadArgs { json: false, seconds, connections: 1_200, hacked_leader, kinds: kinds.to_vec() };
    let report = play(&args, program).await.unwrap();
    eprintln!("{report}");
    for case in &report.cases {
        assert!(case.complaints.is_empty(), "{report}");
        assert!(case.attempts > 0 || case.kind == "calm", "{case:?}");
        assert!(case.joins.count > 0 && case.messages.count > 0, "{case:?}");
    }
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_stay_within_their_bounds_and_the_honest_go_on() {
    let hacked: Vec<_> = Flood::ALL.into_iter().filter(|flood| !flood.hacks_a_leader()).collect();
    let report = short(1, 2, &hacked).await;
    assert_eq!(report.cases.len(), hacked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_floods_is_named_by_all_and_the_honest_go_on() {
    // A leader dials those with higher numbers: one that does, and one that is dialled.
    for (hacked, kinds) in [(1, &[Flood::LeaderFrames, Flood::LeaderLists][..]), (4, &[Flood::LeaderTorrent])] {
        // What links and queues may have held back is not held against a leader: 16 MB, which is some two seconds of it.
        let report = short(hacked, 4, kinds).await;
        for case in &report.cases {
            assert!(case.named.values().sum::<u64>() >= 3, "{case:?}");
        }
    }
}
