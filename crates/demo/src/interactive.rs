//! The live story: members talk, leaders work, and whoever sits at the prompt attacks.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use ringfort::files::OperatorRequest;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use crate::attack::Kind;
use crate::desk::{Mode, State};
use crate::hosting;
use crate::stage::{F, Joined, N, Pace, Stage, USERS, user};
use crate::story::{Story, Tone};

/// Between two messages of a member.
const TALK: Duration = Duration::from_millis(2_400);
/// Between two keys.
const REKEY: Duration = Duration::from_secs(5);
const JOIN_WITHIN: Duration = Duration::from_secs(20);

/// Shows the group until `quit`, Ctrl-C or the end of the input.
pub async fn run(keep: bool) -> anyhow::Result<ExitCode> {
    let mut stage = Stage::set(Story::new(false), Pace { talk: TALK, rekey: REKEY, show_talk: true, topic: "chat" })?;
    if keep {
        stage.keep_folder();
        stage.desk.story.line("demo", Tone::Faint, &format!("the group's files stay in {}", stage.folder().display()));
    }
    let outcome = tokio::select! {
        outcome = live(&mut stage) => outcome,
        () = hosting::interrupted() => Ok(()),
    };
    stage.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn live(stage: &mut Stage) -> anyhow::Result<()> {
    let desk = stage.desk.clone();
    desk.story.put(&format!(
        "\nFour leaders, of which any {F} may be hacked, and three members, all on this machine.\n\
         Try `attack 2 tamper`, then `recover 2`. `help` shows all commands, `attack` all attacks.\n\n"
    ));
    for leader in 1..=N {
        stage.start(leader).await?;
    }
    for name in ["ana", "ben", "eva"] {
        stage.join(name, JOIN_WITHIN).await?;
    }
    desk.with(|state| state.talking = true);

    let (joined_to, mut joined) = mpsc::channel(16);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return Ok(()) };
                let words: Vec<&str> = line.split_whitespace().collect();
                match obey(stage, &words, &joined_to).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(error) => desk.story.line("demo", Tone::Caught, &format!("{error:#}")),
                }
            }
            Some(arrived) = joined.recv() => match stage.admit(arrived) {
                Ok(name) => desk.story.line(&name, Tone::Good, "has joined"),
                Err(error) => desk.story.line("demo", Tone::Caught, &format!("{error:#}")),
            },
        }
    }
}

/// Does what was typed; true to quit.
async fn obey(stage: &mut Stage, words: &[&str], joined: &mpsc::Sender<Joined>) -> anyhow::Result<bool> {
    let desk = stage.desk.clone();
    match words {
        [] => {}
        ["quit" | "exit" | "q"] => return Ok(true),
        ["help" | "?"] => desk.story.put(&help()),
        ["attack"] => desk.story.put(&attacks()),
        ["status" | "s"] => desk.story.put(&desk.look(status)),
        ["attack", leader, kind] => {
            let (leader, kind) = (number(leader)?, Kind::named(kind).context("no such attack: `attack` lists them")?);
            desk.chapter(&format!("attack: leader {leader} {}", kind.what()));
            stage.attack(leader, kind).await?;
            let bad = desk.look(|state| state.leaders.iter().filter(|l| l.mode != Mode::Honest).count());
            if bad > usize::from(F) {
                let text =
                    format!("{bad} leaders are hacked or stopped now: more than the {F} that this group withstands");
                desk.story.line("demo", Tone::Evil, &text);
            }
        }
        ["stop", leader] => {
            let leader = number(leader)?;
            stage.stop(leader).await?;
            desk.story.line(&format!("leader {leader}"), Tone::Evil, "is switched off");
        }
        ["recover", leader] => {
            let leader = number(leader)?;
            if let Some(tried) = desk.look(|state| tried(state, leader)) {
                desk.story.line(&format!("leader {leader}"), Tone::Evil, &format!("had tried: {tried}"));
            }
            stage.start(leader).await?;
            desk.story.line(
                &format!("leader {leader}"),
                Tone::Good,
                "runs the honest program again, on its own folder",
            );
        }
        ["join", name] => {
            let joining = stage.begin_join(name, JOIN_WITHIN)?;
            let joined = joined.clone();
            // If the demo ends first, nobody waits for it any more.
            tokio::spawn(async move { drop(joined.send(joining.wait().await).await) });
        }
        ["leave", name] => {
            stage.leave(name).await?;
            desk.story.line(name, Tone::Plain, "has left");
        }
        ["expel", name] => expel(stage, name).await?,
        ["say", name, text @ ..] if !text.is_empty() => stage.say(name, &text.join(" ")).await?,
        _ => bail!("not understood: `help` shows what there is"),
    }
    Ok(false)
}

