//! The live story: members talk, leaders work, and whoever sits at the prompt or at the page attacks.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use ringfort_attack::real::members::CHAT;
use ringfort_node::folder::OperatorRequest;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use crate::attack::Kind;
use crate::desk::{Mode, State};
use crate::hosting;
use crate::order::Order;
use crate::stage::{F, Joined, N, Pace, Stage, USERS, user};
use crate::story::{Story, Tone};
use crate::visitor::Visitor;
use crate::web::{SHOWN, Web};

/// Between two messages of a member, on a terminal.
const TALK: Duration = Duration::from_millis(2_400);
/// Between two messages that nobody sees, when members have pages: they show what is lost.
const PULSE: Duration = Duration::from_millis(700);
const PULSE_TOPIC: &str = "pulse";
/// Between two lines of members that talk by themselves on their pages.
const CHATTER: Duration = Duration::from_millis(3_500);
/// Between two looks at what a visitor should do.
const VISITOR: Duration = Duration::from_millis(500);
/// Between two keys.
const REKEY: Duration = Duration::from_secs(5);
const JOIN_WITHIN: Duration = Duration::from_secs(20);
/// Orders of pages that wait.
const ORDERS_MAX: usize = 16;

/// How the live story runs.
#[derive(clap::Args, Clone, Debug)]
pub struct LiveArgs {
    /// Opens the page in the browser.
    #[arg(long, conflicts_with_all = ["no_web", "script"])]
    pub open: bool,
    /// No page: the prompt alone.
    #[arg(long, conflicts_with = "script")]
    pub no_web: bool,
    /// The page's port on 127.0.0.1; 0 for any.
    #[arg(long, value_name = "PORT", default_value_t = 0, conflicts_with_all = ["no_web", "script"])]
    pub port: u16,
}

