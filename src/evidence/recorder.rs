//! Puts frames, calls and what was told into the order of the traffic's time, and keeps the packets of incidents.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::Settings;
use super::ring::{Batch, Ring};
use super::store::Store;
use super::watch::{Line, LineKind, Span, Watches};
use crate::metrics::Publisher;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// How often it is seen what is over, in the traffic's time.
const SWEEP: Duration = Duration::from_secs(1);

/// What the recorder is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A reader read frames.
    Frames(Batch),
    /// The detector has come to a moment.
    Told(Told),
}

/// What came of the records before a moment.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// There will be nothing from before this moment any more.
    pub(super) watermark: Timestamp,
    /// In the order of their ends.
    pub(super) calls: Vec<Span>,
    pub(super) lines: Vec<Line>,
}

/// Keeps the packets of incidents.
pub(super) struct Recorder {
    settings: Settings,
    hold: Duration,
    live: bool,
    ring: Ring,
    /// Those that are not due.
    calls: VecDeque<Span>,
    lines: VecDeque<Line>,
    watermark: Timestamp,
    /// Calls of the last seconds, in the order of their ends.
    recent: VecDeque<Span>,
    watches: Watches,
    store: Store,
    sweep: Timestamp,
    counters: Counters,
    publisher: Option<Publisher>,
    ids: Vec<u64>,
}

impl Recorder {
    pub(super) fn new(settings: &Settings, folder: PathBuf, live: bool, publisher: Option<Publisher>) -> Recorder {
        Recorder {
            hold: Duration::from_secs(settings.ring_seconds),
            live,
            ring: Ring::default(),
            calls: VecDeque::new(),
            lines: VecDeque::new(),
            watermark: Timestamp::ZERO,
            recent: VecDeque::new(),
            watches: Watches::default(),
            store: Store::open(folder, settings.incident_bytes, settings.total_bytes),
            sweep: Timestamp::ZERO,
            counters: Counters::new(),
            publisher,
            ids: Vec::new(),
            settings: settings.clone(),
        }
    }

    /// Works until nobody tells anything any more; gives what was counted.
    pub(super) fn run(mut self, messages: &Receiver<Message>) -> Counters {
        for message in messages {
            self.take(message);
            let counters = self.publisher.as_mut().is_some_and(Publisher::is_due).then(|| self.all_counters());
            if let (Some(publisher), Some(counters)) = (&self.publisher, counters) {
                publisher.publish(&counters);
            }
        }
        self.finish()
    }

