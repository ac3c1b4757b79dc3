//! `ringfort setup`: a group without a dealer, made by the leaders' machines together.

mod run;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ringfort::protocol::introduction::{FactKind, Facts, Introduction};
use ringfort::protocol::{LeaderId, Policy, Rules};
use ringfort_documents as documents;
use ringfort_node::folder;
use ringfort_node::folder::{Making, NewLeader};
use ringfort_node::setup::Terms;
use serde::Serialize;

pub use self::run::RunArgs;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{count, names};

/// The steps of a setup without a dealer.
#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    /// 1. On each leader's machine: make its keys and its introduction
    New(NewArgs),
    /// 2. Everywhere: see what the introductions agree on, and its fingerprint
    Terms(TermsCommandArgs),
    /// 3. Everywhere at the same time: make the group together
    ///
    /// The machines talk to each other at the leaders' addresses. Each ends with a folder of its own, and none ever holds the secrets of
    /// two. Run on a folder that has finished, it helps leaders that were cut off at the end. Run on one that has confirmed and not
    /// finished, it waits for the others' confirmations, and starts nothing else.
    Run(RunArgs),
    /// Give up an attempt that does not come to an end: delete a leader's folder with its keys
    ///
    /// All operators have to do it, together, and begin again with `ringfort setup new`. A leader that has finished is left alone.
    GiveUp(GiveUpArgs),
    /// Check what proves that a leader deviated in a setup
    Verify(VerifyArgs),
}

/// A leader to be made.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The folder to make
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The group's name, the same at every leader
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// This leader's number, from 1: agree on who has which
    #[arg(long, value_name = "NUMBER")]
    pub leader: u8,
    /// Where the other leaders and the members reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: String,
    /// Who owns the machine
    #[arg(long, value_name = "WHO", default_value = "")]
    pub owner: String,
    /// Who administers it
    #[arg(long, value_name = "WHO", default_value = "")]
    pub operator: String,
    /// Where it stands
    #[arg(long, value_name = "WHERE", default_value = "")]
    pub place: String,
    /// Who hosts it
    #[arg(long, value_name = "WHO", default_value = "")]
    pub hosting: String,
    /// Whose network it is on
    #[arg(long, value_name = "WHOSE", default_value = "")]
    pub network: String,
    /// Its operating system [default: what this machine says]
    #[arg(long, value_name = "WHAT")]
    pub system: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Gives an attempt up.
#[derive(Debug, Args)]
pub struct GiveUpArgs {
    /// The folder made by `ringfort setup new`
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// What all operators agree on.
#[derive(Debug, Args)]
pub struct TermsArgs {
    /// The introductions of all leaders, this one's among them
    #[arg(value_name = "INTRODUCTION", required = true)]
    pub introductions: Vec<PathBuf>,
    /// Leaders that may be hacked without harm [default: as many as the number of leaders allows]
    #[arg(long, value_name = "F")]
    pub faults: Option<u8>,
    /// Shares that make the group key, from F+1 (the default) to N-F
    #[arg(long, value_name = "T")]
    pub key_threshold: Option<u8>,
    /// The group's policy (TOML), the same at every leader; what it leaves out has its default
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Shows terms.
#[derive(Debug, Args)]
pub struct TermsCommandArgs {
    /// What all agree on.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Checks evidence.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The evidence, as `ringfort setup run` wrote it
    #[arg(value_name = "EVIDENCE")]
    pub evidence: PathBuf,
    /// The terms of that setup.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfort setup`.
///
/// # Errors
/// Files that cannot be used, terms that make no group, and a setup that fails.
pub async fn run(command: SetupCommand) -> Outcome {
    match command {
        SetupCommand::New(args) => new(&args),
        SetupCommand::Terms(args) => show_terms(&args),
        SetupCommand::Run(args) => run::take_part(args).await,
        SetupCommand::GiveUp(args) => give_up(&args),
        SetupCommand::Verify(args) => verify(&args),
    }
}

#[derive(Serialize)]
struct Made<'a> {
    folder: String,
    introduction: String,
    leader: u8,
    address: &'a str,
}

fn new(args: &NewArgs) -> Outcome {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Status::Usage, error);
    let leader = LeaderId::new(args.leader)
        .ok_or_else(|| usage(&"leaders are numbered from 1 to 64: choose one of these numbers"))?;
    let facts = Facts::new(|kind| match kind {
        FactKind::Owner => args.owner.clone(),
        FactKind::Operator => args.operator.clone(),
        FactKind::Place => args.place.clone(),
        FactKind::Hosting => args.hosting.clone(),
        FactKind::Network => args.network.clone(),
        FactKind::System => args.system.clone().unwrap_or_else(system),
        FactKind::Architecture => std::env::consts::ARCH.to_owned(),
        FactKind::Build => format!("ringfort {} {}", env!("CARGO_PKG_VERSION"), ringfort_crypto::BACK_ENDS),
    })
    .map_err(|error| usage(&error))?;
    if documents::is_loopback(&args.listen) {
        let told = format!(
            "WARNING: {} can be reached from this machine only, and an introduction cannot be changed later",
            args.listen
        );
        output::note(told);
    }
    let new = NewLeader { group_name: args.name.clone(), leader, address: args.listen.clone(), facts };
    let introduction = Making::create(&args.folder, new)?;
    if args.json {
        return output::json(&Made {
            folder: args.folder.display().to_string(),
            introduction: introduction.display().to_string(),
            leader: args.leader,
            address: &args.listen,
        });
    }
    output::line(format!(
        "Leader {} of {:?} has its keys in {}, which stays on this machine.",
        args.leader,
        args.name,
        args.folder.display()
    ))?;
    output::line(format!("Give its introduction to every other operator, and get theirs: {}", introduction.display()))?;
    output::line("Then see with `ringfort setup terms INTRODUCTION…` what they agree on.")
}

/// The operating system, as it calls itself.
fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map(|name| name.trim_matches('"').trim().to_owned());
    name.filter(|name| !name.is_empty() && name.len() <= 64).unwrap_or_else(|| std::env::consts::OS.to_owned())
}

