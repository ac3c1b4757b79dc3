//! Who may come in.
//!
//! Whoever reaches the front acts as the member. A socket in a folder of the user alone is reached by that user. A port of
//! this machine is reached by all of its users, so there a password is asked for, as etcd does it: `Authenticate` gives a
//! token for a name and a password, and each later request carries it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use http::HeaderMap;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::error::Refusal;

/// How long whoever tried a wrong password waits; one at a time does.
const WRONG_WAITS: Duration = Duration::from_millis(500);

/// Logins of one connection at once.
const LOGINS_MAX: usize = 8;

/// A password that is asked for, of a user.
#[derive(Clone)]
pub struct Password {
    /// The name that goes with it.
    pub name: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password(of {:?})", self.name)
    }
}

/// 128 random bits as hex digits, for a password or a token.
///
/// # Errors
/// When the system has no entropy.
pub fn fresh_secret() -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0_u8; 16]);
    getrandom::fill(&mut *bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(Zeroizing::new(HEXLOWER.encode(&*bytes)))
}

/// The one behind a connection.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Whether it has shown who it is.
    known: Arc<AtomicBool>,
    /// What it may say at once to show it: who guesses takes no room from others.
    pub logins: Arc<Semaphore>,
}

impl Default for Visitor {
    fn default() -> Self {
        Visitor { known: Arc::default(), logins: Arc::new(Semaphore::new(LOGINS_MAX)) }
    }
}

impl Visitor {
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    fn known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }
}

/// The check.
pub struct Door {
    asked: Option<(Password, Zeroizing<String>)>,
    wrong: Semaphore,
}

impl Door {
    /// With a password, or open to whoever reaches it.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn new(password: Option<Password>) -> std::io::Result<Self> {
        let asked = password.map(|password| fresh_secret().map(|token| (password, token))).transpose()?;
        Ok(Door { asked, wrong: Semaphore::new(1) })
    }

    /// Whether a password is asked for.
    pub fn is_locked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a request may be answered.
    pub fn check(&self, headers: &HeaderMap, visitor: &Visitor) -> Result<(), Refusal> {
        let Some((_, token)) = &self.asked else { return Ok(()) };
        let offered = headers.get("token").or_else(|| headers.get("authorization")).ok_or(Refusal::NoUser)?;
        if !same(token.as_bytes(), offered.as_bytes()) {
            return Err(Refusal::BadToken);
        }
        visitor.known();
        Ok(())
    }

    /// The token for a name and a password. Only who is wrong waits.
    pub async fn authenticate(&self, name: &str, password: &str, visitor: &Visitor) -> Result<String, Refusal> {
        let Some((wanted, token)) = &self.asked else { return Err(Refusal::AuthOff) };
        let named = same(wanted.name.as_bytes(), name.as_bytes());
        let right = same(wanted.password.as_bytes(), password.as_bytes());
        if named & right {
            visitor.known();
            return Ok(token.to_string());
        }
        let _turn = self.wrong.acquire().await;
        tokio::time::sleep(WRONG_WAITS).await;
        Err(Refusal::AuthFailed)
    }
}

/// In a time that tells the length alone.
fn same(wanted: &[u8], offered: &[u8]) -> bool {
    wanted.ct_eq(offered).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        let password = Password { name: "ana".to_owned(), password: Zeroizing::new("right".to_owned()) };
        Door::new(Some(password)).unwrap()
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_token_is_for_the_name_with_its_password() {
        let (door, visitor) = (door(), Visitor::default());
        assert_eq!(door.check(&HeaderMap::new(), &visitor), Err(Refusal::NoUser));
        assert_eq!(door.check(&with("token", "guess"), &visitor), Err(Refusal::BadToken));
        for (name, password) in [("ana", "wrong"), ("ben", "right"), ("", ""), ("ana", "righ")] {
            assert_eq!(door.authenticate(name, password, &visitor).await, Err(Refusal::AuthFailed));
        }
        assert!(!visitor.is_known(), "who was refused is nobody");
        let token = door.authenticate("ana", "right", &visitor).await.unwrap();
        assert!(visitor.is_known());
        for header in ["token", "authorization"] {
            let other = Visitor::default();
            assert_eq!(door.check(&with(header, &token), &other), Ok(()));
            assert!(other.is_known());
        }
        assert_eq!(door.check(&with("token", &token[1..]), &visitor), Err(Refusal::BadToken));
    }

    #[tokio::test]
    async fn who_guesses_waits_and_keeps_nobody_out() {
        let door = Arc::new(door());
        let guess = |door: Arc<Door>| async move { door.authenticate("ana", "guess", &Visitor::default()).await };
        let guesses: Vec<_> = (0..3).map(|_| tokio::spawn(guess(door.clone()))).collect();
        let before = tokio::time::Instant::now();
        tokio::task::yield_now().await;
        assert!(door.authenticate("ana", "right", &Visitor::default()).await.is_ok());
        assert!(before.elapsed() < WRONG_WAITS);
        for guess in guesses {
            assert_eq!(guess.await.unwrap(), Err(Refusal::AuthFailed));
        }
        assert!(before.elapsed() >= WRONG_WAITS * 3);
    }
}
