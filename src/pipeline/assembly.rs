//! The stages from segment to call, of all flows or of one worker's.

use std::sync::Arc;

use super::Settings;
use crate::call::Record;
use crate::http::Http;
use crate::inspect::Inspector;
use crate::metrics::Occupancy;
use crate::packet::{Admission, Duplicates, Segment};
use crate::stats::Counters;
use crate::stream::{self, Tracker};
use crate::time::Timestamp;

/// Live, calls of all workers for which there is memory from the start, about 1 KiB each: what waits for the consumer while it keeps
/// its state, or while others have the processor.
const LIVE_CALLS: usize = 2_048;

/// Drops what was mirrored twice, reassembles, makes records.
pub(super) struct Assembly {
    duplicates: Duplicates,
    tracker: Tracker<Http>,
    counters: Counters,
}

impl Assembly {
    /// For one of `parts` parts of the flows, with as much of the budgets.
    pub(super) fn new(settings: &Settings, inspector: &Arc<Inspector>, parts: usize) -> Assembly {
        let mut tls = settings.tls.clone();
        tls.waiting_total = (tls.waiting_total / parts.max(1)).max(tls.waiting_bytes.min(tls.waiting_total));
        let http = Http::new(settings.http.clone(), inspector.clone()).with_tls(tls, settings.keys.clone());
        let mut tracker = Tracker::new(part(&settings.stream, parts), http);
        if settings.live {
            tracker.handler().reserve_calls(LIVE_CALLS / parts.max(1));
        }
        Assembly { duplicates: Duplicates::new(&settings.packet, parts), tracker, counters: Counters::new() }
    }

    /// Takes a segment, at the traffic's time `now`.
    #[inline]
    pub(super) fn segment(&mut self, segment: &Segment<'_>, now: Timestamp) {
        match self.duplicates.admit(segment, now, &mut self.counters) {
            Admission::Copy => {}
            Admission::AsIs => {
                self.tracker.tick(now);
                self.tracker.segment(segment);
            }
            Admission::In(encapsulation) => {
                self.tracker.tick(now);
                self.tracker.segment(&Segment { encapsulation, ..*segment });
            }
        }
    }

    /// The traffic's time has come to `now`.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.tracker.tick(now);
    }

    /// Ends all flows.
    pub(super) fn finish(&mut self) {
        self.tracker.finish();
    }

    /// The records completed, to be taken, in ascending end time.
    #[inline]
    pub(super) fn records(&mut self) -> &mut Vec<Record> {
        self.tracker.handler().records()
    }

    /// Takes back records that are done with; leaves the vector empty.
    pub(super) fn recycle(&mut self, records: &mut Vec<Record>) {
        self.tracker.handler().recycle(records);
    }

    /// How full its tables are.
    pub(super) fn tables(&mut self) -> Vec<Occupancy> {
        let flows = self.tracker.tables();
        flows.into_iter().chain(self.tracker.handler().tables()).collect()
    }

    /// What was counted.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.merge(self.tracker.counters());
        counters
    }
}

/// A worker's part of the budgets.
fn part(settings: &stream::Settings, of: usize) -> stream::Settings {
    let each = |whole: usize, least: usize| (whole / of.max(1)).max(least);
    stream::Settings {
        max_flows: each(settings.max_flows as usize, 1) as u32,
        max_half_open: each(settings.max_half_open as usize, 1) as u32,
        held_total: each(settings.held_total, settings.held_per_direction.min(settings.held_total)),
        ..settings.clone()
    }
}
