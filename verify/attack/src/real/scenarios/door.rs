//! What somebody can do who has no key of the group, or only a leader's link key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use rand_core::Rng;
use ringfort::JoinError;
use ringfort_documents::os_rng;
use ringfort_link::{LinkKey, LinkPublicKey};
use ringfort_protocol::login::{Denial, Hardening, LoginAnswer, LoginRequest, Method};
use ringfort_protocol::{UserName, wire};

use super::super::PATIENCE;
use super::super::client::{Door, knock, pose_as_leader};
use super::super::insider::Insider;
use super::super::middleman::{Manner, Middleman};
use super::super::proxy::{CLOSE, DENIAL, Deed, Order, Proxy, Way};
use super::super::stage::N;
use super::super::trial::{HONEST, Trial};
use super::super::wires::Wires;
use super::{HANG_UP, until};

fn forge(from: u64, record: &'static [u8], times: u64) -> Order {
    Order { way: Way::Down, from, deed: Deed::Forge(record), times }
}

/// Refusals that anybody on the wire can make, to somebody who joins: before the handshake and within it.
pub async fn forged_denial(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    trial.stage.join("dan", PATIENCE).await?;
    trial.stage.leave("dan").await?;
    let wires = trial.stage.wires()?;
    let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("dan", l)).collect::<Result<_, _>>()?;
    let before = Wires::deeds(&proxies);
    Wires::order(&proxies, &[forge(3, &DENIAL, 1), forge(0, &DENIAL, 1), forge(0, &CLOSE, 1)]);
    let joined = trial.stage.join("dan", PATIENCE).await;
    let wires = trial.stage.wires()?;
    let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("dan", l)).collect::<Result<_, _>>()?;
    trial.made("denials and closes forged to one who joins", Wires::deeds(&proxies) - before);
    trial.expect(joined.is_ok(), "the user joined all the same");

    // With a stolen link key the forger even speaks as the leader; he cannot sign as it.
    trial.stage.leave("dan").await?;
    let forger = stand_in(trial, 2, Manner::Deny).await?;
    trial.stage.wires()?.of_member("dan", 2)?.redirect(forger.address());
    let joined = trial.stage.join("dan", PATIENCE).await;
    until(PATIENCE, || forger.frames().0 > 0).await;
    trial.made("login messages answered with unsigned denials", forger.frames().0);
    trial.expect(joined.is_ok(), "the user joined through the other leaders");
    let caught = trial.caught("leader 2", "bad-login-proof").await;
    trial.expect(caught > 0, "the false denials were named bad-login-proof");
    Ok(())
}

/// Ends of links that anybody on the wire can make, to members who are in.
pub async fn forged_close(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let wires = trial.stage.wires()?;
    let mut proxies = Vec::new();
    for name in HONEST {
        for leader in 1..=N {
            proxies.push(wires.of_member(name, leader)?);
        }
    }
    let before = Wires::deeds(&proxies);
    Wires::order(&proxies, &[forge(0, &CLOSE, 1), Order { way: Way::Up, ..forge(0, &CLOSE, 1) }]);
    let wanted = proxies.len() as u64;
    until(PATIENCE, || Wires::deeds(&proxies) >= before + wanted).await;
    proxies.iter().for_each(|proxy| proxy.cut());
    trial.made("closes forged and links cut", Wires::deeds(&proxies) - before);
    let stays = |state: &mut super::super::desk::State| {
        HONEST.iter().all(|name| state.members.get(*name).is_some_and(|member| member.present))
    };
    trial.expect(trial.stage.desk.look(stays), "no stay ended");
    trial.honest_go_on().await;
    Ok(())
}

/// Names that are not registered, wrong passwords, keys of one's own.
pub async fn stranger(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut tried = 0;
    for (name, password) in [("mallory", "let me in, please"), ("gil", "not gil's password"), ("ana", "nor ana's one")]
    {
        let outcome = trial.stage.try_join(name, password, PATIENCE).await;
        tried += 1;
        let refused = matches!(outcome, Err(JoinError::NotAuthentic));
        trial.expect(refused, format!("{name} was refused: {}", super::super::judging::outcome(&outcome)));
    }
    let key = ringfort_crypto::sign::SigningKey::generate(&mut os_rng());
    let outcome = trial.stage.try_join_with_key("gil", key, PATIENCE).await;
    tried += 1;
    let refused = matches!(outcome, Err(JoinError::NotAuthentic));
    trial.expect(refused, format!("a key of his own was refused: {}", super::super::judging::outcome(&outcome)));
    trial.made("logins without the right secret", tried);
    let strangers = trial.stage.desk.look(|state| state.ledger.views().flatten().any(|name| name == "mallory"));
    trial.expect(!strangers, "no stranger was in a view");
    Ok(())
}

