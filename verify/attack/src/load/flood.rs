//! The kinds of load, and the attackers that make them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::oprf::OprfClient;
use ringfort_documents::os_rng;
use ringfort_protocol::login::{LoginAnswer, LoginRequest};
use ringfort_protocol::wire::{self, Sorted};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::adversary::Kind;
use crate::real::tls;

/// Addresses that attackers come from: enough to fill a leader's door if it counted by address alone.
const SOURCES: usize = 8;
/// Attackers that make TLS handshakes: they pay as much for one as the leader does.
const TLS_WORKERS: usize = 24;
/// Attackers that send byte by byte.
const SLOW_WORKERS: usize = 600;
/// Time between two bytes of a slow attacker.
const SLOW_BYTE: Duration = Duration::from_millis(250);
/// How long an attacker waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Time between two attempts of an attacker.
const AGAIN_AFTER: Duration = Duration::from_millis(400);
/// The same where each attempt is work for the attacker too.
const WORK_AFTER: Duration = Duration::from_millis(25);

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flood {
    /// Nothing: for comparison.
    Calm,
    /// Connections that say nothing, or the start of a greeting.
    HalfOpen,
    /// Connections that send one byte now and then, before TLS and within.
    Slow,
    /// Bytes that mean nothing, before TLS and within.
    Garbage,
    /// Password evaluations for one user.
    OprfOne,
    /// Password evaluations for users who do not exist.
    OprfMany,
    /// Frames announced longer than allowed, and frames that never end.
    Oversized,
    /// Members that never read what they are sent.
    NeverReads,
    /// Members that read, but slowly.
    SlowReaders,
    /// Members that ask and send without end.
    Insiders,
    /// A member that sends tiny messages at full speed and leaves out every second number.
    Holes,
    /// A hacked leader that pours 10 MB a second of signed frames on each other leader.
    LeaderFrames,
    /// A hacked leader that pours 10 MB a second of invented lists on each member.
    LeaderLists,
    /// Both at once.
    LeaderTorrent,
}

impl Flood {
    /// All that the honest go on under. One is not yet: under [`Flood::Holes`] messages are late.
    pub const ALL: [Flood; 13] = [
        Flood::Calm,
        Flood::HalfOpen,
        Flood::Slow,
        Flood::Garbage,
        Flood::OprfOne,
        Flood::OprfMany,
        Flood::Oversized,
        Flood::NeverReads,
        Flood::SlowReaders,
        Flood::Insiders,
        Flood::LeaderFrames,
        Flood::LeaderLists,
        Flood::LeaderTorrent,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Flood::Calm => "calm",
            Flood::HalfOpen => "half-open",
            Flood::Slow => "slow",
            Flood::Garbage => "garbage",
            Flood::OprfOne => "oprf-one",
            Flood::OprfMany => "oprf-many",
            Flood::Oversized => "oversized",
            Flood::NeverReads => "never-reads",
            Flood::SlowReaders => "slow-readers",
            Flood::Insiders => "insiders",
            Flood::Holes => "holes",
            Flood::LeaderFrames => "leader-frames",
            Flood::LeaderLists => "leader-lists",
            Flood::LeaderTorrent => "leader-torrent",
        }
    }

    /// What it does, in a line.
    pub fn what(self) -> &'static str {
        match self {
            Flood::Calm => "no attack",
            Flood::HalfOpen => "connections that say nothing, or the start of a greeting",
            Flood::Slow => "one byte at a time, before TLS and within",
            Flood::Garbage => "noise in place of TLS, and in place of a login within it",
            Flood::OprfOne => "password evaluations for one user",
            Flood::OprfMany => "password evaluations for users who do not exist",
            Flood::Oversized => "frames of 4 GiB, of 1 MiB before login, and such that never end",
            Flood::NeverReads => "members that never read, while much is said",
            Flood::SlowReaders => "a member that reads 1 MB a second of each leader, while much is said",
            Flood::Insiders => "members that ask and send as fast as they can",
            Flood::Holes => "a member that sends tiny messages as fast as it can and leaves out every second number",
            Flood::LeaderFrames => "a hacked leader that sends each other leader 10 MB/s of signed frames",
            Flood::LeaderLists => "a hacked leader that sends each member 10 MB/s of invented lists",
            Flood::LeaderTorrent => "a hacked leader that does both",
        }
    }

    /// Attackers at once, for one leader; `connections` is for all.
    fn workers(self, connections: usize, leaders: usize) -> usize {
        match self {
            Flood::HalfOpen => connections / leaders.max(1),
            Flood::Slow => SLOW_WORKERS.min(connections) / leaders.max(1),
            Flood::Garbage | Flood::OprfOne | Flood::OprfMany | Flood::Oversized => TLS_WORKERS / leaders.max(1),
            // Nobody from outside.
            _ => 0,
        }
    }

    /// The members that attack.
    pub(super) fn insiders(self) -> &'static [&'static str] {
        match self {
            Flood::NeverReads | Flood::Insiders => &["mal", "moe", "max"],
            Flood::SlowReaders | Flood::Holes => &["mal"],
            _ => &[],
        }
    }

    /// Whether a leader is taken over for it.
    pub fn hacks_a_leader(self) -> bool {
        self.leader().is_some()
    }

    /// What the hacked leader does, if there is one.
    pub(super) fn leader(self) -> Option<Kind> {
        match self {
            Flood::LeaderFrames => Some(Kind::TorrentLeaders),
            Flood::LeaderLists => Some(Kind::TorrentMembers),
            Flood::LeaderTorrent => Some(Kind::Torrent),
            _ => None,
        }
    }
}

