//! Multicast over real loopback links: four leaders, one sender, two receivers.

use std::time::{Duration, Instant};

use ringfort::protocol::{Policy, Rules};
use ringfort::{Credentials, Event, Events, Group, JoinOptions};
use ringfort_documents::{NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, LeaderFolder, init};
use ringfort_node::leader::{LeaderOptions, run_leader};
use tokio::task::JoinSet;

use crate::BenchError;
use crate::floor::Floor;
use crate::row::{Options, Row, middle};

const PATIENCE: Duration = Duration::from_secs(60);
/// Messages of one latency measurement, one after the other.
const PINGS: usize = 300;

/// Throughput from one sender, and one-way latency, for messages of `bytes`.
///
/// The floor of the throughput is what the AEAD and the signatures alone allow on this machine's cores; that of
/// the latency is the same operations once, without any network.
///
/// # Errors
/// [`BenchError`] if the group cannot be started or messages do not arrive.
pub async fn measure(options: &Options, bytes: usize) -> Result<Vec<Row>, BenchError> {
    let mut bed = Bed::start().await?;
    let payload = vec![7u8; bytes];
    let messages = (options.messages * 100 / bytes.max(100)).max(200);

    let latency = bed.latency(&payload).await?;
    let rate = bed.throughput(&payload, messages).await?;

    let mut floor = Floor::new(options.repeats);
    let (sign, verify) = floor.sign_and_verify(bytes);
    let (seal, open) = (floor.seal(bytes), floor.open(bytes));
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    // One sender seals and signs, two receivers open and verify.
    let work = (seal + sign + (open + verify) * 2).as_secs_f64();
    Ok(vec![
        Row::rate(format!("multicast {bytes} B: one sender, two receivers"), rate, Some(cores / work)),
        Row::time(format!("multicast {bytes} B: latency p50"), latency.0, Some(seal + sign + open + verify)),
        Row::time(format!("multicast {bytes} B: latency p99"), latency.1, None),
    ])
}

/// A group with a sender and two receivers.
pub(crate) struct Bed {
    pub(crate) sender: Group,
    pub(crate) quiet: Events,
    pub(crate) receivers: Vec<(Group, Events)>,
    pub(crate) leaders: JoinSet<()>,
    pub(crate) dir: tempfile::TempDir,
}

impl Bed {
    pub(crate) async fn start() -> Result<Bed, BenchError> {
        let setup = |error: &dyn std::fmt::Display| BenchError::Setup(error.to_string());
        let dir = tempfile::tempdir().map_err(|e| setup(&e))?;
        let addresses = ringfort_loopback::addresses::<4>().map_err(|e| setup(&e))?.map(|at| at.to_string()).into();
        let names = ["ana", "ben", "eva"];
        let users = names.iter().filter_map(|name| {
            Some(NewUser { name: name.parse().ok()?, secret: NewSecret::Password("a password".to_owned().into()) })
        });
        let policy = Policy { argon2_memory_kib: 64, argon2_passes: 1, rekey_period_ms: 0, ..Policy::default() };
        let rules = Rules::new(4, 1, 2).map_err(|e| setup(&e))?;
        let options = InitOptions { name: "bench".into(), rules, addresses, policy, users: users.collect() };
        let summary = init(&dir.path().join("group"), options).map_err(|e| setup(&e))?;

        let mut leaders = JoinSet::new();
        for folder in &summary.folders {
            let folder = LeaderFolder::open(folder).map_err(|e| setup(&e))?;
            leaders.spawn(async {
                // An error shows as messages that do not arrive.
                drop(run_leader(folder, LeaderOptions::default(), |_| {}, std::future::pending()).await);
            });
        }
        let mut joined = Vec::new();
        for name in names {
            let credentials = Credentials::password(name, "a password").map_err(|e| setup(&e))?;
            let join = Group::join_with(summary.group.clone(), credentials, JoinOptions::default());
            joined.push(join.await.map_err(|e| setup(&e))?);
        }
        let receivers = joined.split_off(1);
        let (sender, quiet) = joined.pop().ok_or_else(|| BenchError::Setup("nobody joined".into()))?;
        let together = async {
            while sender.members().len() < names.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, together).await;
        waited.map_err(|_| BenchError::Setup("the members did not come together".into()))?;
        Ok(Bed { sender, quiet, receivers, leaders, dir })
    }

    async fn send(&self, payload: &[u8]) -> Result<(), BenchError> {
        self.sender.multicast("bench", payload).await.map_err(|e| BenchError::Lost(e.to_string()))
    }

    /// Median and 99th percentile of the time from the call to the receiver's event, one message at a time.
    pub(crate) async fn latency(&mut self, payload: &[u8]) -> Result<(Duration, Duration), BenchError> {
        let mut times = Vec::with_capacity(PINGS);
        for _ in 0..PINGS {
            let start = Instant::now();
            self.send(payload).await?;
            for (index, (_, events)) in self.receivers.iter_mut().enumerate() {
                receive(events, 1).await?;
                if index == 0 {
                    times.push(start.elapsed());
                }
            }
        }
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        Ok((middle(times), p99))
    }

    /// Messages per second from one sender until both receivers have all of them.
    pub(crate) async fn throughput(&mut self, payload: &[u8], messages: usize) -> Result<f64, BenchError> {
        let start = Instant::now();
        let sender = self.sender.clone();
        let payload = payload.to_vec();
        let sending = tokio::spawn(async move {
            for _ in 0..messages {
                sender.multicast("bench", &payload).await.map_err(|e| BenchError::Lost(e.to_string()))?;
            }
            Ok::<(), BenchError>(())
        });
        let mut receiving = JoinSet::new();
        for (group, mut events) in self.receivers.drain(..) {
            receiving.spawn(async move {
                let received = receive(&mut events, messages).await;
                received.map(|()| (group, events))
            });
        }
        while let Some(done) = receiving.join_next().await {
            let receiver = done.map_err(|e| BenchError::Lost(e.to_string()))??;
            self.receivers.push(receiver);
        }
        sending.await.map_err(|e| BenchError::Lost(e.to_string()))??;
        Ok(messages as f64 / start.elapsed().as_secs_f64())
    }
}

async fn receive(events: &mut Events, messages: usize) -> Result<(), BenchError> {
    let mut left = messages;
    let all = async {
        while left > 0 {
            match events.next().await {
                Some(Event::Message(_)) => left -= 1,
                Some(Event::Gap { count, .. }) => return Err(BenchError::Lost(format!("{count} lost"))),
                Some(Event::Lagged(count)) => return Err(BenchError::Lost(format!("{count} events missed"))),
                Some(_) => {}
                None => return Err(BenchError::Lost("the stay ended".into())),
            }
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(outcome) => outcome,
        Err(_) => Err(BenchError::Lost(format!("{left} of {messages} missing"))),
    }
}