/// Shows the group until `quit` or Ctrl-C; without a page or with a terminal also until the end of the input.
pub async fn run(args: &LiveArgs, keep: bool) -> anyhow::Result<ExitCode> {
    let (talk, topic) = if args.no_web { (TALK, CHAT) } else { (PULSE, PULSE_TOPIC) };
    let stage = Stage::set(Story::new(false), Pace { talk, rekey: REKEY, show_talk: true, topic })?;
    let (joined_to, joined) = mpsc::channel(16);
    let (orders_to, orders) = mpsc::channel(ORDERS_MAX);
    let web = match args.no_web {
        true => None,
        false => Some(Web::start(args.port, stage.desk.clone(), orders_to.clone()).await?),
    };
    let mut live = Live { stage, web, visitor: Visitor::default(), joined_to };
    let outcome = tokio::select! {
        biased;
        // Listened for before anybody can know that there is something to interrupt.
        () = hosting::interrupted() => Ok(()),
        outcome = async {
            live.announce(args.open, keep);
            live.play(joined, orders).await
        } => outcome,
    };
    // While orders can come, the story goes on.
    drop(orders_to);
    if let Some(web) = live.web.take() {
        web.close().await;
    }
    live.stage.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

struct Live {
    stage: Stage,
    web: Option<Web>,
    visitor: Visitor,
    joined_to: mpsc::Sender<Joined>,
}

impl Live {
    fn announce(&mut self, open: bool, keep: bool) {
        let desk = self.stage.desk.clone();
        if keep {
            self.stage.keep_folder();
            let text = format!("the group's files stay in {}", self.stage.folder().display());
            desk.story.line("demo", Tone::Faint, &text);
        }
        if let Some(web) = &self.web {
            let url = web.url();
            desk.story.put(&format!("\nThe demo, for this machine and you alone, until Ctrl-C:\n\n  {url}\n\nIt takes over servers; a link at its top leads to the other part, which cuts a network.\n"));
            // Without entropy there is no ticket, and the printed address is still there.
            if open && let Ok(ticket) = web.ticket_url() {
                ringfort_cli::commands::join::open(&ticket);
            }
        }
    }

    async fn play(
        &mut self,
        mut joined: mpsc::Receiver<Joined>,
        mut orders: mpsc::Receiver<Order>,
    ) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        desk.story.put(&format!(
            "\nFour leaders, of which any {F} may be hacked, and three members, all on this machine.\n\
             Try `attack 2 tamper`, then `recover 2`. `help` shows all commands, `attack` all attacks.\n\n"
        ));
        for leader in 1..=N {
            self.stage.start(leader).await?;
        }
        for name in SHOWN {
            match self.web {
                Some(_) => self.begin_join(name)?,
                None => self.stage.join(name, JOIN_WITHIN).await?,
            }
        }
        desk.with(|state| state.talking = self.web.is_none());

        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut reads = true;
        let mut chatter = tokio::time::interval(CHATTER);
        let mut visitor = tokio::time::interval(VISITOR);
        loop {
            let outcome = tokio::select! {
                line = lines.next_line(), if reads => match line {
                    Ok(Some(line)) => match Order::read(&line) {
                        Ok(Order::Quit) => return Ok(()),
                        Ok(order) => self.obey(order).await,
                        Err(error) => Err(error),
                    },
                    // Without a terminal nobody types anything, and the page is all there is.
                    _ if self.web.is_some() && !std::io::stdin().is_terminal() => {
                        reads = false;
                        Ok(())
                    }
                    _ => return Ok(()),
                },
                Some(order) = orders.recv() => self.obey(order).await,
                Some(arrived) = joined.recv() => self.admit(arrived).await,
                _ = chatter.tick() => {
                    self.web.iter_mut().for_each(Web::chatter);
                    Ok(())
                }
                _ = visitor.tick(), if self.web.is_some() => {
                    if self.visitor.wants_in(&mut self.stage) {
                        self.begin_join(Visitor::NAME)
                    } else {
                        Ok(())
                    }
                }
            };
            if let Err(error) = outcome {
                desk.story.line("demo", Tone::Caught, &format!("{error:#}"));
            }
        }
    }

    fn begin_join(&mut self, name: &str) -> anyhow::Result<()> {
        let joining = self.stage.begin_join(name, JOIN_WITHIN)?;
        let joined = self.joined_to.clone();
        // If the demo ends first, nobody waits for it any more.
        tokio::spawn(async move { drop(joined.send(joining.wait().await).await) });
        Ok(())
    }

    async fn admit(&mut self, arrived: Joined) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        let name = arrived.name().to_owned();
        let watched = SHOWN.contains(&name.as_str());
        let admitted = match &mut self.web {
            Some(web) if watched => match self.stage.admit_watched(arrived) {
                Ok(watched) => web.serve(watched).await,
                Err(error) => Err(error),
            },
            _ => self.stage.admit(arrived).map(drop),
        };
        self.visitor.came(&name, admitted.is_ok());
        admitted?;
        // They talk once all have a page.
        let all = self.web.as_ref().is_some_and(|web| SHOWN.iter().all(|name| web.agent(name).is_some()));
        desk.with(|state| state.talking |= all);
        desk.story.line(&name, Tone::Good, "has joined");
        Ok(())
    }

    /// Does what was ordered.
    async fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        match order {
            Order::Nothing | Order::Quit => {}
            Order::Help => desk.story.put(&help()),
            Order::Attacks => desk.story.put(&attacks()),
            Order::Status => desk.story.put(&desk.look(status)),
            Order::Attack(leader, kind) => {
                desk.chapter(&format!("leader {leader} is taken over: it {}", kind.what()));
                self.stage.attack(leader, kind).await?;
                self.count_the_bad();
            }
            Order::Stop(leader) => {
                self.stage.stop(leader).await?;
                desk.story.line(&format!("leader {leader}"), Tone::Evil, "is switched off");
                self.count_the_bad();
            }
            Order::Recover(leader) => self.recover(leader).await?,
            Order::Join(name) => {
                let gone = desk.look(|state| !state.present().any(|(present, _)| *present == name));
                if gone {
                    // A stay that its own page ended.
                    self.stage.forget(&name);
                }
                self.begin_join(&name)?;
            }
            Order::Leave(name) => {
                self.stage.leave(&name).await?;
                desk.story.line(&name, Tone::Plain, "has left");
            }
            Order::Expel(name) => expel(&mut self.stage, &name).await?,
            Order::Say(name, text) => match self.web.as_ref().and_then(|web| web.agent(&name)) {
                Some(agent) => agent.say(CHAT, &text).await.map_err(anyhow::Error::msg)?,
                None => self.stage.say(&name, &text).await?,
            },
            Order::Talk(talks) => self.web.iter().for_each(|web| web.talk(talks)),
        }
        Ok(())
    }

    async fn recover(&mut self, leader: u8) -> anyhow::Result<()> {
        let desk = self.stage.desk.clone();
        let who = format!("leader {leader}");
        if let Some(tried) = desk.look(|state| tried(state, leader)) {
            desk.story.line(&who, Tone::Evil, &format!("had tried: {tried}"));
        }
        self.stage.start(leader).await?;
        desk.story.line(&who, Tone::Good, "runs the honest program again, on its own folder");
        Ok(())
    }

    /// Says so when there are more than the group is made for.
    fn count_the_bad(&self) {
        let desk = &self.stage.desk;
        let bad = desk.look(|state| state.leaders.iter().filter(|l| l.mode != Mode::Honest).count());
        if bad > usize::from(F) {
            let text = format!("{bad} leaders are hacked or stopped now: more than the {F} that this group withstands");
            desk.story.line("demo", Tone::Evil, &text);
        }
    }
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
