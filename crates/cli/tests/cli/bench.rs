//! Measurements, so short that their figures say nothing: all of them are there.

use std::path::Path;

use serde_json::Value;

use super::process::{finish, ringfort, run};

fn rows(report: &Value) -> &Vec<Value> {
    report["rows"].as_array().unwrap()
}

/// Rows whose names have this in them; each has a figure.
#[track_caller]
fn figures<'a>(report: &'a Value, name: &str) -> Vec<&'a Value> {
    let found: Vec<_> = rows(report).iter().filter(|row| row["name"].as_str().unwrap().contains(name)).collect();
    assert!(found.iter().all(|row| row["value"].is_number()), "{name}: {report}");
    found
}

#[track_caller]
fn assert_positive(rows: &[&Value]) {
    assert!(rows.iter().all(|row| row["value"].as_f64() > Some(0.0)), "{rows:?}");
}

#[test]
fn the_order_is_measured_with_no_leader_faulty_and_with_one() {
    run(&["bench", "agreement", "--rates", "200,1000000000", "--json"]).failed_usage();
    let report = run(&["bench", "agreement", "--rates", "200", "--seconds", "1", "--json"]).json();
    for fault in ["no leader faulty", "one leader silent", "one leader late by 200 ms"] {
        let offered = figures(&report, &format!("{fault}, 200/s of 512 B: ordered"));
        assert_eq!(offered.len(), 1, "{report}");
        assert_positive(&offered);
        // A machine that is busy with other things may take more than a second for the first large blocks.
        assert_eq!(figures(&report, &format!("{fault}, as many as are taken: ordered")).len(), 1, "{report}");
    }
    for (name, count) in [("latency p50", 3), ("latency p99", 3), ("the leaders' CPU", 3)] {
        let found = figures(&report, name);
        assert_eq!(found.len(), count, "{name}: {report}");
        assert_positive(&found);
    }
    for name in ["signatures, made", "their hashes", "loopback TCP", "made durable", "nothing else"] {
        let beside = figures(&report, name);
        assert_eq!(beside.len(), 3, "{name}: {report}");
        assert!(beside.iter().all(|row| row["floor"].is_number()), "{report}");
    }
    for stage in ["read and hash", "check signatures", "sign own blocks", "graph, decision", "journal, frames"] {
        let spent = figures(&report, &format!("order: {stage}"));
        assert_eq!(spent.len(), 1, "{stage}: {report}");
        assert_positive(&spent);
    }
    assert!(rows(&report).iter().all(|row| row["name"] != "  not in the log after half a minute"), "{report}");
}

#[test]
fn the_store_is_measured_and_etcd_beside_it_if_it_is_there() {
    let bench = |path: Option<&str>| {
        let mut bench = ringfort(&["bench", "services", "--clients", "1,3", "--seconds", "1", "--json"]);
        if let Some(path) = path {
            bench.env("PATH", path);
        }
        finish(bench).json()
    };
    let report = bench(Some("/nonexistent"));
    for what in ["puts a second, 1 client", "puts a second, 3 clients", "reads a second, 3 clients"] {
        let found = figures(&report, what);
        assert_eq!(found.len(), 1, "{what}: {report}");
        assert_positive(&found);
    }
    assert_eq!(figures(&report, "latency p99").len(), 4, "{report}");
    let absent = rows(&report).iter().find(|row| row["name"] == "  etcd").unwrap();
    assert_eq!(absent["note"], "not installed");
    if Path::new("/usr/bin/etcd").exists() {
        let report = bench(None);
        for what in ["etcd: puts a second, 1 client", "etcd: reads a second, 3 clients"] {
            assert_eq!(figures(&report, what).len(), 1, "{what}: {report}");
        }
    }
}
