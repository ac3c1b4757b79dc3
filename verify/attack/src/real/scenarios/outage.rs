//! Leaders that stop, crash and come back.

use std::time::Duration;

use super::super::PATIENCE;
use super::super::stage::N;
use super::super::trial::Trial;

/// How often a leader crashes.
const CRASHES: u64 = 4;

/// f leaders are switched off.
pub async fn leaders_stopped(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    trial.stage.stop(4).await?;
    let told = trial.stage.desk.until(PATIENCE, |state| state.none_hears(4)).await;
    trial.made("leader stopped", 1);
    trial.expect(told, "members say that they do not hear it");
    let joined = trial.stage.join("dan", PATIENCE).await.is_ok();
    trial.expect(joined, "a user joins without it");
    trial.honest_go_on().await;
    let left = trial.stage.leave("dan").await.is_ok();
    trial.expect(left, "and leaves");
    Ok(())
}

/// A leader's process is killed again and again, while users come and go.
pub async fn leader_crashes(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    for crash in 0..CRASHES {
        trial.stage.stop(2).await?;
        let moved = if crash.is_multiple_of(2) {
            trial.stage.join("dan", PATIENCE).await
        } else {
            trial.stage.leave("dan").await
        };
        trial.expect(moved.is_ok(), if crash.is_multiple_of(2) { "a user joins" } else { "and leaves" });
        trial.stage.start(2).await?;
        let heard = trial.stage.heard(2).await;
        trial.expect(heard, "the leader comes back with all it must know");
    }
    trial.made("crashes", CRASHES);
    trial.honest_go_on().await;
    Ok(())
}

/// More than f leaders stop: nobody gets in, no key is made, and those who are in go on under the last key.
pub async fn too_few_leaders(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    trial.stage.stop(1).await?;
    trial.stage.stop(2).await?;
    trial.made("leaders stopped, f+1 of them", 2);
    let joining = trial.stage.begin_join("dan", Duration::from_secs(120))?;
    let before = trial.stage.desk.look(|state| state.ledger.totals().delivered);
    let talked = trial.stage.desk.until(PATIENCE, |state| state.ledger.totals().delivered > before + 100).await;
    trial.expect(talked, "members talk under the last key");
    let waits =
        !joining.is_over() && trial.stage.desk.look(|state| !state.present().any(|(_, m)| m.members.contains("dan")));
    trial.expect(waits, "nobody is let in");
    for leader in [1, 2] {
        trial.stage.start(leader).await?;
    }
    let joined = trial.stage.finish_join(joining).await.is_ok();
    trial.expect(joined, "who waited gets in when they are back");
    for leader in 1..=N {
        let heard = trial.stage.heard(leader).await;
        trial.expect(heard, format!("leader {leader} is heard again"));
    }
    Ok(())
}
