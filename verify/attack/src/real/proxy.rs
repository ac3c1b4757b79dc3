//! A hostile wire: a TCP proxy between two parties that does to their bytes what it is told.
//!
//! TLS leaves the length of each record in clear, so the proxy works on whole records: it can drop, delay, swap,
//! double, alter or cut short just the one it wants. It holds no key.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes kept of one direction of one connection.
const RECORDED_BYTES_MAX: usize = 64 * 1024;
/// Connections kept.
const RECORDINGS_MAX: usize = 8;
/// Header of a TLS record: type, version, length.
const RECORD_HEADER_BYTES: usize = 5;
/// The longest TLS record (RFC 8446 §5.2).
const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + (1 << 14) + 256;

/// The TLS alert `access_denied`, fatal, as anybody can send it.
pub const DENIAL: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// The TLS alert `close_notify`, as anybody can send it.
pub const CLOSE: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the caller to the leader.
    Up,
    /// From the leader to the caller.
    Down,
}

/// What is done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It never arrives; what follows does.
    Drop,
    /// It, and all behind it, arrives later.
    Delay(Duration),
    /// It arrives behind the next one.
    Swap,
    /// It arrives twice.
    Double,
    /// A record that anybody can make arrives before it.
    Forge(&'static [u8]),
    /// One bit is another, at this place (counted from the end, if negative).
    Flip(isize),
    /// Only so many bytes of it arrive, then the connection ends.
    Truncate(usize),
    /// The connection ends in its place.
    Cut,
    /// It and all behind it never arrive; the connection stays until the wire is healed.
    Swallow,
}

/// When a deed is done.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// In which direction.
    pub way: Way,
    /// From which record of a connection on, from 0.
    pub from: u64,
    /// What.
    pub deed: Deed,
    /// How often, on all connections together.
    pub times: u64,
}

/// What went over one connection, as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// From the caller.
    pub up: Vec<u8>,
    /// From the leader.
    pub down: Vec<u8>,
}

#[derive(Debug)]
struct State {
    target: String,
    orders: Vec<Order>,
    /// Plays these bytes to callers instead of calling anybody.
    playback: Option<Arc<Vec<u8>>>,
    recordings: VecDeque<Arc<Mutex<Recording>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Each change ends all connections that are open.
    cuts: watch::Sender<u64>,
    /// Each change lets go of what is swallowed.
    heals: watch::Sender<u64>,
    refusing: AtomicBool,
    done: AtomicU64,
    connections: AtomicU64,
    records: AtomicU64,
}

/// A wire in hostile hands. It is taken down when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Lays a wire to `target`, on which nothing is done yet.
    ///
    /// # Errors
    /// No port is free.
    pub async fn lay(target: String) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a port for a proxy")?;
        let address = listener.local_addr()?;
        let state = State { target, orders: Vec::new(), playback: None, recordings: VecDeque::new() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            cuts: watch::channel(0).0,
            heals: watch::channel(0).0,
            refusing: AtomicBool::new(false),
            done: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            records: AtomicU64::new(0),
        });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Ok(Proxy { address, shared, task })
    }

    /// Where callers find it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Does this from now on, in place of what it did before.
    pub fn order(&self, orders: &[Order]) {
        self.shared.state().orders = orders.to_vec();
    }

    /// Leads callers to another address from now on.
    pub fn redirect(&self, target: String) {
        self.shared.state().target = target;
    }

    /// Answers callers with these bytes, and calls nobody.
    pub fn play_back(&self, bytes: Vec<u8>) {
        self.shared.state().playback = Some(Arc::new(bytes));
    }

    /// Ends all connections that are open now; new ones are made as ordered.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|count| *count += 1);
    }

    /// Lets nobody through until [`Proxy::heal`].
    pub fn sever(&self) {
        self.shared.refusing.store(true, Ordering::Release);
        self.cut();
    }

    /// An honest wire again, to `target`.
    pub fn heal(&self, target: String) {
        let mut state = self.shared.state();
        state.target = target;
        state.orders.clear();
        state.playback = None;
        drop(state);
        self.shared.refusing.store(false, Ordering::Release);
        self.shared.heals.send_modify(|count| *count += 1);
    }

    /// How often something was done to a record, or a caller turned away or played to.
    pub fn deeds(&self) -> u64 {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Records that passed, both ways.
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Acquire)
    }

    /// What went over the last connections.
    pub fn recordings(&self) -> Vec<Recording> {
        let kept: Vec<_> = self.shared.state().recordings.iter().cloned().collect();
        kept.iter().map(|one| lock(one).clone()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn did(&self) {
        self.done.fetch_add(1, Ordering::AcqRel);
    }

    /// What is to be done to this record of a connection.
    fn deed(&self, way: Way, number: u64) -> Option<Deed> {
        let mut state = self.state();
        let order = state.orders.iter_mut().find(|o| o.way == way && o.from <= number && o.times > 0)?;
        order.times -= 1;
        self.did();
        Some(order.deed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((caller, _)) = listener.accept() => {
                if shared.refusing.load(Ordering::Acquire) {
                    shared.did();
                    continue;
                }
                shared.connections.fetch_add(1, Ordering::AcqRel);
                connections.spawn(connect(caller, shared.clone()));
            }
        }
    }
}

async fn connect(caller: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    tokio::select! {
        _ = cuts.changed() => shared.did(),
        () = carry(caller, &shared) => {}
    }
}

async fn carry(mut caller: TcpStream, shared: &Shared) {
    let (target, playback) = {
        let state = shared.state();
        (state.target.clone(), state.playback.clone())
    };
    if let Some(bytes) = playback {
        shared.did();
        play(&mut caller, &bytes).await;
        return;
    }
    let Ok(leader) = TcpStream::connect(&target).await else { return };
    // Without it small records wait for each other.
    let _ = (caller.set_nodelay(true), leader.set_nodelay(true));
    let recording = Arc::new(Mutex::new(Recording::default()));
    {
        let mut state = shared.state();
        if state.recordings.len() >= RECORDINGS_MAX {
            state.recordings.pop_front();
        }
        state.recordings.push_back(recording.clone());
    }
    let (from_caller, to_caller) = caller.into_split();
    let (from_leader, to_leader) = leader.into_split();
    let pump = |way| Pump { way, shared, recording: &recording, number: 0, swapped: None };
    // One side may hang up while the other still speaks; a deed that ends the connection ends both.
    let _ = tokio::try_join!(pump(Way::Up).run(from_caller, to_leader), pump(Way::Down).run(from_leader, to_caller));
}

/// Says what a leader once said, whatever the caller says.
async fn play(caller: &mut TcpStream, bytes: &[u8]) {
    let mut heard = [0; 4096];
    // The caller speaks first in TLS.
    if matches!(caller.read(&mut heard).await, Ok(1..)) && caller.write_all(bytes).await.is_ok() {
        while let Ok(1..) = caller.read(&mut heard).await {}
    }
}

/// The connection is at its end.
struct Over;

/// One direction of one connection.
struct Pump<'a> {
    way: Way,
    shared: &'a Shared,
    recording: &'a Mutex<Recording>,
    number: u64,
    swapped: Option<Vec<u8>>,
}

