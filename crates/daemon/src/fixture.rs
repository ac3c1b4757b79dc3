//! A leader's reports, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort::protocol::coordination::Session;
use ringfort::protocol::leader::Figures;
use ringfort::protocol::{Epoch, LeaderId, ViewDigest, ViewId};
use ringfort_node::leader::{PeerReport, Report, Traffic};

use crate::state::Facts;

pub fn facts() -> Facts {
    Facts {
        leader: 1,
        leaders_needed: 2,
        leaders_other: vec![2, 3, 4],
        group: "garden".to_owned(),
        fingerprint: "ab cd".to_owned(),
        sandbox: "enforced".to_owned(),
        report_period: Duration::from_secs(60),
    }
}

pub fn report(peers: &[(u8, bool)]) -> Report {
    let peer = |(number, up): &(u8, bool)| {
        let id = LeaderId::new(*number).expect("a leader's number");
        (
            id,
            PeerReport {
                up: *up,
                heard: Duration::from_millis(1500),
                queued_bytes: 7,
                busy: Duration::from_millis(30),
            },
        )
    };
    Report {
        uptime: Duration::from_secs(60),
        core: Figures {
            view: ViewId { epoch: Epoch(12), digest: ViewDigest([0xab; 32]) },
            published: true,
            catching_up: false,
            session: Session::default(),
            session_asked: None,
            members: 5,
            registered: 9,
            links_member: 4,
            links_waiting: 1,
            member_quiet_longest: Duration::from_millis(2500),
            members_quiet: 1,
            history_frames: 10,
            history_bytes: 4000,
        },
        peers: peers.iter().map(peer).collect::<BTreeMap<_, _>>(),
        links: 5,
        queued_bytes: 300,
        queued_bytes_largest: 200,
        inputs_waiting: 3,
        inputs_bytes: 900,
        traffic: Traffic {
            member_frames_in: 100,
            commits: 8,
            commit_time: Duration::from_millis(40),
            ..Traffic::default()
        },
        store_bytes: 8192,
        order: None,
    }
}
