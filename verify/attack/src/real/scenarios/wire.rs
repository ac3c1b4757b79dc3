//! What a hostile network can do without any key.

use std::sync::Arc;
use std::time::Duration;

use ringfort_protocol::member::Confirmation;
use tokio::task::JoinSet;

use super::super::PATIENCE;
use super::super::proxy::{Deed, Order, Proxy, Way, replay};
use super::super::stage::N;
use super::super::trial::{HONEST, Trial};
use super::super::wires::Wires;
use super::{HANG_UP, until};

/// Connections replayed at each leader.
const REPLAYS: usize = 2;

/// Once, at the next record.
fn next(way: Way, deed: Deed) -> Order {
    Order { way, from: 0, deed, times: 1 }
}

/// Whole recorded connections of members and leaders again: their logins, votes, heartbeats and messages.
pub async fn connection_replay(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut recorded = Vec::new();
    let wires = trial.stage.wires()?;
    for leader in 1..=N {
        let target = wires.address(leader)?;
        let mut proxies: Vec<&Arc<Proxy>> =
            HONEST.iter().map(|name| wires.of_member(name, leader)).collect::<Result<_, _>>()?;
        proxies.extend((1..leader).map(|from| wires.between(from, leader)).collect::<Result<Vec<_>, _>>()?);
        for proxy in proxies {
            let last = proxy.recordings().into_iter().rev().filter(|one| one.up.len() > 1_000).take(REPLAYS);
            recorded.extend(last.map(|one| (target.clone(), one.up)));
        }
    }
    let replays = recorded.iter().map(|(target, bytes)| replay(target, bytes, HANG_UP));
    let mut outcomes = Vec::new();
    // One after the other, so that the replays meet no limit but that of the handshake.
    for replayed in replays {
        outcomes.push(replayed.await?);
    }
    let bytes: usize = outcomes.iter().map(|one| one.sent).sum();
    trial.made(&format!("recorded connections replayed, {} kB", bytes / 1000), outcomes.len() as u64);
    let taken = outcomes.iter().filter(|one| !one.refused).count();
    trial.none(taken as u64, "replays were taken");
    trial.honest_go_on().await;
    Ok(())
}

/// All that leaders told a member on earlier connections, old keys among it, in place of what they say now.
pub async fn rekey_replay(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let wires = trial.stage.wires()?;
    let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("ben", l)).collect::<Result<_, _>>()?;
    let before = trial.stage.desk.look(|state| state.members.get("ben").and_then(|m| m.view));
    let mut old = 0;
    for proxy in &proxies {
        let said = proxy.recordings().into_iter().max_by_key(|one| one.down.len()).unwrap_or_default().down;
        old += said.len();
        proxy.play_back(said);
        proxy.cut();
    }
    let counts: Vec<u64> = proxies.iter().map(|proxy| proxy.deeds()).collect();
    let played = until(PATIENCE, || proxies.iter().zip(&counts).all(|(proxy, count)| proxy.deeds() > count + 4)).await;
    let told = trial
        .stage
        .desk
        .until(PATIENCE, |state| state.members.get("ben").is_some_and(|m| m.confirmation == Confirmation::Unconfirmed))
        .await;
    let after = trial.stage.desk.look(|state| state.members.get("ben").and_then(|m| m.view));
    let went_back = after.map(|view| view.epoch) < before.map(|view| view.epoch);
    let calls: u64 = proxies.iter().zip(&counts).map(|(proxy, count)| proxy.deeds() - count).sum();
    trial.made(&format!("calls answered with {} kB of recorded traffic", old / 1000), if played { calls } else { 0 });
    trial.expect(told, "the member says that too few leaders confirm its view");
    trial.expect(!went_back, "the member goes back to no old key");
    Ok(())
}

