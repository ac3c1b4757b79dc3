//! Where the other leaders are.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use ringfort_protocol::LeaderId;
use tokio::time::timeout;
use tracing::{info, warn};

use ringfort_link::{ConnectOptions, Link, LinkError, LinkKey, LinkPublicKey, connect};

/// What a look-up will have found.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks up where a leader is, each time that a link to it is to be opened. A leader in a sandbox asks somebody outside.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Fn(LeaderId) -> Found + Send + Sync>);

impl Lookup {
    /// A look-up by `find`. It is asked for those leaders only whose address is a host name.
    pub fn new(find: impl Fn(LeaderId) -> Found + Send + Sync + 'static) -> Self {
        Lookup(Arc::new(find))
    }

    /// Looks up where a leader is.
    pub fn find(&self, leader: LeaderId) -> Found {
        (self.0)(leader)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Lookup {}

/// The way to one other leader.
pub(super) struct Way {
    pub peer: LeaderId,
    /// As in the group file.
    pub address: String,
    pub key: LinkPublicKey,
    pub lookup: Option<Lookup>,
    pub is_unknown: bool,
}

impl Way {
    /// Opens a link. The log says once that a name cannot be looked up, and why, and once that it can be again.
    pub async fn open(&mut self, key: &LinkKey, options: &ConnectOptions) -> Result<Link, LinkError> {
        let found = timeout(options.connect_timeout, self.find()).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        let peer = self.peer.number();
        match &found {
            Err(error) if !self.is_unknown => {
                warn!(peer, name = self.address, %error, "the leader's host name cannot be looked up: no link to it");
            }
            Ok(_) if self.is_unknown => info!(peer, name = self.address, "the leader's host name is found again"),
            _ => {}
        }
        self.is_unknown = found.is_err();
        connect(found.map_err(LinkError::Unreachable)?.as_slice(), self.key, Some(key), options).await
    }

    async fn find(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.address.parse() {
            return Ok(vec![address]);
        }
        let found: Vec<SocketAddr> = match &self.lookup {
            Some(lookup) => lookup.find(self.peer).await?,
            None => tokio::net::lookup_host(&self.address).await?.collect(),
        };
        if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use super::*;

    fn way(address: &str, answers: Vec<io::Result<Vec<SocketAddr>>>) -> Way {
        let answers = Mutex::new(answers.into_iter());
        let lookup = Lookup::new(move |leader| {
            assert_eq!(leader, LeaderId::new(4).unwrap());
            let answer = answers.lock().unwrap().next().unwrap();
            Box::pin(async { answer })
        });
        let (peer, key) = (LeaderId::new(4).unwrap(), LinkPublicKey([7; 32]));
        Way { peer, address: address.to_owned(), key, lookup: Some(lookup), is_unknown: false }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_anew_for_each_link_and_an_address_never() {
        let [old, new] = ["127.0.0.1:1", "127.0.0.2:2"].map(|text| text.parse::<SocketAddr>().unwrap());
        let way_by_name = way("leader-4.test:7404", vec![Ok(vec![old]), Ok(vec![new, old]), Ok(vec![])]);
        assert_eq!(way_by_name.find().await.unwrap(), [old]);
        assert_eq!(way_by_name.find().await.unwrap(), [new, old]);
        assert!(way_by_name.find().await.unwrap_err().to_string().contains("no address"));
        assert_eq!(way("127.0.0.1:1", Vec::new()).find().await.unwrap(), [old]);
    }

    #[tokio::test]
    async fn a_look_up_that_fails_is_remembered_until_one_succeeds() {
        // Nobody listens there: what counts is how far it comes.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let free = listener.local_addr().unwrap();
        drop(listener);
        let no = || Err(io::Error::other("no such name"));
        let mut way = way("leader-4.test:7404", vec![no(), no(), Ok(vec![free])]);
        let (key, options) = (LinkKey::from_seed([1; 32]), ConnectOptions::default());
        for _ in 0..2 {
            let error = way.open(&key, &options).await.unwrap_err();
            assert!(way.is_unknown && format!("{error:?}").contains("no such name"), "{error:?}");
        }
        let error = way.open(&key, &options).await.unwrap_err();
        assert!(!way.is_unknown && format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    }
}
