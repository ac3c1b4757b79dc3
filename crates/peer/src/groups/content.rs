//! What the messages on the ring say.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_kernel::codec;

use crate::groups::exchange::Part;
use crate::ids::Name;
use crate::limits::GROUPS_PER_MESSAGE_MAX;

/// A message of a site to all sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A client's message: its head and its payload.
    Data(Head, Bytes),
    /// A client of the sender joins a group.
    Join {
        /// Its private name.
        client: Name,
        /// The group.
        group: Name,
    },
    /// A client of the sender leaves a group.
    Leave {
        /// Its private name.
        client: Name,
        /// The group.
        group: Name,
    },
    /// A client of the sender is gone.
    Disconnect {
        /// Its private name.
        client: Name,
    },
    /// A part of a table.
    State(Part),
}

/// What goes before a client's payload.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// The sender's private name.
    pub sender: Name,
    /// Where it goes.
    pub groups: Vec<Name>,
    /// Whether the sender's own session is left out.
    pub self_discard: bool,
    /// Passed on unread.
    pub mark: u32,
    /// Passed on unread.
    pub message_type: i16,
}

/// The encoding: a client's payload stands behind its head without a copy.
#[derive(BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
enum Encoded {
    Data(Head) = 0,
    Join(Name, Name) = 1,
    Leave(Name, Name) = 2,
    Disconnect(Name) = 3,
    State(Part) = 4,
}

impl Content {
    /// Its bytes.
    pub fn encode(self) -> Bytes {
        let (encoded, payload) = match self {
            Content::Data(head, payload) => (Encoded::Data(head), payload),
            Content::Join { client, group } => (Encoded::Join(client, group), Bytes::new()),
            Content::Leave { client, group } => (Encoded::Leave(client, group), Bytes::new()),
            Content::Disconnect { client } => (Encoded::Disconnect(client), Bytes::new()),
            Content::State(part) => (Encoded::State(part), Bytes::new()),
        };
        let mut bytes = codec::encode(&encoded);
        bytes.extend_from_slice(&payload);
        Bytes::from(bytes)
    }

    /// What `bytes` say, if they say one thing and all of it.
    pub fn decode(bytes: &Bytes) -> Option<Content> {
        let mut rest: &[u8] = bytes;
        let encoded = Encoded::deserialize(&mut rest).ok()?;
        let payload = bytes.slice(bytes.len() - rest.len()..);
        match encoded {
            Encoded::Data(head) => {
                (head.groups.len() <= GROUPS_PER_MESSAGE_MAX).then_some(Content::Data(head, payload))
            }
            _ if !payload.is_empty() => None,
            Encoded::Join(client, group) => Some(Content::Join { client, group }),
            Encoded::Leave(client, group) => Some(Content::Leave { client, group }),
            Encoded::Disconnect(client) => Some(Content::Disconnect { client }),
            Encoded::State(part) => Some(Content::State(part)),
        }
    }
}
