//! The file that all sites of a network have: who they are and where.
//!
//! ```toml
//! network = "plant"
//! datagram_bytes = 1400     # what every path between sites carries; 1400 if it is left out
//!
//! [[site]]
//! name = "north"
//! address = "north.example:4804"
//! key = "…"
//! ```
//!
//! The order of sites means nothing: they are sorted by name. Two files that say the same have one fingerprint, which
//! people compare.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use ringfort_crypto::hash::digest;
use serde::{Deserialize, Serialize};

/// The most sites of one network.
pub const SITES_MAX: usize = 32;
/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024;
/// The longest name of a site: clients see it as a part of private names, which have room for no more.
const NAME_BYTES_MAX: usize = 19;
const ADDRESS_BYTES_MAX: usize = 255;
/// What a path carries that nobody knows better.
const DATAGRAM_BYTES: usize = 1400;
/// What a datagram may be set to.
const DATAGRAM_RANGE: std::ops::RangeInclusive<usize> = 576..=60_000;

/// A network's sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    name: String,
    datagram_bytes: usize,
    sites: Vec<SiteInfo>,
}

/// One site, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteInfo {
    /// Its name.
    pub name: String,
    /// `HOST:PORT`: datagrams and links go there.
    pub address: String,
    /// The key that proves that it is this site.
    pub key: [u8; 32],
}