async fn expel(stage: &mut Stage, name: &str) -> anyhow::Result<()> {
    let desk = stage.desk.clone();
    // A leader that has just come back may not know the member yet, and would say so to its operator.
    let ready = |state: &State, leader: u8| {
        state.leader(leader).is_some_and(|l| l.mode == Mode::Honest) && state.all_hear(leader)
    };
    let enough = usize::from(F) + 1;
    desk.until(JOIN_WITHIN, |state| (1..=N).filter(|l| ready(state, *l)).count() >= enough).await;
    let operators: Vec<u8> = desk.look(|state| (1..=N).filter(|l| ready(state, *l)).take(enough).collect());
    anyhow::ensure!(operators.len() > usize::from(F), "an expulsion takes {} operators of honest leaders", F + 1);
    stage.ask_operators(&operators, &OperatorRequest::Expel(user(name)?))?;
    let who: Vec<String> = operators.iter().map(ToString::to_string).collect();
    desk.story.line("operators", Tone::Plain, &format!("of leaders {} expel {name}", who.join(" and ")));
    let gone = desk
        .until(JOIN_WITHIN, |state| {
            let others: BTreeSet<&String> = state.present().map(|(n, _)| n).filter(|n| *n != name).collect();
            others.iter().all(|n| state.members.get(*n).is_some_and(|m| !m.members.contains(name)))
        })
        .await;
    anyhow::ensure!(gone, "{name} is still in: too few leaders agree");
    stage.forget(name);
    Ok(())
}

fn number(text: &str) -> anyhow::Result<u8> {
    text.parse().ok().filter(|n| (1..=N).contains(n)).with_context(|| format!("there are leaders 1 to {N}"))
}

fn help() -> String {
    let users = USERS.join(", ");
    format!(
        "\n  attack N KIND     leader N's machine is taken over (`attack` lists the kinds)\n\
         \x20 stop N            leader N's machine is switched off\n\
         \x20 recover N         the operator puts the honest leader back\n\
         \x20 join NAME         {users}\n\
         \x20 leave NAME        leaves, and may come back\n\
         \x20 expel NAME        f+1 operators put a member out for good\n\
         \x20 say NAME TEXT     sends a message to all\n\
         \x20 status            who is in, and what runs where\n\
         \x20 quit              ends everything, and removes its files\n\n"
    )
}

fn attacks() -> String {
    let mut text = "\n".to_owned();
    for kind in Kind::ALL {
        text.push_str(&format!("  attack N {:<12} {}\n", kind.name(), kind.what()));
    }
    text.push('\n');
    text
}

fn tried(state: &State, leader: u8) -> Option<String> {
    let tried = &state.leader(leader)?.tried;
    let list: Vec<String> = tried.iter().map(|(what, count)| format!("{count} {what}")).collect();
    (!list.is_empty()).then(|| list.join(", "))
}

fn status(state: &mut State) -> String {
    let mut text = format!("\n  {:<10}{:<14}{:<12}heard by\n", "leader", "runs", "attempts");
    for leader in 1..=N {
        let Some(known) = state.leader(leader) else { continue };
        let runs = match known.mode {
            Mode::Honest => "honest".to_owned(),
            Mode::Hacked(kind) => format!("! {}", kind.name()),
            Mode::Stopped => "nothing".to_owned(),
        };
        let hear = |m: &crate::desk::MemberState| m.answers.get(&leader) == Some(&true);
        let heard: Vec<&str> = state.present().filter(|(_, m)| hear(m)).map(|(name, _)| name.as_str()).collect();
        text.push_str(&format!("  {leader:<10}{runs:<14}{:<12}{}\n", state.attempts(leader), heard.join(", ")));
    }
    text.push_str(&format!(
        "\n  {:<10}{:<8}{:<12}{:<8}{:<8}{:<8}view\n",
        "member", "sent", "delivered", "keys", "view", "sure"
    ));
    let books = state.ledger.by_member().clone();
    for (name, member) in state.present() {
        let (sent, delivered) = books.get(name).copied().unwrap_or_default();
        let epoch = member.view.map(|view| view.epoch.0.to_string()).unwrap_or_default();
        let sure = if member.confirmed { "yes" } else { "no" };
        let list: Vec<&str> = member.members.iter().map(String::as_str).collect();
        let keys = member.keys;
        text.push_str(&format!(
            "  {name:<10}{sent:<8}{delivered:<12}{keys:<8}{epoch:<8}{sure:<8}{}\n",
            list.join(", ")
        ));
    }
    let owed = state.ledger.owed().len();
    let totals = state.ledger.totals();
    text.push_str(&format!(
        "\n  on their way {owed}, duplicated {}, out of order {}, refusals {}\n\n",
        totals.duplicated,
        totals.out_of_order,
        state.refusals.values().sum::<u64>()
    ));
    text
}
