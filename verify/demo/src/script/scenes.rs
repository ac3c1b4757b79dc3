//! The scenes, in order.

use std::time::Instant;

use ringfort::JoinError;
use ringfort_node::folder::OperatorRequest;
use ringfort_protocol::login::Denial;
use ringfort_protocol::view::Cause;

use super::judging::{Marks, is_caught, outcome, tried_enough};
use super::{AttackSummary, JOIN_WITHIN, PATIENCE, Script};
use crate::attack::Kind;
use crate::desk::State;
use crate::stage::{N, Outcast, user};
use crate::story::Tone;

/// How often dan joins at most until he has caught the leader that evaluates wrongly.
const JOINS_MAX: usize = 12;

/// The attacks with the leader that is hacked for each. Those on messages come while members still relay
/// through that leader: they prefer leaders that were never caught.
const ATTACKS: [(Kind, u8); 13] = [
    (Kind::Spy, 1),
    (Kind::Drop, 2),
    (Kind::Silent, 3),
    (Kind::Expel, 4),
    (Kind::Ghost, 3),
    (Kind::Tamper, 2),
    (Kind::BadShares, 1),
    (Kind::BadProofs, 4),
    (Kind::Equivocate, 3),
    (Kind::OldView, 1),
    (Kind::Deny, 2),
    (Kind::Flood, 4),
    (Kind::Chaos, 3),
];

impl Script {
    /// The whole story.
    pub async fn play(&mut self) -> anyhow::Result<()> {
        self.curtain().await?;
        self.strangers().await;
        let mut outcast = None;
        for (kind, leader) in ATTACKS {
            self.attack(kind, leader, &mut outcast).await?;
        }
        self.too_few_leaders().await?;
        self.finale().await;
        self.cut_network().await
    }

