//! What a member asks of its driver, and what it tells its application.

use std::collections::BTreeSet;

use bytes::Bytes;
use ringfort_peer::{Name, Service};

use crate::data::NotOpened;
use crate::flush::OutWhy;
use crate::ids::{Context, Round};
use crate::wire::Frame;

/// An order to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send to the group, or to one member alone.
    Multicast {
        /// How it is to be delivered; always in the agreed order.
        service: Service,
        /// To whom alone, if not to the group.
        to: Option<Name>,
        /// What.
        bytes: Bytes,
    },
    /// Leave the group: this member is out.
    Leave,
}

/// A view with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureView {
    /// In which view of the sites, and which attempt.
    pub round: Round,
    /// What names it: no other view is called so, and all its members call it so.
    pub context: Context,
    /// A short public name of its key: members with the same tag have the same key.
    pub tag: [u8; 8],
    /// The members, by name, and who each is in the policy's words.
    pub members: Vec<(Name, String)>,
    /// Who of them was in the last secure view together with this member, and never apart from it since: those have
    /// delivered the same messages in it.
    pub moved: BTreeSet<Name>,
}

/// What happened, for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The view is about to change: send what belongs to it, and then answer with [`super::Peer::flush_ok`].
    FlushRequest,
    /// There is a new view with a key. From here on the application may send.
    Secure(SecureView),
    /// A message, in the view in which it was sent.
    Message {
        /// Its sender.
        from: Name,
        /// Who that is, in the policy's words.
        user: String,
        /// How it was sent.
        service: Service,
        /// Whether it came to this member alone.
        private: bool,
        /// What it says.
        message: Vec<u8>,
    },
    /// Members were lost: what follows up to the next view may not have reached them.
    Transitional,
    /// So many are in the sites' group that there can be no secure view; the last one is over.
    Crowded(usize),
    /// This member is out, and has to join again.
    PutOut(OutWhy),
    /// Somebody in the sites' group is not in the secure view, and why.
    Out(Name, OutWhy),
    /// These have not done their part for a key in time; the others vote.
    Waiting(Vec<Name>),
    /// Members have come to different keys, since somebody contributed wrongly: all begin again. Who that was cannot be told
    /// from the keys.
    KeysDiffer,
    /// So many messages of this sender never came: the site lost them, or withheld them.
    Missed(Name, u64),
    /// A message of the group was not opened.
    NotOpened(Name, NotOpened),
}

/// What a step brings.
#[must_use = "effects must be carried out and events told"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// For the driver, in order.
    pub effects: Vec<Effect>,
    /// For the application, in order.
    pub events: Vec<Event>,
}

impl Step {
    pub(super) fn multicast(&mut self, service: Service, to: Option<Name>, frame: &Frame) {
        self.effects.push(Effect::Multicast { service, to, bytes: frame.encode() });
    }
}

/// A command that cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no key, or the application has said that it is done with the view.
    #[error("there is no secure view to send in: wait for the next one")]
    NoSecureView,
    /// The message is larger than allowed.
    #[error("a message of {0} bytes is too large")]
    TooLarge(usize),
    /// Nobody in the view has this name.
    #[error("nobody in the view has this name")]
    NoSuchMember,
}