/// A member is kept from hearing of new keys, with all its links open.
pub async fn rekeys_withheld(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let wires = trial.stage.wires()?;
    let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("ben", l)).collect::<Result<_, _>>()?;
    let before = Wires::deeds(&proxies);
    Wires::order(&proxies, &[next(Way::Down, Deed::Swallow)]);
    let withheld = until(PATIENCE, || Wires::deeds(&proxies) >= before + u64::from(N)).await;
    let silenced = Wires::deeds(&proxies) - before;
    let told = trial
        .stage
        .desk
        .until(PATIENCE, |state| state.members.get("ben").is_some_and(|m| m.confirmation == Confirmation::Unconfirmed))
        .await;
    trial.made("links silenced in one direction", if withheld { silenced } else { 0 });
    trial.expect(told, "the member says in time that its view is not confirmed any more");
    let others = trial.stage.desk.look(|state| state.members.get("ana").is_some_and(|m| m.confirmed));
    trial.expect(others, "others are not held up");
    Ok(())
}

/// What became of deeds on single records.
#[derive(Default)]
struct Handled {
    made: u64,
    /// Connections that ended on it and were made again.
    ended: u64,
}

/// Does these deeds, each in both directions, to one record each, spread over the wires.
///
/// Each must end its connection, but for those that are `harmless`; and each wire must carry traffic again.
async fn handle(wires: &[&Arc<Proxy>], deeds: &[Deed], harmless: bool) -> anyhow::Result<Handled> {
    let orders = deeds.iter().flat_map(|deed| [next(Way::Up, *deed), next(Way::Down, *deed)]);
    let mut work: Vec<(Arc<Proxy>, Vec<Order>)> = wires.iter().map(|proxy| (Arc::clone(proxy), Vec::new())).collect();
    for (place, order) in orders.enumerate() {
        let place = place % work.len().max(1);
        if let Some((_, list)) = work.get_mut(place) {
            list.push(order);
        }
    }
    let mut tasks = JoinSet::new();
    for (proxy, orders) in work {
        tasks.spawn(async move {
            let mut handled = Handled::default();
            for order in orders {
                let (done, connections) = (proxy.deeds(), proxy.connections());
                proxy.order(&[order]);
                handled.made += u64::from(until(PATIENCE, || proxy.deeds() > done).await);
                if !harmless {
                    handled.ended += u64::from(until(PATIENCE, || proxy.connections() > connections).await);
                }
                let records = proxy.records();
                until(PATIENCE, || proxy.records() > records + 10).await;
            }
            handled
        });
    }
    let mut all = Handled::default();
    while let Some(one) = tasks.join_next().await {
        let one = one?;
        all.made += one.made;
        all.ended += one.ended;
    }
    Ok(all)
}

/// All wires of the members that talk.
fn members_wires<'a>(trial: &'a Trial<'_>) -> anyhow::Result<Vec<&'a Arc<Proxy>>> {
    let wires = trial.stage.wires()?;
    let ends = (1..=N).flat_map(|leader| HONEST.map(|name| (name, leader)));
    ends.map(|(name, leader)| wires.of_member(name, leader)).collect()
}

/// One bit of a record is another: in its header, where data is not random, at the start and at the end.
pub async fn records_altered(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    // The length in the header; first and last byte of what is sealed.
    let deeds = [Deed::Flip(3), Deed::Flip(4), Deed::Flip(5), Deed::Flip(-1)];
    let handled = handle(&members_wires(trial)?, &deeds, false).await?;
    trial.made("records altered by one bit", handled.made);
    trial.expect(handled.ended == handled.made, format!("{} links ended on it and made again", handled.ended));
    // The outer type says nothing: the true one is sealed (RFC 8446 §5.2).
    let handled = handle(&members_wires(trial)?, &[Deed::Flip(0)], true).await?;
    trial.made("outer types altered, which nobody believes", handled.made);
    trial.honest_go_on().await;
    Ok(())
}

/// Records lost, doubled, swapped, cut short.
pub async fn records_lost(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let deeds = [Deed::Drop, Deed::Double, Deed::Swap, Deed::Truncate(9)];
    let handled = handle(&members_wires(trial)?, &deeds, false).await?;
    trial.made("records dropped, doubled, swapped or cut short", handled.made);
    trial.expect(handled.ended == handled.made, format!("{} links ended on it and made again", handled.ended));
    trial.honest_go_on().await;
    Ok(())
}

