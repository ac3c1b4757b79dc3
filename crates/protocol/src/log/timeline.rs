//! Who could read at a moment.

use std::collections::BTreeSet;

use super::audit::{Audited, SeenView};
use super::record::{Log, What};
use crate::group::GroupInfo;
use crate::ids::{MemberId, UserName};
use crate::statement::Word;

/// Where one view, or none, gives way to another: somewhere from `from_ms` to `to_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    from_ms: u64,
    to_ms: u64,
    /// The view that begins, as its place in the log; `None`: from here on the log knows nothing.
    view: Option<usize>,
}

/// What a log says of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The view the member was in. More than one: the moment is too near a change to tell them apart.
    pub views: Vec<SeenView>,
    /// Who could read what the member sent then, whichever of the views it was in.
    pub readers: Vec<MemberId>,
    /// Who was in some of the views only.
    pub perhaps: Vec<MemberId>,
}

/// Whether a user could read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Was a member.
    Could,
    /// Was no member.
    CouldNot,
    /// Came or went just then.
    Perhaps,
}

/// Clocks of leaders and members differ by seconds. A member's clock that is further behind what honest leaders' clocks say
/// is wrong: nobody installs a view before it is published.
const BEHIND_MS: u64 = 60_000;

/// How far the member's clock was behind, from each entry on at which it was set back.
struct Delays(Vec<((usize, usize), u64)>);

impl Delays {
    fn of(log: &Log, views: &[SeenView], f: usize) -> Self {
        let mut all: Vec<((usize, usize), u64)> = vec![((0, 0), 0)];
        let mut views = views.iter().peekable();
        let mut before = 0;
        for (place, segment) in log.segments.iter().enumerate() {
            for (number, entry) in segment.entries.iter().enumerate() {
                if entry.at_ms < before {
                    all.push(((place, number), 0));
                }
                before = entry.at_ms;
                let Some(seen) = views.next_if(|seen| (seen.segment, seen.entry) == (place, number)) else { continue };
                let behind = honest(&seen.words, f).map_or(0, |(low, _)| low.saturating_sub(entry.at_ms));
                if let Some((_, most)) = all.last_mut() {
                    *most = behind.max(*most);
                }
            }
        }
        Delays(all)
    }

    /// When something happened, by the member's clock as it should have been.
    fn right(&self, place: (usize, usize), at_ms: u64) -> u64 {
        let run = self.0.partition_point(|(start, _)| *start <= place).checked_sub(1);
        let behind = run.and_then(|run| self.0.get(run)).map_or(0, |(_, behind)| *behind);
        at_ms.saturating_add(if behind > BEHIND_MS { behind } else { 0 })
    }
}

/// The moments at which views begin and end. The member's clock tells them; with 2f+1 leaders' words for a view,
/// the honest ones' clocks are known well enough to hold it against them.
pub(super) fn boundaries(log: &Log, views: &[SeenView], group: &GroupInfo) -> Vec<Boundary> {
    let mut all = Vec::new();
    let f = usize::from(group.rules.f());
    let delays = Delays::of(log, views, f);
    let mut views = views.iter().enumerate().peekable();
    for (place, segment) in log.segments.iter().enumerate() {
        while let Some((number, seen)) = views.next_if(|(_, seen)| seen.segment == place) {
            let at_ms = delays.right((seen.segment, seen.entry), seen.at_ms);
            let (from_ms, to_ms) = window(at_ms, &seen.words, f);
            all.push(Boundary { from_ms, to_ms, view: Some(number) });
        }
        // Without a word of the end, nothing is known after the last entry. Where the next segment goes on with the
        // same stay, it begins at once.
        let next = log.segments.get(place + 1);
        let goes_on = next.is_some_and(|next| next.opening.member == segment.opening.member);
        let over = segment.entries.last().filter(|last| !goes_on || matches!(last.what, What::Ended(_)));
        all.extend(over.map(|last| {
            let at_ms = delays.right((place, segment.entries.len() - 1), last.at_ms);
            Boundary { from_ms: at_ms, to_ms: at_ms, view: None }
        }));
    }
    in_order(all)
}

/// When a view began: by the member's clock, widened to where the clocks of honest leaders say it was published.
fn window(at_ms: u64, words: &[Word], f: usize) -> (u64, u64) {
    let (low, high) = honest(words, f).unwrap_or((at_ms, at_ms));
    (at_ms.min(low), at_ms.max(high))
}

