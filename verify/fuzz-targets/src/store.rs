//! A leader's memory on disk: the SQLite file, its rows, and the leader that starts from them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use ringfort_node::store::{Store, row_sum};
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::coordination::{LifeRecord, Operation, Subject};
use ringfort_protocol::data::Identity;
use ringfort_protocol::leader::{Leader, Record};
use ringfort_protocol::login::Attempts;
use ringfort_protocol::time::Cx;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{GroupId, Incarnation, MemberId, Time};
use rusqlite::{Connection, params};

use crate::fixture::{UNIX_S, copy_secrets, fixture, rng, user};
use crate::meter::bounded;
use crate::wire::canonical;

/// What the input does to a sound store before it is opened.
#[derive(Arbitrary, Debug)]
enum Damage<'a> {
    /// One byte of the file is another.
    Byte(u16, u8),
    /// The file ends early.
    Cut(u16),
    /// A row of accepted state.
    Life(&'a str, &'a [u8]),
    /// A true record under some subject, with its numbers changed.
    Renumbered(u8, u64, Option<u64>, bool),
    /// A row of a registration.
    Registration(&'a str, &'a [u8]),
}

/// Opens and loads a damaged store; what loads is what was stored, and a leader starts from it.
pub fn store(data: &[u8]) {
    if let Some((0, body)) = data.split_first().map(|(kind, body)| (kind % 4, body)) {
        canonical::<LifeRecord>(body);
        return;
    }
    let mut input = Unstructured::new(data.get(1..).unwrap_or_default());
    let damage: Vec<Damage<'_>> =
        input.arbitrary_iter().map(|all| all.flatten().take(16).collect()).unwrap_or_default();
    let path = place();
    lay_out(&path, &damage);
    let group = fixture().group.id();
    bounded("a damaged store", 16 * 1024 * 1024, || {
        let Ok(store) = Store::open(&path, group, None) else { return };
        let Ok(records) = store.load() else { return };
        drop(store);
        persists_the_same(&path, group, &records);
        starts(records);
    });
    remove(&path);
}

/// What was loaded is stored again, and loads as the same.
fn persists_the_same(path: &Path, group: GroupId, records: &[Record]) {
    let Ok(mut store) = Store::open(path, group, None) else { return };
    if store.persist(&records.iter().collect::<Vec<_>>()).is_ok()
        && let Ok(again) = store.load()
    {
        let bytes = |records: &[Record]| records.iter().map(encoded).collect::<Vec<_>>();
        assert_eq!(bytes(&again), bytes(records), "what was stored is what loads");
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    match record {
        Record::Life(life) => encode(life),
        Record::Registration(name, registration) => [name.as_bytes(), &registration.to_bytes()].concat(),
        Record::Attempts(attempts) => [attempts.user.as_bytes(), &encode(&attempts.left)].concat(),
        Record::CatchingUp(is) => encode(is),
    }
}

/// A leader that starts from whatever its disk holds does its work.
fn starts(records: Vec<Record>) {
    let fixture = fixture();
    let lives: Vec<LifeRecord> = records.iter().filter_map(life).cloned().collect();
    let mut chance = rng(2);
    let mut cx = Cx { now: Time::ZERO, unix_ms: UNIX_S * 1000, rng: &mut chance };
    let secrets = copy_secrets(&fixture.secrets[0]);
    let mut leader = Leader::new(&mut cx, fixture.group.clone(), secrets, records);
    for record in &lives {
        if let (Some(Operation::Join(entry)), Some(name)) = (&record.accepted, record.subject.user()) {
            let member = leader.session().admits(entry.id.incarnation).then_some(entry);
            assert_eq!(
                leader.members().get(name),
                member,
                "a member is under its own name, if its session is not over"
            );
        }
    }
    assert!(leader.members().len() <= lives.len());
    let at = leader.next_wakeup().expect("a leader always has something to do");
    let step = leader.on_wakeup(&mut Cx { now: at, unix_ms: UNIX_S * 1000, rng: &mut chance });
    assert!(step.effects.len() < 10_000);
    assert!(leader.next_wakeup() > Some(at), "waking up is some use");
}

fn life(record: &Record) -> Option<&LifeRecord> {
    match record {
        Record::Life(life) => Some(life),
        Record::Registration(..) | Record::Attempts(_) | Record::CatchingUp(_) => None,
    }
}

/// One file for this process; on a memory file system where there is one.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("ringfort-fuzz-{}.db", std::process::id()))
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
}

