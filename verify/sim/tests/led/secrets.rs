//! Canaries without TLS: known secrets are searched for in every frame between the cores, in what the cores report,
//! and in `Debug`.

#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use ringfort_protocol::UserName;
use ringfort_protocol::leader::Command;
use ringfort_protocol::login::{Registration, enrol_password};
use ringfort_protocol::member::Secret;
use ringfort_protocol::policy::Service;
use ringfort_sim::bench::Bench;

const SAID: &[u8] = b"the canary sings at a quarter to eleven";
const PASSWORD: &[u8] = b"the canary's own password";
const WHISPERED: &[u8] = b"the canary whispers behind the mill";

struct Canary {
    name: String,
    spellings: Vec<Vec<u8>>,
}

impl Canary {
    fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']).to_owned();
        Canary { name: name.into(), spellings: vec![bytes.to_vec(), hex.into_bytes(), list.into_bytes()] }
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        self.spellings.iter().any(|needle| haystack.windows(needle.len()).any(|window| window == needle))
    }
}

/// A group lives: logins, messages, a private one, a rekey, an expulsion. All secrets of it, and the bench.
fn lived() -> (Vec<Canary>, Bench) {
    let mut bench = Bench::new(11, None, |_| {});
    let mut canaries = vec![Canary::new("what was said", SAID), Canary::new("what was whispered", WHISPERED)];
    let keys = ["ana", "ben", "eva"].map(|name| (name, bench.register(name)));
    for (name, key) in &keys {
        canaries.push(Canary::new(format!("{name}'s key"), key.to_secret().expose()));
        bench.join(name, key);
    }
    join_by_password(&mut bench, &mut canaries);
    let group_key = |bench: &Bench| Canary::new(format!("the key of {:?}", bench.view(0)), &bench.key(0).unwrap());
    canaries.push(group_key(&bench));
    assert!(bench.say(0, Service::Fifo, SAID) && bench.whisper(0, &["ben"], WHISPERED));
    bench.pass(500);
    bench.refresh();
    bench.pass(1_000);
    canaries.push(group_key(&bench));
    bench.expel("eva");
    bench.pass(1_000);
    canaries.push(group_key(&bench));
    for secrets in &bench.secrets {
        let all = [
            ("link", secrets.link.clone()),
            ("signing", secrets.signing.to_secret()),
            ("sealing", secrets.sealing.to_secret()),
            ("group share", secrets.group_share.to_secret()),
            ("coin share", secrets.coin_share.to_secret()),
        ];
        canaries.extend(all.map(|(what, secret)| Canary::new(format!("{what} of {}", secrets.id), secret.expose())));
    }
    (canaries, bench)
}

/// Pia is enrolled by password and joins: what her leaders store of her are secrets too.
fn join_by_password(bench: &mut Bench, canaries: &mut Vec<Canary>) {
    let pia: UserName = "pia".parse().unwrap();
    let records = enrol_password(&bench.group, &pia, PASSWORD, &mut bench.dice.0).unwrap().records;
    for record in records {
        let registration = record.open(&bench.group, bench.secrets_of(record.leader)).unwrap();
        let Registration::Password(stored) = registration else { panic!("a password") };
        canaries.push(Canary::new(format!("pia's key at {}", record.leader), stored.key().expose()));
        let share = stored.share().to_secret();
        canaries.push(Canary::new(format!("pia's login share at {}", record.leader), share.expose()));
        bench.command(record.leader, Command::Enrol(record));
    }
    canaries.push(Canary::new("pia's password", PASSWORD));
    let seat = bench.sit_with("pia", Secret::Password(PASSWORD.to_vec().into()), &[1, 2, 3, 4]);
    bench.pass(700);
    assert!(bench.view(seat).is_some(), "pia is in");
}

#[test]
fn no_frame_and_no_report_holds_a_secret() {
    let (canaries, bench) = lived();
    assert_eq!(bench.times_heard(1, SAID), 1);
    assert_eq!((bench.times_heard(1, WHISPERED), bench.times_heard(2, WHISPERED)), (1, 0));
    assert!(bench.passed.len() > 100, "{} frames", bench.passed.len());
    for (route, frame) in &bench.passed {
        for canary in &canaries {
            assert!(!canary.is_in(frame), "{} is in a frame on {route:?}", canary.name);
        }
    }
    let reported = format!("{:?}", bench.events).into_bytes();
    let debugged = format!("{:?} {:?}", bench.secrets, bench.group).into_bytes();
    for (place, text) in [("what leaders reported", &reported), ("Debug of secrets and group", &debugged)] {
        assert!(text.len() > 500, "{place}: {} bytes", text.len());
        for canary in &canaries {
            assert!(!canary.is_in(text), "{} is in {place}", canary.name);
        }
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let (canaries, bench) = lived();
    let key = bench.key(0).unwrap();
    let all = canaries.iter().filter(|c| c.is_in(&[&[0], &key[..], &[1]].concat())).count();
    assert_eq!(all, 1, "the last key of the group, as bytes");
    let shown = format!("{:?}", Bytes::copy_from_slice(SAID)).into_bytes();
    assert!(canaries.iter().any(|c| c.is_in(&shown)), "a message in Debug");
    let listed = format!("{key:?} {}", key.map(|b| format!("{b:02x}")).concat()).into_bytes();
    assert!(canaries.iter().any(|c| c.is_in(&listed)));
}

#[test]
fn a_password_is_in_no_debug() {
    let secret = Secret::Password(zeroize::Zeroizing::new(b"correct horse".to_vec()));
    assert_eq!(format!("{secret:?}"), "Secret(redacted)");
}
