//! Datagrams over loopback, sealed and opened, and nothing else.

use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::secret::Secret32;

use crate::row::{median, middle};
use crate::{BenchError, setup};

/// What a message costs beside its bytes on the way between two sites, at the least: who it is from, and where it goes.
const HEAD_BYTES: usize = 16;
const OTHERS: u32 = 2;
const PINGS: usize = 1000;
const REPEATS: usize = 2000;

/// Messages a second that cores could carry from one site to two others if they did nothing but seal, send, receive and
/// open full datagrams: small messages together in one, large ones over several.
pub(super) fn rate(datagram_bytes: usize, message_bytes: usize) -> f64 {
    let Ok((a, b)) = pair() else { return 0.0 };
    let key = AeadKey::new(&Secret32::random(&mut ringfort_documents::os_rng()));
    let plain = vec![7; datagram_bytes];
    let mut buffer = vec![0; 65_536];
    let once = median(REPEATS, || {
        let sealed = key.seal(&[1; 12], b"header", &plain);
        let _ = a.send(&sealed);
        let received = b.recv(&mut buffer).unwrap_or(0);
        key.open(&[1; 12], b"header", buffer.get(..received).unwrap_or_default())
    });
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    let messages = datagram_bytes as f64 / (message_bytes + HEAD_BYTES) as f64;
    cores * messages / (once * OTHERS).as_secs_f64()
}

/// The time of one message from one thread to another, in as many datagrams as it takes.
pub(super) fn latency(datagram_bytes: usize, message_bytes: usize) -> Result<Duration, BenchError> {
    let (a, b) = pair().map_err(setup)?;
    let key = Arc::new(AeadKey::new(&Secret32::random(&mut ringfort_documents::os_rng())));
    let datagrams = (message_bytes + HEAD_BYTES).div_ceil(datagram_bytes);
    let plain = vec![7; (message_bytes + HEAD_BYTES).min(datagram_bytes)];
    let answering = (b, key.clone(), plain.clone());
    let answer = thread::spawn(move || {
        let (socket, key, plain) = answering;
        while pass(&socket, &key, datagrams) {
            send(&socket, &key, &plain, datagrams);
        }
    });
    let times = (0..PINGS).map(|_| {
        let started = Instant::now();
        send(&a, &key, &plain, datagrams);
        pass(&a, &key, datagrams);
        started.elapsed() / 2
    });
    let middle = middle(times.collect());
    // Nothing but this ends the other thread.
    let _ = a.send(&[]);
    let _ = answer.join();
    Ok(middle)
}

fn send(socket: &UdpSocket, key: &AeadKey, plain: &[u8], datagrams: usize) {
    for _ in 0..datagrams {
        let _ = socket.send(&key.seal(&[1; 12], b"header", plain));
    }
}

/// Takes so many datagrams; false if one does not open.
fn pass(socket: &UdpSocket, key: &AeadKey, datagrams: usize) -> bool {
    let mut buffer = vec![0; 65_536];
    (0..datagrams).all(|_| {
        let received = socket.recv(&mut buffer).unwrap_or(0);
        key.open(&[1; 12], b"header", buffer.get(..received).unwrap_or_default()).is_ok()
    })
}

fn pair() -> std::io::Result<(UdpSocket, UdpSocket)> {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    a.connect(b.local_addr()?)?;
    b.connect(a.local_addr()?)?;
    for socket in [&a, &b] {
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    }
    Ok((a, b))
}
