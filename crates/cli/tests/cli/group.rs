//! Leaders and members together.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::process::{finish_with_input, run, text};
use super::world::{ANA, BEN, World};

#[test]
fn two_members_exchange_messages_also_with_one_leader_stopped() {
    let mut world = World::running(4);
    let status = run(&["status", text(&world.group()), "--json"]).json();
    assert_eq!((&status["answer"], &status["works"]), (&4.into(), &"all".into()));
    assert!(status["leaders"][0]["answered_in_ms"].as_f64().unwrap() > 0.0);

    let mut ben = world.listen(BEN, &["--count", "5"]);
    let said = world.send(ANA, &["hello", "there"]).succeeded();
    assert_eq!(said, "1 message sent to the group.\n");
    let message = ben.event("message");
    assert_eq!(
        (&message["from"], &message["text"], &message["topic"]),
        (&"ana".into(), &"hello there".into(), &"chat".into())
    );
    ben.next("ana's leave", |line| {
        line["event"] == "view" && line["left"][0]["user"] == "ana" && line["left"][0]["cause"] == "left"
    });

    ben.confirmed_by(4);
    world.stop(2);
    ben.next("leader 2's silence", |line| line["event"] == "leader" && line["leader"] == 2 && line["answers"] == false);
    let status = run(&["status", text(&world.group())]);
    assert!(status.out.contains("3 of 4 leaders answer: everything works."), "{status:?}");
    assert_eq!(status.status, 0);
    let said = finish_with_input(world.member("send", ANA, &["--topic", "notes", "--json", "-"]), "one\n\ntwo\n");
    assert_eq!(said.succeeded().lines().count(), 2);
    for text in ["one", "two"] {
        let message = ben.event("message");
        assert_eq!((&message["text"], &message["topic"]), (&text.into(), &"notes".into()));
    }

    world.send(ANA, &["--to", "ben", "secret"]).succeeded();
    assert_eq!(ben.event("message")["to"][0], "ben");
    world.send(ANA, &["--to", "eva", "secret"]).failed(24, &["eva is not in the current view"]);

    world.start(2);
    ben.next("leader 2's return", |line| line["event"] == "leader" && line["leader"] == 2 && line["answers"] == true);
    world.send(ANA, &["welcome back"]).succeeded();
    ben.event("message");
    assert_eq!(ben.event("left")["acknowledged"], true);
    assert_eq!(ben.finish(), 0);

    let leader = world.leader(1);
    leader.next("ben's admission", |line| line["event"] == "admitted" && line["user"] == "ben");
    leader.next("ben's leave", |line| line["event"] == "ended" && line["user"] == "ben" && line["cause"] == "left");
    (1..=4).for_each(|number| world.stop(number));
}

#[test]
fn the_wrong_are_kept_out() {
    let mut world = World::running(4);
    let refused = ["do not accept this name and password"];
    world.send((ANA.0, "wrong horse"), &["hi"]).failed(20, &refused);
    world.send(("zoe", "whatever it is"), &["hi"]).failed(20, &refused);
    let denied = |line: &serde_json::Value| line["event"] == "denied" && line["reason"] == "not-authentic";
    // A wrong password shows at the member, before the leader's last check; nobody is admitted.
    assert!(!world.leader(1).seen.iter().any(|line| line["event"] == "admitted" || denied(line)));

    let folder = world.leader_folder(1);
    run(&["leader", text(&folder)]).failed(15, &["in use by a running leader"]);
    world.stop(1);
    let taken = world.addresses[1].to_string();
    run(&["leader", text(&folder), "--listen", &taken]).failed(15, &["cannot listen at", "--listen"]);
    run(&["leader", text(&folder), "--listen", "nonsense"]).failed(2, &["give HOST:PORT"]);
}

#[test]
fn the_leaders_limits_are_told() {
    let mut world = World::new("members_max = 1\nlogin_attempts_per_minute = 2\n");
    (1..=4).for_each(|number| world.start(number));
    let _ben = world.listen(BEN, &[]);
    world.send(ANA, &["hi"]).failed(21, &["the leaders refuse: the group is full"]);
    // Two evaluations a minute from each leader.
    let throttled = (0..10).map(|_| world.send((ANA.0, "wrong horse"), &["hi"])).find(|said| said.status != 20);
    throttled.unwrap().failed(21, &["too many attempts for this user: wait a minute"]);
}