fn read_terms(args: &TermsArgs) -> Outcome<Terms> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Status::Usage, error);
    let mut introductions = Vec::new();
    for path in &args.introductions {
        introductions.push(documents::read_introduction(path)?);
    }
    let n = u8::try_from(introductions.len())
        .map_err(|_| usage(&"these are more introductions than a group can have leaders"))?;
    if let Some(told) = lacking(&introductions).filter(|_| args.faults.is_none()) {
        return Err(usage(&told));
    }
    let faults = args.faults.unwrap_or(n.saturating_sub(1) / 3);
    let rules = Rules::new(n, faults, args.key_threshold.unwrap_or(faults.saturating_add(1))).map_err(|e| usage(&e))?;
    let policy = args.policy.as_deref().map_or_else(|| Ok(Policy::default()), documents::read_policy)?;
    Terms::new(rules, policy, introductions).map_err(|error| usage(&error))
}

/// Which introductions seem to have been left out: fewer than four make no group, and numbers have no gaps.
fn lacking(introductions: &[Introduction]) -> Option<String> {
    const LEADERS_MIN: u8 = 4;
    let given: BTreeSet<u8> = introductions.iter().map(|i| i.leader.number()).collect();
    let highest = given.last().copied().unwrap_or_default().max(LEADERS_MIN);
    let missing: Vec<String> = (1..=highest).filter(|n| !given.contains(n)).map(|n| n.to_string()).collect();
    if missing.is_empty() || given.len() < introductions.len() {
        return None;
    }
    let those = match &missing[..] {
        [one] => format!("that of leader {one} is missing"),
        more => format!("those of leaders {} are missing", names(more)),
    };
    Some(format!(
        "{} given, and a group without a dealer has at least {LEADERS_MIN}: {those}",
        count(given.len(), "introduction")
    ))
}

#[derive(Serialize)]
struct ShownTerms {
    name: String,
    fingerprint: String,
    leaders: Vec<ShownLeader>,
    faults: u8,
    key_threshold: usize,
}

#[derive(Serialize)]
struct ShownLeader {
    leader: u8,
    address: String,
    facts: std::collections::BTreeMap<&'static str, String>,
}

fn show_terms(args: &TermsCommandArgs) -> Outcome {
    let terms = read_terms(&args.terms)?;
    if args.json {
        let leader = |i: &Introduction| ShownLeader {
            leader: i.leader.number(),
            address: i.info.address.clone(),
            facts: FactKind::ALL.into_iter().map(|kind| (kind.word(), i.signed.facts.get(kind).to_owned())).collect(),
        };
        return output::json(&ShownTerms {
            name: terms.name().to_owned(),
            fingerprint: terms.fingerprint(),
            leaders: terms.introductions().iter().map(leader).collect(),
            faults: terms.rules().f(),
            key_threshold: terms.rules().key_threshold(),
        });
    }
    tell_terms(&terms, output::line)
}

fn tell_terms(terms: &Terms, mut tell: impl FnMut(String) -> Outcome) -> Outcome {
    let rules = terms.rules();
    tell(format!(
        "The group {:?}: {}, of which {} may be hacked; {} make the group key.\n",
        terms.name(),
        count(rules.n().into(), "leader"),
        rules.f(),
        count(rules.key_threshold(), "share"),
    ))?;
    for i in terms.introductions() {
        let said = |kind| Some(i.signed.facts.get(kind)).filter(|text| !text.is_empty());
        let facts: Vec<&str> = FactKind::ALL.into_iter().filter_map(said).collect();
        tell(format!("  {}  {}  {}", i.leader, i.info.address, facts.join(", ")))?;
    }
    tell(format!("\nFingerprint of these terms: {}", terms.fingerprint()))
}

#[derive(Serialize)]
struct Verified {
    leader: u8,
    fault: &'static str,
}

fn give_up(args: &GiveUpArgs) -> Outcome {
    Making::open(&args.folder)?.give_up()?;
    output::line(format!("{} is deleted with its keys, and no group can come of them.", args.folder.display()))?;
    output::line("Once all operators have done it, each begins again with `ringfort setup new`.")
}

fn verify(args: &VerifyArgs) -> Outcome {
    let terms = read_terms(&args.terms)?;
    let evidence = folder::read_evidence(&args.evidence)?;
    let Some((leader, fault)) = evidence.check(&terms) else {
        let told = format!("{}: this proves nothing against anybody on these terms", args.evidence.display());
        return Err(Failure::new(Status::Altered, told));
    };
    if args.json {
        return output::json(&Verified { leader: leader.number(), fault: fault.word() });
    }
    output::line(format!("It is proven: {leader} {fault}."))
}
