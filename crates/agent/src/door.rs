//! Who may come in: secrets of this run, and the checks of Host, Origin and cookie.
//!
//! A browser on this machine runs pages of strangers, and a name of a stranger can be made to resolve to loopback. So
//! a request must name this very host and port, must not come from another origin, and must carry a secret. Cookies do not
//! know ports: the page lives under a path that nobody can guess, so that the browser does not hand the cookie
//! to another program on another port of this machine.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How long a ticket lets somebody in: a browser needs no longer to start.
pub const TICKET_LIVES: Duration = Duration::from_secs(30);
/// Where the page's document has the secret.
const SECRET_GAP: &str = "<meta name=\"agent-secret\" content=\"\">";
const COOKIE_NAME: &str = "ringfort";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// A secret of this run: 128 random bits as hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A fresh one.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn fresh() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Token(HEXLOWER.encode(&bytes)))
    }

    /// For addresses.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in constant time.
    pub fn fits(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Why somebody stays outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request names another host: a name that was made to resolve to loopback.
    Host,
    /// The request comes from a page of somebody else.
    Origin,
    /// No token, or a wrong one.
    Token,
}

/// The checks at the door.
#[derive(Debug)]
pub struct Door {
    host: String,
    origin: String,
    /// In the printed address.
    pub token: Token,
    /// The path that the page lives under.
    pub path: Token,
    cookie: Token,
    /// What this agent proves itself with to its page, whose document alone has it.
    secret: Token,
    ticket: Mutex<Option<(Token, Instant)>>,
}

impl Door {
    /// The door of an agent at this address.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn new(address: SocketAddr) -> std::io::Result<Self> {
        let host = address.to_string();
        let origin = format!("http://{host}");
        let [token, path, cookie, secret] = [Token::fresh()?, Token::fresh()?, Token::fresh()?, Token::fresh()?];
        Ok(Door { host, origin, token, path, cookie, secret, ticket: Mutex::default() })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The address to open.
    pub fn url(&self) -> String {
        format!("{}/?token={}", self.origin, self.token.as_str())
    }

    /// An address that opens once, and soon: for the file from which a browser is started. It is a secret, and never for a
    /// command line, which every user of this machine can read before the browser has come. A ticket that was made before is void.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn ticket_url(&self) -> std::io::Result<String> {
        let ticket = Token::fresh()?;
        let url = format!("{}/?token={}", self.origin, ticket.as_str());
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some((ticket, Instant::now() + TICKET_LIVES));
        Ok(url)
    }

    /// Whether what somebody came with at this moment is the token, or a ticket that nobody has used.
    pub fn lets_in(&self, offered: &str, now: Instant) -> bool {
        let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ticket = ticket.as_ref().is_some_and(|(ticket, until)| ticket.fits(offered) && now <= *until);
        if is_ticket {
            *ticket = None;
        }
        is_ticket || self.token.fits(offered)
    }

    /// The cookie for those who came with the token.
    pub fn set_cookie(&self) -> String {
        let (value, path) = (self.cookie.as_str(), self.path.as_str());
        format!("{COOKIE_NAME}={value}; Path=/{path}/; HttpOnly; SameSite=Strict")
    }

    /// The page's document with the secret in its place.
    pub fn document(&self, page: &str) -> String {
        page.replacen(SECRET_GAP, &SECRET_GAP.replace("\"\"", &format!("\"{}\"", self.secret.as_str())), 1)
    }

    /// Proves to a page that this is the agent which gave it its document: HMAC-SHA256 over what the page made up, as hex
    /// digits. A program that takes the port later cannot.
    pub fn proof(&self, nonce: &str) -> String {
        let mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_str().as_bytes()).expect("HMAC takes keys of any length");
        HEXLOWER.encode(&mac.chain_update(nonce.as_bytes()).finalize().into_bytes())
    }

    /// The request names this host.
    ///
    /// # Errors
    /// [`Refusal::Host`].
    pub fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match only(headers, &HOST) {
            Some(host) if host == self.host => Ok(()),
            _ => Err(Refusal::Host),
        }
    }

    /// A request for the page: of our own page or of the user, with the cookie.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_page(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let origin = headers.get(ORIGIN).is_none() || only(headers, &ORIGIN) == Some(&self.origin);
        let site = headers.get(FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none");
        if !origin || !site {
            return Err(Refusal::Origin);
        }
        if self.has_cookie(headers) { Ok(()) } else { Err(Refusal::Token) }
    }

    /// The page as a frame of a page on another port of this host, for the first document alone: whether that page
    /// may show it, the browser is told by the policy that comes with the answer.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_framed(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let neighbour = only(headers, &FETCH_SITE) == Some("same-site") && only(headers, &FETCH_DEST) == Some("iframe");
        if neighbour && !headers.contains_key(ORIGIN) {
            return if self.has_cookie(headers) { Ok(()) } else { Err(Refusal::Token) };
        }
        self.check_page(headers)
    }

    /// The page's socket: here a browser always names the origin, and it must be ours.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn check_socket(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if only(headers, &ORIGIN) != Some(&self.origin) {
            return Err(Refusal::Origin);
        }
        self.check_page(headers)
    }

    /// A program's socket: no browser, so no origin.
    ///
    /// # Errors
    /// [`Refusal::Origin`].
    pub fn check_program(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let browser = headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE);
        if browser { Err(Refusal::Origin) } else { Ok(()) }
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == COOKIE_NAME && self.cookie.fits(value))
    }
}

