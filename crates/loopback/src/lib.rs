//! Addresses on this machine that nobody else uses, for tests and measurements that start programs which listen.
//!
//! A port that was free a moment ago may be taken by now: the system gives free ports to whoever asks for any, and to
//! whoever connects somewhere. So whoever asks here gets a host of its own, `127.x.y.z`, with all its ports. Connections on
//! this machine come from `127.0.0.1`, and no two who ask get the same host, in whatever processes they are: a host is
//! taken by listening on one of its ports for as long as the process lives.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whoever listens here has the host.
const CLAIM: u16 = 7399;
/// The first of the ports that are given out.
const FIRST: u16 = 7400;
/// Hosts lie in `127.64.0.0/10`.
const HOSTS: u32 = 1 << 22;
const TRIES: u32 = 10_000;

static CLAIMS: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A host on which nobody else listens, on any port, until this process ends.
///
/// # Errors
/// The system does not let this process listen on loopback addresses.
pub fn host() -> io::Result<Ipv4Addr> {
    // Processes look in different places first.
    let start = std::process::id().wrapping_mul(509);
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..TRIES {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % HOSTS;
        let host = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + number);
        match TcpListener::bind((host, CLAIM)) {
            Ok(claim) => {
                CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
                return Ok(host);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Addresses with consecutive ports on a host of their own, free for TCP and UDP.
///
/// # Errors
/// As [`host`].
pub fn addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let (host, mut ports) = (host()?, FIRST..);
    Ok([(); N].map(|()| SocketAddr::from((host, ports.next().unwrap_or(FIRST)))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::{addresses, host};

    #[test]
    fn no_two_who_ask_get_the_same_host() {
        let hosts: BTreeSet<_> = (0..100).map(|_| host().unwrap()).collect();
        assert_eq!(hosts.len(), 100);
    }

    #[test]
    fn connections_to_a_host_take_none_of_its_ports() {
        let [one, two] = addresses().unwrap();
        assert_eq!(two.port(), one.port() + 1);
        let listener = TcpListener::bind(one).unwrap();
        let connected = TcpStream::connect(one).unwrap();
        assert_ne!(connected.local_addr().unwrap().ip(), one.ip());
        assert!(listener.accept().is_ok() && UdpSocket::bind(two).is_ok());
    }
}
