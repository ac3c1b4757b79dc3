//! The one TLS configuration: version 1.3, raw public keys, X25519MLKEM768, no resumption.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, CommonState, ConnectionCommon, DigitallySignedStruct,
    DistinguishedName, Error, PeerIncompatible, PeerMisbehaved, ServerConfig, SignatureScheme,
};

use super::admission::BytesBeforeLogin;
use super::{LinkError, LinkKey, LinkPublicKey};

/// Names the version of framing and of what runs inside; another version never gets further.
pub(super) const ALPN: &[u8] = b"ringfort/1";
const EXPORTER_LABEL: &[u8] = b"EXPORTER-ringfort-login";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..default_provider()
    })
});

/// Accepts the server that proves possession of `server_key`, and no other.
pub(super) fn client_config(server_key: LinkPublicKey, client_key: Option<&LinkKey>) -> Result<ClientConfig, Error> {
    let resolver: Arc<dyn ResolvesClientCert> = match client_key {
        Some(key) => Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified())),
        None => Arc::new(Anonymous),
    };
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedServer(server_key)))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not show the server's key again.
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Accepts clients without a key, and clients that prove possession of a key in `leaders`.
pub(super) fn server_config(key: &LinkKey, leaders: BTreeSet<LinkPublicKey>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(KnownLeaders(leaders)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What both ends of a completed handshake agree on, after the checks rustls leaves to us.
pub(super) fn check_version(tls: &CommonState) -> Result<(), LinkError> {
    match tls.alpn_protocol() {
        Some(ALPN) => Ok(()),
        _ => Err(LinkError::Version),
    }
}

/// The key the peer proved, if it showed one.
pub(super) fn peer_key(tls: &CommonState) -> Option<LinkPublicKey> {
    let [key] = tls.peer_certificates()? else {
        return None;
    };
    LinkPublicKey::from_spki(key)
}

/// 32 bytes only the two ends of this connection know.
pub(super) fn exporter<Side>(tls: &ConnectionCommon<Side>) -> Result<[u8; 32], LinkError> {
    tls.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(|error| LinkError::Protocol(error.to_string()))
}

/// The server name in the API of rustls; never sent, never checked.
pub(super) fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// Turns what TLS or TCP reports, during the handshake or later, into what it means for the caller.
pub(super) fn link_error(error: io::Error) -> LinkError {
    if error.get_ref().is_some_and(|inner| inner.is::<BytesBeforeLogin>()) {
        return LinkError::Protocol(BytesBeforeLogin.to_string());
    }
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::TimedOut => LinkError::Timeout,
            _ => LinkError::Closed,
        };
    };
    match tls {
        Error::InvalidCertificate(_) => LinkError::WrongKey,
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        | Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => LinkError::Version,
        Error::AlertReceived(AlertDescription::AccessDenied) => LinkError::Refused,
        other => LinkError::Protocol(other.to_string()),
    }
}

#[cfg(test)]
pub(super) fn pinned(server_key: LinkPublicKey) -> Arc<dyn ServerCertVerifier> {
    Arc::new(PinnedServer(server_key))
}

/// A client that shows no key but could read a raw one, so that a server cannot tell it from a
/// leader before the handshake is encrypted.
#[derive(Debug)]
struct Anonymous;

impl ResolvesClientCert for Anonymous {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct PinnedServer(LinkPublicKey);

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match LinkPublicKey::from_spki(end_entity) {
            Some(key) if key == self.0 && intermediates.is_empty() => Ok(ServerCertVerified::assertion()),
            _ => Err(not_accepted()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct KnownLeaders(BTreeSet<LinkPublicKey>);

impl ClientCertVerifier for KnownLeaders {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match LinkPublicKey::from_spki(end_entity) {
            Some(key) if self.0.contains(&key) && intermediates.is_empty() => Ok(ClientCertVerified::assertion()),
            _ => Err(not_accepted()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn verify_signature(
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(key.as_ref()),
        signature,
        &PROVIDER.signature_verification_algorithms,
    )
}

/// Sent to the peer as the alert `access_denied`.
fn not_accepted() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig)
}
