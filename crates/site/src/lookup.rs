//! Where the sites of a network are: their addresses are looked up for every call, since names move.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::network::Network;

/// A name that takes longer counts as unknown for now.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a look-up by somebody else promises.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks up a site by its place in the network: for a site in a sandbox, somebody outside does it.
pub type Find = Arc<dyn Fn(usize) -> Found + Send + Sync>;

/// Looks up where sites are.
#[derive(Clone)]
pub(crate) struct Lookup {
    network: Arc<Network>,
    find: Option<Find>,
}

impl Lookup {
    pub fn new(network: Arc<Network>, find: Option<Find>) -> Self {
        Lookup { network, find }
    }

    /// The address of the site at this place.
    pub async fn find(&self, place: usize) -> io::Result<SocketAddr> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such name is known");
        let name = self.network.sites().get(place).ok_or_else(unknown)?.address.clone();
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let found = async {
            match &self.find {
                Some(find) => find(place).await,
                None => Ok(tokio::net::lookup_host(name).await?.collect()),
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await.map_err(|_| io::ErrorKind::TimedOut)??;
        found.into_iter().next().ok_or_else(unknown)
    }
}