    /// Takes what is told, and does what is due.
    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Frames(batch) => self.ring.push(batch),
            Message::Told(Told { watermark, calls, lines }) => {
                self.watermark = self.watermark.max(watermark);
                self.calls.extend(calls);
                for line in lines {
                    let place = self.lines.partition_point(|held| held.time <= line.time);
                    self.lines.insert(place, line);
                }
            }
        }
        self.advance();
        self.store.flush();
    }

    /// All was told.
    pub(super) fn finish(mut self) -> Counters {
        self.watermark = Timestamp::MAX;
        self.advance();
        while self.ring.oldest_time().is_some() {
            self.let_go();
        }
        self.store.flush();
        self.all_counters()
    }

    #[cfg(test)]
    pub(super) fn ring_bytes(&self) -> usize {
        self.ring.held_bytes() + self.ring.waiting_bytes()
    }

    fn all_counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.merge(self.store.counters());
        counters
    }

    /// Heeds all from before the watermark, in the order of time: of one moment first the frames, then the calls, then the lines.
    fn advance(&mut self) {
        let is_due = |time: Timestamp, watermark| time < watermark || watermark == Timestamp::MAX;
        // Live, a detector that is behind may not make the ring grow.
        let most = if self.live { self.settings.ring_bytes / 2 } else { usize::MAX };
        loop {
            let frame = self.ring.next_time();
            let before = |time: &Timestamp| is_due(*time, self.watermark) && frame.is_none_or(|frame| *time < frame);
            let call = self.calls.front().map(|call| call.end).filter(before);
            let line = self.lines.front().map(|line| line.time).filter(before);
            match (call, line) {
                (Some(call), line) if line.is_none_or(|line| call <= line) => {
                    if let Some(call) = self.calls.pop_front() {
                        self.call(call);
                    }
                }
                (_, Some(_)) => {
                    if let Some(line) = self.lines.pop_front() {
                        self.line(&line);
                    }
                }
                _ => match frame {
                    Some(now) if is_due(now, self.watermark) || self.ring.waiting_bytes() > most => self.frame(now),
                    _ => return,
                },
            }
        }
    }

    /// The first frame that waits is held back; what there is no room or no time for leaves.
    fn frame(&mut self, now: Timestamp) {
        let Some(number) = self.ring.pass_on() else { return };
        if let Some((entry, data)) = self.ring.frame(number) {
            self.watches.now(entry, &mut self.ids);
            for &id in &self.ids {
                if let Some(watch) = self.watches.watch(id) {
                    self.store.add(&watch.file, entry, data);
                }
            }
        }
        while self.ring.held_bytes() > self.settings.ring_bytes
            || self.ring.oldest_time().is_some_and(|oldest| now.since(oldest) > self.hold)
        {
            self.let_go();
        }
        if now >= self.sweep {
            self.sweep = now + SWEEP;
            self.sweep(now - self.hold);
        }
    }

    /// The first frame that is held back leaves.
    fn let_go(&mut self) {
        let number = self.ring.held().start;
        if let Some((entry, data)) = self.ring.frame(number) {
            self.watches.late(number, entry, &mut self.ids);
            for &id in &self.ids {
                if let Some(watch) = self.watches.watch(id) {
                    self.store.add(&watch.file, entry, data);
                }
            }
        }
        self.ring.let_go();
    }

    /// A call came to its end.
    fn call(&mut self, call: Span) {
        let theirs = call.client.map(|client| self.watches.of_client(client).to_vec()).unwrap_or_default();
        for id in theirs {
            let goes_on = self.watches.watch(id).is_some_and(|watch| call.end <= watch.until);
            if goes_on && self.watches.wants(id, &call, &[]) {
                self.part(id, &call);
            }
        }
        self.recent.push_back(call);
        if self.recent.len() > self.settings.calls {
            self.recent.pop_front();
            self.counters.count(Counter::EvidenceCallsForgotten);
        }
    }

    /// The packets of a call are an incident's.
    fn part(&mut self, id: u64, call: &Span) {
        self.watches.delay(id, self.ring.held().end);
        if !self.watches.add_part(id, call, self.settings.calls) {
            self.counters.count(Counter::EvidenceCallsForgotten);
        }
    }

    /// A line was told of an incident.
    fn line(&mut self, line: &Line) {
        if line.kind == LineKind::Closes {
            return self.store.close(&line.file);
        }
        let until = line.time + Duration::from_secs(self.settings.after_seconds);
        let known = self.watches.find(&line.incident);
        let id = known.unwrap_or_else(|| {
            while self.watches.len() >= self.settings.incidents.max(1)
                && let Some(first) = self.watches.first_to_end()
            {
                let goes_on = self.watches.watch(first).is_some_and(|watch| watch.until >= line.time);
                self.counters.add(Counter::EvidenceIncidentsForgotten, u64::from(goes_on));
                self.end(first);
            }
            self.watches.begin(line)
        });
        self.store.begin(&line.file, &line.incident, line.kind);
        let before = self.watches.watch(id).map_or(line.time, |watch| watch.until);
        self.watches.extend(id, line, until);
        if known.is_some() {
            self.look_back(id, |now| now > before);
        }
        let from = if known.is_some() { self.ring.held().end } else { 0 };
        if self.watches.has_several(id) {
            self.watches.delay(id, from);
        }
        for place in 0..self.recent.len() {
            let Some(call) = self.recent.get(place).filter(|call| self.watches.wants(id, call, &line.sightings)) else {
                continue;
            };
            let call = call.clone();
            self.watches.delay(id, from);
            self.part(id, &call);
        }
        if known.is_none() {
            self.look_back(id, |_| true);
        }
    }

    /// Adds what is in the ring to an incident to which packets are added at once.
    fn look_back(&mut self, id: u64, is_new: impl Fn(Timestamp) -> bool) {
        let Some(watch) = self.watches.watch(id).filter(|watch| !watch.late) else { return };
        for (entry, data) in self.ring.all_held() {
            if is_new(entry.now) && watch.has(&entry.ends) {
                self.store.add(&watch.file, entry, data);
            }
        }
    }

    fn sweep(&mut self, horizon: Timestamp) {
        while self.recent.front().is_some_and(|call| call.end < horizon) {
            self.recent.pop_front();
        }
        for id in self.watches.sweep(horizon) {
            self.end(id);
        }
    }

    fn end(&mut self, id: u64) {
        if let Some(file) = self.watches.end(id) {
            self.store.end(&file);
        }
    }
}
