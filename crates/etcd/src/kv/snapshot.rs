//! All keys of a range as they were at one revision, put together from replies of several.
//!
//! Pages are read one after the other, and meanwhile others write. What has changed between a page and the last one is in the
//! history, and is made up for: so a reader comes to an end however much is written. In the same way what has changed since a
//! revision of the past is undone. What the history does not remember any more is compacted, as etcd says.

use std::collections::BTreeMap;

use ringfort_services::kv::{
    Change, Event, KeyValue, KvRequest, Operation, OperationResult, Outcome, Position, Range, Read, Revision,
};
use tonic::Status;

use super::range::reading;
use crate::error::Refusal;
use crate::front::Front;
use crate::store::{Store, Unanswered};

/// How often the pages are read anew because the history does not go back to the first.
const TRIES: usize = 3;
/// Changes in one reply.
const CHANGES_MAX: u32 = 1024;

type Entries = BTreeMap<Vec<u8>, KeyValue>;

/// The keys, in their order, at `past` or now, and what is the store's revision now.
pub async fn take<S: Store>(
    front: &Front<S>,
    range: &Range,
    past: Option<Revision>,
) -> Result<(Revision, Vec<KeyValue>), Status> {
    for _ in 0..TRIES {
        let (mut entries, pages) = read_pages(front, range).await?;
        let now = pages.last().map_or(0, |page| page.revision);
        let first = pages.first().map_or(now, |page| page.revision);
        if first < now {
            match changes(front, range, first, now, false).await? {
                Some(events) => events.into_iter().for_each(|event| make_up(&mut entries, &pages, event)),
                None => continue,
            }
        }
        if let Some(past) = past.filter(|past| *past < now) {
            let events = changes(front, range, past, now, true).await?.ok_or(Refusal::Compacted)?;
            events.into_iter().rev().try_for_each(|event| undo(&mut entries, event))?;
        }
        return Ok((now, entries.into_values().collect()));
    }
    Err(Status::unavailable("ringfort: the keys change faster than they can be read: read fewer at once, with a limit"))
}

/// What was read at one moment: keys up to the last one, behind those of the page before.
struct Page {
    revision: Revision,
    last: Option<Vec<u8>>,
}

async fn read_pages<S: Store>(front: &Front<S>, range: &Range) -> Result<(Entries, Vec<Page>), Status> {
    let (mut all, mut pages, mut rest) = (Entries::new(), Vec::new(), range.clone());
    loop {
        let (revision, mut results) = reading(front, vec![Operation::Read(Read::all(rest.clone()))]).await?;
        let Some(OperationResult::Read { entries, more }) = results.pop() else {
            return Err(Unanswered::Version.into());
        };
        let last = entries.last().map(|entry| entry.key.clone());
        all.extend(entries.into_iter().map(|entry| (entry.key.clone(), entry)));
        match last.filter(|_| more) {
            Some(last) => {
                rest = rest.behind(&last);
                pages.push(Page { revision, last: Some(last) });
            }
            None => {
                pages.push(Page { revision, last: None });
                return Ok((all, pages));
            }
        }
    }
}

/// What has changed behind one revision and up to another; `None` if that is not all remembered.
async fn changes<S: Store>(
    front: &Front<S>,
    range: &Range,
    after: Revision,
    upto: Revision,
    previous: bool,
) -> Result<Option<Vec<Event>>, Status> {
    let (mut found, mut after) = (Vec::new(), behind(after));
    loop {
        let request = KvRequest::Changes { range: range.clone(), after, limit: CHANGES_MAX, previous };
        match front.ask(request).await? {
            (_, Outcome::Changes { events, upto: told, more }) => {
                found.extend(events.into_iter().filter(|event| event.position.revision <= upto));
                if !more || told.revision > upto {
                    return Ok(Some(found));
                }
                after = told;
            }
            (_, Outcome::Compacted { .. }) => return Ok(None),
            _ => return Err(Unanswered::Version.into()),
        }
    }
}

/// The place behind all changes of a revision.
pub fn behind(revision: Revision) -> Position {
    Position { revision, changes: u32::MAX }
}

/// A change that the key's page does not show yet.
fn make_up(entries: &mut Entries, pages: &[Page], event: Event) {
    let key = key_of(&event.change);
    let on = |page: &&Page| page.last.as_deref().is_none_or(|last| key <= last);
    if pages.iter().find(on).is_none_or(|page| event.position.revision <= page.revision) {
        return;
    }
    match event.change {
        Change::Put(entry) => drop(entries.insert(entry.key.clone(), entry)),
        Change::Deleted { key } => drop(entries.remove(&key)),
    }
}

fn undo(entries: &mut Entries, event: Event) -> Result<(), Refusal> {
    match (event.change, event.previous) {
        (_, Some(previous)) => drop(entries.insert(previous.key.clone(), previous)),
        (Change::Put(entry), None) if entry.created == entry.modified => drop(entries.remove(&entry.key)),
        // What it was is forgotten.
        (_, None) => return Err(Refusal::Compacted),
    }
    Ok(())
}

fn key_of(change: &Change) -> &[u8] {
    match change {
        Change::Put(entry) => &entry.key,
        Change::Deleted { key } => key,
    }
}
