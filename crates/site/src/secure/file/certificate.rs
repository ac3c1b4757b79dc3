//! A member's certificate in a file: public, and good only with the member's key.

use std::fs;
use std::io::Read;
use std::path::Path;

use data_encoding::HEXLOWER;
use ringfort_documents::disk::{Access, write_new};
use ringfort_peer_keys::Certificate;
use serde::{Deserialize, Serialize};

use super::PeerFileError;

const FILE_BYTES_MAX: u64 = 16 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    group: String,
    user: String,
    #[serde(default)]
    role: String,
    key: String,
    from_unix_s: u64,
    until_unix_s: u64,
    authority: String,
    signature: String,
}

/// Reads a certificate. Whether it is good shows when a group is joined.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(path: &Path) -> Result<Certificate, PeerFileError> {
    let none = |what: &str| PeerFileError::Certificate { path: path.to_owned(), what: what.to_owned() };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| PeerFileError::Io { path: path.to_owned(), error })?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|_| none("it is no text"))?;
    let found: Document = toml::from_str(&text).map_err(|error| none(error.message()))?;
    let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap_or_default();
    let wrong = || none("a key or the signature is no hexadecimal number of the right length");
    Ok(Certificate {
        group: found.group,
        user: found.user,
        role: found.role,
        key: bytes(&found.key).try_into().map_err(|_| wrong())?,
        from_unix_s: found.from_unix_s,
        until_unix_s: found.until_unix_s,
        authority: bytes(&found.authority).try_into().map_err(|_| wrong())?,
        signature: bytes(&found.signature).try_into().map_err(|_| wrong())?,
    })
}

/// Writes a certificate to a new file.
///
/// # Errors
/// When there is such a file, or it cannot be written.
pub fn write(path: &Path, certificate: &Certificate) -> Result<(), PeerFileError> {
    let document = Document {
        group: certificate.group.clone(),
        user: certificate.user.clone(),
        role: certificate.role.clone(),
        key: HEXLOWER.encode(&certificate.key),
        from_unix_s: certificate.from_unix_s,
        until_unix_s: certificate.until_unix_s,
        authority: HEXLOWER.encode(&certificate.authority),
        signature: HEXLOWER.encode(&certificate.signature),
    };
    let text = toml::to_string(&document).map_err(|error| PeerFileError::Policy(error.to_string()))?;
    write_new(path, text.as_bytes(), Access::Public).map_err(PeerFileError::Unwritten)
}
