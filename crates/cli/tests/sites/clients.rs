//! Clients that join, leave, send and go, and write down all that they do and see.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfort_peer::Service;
use ringfort_site::client::{self, Door, Sender, group};
use ringfort_site::trace::Tracer;
use ringfort_spread::Name;
use tokio::sync::watch;

use super::dice::Dice;
use super::process::DEADLINE;

const GROUPS: [&str; 3] = ["alpha", "beta", "gamma"];
const SERVICES: [Service; 8] = [
    Service::Unreliable,
    Service::Reliable,
    Service::Fifo,
    Service::Causal,
    Service::Agreed,
    Service::Agreed,
    Service::Safe,
    Service::Safe,
];

/// The clients of all sites.
#[derive(Clone, Default)]
pub struct Crowd {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    traces: Mutex<Vec<Vec<u8>>>,
    next: AtomicU32,
    /// How often anybody was told anything.
    told: AtomicU64,
    quiet: AtomicBool,
    over: AtomicBool,
    /// Clients whose traces have not ended.
    open: AtomicUsize,
    kept: Mutex<Vec<Sender>>,
}

type Trace = Arc<Mutex<Tracer<Vec<u8>>>>;

impl Crowd {
    /// A place at a site: whenever the client there is gone, another comes.
    pub async fn fill(self, door: Door, mut dice: Dice) {
        loop {
            self.shared.open.fetch_add(1, Ordering::SeqCst);
            if self.shared.over.load(Ordering::SeqCst) {
                self.shared.open.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            // A name is used once: a trace tells lives apart by it.
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            let name = format!("c{number}");
            match client::connect(&door, Some(&name)).await {
                Ok((sender, incoming)) => self.live(sender, incoming, dice.split()).await,
                Err(_) => drop(self.shared.open.fetch_sub(1, Ordering::SeqCst)),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// From here on nobody sends, joins or leaves. Waits until for some time nobody has been told anything.
    pub async fn hush(&self) {
        self.shared.quiet.store(true, Ordering::Relaxed);
        let started = Instant::now();
        loop {
            let before = self.shared.told.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(2)).await;
            if self.shared.told.load(Ordering::Relaxed) == before {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "messages come without an end");
        }
    }

    /// Whoever is there ends its trace, alive.
    pub fn end(&self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }

    /// All traces, once everybody has ended.
    pub fn traces(&self) -> String {
        self.shared.traces.lock().unwrap().iter().map(|trace| String::from_utf8_lossy(trace)).collect()
    }

    async fn live(&self, sender: Sender, mut incoming: client::Incoming, dice: Dice) {
        let trace: Trace = Arc::new(Mutex::new(Tracer::start(Vec::new(), &sender.name()).unwrap()));
        let (cut, is_cut) = watch::channel(false);
        let acting = tokio::spawn(act(self.shared.clone(), sender, trace.clone(), dice, is_cut));
        let ended = async {
            while !self.shared.over.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reading = async {
            while let Ok(received) = incoming.next().await {
                self.shared.told.fetch_add(1, Ordering::Relaxed);
                trace.lock().unwrap().received(&received).unwrap();
            }
        };
        let is_cut = tokio::select! {
            () = reading => true,
            () = ended => false,
        };
        let _ = cut.send(is_cut);
        // It notices by itself that the connection is cut, or that all is over.
        let left = acting.await.unwrap_or(false);
        {
            let mut trace = trace.lock().unwrap();
            match (is_cut, left) {
                // It said itself that it goes.
                (_, true) => {}
                (true, false) => trace.crash().unwrap(),
                (false, false) => trace.end().unwrap(),
            }
        }
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        let started = Instant::now();
        while !is_cut && !left && self.shared.open.load(Ordering::SeqCst) > 0 {
            // Nobody sees another go before it has ended its own trace.
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(started.elapsed() < DEADLINE, "traces do not end");
        }
        let mut trace = trace.lock().unwrap();
        let whole = std::mem::replace(&mut *trace, Tracer::start(Vec::new(), &Name::new(b"none").unwrap()).unwrap());
        self.shared.traces.lock().unwrap().push(whole.finish().unwrap());
    }
}

/// What a client does, until it goes by its own wish (true) or cannot go on.
async fn act(
    shared: Arc<Shared>,
    mut sender: Sender,
    trace: Trace,
    mut dice: Dice,
    is_cut: watch::Receiver<bool>,
) -> bool {
    let mut number = 0u64;
    for name in &GROUPS[..1 + dice.below(3)] {
        let group = group(name).unwrap();
        trace.lock().unwrap().join(&group).unwrap();
        if sender.join(group).await.is_err() {
            return false;
        }
    }
    loop {
        tokio::time::sleep(Duration::from_millis(dice.between(5, 60))).await;
        if shared.over.load(Ordering::Relaxed) {
            // Its half of the connection stays open until everybody has ended.
            shared.kept.lock().unwrap().push(sender);
            return false;
        }
        if *is_cut.borrow() {
            return false;
        }
        if shared.quiet.load(Ordering::Relaxed) {
            continue;
        }
        let name = GROUPS[dice.below(3)];
        let to = group(name).unwrap();
        let done = match dice.below(300) {
            0..4 => {
                trace.lock().unwrap().join(&to).unwrap();
                sender.join(to).await
            }
            4..7 => {
                trace.lock().unwrap().leave(&to).unwrap();
                sender.leave(to).await
            }
            7 => {
                trace.lock().unwrap().disconnect().unwrap();
                let _ = sender.disconnect().await;
                return true;
            }
            _ => {
                number += 1;
                send(&mut sender, &trace, &mut dice, to, number).await
            }
        };
        if done.is_err() {
            return false;
        }
    }
}

async fn send(
    sender: &mut Sender,
    trace: &Trace,
    dice: &mut Dice,
    to: Name,
    number: u64,
) -> Result<(), client::ClientError> {
    let service = SERVICES[dice.below(SERVICES.len())];
    let mut groups = vec![to];
    if dice.in_hundred(20) {
        let other = group(GROUPS[dice.below(3)]).unwrap();
        groups.extend((other != to).then_some(other));
    }
    let bytes = match dice.below(100) {
        0 => 40_000,
        1..10 => 3000,
        _ => 8 + dice.below(192),
    };
    let mut data = vec![0; bytes];
    data[..8].copy_from_slice(&number.to_le_bytes());
    let to_me = dice.in_hundred(90);
    trace.lock().unwrap().send(service, &groups, to_me, &data).unwrap();
    sender.multicast(service, &groups, to_me, &data).await
}
