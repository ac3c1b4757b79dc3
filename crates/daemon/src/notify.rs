//! What a service manager is told: ready, stopping, still alive (the protocol of sd_notify(3)).
//!
//! The socket is connected once, at the start: a leader in its sandbox opens no such socket any more.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the service manager listens, if one does.
#[derive(Debug, Default)]
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Connects to `$NOTIFY_SOCKET`; without it there is nobody to tell.
    ///
    /// # Errors
    /// A socket that is named and not there.
    pub fn from_environment() -> io::Result<Self> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Notifier::to(&name),
            None => Ok(Notifier(None)),
        }
    }

    fn to(name: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        match name.as_bytes() {
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt;
                socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
            }
            _ => socket.connect(Path::new(name))?,
        }
        Ok(Notifier(Some(socket)))
    }

    /// The daemon listens.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The daemon closes its links.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The daemon's loop turns.
    pub fn alive(&self, status: &str) {
        self.tell(&format!("WATCHDOG=1\nSTATUS={status}"));
    }

    fn tell(&self, what: &str) {
        if let Some(socket) = &self.0 {
            // A service manager that does not listen is not told, and may restart us.
            let _ = socket.send(what.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn the_manager_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        let mut buffer = [0; 64];
        let mut heard = || {
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        notifier.ready();
        assert_eq!(heard(), "READY=1");
        notifier.alive("3 members");
        assert_eq!(heard(), "WATCHDOG=1\nSTATUS=3 members");
        notifier.stopping();
        assert_eq!(heard(), "STOPPING=1");
        assert!(Notifier::to(folder.path().join("none").as_os_str()).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_one() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("ringfort-notify-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(OsStr::new(&format!("@{name}"))).unwrap().ready();
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }
}
