//! What a member in good standing can do that says what it likes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use ringfort_protocol::LeaderId;
use ringfort_protocol::wire::MemberRequest;

use super::super::PATIENCE;
use super::super::client::knock;
use super::super::insider::Insider;
use super::super::ledger::MessageId;
use super::super::trial::Trial;
use super::HANG_UP;
use crate::adversary::Kind;

/// A user of the stage joins with its keys in its own hands.
async fn insider(trial: &mut Trial<'_>, name: &str) -> anyhow::Result<Insider> {
    trial.stage.desk.with(|state| state.insiders.insert(name.to_owned()));
    let password = trial.stage.password(name)?.to_owned();
    let insider = Insider::join(&trial.stage.info, name, &password).await?;
    let seen = |state: &mut super::super::desk::State| state.present().all(|(_, m)| m.members.contains(name));
    anyhow::ensure!(trial.stage.desk.until(PATIENCE, seen).await, "{name} is in nobody's view");
    Ok(insider)
}

fn leaders(trial: &Trial<'_>) -> Vec<LeaderId> {
    trial.stage.info.rules.leaders().collect()
}

/// Messages in another member's name, sealed under the true group key.
pub async fn forged_origin(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut mal = insider(trial, "mal").await?;
    // In its own name it is heard: its tools work.
    let id = MessageId { from: ("mal".to_owned(), 1_000), private: false, page: false, number: 1 };
    let audience = trial.stage.present();
    trial.stage.desk.with(|state| state.ledger.sending(id.clone(), audience, None));
    let own = mal.message(None, format!("{} it is me", id.text()).as_bytes())?;
    for leader in leaders(trial) {
        mal.send(leader, own.clone());
    }
    let arrived = trial.stage.all_arrived(std::time::Instant::now(), PATIENCE, &BTreeSet::new()).await == 0;
    trial.expect(arrived, "what it says in its own name is heard");

    let ana = mal.member("ana").context("ana is in its view")?;
    let mut sent = 0;
    for (leader, number) in leaders(trial).into_iter().zip(1..) {
        let forged = mal.message(Some(&ana), format!("ana 1 all 99999{number} the bridge is down").as_bytes())?;
        sent += u64::from(mal.send(leader, forged));
    }
    trial.made("messages in ana's name", sent);
    let caught = trial.caught("member mal", "bad-data").await;
    trial.expect(caught > 0, "leaders relay nobody in another's name: bad-data");

    // An accomplice among the leaders relays them all the same; then members judge.
    trial.stage.attack(2, Kind::Tamper).await?;
    anyhow::ensure!(trial.stage.heard(2).await, "the members hear leader 2");
    let mut forged = Vec::new();
    for number in 1..=4 {
        forged.push(mal.message(Some(&ana), format!("ana 1 all 88888{number} run").as_bytes())?);
    }
    let before = trial.stage.desk.look(|state| state.seen("leader 2", "altered"));
    knock(&trial.stage.info, 2, forged, Duration::from_millis(500)).await?;
    let relayed = |state: &mut super::super::desk::State| {
        let tried = state.leader(2).map(|leader| &leader.tried);
        tried.and_then(|tried| tried.get("messages of a stranger relayed")).copied().unwrap_or_default()
    };
    trial.stage.desk.until(PATIENCE, |state| relayed(state) > 0).await;
    trial.made("of them relayed by a hacked leader", trial.stage.desk.look(relayed));
    let judged = trial.stage.desk.until(PATIENCE, |state| state.seen("leader 2", "altered") > before).await;
    trial.expect(judged, "members check the sender's signature: altered");
    mal.leave().await;
    Ok(())
}

