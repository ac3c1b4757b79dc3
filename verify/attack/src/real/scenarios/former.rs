//! What a former member can do that kept every frame and every key.

use ringfort::JoinError;
use ringfort_node::folder::OperatorRequest;
use ringfort_protocol::login::Denial;
use ringfort_protocol::view::Cause;

use super::super::PATIENCE;
use super::super::outcast::Outcast;
use super::super::stage::{N, user};
use super::super::trial::Trial;
use crate::adversary::Kind;

/// A user joins, talks, and is expelled by f+1 operators.
async fn expelled(trial: &mut Trial<'_>) -> anyhow::Result<(Outcast, String)> {
    let name = trial.stage.spare_user()?;
    let mut outcast = trial.stage.join_outcast(&name).await?;
    let in_view = trial.stage.agreed(&[&name]).await;
    outcast.say("glad to be here").await?;
    outcast.say("what is the plan for tonight").await?;
    anyhow::ensure!(in_view, "{name} is in everybody's view");
    trial.stage.ask_operators(&[1, 4], &OperatorRequest::Expel(user(&name)?))?;
    let out = trial.stage.agreed(&[]).await;
    let cause = trial.stage.desk.look(|state| state.departed.contains_key(&(name.clone(), Cause::Expelled)));
    trial.expect(out && cause, "f+1 operators expel a member");
    Ok((outcast, name))
}

/// Its recorded login, its requests, new requests under its session key, messages under the old group key.
pub async fn ex_member(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let (mut outcast, name) = expelled(trial).await?;
    let all: Vec<u8> = (1..=N).collect();
    let hung_up = outcast.was_hung_up_on(&all).await;
    trial.expect(hung_up, "its links were ended");
    let strikes = outcast.strike(&all).await?;
    let frames: usize = strikes.iter().map(|strike| strike.frames).sum();
    let empty = strikes.iter().filter(|strike| strike.frames == 0).count();
    trial.made("frames under old keys", if empty == 0 { frames as u64 } else { 0 });
    let taken = strikes.iter().filter(|strike| !strike.refused).count();
    trial.none(taken as u64, "leaders took them");
    let password = trial.stage.password(&name)?.to_owned();
    let again = trial.stage.try_join(&name, &password, PATIENCE).await;
    let refused = matches!(again, Err(JoinError::Denied(Denial::Expelled(_))));
    trial.expect(refused, format!("its right password is refused: {}", super::super::judging::outcome(&again)));
    Ok(())
}

/// Its messages, relayed to all by a hacked leader.
pub async fn ex_member_relayed(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let (mut outcast, _) = expelled(trial).await?;
    trial.stage.attack(2, Kind::Tamper).await?;
    anyhow::ensure!(trial.stage.heard(2).await, "the members hear leader 2");
    let frames = outcast.strike_through(2).await?;
    let relayed = |state: &mut super::super::desk::State| {
        let tried = state.leader(2).map(|leader| &leader.tried);
        tried.and_then(|tried| tried.get("messages of a stranger relayed")).copied().unwrap_or_default()
    };
    trial.stage.desk.until(PATIENCE, |state| relayed(state) >= frames as u64).await;
    trial.made("of its messages relayed to all by a hacked leader", trial.stage.desk.look(relayed));
    trial.honest_go_on().await;
    Ok(())
}
