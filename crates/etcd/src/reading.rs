//! Reading the store's changes one part after the other.

use ringfort_services::kv::{Event, KvRequest, Outcome, Position, Range, Revision};
use tonic::Status;

use crate::front::Front;
use crate::kv::behind;
use crate::store::{Store, Unanswered};

/// Changes in one reply.
const CHANGES_MAX: u32 = 1024;

/// Reads changes one part after the other, and gives out whole revisions.
pub struct Reading {
    after: Position,
    /// Changes of a revision of which others may be in the next part.
    begun: Vec<Event>,
    /// Whether all of them come with what was before.
    previous: bool,
    pub more: bool,
}

pub enum Read {
    /// Changes, and whether they come with what was before.
    Whole { events: Vec<Event>, upto: Revision, previous: bool },
    /// What comes next is forgotten; what is behind this revision is not.
    Compacted(Revision),
}

impl Reading {
    pub fn new(after: Revision) -> Self {
        Reading { after: behind(after), begun: Vec::new(), previous: true, more: true }
    }

    pub async fn read<S: Store>(&mut self, front: &Front<S>, range: &Range, previous: bool) -> Result<Read, Status> {
        let request = KvRequest::Changes { range: range.clone(), after: self.after, limit: CHANGES_MAX, previous };
        match front.ask(request).await? {
            (_, Outcome::Changes { events, upto, more }) => {
                self.take(events, previous);
                (self.after, self.more) = (upto, more);
                Ok(self.whole(upto.revision))
            }
            (_, Outcome::Compacted { oldest }) => Ok(Read::Compacted(oldest)),
            _ => Err(Unanswered::Version.into()),
        }
    }

    fn take(&mut self, events: Vec<Event>, previous: bool) {
        self.previous = previous && (self.previous || self.begun.is_empty());
        self.begun.extend(events);
    }

    /// If there is more, the last revision that is told may have other changes in the next part.
    fn whole(&mut self, told: Revision) -> Read {
        let upto = if self.more { told.saturating_sub(1) } else { told };
        let whole = self.begun.partition_point(|event| event.position.revision <= upto);
        let rest = self.begun.split_off(whole);
        Read::Whole { events: std::mem::replace(&mut self.begun, rest), upto, previous: self.previous }
    }
}

#[cfg(test)]
mod tests {
    use ringfort_services::kv::Change;

    use super::*;

    fn event(revision: Revision, changes: u32) -> Event {
        let change = Change::Deleted { key: vec![u8::try_from(changes).unwrap()] };
        Event { position: Position { revision, changes }, change, previous: None }
    }

    fn revisions(read: Read) -> (Vec<(Revision, u32)>, Revision, bool) {
        let Read::Whole { events, upto, previous } = read else { panic!("nothing is compacted") };
        (events.iter().map(|event| (event.position.revision, event.position.changes)).collect(), upto, previous)
    }

    #[test]
    fn a_revision_is_told_whole() {
        let mut reading = Reading::new(4);
        reading.take(vec![event(5, 1), event(6, 1), event(6, 2)], true);
        assert_eq!(revisions(reading.whole(6)), (vec![(5, 1)], 5, true));
        reading.take(vec![event(6, 3), event(7, 1)], true);
        reading.more = false;
        assert_eq!(revisions(reading.whole(7)), (vec![(6, 1), (6, 2), (6, 3), (7, 1)], 7, true));
    }

    #[test]
    fn a_revision_of_which_a_part_came_without_what_was_before_has_not_all_of_that() {
        let mut reading = Reading::new(4);
        reading.take(vec![event(5, 1), event(6, 1)], false);
        assert_eq!(revisions(reading.whole(6)), (vec![(5, 1)], 5, false));
        reading.take(vec![event(6, 2), event(7, 1)], true);
        assert_eq!(
            revisions(reading.whole(7)),
            (vec![(6, 1), (6, 2)], 6, false),
            "the first part was asked for without"
        );
        reading.take(vec![event(7, 2)], true);
        reading.more = false;
        assert_eq!(revisions(reading.whole(7)), (vec![(7, 1), (7, 2)], 7, false), "which of them is not known");
        reading.take(vec![event(8, 1)], true);
        assert_eq!(revisions(reading.whole(8)), (vec![(8, 1)], 8, true));
    }
}