/// Everything but a login, before a login.
pub async fn garbage(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut noise = vec![0; 600];
    os_rng().fill_bytes(&mut noise);
    let init = LoginRequest::Init { user: "ana".parse()?, method: Method::Password, n1: [7; 32], asks: None };
    let init = wire::plain(&init);
    let cases: Vec<Bytes> = vec![
        noise.clone().into(),
        [&[1, 1][..], &noise].concat().into(),
        [&[1, 2][..], &noise].concat().into(),
        [&[1, 3][..], &noise].concat().into(),
        vec![1].into(),
        [&[99][..], &init].concat().into(),
        init.slice(..init.len() - 1),
        [&init[..], &[0]].concat().into(),
        vec![1; 8 * 1024].into(),
        vec![1; 9 * 1024].into(),
    ];
    let before = trial.stage.desk.look(|state| state.seen("outsider", "malformed"));
    let (mut sent, mut refused) = (0, 0);
    for (number, frame) in cases.into_iter().enumerate() {
        let leader = u8::try_from(number)? % N + 1;
        let outcome = knock(&trial.stage.info, leader, vec![frame], HANG_UP).await?;
        sent += outcome.sent as u64;
        refused += u64::from(outcome.refused && outcome.answers.is_empty());
    }
    trial.made("frames that are no login", sent);
    trial.expect(refused == sent, format!("{refused} links ended at once, without an answer"));
    let seen = trial.stage.desk.look(|state| state.seen("outsider", "malformed")) - before;
    trial.expect(seen > 0, format!("leaders named {seen} of them malformed"));
    Ok(())
}

/// Guesses at one user's password, at one leader, over as many links as it takes.
pub async fn password_guesses(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let info = trial.stage.info.clone();
    let allowed = u64::from(info.policy.login_attempts_per_minute);
    let user: UserName = "gil".parse()?;
    let began = Instant::now();
    let (mut served, mut refused) = (0_u64, 0_u64);
    while refused < 10 && served < allowed * 3 {
        let mut door = Door::open_patiently(&info, 1).await?;
        for guess in 0..3_u8 {
            let hardening = Hardening::start(user.clone(), &[guess; 12], &mut os_rng()).context("a guess")?;
            door.send(wire::plain(&hardening.request()));
            match door.answer().await? {
                LoginAnswer::Evaluated { .. } => served += 1,
                LoginAnswer::Denied { reason: Denial::Throttled, .. } => refused += 1,
                other => anyhow::bail!("an answer to a guess: {other:?}"),
            }
        }
    }
    let most = allowed + allowed * (began.elapsed().as_secs() + 1) / 60 + 1;
    trial.made("guesses at a user's password", served + refused);
    trial.expect(served <= most, format!("{served} evaluated, at most {most} allowed"));
    trial.expect(refused >= 10, format!("{refused} refused"));
    let joined = trial.stage.join("dan", PATIENCE).await.is_ok();
    trial.expect(joined, "another user joined meanwhile");
    Ok(())
}

/// A login as it was once, frame by frame, over new links.
pub async fn login_replay(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let info = trial.stage.info.clone();
    let password = trial.stage.password("max")?.to_owned();
    trial.stage.desk.with(|state| state.insiders.insert("max".to_owned()));
    let mut max = Insider::join(&info, "max", &password).await?;
    max.beat();
    max.live(Duration::from_millis(300), |_| false).await;
    let mut tries: BTreeMap<u8, Vec<Bytes>> = BTreeMap::new();
    for leader in info.rules.leaders() {
        tries.insert(leader.number(), max.sent(leader));
    }
    max.leave().await;
    let before = trial.stage.desk.look(|state| state.seen("outsider max", "login-failed"));
    let (mut sent, mut taken) = (0, 0);
    for (leader, frames) in tries {
        let outcome = knock(&info, leader, frames, HANG_UP).await?;
        sent += outcome.sent as u64;
        taken += u64::from(!outcome.refused);
    }
    trial.made("frames of a recorded login and of what followed it", sent);
    trial.none(taken, "leaders took them");
    let named =
        trial.stage.desk.until(PATIENCE, |state| state.seen("outsider max", "login-failed") >= before + u64::from(N));
    trial.expect(named.await, "every leader named it a failed login");
    let inside = trial.stage.desk.look(|state| state.present().any(|(_, member)| member.members.contains("max")));
    trial.expect(!inside, "max is in no view");
    Ok(())
}