/// What attackers count.
#[derive(Debug, Default)]
pub struct Tally {
    /// Attempts.
    pub attempts: AtomicU64,
    /// Attempts that a leader did work for.
    pub served: AtomicU64,
    /// Attempts that a leader ended or refused.
    pub refused: AtomicU64,
}

impl Tally {
    pub(super) fn tried(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn was_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, served: u64, refused: u64) {
        self.served.fetch_add(served, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    pub(super) fn was_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Attackers at work; they stop when this is dropped.
pub struct Mob {
    /// What they have done.
    pub tally: Arc<Tally>,
    tasks: JoinSet<()>,
}

impl Mob {
    /// Lets them loose on these leaders.
    pub fn gather(flood: Flood, addresses: &[String], connections: usize) -> Mob {
        let tally = Arc::new(Tally::default());
        let mut tasks = JoinSet::new();
        for address in addresses {
            for number in 0..flood.workers(connections, addresses.len()) {
                let attacker = Attacker { flood, number, address: address.clone(), tally: tally.clone() };
                tasks.spawn(attacker.work());
            }
        }
        Mob { tally, tasks }
    }

    /// Ends them all.
    pub async fn disperse(mut self) {
        self.tasks.shutdown().await;
    }
}

struct Attacker {
    flood: Flood,
    number: usize,
    address: String,
    tally: Arc<Tally>,
}

impl Attacker {
    async fn work(self) {
        // Not all in the same instant.
        tokio::time::sleep(AGAIN_AFTER * u32::try_from(self.number % 8).unwrap_or(0) / 8).await;
        for round in self.number.. {
            self.tally.tried();
            let attempt = match self.flood {
                Flood::HalfOpen => self.half_open(round).await,
                Flood::Slow => self.slow(round).await,
                Flood::Garbage => self.garbage(round).await,
                Flood::OprfOne | Flood::OprfMany => self.guess(round).await,
                Flood::Oversized => self.oversized(round).await,
                _ => return,
            };
            if attempt.is_err() {
                self.tally.was_refused();
            }
            let pause = if matches!(self.flood, Flood::HalfOpen | Flood::Slow) { AGAIN_AFTER } else { WORK_AFTER };
            tokio::time::sleep(pause).await;
        }
    }

    async fn dial(&self) -> std::io::Result<TcpStream> {
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + self.number % SOURCES).unwrap_or(1));
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        let address = self.address.parse().map_err(std::io::Error::other)?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Waits until the leader gives up.
    async fn half_open(&self, round: usize) -> std::io::Result<()> {
        let mut stream = self.dial().await?;
        if round.is_multiple_of(2) {
            stream.write_all(&[22, 3, 1]).await?;
        }
        until_closed(&mut stream).await;
        self.tally.was_refused();
        Ok(())
    }

    async fn slow(&self, round: usize) -> std::io::Result<()> {
        let tcp = self.dial().await?;
        // A greeting that never comes to its end, or the head of a frame and what follows it.
        let bytes = std::iter::once(22).chain([3, 1, 2, 0, 1, 0, 1, 252]).chain(std::iter::repeat(0));
        if round.is_multiple_of(4) {
            let mut stream = tls::over(tcp).await?;
            byte_by_byte(&mut stream, [0, 0, 31, 0].into_iter().chain(std::iter::repeat(0))).await;
        } else {
            let mut stream = tcp;
            byte_by_byte(&mut stream, bytes).await;
        }
        self.tally.was_refused();
        Ok(())
    }

    async fn garbage(&self, round: usize) -> std::io::Result<()> {
        let mut noise = vec![0; 1 + (round * 97) % 4096];
        {
            use rand_core::Rng;
            os_rng().fill_bytes(&mut noise);
        }
        let mut tcp = self.dial().await?;
        if round.is_multiple_of(2) {
            tcp.write_all(&noise).await?;
            until_closed(&mut tcp).await;
        } else {
            let mut stream = tls::over(tcp).await?;
            say(&mut stream, &noise).await?;
            until_closed(&mut stream).await;
        }
        self.tally.was_refused();
        Ok(())
    }

    /// As many guesses as a leader answers on one link.
    async fn guess(&self, round: usize) -> std::io::Result<()> {
        let name = if self.flood == Flood::OprfOne { "gil".to_owned() } else { format!("u{}-{round}", self.number) };
        let user = name.parse().map_err(std::io::Error::other)?;
        let (_, blinded) =
            OprfClient::blind(b"guess", &mut os_rng()).ok_or_else(|| std::io::Error::other("no guess"))?;
        let request = wire::plain(&LoginRequest::Blind { user, blinded: blinded.0 });
        let mut stream = tls::over(self.dial().await?).await?;
        for attempt in 0..4 {
            if attempt > 0 {
                self.tally.tried();
            }
            say(&mut stream, &request).await?;
            match hear(&mut stream).await? {
                LoginAnswer::Evaluated { .. } => self.tally.was_served(),
                _ => self.tally.was_refused(),
            }
        }
        Ok(())
    }

    async fn oversized(&self, round: usize) -> std::io::Result<()> {
        let mut stream = tls::over(self.dial().await?).await?;
        let zeros = [0; 4096];
        match round % 3 {
            0 => stream.write_all(&u32::MAX.to_be_bytes()).await?,
            1 => stream.write_all(&(1_u32 << 20).to_be_bytes()).await?,
            // Allowed frames, one after the other, none of which is a login.
            _ => stream.write_all(&8_192_u32.to_be_bytes()).await?,
        }
        let flood = async { while stream.write_all(&zeros).await.is_ok() {} };
        let _ = tokio::time::timeout(ANSWER_WITHIN, flood).await;
        self.tally.was_refused();
        Ok(())
    }
}

async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut heard = [0; 1024];
    while let Ok(1..) = stream.read(&mut heard).await {}
}

async fn byte_by_byte(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: impl Iterator<Item = u8>) {
    let mut heard = [0; 64];
    for byte in bytes {
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        // Whoever hangs up is noticed at once.
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(SLOW_BYTE, stream.read(&mut heard)).await {
            return;
        }
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), frame].concat()).await?;
    stream.flush().await
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<LoginAnswer> {
    let answer = async {
        let length = stream.read_u32().await?.min(64 * 1024);
        let mut frame = vec![0; usize::try_from(length).unwrap_or(0)];
        stream.read_exact(&mut frame).await?;
        let frame = Bytes::from(frame);
        match wire::sort(&frame) {
            Ok(Sorted::Plain(body)) => wire::decode_plain(body).map_err(std::io::Error::other),
            _ => Err(std::io::Error::other("no answer")),
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(std::io::Error::other)?
}