/// Records late, on all wires.
pub async fn records_delayed(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let wires = trial.stage.wires()?;
    let late = |way| Order { way, from: 0, deed: Deed::Delay(Duration::from_millis(60)), times: 30 };
    let all = wires.all();
    let before = Wires::deeds(&all);
    Wires::order(&all, &[late(Way::Up), late(Way::Down)]);
    let enough = 200;
    until(PATIENCE, || Wires::deeds(&all) >= before + enough).await;
    let made = Wires::deeds(&all) - before;
    trial.made("records delayed", made);
    trial.honest_go_on().await;
    Ok(())
}

/// All of it on the wires between leaders.
pub async fn leaders_wires(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let deeds = [Deed::Flip(5), Deed::Drop, Deed::Double, Deed::Swap, Deed::Truncate(9), Deed::Cut];
    let wires = trial.stage.wires()?;
    let mut between = Vec::new();
    for from in 1..=N {
        for to in from + 1..=N {
            between.push(wires.between(from, to)?);
        }
    }
    let handled = handle(&between, &deeds, false).await?;
    trial.made("records of leaders altered, dropped, doubled, swapped or cut short", handled.made);
    trial.expect(handled.ended == handled.made, format!("{} links ended on it and made again", handled.ended));
    trial.honest_go_on().await;
    Ok(())
}

/// Somebody joins over wires that are cut at the same record of each, from the first on.
pub async fn cut_anywhere(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    trial.comes_late("dan");
    // Lays its wires.
    trial.stage.join("dan", PATIENCE).await?;
    trial.stage.leave("dan").await?;
    let mut cuts = 0;
    let mut joined = 0;
    for record in 0..8_u64 {
        let wires = trial.stage.wires()?;
        let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("dan", l)).collect::<Result<_, _>>()?;
        let before = Wires::deeds(&proxies);
        let way = if record.is_multiple_of(2) { Way::Up } else { Way::Down };
        Wires::order(&proxies, &[Order { way, from: record, deed: Deed::Cut, times: 1 }]);
        joined += u64::from(trial.stage.join("dan", PATIENCE).await.is_ok());
        let wires = trial.stage.wires()?;
        let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("dan", l)).collect::<Result<_, _>>()?;
        cuts += Wires::deeds(&proxies) - before;
        wires.heal();
        if trial.stage.present().contains("dan") {
            trial.stage.leave("dan").await?;
        }
    }
    trial.made("cuts of links during a join, each at another record", cuts);
    trial.expect(joined == 8, format!("{joined} of 8 joins came through"));
    Ok(())
}

/// One leader is cut off from everybody, and comes back.
pub async fn partition(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let wires = trial.stage.wires()?;
    let around = wires.around(3);
    around.iter().for_each(|proxy| proxy.sever());
    let severed = around.len();
    let gone = trial.stage.desk.until(PATIENCE, |state| state.none_hears(3)).await;
    trial.made("wires of leader 3 severed", severed as u64);
    trial.expect(gone, "members say that they do not hear it");
    let joined = trial.stage.join("dan", PATIENCE).await.is_ok();
    trial.expect(joined, "somebody joins meanwhile");
    trial.honest_go_on().await;
    trial.stage.wires()?.heal();
    let heard = trial.stage.heard(3).await;
    trial.expect(heard, "the leader caught up when it came back");
    Ok(())
}

/// Every wire is cut at once, for a while.
pub async fn blackout(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let wires = trial.stage.wires()?;
    let all = wires.all();
    all.iter().for_each(|proxy| proxy.sever());
    let severed = all.len() as u64;
    let told = trial
        .stage
        .desk
        .until(PATIENCE, |state| state.present().all(|(_, m)| m.confirmation == Confirmation::Unconfirmed))
        .await;
    trial.made("wires severed at once", severed);
    trial.expect(told, "all members say that their view is not confirmed");
    trial.stage.wires()?.heal();
    trial.honest_go_on().await;
    Ok(())
}
