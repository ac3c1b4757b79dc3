//! The first bytes of a connection.
//!
//! `[major][minor][patch][priority << 4 | membership][length][name]`; clients before 3.15 send no patch number. The toolkit's
//! library sends priorities 0 and 1, which mean nothing; [`LARGE_PRIORITY`] asks for large messages.

use crate::cursor::Inbox;
use crate::name::ConnectName;

/// The oldest version that is served.
const OLDEST: Version = Version { major: 3, minor: 1, patch: 0 };
/// From here on a hello has a patch number.
const WITH_PATCH: Version = Version { major: 3, minor: 15, patch: 0 };
/// From here on a client authenticates.
const WITH_AUTHENTICATION: Version = Version { major: 3, minor: 16, patch: 0 };

/// The priority of a client that sends messages which no client of the toolkit can.
pub(crate) const LARGE_PRIORITY: u8 = 15;

/// A client's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u8,
    /// The second number.
    pub minor: u8,
    /// The third number; zero for clients that send none.
    pub patch: u8,
}

impl Version {
    /// Whether a client of this version goes through authentication.
    pub fn authenticates(self) -> bool {
        self >= WITH_AUTHENTICATION
    }
}

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The client library's version.
    pub version: Version,
    /// Whether it wants to be told of memberships.
    pub wants_membership: bool,
    /// Whether it asks to send large messages.
    pub wants_large: bool,
    /// The name that it asks for; `None` leaves the choice to the daemon.
    pub name: Option<ConnectName>,
}

/// Why a hello is refused, with the byte that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHello {
    Version,
    Name,
}

/// Reads a hello once it has come whole. Nothing is taken before that, and no more than a hello may have is waited for.
pub(crate) fn read(inbox: &mut Inbox) -> Result<Option<Hello>, BadHello> {
    let Some(&[major, minor]) = inbox.peek(0, 2) else { return Ok(None) };
    let spoken = Version { major, minor, patch: 0 };
    if spoken < OLDEST {
        return Err(BadHello::Version);
    }
    let patch_bytes = usize::from(spoken >= WITH_PATCH);
    let fixed = 2 + patch_bytes + 2;
    let Some(&[.., flags, name_bytes]) = inbox.peek(0, fixed) else { return Ok(None) };
    let patch = if patch_bytes == 1 { inbox.peek(2, 1).and_then(|b| b.first().copied()).unwrap_or(0) } else { 0 };
    let name_bytes = usize::from(name_bytes);
    if name_bytes > 10 {
        return Err(BadHello::Name);
    }
    let Some(name) = inbox.peek(fixed, name_bytes) else { return Ok(None) };
    let name = match name {
        [] => None,
        name => Some(ConnectName::new(name).map_err(|_| BadHello::Name)?),
    };
    inbox.take(fixed + name_bytes);
    let version = Version { major, minor, patch };
    let (wants_membership, wants_large) = (flags & 0x0f == 1, flags >> 4 == LARGE_PRIORITY);
    Ok(Some(Hello { version, wants_membership, wants_large, name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<Option<Hello>, BadHello> {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        read(&mut inbox)
    }

    #[test]
    fn a_hello_as_the_toolkit_sends_it() {
        let hello = of(&[5, 0, 1, 0x01, 3, b'b', b'o', b'b']).unwrap().unwrap();
        assert_eq!(hello.version, Version { major: 5, minor: 0, patch: 1 });
        assert!(hello.wants_membership && hello.version.authenticates());
        assert_eq!(hello.name.unwrap().text(), b"bob");
        let hello = of(&[4, 0, 0, 0x10, 0]).unwrap().unwrap();
        assert!(!hello.wants_membership && !hello.wants_large && hello.name.is_none());
        assert!(of(&[5, 0, 1, 0xf1, 0]).unwrap().unwrap().wants_large);
    }

    #[test]
    fn old_clients_send_no_patch_number_and_do_not_authenticate() {
        let hello = of(&[3, 14, 0x01, 1, b'a']).unwrap().unwrap();
        assert_eq!(hello.name.unwrap().text(), b"a");
        assert!(!hello.version.authenticates());
        let hello = of(&[3, 15, 2, 0x01, 1, b'a']).unwrap().unwrap();
        assert!(hello.wants_membership && !hello.version.authenticates());
        assert!(of(&[3, 16, 0, 1, 1, b'a']).unwrap().unwrap().version.authenticates());
    }

    #[test]
    fn what_is_no_hello_is_refused_as_soon_as_it_shows() {
        assert_eq!(of(&[3, 0]), Err(BadHello::Version));
        assert_eq!(of(&[0, 9]), Err(BadHello::Version));
        assert_eq!(of(&[5, 0, 1, 1, 11]), Err(BadHello::Name), "the length alone is enough");
        assert_eq!(of(&[5, 0, 1, 1, 2, b'a', b'#']), Err(BadHello::Name));
        for len in 0..7 {
            assert_eq!(of(&[5, 0, 1, 1, 3, b'b', b'o', b'b'][..len]), Ok(None), "{len} bytes are not all of it");
        }
    }
}