/// A file that describes no network: what is wrong, for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// Not the TOML that it should be.
    #[error("it is not a sites file: {0}")]
    Malformed(String),
    /// Not a site's card.
    #[error("it is not a site's card, as `ringfort site new` writes it: {0}")]
    Card(String),
    /// No name, or one that is none.
    #[error("`{0}` is no name: use 1 to {NAME_BYTES_MAX} letters, digits, '-' and '_'")]
    Name(String),
    /// An address without a host or a port, or one at which nobody can be reached.
    #[error("`{address}` of site `{site}` is no address to reach it at: give HOST:PORT, as in north.example:4804")]
    Address {
        /// Whose.
        site: String,
        /// What stands there.
        address: String,
    },
    /// A key that is none.
    #[error("the key of site `{0}` is not 64 hexadecimal digits")]
    Key(String),
    /// Two sites that cannot be told apart.
    #[error("two sites have the same {what}, `{value}`: each site needs its own")]
    Twice {
        /// Name, address or key.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A size that no datagram should have.
    #[error("datagram_bytes is {0}: give {least} to {most}", least = DATAGRAM_RANGE.start(), most = DATAGRAM_RANGE.end())]
    Datagram(usize),
    /// None, or too many.
    #[error("a network has 1 to {SITES_MAX} sites; this file has {0}")]
    Sites(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    network: String,
    #[serde(default = "usual_datagram")]
    datagram_bytes: usize,
    #[serde(rename = "site", default)]
    sites: Vec<FileSite>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSite {
    name: String,
    address: String,
    key: String,
}

fn usual_datagram() -> usize {
    DATAGRAM_BYTES
}

impl SiteInfo {
    /// The card that a site's operator gives to whoever makes the network's file.
    pub fn to_card(&self) -> String {
        let card = FileSite { name: self.name.clone(), address: self.address.clone(), key: HEXLOWER.encode(&self.key) };
        toml::to_string(&card).expect("a file of texts is TOML")
    }

    /// Reads a card.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse_card(text: &str) -> Result<Self, BadNetwork> {
        let card: FileSite = toml::from_str(text).map_err(|error| BadNetwork::Card(error.to_string()))?;
        let site = card.read()?;
        check_name(&site.name)?;
        check_address(&site)?;
        Ok(site)
    }
}

impl FileSite {
    fn read(self) -> Result<SiteInfo, BadNetwork> {
        let key = HEXLOWER.decode(self.key.to_ascii_lowercase().as_bytes()).ok();
        let key = key.and_then(|key| key.try_into().ok()).ok_or_else(|| BadNetwork::Key(self.name.clone()))?;
        Ok(SiteInfo { name: self.name, address: self.address, key })
    }
}

impl Network {
    /// A network of these sites.
    ///
    /// # Errors
    /// When a name, an address or a key is none, or two sites share one.
    pub fn new(name: String, mut sites: Vec<SiteInfo>) -> Result<Self, BadNetwork> {
        check_name(&name)?;
        if sites.is_empty() || sites.len() > SITES_MAX {
            return Err(BadNetwork::Sites(sites.len()));
        }
        for site in &sites {
            check_name(&site.name)?;
            check_address(site)?;
        }
        unique("name", sites.iter().map(|site| site.name.clone()))?;
        unique("address", sites.iter().map(|site| site.address.clone()))?;
        unique("key", sites.iter().map(|site| HEXLOWER.encode(&site.key)))?;
        sites.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Network { name, datagram_bytes: DATAGRAM_BYTES, sites })
    }

    /// The same network with larger or smaller datagrams.
    ///
    /// # Errors
    /// When no datagram should have that size.
    pub fn with_datagrams(mut self, bytes: usize) -> Result<Self, BadNetwork> {
        if !DATAGRAM_RANGE.contains(&bytes) {
            return Err(BadNetwork::Datagram(bytes));
        }
        self.datagram_bytes = bytes;
        Ok(self)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it describes no network.
    pub fn parse(text: &str) -> Result<Self, BadNetwork> {
        if text.len() > FILE_BYTES_MAX {
            return Err(BadNetwork::Malformed(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let file: File = toml::from_str(text).map_err(|error| BadNetwork::Malformed(error.to_string()))?;
        let sites = file.sites.into_iter().map(FileSite::read).collect::<Result<Vec<_>, _>>()?;
        Network::new(file.network, sites)?.with_datagrams(file.datagram_bytes)
    }

    /// The same network with one more site.
    ///
    /// # Errors
    /// When the site cannot be told from one that is there, or there are too many.
    pub fn with_site(self, site: SiteInfo) -> Result<Self, BadNetwork> {
        let Network { name, datagram_bytes, mut sites } = self;
        sites.push(site);
        Network::new(name, sites)?.with_datagrams(datagram_bytes)
    }

    /// The same network without a site; `None` if there is no such site, or no other.
    pub fn without_site(self, name: &str) -> Option<Self> {
        let before = self.sites.len();
        let sites: Vec<SiteInfo> = self.sites.into_iter().filter(|site| site.name != name).collect();
        let fewer = sites.len() < before && !sites.is_empty();
        fewer.then_some(Network { name: self.name, datagram_bytes: self.datagram_bytes, sites })
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let site = |site: &SiteInfo| FileSite {
            name: site.name.clone(),
            address: site.address.clone(),
            key: HEXLOWER.encode(&site.key),
        };
        let (network, datagram_bytes) = (self.name.clone(), self.datagram_bytes);
        let file = File { network, datagram_bytes, sites: self.sites.iter().map(site).collect() };
        toml::to_string(&file).expect("a file of texts is TOML")
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What every path between sites carries, bytes.
    pub fn datagram_bytes(&self) -> usize {
        self.datagram_bytes
    }

    /// Its sites, by name.
    pub fn sites(&self) -> &[SiteInfo] {
        &self.sites
    }

    /// The place of the site with this key.
    pub fn place_of(&self, key: &[u8; 32]) -> Option<usize> {
        self.sites.iter().position(|site| site.key == *key)
    }

    /// 32 bytes that stand for everything in the file: sites with other files do not talk to each other.
    pub fn id(&self) -> [u8; 32] {
        let parts = self.sites.iter().flat_map(|site| [site.name.as_bytes(), site.address.as_bytes(), &site.key]);
        let datagram = (self.datagram_bytes as u64).to_be_bytes();
        let parts: Vec<&[u8]> = [self.name.as_bytes(), &datagram].into_iter().chain(parts).collect();
        digest("ringfort network", &parts)
    }

    /// What people compare: eight groups of four digits.
    pub fn fingerprint(&self) -> String {
        let text = HEXLOWER.encode(self.id().get(..16).unwrap_or_default());
        let groups: Vec<&str> = (0..8).filter_map(|n| text.get(4 * n..4 * n + 4)).collect();
        groups.join(" ")
    }
}

fn check_name(name: &str) -> Result<(), BadNetwork> {
    let allowed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !allowed {
        return Err(BadNetwork::Name(name.to_owned()));
    }
    Ok(())
}

/// A host and a port, IPv6 in brackets; not an address that means *this machine, any interface*.
fn check_address(site: &SiteInfo) -> Result<(), BadNetwork> {
    let bad = || BadNetwork::Address { site: site.name.clone(), address: site.address.clone() };
    let (host, port) = site.address.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let sound = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| !ip.is_unspecified()),
        None => {
            !host.is_empty() && named && host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| !ip.is_unspecified())
                || named && host.bytes().any(|b| b.is_ascii_alphabetic())
        }
    };
    if port == 0 || !sound || site.address.len() > ADDRESS_BYTES_MAX { Err(bad()) } else { Ok(()) }
}

fn unique(what: &'static str, values: impl Iterator<Item = String>) -> Result<(), BadNetwork> {
    let mut seen = BTreeSet::new();
    for value in values {
        if !seen.insert(value.clone()) {
            return Err(BadNetwork::Twice { what, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str, number: u8) -> SiteInfo {
        SiteInfo { name: name.to_owned(), address: format!("{name}.example:4804"), key: [number; 32] }
    }

    fn network() -> Network {
        Network::new("plant".to_owned(), vec![site("south", 2), site("north", 1)]).unwrap()
    }

    #[test]
    fn a_file_is_read_back_and_its_order_means_nothing() {
        let network = network();
        assert_eq!(Network::parse(&network.to_text()).unwrap(), network);
        let turned = Network::new("plant".to_owned(), vec![site("north", 1), site("south", 2)]).unwrap();
        assert_eq!(turned.fingerprint(), network.fingerprint());
        assert_eq!(network.sites()[0].name, "north");
        assert_eq!(network.place_of(&[2; 32]), Some(1));
        let other = Network::new("plant".to_owned(), vec![site("north", 1), site("south", 3)]).unwrap();
        assert_ne!(other.fingerprint(), network.fingerprint(), "a key is in the fingerprint");
        assert_eq!(network.fingerprint().len(), 39);
        let larger = network.clone().with_datagrams(8900).unwrap();
        assert_eq!(Network::parse(&larger.to_text()).unwrap(), larger);
        assert_ne!(larger.fingerprint(), network.fingerprint());
        assert_eq!(network.clone().with_datagrams(100), Err(BadNetwork::Datagram(100)));
    }

    #[test]
    fn mistakes_are_told_by_what_is_wrong() {
        let of = |sites: Vec<SiteInfo>| Network::new("plant".to_owned(), sites).unwrap_err();
        assert_eq!(of(vec![]), BadNetwork::Sites(0));
        assert!(matches!(of(vec![site("a b", 1)]), BadNetwork::Name(_)));
        assert!(matches!(of(vec![site("a-name-of-twenty-char", 1)]), BadNetwork::Name(_)));
        assert!(matches!(
            of(vec![site("a", 1), SiteInfo { name: "b".into(), ..site("a", 2) }]),
            BadNetwork::Twice { what: "address", .. }
        ));
        assert!(matches!(of(vec![site("a", 1), site("b", 1)]), BadNetwork::Twice { what: "key", .. }));
        for address in [
            "a.example",
            "a.example:0",
            ":4804",
            "0.0.0.0:4804",
            "[::]:4804",
            "2001:db8::5",
            "http://a:1",
            "*:4804",
            "1.2.3:4",
        ] {
            let bad = SiteInfo { address: address.to_owned(), ..site("a", 1) };
            assert!(matches!(of(vec![bad]), BadNetwork::Address { .. }), "{address}");
        }
        for address in ["127.0.0.1:4804", "[2001:db8::5]:4804", "north:4804"] {
            assert!(
                Network::new("plant".into(), vec![SiteInfo { address: address.into(), ..site("a", 1) }]).is_ok(),
                "{address}"
            );
        }
        let text = network().to_text();
        assert!(matches!(Network::parse(&text.replace("name", "nmae")), Err(BadNetwork::Malformed(_))));
        assert!(matches!(Network::parse(&text.replace("0101", "01")), Err(BadNetwork::Key(_))));
    }
}
