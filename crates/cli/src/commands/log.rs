//! `ringfort log` and `ringfort verify-evidence`: who could read, with no leader's help.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ringfort::protocol::evidence::{Evidence, NoEvidence, find};
use ringfort::protocol::log::{Answer, Audited, Log, Receipt, Refused, Verdict, Why, verify};
use ringfort::protocol::view::Change;
use ringfort::protocol::{GroupInfo, MemberId, UserName};
use ringfort_documents::{read_proof, write_proof};
use serde::Serialize;

use crate::common::GroupArgs;
use crate::exit::{Failure, Outcome, Status};
use crate::json::{cause_word, roles};
use crate::output;
use crate::text::{count, moment, names, parse_moment, people};

/// What to do with a membership log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// List the views in a log, with who came and went
    Show(LogArgs),
    /// Check a log, and look for conflicts when several members' logs are given
    ///
    /// Exit status 0: all is right. 11: a log was altered, or is of another group. 31: the logs hold evidence against
    /// leaders (write it with --evidence).
    Verify(VerifyArgs),
    /// Tell who could read what the member sent at a moment
    ///
    /// Exit status 0: told. 30: the log does not cover that moment.
    Who(WhoArgs),
    /// Write a receipt for a moment: proof for somebody who has the group file alone
    Receipt(ReceiptArgs),
    /// Check a receipt and tell what it proves
    CheckReceipt(CheckReceiptArgs),
}

/// Which log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The log; its parts, oldest first, if it has several
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to check.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The logs of one or several members
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// The log must end with this entry, told by its member by other means: then nothing was cut off
    #[arg(long, value_name = "HEAD")]
    pub head: Option<String>,
    /// Write what evidence there is to FILE, and FILE.2 and so on
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which moment.
#[derive(Debug, Args)]
pub struct WhoArgs {
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
    /// The moment, as 2026-11-21T14:05:00+01:00, 2026-11-21T13:05Z or Unix time in milliseconds
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: u64,
    /// Only about this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<UserName>,
}

/// What to prove.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// The moment.
    #[command(flatten)]
    pub who: WhoArgs,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Which receipt.
