//! Trying what a start would do, without starting: so that a check of a configuration keeps its word.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use ringfort::protocol::{GroupInfo, LeaderId};

use crate::audit::Audit;
use crate::config::Config;
use crate::http;

/// Tries what the leader with this number would do at its start with a configuration that was read from `path`, and leaves
/// nothing behind. Gives the addresses that could not be tried, since the leader that runs on the folder may hold them.
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
    let mut bind = |addresses: &[SocketAddr], name: &str, told: &dyn Fn(&io::Error) -> String| match TcpListener::bind(
        addresses,
    ) {
        Ok(_) => Ok(()),
        Err(error) if is_in_use && error.kind() == io::ErrorKind::AddrInUse => {
            untried.push(name.to_owned());
            Ok(())
        }
        Err(error) => Err(told(&error)),
    };
    if let Some(http) = &config.status.http {
        let address: Vec<SocketAddr> = http.parse().into_iter().collect();
        bind(&address, http, &|error| http::taken(http, error))?;
    }
    let known = group.leader(me).map(|leader| leader.address.clone()).unwrap_or_default();
    let name = config.listen.address.clone().unwrap_or(known);
    let told = |error: &io::Error| {
        format!("cannot listen at {name}: {error}. Give [listen] address or --listen if that is another machine's")
    };
    let addresses: Vec<SocketAddr> = name.to_socket_addrs().map_err(|error| told(&error))?.take(1).collect();
    bind(&addresses, &name, &told)?;
    Ok(untried)
}
