//! A membership log that a real member keeps, read by somebody with the group file alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use ringfort::protocol::log::{Log, Verdict, verify};
use ringfort_documents::read_group;
use serde_json::Value;

use super::process::{Said, run, text};
use super::world::{ANA, BEN, World};

#[test]
fn an_auditor_tells_from_files_alone_who_could_read() {
    let mut world = World::running(4);
    let (log, group) = (world.path("ben.log"), world.group());
    let mut ben = world.listen(BEN, &["--count", "1", "--log", text(&log)]);
    world.send(ANA, &["hello"]).succeeded();
    ben.event("message");
    assert_eq!(ben.finish(), 0);
    // A second stay goes on in the same file.
    let mut ben = world.listen(BEN, &["--count", "1", "--log", text(&log)]);
    world.send(ANA, &["again"]).succeeded();
    ben.event("message");
    assert_eq!(ben.finish(), 0);
    // From here on no leader is needed.
    (1..=4).for_each(|number| world.stop(number));

    let read =
        |command: &str, more: &[&str]| -> Said { run(&[&["log", command, text(&group), text(&log)], more].concat()) };
    let sound = read("verify", &["--json"]).json();
    assert_eq!((&sound["user"], &sound["whole"]), (&"ben".into(), &true.into()));
    let shown = read("show", &["--json"]).succeeded();
    let lines = shown.lines().map(|line| serde_json::from_str(line).unwrap());
    let (ends, views): (Vec<Value>, Vec<Value>) = lines.partition(|line: &Value| line.get("ended").is_some());
    assert_eq!(sound["views"], views.len());
    assert_eq!(ends.iter().map(|end| &end["ended"]).collect::<Vec<_>>(), ["left", "left"]);
    let came = views.iter().find(|view| view["joined"][0] == "ana").unwrap();
    let at = (came["at_ms"].as_u64().unwrap() + 1).to_string();
    let who = read("who", &["--at", &at, "--json"]).json();
    assert_eq!((&who["readers"][0], &who["readers"][1]), (&"ana".into(), &"ben".into()));
    let eve = read("who", &["--at", &at, "--user", "eve"]).succeeded();
    assert!(eve.ends_with("eve could not read\n"), "{eve}");
    read("who", &["--at", "1000"]).failed(30, &["does not tell of 1970-01-01"]);

    let receipt = world.path("receipt");
    read("receipt", &["--at", &at, "--user", "ana", "--out", text(&receipt)]).succeeded();
    let told = run(&["log", "check-receipt", text(&group), text(&receipt), "--json"]).json();
    assert_eq!((&told["user"], &told["could_read"]), (&"ana".into(), &"yes".into()));
    run(&["verify-evidence", text(&group), text(&receipt)]).failed(11, &["no file of evidence"]);

    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    read("verify", &[]).failed(11, &["refused"]);
    read("who", &["--at", &at]).failed(11, &["refused"]);
}

/// Ana comes and goes while Ben keeps a log; the test notes when, by the clock that all share.
#[test]
fn an_auditor_is_right_about_every_moment_of_a_run() {
    let mut world = World::running(4);
    let (log, group) = (world.path("ben.log"), world.group());
    let mut ben = world.listen(BEN, &["--log", text(&log)]);
    let start = now_ms();
    // When Ana was out for sure, and when she was in for sure, as Ben was told.
    let (mut out, mut inside) = (Vec::new(), Vec::new());
    let mut gone = start;
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        out.push((gone, now_ms()));
        let ana = world.listen(ANA, &[]);
        ben.next("Ana's coming", |line| is_change(line, "joined"));
        let came = now_ms();
        thread::sleep(Duration::from_millis(300));
        inside.push((came, now_ms()));
        assert_eq!(ana.terminate(), 0);
        ben.next("Ana's going", |line| is_change(line, "left"));
        gone = now_ms();
    }
    out.push((gone, now_ms()));
    assert_eq!(ben.terminate(), 0);
    (1..=4).for_each(|number| world.stop(number));

    // The group file and the log, as an auditor gets them; no leader runs any more.
    let info = read_group(&group).unwrap();
    let bytes = fs::read(&log).unwrap();
    let read = Log::from_bytes(&bytes).unwrap();
    let audited = verify(&read, &info).unwrap();
    let ana = ANA.0.parse().unwrap();
    let (mut asked, mut unsure) = (0, 0);
    let mut ask = |spans: &[(u64, u64)], right: Verdict| {
        for at_ms in spans.iter().flat_map(|(from, to)| *from + 1..*to) {
            let verdict = audited.who(at_ms).unwrap_or_else(|| panic!("nothing is told of {at_ms}")).verdict(&ana);
            // Leaders publish a change one after the other: close to it the clocks leave both open.
            assert!(verdict == right || verdict == Verdict::Perhaps, "{verdict:?} at {at_ms}: {spans:?}");
            asked += 1;
            unsure += usize::from(verdict == Verdict::Perhaps);
        }
    };
    ask(&out, Verdict::CouldNot);
    ask(&inside, Verdict::Could);
    assert!(asked > 1_500 && unsure * 4 < asked, "{unsure} of {asked} moments are left open");
    assert!((start..gone).all(|at_ms| audited.who(at_ms).is_some()), "every moment is told of, the changes too");
    // One bit of each byte in turn.
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1 << (place % 8);
        let refused = Log::from_bytes(&altered).is_ok_and(|log| verify(&log, &info).is_ok());
        assert!(!refused, "byte {place} of {}", bytes.len());
    }
}

fn is_change(line: &Value, what: &str) -> bool {
    let names = line[what].as_array().into_iter().flatten();
    line["event"] == "view" && names.into_iter().any(|who| *who == "ana" || who["user"] == "ana")
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
