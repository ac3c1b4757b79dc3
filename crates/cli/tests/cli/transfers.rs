//! Files from terminal to terminal.

use super::process::{Running, eventually, finish, text};
use super::world::{ANA, BEN, World};

#[test]
fn a_file_goes_from_one_terminal_to_another_and_to_nobody_who_does_not_want_it() {
    let world = World::running(4);
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
    let (file, folder) = (world.path("plan.bin"), world.path("ben's files"));
    std::fs::write(&file, &content).unwrap();
    let send = |more: &[&str]| {
        let mut command = world.member("send-file", ANA, &[&[text(&file)], more].concat());
        command.env("HOME", world.path("home"));
        finish(command)
    };
    send(&["--to", "ben"]).failed(1, &["ben is not in the group"]);
    finish(world.member("send-file", ANA, &["/nowhere"])).failed(10, &["/nowhere"]);

    let more = ["--json", "--count", "1", "--folder", text(&folder)];
    let mut ben = Running::start(world.member("receive-files", BEN, &more));
    let said = eventually("ben's coming", || Some(send(&[])).filter(|said| said.status == 0)).succeeded();
    assert_eq!(said, "plan.bin: ben has it, and the hash is right.\n");
    let line = ben.next("the file", |line| line["event"] == "file" && line["state"] == "complete");
    assert_eq!((&line["from"], &line["bytes"]), (&"ana".into(), &3_000_000.into()));
    assert_eq!(ben.finish(), 0);
    assert!(std::fs::read(folder.join("plan.bin")).unwrap() == content);

    let more = ["--from", "eva", "--for", "20", "--json", "--folder", text(&folder)];
    let ben = Running::start(world.member("receive-files", BEN, &more));
    let declined = eventually("ben's coming again", || Some(send(&["--json"])).filter(|said| said.status == 0));
    assert!(declined.out.contains(r#""user":"ben","state":"declined""#), "{declined:?}");
    drop(ben);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "the file from before, and the folder of parts");
}

#[test]
fn whose_program_takes_no_files_is_not_waited_for_and_is_named() {
    let world = World::running(4);
    let file = world.path("plan.txt");
    std::fs::write(&file, "plan").unwrap();
    let mut ben = world.listen(BEN, &[]);
    let send = |more: &[&str]| {
        let mut command = world.member("send-file", ANA, &[&[text(&file)], more].concat());
        command.env("HOME", world.path("home"));
        finish(command)
    };
    send(&["--for", "2"]).failed(1, &["time is up", "ben lacks it"]);
    send(&[]).failed(1, &["nobody has the file", "the program of ben takes none"]);
    ben.next("ana's coming", |line| line["event"] == "view");
}