impl Pump<'_> {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<(), Over> {
        let mut waiting = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        loop {
            let count = match from.read(&mut chunk).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) => return Err(Over),
            };
            waiting.extend_from_slice(chunk.get(..count).unwrap_or_default());
            self.record(chunk.get(..count).unwrap_or_default());
            while let Some(length) = record_length(&waiting).filter(|length| *length <= waiting.len()) {
                let rest = waiting.split_off(length);
                let record = std::mem::replace(&mut waiting, rest);
                self.forward(record, &mut to).await?;
            }
        }
        // What was on its way when one side hung up.
        write(&mut to, &waiting).await?;
        to.shutdown().await.map_err(|_| Over)
    }

    fn record(&self, bytes: &[u8]) {
        let mut recording = lock(self.recording);
        let kept = if self.way == Way::Up { &mut recording.up } else { &mut recording.down };
        let room = RECORDED_BYTES_MAX.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    /// Sends a record on, or does something else.
    async fn forward(&mut self, mut record: Vec<u8>, to: &mut OwnedWriteHalf) -> Result<(), Over> {
        let deed = self.shared.deed(self.way, self.number);
        self.number += 1;
        self.shared.records.fetch_add(1, Ordering::AcqRel);
        match deed {
            None => {}
            Some(Deed::Drop) => return Ok(()),
            Some(Deed::Delay(time)) => tokio::time::sleep(time).await,
            Some(Deed::Swap) => {
                self.swapped = Some(record);
                return Ok(());
            }
            Some(Deed::Double) => record.extend_from_within(..),
            Some(Deed::Forge(forged)) => record = [forged, &record].concat(),
            Some(Deed::Flip(at)) => {
                let length = isize::try_from(record.len()).unwrap_or(isize::MAX);
                let place = usize::try_from(if at < 0 { length + at } else { at }).unwrap_or(0);
                if let Some(byte) = record.get_mut(place) {
                    *byte ^= 1;
                }
            }
            Some(Deed::Truncate(length)) => {
                write(to, record.get(..length).unwrap_or(&record)).await?;
                return Err(Over);
            }
            Some(Deed::Cut) => return Err(Over),
            Some(Deed::Swallow) => {
                let mut heals = self.shared.heals.subscribe();
                heals.mark_unchanged();
                let _ = heals.changed().await;
                return Err(Over);
            }
        }
        write(to, &record).await?;
        match self.swapped.take() {
            Some(late) => write(to, &late).await,
            None => Ok(()),
        }
    }
}

async fn write(to: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<(), Over> {
    to.write_all(bytes).await.map_err(|_| Over)
}

/// The length of the record at the start, once it is known. Bytes that are no TLS pass as they are.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else { return None };
    let length = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    Some(if length > RECORD_BYTES_MAX { bytes.len() } else { length })
}

