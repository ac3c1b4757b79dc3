//! Where local programs connect, and who may.
//!
//! The unix socket is for this machine: the system says which user a program runs as, and only the site's own user, the
//! superuser and those that were allowed get in. TCP tells nothing of a program but its address: it is off unless asked
//! for, on loopback then, and elsewhere for named networks only.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Users who may connect to the unix socket, beside the site's own and the superuser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(pub Vec<u32>);

impl Users {
    /// Whether a program of this user may connect.
    pub fn allow(&self, user: u32) -> bool {
        user == 0 || user == rustix::process::geteuid().as_raw() || self.0.contains(&user)
    }
}

/// Networks whose programs may connect over TCP; loopback always may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Prefix>);

impl Networks {
    /// Whether a program at this address may connect.
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.0.iter().any(|prefix| prefix.has(address))
    }
}

/// Addresses that begin alike, as in `192.0.2.0/24`; one address by itself stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// A text that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give an address or a network, as in 192.0.2.7 or 192.0.2.0/24")]
pub struct BadPrefix;

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| BadPrefix)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| BadPrefix)?;
        if bits > most { Err(BadPrefix) } else { Ok(Prefix { address, bits }) }
    }
}

impl Prefix {
    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                (net.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                (net.to_bits() ^ address.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Where local programs connect, and who may.
#[derive(Clone, Debug, Default)]
pub struct DoorOptions {
    /// A unix socket.
    pub unix: Option<PathBuf>,
    /// Who may use it.
    pub users: Users,
    /// A TCP address.
    pub tcp: Option<SocketAddr>,
    /// Who may use it.
    pub networks: Networks,
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The path for the unix socket.
    #[error(
        "cannot let clients in at {path}: {error}. If another program serves there, stop it or choose another path with --socket; a path has at most 100 bytes"
    )]
    Unix {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The TCP address.
    #[error(
        "cannot let clients in at {address}: {error}. If another program uses the port, stop it or choose another with --tcp"
    )]
    Tcp {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A TCP address that others can reach.
    #[error(
        "other machines can reach {0}, and whoever reaches it could speak as any client: name the networks that may with --tcp-from, or use 127.0.0.1"
    )]
    Open(SocketAddr),
}

/// Doors that are open, and through which nobody has come yet.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub unix: Option<(UnixListener, PathBuf, Users)>,
    pub tcp: Option<(TcpListener, Networks)>,
}

impl Doors {
    pub fn open(options: &DoorOptions) -> Result<Self, DoorError> {
        let mut doors = Doors::default();
        if let Some(path) = &options.unix {
            let mode = if options.users.0.is_empty() { 0o600 } else { 0o666 };
            let listener = bind_unix(path, mode).map_err(|error| DoorError::Unix { path: path.clone(), error })?;
            doors.unix = Some((listener, path.clone(), options.users.clone()));
        }
        if let Some(address) = options.tcp {
            if !address.ip().is_loopback() && options.networks.0.is_empty() {
                return Err(DoorError::Open(address));
            }
            let listener = bind_tcp(address).map_err(|error| DoorError::Tcp { address, error })?;
            doors.tcp = Some((listener, options.networks.clone()));
        }
        Ok(doors)
    }

    /// The TCP address, with the port that the system chose if 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }
}

/// Takes the place of a socket that a killed site left behind, and of nothing else.
pub(crate) fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_begins_alike() {
        let allows =
            |prefix: &str, address: &str| Networks(vec![prefix.parse().unwrap()]).allow(address.parse().unwrap());
        assert!(allows("192.0.2.0/24", "192.0.2.77") && !allows("192.0.2.0/24", "192.0.3.77"));
        assert!(allows("192.0.2.7", "192.0.2.7") && !allows("192.0.2.7", "192.0.2.6"));
        assert!(allows("192.0.2.7", "::ffff:192.0.2.7"), "one address in two ways of writing it");
        assert!(allows("0.0.0.0/0", "203.0.113.9") && !allows("0.0.0.0/0", "2001:db8::1"));
        assert!(allows("2001:db8::/32", "2001:db8:5::1") && !allows("2001:db8::/32", "2001:db9::1"));
        assert!(allows("192.0.2.7", "127.0.0.1"), "loopback always may");
        for wrong in ["", "192.0.2.0/33", "192.0.2/24", "::/129", "host", "192.0.2.1/-1"] {
            assert_eq!(wrong.parse::<Prefix>(), Err(BadPrefix), "{wrong}");
        }
    }

    #[test]
    fn a_door_that_others_can_reach_needs_a_word() {
        let wide = DoorOptions { tcp: Some("0.0.0.0:0".parse().unwrap()), ..DoorOptions::default() };
        assert!(matches!(Doors::open(&wide), Err(DoorError::Open(_))));
        let named = DoorOptions { networks: Networks(vec!["192.0.2.0/24".parse().unwrap()]), ..wide };
        assert!(Doors::open(&named).is_ok());
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.sock");
        let first = bind_unix(&path, 0o600).unwrap();
        assert!(bind_unix(&path, 0o600).is_err(), "somebody serves there");
        drop(first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        drop(bind_unix(&path, 0o666).unwrap());
        assert_eq!(mode(&path), 0o666);
        fs::write(folder.path().join("file"), "mine").unwrap();
        assert!(bind_unix(&folder.path().join("file"), 0o600).is_err());
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"mine", "a file is nobody's socket");
    }
}
