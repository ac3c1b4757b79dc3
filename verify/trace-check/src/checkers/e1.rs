//! A message belongs to one configuration: all that get it in a regular part are in one view, and those that get it
//! behind the transitional signal are in that view or one before it. Reliable messages have no place among joins and
//! leaves.

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
        if history.service(m) < Some(Service::Fifo) {
            continue;
        }
        let Some((first, _)) = places.iter().find(|(_, got)| !got.transitional) else { continue };
        for (span, got) in places {
            let same = if got.transitional { span.id <= first.id } else { span.id == first.id };
            report.expect(same, || {
                format!("{m} of {g} is in view {:?} at {} and in {:?} at {}", first.id, first.p, span.id, span.p)
            });
        }
    }
}
