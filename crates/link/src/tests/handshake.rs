//! Who may talk to whom, and over what.

use std::collections::BTreeSet;

use rustls::crypto::aws_lc_rs::kx_group;
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, ProtocolVersion, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Serves one handshake with this configuration, then holds the connection.
async fn serve_once(config: ServerConfig) -> SocketAddr {
    let tcp = TcpListener::bind(loopback()).await.unwrap();
    let address = tcp.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = tcp.accept().await.unwrap();
        let _accepted = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
        std::future::pending::<()>().await;
    });
    address
}

async fn dial_address(address: SocketAddr) -> LinkError {
    soon(connect(&address.to_string(), server_key().public(), None, &quick()))
        .await
        .expect_err("this server should not be accepted")
}

#[tokio::test]
async fn both_ends_share_an_exporter_that_differs_each_time() {
    let mut listener = listen_default().await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let client = dial(&listener, None).await.unwrap();
        let server = soon(listener.accept()).await.unwrap();
        assert_eq!(client.exporter(), server.exporter);
        assert_eq!(server.exporter, server.link.exporter());
        assert_eq!(server.peer, PeerKind::Anonymous);
        assert_eq!(client.remote(), listener.local_addr());
        assert!(server.remote.ip().is_loopback());
        assert!(seen.insert(client.exporter()));
    }
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_the_version_1_3() {
    let listener = listen_default().await;
    let stream = soon(raw_tls(&listener, member_config())).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = session.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.alpn_protocol(), Some(tls::ALPN));
}

#[tokio::test]
async fn a_client_without_the_hybrid_group_gets_nowhere() {
    let listener = listen_default().await;
    let mut config = member_config();
    let mut provider = rustls::crypto::CryptoProvider::clone(config.crypto_provider());
    provider.kx_groups = vec![kx_group::X25519];
    config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(tls::pinned(server_key().public()))
        .with_client_cert_resolver(config.client_auth_cert_resolver.clone());
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    assert!(soon(raw_tls(&listener, config)).await.is_err());
}

#[tokio::test]
async fn a_server_with_another_key_is_refused() {
    let listener = listen_default().await;
    let address = listener.local_addr().to_string();
    let other = LinkKey::from_seed([9; 32]).public();
    let error = soon(connect(&address, other, None, &quick())).await.unwrap_err();
    assert!(matches!(error, LinkError::WrongKey), "{error:?}");
}

#[tokio::test]
async fn showing_the_pinned_key_without_owning_it_is_refused() {
    let thief = LinkKey::from_seed([9; 32]);
    let mut config = tls::server_config(&server_key(), BTreeSet::new()).unwrap();
    let stolen = CertifiedKey::new(server_key().certified().cert.clone(), thief.certified().key.clone());
    config.cert_resolver = Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(Arc::new(stolen)));
    let error = dial_address(serve_once(config).await).await;
    assert!(matches!(error, LinkError::WrongKey), "{error:?}");
}

#[tokio::test]
async fn a_leader_is_recognised_by_its_key() {
    let mut listener = listen_default().await;
    let key = leader_key();
    let client = dial(&listener, Some(&key)).await.unwrap();
    let server = soon(listener.accept()).await.unwrap();
    assert_eq!(server.peer, PeerKind::Leader(key.public()));
    assert_eq!(client.exporter(), server.exporter);
}

#[tokio::test]
async fn an_unknown_leader_is_refused_in_the_handshake() {
    let mut listener = listen_default().await;
    let unknown = LinkKey::from_seed([3; 32]);
    // The client finishes first in TLS 1.3, so it may hear of the refusal only when it reads; sending
    // into the closed connection meanwhile must not drown the reason.
    let error = match dial(&listener, Some(&unknown)).await {
        Ok(client) => {
            let (sender, mut receiver) = client.split();
            for _ in 0..8 {
                let _ = sender.send(Class::Control, frame(1000));
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            soon(receiver.recv()).await.unwrap_err()
        }
        Err(error) => error,
    };
    assert!(matches!(error, LinkError::Refused), "{error:?}");
    let accepted = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepted.is_err(), "the driver must not see it");
}

#[tokio::test]
async fn a_leader_key_that_is_shown_but_not_owned_is_refused() {
    let mut listener = listen_default().await;
    let thief = LinkKey::from_seed([9; 32]);
    let stolen = CertifiedKey::new(leader_key().certified().cert.clone(), thief.certified().key.clone());
    let mut config = member_config();
    config.client_auth_cert_resolver =
        Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(Arc::new(stolen)));
    let _stream = soon(raw_tls(&listener, config)).await;
    let accepted = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepted.is_err(), "the driver must not see it");
}

#[tokio::test]
async fn another_version_is_told_apart() {
    for protocols in [vec![b"ringfort/2".to_vec()], vec![]] {
        let mut config = tls::server_config(&server_key(), BTreeSet::new()).unwrap();
        config.alpn_protocols = protocols;
        let error = dial_address(serve_once(config).await).await;
        assert!(matches!(error, LinkError::Version), "{error:?}");
    }
}

#[tokio::test]
async fn the_listener_turns_other_versions_away() {
    let mut listener = listen_default().await;
    for protocols in [vec![b"ringfort/2".to_vec()], vec![]] {
        let mut config = member_config();
        config.alpn_protocols = protocols;
        let _stream = soon(raw_tls(&listener, config)).await;
        let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(accepted.is_err());
    }
    let client = dial(&listener, None).await;
    assert!(client.is_ok() && soon(listener.accept()).await.is_some());
}

#[tokio::test]
async fn what_does_not_answer_has_a_name() {
    let closed = TcpListener::bind(loopback()).await.unwrap().local_addr().unwrap();
    let error = dial_address(closed).await;
    assert!(matches!(error, LinkError::Unreachable(_)), "{error:?}");

    let options = ConnectOptions { handshake_timeout: Duration::from_millis(100), ..quick() };
    let silent = TcpListener::bind(loopback()).await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = soon(connect(&address, server_key().public(), None, &options)).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout), "{error:?}");

    let babbling = TcpListener::bind(loopback()).await.unwrap();
    let address = babbling.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = babbling.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    });
    let error = dial_address(address).await;
    assert!(matches!(error, LinkError::Protocol(_)), "{error:?}");
}
