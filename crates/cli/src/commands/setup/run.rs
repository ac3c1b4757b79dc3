//! `ringfort setup run`: takes part in a ceremony.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringfort_documents as documents;
use ringfort_node::folder;
use ringfort_node::folder::Making;
use ringfort_node::setup::{Blame, Event, Fault, Limits, SetupEnd, SetupOptions, Terms, Verdict, run_setup};
use serde::Serialize;

use super::{TermsArgs, read_terms, tell_terms};
use crate::commands::leader::resolve;
use crate::common::Ending;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::names;

/// Takes part.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The folder made by `ringfort setup new`
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// What all agree on.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Start only on terms with this fingerprint, which all operators have compared (otherwise asked for)
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
    /// Listen here instead of at the address of the introduction
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Wait so long for all leaders to be there
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wait: u64,
    /// Wait so long for each leader's word once all are there
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Print what happens as JSON lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Terms { fingerprint: String },
    Here { leader: u8 },
    OtherTerms { leader: u8, fingerprint: String },
    Bound { leader: u8 },
    MeetAgain { leader: u8 },
    Waiting { leaders: Vec<u8> },
    Begun,
    Dealt,
    Fits { fingerprint: String },
    Failed { confirmed: bool, blames: Vec<BlameLine> },
    Done { fingerprint: String, folder: String, group: String },
}

#[derive(Serialize)]
struct BlameLine {
    leader: u8,
    fault: &'static str,
    proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

pub(super) async fn take_part(args: RunArgs) -> Outcome {
    let terms = Arc::new(read_terms(&args.terms)?);
    let making = Making::open(&args.folder)?;
    agree(&args, &terms)?;
    let listen = args.listen.as_deref().map(resolve).transpose()?;
    let mut ending = Ending::listen()?;
    let limits = Limits {
        meeting: Duration::from_secs(args.wait),
        round: Duration::from_secs(args.patience),
        ..Limits::default()
    };
    if args.json {
        output::json(&Line::Terms { fingerprint: terms.fingerprint() })?;
    } else {
        output::note("Waiting for the other leaders. Ctrl-C stops it; the same command goes on.");
    }
    let observe = |event: &Event| tell(&args, event);
    let options = SetupOptions { listen, limits };
    match run_setup(&making, terms, options, observe, ending.asked()).await? {
        SetupEnd::Done(group, folder) => done(&args, &group.fingerprint(), &folder),
        SetupEnd::Failed(verdict) => Err(failed(&args.folder, &verdict)),
        SetupEnd::Stopped => {
            Err(Failure::new(Status::Setup, "stopped before there was a group: run it again, at all leaders"))
        }
    }
}

/// Nothing starts on terms that people have not compared.
fn agree(args: &RunArgs, terms: &Terms) -> Outcome {
    let plain = |text: &str| text.replace('-', "").split_whitespace().collect::<String>().to_ascii_lowercase();
    if let Some(expected) = &args.fingerprint {
        if plain(expected) == plain(&terms.fingerprint()) {
            return Ok(());
        }
        let told = format!(
            "these terms have the fingerprint {}, not {}: the operators have different introductions, sizes or policies",
            terms.fingerprint(),
            expected.trim()
        );
        return Err(Failure::new(Status::Fingerprint, told));
    }
    tell_terms(terms, |line| {
        output::note(line);
        Ok(())
    })?;
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Status::Usage,
            "there is no terminal to ask whether all operators see the same: use --fingerprint",
        ));
    }
    output::note("Do all operators see this fingerprint, by voice or in person? Type yes to start.");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read.map_err(|error| Failure::io("cannot read the answer", &error))? {
        _ if answer.trim().eq_ignore_ascii_case("yes") => Ok(()),
        _ => Err(Failure::new(Status::Setup, "not started, since the operators do not agree on the terms yet")),
    }
}

