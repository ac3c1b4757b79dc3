//! `ringfort kv transact`: several keys at once.

use clap::{ArgGroup, Args};
use ringfort::{Change, Condition, KeyValue, KvError, Revision};

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
    /// Print a key and its value: a transaction changes keys or reads them
    #[arg(long = "get", value_name = "KEY", conflicts_with_all = ["puts", "deletes"])]
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

/// What came of it, or the condition that does not hold and the last change of its key.
type Came<T> = Result<T, (usize, Revision)>;

fn came<T>(reply: Result<T, KvError>) -> Result<Came<T>, KvError> {
    match reply {
        Err(KvError::Failed { condition, modified }) => Ok(Err((condition, modified))),
        reply => reply.map(Ok),
    }
}

pub(super) async fn transact(args: TransactArgs) -> Outcome {
    let conditions = args.conditions();
    let failed = |(number, modified)| args.failed(&conditions, number, modified);
    let asked = conditions.clone();
    if !args.gets.is_empty() {
        let keys = args.gets.iter().map(|key| key.clone().into_bytes()).collect();
        let reply = asking(&args.ask, |kv| async move { came(kv.get_all(asked, keys).await) }).await?;
        let found = reply.or_else(|condition| Err(failed(condition)?))?;
        return args.gets.iter().zip(found).try_for_each(|(key, entry)| told_read(args.ask.json, key, entry));
    }
    let puts = args.puts.iter().map(|(key, value)| Change::put(key.as_bytes(), value.as_bytes()));
    let deletes = args.deletes.iter().map(|key| Change::delete(key.as_bytes()));
    let changes = puts.chain(deletes).collect();
    let reply = asking(&args.ask, |kv| async move { came(kv.transact(asked, changes).await) }).await?;
    let changed = reply.or_else(|condition| Err(failed(condition)?))?;
    for (key, _) in &args.puts {
        told_put(args.ask.json, key, changed.revision)?;
    }
    let existed = changed.existed.into_iter().skip(args.puts.len());
    args.deletes
        .iter()
        .zip(existed)
        .try_for_each(|(key, existed)| told_deleted(args.ask.json, key, existed, changed.revision))
}

impl TransactArgs {
    fn conditions(&self) -> Vec<Condition> {
        let revisions = self.revisions.iter().map(|(key, revision)| Condition::revision(key.as_bytes(), *revision));
        let values = self.values.iter().map(|(key, value)| Condition::value(key.as_bytes(), value.as_bytes()));
        revisions.chain(values).collect()
    }

    /// Tells which condition does not hold.
    fn failed(&self, conditions: &[Condition], number: usize, modified: Revision) -> Outcome<Failure> {
        // A number that there is not is none that f+1 leaders of this version tell.
        let condition = conditions.get(number).ok_or_else(|| Failure::from(KvError::Version))?;
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
