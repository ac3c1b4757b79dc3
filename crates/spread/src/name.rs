//! Names on the wire: 32 bytes, filled up with zeros.

use std::fmt;

/// The bytes that every name takes in a header.
pub const NAME_BYTES: usize = 32;

/// The longest name of a connection that a client may ask for.
const CONNECT_BYTES_MAX: usize = 10;

/// A group's name or a private name (`#user#daemon`): up to 31 bytes, ended by a zero.
///
/// The daemon checks no characters of a group's name, so any bytes but zero may stand in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; NAME_BYTES]);

/// A name that is too long, or holds a byte that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has at most 31 bytes, none of them zero")]
pub struct BadName;

impl Name {
    /// The name of these bytes.
    ///
    /// # Errors
    /// When there are more than 31, or one is zero.
    pub fn new(text: &[u8]) -> Result<Self, BadName> {
        if text.len() >= NAME_BYTES || text.contains(&0) {
            return Err(BadName);
        }
        let mut bytes = [0; NAME_BYTES];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Ok(Name(bytes))
    }

    /// Reads a name as it stands in a header: up to the first zero; what follows it is ignored.
    pub(crate) fn read(field: &[u8]) -> Option<Self> {
        let field: &[u8; NAME_BYTES] = field.try_into().ok()?;
        let end = field.iter().position(|b| *b == 0)?;
        Name::new(field.get(..end)?).ok()
    }

    /// All 32 bytes, zeros behind the name.
    pub fn field(&self) -> &[u8; NAME_BYTES] {
        &self.0
    }

    /// The name without the zeros.
    pub fn text(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
        self.0.get(..end).unwrap_or_default()
    }

    /// Whether it is the private name of a connection rather than a group.
    pub fn is_private(&self) -> bool {
        self.0.first() == Some(&b'#')
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text().escape_ascii().to_string())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text().escape_ascii())
    }
}

/// The name that a client asks for when it connects: 1 to 10 bytes from `$` to `~`, so neither `#` nor a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectName {
    bytes: [u8; CONNECT_BYTES_MAX],
    len: u8,
}

impl ConnectName {
    /// The name of these bytes.
    ///
    /// # Errors
    /// When it is empty or too long, or a byte may not stand in it.
    pub fn new(text: &[u8]) -> Result<Self, BadName> {
        let allowed = text.iter().all(|b| (b'$'..=b'~').contains(b));
        if text.is_empty() || text.len() > CONNECT_BYTES_MAX || !allowed {
            return Err(BadName);
        }
        let mut bytes = [0; CONNECT_BYTES_MAX];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Ok(ConnectName { bytes, len: text.len() as u8 })
    }

    /// The name.
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The private name of a connection of this name at a daemon: `#user#daemon`.
    ///
    /// # Errors
    /// When the daemon's name is longer than 19 bytes or empty.
    pub fn private_at(&self, daemon: &[u8]) -> Result<Name, BadName> {
        if daemon.is_empty() || daemon.len() > 19 {
            return Err(BadName);
        }
        Name::new(&[b"#", self.text(), b"#", daemon].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_bounds() {
        assert!(Name::new(&[b'x'; 31]).is_ok());
        assert_eq!(Name::new(&[b'x'; 32]), Err(BadName));
        assert_eq!(Name::new(b"a\0b"), Err(BadName));
        assert_eq!(Name::new(b"").unwrap().text(), b"");
        assert_eq!(Name::read(&[b'x'; 32]), None, "a name without an end is none");
        let mut field = [7u8; 32];
        field[..3].copy_from_slice(b"ab\0");
        assert_eq!(Name::read(&field).unwrap(), Name::new(b"ab").unwrap(), "what follows the zero is ignored");
    }

    #[test]
    fn a_connection_has_a_short_name_without_signs() {
        assert!(ConnectName::new(b"0123456789").is_ok());
        for bad in [&b""[..], b"01234567890", b"a b", b"a#b", b"a\x7f", b"\xc3\xa9"] {
            assert_eq!(ConnectName::new(bad), Err(BadName), "{bad:?}");
        }
        let bob = ConnectName::new(b"bob").unwrap();
        assert_eq!(bob.private_at(b"site1").unwrap(), Name::new(b"#bob#site1").unwrap());
        assert_eq!(bob.private_at(&[b'x'; 20]), Err(BadName));
    }
}
