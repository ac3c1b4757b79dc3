//! The datagrams of a site: one socket, and a channel to each other site.
//!
//! A frame goes by datagram where datagrams pass, and over the link as well while none has come from the other end for
//! [`SILENCE`], or while the other end says there that it hears none: a firewall that lets nothing but TCP through, even in
//! one direction, makes a network slow, not silent.
//!
//! Calls of the system cost more than bytes do: datagrams of one size to one site wait for each other and go in one call
//! (`UDP_SEGMENT`), and come in one (`UDP_GRO`) where the system can do that. Each is sealed by itself.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use ringfort_kernel::Time;
use ringfort_link::{Class, LinkSender};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use crate::channel::{Channel, OVERHEAD_BYTES, SiteKey};
use crate::network::Network;

/// The first byte of a frame that goes over a link: whether its sender hears our datagrams.
const HEARD: u8 = 0;
const UNHEARD: u8 = 1;

/// How long nothing comes by datagram before frames go over the link too.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// What the system gives at once: the largest datagram, or as many small ones.
const RECEIVED_BYTES_MAX: usize = 65_536;
/// How many such are taken in one call.
const RECEIVED_MAX: usize = 8;
/// What goes in one call.
const RUN_BYTES_MAX: usize = 64_000;

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

#[derive(Debug)]
struct Peer {
    key: SiteKey,
    address: Option<SocketAddr>,
    channel: Channel,
    link: Option<LinkSender>,
    heard: Option<Time>,
    /// When it said that it hears no datagrams from here.
    unheard: Option<Time>,
    run: Run,
}

/// Sealed datagrams that go in one call: all as long as the first but the last, which may be shorter.
#[derive(Debug, Default)]
struct Run {
    bytes: Vec<u8>,
    each_bytes: usize,
    count: usize,
}

impl Run {
    /// Whether a datagram of so many bytes may go behind the others.
    fn takes(&self, bytes: usize, count_max: usize) -> bool {
        let whole = self.bytes.len() == self.each_bytes * self.count;
        let fits = self.bytes.len() + bytes <= RUN_BYTES_MAX && self.count < count_max;
        self.count == 0 || (whole && fits && bytes <= self.each_bytes)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        (self.each_bytes, self.count) = (0, 0);
    }
}

/// The way to all other sites of a network. Places are those of [`Network::sites`].
#[derive(Debug)]
pub struct Transport {
    socket: UdpSocket,
    calls: UdpSocketState,
    me: SiteKey,
    peers: Vec<Peer>,
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
        let calls = UdpSocketState::new((&socket).into())?;
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
            run: Run::default(),
        };
        Ok(Transport {
            socket,
            calls,
            me,
            peers: network.sites().iter().map(|site| peer(site.key)).collect(),
            buffer: vec![0; RECEIVED_BYTES_MAX * RECEIVED_MAX],
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

    /// Sends a frame to one site, at the next [`flush`](Self::flush) at the latest.
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
        if peer.address.is_none() || !peer.channel.is_ready() {
            return;
        }
        let bytes = frame.len() + OVERHEAD_BYTES;
        if !peer.run.takes(bytes, self.calls.max_gso_segments()) {
            self.send_run(place);
        }
        let Some(Peer { channel, run, .. }) = self.peers.get_mut(place) else { return };
        if channel.seal(frame, &mut run.bytes).is_ok() {
            run.each_bytes = run.each_bytes.max(bytes);
            run.count += 1;
        }
    }

    /// Sends all that waits.
    pub fn flush(&mut self) {
        (0..self.peers.len()).for_each(|place| self.send_run(place));
    }

    fn send_run(&mut self, place: usize) {
        let Some(Peer { run, address: Some(address), .. }) = self.peers.get_mut(place) else { return };
        if run.count == 0 {
            return;
        }
        let transmit = Transmit {
            destination: *address,
            ecn: None,
            contents: &run.bytes,
            segment_size: (run.count > 1).then_some(run.each_bytes),
            src_ip: None,
        };
        let sent = self.socket.try_io(Interest::WRITABLE, || self.calls.try_send((&self.socket).into(), &transmit));
        match sent {
            Ok(()) => self.counts.sent += run.count as u64,
            // As good as lost on the way.
            Err(error) => {
                debug!(%address, %error, "datagrams were not sent");
                self.counts.dropped += run.count as u64;
            }
        }
        run.clear();
    }

    /// Waits until a datagram may have come.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes what has come, in one call: the frames, each with the site that sealed it. False if nothing has.
    ///
    /// # Errors
    /// When the system does not let this process receive, now or later.
    pub fn receive(&mut self, now: Time, frames: &mut Vec<(usize, Bytes)>) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); RECEIVED_MAX];
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut slices: Vec<IoSliceMut<'_>> = buffer.chunks_mut(RECEIVED_BYTES_MAX).map(IoSliceMut::new).collect();
        let receive = || self.calls.recv((&self.socket).into(), &mut slices, &mut metas);
        let received = self.socket.try_io(Interest::READABLE, receive);
        for (meta, bytes) in metas.iter().zip(buffer.chunks(RECEIVED_BYTES_MAX)).take(*received.as_ref().unwrap_or(&0))
        {
            let datagrams = bytes.get(..meta.len).unwrap_or_default().chunks(meta.stride.max(1));
            frames.extend(datagrams.filter_map(|datagram| self.open(now, datagram, meta.addr)));
        }
        self.buffer = buffer;
        match received {
            Ok(count) => Ok(count > 0),
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                Err(error)
            }
            // Nothing has come, or an ICMP message about a datagram of ours.
            Err(_) => Ok(false),
        }
    }

    fn open(&mut self, now: Time, datagram: &[u8], from: SocketAddr) -> Option<(usize, Bytes)> {
        let opened = self.peers.iter_mut().enumerate().find_map(|(place, peer)| {
            let frame = peer.channel.open(now, datagram).ok()?;
            peer.heard = Some(now);
            // Datagrams go where the network file says. Only of a site that has no address there is one learned:
            // whoever copies datagrams must not draw the answers to itself.
            peer.address = peer.address.or(Some(from));
            Some((place, Bytes::from(frame)))
        });
        match opened {
            Some(_) => self.counts.received += 1,
            None => self.counts.refused += 1,
        }
        opened
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Cut where the system cuts it, a run gives the datagrams that were put into it.
        #[test]
        fn a_run_comes_apart_as_it_was_put_together(
            lengths in prop::collection::vec(prop_oneof![Just(1400usize), Just(1399), 40usize..1400, 20_000usize..60_000], 1..100),
            count_max in 1usize..65,
        ) {
            let mut run = Run::default();
            let mut calls: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
            let cut = |run: &Run| run.bytes.chunks(run.each_bytes.max(1)).map(<[u8]>::to_vec).collect::<Vec<_>>();
            for (number, bytes) in lengths.iter().enumerate() {
                if !run.takes(*bytes, count_max) {
                    prop_assert_eq!(&cut(&run), calls.last().unwrap());
                    prop_assert!(run.bytes.len() <= RUN_BYTES_MAX && run.count <= count_max);
                    run.clear();
                    calls.push(Vec::new());
                }
                run.bytes.extend(vec![number as u8; *bytes]);
                run.each_bytes = run.each_bytes.max(*bytes);
                run.count += 1;
                calls.last_mut().unwrap().push(vec![number as u8; *bytes]);
            }
            prop_assert_eq!(&cut(&run), calls.last().unwrap());
        }
    }
}
