//! Messages a second, and latency at a steady rate: one client at each site, all in one group.

use std::time::{Duration, Instant};

use ringfort_peer::Service;
use ringfort_site::client::{Incoming, Sender};
use ringfort_spread::Name;
use ringfort_spread::client::Received;
use tokio::task::JoinSet;

use super::STEADY_RATE;
use super::sites::Sites;
use crate::row::middle;
use crate::{BenchError, lost};

const PATIENCE: Duration = Duration::from_secs(60);
/// The first byte of a sender's last message.
const LAST: u8 = 1;
/// Messages that a sender puts together before it looks at the clock.
const BURST_BYTES: usize = 32 * 1024;

/// A client at each site, all in one group.
pub(super) async fn members(sites: &Sites) -> Result<(Name, Vec<(Sender, Incoming)>), BenchError> {
    sites.together(&[0, 1, 2]).await?;
    let group = sites.fresh_group()?;
    let mut clients = Vec::new();
    for n in 0..3 {
        let (mut sender, incoming) = sites.client(n).await?;
        sender.join(group).await.map_err(lost)?;
        clients.push((sender, incoming));
    }
    for (_, incoming) in &mut clients {
        until_view(incoming, 3).await?;
    }
    Ok((group, clients))
}

/// Reads up to a view of so many members.
pub(super) async fn until_view(incoming: &mut Incoming, wanted: usize) -> Result<(), BenchError> {
    let seen = async {
        loop {
            if let Received::Membership { members, .. } = incoming.next().await.map_err(lost)?
                && members.len() == wanted
            {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.map_err(|_| lost("a view did not come"))?
}

/// What every member is delivered in a second, the senders too, while `senders` of the three send as fast as they can.
pub(super) async fn rate(
    sites: &Sites,
    service: Service,
    senders: usize,
    bytes: usize,
    length: Duration,
) -> Result<f64, BenchError> {
    let (group, clients) = members(sites).await?;
    let started = Instant::now();
    let mut sending = JoinSet::new();
    let mut receiving = JoinSet::new();
    for (n, (sender, incoming)) in clients.into_iter().enumerate() {
        receiving.spawn(count(incoming, senders));
        let until = (n < senders).then(|| started + length);
        sending.spawn(send(sender, service, group, bytes, until));
    }
    let mut senders = Vec::new();
    while let Some(sent) = sending.join_next().await {
        senders.push(sent.map_err(lost)??);
    }
    let mut delivered = Vec::new();
    let all = async {
        while let Some(counted) = receiving.join_next().await {
            delivered.push(counted.map_err(lost)??);
        }
        Ok::<(), BenchError>(())
    };
    tokio::time::timeout(PATIENCE, all).await.map_err(|_| lost("the last messages did not come"))??;
    let messages = delivered.first().copied().unwrap_or_default();
    if delivered.iter().any(|other| *other != messages) {
        return Err(lost(format!("members were delivered different numbers of messages: {delivered:?}")));
    }
    Ok(messages as f64 / started.elapsed().as_secs_f64())
}

/// Sends until the time is over, and says which message is the last.
async fn send(
    mut sender: Sender,
    service: Service,
    group: Name,
    bytes: usize,
    until: Option<Instant>,
) -> Result<Sender, BenchError> {
    let Some(until) = until else { return Ok(sender) };
    let mut payload = vec![0; bytes];
    let burst = (BURST_BYTES / bytes.max(1)).clamp(1, 64);
    while Instant::now() < until {
        for _ in 0..burst {
            sender.enqueue(service, &[group], true, &payload).await.map_err(lost)?;
        }
        sender.flush().await.map_err(lost)?;
    }
    if let Some(first) = payload.first_mut() {
        *first = LAST;
    }
    sender.multicast(service, &[group], true, &payload).await.map_err(lost)?;
    Ok(sender)
}

/// Counts up to the last message of each sender.
async fn count(mut incoming: Incoming, senders: usize) -> Result<u64, BenchError> {
    let (mut messages, mut last) = (0, 0);
    while last < senders {
        if let Received::Message { data, .. } = incoming.next().await.map_err(lost)? {
            messages += 1;
            last += usize::from(data.first() == Some(&LAST));
        }
    }
    Ok(messages)
}

/// Median and 99th percentile of the time from a client's call to the delivery to the clients of the other two sites, at
/// a steady rate. The three send in turn.
pub(super) async fn latency(
    sites: &Sites,
    service: Service,
    bytes: usize,
    length: Duration,
) -> Result<(Duration, Duration), BenchError> {
    let (group, clients) = members(sites).await?;
    let rounds = STEADY_RATE * length.as_secs().max(1) / clients.len().max(1) as u64;
    let epoch = Instant::now();
    let mut receiving = JoinSet::new();
    let mut senders = Vec::new();
    for (sender, incoming) in clients {
        receiving.spawn(times(incoming, epoch, 2 * rounds));
        senders.push(sender);
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(STEADY_RATE).unwrap_or(1));
    let mut payload = vec![0; bytes.max(8)];
    for _ in 0..rounds {
        for sender in &mut senders {
            ticks.tick().await;
            let at = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
            payload.iter_mut().zip(at.to_le_bytes()).for_each(|(to, from)| *to = from);
            sender.multicast(service, &[group], false, &payload).await.map_err(lost)?;
        }
    }
    let mut all = Vec::new();
    while let Some(took) = receiving.join_next().await {
        all.extend(took.map_err(lost)??);
    }
    all.sort_unstable();
    let p99 = all.get(all.len() * 99 / 100).copied().unwrap_or_default();
    Ok((middle(all), p99))
}

async fn times(mut incoming: Incoming, epoch: Instant, messages: u64) -> Result<Vec<Duration>, BenchError> {
    let mut took = Vec::new();
    let all = async {
        while (took.len() as u64) < messages {
            if let Received::Message { data, .. } = incoming.next().await.map_err(lost)?
                && let Some(at) = data.first_chunk::<8>()
            {
                took.push(epoch.elapsed().saturating_sub(Duration::from_nanos(u64::from_le_bytes(*at))));
            }
        }
        Ok::<(), BenchError>(())
    };
    tokio::time::timeout(PATIENCE, all).await.map_err(|_| lost("messages at a steady rate did not come"))??;
    Ok(took)
}
