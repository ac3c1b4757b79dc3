//! Who the components are: names and keys, the same at each of them.

use ringfort_crypto::hash::digest;
use ringfort_crypto::kem::{KemPublic, KemSecret};
use ringfort_crypto::sign::{SigningKey, VerifyingKey};

use super::ids::{COMPONENTS_MAX, Index};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 32;

/// A component, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name: of letters, digits, `-` and `_`.
    pub name: String,
    /// It signs with the secret half.
    pub signing: VerifyingKey,
    /// Frames to it are sealed under a key that follows from it.
    pub exchange: KemPublic,
}

/// Whether it is a name. Names become folders, too.
///
/// # Errors
/// [`BadGroup::Name`].
pub fn check_name(name: &str) -> Result<(), BadGroup> {
    let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good);
    if is_name { Ok(()) } else { Err(BadGroup::Name(name.to_owned())) }
}

/// All components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    members: Vec<Member>,
    id: [u8; 32],
}

/// Components that make no group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGroup {
    /// Too few or too many.
    #[error("a group has 1 to {COMPONENTS_MAX} components, and here are {0}")]
    Count(usize),
    /// No name.
    #[error("`{0}` is no name: use 1 to {NAME_BYTES_MAX} letters, digits, '-' and '_'")]
    Name(String),
    /// Two cannot be told apart.
    #[error("two components have the name or a key of `{0}`: each needs its own")]
    Twice(String),
}

impl Group {
    /// The group of these components, in this order.
    ///
    /// # Errors
    /// [`BadGroup`].
    pub fn new(members: Vec<Member>) -> Result<Self, BadGroup> {
        if members.is_empty() || members.len() > COMPONENTS_MAX {
            return Err(BadGroup::Count(members.len()));
        }
        for (place, member) in members.iter().enumerate() {
            check_name(&member.name)?;
            let same =
                |o: &Member| o.name == member.name || o.signing == member.signing || o.exchange == member.exchange;
            if members.iter().take(place).any(same) {
                return Err(BadGroup::Twice(member.name.clone()));
            }
        }
        let parts: Vec<Vec<u8>> = members
            .iter()
            .map(|m| [&m.signing.to_bytes()[..], &m.exchange.to_bytes(), m.name.as_bytes()].concat())
            .collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let id = digest("ttcb group", &parts);
        Ok(Group { members, id })
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// A hash of all names and keys: what is signed or sealed in one group counts in no other.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// One of them.
    pub fn member(&self, index: Index) -> Option<&Member> {
        self.members.get(index.place())
    }

    /// Their places.
    pub fn indices(&self) -> impl Iterator<Item = Index> + use<> {
        let count = self.members.len();
        Index::all().take(count)
    }

    /// Which one has this name.
    pub fn find(&self, name: &str) -> Option<Index> {
        self.members.iter().position(|member| member.name == name).and_then(Index::new)
    }
}

/// A component's own secrets.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Signs what it gives out.
    pub signing: SigningKey,
    /// Agrees on keys with each other component.
    pub exchange: KemSecret,
}

impl Secrets {
    /// As the others know the holder.
    pub fn member(&self, name: &str) -> Member {
        Member { name: name.to_owned(), signing: self.signing.verifying_key(), exchange: self.exchange.public() }
    }
}
