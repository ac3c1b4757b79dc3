//! Links over real loopback sockets.

mod frames;
mod handshake;
mod limits;
mod measure;
mod pressure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::*;

/// Any port of a host that nobody else has.
fn loopback() -> SocketAddr {
    SocketAddr::from((ringfort_loopback::host().unwrap(), 0))
}

fn server_key() -> LinkKey {
    LinkKey::from_seed([1; 32])
}

fn leader_key() -> LinkKey {
    LinkKey::from_seed([2; 32])
}

fn quick() -> ConnectOptions {
    ConnectOptions::default()
}

/// A hang fails instead of blocking the run. It is no measure of pace: machines are busy.
const DEADLINE: Duration = Duration::from_secs(60);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("this should have happened long ago")
}

async fn listen(accept: AcceptLimits, limits: LinkLimits) -> Listener {
    Listener::bind(loopback(), &server_key(), [leader_key().public()], accept, limits).await.unwrap()
}

async fn listen_default() -> Listener {
    listen(AcceptLimits::default(), LinkLimits::default()).await
}

async fn dial(listener: &Listener, key: Option<&LinkKey>) -> Result<Link, LinkError> {
    let address = listener.local_addr().to_string();
    soon(connect(&address, server_key().public(), key, &quick())).await
}

/// A member's end and the server's end of one link, the server's already logged in.
async fn pair(listener: &mut Listener) -> (Link, Link) {
    let client = dial(listener, None).await.unwrap();
    let server = soon(listener.accept()).await.unwrap().link;
    client.authenticated();
    server.authenticated();
    (client, server)
}

type RawTls = tokio_rustls::client::TlsStream<TcpStream>;

/// A TLS client of our own making, to misbehave with.
async fn raw_tls(listener: &Listener, config: ClientConfig) -> std::io::Result<RawTls> {
    let tcp = TcpStream::connect(listener.local_addr()).await?;
    TlsConnector::from(Arc::new(config)).connect(tls::no_name(), tcp).await
}

fn member_config() -> ClientConfig {
    tls::client_config(server_key().public(), None).unwrap()
}

fn frame(length: usize) -> Bytes {
    Bytes::from(vec![0x5a; length])
}