/// Attempts to make another member leave, now and later.
pub async fn forged_leave(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut moe = insider(trial, "moe").await?;
    let mut mal = insider(trial, "mal").await?;
    let mut sent = 0;
    // A leave under one's own session key, over a link that nobody logged in on.
    for leader in leaders(trial) {
        let leave = mal.sealed(leader, &MemberRequest::Leave).context("a link")?;
        let outcome = knock(&trial.stage.info, leader.number(), vec![leave], HANG_UP).await?;
        sent += outcome.sent as u64;
        trial.expect(outcome.refused, format!("leader {} refuses it from a stranger", leader.number()));
    }
    // What moe's own requests look like, over mal's link.
    moe.beat();
    for leader in leaders(trial) {
        for frame in moe.sent(leader).iter().skip(2).take(4) {
            sent += u64::from(mal.send(leader, frame.clone()));
        }
    }
    let caught = trial.caught("member mal", "bad-seal").await;
    trial.expect(caught > 0, "another's sealed requests open nowhere else: bad-seal");
    // moe's true leave, recorded, when moe is back.
    moe.leave().await;
    let old: Vec<(LeaderId, Vec<Bytes>)> =
        leaders(trial).into_iter().map(|leader| (leader, moe.sent(leader))).collect();
    let gone = |state: &mut super::super::desk::State| state.present().all(|(_, m)| !m.members.contains("moe"));
    anyhow::ensure!(trial.stage.desk.until(PATIENCE, gone).await, "moe has left");
    let mut moe = insider(trial, "moe").await?;
    for (leader, frames) in old {
        for frame in frames.into_iter().rev().take(2) {
            sent += u64::from(mal.send(leader, frame.clone()));
            sent += knock(&trial.stage.info, leader.number(), vec![frame], HANG_UP).await?.sent as u64;
        }
    }
    trial.made("leaves forged and replayed", sent);
    // Everybody still has moe after two more keys.
    let epoch = moe.epoch();
    let went_on = moe.live(PATIENCE, |moe| moe.epoch() >= epoch + 2).await;
    let inside = trial.stage.desk.look(|state| state.present().all(|(_, m)| m.members.contains("moe")));
    trial.expect(went_on && inside, "moe is in everybody's view, two keys later");
    moe.leave().await;
    mal.leave().await;
    Ok(())
}

/// Heartbeats that answer a challenge of long ago.
pub async fn stale_heartbeat(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut mal = insider(trial, "mal").await?;
    for _ in 0..4 {
        mal.beat();
        mal.live(Duration::from_millis(250), |_| false).await;
    }
    let mut sent = 0;
    for leader in leaders(trial) {
        sent += u64::from(mal.stale_beat(leader));
    }
    trial.made("heartbeats with old answers", sent);
    let caught = trial.caught("member mal", "stale-heartbeat").await;
    trial.expect(caught > 0, "named stale-heartbeat");
    mal.leave().await;
    Ok(())
}

/// Requests sent again as they were: repairs, claims, heartbeats.
pub async fn request_replay(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut mal = insider(trial, "mal").await?;
    mal.beat();
    for leader in leaders(trial) {
        mal.request(leader, &MemberRequest::Claim { have: None });
    }
    mal.live(Duration::from_millis(300), |_| false).await;
    let before = trial.stage.desk.look(|state| state.seen("member mal", "replayed"));
    let mut sent = 0;
    for leader in leaders(trial) {
        for frame in mal.sent(leader).into_iter().skip(2) {
            sent += u64::from(mal.send(leader, frame));
        }
    }
    trial.made("sealed requests replayed", sent);
    let all = trial.stage.desk.until(PATIENCE, |state| state.seen("member mal", "replayed") >= before + sent).await;
    let seen = trial.stage.desk.look(|state| state.seen("member mal", "replayed")) - before;
    trial.expect(all, format!("{seen} named replayed"));
    // What leaders said to it, sent back to them.
    let before = trial.stage.desk.look(|state| state.seen("member mal", "bad-seal"));
    let mut sent = 0;
    for leader in leaders(trial) {
        for frame in mal.heard(leader).into_iter().take(4) {
            sent += u64::from(mal.send(leader, frame));
        }
    }
    trial.made("answers sent back", sent);
    let all = trial.stage.desk.until(PATIENCE, |state| state.seen("member mal", "bad-seal") >= before + sent).await;
    trial.expect(all, "and all of those bad-seal");
    mal.leave().await;
    Ok(())
}