/// A sound store of a leader with a member, one who left, one who was expelled and two registrations.
fn sound() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = place().with_extension("sound");
        remove(&path);
        let mut store = Store::create(&path, fixture().group.id(), None).expect("a new store");
        store.persist(&records().iter().collect::<Vec<_>>()).expect("records can be stored");
        drop(store);
        let bytes = fs::read(&path).expect("the store is a file");
        remove(&path);
        bytes
    })
}

/// What the sound store holds.
pub fn records() -> Vec<Record> {
    let stay = |name: &str| MemberId { user: user(name), incarnation: Incarnation(1) };
    let entry = Identity::generate(user("ana"), Incarnation(2), &mut rng(3)).entry();
    let operations = [
        Operation::Join(entry),
        Operation::Remove(stay("bo"), Cause::Left),
        Operation::Remove(stay("eve"), Cause::Expelled),
        Operation::Refresh(7),
    ];
    let mut records: Vec<Record> = operations
        .into_iter()
        .map(|operation| {
            let expelled = matches!(operation, Operation::Remove(_, Cause::Expelled));
            let votes = match &operation {
                Operation::Join(entry) => vec![Operation::Remove(entry.id.clone(), Cause::Lost)],
                Operation::Remove(..) | Operation::Refresh(_) | Operation::Session(_) => Vec::new(),
            };
            Record::Life(LifeRecord { barred: expelled, unwanted: expelled, votes, ..LifeRecord::of(operation) })
        })
        .collect();
    let (group, secrets) = (&fixture().group, &fixture().secrets[0]);
    let enrolled = fixture().records.iter().filter_map(|record| {
        let registration = record.open(group, secrets).ok()?;
        Some(Record::Registration(record.user.clone(), registration))
    });
    records.extend(enrolled);
    records.push(Record::Attempts(Attempts { user: user("pia"), left: Some(3) }));
    records
}

fn lay_out(path: &Path, damage: &[Damage<'_>]) {
    let mut bytes = sound().to_vec();
    for part in damage {
        match part {
            Damage::Byte(at, value) => {
                let at = usize::from(*at) % bytes.len().max(1);
                bytes.iter_mut().skip(at).take(1).for_each(|b| *b = *value);
            }
            Damage::Cut(at) => bytes.truncate(usize::from(*at)),
            Damage::Life(..) | Damage::Renumbered(..) | Damage::Registration(..) => {}
        }
    }
    remove(path);
    fs::write(path, &bytes).expect("the place can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    let rows = |part: &&Damage<'_>| !matches!(part, Damage::Byte(..) | Damage::Cut(_));
    if damage.iter().any(|part| rows(&part)) {
        // A file that the bytes have spoilt takes no rows.
        let Ok(connection) = Connection::open(path) else { return };
        for part in damage.iter().filter(rows) {
            let _ = insert(&connection, part);
        }
    }
}

fn insert(connection: &Connection, part: &Damage<'_>) -> rusqlite::Result<usize> {
    // With the digest that the row would have: what is in it is looked at, not refused at the door.
    let put = |table: &str, key: &str, value: &[u8]| {
        let row = params![key, value, row_sum(table, key, value)];
        connection.execute(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2, ?3)"), row)
    };
    match part {
        Damage::Life(subject, record) => put("life", subject, record),
        Damage::Registration(name, secret) => put("registration", name, secret),
        Damage::Renumbered(which, rank, incarnation, other_name) => {
            let all = records();
            let Some(mut life) = all.iter().filter_map(life).nth(usize::from(*which) % 4).cloned() else {
                return Ok(0);
            };
            let to = incarnation.unwrap_or(rank.div_ceil(2));
            for operation in life.accepted.iter_mut().chain(&mut life.votes) {
                match operation {
                    Operation::Join(entry) => entry.id.incarnation = Incarnation(to),
                    Operation::Remove(member, _) => member.incarnation = Incarnation(to),
                    Operation::Refresh(count) | Operation::Session(count) => *count = to,
                }
            }
            if *other_name {
                life.subject = Subject::User(user("zoe"));
            }
            let subject = life.subject.user().map_or("", |name| name.as_str());
            debug_assert!(decode::<LifeRecord>(&encode(&life)).is_ok());
            put("life", subject, &encode(&life))
        }
        Damage::Byte(..) | Damage::Cut(_) => Ok(0),
    }
}
