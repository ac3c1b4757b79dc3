//! Looking up where other leaders are, for a leader in its sandbox.
//!
//! What a resolver reads and asks depends on the system, and changes while the leader runs: files that are replaced, daemons
//! that are asked over sockets. A sandbox that is bound to what was there at the start cuts names off one day. So a
//! leader that has names to look up starts a *helper* before it enters: this program once more, outside, which knows the
//! names that are in the group file. It takes leaders' numbers and answers addresses. Whoever takes the leader over learns
//! from it where the other leaders are, which it knows, and nothing else; no name of its choice is ever asked for.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringfort::protocol::{GroupInfo, LeaderId};
use ringfort_node::leader::Lookup;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// The first line: all leaders' names.
const ORDERS_BYTES_MAX: u64 = 64 * 1024;
/// A request: a number.
const REQUEST_BYTES_MAX: u64 = 8;
/// An answer: a number and addresses.
const ANSWER_BYTES_MAX: u64 = 4096;
/// Addresses of one name.
const ADDRESSES_MAX: usize = 16;
/// How long an answer serves for further requests, so that a leader makes nobody ask the network without end.
const ANSWER_LIVES: Duration = Duration::from_millis(500);
/// Requests that wait for the helper: each other leader has one.
const REQUESTS_MAX: usize = 256;

/// What the helper may look up: its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    /// `host:port` by leaders' numbers.
    names: BTreeMap<u8, String>,
}

/// What the helper found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    leader: u8,
    addresses: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

/// The leader's end of the connection to the helper.
#[derive(Debug)]
pub struct Names {
    helper: Child,
    stream: UnixStream,
}

impl Names {
    /// Starts the helper that `command` is, if a leader that `me` calls is known by a host name. Call it before anything is
    /// taken away.
    ///
    /// # Errors
    /// The helper does not start.
    pub fn start(group: &GroupInfo, me: LeaderId, command: Command) -> io::Result<Option<Self>> {
        let called = group.rules.leaders().filter(|peer| *peer > me);
        let address = |peer: LeaderId| Some((peer.number(), group.leader(peer)?.address.clone()));
        let names: BTreeMap<u8, String> =
            called.filter_map(address).filter(|(_, address)| address.parse::<SocketAddr>().is_err()).collect();
        Names::start_for(names, command)
    }

    /// Starts the helper that `command` is for these names (`host:port`, by number), if there are any.
    ///
    /// # Errors
    /// The helper does not start.
    pub fn start_for(names: BTreeMap<u8, String>, mut command: Command) -> io::Result<Option<Self>> {
        if names.is_empty() {
            return Ok(None);
        }
        let (mut stream, theirs) = UnixStream::pair()?;
        // Ctrl-C is for the leader: the helper ends when its input does.
        command.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).process_group(0);
        let helper = command.spawn()?;
        stream.write_all(format!("{}\n", serde_json::to_string(&Orders { names })?).as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Some(Names { helper, stream }))
    }

    /// The look-up for the driver: behind it a task talks with the helper, as long as somebody can ask. Call it where there
    /// is a runtime.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn serve(self) -> io::Result<Lookup> {
        let Names { mut helper, stream } = self;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(async move {
            talk(stream, received).await;
            if let Ok(Some(status)) = helper.try_wait() {
                warn!(%status, "the helper that looks up names has ended before the leader");
            }
        });
        Ok(Lookup::new(move |leader| {
            let requests = requests.clone();
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                let gone = || io::Error::other("the helper that looks up names has ended: restart this leader");
                requests.send(Request { leader: leader.number(), answer }).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            })
        }))
    }
}

struct Request {
    leader: u8,
    answer: oneshot::Sender<io::Result<Vec<SocketAddr>>>,
}