#[test]
fn a_shut_door_is_told() {
    let mut world = World::new("[[admission]]\nfrom_unix_s = 5\nlength_s = 60\n");
    (1..=4).for_each(|number| world.start(number));
    world.send(ANA, &["hi"]).failed(21, &["the leaders refuse: the group's policy lets nobody in at this time"]);
}

#[test]
fn a_stay_ends_after_the_time_that_policy_names() {
    let mut world = World::new("stay_s_max = 20\n");
    (1..=4).for_each(|number| world.start(number));
    let started = Instant::now();
    let mut ana = world.listen(ANA, &[]);
    thread::sleep(Duration::from_secs(8));
    let mut ben = world.listen(BEN, &[]);
    let went = ben.next("Ana's end", |line| line["event"] == "view" && line["left"][0]["user"] == "ana");
    assert_eq!(went["left"][0]["cause"], "expired");
    assert!(started.elapsed() > Duration::from_secs(19), "{:?}", started.elapsed());
    assert_eq!(ana.event("ended")["cause"], "expired");
    assert_eq!(ana.finish(), 24);
    world.send(ANA, &["here again"]).succeeded();
    assert_eq!(ben.event("message")["text"], "here again");
}

#[test]
fn too_few_leaders_are_told() {
    let world = World::running(1);
    world.send(ANA, &["--timeout", "2", "hi"]).failed(22, &["could not join within 2 s", "leader 4"]);
    run(&["status", text(&world.group())]).failed(22, &["only 1 of 4 leaders answer, and joining takes 3"]);
    let out = world.path("records");
    let group = world.group();
    let mut enrol = super::process::ringfort(&["enrol", text(&group), "--user", "eva", "--out", text(&out)]);
    enrol.env("RINGFORT_PASSWORD", "long enough");
    super::process::finish(enrol).succeeded();
    assert!(out.join("eva.leader-4.record").exists(), "enrolling asks no leader");
}

#[test]
fn leaders_of_another_group_are_noticed() {
    let mut others = World::new("");
    let world = World::new("");
    for number in 1..=3 {
        // They listen where this group's leaders should.
        let at = world.addresses[number - 1].to_string();
        let folder = others.leader_folder(number);
        others.start_at(number, &folder, &at);
    }
    world.send(ANA, &["--timeout", "2", "hi"]).failed(23, &["do not hold the keys in the group file"]);
    let status = run(&["status", text(&world.group())]);
    status.failed(23, &["somebody stands in for them"]);
    assert!(status.out.contains("it may be an impostor"), "{status:?}");
}

#[test]
fn another_version_is_noticed() {
    let world = World::new("");
    // Servers that know TLS, but none of the protocols offered.
    for address in world.addresses {
        let listener = TcpListener::bind(address).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello);
                let no_application_protocol = [0x15, 3, 3, 0, 2, 2, 120];
                let _ = stream.write_all(&no_application_protocol);
            }
        });
    }
    world.send(ANA, &["--timeout", "2", "hi"]).failed(16, &["another version", "install the version"]);
    run(&["status", text(&world.group())]).failed(16, &["another version"]);
}

#[test]
fn listening_ends_when_it_should() {
    let world = World::running(3);
    let said = super::process::finish(world.member("listen", BEN, &["--for", "1", "--count", "1"]));
    said.failed(1, &["time is up, and only 0 of 1 messages came"]);
    assert!(said.out.contains("-- joined; in the group: ben"), "{said:?}");
    let mut listener = world.listen(BEN, &[]);
    listener.event("confirmed");
    assert_eq!(listener.terminate(), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_listener() {
    let world = World::running(3);
    let mut command = world.member("listen", BEN, &["--json"]);
    let mut listener = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(listener.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    world.send(ANA, &["hi"]).succeeded();
    assert_eq!(super::process::wait(&mut listener), 0);
    let mut told = String::new();
    listener.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(!told.contains("panicked"), "{told}");
}

impl World {
    fn start_at(&mut self, number: usize, folder: &std::path::Path, address: &str) {
        let command = super::process::ringfort(&["leader", text(folder), "--json", "--listen", address]);
        let mut leader = super::process::Running::start(command);
        assert_eq!(leader.event("listening")["address"], address);
        self.keep(number, leader);
    }
}
