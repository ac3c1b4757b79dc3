//! The side that calls.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};
use tracing::debug;

use super::socket::Socket;
use super::{ConnectOptions, Link, LinkError, LinkKey, LinkPublicKey, tls};

/// Opens a link to `address` (`host:port`, or addresses to try in turn), which must prove possession of `server_key`.
///
/// With `client_key` the caller shows itself to be that leader; without, it stays anonymous here. A
/// server learns the client's key last, so a refusal of it may come from the first `recv` instead.
///
/// # Errors
/// `Unreachable`, `Timeout`, `WrongKey`, `Version`, `Refused`, or `Protocol` if something else answers.
pub async fn connect(
    address: impl ToSocketAddrs,
    server_key: LinkPublicKey,
    client_key: Option<&LinkKey>,
    options: &ConnectOptions,
) -> Result<Link, LinkError> {
    let config =
        tls::client_config(server_key, client_key).map_err(|error| LinkError::Local(io::Error::other(error)))?;
    let tcp = timeout(options.connect_timeout, TcpStream::connect(address))
        .await
        .map_err(|_| LinkError::Timeout)?
        .map_err(LinkError::Unreachable)?;
    let remote = tcp.peer_addr().map_err(LinkError::Unreachable)?;
    let socket = Socket::new(tcp, None).map_err(LinkError::Unreachable)?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(tls::no_name(), socket);
    let stream = timeout(options.handshake_timeout, handshake)
        .await
        .map_err(|_| LinkError::Timeout)?
        .map_err(handshake_error)?;
    let (_, session) = stream.get_ref();
    tls::check_version(session)?;
    let exporter = tls::exporter(session)?;
    debug!(%remote, server = ?server_key, "link opened");
    Ok(Link::new(TlsStream::Client(stream), exporter, remote, options.limits.clone(), None))
}

fn handshake_error(error: io::Error) -> LinkError {
    match tls::link_error(error) {
        // A listener that is full drops the connection without a word.
        LinkError::Closed => LinkError::Refused,
        other => other,
    }
}
