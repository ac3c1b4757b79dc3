//! Canaries: known secrets are searched for in all that leaves the processes that hold them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use memchr::memmem;

use super::process::{Running, eventually, finish, ringfort, run, text};
use super::world::{ANA, BEN, World};

/// What is said in the group.
const PLAINTEXT: &str = "the canary sings at a quarter to eleven";

/// A secret, and all spellings of it that somebody might let slip.
struct Canary {
    name: String,
    spellings: Vec<Vec<u8>>,
}

impl Canary {
    fn new(name: &str, bytes: &[u8]) -> Self {
        // Half a key is a leak, too; half a password may be a word like any other.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let parts = if bytes.len() >= 32 { vec![bytes, first, second] } else { vec![bytes] };
        let spell = |part: &[u8]| {
            let list = format!("{part:?}");
            vec![
                part.to_vec(),
                data_encoding::HEXLOWER.encode(part).into_bytes(),
                data_encoding::HEXUPPER.encode(part).into_bytes(),
                data_encoding::BASE64_NOPAD.encode(part).into_bytes(),
                data_encoding::BASE64URL_NOPAD.encode(part).into_bytes(),
                data_encoding::BASE32_NOPAD.encode(part).to_lowercase().into_bytes(),
                list.as_bytes()[1..list.len() - 1].to_vec(),
            ]
        };
        Canary { name: name.to_owned(), spellings: parts.into_iter().flat_map(spell).collect() }
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        self.spellings.iter().any(|needle| memmem::find(haystack, needle).is_some())
    }
}

/// The secrets in a file of `name = "hex"` lines.
fn secrets_in(path: &Path, names: &[&str]) -> Vec<Canary> {
    let content: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let secret = |name: &&str| {
        let bytes = data_encoding::HEXLOWER.decode(content[*name].as_str().unwrap().as_bytes()).unwrap();
        Canary::new(&format!("{name} of {}", path.display()), &bytes)
    };
    names.iter().map(secret).collect()
}

/// All bytes that pass between the tapped address and the true one.
fn tap(from: SocketAddr, to: SocketAddr, heard: &Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(from).unwrap();
    let heard = heard.clone();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(to) else { continue };
            pour(near.try_clone().unwrap(), far.try_clone().unwrap(), heard.clone());
            pour(far, near, heard.clone());
        }
    });
}

fn pour(mut from: TcpStream, mut to: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            heard.lock().unwrap().extend_from_slice(&bytes[..count]);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn no_secret_is_in_logs_or_output_or_stores_or_on_the_wire() {
    let mut world = World::new("");
    let wire = Arc::new(Mutex::new(Vec::new()));
    let behind: [SocketAddr; 4] = ringfort_loopback::addresses().unwrap();
    for number in 1..=4 {
        let listen = behind[number - 1];
        tap(world.addresses[number - 1], listen, &wire);
        let log = fs::File::create(world.path(&format!("leader-{number}.log"))).unwrap();
        let (folder, listen) = (world.leader_folder(number), listen.to_string());
        let mut command = ringfort(&["leader", text(&folder), "--json", "-vv", "--listen", &listen]);
        command.env("RUST_LOG", "trace");
        let mut leader = Running::start_logging(command, log);
        leader.event("listening");
        world.keep(number, leader);
    }

    // Logins by password and by key, a message to all, one to ben, a rekey, an expulsion, a refused login.
    let key = world.path("eva.key");
    run(&["key", "new", text(&key)]).succeeded();
    let (group, records) = (world.group(), world.path("records"));
    run(&["enrol", text(&group), "--user", "eva", "--key", text(&key), "--out", text(&records)]).succeeded();
    for number in [1, 2] {
        let record = world.path(&format!("records/eva.leader-{number}.record"));
        run(&["accept", text(&world.leader_folder(number)), text(&record)]).succeeded();
        run(&["refresh", text(&world.leader_folder(number))]).succeeded();
    }
    let mut outputs = Vec::new();
    let listener_log = world.path("ben.log");
    let mut listening = world.member("listen", BEN, &["--json", "--count", "3", "-vv"]);
    listening.env("RUST_LOG", "trace");
    let mut ben = Running::start_logging(listening, fs::File::create(&listener_log).unwrap());
    ben.event("joined");
    let say = |who, more: &[&str]| {
        let mut command = world.member("send", who, &[&["-vv", PLAINTEXT], more].concat());
        command.env("RUST_LOG", "trace");
        finish(command)
    };
    let by_key = ["--key", text(&key)];
    for (who, more) in [(ANA, &[][..]), (ANA, &["--to", "ben"]), (("eva", ""), &by_key)] {
        // The leaders look for new users twice a second.
        let said = eventually("the message", || Some(say(who, more)).filter(|said| said.status == 0));
        outputs.extend([said.out, said.err]);
    }
    for _ in 0..3 {
        assert_eq!(ben.event("message")["text"], PLAINTEXT);
    }
    assert_eq!(ben.finish(), 0);
    let refused = world.send((ANA.0, BEN.1), &["-vv", "hi"]);
    assert_ne!(refused.status, 0);
    outputs.extend([refused.out, refused.err]);
    (1..=4).for_each(|number| world.stop(number));

    let mut canaries = vec![
        Canary::new("ana's password", ANA.1.as_bytes()),
        Canary::new("ben's password", BEN.1.as_bytes()),
        Canary::new("the message", PLAINTEXT.as_bytes()),
    ];
    canaries.extend(secrets_in(&key, &["secret_key"]));
    for number in 1..=4 {
        let names = ["link", "signing", "sealing", "group_share", "coin_share"];
        canaries.extend(secrets_in(&world.leader_folder(number).join("leader.toml"), &names));
    }

    let mut haystacks = vec![("the wire".to_owned(), wire.lock().unwrap().clone())];
    haystacks.extend(outputs.into_iter().map(|text| ("a member's output".to_owned(), text.into_bytes())));
    for path in [world.group(), listener_log] {
        haystacks.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    for number in 1..=4 {
        let log = world.path(&format!("leader-{number}.log"));
        haystacks.push((log.display().to_string(), fs::read(&log).unwrap()));
        for entry in fs::read_dir(world.leader_folder(number).join("state")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("state.db") {
                haystacks.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    for (place, haystack) in &haystacks {
        for canary in &canaries {
            assert!(!canary.is_in(haystack), "{} is in {place}", canary.name);
        }
    }

    // The search finds what is there, and there was enough to search.
    let first = fs::read(world.leader_folder(1).join("leader.toml")).unwrap();
    let found = canaries.iter().filter(|canary| canary.is_in(&first)).count();
    assert_eq!(found, 5, "leader 1's own file holds its five secrets");
    assert!(canaries[0].is_in(&fs::read(world.path("users.toml")).unwrap()));
    assert!(haystacks[0].1.len() > 50_000, "{} bytes were tapped", haystacks[0].1.len());
    let logs = haystacks.iter().filter(|(place, bytes)| place.ends_with(".log") && bytes.len() > 100).count();
    assert_eq!(logs, 5, "all processes logged: {:?}", haystacks.iter().map(|h| (&h.0, h.1.len())).collect::<Vec<_>>());
}