/// What became of bytes that were sent to a leader again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replayed {
    /// Bytes sent.
    pub sent: usize,
    /// Bytes the leader answered.
    pub answered: usize,
    /// Whether the leader hung up.
    pub refused: bool,
}

/// Sends recorded bytes to a leader over a new connection, and listens until it hangs up or `limit` is over.
///
/// # Errors
/// The leader cannot be reached.
pub async fn replay(target: &str, bytes: &[u8], limit: Duration) -> anyhow::Result<Replayed> {
    let mut stream = TcpStream::connect(target).await.context("a leader to replay to")?;
    let mut replayed = Replayed { sent: bytes.len(), ..Replayed::default() };
    let talk = async {
        // The leader may hang up in the middle.
        let _ = stream.write_all(bytes).await;
        let mut heard = [0; 4096];
        let mut answered = 0;
        while let Ok(count @ 1..) = stream.read(&mut heard).await {
            answered += count;
        }
        answered
    };
    if let Ok(answered) = tokio::time::timeout(limit, talk).await {
        (replayed.answered, replayed.refused) = (answered, true);
    }
    Ok(replayed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3][..], &length, body].concat()
    }

    /// Sends three records through a proxy with these orders; what arrives, in at most a second.
    async fn through(orders: &[Order]) -> (Vec<u8>, Proxy) {
        let leader = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::lay(leader.local_addr().unwrap().to_string()).await.unwrap();
        proxy.order(orders);
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        for body in [b"one", b"two", b"six"] {
            caller.write_all(&record(23, body)).await.unwrap();
        }
        caller.shutdown().await.unwrap();
        let (mut stream, _) = leader.accept().await.unwrap();
        let mut arrived = Vec::new();
        let mut chunk = [0; 64];
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut chunk)).await {
            arrived.extend_from_slice(&chunk[..count]);
        }
        (arrived, proxy)
    }

    fn up(from: u64, deed: Deed) -> Order {
        Order { way: Way::Up, from, deed, times: 1 }
    }

    #[tokio::test]
    async fn each_deed_does_what_it_says() {
        let [one, two, six] = [b"one", b"two", b"six"].map(|body| record(23, body));
        let mut flipped = two.clone();
        flipped[5] ^= 1;
        let mut header = two.clone();
        header[0] ^= 1;
        let cases: [(Deed, Vec<&[u8]>); 9] = [
            (Deed::Drop, vec![&one, &six]),
            (Deed::Delay(Duration::from_millis(20)), vec![&one, &two, &six]),
            (Deed::Swap, vec![&one, &six, &two]),
            (Deed::Double, vec![&one, &two, &two, &six]),
            (Deed::Forge(&DENIAL), vec![&one, &DENIAL, &two, &six]),
            (Deed::Flip(5), vec![&one, &flipped, &six]),
            (Deed::Flip(0), vec![&one, &header, &six]),
            (Deed::Truncate(6), vec![&one, &two[..6]]),
            (Deed::Cut, vec![&one]),
        ];
        for (deed, expected) in cases {
            let (arrived, proxy) = through(&[up(1, deed)]).await;
            assert_eq!(arrived, expected.concat(), "{deed:?}");
            assert_eq!(proxy.deeds(), 1, "{deed:?}");
            assert_eq!(proxy.recordings()[0].up, [&one[..], &two, &six].concat(), "recorded before it is touched");
        }
        assert_eq!(through(&[]).await.0, [one, two, six].concat());
    }

    #[tokio::test]
    async fn a_severed_wire_lets_nobody_through_until_it_is_healed() {
        let leader = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = leader.local_addr().unwrap().to_string();
        let proxy = Proxy::lay(target.clone()).await.unwrap();
        proxy.sever();
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!matches!(caller.read(&mut [0; 8]).await, Ok(1..)));
        proxy.heal(target);
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(&record(22, b"hello")).await.unwrap();
        let (mut stream, _) = leader.accept().await.unwrap();
        let mut heard = [0; 10];
        stream.read_exact(&mut heard).await.unwrap();
        proxy.cut();
        assert!(!matches!(caller.read(&mut [0; 8]).await, Ok(1..)), "open connections end");
    }

    #[tokio::test]
    async fn a_recording_is_played_to_callers_and_to_leaders() {
        let leader = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = leader.local_addr().unwrap().to_string();
        let proxy = Proxy::lay(target.clone()).await.unwrap();
        proxy.play_back(b"old news".to_vec());
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(b"hello").await.unwrap();
        let mut heard = [0; 8];
        caller.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"old news");

        let server = tokio::spawn(async move {
            let (mut stream, _) = leader.accept().await.unwrap();
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(b"no").await.unwrap();
        });
        let replayed = replay(&target, b"again", Duration::from_secs(5)).await.unwrap();
        server.await.unwrap();
        assert!(replayed.refused && replayed.answered == 2 && replayed.sent == 5);
    }
}