/// The value of a header that stands there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door::new("127.0.0.1:4711".parse().unwrap()).unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<axum::http::HeaderValue>().unwrap())
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn only_this_host_is_served() {
        let door = door();
        assert_eq!(door.check_host(&headers(&[("host", "127.0.0.1:4711")])), Ok(()));
        for host in ["127.0.0.1", "127.0.0.1:4712", "evil.example:4711", "localhost:4711", "127.0.0.1:4711.evil"] {
            assert_eq!(door.check_host(&headers(&[("host", host)])), Err(Refusal::Host), "{host}");
        }
        assert_eq!(door.check_host(&headers(&[])), Err(Refusal::Host));
        let twice = [("host", "127.0.0.1:4711"), ("host", "127.0.0.1:4711")];
        let mut both = headers(&twice[..1]);
        both.append("host", "127.0.0.1:4711".parse().unwrap());
        assert_eq!(door.check_host(&both), Err(Refusal::Host));
    }

    #[test]
    fn the_cookie_opens_only_to_our_own_page() {
        let door = door();
        let cookie = door.set_cookie();
        let cookie = cookie.split(';').next().unwrap();
        assert_eq!(door.check_page(&headers(&[("cookie", cookie)])), Ok(()));
        assert_eq!(door.check_page(&headers(&[("cookie", &format!("a=b; {cookie}"))])), Ok(()));
        assert_eq!(door.check_page(&headers(&[])), Err(Refusal::Token));
        assert_eq!(door.check_page(&headers(&[("cookie", "ringfort=")])), Err(Refusal::Token));
        let foreign = [("cookie", cookie), ("origin", "http://evil.example")];
        assert_eq!(door.check_page(&headers(&foreign)), Err(Refusal::Origin));
        let other_port = [("cookie", cookie), ("origin", "http://127.0.0.1:80")];
        assert_eq!(door.check_page(&headers(&other_port)), Err(Refusal::Origin));
        let cross = [("cookie", cookie), ("sec-fetch-site", "same-site")];
        assert_eq!(door.check_page(&headers(&cross)), Err(Refusal::Origin));
    }

    #[test]
    fn a_neighbour_may_frame_the_first_document_and_nothing_else() {
        let door = door();
        let cookie = door.set_cookie();
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        let frame = [cookie, ("sec-fetch-site", "same-site"), ("sec-fetch-dest", "iframe")];
        assert_eq!(door.check_framed(&headers(&frame)), Ok(()));
        assert_eq!(door.check_page(&headers(&frame)), Err(Refusal::Origin));
        assert_eq!(door.check_framed(&headers(&frame[1..])), Err(Refusal::Token));
        let script = [cookie, ("sec-fetch-site", "same-site"), ("sec-fetch-dest", "script")];
        assert_eq!(door.check_framed(&headers(&script)), Err(Refusal::Origin));
        let foreign = [cookie, ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "iframe")];
        assert_eq!(door.check_framed(&headers(&foreign)), Err(Refusal::Origin));
        let fetched = [&frame[..], &[("origin", "http://127.0.0.1:80")]].concat();
        assert_eq!(door.check_framed(&headers(&fetched)), Err(Refusal::Origin));
    }

    #[test]
    fn a_socket_needs_the_origin_and_a_program_has_none() {
        let door = door();
        let cookie = door.set_cookie();
        let cookie = cookie.split(';').next().unwrap();
        let ours = [("cookie", cookie), ("origin", "http://127.0.0.1:4711")];
        assert_eq!(door.check_socket(&headers(&ours)), Ok(()));
        assert_eq!(door.check_socket(&headers(&ours[..1])), Err(Refusal::Origin));
        assert_eq!(door.check_socket(&headers(&[("cookie", cookie), ("origin", "null")])), Err(Refusal::Origin));
        assert_eq!(door.check_program(&headers(&[])), Ok(()));
        assert_eq!(door.check_program(&headers(&[("origin", "null")])), Err(Refusal::Origin));
    }

    #[test]
    fn a_ticket_opens_once_and_soon() {
        let door = door();
        let offered = |url: &str| url.split_once("token=").unwrap().1.to_owned();
        let now = Instant::now();
        let ticket = offered(&door.ticket_url().unwrap());
        assert_ne!(ticket, offered(&door.url()));
        assert!(!door.lets_in("", now) && !door.lets_in(&ticket[1..], now));
        assert!(door.lets_in(&ticket, now), "the browser");
        assert!(!door.lets_in(&ticket, now), "nobody after it");
        let late = offered(&door.ticket_url().unwrap());
        assert!(!door.lets_in(&late, now + TICKET_LIVES + Duration::from_secs(5)));
        let void = offered(&door.ticket_url().unwrap());
        let last = offered(&door.ticket_url().unwrap());
        assert!(!door.lets_in(&void, now) && door.lets_in(&last, now));
        assert!(!format!("{door:?}").contains(&void));
        assert!((0..2).all(|_| door.lets_in(&offered(&door.url()), now)), "the printed address stays");
    }

    #[test]
    fn a_page_tells_its_agent_from_who_takes_the_port() {
        let (ours, other) = (door(), door());
        assert_eq!(ours.proof("nonce"), ours.proof("nonce"));
        assert_ne!(ours.proof("nonce"), ours.proof("another"));
        assert_ne!(ours.proof("nonce"), other.proof("nonce"));
        let page = String::from_utf8_lossy(&crate::bundled::PAGE[0].1.content).into_owned();
        assert!(ours.document(&page).contains(ours.secret.as_str()), "the page has the secret");
        assert!(!page.contains(ours.secret.as_str()) && !format!("{ours:?}").contains(ours.secret.as_str()));
    }

    #[test]
    fn secrets_differ_and_are_not_logged() {
        let door = door();
        assert_ne!(door.token, door.cookie);
        assert!(!format!("{door:?}").contains(door.token.as_str()));
    }
}
