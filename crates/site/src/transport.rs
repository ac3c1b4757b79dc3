//! The datagrams of a site: one socket, and a channel to each other site.
//!
//! A frame goes by datagram where datagrams pass, and over the link as well while none has come from the other end for
//! [`SILENCE`], or while the other end says there that it hears none: a firewall that lets nothing but TCP through, even in
//! one direction, makes a network slow, not silent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ringfort::link::{Class, LinkSender};
use ringfort_kernel::Time;
use tokio::net::UdpSocket;
use tracing::debug;

use crate::channel::{Channel, SiteKey};
use crate::network::Network;

/// The first byte of a frame that goes over a link: whether its sender hears our datagrams.
const HEARD: u8 = 0;
const UNHEARD: u8 = 1;

/// How long nothing comes by datagram before frames go over the link too.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// The largest datagram that is received.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// What the system may keep for us between two reads, bytes.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What a transport has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams sent.
    pub sent: u64,
    /// Frames sent over links, for want of datagrams.
    pub sent_by_link: u64,
    /// Datagrams that the system took no more: they count as lost.
    pub dropped: u64,
    /// Datagrams that opened.
    pub received: u64,
    /// Datagrams that did not: strangers', altered, repeated, or of old keys.
    pub refused: u64,
}

/// What has come by datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A frame, and from which site.
    Frame(usize, Bytes),
    /// A datagram that is nobody's, or comes too late.
    Refused,
    /// All has been read.
    Nothing,
}

#[derive(Debug)]
struct Peer {
    key: SiteKey,
    address: Option<SocketAddr>,
    channel: Channel,
    link: Option<LinkSender>,
    heard: Option<Time>,
    /// When it said that it hears no datagrams from here.
    unheard: Option<Time>,
}

/// The way to all other sites of a network. Places are those of [`Network::sites`].
#[derive(Debug)]
pub struct Transport {
    socket: UdpSocket,
    me: SiteKey,
    peers: Vec<Peer>,
    sealed: Vec<u8>,
    buffer: Vec<u8>,
    counts: Counts,
}

impl Transport {
    /// Takes an open socket.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn new(socket: std::net::UdpSocket, me: SiteKey, network: &Network) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket)?;
        let raw = socket2::SockRef::from(&socket);
        // Smaller buffers than asked for only cost repairs.
        let _ = raw.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = raw.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        let peer = |key: SiteKey| Peer {
            key,
            address: None,
            channel: Channel::default(),
            link: None,
            heard: None,
            unheard: None,
        };
        Ok(Transport {
            socket,
            me,
            peers: network.sites().iter().map(|site| peer(site.key)).collect(),
            sealed: Vec::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            counts: Counts::default(),
        })
    }

    /// A link to a site is up: its secret makes new keys, and frames may go over it. `address` is where datagrams go.
    pub fn on_link_up(
        &mut self,
        now: Time,
        place: usize,
        secret: &[u8; 32],
        address: Option<SocketAddr>,
        link: LinkSender,
    ) {
        let me = self.me;
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.channel.rekey(now, secret, &me, &peer.key);
        peer.address = address.or(peer.address);
        if let Some(old) = peer.link.replace(link) {
            old.close();
        }
    }

    /// What came from a site over its link: the frame in it, if there is one.
    pub fn on_link_frame(&mut self, now: Time, place: usize, mut marked: Bytes) -> Option<Bytes> {
        let peer = self.peers.get_mut(place)?;
        match *marked.first()? {
            UNHEARD => peer.unheard = Some(now),
            HEARD => {}
            _ => return None,
        }
        Some(marked.split_off(1))
    }

    /// A link has ended; true if there is no other to this site. Its keys stay: datagrams need no link.
    pub fn on_link_down(&mut self, place: usize) -> bool {
        let Some(peer) = self.peers.get_mut(place) else { return false };
        peer.link = peer.link.take().filter(|link| !link.is_closed());
        peer.link.is_none()
    }

    /// Sends a frame to one site.
    pub fn send(&mut self, now: Time, place: usize, frame: &Bytes) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let silent = peer.heard.is_none_or(|heard| now.since(heard) > SILENCE);
        let unheard = peer.unheard.is_some_and(|at| now.since(at) <= SILENCE);
        if let Some(link) = peer.link.as_ref().filter(|_| silent || unheard) {
            let first = if silent { UNHEARD } else { HEARD };
            let marked: Vec<u8> = [first].into_iter().chain(frame.iter().copied()).collect();
            // A link that takes no more is as good as a lost datagram.
            if link.send(Class::Data, marked.into()).is_ok() {
                self.counts.sent_by_link += 1;
            }
        }
        let Some(address) = peer.address else { return };
        self.sealed.clear();
        if peer.channel.seal(frame, &mut self.sealed).is_err() {
            return;
        }
        match self.socket.try_send_to(&self.sealed, address) {
            Ok(_) => self.counts.sent += 1,
            Err(error) => {
                debug!(%address, %error, "a datagram was not sent");
                self.counts.dropped += 1;
            }
        }
    }

    /// Waits until a datagram may have come.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes the next datagram that has come.
    pub fn receive(&mut self, now: Time) -> Received {
        let (bytes, from) = match self.socket.try_recv_from(&mut self.buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
            // An ICMP message about a datagram of ours: nothing was received.
            Err(_) => return Received::Refused,
        };
        let datagram = self.buffer.get(..bytes).unwrap_or_default();
        let opened = self.peers.iter_mut().enumerate().find_map(|(place, peer)| {
            let frame = peer.channel.open(now, datagram).ok()?;
            peer.heard = Some(now);
            // Datagrams go where the network file says. Only of a site that has no address there is one learned:
            // whoever copies datagrams must not draw the answers to itself.
            peer.address = peer.address.or(Some(from));
            Some((place, Bytes::from(frame)))
        });
        match opened {
            Some((place, frame)) => {
                self.counts.received += 1;
                Received::Frame(place, frame)
            }
            None => {
                self.counts.refused += 1;
                Received::Refused
            }
        }
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