    async fn curtain(&mut self) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        desk.chapter("Four leaders start, three members join and talk");
        for leader in 1..=N {
            self.stage.start(leader).await?;
        }
        for name in ["ana", "ben", "eva"] {
            self.stage.join(name, JOIN_WITHIN).await?;
            desk.story.line(name, Tone::Good, "has joined");
        }
        let mut heard = true;
        for leader in 1..=N {
            heard &= self.stage.heard(leader).await;
        }
        let agreed = self.stage.agreed(&[]).await;
        self.promise("all members are in one view, and hear all leaders", agreed && heard, "");
        desk.with(|state| state.talking = true);
        Ok(())
    }

    async fn strangers(&mut self) {
        let desk = self.stage.desk.clone();
        desk.chapter("A stranger, and somebody with a wrong password");
        let stranger = self.stage.try_join("mallory", "let me in, please", JOIN_WITHIN).await;
        let refused = matches!(stranger, Err(JoinError::NotAuthentic));
        self.promise("a stranger was refused", refused, outcome(&stranger));
        let guess = self.stage.try_join("dan", "not dan's password", JOIN_WITHIN).await;
        let refused = matches!(guess, Err(JoinError::NotAuthentic));
        self.promise("a wrong password was refused", refused, outcome(&guess));
    }

    async fn attack(&mut self, kind: Kind, leader: u8, outcast: &mut Option<Outcast>) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        let title = format!("{}: leader {leader} {}", kind.name(), kind.what());
        desk.chapter(&title);
        self.stage.attack(leader, kind).await?;
        let began = Instant::now();
        let before = desk.look(|state| Marks::of(state));

        self.meanwhile(kind, leader, outcast).await?;
        let present = self.stage.present();
        let done = |state: &mut State| {
            let told = began.elapsed() >= self.attack_length;
            told && before.is_passed(state, &present)
                && tried_enough(state, kind, leader)
                && is_caught(state, kind, leader)
        };
        let limit = self.attack_length + PATIENCE;
        // Time passes without anything being reported, too.
        let length = self.attack_length;
        tokio::join!(desk.until(limit, done), async {
            tokio::time::sleep(length).await;
            desk.with(|_| ());
        });
        let settled = self.stage.settled().await;

        let after = desk.look(|state| Marks::of(state));
        let (tried, caught) = desk
            .look(|state| (state.leader(leader).map(|l| l.tried.clone()).unwrap_or_default(), state.caught.clone()));
        let list = tried.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ");
        desk.story.line(&format!("leader {leader}"), Tone::Evil, &format!("tried: {list}"));
        let name = kind.name();
        let made = desk.look(|state| tried_enough(state, kind, leader));
        self.promise(format!("the attack was made: {name}"), made, "");
        let passed = desk.look(|state| before.rekeyed(state, &present));
        self.promise(format!("the group rekeyed under attack: {name}"), passed, "");
        let talked = after.sent > before.sent && after.delivered > before.delivered;
        let numbers = format!("{} sent, {} delivered", after.sent - before.sent, after.delivered - before.delivered);
        self.promise(format!("no message was lost under attack: {name}"), talked && settled, numbers);
        if !kind.caught_as().is_empty() {
            let held = desk.look(|state| is_caught(state, kind, leader));
            let words: Vec<_> = caught.iter().map(|(word, count)| format!("{word} {count}")).collect();
            self.promise(format!("the attacker was caught: {name}"), held, words.join(", "));
        }
        if kind == Kind::Spy {
            self.judge_spy(leader);
        }
        self.attacks.push(AttackSummary {
            kind: name,
            leader,
            tried,
            messages_sent: after.sent - before.sent,
            messages_delivered: after.delivered - before.delivered,
            keys_installed: after.keys - before.keys,
            refused: caught,
            seconds: began.elapsed().as_secs_f64(),
        });
        self.recover(leader, name).await
    }

    /// What else happens during an attack.
    async fn meanwhile(&mut self, kind: Kind, leader: u8, outcast: &mut Option<Outcast>) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        match kind {
            Kind::Expel => *outcast = Some(self.expulsion(leader).await?),
            Kind::Ghost => {
                self.stage.join("dan", JOIN_WITHIN).await?;
                desk.story.line("dan", Tone::Good, "has joined, in the middle of the attack");
            }
            Kind::Tamper => {
                // The ex-member comes when the hacked leader has won the members' trust again.
                let trusted = self.stage.heard(leader).await;
                if let Some(outcast) = outcast {
                    let before = desk.look(|state| state.ledger.totals().forged);
                    let frames = outcast.strike_through(leader).await?;
                    let relayed = desk
                        .until(PATIENCE, |state| {
                            let tried = state.leader(leader).map(|l| &l.tried);
                            tried.and_then(|t| t.get("messages of a stranger relayed")).is_some_and(|count| *count > 0)
                        })
                        .await;
                    let heard = desk.look(|state| state.ledger.totals().forged) - before;
                    let held = trusted && relayed && heard == 0 && frames > 0;
                    let detail = format!("{frames} frames relayed to all by leader {leader}, {heard} delivered");
                    self.promise("nobody hears an ex-member through a hacked leader", held, detail);
                }
            }
            Kind::Equivocate => {
                self.stage.leave("ben").await?;
                desk.story.line("ben", Tone::Plain, "has left");
                self.stage.join("ben", JOIN_WITHIN).await?;
                desk.story.line("ben", Tone::Good, "has joined again, in the middle of the attack");
            }
            Kind::Deny => self.joins_at_a_denier(leader).await?,
            _ => {}
        }
        Ok(())
    }

    /// dan comes and goes until a wrong evaluation was among the first that reached him.
    async fn joins_at_a_denier(&mut self, leader: u8) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        let up = desk.until(PATIENCE, |state| state.attempts(leader) > 0).await;
        anyhow::ensure!(up, "leader {leader} refuses nobody");
        let guess = self.stage.try_join("dan", "not dan's password", JOIN_WITHIN).await;
        let refused = matches!(guess, Err(JoinError::NotAuthentic));
        self.promise("a wrong password was refused under attack", refused, outcome(&guess));
        let mut times = 0;
        while times == 0 || (times < JOINS_MAX && !desk.look(|state| is_caught(state, Kind::Deny, leader))) {
            self.stage.leave("dan").await?;
            self.stage.join("dan", JOIN_WITHIN).await?;
            times += 1;
        }
        let text = format!("has left and joined again, {times} times, in the middle of the attack");
        desk.story.line("dan", Tone::Good, &text);
        Ok(())
    }

    /// zoe comes in, talks, and is expelled by f+1 operators. Then she tries all she kept.
    async fn expulsion(&mut self, hacked: u8) -> anyhow::Result<Outcast> {
        let desk = self.stage.desk.clone();
        let mut zoe = self.stage.join_outcast("zoe").await?;
        let in_view = self.stage.agreed(&["zoe"]).await;
        desk.story.line("zoe", Tone::Good, "has joined, and records all she sees");
        zoe.say("glad to be here").await?;
        zoe.say("what is the plan for tonight").await?;
        let heard = self.stage.settled().await;
        self.promise("a member of one's own make is heard like any other", in_view && heard, "");

        let honest: Vec<u8> = (1..=N).filter(|l| *l != hacked).collect();
        let operators: Vec<u8> = honest.iter().copied().take(2).collect();
        self.stage.ask_operators(&operators, &OperatorRequest::Expel(user("zoe")?))?;
        let who: Vec<_> = operators.iter().map(ToString::to_string).collect();
        desk.story.line("operators", Tone::Plain, &format!("of leaders {} expel zoe", who.join(" and ")));
        let out = self.stage.agreed(&[]).await;
        let cause = desk.look(|state| state.departed.contains_key(&("zoe".to_owned(), Cause::Expelled)));
        self.promise("f+1 operators expel a member", out && cause, "");

        let hung_up = zoe.was_hung_up_on(&honest).await;
        let strikes = zoe.strike(&honest).await?;
        for leader in &honest {
            let what: Vec<String> = strikes
                .iter()
                .filter(|strike| strike.leader == *leader)
                .map(|strike| format!("{} ({} frames)", strike.what, strike.frames))
                .collect();
            desk.story.line("zoe", Tone::Evil, &format!("tries at leader {leader}: {}", what.join("; ")));
        }
        let made = strikes.iter().all(|strike| strike.frames > 0);
        let failed: Vec<_> =
            strikes.iter().filter(|s| !s.refused).map(|s| format!("{} at {}", s.what, s.leader)).collect();
        self.promise(
            "an ex-member's old login, requests, keys and messages are refused",
            hung_up && made && failed.is_empty(),
            failed.join(", "),
        );
        let password = self.stage.password("zoe")?.to_owned();
        let again = self.stage.try_join("zoe", &password, JOIN_WITHIN).await;
        let refused = matches!(again, Err(JoinError::Denied(Denial::Expelled(_))));
        self.promise("an expelled user's right password is refused", refused, outcome(&again));
        Ok(zoe)
    }

    fn judge_spy(&mut self, leader: u8) {
        let tried = self.stage.desk.look(|state| state.leader(leader).map(|l| l.tried.clone()).unwrap_or_default());
        let count = |what: &str| tried.get(what).copied().unwrap_or_default();
        let (recorded, keys, opened) = (count("messages recorded"), count("keys tried"), count("messages opened"));
        let held = recorded > 0 && keys > 0 && opened == 0;
        let detail = format!("{recorded} messages recorded, {keys} keys tried, {opened} opened");
        self.promise("the spy opened nothing", held, detail);
        let with_two = count("opened with a second leader's share");
        let detail = format!("{with_two} opened with the shares of f+1 leaders");
        self.promise("the spy's tools work", with_two > 0, detail);
    }

    /// The operators put the honest leader back, on its folder as it is.
    async fn recover(&mut self, leader: u8, after: &str) -> anyhow::Result<()> {
        self.stage.start(leader).await?;
        let heard = self.stage.heard(leader).await;
        let agreed = self.stage.agreed(&[]).await;
        let name = format!("leader {leader} caught up after {after}, all members in one view");
        self.promise(name, heard && agreed, "");
        Ok(())
    }
}
