//! How a site is: for people, for programs, and for what gathers figures.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use ringfort_link::LinkError;
use ringfort_peer::membership::Reason;
use ringfort_peer::ring::Failure;
use serde::{Deserialize, Serialize};

use crate::links::NoLink;

/// How a site is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// This site.
    pub site: String,
    /// The network.
    pub network: String,
    /// The network file's fingerprint: the same at all sites.
    pub fingerprint: String,
    /// The version of the program.
    pub version: String,
    /// How long it has been running, seconds.
    pub uptime_s: u64,
    /// `in a ring`, or why it looks for others.
    pub state: String,
    /// The sites in the ring with this one, itself included.
    pub ring: Vec<String>,
    /// Counts rings.
    pub ring_number: u64,
    /// Sites that are not in the ring with this one.
    pub absent: Vec<String>,
    /// Sites to which there is no link, and why.
    pub unreachable: Vec<Unreachable>,
    /// Rings that this site has been in since it started.
    pub rings: u64,
    /// Local programs.
    pub clients: usize,
    /// Groups that anybody is in.
    pub groups: usize,
    /// Memberships of clients in groups.
    pub memberships: usize,
    /// Packets kept for other sites.
    pub packets_kept: usize,
    /// Bytes that wait for the token.
    pub waiting_bytes: usize,
    /// Bytes that wait for local programs to read.
    pub clients_waiting_bytes: usize,
    /// Local programs that were cut off for not reading.
    pub clients_cut: u64,
    /// Datagrams, so far.
    pub datagrams_sent: u64,
    /// Frames sent over links, for want of datagrams.
    pub frames_by_link: u64,
    /// Datagrams that the system took no more.
    pub datagrams_dropped: u64,
    /// Datagrams taken.
    pub datagrams_received: u64,
    /// Datagrams that did not open: strangers', altered or repeated.
    pub datagrams_refused: u64,
}

/// A site to which there is no link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// Which.
    pub site: String,
    /// Why, in a sentence.
    pub why: String,
}

impl Report {
    /// Whether every site of the network is in the ring.
    pub fn is_whole(&self) -> bool {
        !self.ring.is_empty() && self.absent.is_empty()
    }

    /// The figures in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP ringfort_site_{name} {help}\n# TYPE ringfort_site_{name} {kind}");
            let _ = writeln!(text, "ringfort_site_{name}{{site=\"{}\"}} {value}", self.site);
        };
        let size = |n: usize| n as u64;
        add("uptime_seconds", "gauge", "How long the site has been running.", self.uptime_s);
        add(
            "ring_sites",
            "gauge",
            "Sites in the ring with this one, itself included; 0 while it looks for others.",
            size(self.ring.len()),
        );
        add("absent_sites", "gauge", "Sites of the network that are not in the ring.", size(self.absent.len()));
        add("rings_total", "counter", "Rings that the site has been in since it started.", self.rings);
        add("clients", "gauge", "Local programs that are connected.", size(self.clients));
        add("groups", "gauge", "Groups that anybody is in.", size(self.groups));
        add(
            "memberships",
            "gauge",
            "Memberships of clients in groups, over all sites of the ring.",
            size(self.memberships),
        );
        add("packets_kept", "gauge", "Packets kept for other sites.", size(self.packets_kept));
        add("waiting_bytes", "gauge", "Bytes of clients that wait for the token.", size(self.waiting_bytes));
        add("clients_waiting_bytes", "gauge", "Bytes that wait for clients to read.", size(self.clients_waiting_bytes));
        add("clients_cut_total", "counter", "Clients that were cut off for not reading.", self.clients_cut);
        add("datagrams_sent_total", "counter", "Datagrams sent to other sites.", self.datagrams_sent);
        add("frames_by_link_total", "counter", "Frames sent over links, for want of datagrams.", self.frames_by_link);
        add("datagrams_dropped_total", "counter", "Datagrams that the system took no more.", self.datagrams_dropped);
        add(
            "datagrams_received_total",
            "counter",
            "Datagrams of other sites that were taken.",
            self.datagrams_received,
        );
        add(
            "datagrams_refused_total",
            "counter",
            "Datagrams that did not open: altered, repeated or a stranger's.",
            self.datagrams_refused,
        );
        text
    }
}

/// Why a site looks for others.
pub(crate) fn gathering(reason: Reason, name: &dyn Fn(usize) -> String) -> String {
    match reason {
        Reason::Started => "it has just started".to_owned(),
        Reason::Overslept => "it was not scheduled for a while".to_owned(),
        Reason::RingFailed(Failure::TokenLost) => {
            "the ring has gone silent: a site or the network has failed".to_owned()
        }
        Reason::RingFailed(Failure::CannotReceive) => {
            "what other sites sent does not arrive, however often it is asked for".to_owned()
        }
        Reason::PeerGathers(site) => format!("site {} looks for others", name(usize::from(site.get()))),
        Reason::Reach => "a site has come, or one hears only some of the others".to_owned(),
        Reason::FormingFailed => "the last attempt at a ring did not succeed".to_owned(),
    }
}

/// Why there is no link to a site, and what to do about it.
pub(crate) fn no_link(why: &NoLink) -> String {
    match why {
        NoLink::OtherNetwork(theirs) => format!(
            "it has another network file, whose fingerprint begins with {}: give all sites the same file with \
             `ringfort site install`, and start them again",
            HEXLOWER.encode(theirs.get(..4).unwrap_or_default())
        ),
        NoLink::HungUp => {
            "it takes the call and hangs up before it has said who it is: it may be busy, starting or ending. It is called again"
                .to_owned()
        }
        NoLink::Link(LinkError::Timeout) => {
            "it takes the call and does not answer in time: its machine or the network is busy, or it is stopped. It is called again"
                .to_owned()
        }
        NoLink::Lookup(error) => {
            format!("its address cannot be looked up ({error}): check its name, and the name server")
        }
        NoLink::Link(error) => match error {
            LinkError::Unreachable(error) => {
                format!(
                    "nothing answers at its address ({error}): start it, or let its port through the firewalls, TCP and UDP"
                )
            }
            LinkError::Refused => {
                "it does not accept this site's key: its network file does not have this site, or has an \
                                   older key of it. Compare `ringfort site network show` on both"
                    .to_owned()
            }
            LinkError::WrongKey => {
                "what answers at its address does not hold its key: the network file has an older key or \
                                    another machine's address, or somebody stands in for it. Nothing was sent to it"
                    .to_owned()
            }
            LinkError::Version => "it speaks another version of Ringfort: update the older one".to_owned(),
            LinkError::Closed => "the link was cut".to_owned(),
            other => other.to_string(),
        },
    }
}