/// Times between which honest leaders' clocks were when they published a view, if there are enough words.
///
/// With f liars among k words, the (f+1)-th smallest time is not below all honest ones and the (f+1)-th largest not
/// above all of them; with 2f+1 words both lie within what honest clocks say.
fn honest(words: &[Word], f: usize) -> Option<(u64, u64)> {
    let mut times: Vec<u64> = words.iter().map(|word| word.statement.at_ms).collect();
    if times.len() <= 2 * f {
        return None;
    }
    times.sort_unstable();
    let high = times.len().checked_sub(f + 1)?;
    Some((*times.get(f)?, *times.get(high)?))
}

/// A view begins after the one before it began, whatever clocks say.
fn in_order(mut all: Vec<Boundary>) -> Vec<Boundary> {
    let mut latest = 0;
    for boundary in &mut all {
        latest = boundary.from_ms.max(latest);
        boundary.from_ms = latest;
    }
    let mut earliest = u64::MAX;
    for boundary in all.iter_mut().rev() {
        earliest = boundary.to_ms.min(earliest);
        boundary.to_ms = earliest;
        if boundary.to_ms < boundary.from_ms {
            std::mem::swap(&mut boundary.from_ms, &mut boundary.to_ms);
        }
    }
    all
}

impl<'a> Audited<'a> {
    /// The group it is of.
    pub fn group(&self) -> &'a GroupInfo {
        self.group
    }

    /// The first and the last moment that the log covers: Unix time, milliseconds.
    pub fn covers(&self) -> (u64, u64) {
        let first = self.boundaries.first().map_or(0, |boundary| boundary.to_ms);
        let last = self.boundaries.last().map_or(0, |boundary| boundary.from_ms);
        (first, last)
    }

    /// Who could read what the member sent at a moment; `None` where the log does not say.
    pub fn who(&self, at_ms: u64) -> Option<Answer> {
        self.views_at(at_ms).map(|views| self.answer(views))
    }

    /// The views that the member may have been in at a moment; `None` where the log does not say.
    pub fn views_at(&self, at_ms: u64) -> Option<Vec<SeenView>> {
        let mut views = Vec::new();
        let before = Boundary { from_ms: 0, to_ms: 0, view: None };
        // Both bounds only rise: what may hold the moment begins where one ends at it or later, and ends with the last
        // that begins by then.
        let first = self.boundaries.partition_point(|boundary| boundary.to_ms < at_ms);
        let last = self.boundaries.partition_point(|boundary| boundary.from_ms <= at_ms);
        for place in first..=last {
            let start = place.checked_sub(1).map_or(Some(&before), |before| self.boundaries.get(before));
            let Some(start) = start else { break };
            let end = self.boundaries.get(place).map_or(u64::MAX, |boundary| boundary.to_ms);
            // The bounds belong to both sides, except where the log would say nothing of a moment it knows.
            let inside = if start.view.is_some() {
                (start.from_ms..=end).contains(&at_ms)
            } else {
                (start.from_ms.saturating_add(u64::from(start.from_ms > 0))..end).contains(&at_ms)
            };
            match start.view.and_then(|place| self.views.get(place)) {
                Some(seen) if inside => views.push(seen.clone()),
                None if inside => return None,
                _ => {}
            }
        }
        (!views.is_empty()).then_some(views)
    }

    /// Who could read in one of these views. It goes through the stay up to them: ask once for many moments of a view.
    pub fn answer(&self, views: Vec<SeenView>) -> Answer {
        let lists: Vec<BTreeSet<MemberId>> = views.iter().map(|seen| self.readers_of(seen).collect()).collect();
        let all: BTreeSet<MemberId> = lists.iter().flatten().cloned().collect();
        let (readers, perhaps) = all.into_iter().partition(|id| lists.iter().all(|list| list.contains(id)));
        Answer { views, readers, perhaps }
    }
}

impl Audited<'_> {
    /// The members of a view whose role let them have its key.
    fn readers_of(&self, seen: &SeenView) -> impl Iterator<Item = MemberId> {
        let ids = self.members_of(seen).into_values().map(|entry| entry.id);
        ids.filter(|id| self.group.policy.role(&id.user).receives())
    }
}

impl Answer {
    /// Whether a user could read.
    pub fn verdict(&self, user: &UserName) -> Verdict {
        let among = |list: &[MemberId]| list.iter().any(|id| id.user == *user);
        match (among(&self.readers), among(&self.perhaps)) {
            (true, _) => Verdict::Could,
            (false, true) => Verdict::Perhaps,
            (false, false) => Verdict::CouldNot,
        }
    }
}
