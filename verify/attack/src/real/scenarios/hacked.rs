//! What a hacked leader can do, with all its keys and links.

use std::time::Duration;

use super::super::PATIENCE;
use super::super::judging::{is_caught, tried_enough};
use super::super::trial::Trial;
use crate::adversary::Kind;

/// How often somebody joins at most until a leader was caught at the door.
const JOINS_MAX: usize = 12;
/// How long a leader that is never caught attacks at least.
const AT_LEAST: Duration = Duration::from_secs(2);

async fn hack(trial: &mut Trial<'_>, leader: u8, kind: Kind) -> anyhow::Result<()> {
    // Members go around leaders that they caught before; these attacks want to be relayed through.
    if matches!(kind, Kind::Spy | Kind::Drop | Kind::Tamper) {
        trial.stage.fresh_stays().await?;
    }
    trial.stage.attack(leader, kind).await?;
    meanwhile(trial, leader, kind).await?;
    if kind.caught_as().is_empty() {
        tokio::time::sleep(AT_LEAST).await;
    }
    let enough =
        |state: &mut super::super::desk::State| tried_enough(state, kind, leader) && is_caught(state, kind, leader);
    trial.stage.desk.until(PATIENCE, enough).await;
    trial.honest_go_on().await;
    let (made, caught) =
        trial.stage.desk.look(|state| (tried_enough(state, kind, leader), is_caught(state, kind, leader)));
    let tried = trial.stage.desk.look(|state| state.leader(leader).map(|l| l.tried.clone()).unwrap_or_default());
    for (what, count) in &tried {
        if *count > 0 && !what.contains("opened") {
            trial.made(what, *count);
        }
    }
    if !made {
        trial.made(&format!("attempts that count, of {tried:?}"), 0);
    }
    if kind == Kind::Silent {
        trial.expect(caught, "members say that they do not hear it");
    } else if !kind.caught_as().is_empty() {
        let words = trial.stage.desk.look(|state| state.caught.clone());
        let words: Vec<_> = words.iter().map(|(word, count)| format!("{word} {count}")).collect();
        trial.expect(caught, format!("caught: {}", words.join(", ")));
    }
    Ok(())
}

/// What must happen for the attack to come about.
async fn meanwhile(trial: &mut Trial<'_>, leader: u8, kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Ghost | Kind::Equivocate | Kind::Chaos => {
            let joined = trial.stage.join("dan", PATIENCE).await.is_ok();
            trial.expect(joined, "a user joins in the middle of it");
            let left = trial.stage.leave("dan").await.is_ok();
            trial.expect(left, "and leaves");
        }
        Kind::Deny => {
            let up = trial.stage.desk.until(PATIENCE, |state| state.attempts(leader) > 0).await;
            anyhow::ensure!(up, "leader {leader} refuses nobody");
            let mut joins = 0;
            while joins == 0 || (joins < JOINS_MAX && !trial.stage.desk.look(|state| is_caught(state, kind, leader))) {
                trial.stage.join("dan", PATIENCE).await?;
                trial.stage.leave("dan").await?;
                joins += 1;
            }
            trial.expect(true, format!("a user joins all the same, {joins} times"));
        }
        _ => {}
    }
    Ok(())
}

pub async fn spy(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 1, Kind::Spy).await?;
    let tried = trial.stage.desk.look(|state| state.leader(1).map(|l| l.tried.clone()).unwrap_or_default());
    let opened = tried.get("messages opened").copied().unwrap_or_default();
    trial.none(opened, "messages opened with one leader's secrets");
    let with_two = tried.get("opened with a second leader's share").copied().unwrap_or_default();
    trial.expect(with_two > 0, "the same tools open them with the shares of f+1 leaders");
    Ok(())
}

pub async fn drop(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 2, Kind::Drop).await
}

pub async fn tamper(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 2, Kind::Tamper).await
}

pub async fn silent(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 3, Kind::Silent).await
}

pub async fn expel(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 4, Kind::Expel).await
}

pub async fn ghost(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 3, Kind::Ghost).await?;
    let haunted = trial.stage.desk.look(|state| state.ledger.views().flatten().any(|name| name == "ghost"));
    trial.expect(!haunted, "the ghost was in no view");
    Ok(())
}

pub async fn bad_shares(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 1, Kind::BadShares).await
}

pub async fn bad_proofs(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 4, Kind::BadProofs).await
}

pub async fn equivocate(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 3, Kind::Equivocate).await
}

pub async fn old_view(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 1, Kind::OldView).await
}

pub async fn deny(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 2, Kind::Deny).await
}

pub async fn flood(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 4, Kind::Flood).await
}

pub async fn chaos(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    hack(trial, 3, Kind::Chaos).await
}