fn tell(args: &RunArgs, event: &Event) {
    let line = match event {
        Event::Here(leader) => Line::Here { leader: leader.number() },
        Event::OtherTerms(leader, fingerprint) => {
            Line::OtherTerms { leader: leader.number(), fingerprint: fingerprint.clone() }
        }
        Event::Bound(leader) => Line::Bound { leader: leader.number() },
        Event::MeetAgain(leader) => Line::MeetAgain { leader: leader.number() },
        Event::Waiting(leaders) => Line::Waiting { leaders: leaders.iter().map(|leader| leader.number()).collect() },
        Event::Begun => Line::Begun,
        Event::Dealt => Line::Dealt,
        Event::Fits(fingerprint) => Line::Fits { fingerprint: fingerprint.clone() },
        Event::Failed(verdict) => Line::Failed { confirmed: verdict.confirmed, blames: blames(verdict) },
        Event::Confirmed | Event::Settled => return,
    };
    if args.json {
        // Whoever read our output may have gone; the ceremony goes on.
        drop(output::json(&line));
        return;
    }
    match line {
        Line::Here { leader } => output::note(format!("leader {leader} is here")),
        Line::OtherTerms { leader, fingerprint } => output::note(format!(
            "leader {leader} came with other terms ({fingerprint}): compare introductions, sizes and policy with its operator"
        )),
        Line::Bound { leader } => output::note(format!(
            "leader {leader} has confirmed an earlier attempt, which this one has not, and takes part in no other: {GIVE_UP}"
        )),
        Line::MeetAgain { leader } => output::note(format!("leader {leader} was started anew: meeting once more")),
        Line::Waiting { leaders } => output::note(format!(
            "this leader has confirmed the group, and waits for the confirmations of: {}",
            names(&leaders)
        )),
        Line::Begun => output::note("all are here: dealing"),
        Line::Dealt => output::note("all have dealt: sharing"),
        Line::Fits { .. } => output::note("all shares fit: waiting for every leader to confirm"),
        Line::Terms { .. } | Line::Failed { .. } | Line::Done { .. } => {}
    }
}

fn blames(verdict: &Verdict) -> Vec<BlameLine> {
    let line = |blame: &Blame| BlameLine {
        leader: blame.leader.number(),
        fault: blame.fault.word(),
        proven: blame.evidence.is_some(),
        about: blame.reason.map(|(leader, _)| leader.number()),
        because: blame.reason.map(|(_, fault)| fault.word()),
    };
    verdict.blames.iter().map(line).collect()
}

fn done(args: &RunArgs, fingerprint: &str, folder: &Path) -> Outcome {
    let group = args.folder.join(documents::GROUP_FILE);
    if args.json {
        return output::json(&Line::Done {
            fingerprint: fingerprint.to_owned(),
            folder: folder.display().to_string(),
            group: group.display().to_string(),
        });
    }
    output::line(format!("There is a group. Fingerprint: {fingerprint}\n"))?;
    output::line("What to do next:")?;
    output::line("  1. Compare this fingerprint with every other operator, by voice or in person.")?;
    output::line(format!(
        "  2. Once all have the same, delete {}, and run `ringfort leader {}`.",
        args.folder.join(folder::MAKING_FILE).display(),
        folder.display()
    ))?;
    output::line(format!("  3. Give {} to the members, and tell them the fingerprint by other means.", group.display()))
}

fn failed(folder: &Path, verdict: &Verdict) -> Failure {
    let told: Vec<String> = verdict
        .blames
        .iter()
        .map(|blame| {
            let proof = folder.join(format!("leader-{}.evidence", blame.leader.number()));
            let proof = blame.evidence.as_ref().map(|_| format!(" (proof: {})", proof.display()));
            format!("{blame}{}", proof.unwrap_or_default())
        })
        .collect();
    let is = |fault| verdict.blames.iter().any(|blame| blame.fault == fault);
    let proven = verdict.blames.iter().any(|blame| blame.fault.is_deviation());
    let advice = if verdict.confirmed {
        format!(
            "this leader has confirmed, so it starts nothing else: others may have finished, or may yet. Run it again, at all leaders, \
             to wait for that. If nothing comes of it, {GIVE_UP}"
        )
    } else if is(Fault::Bound) {
        GIVE_UP.to_owned()
    } else if proven {
        "it is hacked or broken: repeat the setup without it, with a new introduction in its place".to_owned()
    } else if is(Fault::Restarted) {
        "start it again at all leaders".to_owned()
    } else {
        "see to that machine and its network, then start it again at all leaders".to_owned()
    };
    Failure::new(Status::Setup, format!("the setup failed: {}: {advice}", told.join("; ")))
}

/// The only way out of an attempt that some have confirmed and others cannot.
const GIVE_UP: &str =
    "all operators give that attempt up, together: `ringfort setup give-up FOLDER`, then new introductions";
