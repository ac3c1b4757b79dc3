//! Three sites, each a process, and their clients: messages a second, latency at a steady rate, and what changes of the
//! membership take; beside what UDP and the AEAD alone allow on this machine, and beside another program's figures.
//!
//! All of it in one run: on a machine that others use too, only the ratios say something.

mod beside;
mod changes;
mod floor;
mod proxy;
mod rates;
mod sites;

use std::path::PathBuf;
use std::time::Duration;

use ringfort_peer::Service;

use crate::BenchError;
use crate::row::{Report, Row};

pub use beside::Beside;

/// What of a peer network is measured, and how long.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// The `ringfort` program, which runs each site.
    pub program: PathBuf,
    /// What a datagram between sites may have, in bytes: the floor and the program beside are given the same.
    pub datagram_bytes: usize,
    /// Sizes of messages, in bytes.
    pub sizes: Vec<usize>,
    /// How long each rate is measured, and each latency.
    pub length: Duration,
    /// How often each change of the membership is made.
    pub changes: usize,
    /// Measures another system in the same run.
    pub beside: Beside,
}

/// Messages a second at which latency is measured.
const STEADY_RATE: u64 = 250;

/// Measures a peer network; `told` is called with each row as it comes.
///
/// # Errors
/// [`BenchError`] if the sites cannot be started, or do not come together.
pub async fn run(options: &PeerOptions, mut told: impl FnMut(&Row)) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let mut add = |row: Row| {
        told(&row);
        report.rows.push(row);
    };
    let sites = sites::Sites::start(options, None).await?;
    for bytes in &options.sizes {
        for senders in [1, 3] {
            for service in [Service::Agreed, Service::Safe] {
                let what = format!("{bytes} B, {senders} sending, {}", service_name(service));
                let rate = rates::rate(&sites, service, senders, *bytes, options.length).await?;
                let floor = floor::rate(options.datagram_bytes, *bytes);
                add(Row::rate(format!("messages a second: {what}"), rate, Some(floor)));
                add(options.beside.rate(options, service, senders, *bytes).await);
            }
        }
        let floor = floor::latency(options.datagram_bytes, *bytes)?;
        for service in [Service::Agreed, Service::Safe] {
            let what = format!("{bytes} B at {STEADY_RATE}/s, {}", service_name(service));
            let (p50, p99) = rates::latency(&sites, service, *bytes, options.length).await?;
            add(Row::time(format!("latency p50: {what}"), p50, Some(floor)));
            add(Row::time(format!("latency p99: {what}"), p99, None));
            for row in options.beside.latency(options, service, *bytes).await {
                add(row);
            }
        }
    }
    for row in changes::of_clients(&sites, options.changes * 10).await? {
        add(row);
    }
    drop(sites);
    for row in changes::of_sites(options).await? {
        add(row);
    }
    Ok(report)
}

fn service_name(service: Service) -> &'static str {
    if service == Service::Safe { "safe" } else { "agreed" }
}
