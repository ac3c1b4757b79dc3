//! The store that a group's leaders keep for its members: puts and reads a second and their latency, with few and many
//! members at once; beside etcd, if it is here, asked the same in the same run.
//!
//! Leaders and servers are processes. Members are in this one, each with its own links and one request at a time; so are
//! the connections to etcd. On a machine that others use too, only the comparison says something.

mod etcd;
mod group;
mod http;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfort::Kv;
use tokio::task::JoinSet;

use self::etcd::Etcd;
use self::group::Led;
use crate::agreement::threads::of_processes;
use crate::row::{Report, Row, middle};
use crate::{BenchError, lost, program};

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct ServicesOptions {
    /// The `ringfort` program, which runs each leader.
    pub program: PathBuf,
    /// The program that runs each server of etcd, if there is one.
    pub etcd: PathBuf,
    /// How many ask at once.
    pub clients: Vec<usize>,
    /// The length of a value, in bytes.
    pub bytes: usize,
    /// How long each is measured.
    pub length: Duration,
}

/// Keys of one client.
const KEYS: usize = 16;

/// Measures the store; `told` is called with each row as it comes.
///
/// # Errors
/// [`BenchError`] if leaders or servers cannot be started, or a request fails.
pub async fn run(options: &ServicesOptions, mut told: impl FnMut(&Row)) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let mut add = |rows: Vec<Row>| {
        rows.iter().for_each(&mut told);
        report.rows.extend(rows);
    };
    let mut led = Led::start(options, options.clients.iter().copied().max().unwrap_or(1))?;
    let etcd = match program::find(&options.etcd) {
        Some(program) => Some(Etcd::start(&program).await?),
        None => None,
    };
    add(vec![
        Row::none("the store: 4 leaders", "one of them may be hacked, and do anything"),
        match &etcd {
            Some(_) => Row::none("  etcd: 3 servers", "one of them may stop; none may be hacked"),
            None => Row::none("  etcd", "not installed"),
        },
    ]);
    for many in &options.clients {
        let stores = led.members(*many).await?;
        for what in [What::Put, What::Read] {
            let clients = stores.iter().cloned().map(Client::Store).collect();
            let seen = measure(options, what, clients, &led.processes()).await?;
            add(seen.rows("", what, *many));
            if let Some(etcd) = &etcd {
                let mut clients = Vec::new();
                for n in 0..*many {
                    clients.push(Client::Etcd(etcd.client(n).await?));
                }
                let seen = measure(options, what, clients, &etcd.processes()).await?;
                add(seen.rows("  etcd: ", what, *many));
            }
        }
    }
    Ok(report)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Put,
    Read,
}

enum Client {
    Store(Kv),
    Etcd(etcd::Client),
}

impl Client {
    async fn ask(&mut self, what: What, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        match (self, what) {
            (Client::Store(store), What::Put) => store.put(key, value, None).await.map(drop).map_err(lost),
            (Client::Store(store), What::Read) => match store.get(key).await.map_err(lost)? {
                Some(found) if found.value == value => Ok(()),
                other => Err(lost(format!("the store has another value: {other:?}"))),
            },
            (Client::Etcd(etcd), What::Put) => etcd.put(key, value).await,
            (Client::Etcd(etcd), What::Read) => etcd.get(key, value).await,
        }
    }
}

/// What came of one measurement.
struct Seen {
    length: Duration,
    times: Vec<Duration>,
    /// CPU time of the servers, and of this process with all members or connections.
    cpu: (Duration, Duration),
}

/// Every client asks one thing after the other. What is read is put before.
async fn measure(
    options: &ServicesOptions,
    what: What,
    clients: Vec<Client>,
    servers: &[u32],
) -> Result<Seen, BenchError> {
    let value = vec![0; options.bytes];
    let clients = if what == What::Read { prepare(clients, &value).await? } else { clients };
    let cpu = || (of_processes(servers), of_processes(&[std::process::id()]));
    let (started, before) = (Instant::now(), cpu());
    let until = started + options.length;
    let mut asking = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let mut value = value.clone();
        asking.spawn(async move {
            let (mut times, mut count) = (Vec::new(), 0);
            while Instant::now() < until {
                let began = Instant::now();
                client.ask(what, &key(n, count, &mut value), &value).await?;
                times.push(began.elapsed());
                count += 1;
            }
            Ok::<_, BenchError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = asking.join_next().await {
        times.extend(done.map_err(lost)??);
    }
    let (length, after) = (started.elapsed(), cpu());
    times.sort_unstable();
    let cpu = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    Ok(Seen { length, times, cpu })
}

/// Puts all keys.
async fn prepare(clients: Vec<Client>, value: &[u8]) -> Result<Vec<Client>, BenchError> {
    let mut putting = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let mut value = value.to_vec();
        putting.spawn(async move {
            for count in 0..KEYS {
                client.ask(What::Put, &key(n, count, &mut value), &value).await?;
            }
            Ok::<_, BenchError>((n, client))
        });
    }
    let mut clients = Vec::new();
    while let Some(done) = putting.join_next().await {
        clients.push(done.map_err(lost)??);
    }
    clients.sort_by_key(|(n, _)| *n);
    Ok(clients.into_iter().map(|(_, client)| client).collect())
}

/// A client's key; its value begins with it.
fn key(n: usize, count: usize, value: &mut [u8]) -> Vec<u8> {
    let key = format!("bench/{n}/{}", count % KEYS).into_bytes();
    let with_key = key.iter().chain(std::iter::repeat(&b'v'));
    value.iter_mut().zip(with_key).for_each(|(to, from)| *to = *from);
    key
}

impl Seen {
    fn rows(&self, whose: &str, what: What, many: usize) -> Vec<Row> {
        let what = if what == What::Put { "puts" } else { "reads" };
        let clients = if many == 1 { "client" } else { "clients" };
        let p99 = self.times.get(self.times.len() * 99 / 100).copied().unwrap_or_default();
        let rate = self.times.len() as f64 / self.length.as_secs_f64();
        let each = |cpu: Duration| cpu.div_f64(self.times.len().max(1) as f64);
        vec![
            Row::requests(format!("{whose}{what} a second, {many} {clients}"), rate),
            Row::time(format!("{whose}  latency p50"), middle(self.times.clone()), None),
            Row::time(format!("{whose}  latency p99"), p99, None),
            Row::time(format!("{whose}  CPU time of all servers for one"), each(self.cpu.0), None),
            Row::time(format!("{whose}  CPU time of the client for one"), each(self.cpu.1), None),
        ]
    }
}
