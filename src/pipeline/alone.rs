//! One worker: the thread that reads does all up to the records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::assembly::Assembly;
use super::front::{Front, Taker};
use super::{Consumer, Outcome, PATIENCE, Progress, Settings};
use crate::call::Record;
use crate::inspect::Inspector;
use crate::metrics::{Board, Publisher};
use crate::packet::Segment;
use crate::source::Source;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Records that make a batch full: few enough to stay in the nearest caches.
const BATCH: usize = 64;

/// Batches that wait between the worker and the consumer: about 256 × 64 calls of 1 to 2 KiB, 32 MiB.
const QUEUE: usize = 256;

/// Runs a source through all stages into `consumer`.
pub(super) fn run(
    source: &mut dyn Source,
    settings: &Settings,
    inspector: &Arc<Inspector>,
    consumer: &mut dyn Consumer,
    stop: &AtomicBool,
    progress: &mut Progress<'_>,
) -> Outcome {
    let mut read = |out: &mut Out<'_>| {
        let mut fronts = Front::several(settings, 1);
        let mut alone = Alone {
            assembly: Assembly::new(settings, inspector, 1),
            sequencer: Sequencer::new(settings.http.held_records),
            records: Vec::new(),
            out,
            publisher: settings.board.as_ref().map(Board::publisher),
            every_step: settings.evidence.is_some(),
            live: settings.live,
            told: Timestamp::ZERO,
        };
        for front in &mut fronts {
            front.read(source, &mut alone, settings, stop, progress);
        }
        let mut outcome = Front::conclude(fronts);
        outcome.counters.merge(&alone.assembly.counters());
        outcome
    };
    if !settings.live {
        let mut out = Out::Here { consumer, failed: None };
        let mut outcome = read(&mut out);
        if let Out::Here { consumer, failed } = out {
            outcome.output = failed.or_else(|| consumer.finish().err());
        }
        return outcome;
    }
    let (send, receive) = bounded::<Batch>(QUEUE);
    let (give_back, done) = bounded::<Vec<Record>>(QUEUE);
    thread::scope(|scope| {
        let consuming = scope.spawn(move || consume(consumer, &receive, &give_back));
        let mut out = Out::Queue { send, done };
        let mut outcome = read(&mut out);
        drop(out);
        match consuming.join() {
            Ok(result) => outcome.output = result.err(),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        outcome
    })
}

struct Batch {
    records: Vec<Record>,
    watermark: Timestamp,
}

fn consume(consumer: &mut dyn Consumer, batches: &Receiver<Batch>, give_back: &Sender<Vec<Record>>) -> io::Result<()> {
    for mut batch in batches {
        consumer.records(&mut batch.records, batch.watermark)?;
        let _ = give_back.try_send(batch.records); // a full return queue only means that they are freed
    }
    consumer.finish()
}

/// Where the records go.
enum Out<'c> {
    /// To the consumer, on this thread.
    Here { consumer: &'c mut dyn Consumer, failed: Option<io::Error> },
    /// To the consumer's thread, and back when it is done with them.
    Queue { send: Sender<Batch>, done: Receiver<Vec<Record>> },
}

/// Puts records, which come in ascending end time, into their total order.
pub(super) struct Sequencer {
    held: Vec<Record>,
    limit: usize,
}

impl Sequencer {
    /// One that holds so many of one moment.
    pub(super) fn new(limit: usize) -> Sequencer {
        Sequencer { held: Vec::new(), limit }
    }

    /// Takes completed records; leaves the vector empty.
    pub(super) fn take(&mut self, records: &mut Vec<Record>) {
        self.held.append(records);
    }

    /// Appends all records that ended before the watermark to `out`, in order; those that ended at it, too, when they are more than
    /// the limit: gives their number then.
    pub(super) fn release(&mut self, watermark: Timestamp, out: &mut Vec<Record>) -> usize {
        let (due, early) = match watermark {
            Timestamp::MAX => (self.held.len(), 0),
            _ => due(&self.held, Record::end_time, watermark, self.limit),
        };
        let first = out.len();
        out.extend(self.held.drain(..due));
        out[first..].sort_by_key(|record| record.order());
        early
    }
}

/// How many of these, which are in the order of their ends, are to be handed on at a watermark, and how many of them before it is known
/// that there are no more of their moment, being more than `limit`.
pub(super) fn due<T>(
    held: &[T],
    end_time: impl Fn(&T) -> Timestamp,
    watermark: Timestamp,
    limit: usize,
) -> (usize, usize) {
    let due = held.partition_point(|record| end_time(record) < watermark);
    if held.len() - due <= limit {
        return (due, 0);
    }
    let with = held.partition_point(|record| end_time(record) <= watermark);
    if with - due > limit { (with, with - due) } else { (due, 0) }
}

struct Alone<'o, 'c> {
    assembly: Assembly,
    sequencer: Sequencer,
    /// Those that are due, in order.
    records: Vec<Record>,
    out: &'o mut Out<'c>,
    publisher: Option<Publisher>,
    /// The consumer is told of the time though there are no records.
    every_step: bool,
    live: bool,
    /// What the consumer knows of the time.
    told: Timestamp,
}

impl Alone<'_, '_> {
    /// Puts the records that ended before the watermark in order.
    fn release(&mut self, watermark: Timestamp, counters: &mut Counters) {
        self.sequencer.take(self.assembly.records());
        let early = self.sequencer.release(watermark, &mut self.records);
        counters.add(Counter::RecordsUnordered, early as u64);
    }

    /// False when the consumer is gone. Leaves `records` empty.
    fn send(&mut self, watermark: Timestamp, counters: &mut Counters) -> bool {
        match &mut self.out {
            Out::Here { consumer, failed } => {
                *failed = consumer.records(&mut self.records, watermark).err();
                self.assembly.recycle(&mut self.records);
                failed.is_none()
            }
            Out::Queue { send, done } => {
                for mut records in done.try_iter() {
                    self.assembly.recycle(&mut records);
                }
                match send.try_send(Batch { records: std::mem::take(&mut self.records), watermark }) {
                    Ok(()) => true,
                    Err(TrySendError::Full(batch)) => {
                        counters.add(Counter::CallsDropped, batch.records.len() as u64);
                        true
                    }
                    Err(TrySendError::Disconnected(_)) => false,
                }
            }
        }
    }
}

impl Taker for Alone<'_, '_> {
    #[inline]
    fn segment(&mut self, segment: &Segment<'_>, now: Timestamp) -> bool {
        self.assembly.segment(segment, now);
        self.assembly.records().len() >= BATCH
    }

    fn hand_on(&mut self, now: Timestamp, quiet: bool, counters: &mut Counters) -> bool {
        self.assembly.tick(now);
        if let Some(publisher) = Publisher::due(&mut self.publisher) {
            publisher.publish(&self.assembly.counters());
            publisher.publish_tables(self.assembly.tables());
        }
        self.release(now, counters);
        // Packets of which no records come are no silence: who waits for the time to pass is told of it.
        let due = self.every_step || quiet || (self.live && now.since(self.told) >= PATIENCE);
        if self.records.is_empty() && !due {
            return true;
        }
        self.told = now;
        self.send(now, counters)
    }

    fn finish(&mut self, now: Timestamp, counters: &mut Counters) {
        self.assembly.tick(now);
        self.assembly.finish();
        self.release(Timestamp::MAX, counters);
        self.send(now, counters);
    }
}
