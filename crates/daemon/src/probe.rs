//! Trying what a start would do, without starting: so that a check of a configuration keeps its word.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use ringfort::protocol::{GroupInfo, LeaderId};

use crate::audit::Audit;
use crate::config::Config;
use crate::http;

/// Tries what the leader with this number would do at its start with a configuration that was read from `path`, and leaves
/// nothing behind. Gives what could not be tried, as sentences.
///
/// # Errors
/// What a start would fail with, as a sentence.
pub fn try_start(
    config: &Config,
    path: &Path,
    (group, me): (&GroupInfo, LeaderId),
    folder: &Path,
    is_in_use: bool,
) -> Result<Vec<String>, String> {
    config.check_for(group, path, folder)?;
    Audit::probe(config, &folder.canonicalize().map_err(|error| error.to_string())?)?;
    let mut untried = Vec::new();
    if let Some(http) = &config.status.http {
        let address: Vec<SocketAddr> = http.parse().into_iter().collect();
        untried.extend(try_address(&address, http, is_in_use).map_err(|error| http::taken(http, &error))?);
    }
    let known = group.leader(me).map(|leader| leader.address.clone()).unwrap_or_default();
    let name = config.listen.address.clone().unwrap_or_else(|| known.clone());
    let told = |error: io::Error| {
        format!("cannot listen at {name} ({error}): give [listen] address, or stop the program that uses it")
    };
    let addresses: Vec<SocketAddr> = name.to_socket_addrs().map_err(told)?.take(1).collect();
    match try_address(&addresses, &name, is_in_use) {
        Ok(not_tried) => untried.extend(not_tried),
        // Behind a forwarder, the option --listen says where instead.
        Err(error) if name == known && error.kind() == io::ErrorKind::AddrNotAvailable => {
            untried.push(format!("listening: {name} is no address of this machine, so --listen is needed"));
        }
        Err(error) => return Err(told(error)),
    }
    Ok(untried)
}

/// Listens there for a moment; a sentence where the leader that runs on the folder may be listening already.
fn try_address(addresses: &[SocketAddr], name: &str, is_in_use: bool) -> io::Result<Option<String>> {
    match TcpListener::bind(addresses) {
        Ok(_) => Ok(None),
        Err(error) if is_in_use && error.kind() == io::ErrorKind::AddrInUse => {
            Ok(Some(format!("listening at {name}, which is in use while a leader runs on this folder")))
        }
        Err(error) => Err(error),
    }
}
