//! How long changes of the membership take, from the cause to the last view that a client has to see.

use std::time::{Duration, Instant};

use ringfort_site::client::{Incoming, Sender};

use super::PeerOptions;
use super::proxy::Proxy;
use super::rates::{members, until_view};
use super::sites::Sites;
use crate::row::{Row, middle};
use crate::{BenchError, lost, setup};

/// A client joins a group of three and leaves it again.
pub(super) async fn of_clients(sites: &Sites, repeats: usize) -> Result<Vec<Row>, BenchError> {
    let (group, mut clients) = members(sites).await?;
    let (mut sender, mut incoming) = sites.client(0).await?;
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let started = Instant::now();
        sender.join(group).await.map_err(lost)?;
        views(&mut clients, &[0, 1, 2], 4).await?;
        until_view(&mut incoming, 4).await?;
        joins.push(started.elapsed());
        let started = Instant::now();
        sender.leave(group).await.map_err(lost)?;
        views(&mut clients, &[0, 1, 2], 3).await?;
        leaves.push(started.elapsed());
    }
    Ok(vec![
        Row::time("a client joins: everybody has the view", middle(joins), None),
        Row::time("a client leaves: everybody has the view", middle(leaves), None),
    ])
}

/// A site crashes and comes back; it is cut off and comes back.
pub(super) async fn of_sites(options: &PeerOptions) -> Result<Vec<Row>, BenchError> {
    let addresses = ringfort_loopback::addresses().map_err(setup)?;
    let mut sites = Sites::start(options, Some(addresses)).await?;
    let proxy = Proxy::start(addresses, sites.listen).await?;
    let (mut crashes, mut partitions, mut merges) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.changes.max(1) {
        let (_, mut clients) = members(&sites).await?;
        let started = Instant::now();
        proxy.cut(true);
        views(&mut clients, &[0, 1], 2).await?;
        views(&mut clients, &[2], 1).await?;
        partitions.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        proxy.cut(false);
        views(&mut clients, &[0, 1, 2], 3).await?;
        merges.push(started.elapsed());
        let started = Instant::now();
        sites.kill(2);
        views(&mut clients, &[0, 1], 2).await?;
        crashes.push(started.elapsed());
        sites.run(2)?;
    }
    Ok(vec![
        Row::time("a site crashes: the others have the view", middle(crashes), None),
        Row::time("the network is cut: both sides have the view", middle(partitions), None),
        Row::time("the cut is mended: everybody has the view", middle(merges), None),
    ])
}

/// Waits until each of these clients has seen a view of so many members.
async fn views(clients: &mut [(Sender, Incoming)], which: &[usize], wanted: usize) -> Result<(), BenchError> {
    for n in which {
        if let Some((_, incoming)) = clients.get_mut(*n) {
            until_view(incoming, wanted).await?;
        }
    }
    Ok(())
}
