//! `ringfort kv transact`: several keys at once.

use clap::{ArgGroup, Args};
use ringfort::KvError;
use ringfort::kv::{Condition, Failed, KeyValue, Operation, OperationResult, Refusal, Revision, Transaction};

use super::{AskArgs, KvLine, asking, told_deleted, told_put};
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, clean_lines};

/// `ringfort kv transact`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("then").args(["puts", "deletes", "gets"]).required(true).multiple(true))]
pub struct TransactArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Only if the key's last change has this revision; 0: if there is no such key
    #[arg(long = "if", value_name = "KEY=REVISION", value_parser = key_and_revision)]
    pub revisions: Vec<(String, Revision)>,
    /// Only if the key is there and has this value
    #[arg(long = "if-value", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub values: Vec<(String, String)>,
    /// Give a key a value
    #[arg(long = "put", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub puts: Vec<(String, String)>,
    /// Take a key away, if it is there
    #[arg(long = "delete", value_name = "KEY")]
    pub deletes: Vec<String>,
    /// Print a key and its value, with what the transaction has changed
    #[arg(long = "get", value_name = "KEY")]
    pub gets: Vec<String>,
}

/// The first `=` ends the key.
fn key_and_value(given: &str) -> Result<(String, String), String> {
    let (key, value) = given.split_once('=').ok_or("a key, `=` and a value are expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The last `=` ends the key.
fn key_and_revision(given: &str) -> Result<(String, Revision), String> {
    let expected = "a key, `=` and a revision are expected; 0: there is no such key";
    let (key, revision) = given.rsplit_once('=').ok_or(expected)?;
    Ok((key.to_owned(), revision.parse().map_err(|_| expected)?))
}

pub(super) async fn transact(args: TransactArgs) -> Outcome {
    let (json, transaction) = (args.ask.json, args.transaction());
    let conditions = transaction.conditions.clone();
    let committed = asking(&args.ask, |kv| async move { kv.transact(&transaction).await }).await?;
    if let Some(failed) = committed.failed {
        return Err(args.failed(&conditions, failed)?);
    }
    let Some(results) = committed.results else {
        let told = format!(
            "it was done, and the store's revision is {}, but the reply was lost on the way: read the keys again",
            committed.revision
        );
        return Err(Failure::new(Status::TooFewLeaders, told));
    };
    let puts = args.puts.iter().map(|(key, _)| key);
    for (key, result) in puts.chain(&args.deletes).chain(&args.gets).zip(results) {
        match result {
            OperationResult::Put { .. } => told_put(json, key, committed.revision)?,
            OperationResult::Deleted { count, .. } => told_deleted(json, key, count > 0, committed.revision)?,
            OperationResult::Read { more: true, .. } => return Err(KvError::Refused(Refusal::Reply).into()),
            OperationResult::Read { mut entries, .. } => told_read(json, key, entries.pop())?,
            OperationResult::Count(_) => return Err(KvError::Version.into()),
        }
    }
    Ok(())
}

impl TransactArgs {
    fn transaction(&self) -> Transaction {
        let puts = self.puts.iter().map(|(key, value)| Operation::put(key.as_bytes(), value.as_bytes()));
        let deletes = self.deletes.iter().map(|key| Operation::delete(key.as_bytes()));
        let gets = self.gets.iter().map(|key| Operation::get(key.as_bytes()));
        Transaction { conditions: self.conditions(), ..Transaction::of(puts.chain(deletes).chain(gets).collect()) }
    }

    fn conditions(&self) -> Vec<Condition> {
        let revisions = self.revisions.iter().map(|(key, revision)| Condition::revision(key.as_bytes(), *revision));
        let values = self.values.iter().map(|(key, value)| Condition::value(key.as_bytes(), value.as_bytes()));
        revisions.chain(values).collect()
    }

    /// Tells which condition does not hold.
    fn failed(&self, conditions: &[Condition], Failed { condition, modified }: Failed) -> Outcome<Failure> {
        // A number that there is not is none that f+1 leaders of this version tell.
        let condition = conditions.get(usize::from(condition)).ok_or_else(|| Failure::from(KvError::Version))?;
        let key = String::from_utf8_lossy(&condition.key).into_owned();
        let last = match modified {
            0 => "there is no such key".to_owned(),
            modified => format!("its last change has revision {modified}"),
        };
        let told = format!("nothing was done, because {} is not what `--if` says: {last}", clean(&key));
        if self.ask.json {
            output::json(&KvLine::Failed { key, modified })?;
        }
        Ok(Failure::new(Status::NotThere, told))
    }
}

fn told_read(json: bool, key: &str, entry: Option<KeyValue>) -> Outcome {
    match entry {
        Some(entry) if json => output::json(&KvLine::from(entry)),
        Some(entry) => {
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            output::told(format!("{}: {}", clean(key), clean_lines(&value)))
        }
        None if json => output::json(&KvLine::Absent { key: key.to_owned() }),
        None => output::line(format!("{} is not there.", clean(key))),
    }
}