/// Somebody in the middle with leader `leader`'s link key, as if it had been stolen.
async fn stand_in(trial: &mut Trial<'_>, leader: u8, manner: Manner) -> anyhow::Result<Middleman> {
    trial.stage.desk.with(|state| state.suspect(leader));
    let stolen = trial.stage.link_key(leader)?;
    let target = trial.stage.wires()?.address(leader)?;
    Middleman::stand(manner, &stolen, target, stolen.public()).await
}

/// A man in the middle of every link, with a key of his own.
pub async fn middleman(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    trial.stage.join("dan", PATIENCE).await?;
    trial.stage.leave("dan").await?;
    let mut seed = [0; 32];
    os_rng().fill_bytes(&mut seed);
    let key = LinkKey::from_seed(seed);
    let mut men = Vec::new();
    for leader in 1..=N {
        let known = trial.stage.info.leaders.get(usize::from(leader) - 1).context("a leader")?.link_key;
        let target = trial.stage.wires()?.address(leader)?;
        let man = Middleman::stand(Manner::Relay, &key, target, LinkPublicKey(known)).await?;
        trial.stage.wires()?.of_member("dan", leader)?.redirect(man.address());
        men.push(man);
    }
    let wires = trial.stage.wires()?;
    let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("dan", l)).collect::<Result<_, _>>()?;
    let before: u64 = proxies.iter().map(|proxy| proxy.connections()).sum();
    let outcome = trial.stage.join("dan", Duration::from_secs(4)).await;
    let wires = trial.stage.wires()?;
    let proxies: Vec<&Arc<Proxy>> = (1..=N).map(|l| wires.of_member("dan", l)).collect::<Result<_, _>>()?;
    let calls: u64 = proxies.iter().map(|proxy| proxy.connections()).sum::<u64>() - before;
    trial.made("calls answered by a man in the middle", calls);
    let told = outcome.as_ref().is_err_and(|error| matches!(error.downcast_ref(), Some(JoinError::WrongKeys)));
    let said = outcome.err().map(|error| format!("{error:#}")).unwrap_or_default();
    trial.expect(told, format!("the member sees that the keys are wrong: {said}"));
    let read: u64 = men.iter().map(|man| man.frames().0 + man.frames().1).sum();
    trial.none(read, "frames read");
    trial.stage.wires()?.heal();
    let joined = trial.stage.join("dan", PATIENCE).await.is_ok();
    trial.expect(joined, "the user joins once he is gone");
    Ok(())
}

/// A man in the middle with the link key of leader 2 and nothing else of it.
pub async fn stolen_link_key(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    trial.stage.join("dan", PATIENCE).await?;
    trial.stage.leave("dan").await?;
    let man = stand_in(trial, 2, Manner::Relay).await?;
    trial.stage.wires()?.of_member("dan", 2)?.redirect(man.address());
    let joined = trial.stage.join("dan", PATIENCE).await;
    trial.expect(joined.is_ok(), "the user joined through the other leaders");
    let caught = trial.caught("leader 2", "bad-login-proof").await;
    let (up, down) = man.frames();
    trial.made("login messages relayed through a stolen link key", up.min(down));
    trial.expect(caught > 0, "the login is bound to its link: named bad-login-proof");
    let heard = trial.stage.desk.look(|state| state.members.get("dan").and_then(|m| m.answers.get(&2)).copied());
    trial.expect(heard != Some(true), "nothing of leader 2 is believed that came through him");
    Ok(())
}

/// Somebody calls leaders with a key of his own, as if he were one.
pub async fn false_leader(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let mut taken = 0;
    for leader in 1..=N {
        taken += u64::from(pose_as_leader(&trial.stage.info, leader, HANG_UP).await?);
    }
    trial.made("calls with a key of one's own", u64::from(N));
    trial.none(taken, "leaders took it");
    Ok(())
}
