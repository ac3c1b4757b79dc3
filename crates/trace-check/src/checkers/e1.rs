//! A message belongs to one configuration: all that get it in a regular part are in one view, and those that get it
//! behind the transitional signal come from the same ring. A reliable message has no place among joins and leaves, so
//! for it only the ring counts.

use std::collections::BTreeMap;

use crate::history::{Got, Span};
use crate::record::Service;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    let mut places: BTreeMap<(&str, &str), Vec<(&Span<'_>, &Got<'_>)>> = BTreeMap::new();
    for span in &history.spans {
        for got in &span.got {
            places.entry((got.m, span.g)).or_default().push((span, got));
        }
    }
    for ((m, g), places) in &places {
        let ordered = history.service(m).is_some_and(|svc| svc >= Service::Fifo);
        let exact = |got: &Got<'_>| ordered && !got.transitional;
        let first = places.iter().find(|(_, got)| exact(got)).or(places.first());
        let Some((first, first_got)) = first else { continue };
        for (span, got) in places {
            let same_ring = span.id.first_chunk::<2>() == first.id.first_chunk::<2>();
            let same = !(exact(got) && exact(first_got)) || span.id == first.id;
            report.expect(same_ring && same, || {
                format!("{m} of {g} is in view {:?} at {} and in {:?} at {}", first.id, first.p, span.id, span.p)
            });
        }
    }
}