/// Passes requests on and answers back, until one side ends.
async fn talk(stream: tokio::net::UnixStream, mut requests: mpsc::Receiver<Request>) {
    let (read, mut write) = stream.into_split();
    let mut waiting = BTreeMap::new();
    let mut answers = tokio::io::BufReader::new(read);
    let mut line = Vec::new();
    loop {
        let left = ANSWER_BYTES_MAX.saturating_sub(line.len() as u64);
        let mut bounded = (&mut answers).take(left);
        tokio::select! {
            request = requests.recv() => {
                let Some(Request { leader, answer }) = request else { return };
                // Who asked before has given up meanwhile.
                waiting.insert(leader, answer);
                if write.write_all(format!("{leader}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            read = bounded.read_until(b'\n', &mut line) => {
                if read.is_err() || line.pop() != Some(b'\n') {
                    return;
                }
                let Ok(answer) = serde_json::from_slice::<Answer>(&line) else { return };
                line.clear();
                if let Some(waits) = waiting.remove(&answer.leader) {
                    let found = answer.why_not.map_or(Ok(answer.addresses), |why| Err(io::Error::other(why)));
                    // Who has given up does not want it any more.
                    drop(waits.send(found));
                }
            }
        }
    }
}

/// What the helper knows about one leader's name.
#[derive(Debug, Default)]
struct Known {
    is_asked_for: bool,
    last: Option<(Instant, Answer)>,
}

/// The helper's answers, and what it is at.
struct Desk<W> {
    output: W,
    /// How long an answer serves.
    lives: Duration,
    known: BTreeMap<u8, Known>,
}

impl<W: Write> Desk<W> {
    fn say(&mut self, answer: &Answer) {
        let Ok(line) = serde_json::to_string(answer) else { return };
        // A leader that is gone hears nothing; its end is seen by who reads.
        let _ = self.output.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.output.flush());
    }
}

/// The helper: reads leaders' numbers from `input` and writes their addresses to `output`, until the input ends.
///
/// # Errors
/// A first line that says nothing.
pub fn run(input: impl Read, output: impl Write + Send + 'static) -> io::Result<()> {
    run_with(input, output, ANSWER_LIVES, |name| Ok(name.to_socket_addrs()?.take(ADDRESSES_MAX).collect()))
}

fn run_with(
    input: impl Read,
    output: impl Write + Send + 'static,
    lives: Duration,
    find: fn(&str) -> io::Result<Vec<SocketAddr>>,
) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut first = Vec::new();
    input.by_ref().take(ORDERS_BYTES_MAX).read_until(b'\n', &mut first)?;
    let orders: Orders = serde_json::from_slice(&first)?;
    let desk = Arc::new(Mutex::new(Desk { output, lives, known: BTreeMap::new() }));
    loop {
        let mut line = Vec::new();
        input.by_ref().take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let number = std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse().ok());
        let Some((leader, name)) = number.and_then(|number| orders.names.get_key_value(&number)) else { continue };
        answer(&desk, *leader, name, find);
    }
}

