//! What a user joins with.

use std::fmt;

use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::UserName;
use ringfort_protocol::login::Certificate;
use ringfort_protocol::member::Secret;
use ringfort_protocol::view::SessionVerifyingKey;
use zeroize::Zeroizing;

use super::JoinError;

/// A user's name and secret. Redacted in `Debug`, and wiped when it is dropped; a join keeps the password only until it is
/// hardened. Clone it to join again later.
#[derive(Clone)]
pub struct Credentials {
    user: UserName,
    secret: Secret,
}

impl Credentials {
    /// A password. Text is brought to its one form, whatever the keyboard made of it ([`ringfort_documents::password::prepare`]).
    ///
    /// # Errors
    /// [`JoinError::Name`] for a name that cannot be a user's.
    pub fn password(user: &str, password: impl AsRef<[u8]>) -> Result<Self, JoinError> {
        let password = match std::str::from_utf8(password.as_ref()) {
            Ok(text) => Zeroizing::new(ringfort_documents::password::prepare(text).as_bytes().to_vec()),
            Err(_) => Zeroizing::new(password.as_ref().to_vec()),
        };
        Ok(Credentials { user: user.parse()?, secret: Secret::Password(password) })
    }

    /// A registered key.
    ///
    /// # Errors
    /// As [`Credentials::password`].
    pub fn key(user: &str, key: SigningKey) -> Result<Self, JoinError> {
        Ok(Credentials { user: user.parse()?, secret: Secret::Key(key) })
    }

    /// A key with an authority's certificate, for users who are not registered.
    ///
    /// # Errors
    /// [`JoinError::Certificate`] if the certificate is for another key.
    pub fn certificate(key: SigningKey, certificate: Certificate) -> Result<Self, JoinError> {
        if certificate.key != SessionVerifyingKey(key.verifying_key()) {
            return Err(JoinError::Certificate);
        }
        let user = certificate.user.clone();
        Ok(Credentials { user, secret: Secret::Certificate(key, Box::new(certificate)) })
    }

    /// The user's name.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    pub(super) fn into_parts(self) -> (UserName, Secret) {
        (self.user, self.secret)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, redacted)", self.user)
    }
}
