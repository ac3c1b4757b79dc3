//! A user's long-term key, and the certificate an authority may give it.

use std::path::Path;

use data_encoding::HEXLOWER;
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};
use ringfort_protocol::UserName;
use ringfort_protocol::login::{Certificate, WireSignature};
use ringfort_protocol::view::SessionVerifyingKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk::{Access, read_text, write_new};
use crate::error::{FileError, FileErrorKind};
use crate::os_rng;
use crate::text::{FORMAT, Hex, SecretHex, from_text, parse, parse_digits, render, secret_digits};

const KEY_BYTES_MAX: usize = 16 * 1024;

const KEY_HEADER: &str = "\
# A user's private key for Ringfort. Whoever reads this file can log in as this user.
# Give the public key to the operators; keep this file to yourself.
";
const CERTIFICATE_HEADER: &str = "\
# An authority's word that a key belongs to a user of one Ringfort group. Nothing here is secret.
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyDocument {
    #[serde(rename = "format")]
    _format: u32,
    public_key: Hex<32>,
    secret_key: SecretHex<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateDocument {
    format: u32,
    #[serde(deserialize_with = "from_text")]
    user: Name,
    key: Hex<32>,
    expires_unix_s: u64,
    authority: u8,
    signature: Hex<64>,
}

/// A user's name as text.
#[derive(Serialize)]
#[serde(transparent)]
struct Name(String);

impl std::str::FromStr for Name {
    type Err = ringfort_protocol::BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<UserName>().map(|name| Name(name.to_string()))
    }
}

/// Draws a key and writes it to a new file that only its owner can read.
pub fn create_user_key(path: &Path) -> Result<SigningKey, FileError> {
    let key = SigningKey::generate(&mut os_rng());
    write_new(path, user_key_text(&key).as_bytes(), Access::Secret)?;
    Ok(key)
}

/// What [`parse_user_key`] reads. Secret.
pub fn user_key_text(key: &SigningKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    text.push_str(KEY_HEADER);
    text.push_str(&format!("format = {FORMAT}\npublic_key = \"{}\"\n", public_key_text(&key.verifying_key())));
    for part in ["secret_key = \"", &secret_digits(&key.to_secret()), "\"\n"] {
        text.push_str(part);
    }
    text
}

/// Reads a user's key.
pub fn read_user_key(path: &Path) -> Result<SigningKey, FileError> {
    parse_user_key(path, &read_text(path, KEY_BYTES_MAX, Access::Secret)?)
}

/// As [`read_user_key`], from a text in memory. Errors name `path`.
pub fn parse_user_key(path: &Path, text: &str) -> Result<SigningKey, FileError> {
    let document: KeyDocument = parse(path, text, "a user's key file", Access::Secret)?;
    let key = SigningKey::from_secret(&document.secret_key.0);
    if key.verifying_key().to_bytes() != document.public_key.0 {
        let what = "its public key is not that of its secret key";
        return Err(FileError::new(FileErrorKind::Altered, path, what, "restore it from a backup"));
    }
    Ok(key)
}

/// A public key as people pass it on.
pub fn public_key_text(key: &VerifyingKey) -> String {
    HEXLOWER.encode(&key.to_bytes())
}

/// Reads what [`public_key_text`] wrote.
pub fn parse_public_key(text: &str) -> Result<VerifyingKey, FileError> {
    parse_digits(text).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).ok_or_else(|| {
        let what = format!("{:?} is not a public key of 64 hexadecimal digits", text.trim());
        FileError::without_path(FileErrorKind::Malformed, what, "copy it again from its owner")
    })
}

/// Writes a certificate to a new file.
pub fn write_certificate(path: &Path, certificate: &Certificate) -> Result<(), FileError> {
    write_new(path, certificate_text(path, certificate)?.as_bytes(), Access::Public)
}

/// What [`parse_certificate`] reads.
pub fn certificate_text(path: &Path, certificate: &Certificate) -> Result<String, FileError> {
    let document = CertificateDocument {
        format: FORMAT,
        user: Name(certificate.user.to_string()),
        key: Hex(certificate.key.0.to_bytes()),
        expires_unix_s: certificate.expires_unix_s,
        authority: certificate.authority,
        signature: Hex(certificate.signature.0.to_bytes()),
    };
    render(path, CERTIFICATE_HEADER, &document)
}

/// Reads a certificate. Whether it is good for a group shows in [`Certificate::check`].
pub fn read_certificate(path: &Path) -> Result<Certificate, FileError> {
    parse_certificate(path, &read_text(path, KEY_BYTES_MAX, Access::Public)?)
}

/// As [`read_certificate`], from a text in memory. Errors name `path`.
pub fn parse_certificate(path: &Path, text: &str) -> Result<Certificate, FileError> {
    let document: CertificateDocument = parse(path, text, "a certificate", Access::Public)?;
    let again = "get it again from the authority";
    let key = VerifyingKey::from_bytes(&document.key.0)
        .map_err(|_| FileError::malformed(path, "its key is not an Ed25519 key", again))?;
    let user = document.user.0.parse().map_err(|error| FileError::malformed(path, error, again))?;
    Ok(Certificate {
        user,
        key: SessionVerifyingKey(key),
        expires_unix_s: document.expires_unix_s,
        authority: document.authority,
        signature: WireSignature(Signature::from_bytes(document.signature.0)),
    })
}
