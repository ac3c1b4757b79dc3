//! Somebody who looks on at a stay, for measurements and for the demonstration.

use std::fmt;

use ringfort::Event;
use ringfort::protocol::UserName;
use ringfort::protocol::policy::Service;

/// Looks on at what happens in a stay and at what is sent from it. It must be quick: the stay waits.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened.
    fn on_event(&self, event: &Event);
    /// A message is about to be sent.
    fn on_sending(&self, sending: &Sending<'_>);
    /// That message was not sent after all.
    fn on_unsent(&self, sending: &Sending<'_>);
}

/// A message on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// What it is about.
    pub topic: &'a str,
    /// The recipients, if it is private; empty for a multicast.
    pub to: &'a [UserName],
    /// The message.
    pub payload: &'a [u8],
    /// What delivery promises.
    pub service: Service,
}