/// Answers from memory, or by a thread that asks; each name is asked for once at a time.
fn answer<W: Write + Send + 'static>(
    desk: &Arc<Mutex<Desk<W>>>,
    leader: u8,
    name: &str,
    find: fn(&str) -> io::Result<Vec<SocketAddr>>,
) {
    let mut locked = lock(desk);
    let lives = locked.lives;
    let known = locked.known.entry(leader).or_default();
    if known.is_asked_for {
        return;
    }
    if let Some((at, last)) = known.last.clone()
        && at.elapsed() < lives
    {
        return locked.say(&last);
    }
    known.is_asked_for = true;
    drop(locked);
    let (desk, name) = (desk.clone(), name.to_owned());
    std::thread::spawn(move || {
        let (addresses, why_not) = match find(&name) {
            Ok(addresses) => (addresses, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let answer = Answer { leader, addresses, why_not };
        let mut locked = lock(&desk);
        locked.known.insert(leader, Known { is_asked_for: false, last: Some((Instant::now(), answer.clone())) });
        locked.say(&answer);
    });
}

fn lock<W>(desk: &Mutex<Desk<W>>) -> MutexGuard<'_, Desk<W>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

    use super::*;

    /// A helper in a thread, and the leader's end.
    fn helper(
        lives: Duration,
        find: fn(&str) -> io::Result<Vec<SocketAddr>>,
    ) -> (UnixStream, std::thread::JoinHandle<io::Result<()>>) {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let names = [(3, "leader-3.test:7403"), (4, "leader-4.test:7404")];
        let names = names.map(|(number, name)| (number, name.to_owned())).into();
        ours.write_all(format!("{}\n", serde_json::to_string(&Orders { names }).unwrap()).as_bytes()).unwrap();
        let output = theirs.try_clone().unwrap();
        (ours, std::thread::spawn(move || run_with(theirs, output, lives, find)))
    }

    fn next(from: &mut impl BufRead) -> Answer {
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Each call finds another port, by which it is known again.
    fn counted(name: &str) -> io::Result<Vec<SocketAddr>> {
        static CALLS: AtomicU16 = AtomicU16::new(1);
        assert!(["leader-3.test:7403", "leader-4.test:7404"].contains(&name), "{name}");
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], CALLS.fetch_add(1, Ordering::Relaxed)))])
    }

    #[test]
    fn the_helper_takes_numbers_of_leaders_it_was_told_of_and_nothing_else() {
        let (mut ours, helping) = helper(Duration::from_secs(3600), counted);
        let junk = "1\nevil.test:80\n255\n\n-3\n{\"names\":{}}\n\u{0}\u{1}\n33333333333333333333\n";
        ours.write_all(junk.as_bytes()).unwrap();
        ours.write_all(b"4\n").unwrap();
        let mut answers = BufReader::new(ours.try_clone().unwrap());
        let first = next(&mut answers);
        assert_eq!((first.leader, first.addresses.len(), &first.why_not), (4, 1, &None));
        // At once after that: from memory, however often.
        (0..50).for_each(|_| ours.write_all(b"4\n").unwrap());
        assert!((0..50).all(|_| next(&mut answers) == first));
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        helping.join().unwrap().unwrap();
        // Once it is too old it is looked up anew.
        let (mut ours, _helping) = helper(Duration::ZERO, counted);
        let mut answers = BufReader::new(ours.try_clone().unwrap());
        let mut look_up = || {
            ours.write_all(b"4\n").unwrap();
            next(&mut answers).addresses
        };
        assert_ne!(look_up(), look_up());
    }

    static FOUR_IS_FOUND: AtomicBool = AtomicBool::new(false);

    fn slow_for_three(name: &str) -> io::Result<Vec<SocketAddr>> {
        if name.starts_with("leader-3") {
            while !FOUR_IS_FOUND.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            return Err(io::Error::other("nobody answers"));
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 7404))])
    }

    #[tokio::test]
    async fn a_name_that_nobody_answers_for_holds_up_no_other() {
        let (ours, _helping) = helper(ANSWER_LIVES, slow_for_three);
        ours.set_nonblocking(true).unwrap();
        let names = Names { helper: Command::new("true").spawn().unwrap(), stream: ours };
        let lookup = names.serve().unwrap();
        let [three, four] = [3, 4].map(|number| LeaderId::new(number).unwrap());
        let slow = tokio::spawn(lookup.find(three));
        let found = tokio::time::timeout(Duration::from_secs(60), lookup.find(four)).await;
        FOUR_IS_FOUND.store(true, Ordering::Relaxed);
        assert_eq!(found.expect("it waits for the other").unwrap(), [SocketAddr::from(([127, 0, 0, 1], 7404))]);
        assert_eq!(slow.await.unwrap().unwrap_err().to_string(), "nobody answers");
    }

    #[tokio::test]
    async fn a_helper_that_is_gone_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let names = Names { helper: Command::new("true").spawn().unwrap(), stream: ours };
        let lookup = names.serve().unwrap();
        drop(theirs);
        let error = lookup.find(LeaderId::new(4).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("has ended"), "{error}");
    }
}