#[derive(Debug, Args)]
pub struct CheckReceiptArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The receipt
    #[arg(value_name = "RECEIPT")]
    pub receipt: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which evidence.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The evidence
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfort log`.
///
/// # Errors
/// Unreadable, altered and foreign logs; conflicts; moments that are not covered.
pub fn run(command: &LogCommand) -> Outcome {
    match command {
        LogCommand::Show(args) => args.audit(|audited| show(audited, args.json)),
        LogCommand::Verify(args) => check(args),
        LogCommand::Who(args) => args.log.audit(|audited| {
            let answer = audited.who(args.at).ok_or_else(|| not_covered(args.at, Some(audited)))?;
            tell((audited.group(), &answer), args.at, args.user.as_ref(), args.log.json)
        }),
        LogCommand::Receipt(args) => args.who.log.audit(|audited| {
            let WhoArgs { at, user, log } = &args.who;
            let receipt = Receipt::new(audited, *at, user.clone()).ok_or_else(|| not_covered(*at, Some(audited)))?;
            let bytes = receipt.to_bytes();
            write_proof(&args.out, &bytes)?;
            let written = Written { receipt: args.out.display().to_string(), bytes: bytes.len() };
            if log.json {
                return output::json(&written);
            }
            output::line(format!(
                "{}: {} bytes. Give it to whom it concerns, with the group file",
                written.receipt, written.bytes
            ))
        }),
        LogCommand::CheckReceipt(args) => {
            let group = args.group.read()?;
            let refused = |refused| refusal(&args.receipt, refused);
            let receipt = Receipt::from_bytes(&read_proof(&args.receipt)?).map_err(refused)?;
            let answer = receipt.verify(&group).map_err(refused)?;
            let answer = answer.ok_or_else(|| not_covered(receipt.at_ms, None))?;
            tell((&group, &answer), receipt.at_ms, receipt.user.as_ref(), args.json)
        }
    }
}

/// Runs `ringfort verify-evidence`.
///
/// # Errors
/// Evidence that convicts nobody.
pub fn evidence(args: &EvidenceArgs) -> Outcome {
    let group = args.group.read()?;
    let wrong = |why: NoEvidence| {
        let status = if why == NoEvidence::Innocent { Status::NoEvidence } else { Status::Altered };
        Failure::new(status, format!("{}: {why}", args.file.display()))
    };
    let evidence = Evidence::from_bytes(&read_proof(&args.file)?).map_err(wrong)?;
    let conviction = evidence.verify(&group).map_err(wrong)?;
    let leaders: Vec<u8> = conviction.guilty.iter().map(|leader| leader.number()).collect();
    if args.json {
        return output::json(&Convicted { leaders, beyond_f: conviction.beyond_f });
    }
    let who: Vec<String> = conviction.guilty.iter().map(ToString::to_string).collect();
    output::line(format!("convicted: {}. No honest leader can have signed this", names(&who)))?;
    if conviction.beyond_f {
        output::line(
            "These are more leaders than the group tolerates: trust nothing that it decided, and set up a new one",
        )?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Written {
    receipt: String,
    bytes: usize,
}

#[derive(Serialize)]
struct Convicted {
    leaders: Vec<u8>,
    beyond_f: bool,
}

#[derive(Serialize)]
struct ViewLine {
    at_ms: u64,
    epoch: u64,
    view: String,
    members: usize,
    joined: Vec<String>,
    left: Vec<(String, &'static str)>,
    signed_by: Vec<u8>,
}

#[derive(Serialize)]
struct Sound {
    log: String,
    user: String,
    views: usize,
    from_ms: u64,
    to_ms: u64,
    whole: bool,
    head: String,
}

#[derive(Serialize)]
struct AnswerLine<'a> {
    at_ms: u64,
    views: Vec<String>,
    readers: Vec<String>,
    perhaps: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    could_read: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    roles: BTreeMap<String, &'static str>,
}

impl LogArgs {
    /// Reads the parts as one log and checks it.
    fn audit(&self, then: impl FnOnce(&Audited<'_>) -> Outcome) -> Outcome {
        let group = self.group.read()?;
        let mut whole = Log { segments: Vec::new() };
        for path in &self.logs {
            whole.segments.extend(read(path)?.segments);
        }
        let first = self.logs.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
        then(&verify(&whole, &group).map_err(|refused| refusal(first, refused))?)
    }
}

fn read(path: &Path) -> Outcome<Log> {
    Log::from_bytes(&read_proof(path)?).map_err(|refused| refusal(path, refused))
}

fn refusal(path: &Path, refused: Refused) -> Failure {
    let status = if refused.why == Why::NotALog { Status::Unreadable } else { Status::Altered };
    Failure::new(status, format!("{}: refused: {refused}", path.display()))
}

fn not_covered(at_ms: u64, audited: Option<&Audited<'_>>) -> Failure {
    let covers =
        audited.map(Audited::covers).map(|(from, to)| format!(": it tells of {} to {}", moment(from), moment(to)));
    let told = format!("the log does not tell of {}{}", moment(at_ms), covers.unwrap_or_default());
    Failure::new(Status::NotCovered, told)
}

fn show(audited: &Audited<'_>, json: bool) -> Outcome {
    for seen in &audited.views {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for change in audited.changes_of(seen) {
            match change {
                Change::Added(entry) => joined.push(entry.id.user.to_string()),
                Change::Removed(user, cause) => left.push((user.to_string(), cause_word(*cause))),
            }
        }
        let members = audited.members_of(seen);
        let signed_by: Vec<u8> = Audited::signers(seen).map(|leader| leader.number()).collect();
        let line = ViewLine {
            at_ms: seen.at_ms,
            epoch: seen.view.epoch.0,
            view: seen.view.digest.to_string(),
            members: members.len(),
            joined,
            left,
            signed_by,
        };
        if json {
            output::json(&line)?;
        } else {
            output::line(line.to_text(&members.into_keys().map(|user| user.to_string()).collect::<Vec<_>>()))?;
        }
        match audited.end_in(seen) {
            Some((at_ms, cause)) if json => output::json(&EndLine { at_ms, ended: cause_word(cause) })?,
            Some((at_ms, cause)) => output::line(format!("{}  the stay ended ({})", moment(at_ms), cause_word(cause)))?,
            None => {}
        }
    }
    Ok(())
}

/// The end of a stay, as `log show --json` prints it.
#[derive(Serialize)]
struct EndLine {
    at_ms: u64,
    ended: &'static str,
}

impl ViewLine {
    fn to_text(&self, members: &[String]) -> String {
        let mut what: Vec<String> = self.joined.iter().map(|user| format!("{user} came")).collect();
        what.extend(self.left.iter().map(|(user, cause)| format!("{user} went ({cause})")));
        let what = if what.is_empty() { names(members) } else { what.join(", ") };
        let signed: Vec<String> = self.signed_by.iter().map(ToString::to_string).collect();
        let (at, count) = (moment(self.at_ms), count(self.members, "member"));
        format!("{at}  view {}/{}  {count}  signed by {}  {what}", self.epoch, self.view, signed.join(" "))
    }
}

fn check(args: &VerifyArgs) -> Outcome {
    let group = args.group.read()?;
    let logs = args.logs.iter().map(|path| read(path)).collect::<Outcome<Vec<Log>>>()?;
    let mut audited = Vec::new();
    for (path, log) in args.logs.iter().zip(&logs) {
        let sound = verify(log, &group).map_err(|refused| refusal(path, refused))?;
        report(path, &sound, args)?;
        audited.push(sound);
    }
    conflicts(&audited, &group, args)
}

fn report(path: &Path, sound: &Audited<'_>, args: &VerifyArgs) -> Outcome {
    if args.head.as_ref().is_some_and(|head| *head != sound.head.to_string()) {
        let told = "does not end with the entry given: it was cut off, or goes on after it";
        return Err(Failure::new(Status::Altered, format!("{}: {told}", path.display())));
    }
    let (from_ms, to_ms) = sound.covers();
    let line = Sound {
        log: path.display().to_string(),
        user: sound.user().map(ToString::to_string).unwrap_or_default(),
        views: sound.views.len(),
        from_ms,
        to_ms,
        whole: sound.is_whole,
        head: sound.head.to_string(),
    };
    if args.json {
        return output::json(&line);
    }
    let start = if line.whole { "" } else { " It goes on from an earlier part." };
    output::line(format!(
        "{}: right. Kept by {}, {}, {} to {}.{start} It ends with {}",
        line.log,
        line.user,
        count(line.views, "view"),
        moment(from_ms),
        moment(to_ms),
        line.head
    ))
}

fn conflicts(audited: &[Audited<'_>], group: &GroupInfo, args: &VerifyArgs) -> Outcome {
    let found = find(audited, group);
    if found.is_empty() {
        return Ok(());
    }
    for (number, evidence) in found.iter().enumerate() {
        let Some(path) = &args.evidence else { continue };
        let mut name = path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{}", number + 1));
        }
        write_proof(Path::new(&name), &evidence.to_bytes())?;
    }
    let guilty: BTreeSet<String> =
        found.iter().filter_map(|e| e.verify(group).ok()).flat_map(|c| c.guilty).map(|l| l.to_string()).collect();
    let who = names(&guilty.into_iter().collect::<Vec<_>>());
    let advice = "write the evidence with --evidence FILE, and show it to the operators";
    Err(Failure::new(Status::Conflict, format!("the logs convict {who}: {advice}")))
}

fn tell((group, answer): (&GroupInfo, &Answer), at_ms: u64, user: Option<&UserName>, json: bool) -> Outcome {
    // Two stays of one user are one person.
    let users = |ids: &[MemberId]| ids.iter().map(|id| id.user.clone()).collect::<BTreeSet<UserName>>();
    let readers = users(&answer.readers);
    let perhaps: BTreeSet<UserName> = users(&answer.perhaps).difference(&readers).cloned().collect();
    let all: Vec<UserName> = readers.iter().chain(&perhaps).cloned().collect();
    let verdict = user.map(|user| answer.verdict(user));
    if json {
        let could_read = verdict.map(|verdict| match verdict {
            Verdict::Could => "yes",
            Verdict::CouldNot => "no",
            Verdict::Perhaps => "perhaps",
        });
        let views = answer.views.iter().map(|seen| seen.view.to_string()).collect();
        return output::json(&AnswerLine {
            at_ms,
            views,
            readers: readers.iter().map(ToString::to_string).collect(),
            perhaps: perhaps.iter().map(ToString::to_string).collect(),
            user: user.map(UserName::as_str),
            could_read,
            roles: roles(group, &all),
        });
    }
    let at = moment(at_ms);
    match (user, verdict) {
        (Some(user), Some(Verdict::Could)) => output::line(format!("{at}: {user} could read")),
        (Some(user), Some(Verdict::CouldNot)) => output::line(format!("{at}: {user} could not read")),
        (Some(user), _) => output::line(format!("{at}: {user} came or went just then, and may have been able to read")),
        (None, _) => {
            let told = people(group, &readers);
            let perhaps =
                if perhaps.is_empty() { String::new() } else { format!(", {} perhaps", people(group, &perhaps)) };
            output::line(format!("{at}: {told} could read{perhaps}"))
        }
    }
}
