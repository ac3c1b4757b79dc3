//! Another group communication system, measured in the same run: corosync, by a program that the user gives.
//!
//! The program is called as `PROGRAM rate BYTES SENDERS SERVICE SECONDS DATAGRAM_BYTES`, and prints the messages a second
//! that each member is delivered; or as `PROGRAM latency BYTES PER_SECOND SERVICE SECONDS DATAGRAM_BYTES`, and prints the
//! median and the 99th percentile in microseconds, of messages that three members send in turn. What is no figure is the
//! reason why there is none.

use std::path::PathBuf;
use std::time::Duration;

use ringfort_peer::Service;
use tokio::process::Command;

use super::{PeerOptions, STEADY_RATE, service_name};
use crate::program::find;
use crate::row::Row;

const DAEMON: &str = "corosync";

/// What is measured beside the sites.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The program that measures it.
    pub program: Option<PathBuf>,
}

impl Beside {
    /// Why there is no figure, if there can be none.
    fn absent(&self) -> Option<String> {
        if find(DAEMON.as_ref()).is_none() {
            return Some("not installed".to_owned());
        }
        self.program.is_none().then(|| "installed, but no program to measure it was given (--beside)".to_owned())
    }

    pub(super) async fn rate(&self, options: &PeerOptions, service: Service, senders: usize, bytes: usize) -> Row {
        let name = format!("  {DAEMON}: {bytes} B, {senders} sending, {}", service_name(service));
        match self.figures("rate", bytes, senders as u64, service, options).await.as_deref() {
            Ok([rate]) => Row::rate(name, *rate, None),
            Ok(_) => Row::none(name, "the program beside printed no single figure"),
            Err(why) => Row::none(name, why),
        }
    }

    pub(super) async fn latency(&self, options: &PeerOptions, service: Service, bytes: usize) -> Vec<Row> {
        let name = |which| format!("  {DAEMON} {which}: {bytes} B at {STEADY_RATE}/s, {}", service_name(service));
        match self.figures("latency", bytes, STEADY_RATE, service, options).await.as_deref() {
            Ok([p50, p99]) => {
                let time = |us: &f64| Duration::from_secs_f64(us.clamp(0.0, 1e9) / 1e6);
                vec![Row::time(name("p50"), time(p50), None), Row::time(name("p99"), time(p99), None)]
            }
            Ok(_) => vec![Row::none(name("p50"), "the program beside did not print two figures")],
            Err(why) => vec![Row::none(name("p50"), why)],
        }
    }

    async fn figures(
        &self,
        what: &str,
        bytes: usize,
        number: u64,
        service: Service,
        options: &PeerOptions,
    ) -> Result<Vec<f64>, String> {
        if let Some(why) = self.absent() {
            return Err(why);
        }
        let Some(program) = &self.program else { return Err("not measured".to_owned()) };
        let seconds = options.length.as_secs().max(1);
        let output = Command::new(program)
            .arg(what)
            .args([bytes.to_string(), number.to_string(), service_name(service).to_owned()])
            .args([seconds.to_string(), options.datagram_bytes.to_string()])
            .kill_on_drop(true)
            .output();
        let output = output.await.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err("the program beside failed".to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let figures = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
        figures.map_err(|_| text.trim().to_owned())
    }
}
