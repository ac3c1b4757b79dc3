//! Three etcd servers on this machine, asked over their JSON gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::http::Connection;
use crate::led::start;
use crate::{BenchError, lost, setup};

const PATIENCE: Duration = Duration::from_secs(60);
const SERVERS: usize = 3;

pub(super) struct Etcd {
    servers: Vec<Child>,
    clients: [SocketAddr; SERVERS],
    _temp: TempDir,
}

impl Etcd {
    /// Starts the servers with `program`, and waits until each has put a key.
    pub async fn start(program: &Path) -> Result<Self, BenchError> {
        let temp = tempfile::tempdir().map_err(setup)?;
        let (clients, peers) = (addresses()?, addresses()?);
        let cluster: Vec<String> = peers.iter().enumerate().map(|(n, at)| format!("n{n}=http://{at}")).collect();
        let mut servers = Vec::new();
        for (n, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let (name, client, peer) = (format!("n{n}"), format!("http://{client}"), format!("http://{peer}"));
            let mut command = Command::new(program);
            command
                .args(["--name", &name, "--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .arg("--data-dir")
                .arg(temp.path().join(&name))
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            servers.push(start(&mut command, Stdio::null())?);
        }
        let etcd = Etcd { servers, clients, _temp: temp };
        let started = Instant::now();
        for n in 0..SERVERS {
            while let Err(error) = etcd.try_put(n).await {
                if started.elapsed() > PATIENCE {
                    return Err(setup(format!("etcd does not do what it is asked: {error}")));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(etcd)
    }

    async fn try_put(&self, n: usize) -> Result<(), BenchError> {
        let asking = async { self.client(n).await?.put(b"bench", b"started").await };
        tokio::time::timeout(Duration::from_secs(5), asking).await.map_err(|_| lost("no reply"))?
    }

    /// A connection to one of the servers.
    pub async fn client(&self, n: usize) -> Result<Client, BenchError> {
        let at = self.clients.get(n % SERVERS).copied().ok_or_else(|| setup("there is no such server"))?;
        Ok(Client(Connection::open(at).await?))
    }

    /// The servers' processes.
    pub fn processes(&self) -> Vec<u32> {
        self.servers.iter().filter_map(Child::id).collect()
    }
}

fn addresses() -> Result<[SocketAddr; SERVERS], BenchError> {
    ringfort_loopback::addresses().map_err(setup)
}

pub(super) struct Client(Connection);

impl Client {
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        let (key, value) = (BASE64.encode(key), BASE64.encode(value));
        let reply = self.0.post("/v3/kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#)).await?;
        if reply.contains(r#""revision""#) { Ok(()) } else { Err(lost(format!("etcd put nothing: {reply}"))) }
    }

    /// Reads a key, behind all that was done before; it has to have this value.
    pub async fn get(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        let (key, value) = (BASE64.encode(key), BASE64.encode(value));
        let reply = self.0.post("/v3/kv/range", &format!(r#"{{"key":"{key}"}}"#)).await?;
        if reply.contains(&value) { Ok(()) } else { Err(lost(format!("etcd has another value: {reply}"))) }
    }
}
