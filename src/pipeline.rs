//! Wires the stages to threads; the only place that knows how many there are.
//!
//! With one worker, one thread reads, decodes, reassembles and makes records, and takes them in their total order
//! ([`Record::order`]) to what the command is about (detects, prints). Live, that is done on a thread of its own, to
//! which batches of records travel over a bounded queue; a full one drops whole batches, counted, since the wire does
//! not wait. A replay with several workers divides the flows among them (`shards`); it waits where it has to.
//!
//! What makes runs identical: a record's end time is a moment of packet time at which the worker completed it, so they
//! leave a worker in ascending end time; the [`Sequencer`] puts those of the same moment in order and lets them go
//! once the watermark, the traffic's time, has passed them. Nothing depends on how batches are cut.

mod shards;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::call::Record;
use crate::http::{self, Http};
use crate::inspect::Inspector;
use crate::packet::{self, Decoder};
use crate::source::{Advance, Frame, Source, SourceError};
use crate::stats::{Counter, Counters};
use crate::stream::{self, Tracker};
use crate::time::{Clock, Timestamp};
use crate::tls::{self, keylog::KeyLog};

/// Frames between two looks at the stop flag and the progress.
const FRAMES_A_TURN: u32 = 1024;

/// Records that make a batch full: few enough to stay in the nearest caches.
const BATCH: usize = 64;

/// Batches that wait between the worker and the consumer: about 256 × 64 calls of 1 to 2 KiB, 32 MiB.
const QUEUE: usize = 256;

/// Settings of the stages before the seam.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Decoding.
    pub packet: packet::Settings,
    /// Reassembly.
    pub stream: stream::Settings,
    /// HTTP.
    pub http: http::Settings,
    /// TLS.
    pub tls: tls::Settings,
    /// Secrets of connections in TLS; those in captures are added to them.
    pub keys: Arc<KeyLog>,
    /// Live: a full queue drops records instead of holding the reader back.
    pub live: bool,
    /// Workers among whom the flows of a replay are divided; live there is one.
    pub workers: usize,
}

impl Settings {
    /// One of so many workers has its part of what waits in all.
    fn part(&self, workers: usize) -> Settings {
        let mut settings = self.clone();
        settings.tls.waiting_total = (self.tls.waiting_total / workers).max(self.tls.waiting_bytes);
        settings
    }

    /// What makes records of runs.
    fn http(&self, inspector: Arc<Inspector>) -> Http {
        Http::new(self.http.clone(), inspector).with_tls(self.tls.clone(), self.keys.clone())
    }
}

/// Takes the records in their order. Live, it runs on a thread of its own.
pub trait Consumer: Send {
    /// The next records, and the traffic's time up to which there will be no more.
    ///
    /// # Errors
    ///
    /// When its output fails; the run ends then.
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()>;

    /// There are no more records.
    ///
    /// # Errors
    ///
    /// When its output fails.
    fn finish(&mut self) -> io::Result<()>;
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the stages up to the seam counted.
    pub counters: Counters,
    /// What could not be read.
    pub errors: Vec<SourceError>,
    /// Link types that were not understood, by name, with the number of their frames.
    pub unknown_links: Vec<(String, u64)>,
    /// Time of the first and the last frame.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why the output failed, if it did.
    pub output: Option<io::Error>,
}

/// The stages from frame to segment.
struct Front {
    decoder: Decoder,
    counters: Counters,
    first: Option<Timestamp>,
    clock: Clock,
}

impl Front {
    fn new(settings: &Settings) -> Front {
        Front {
            decoder: Decoder::new(settings.packet.clone()),
            counters: Counters::new(),
            first: None,
            clock: Clock::default(),
        }
    }

    /// Counts a frame; gives the traffic's time.
    #[inline]
    fn note(&mut self, frame: &Frame<'_>) -> Timestamp {
        self.counters.count(Counter::Frames);
        self.counters.add(Counter::FrameBytes, frame.data.len() as u64);
        if frame.original_length as usize > frame.data.len() {
            self.counters.count(Counter::FramesSnapped);
        }
        if frame.time < self.clock.now() {
            self.counters.count(Counter::FramesOutOfOrder);
        }
        self.first.get_or_insert(frame.time);
        self.clock.observe(frame.time)
    }

    /// The traffic's time from after which secrets that come now are visible ([`KeyLog::add`]).
    fn since(&self) -> Option<Timestamp> {
        self.first.map(|_| self.clock.now())
    }

    /// What a run came to, as far as it is known here.
    fn conclude(&self, outcome: &mut Outcome) {
        outcome.unknown_links = self
            .decoder
            .unknown_link_types()
            .into_iter()
            .map(|unknown| (unknown.name.into_owned(), unknown.frames))
            .collect();
        outcome.span = self.first.map(|first| (first, self.clock.now()));
    }
}

/// The stages from frame to record, on one thread.
pub struct Worker {
    front: Front,
    tracker: Tracker<Http>,
    sequencer: Sequencer,
}

impl Worker {
    /// Ready for the first frame.
    pub fn new(settings: &Settings, inspector: Arc<Inspector>) -> Worker {
        Worker {
            front: Front::new(settings),
            tracker: Tracker::new(settings.stream.clone(), settings.http(inspector)),
            sequencer: Sequencer::default(),
        }
    }

    /// Takes a frame.
    #[inline]
    pub fn frame(&mut self, frame: &Frame<'_>) {
        let now = self.front.note(frame);
        if let Some(segment) = self.front.decoder.decode(frame, &mut self.front.counters) {
            self.tracker.tick(now);
            self.tracker.segment(&segment);
        }
    }

    /// The traffic's time has come to `now` without a frame.
    pub fn tick(&mut self, now: Timestamp) {
        let now = self.front.clock.observe(now);
        self.tracker.tick(now);
    }

    /// Appends the records that are due to `records`, in order, and says up to when.
    pub fn drain(&mut self, records: &mut Vec<Record>) -> Timestamp {
        let now = self.front.clock.now();
        self.tracker.tick(now);
        self.sequencer.take(self.tracker.handler().records());
        self.sequencer.release(now, records);
        now
    }

    /// Ends all flows and appends what they still gave.
    pub fn finish(&mut self, records: &mut Vec<Record>) {
        self.front.decoder.finish(&mut self.front.counters);
        self.tracker.tick(self.front.clock.now());
        self.tracker.finish();
        self.sequencer.take(self.tracker.handler().records());
        self.sequencer.release(Timestamp::MAX, records);
    }

    /// Takes back records that are done with; leaves the vector empty.
    pub fn recycle(&mut self, records: &mut Vec<Record>) {
        self.tracker.handler().recycle(records);
    }

    /// How many completed records wait to be drained.
    #[inline]
    fn waiting(&mut self) -> usize {
        self.tracker.handler().records().len()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        let mut counters = self.front.counters.clone();
        counters.merge(self.tracker.counters());
        counters
    }
}

/// Puts the records of one worker into their total order.
#[derive(Default)]
pub struct Sequencer {
    held: Vec<Record>,
}

impl Sequencer {
    /// Takes completed records, in ascending end time.
    pub fn take(&mut self, records: &mut Vec<Record>) {
        self.held.append(records);
    }

    /// Appends all records that ended before the watermark to `out`, in order.
    pub fn release(&mut self, watermark: Timestamp, out: &mut Vec<Record>) {
        let due = match watermark {
            Timestamp::MAX => self.held.len(),
            _ => self.held.partition_point(|record| record.end_time() < watermark),
        };
        let first = out.len();
        out.extend(self.held.drain(..due));
        out[first..].sort_by_key(|record| record.order());
    }
}

/// Runs a source through all stages into `consumer`, until it ends or `stop` is set. `progress` is told now and then
/// how far the source is.
pub fn run(
    source: &mut dyn Source,
    settings: &Settings,
    inspector: Arc<Inspector>,
    consumer: &mut dyn Consumer,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&dyn Source, &Counters),
) -> Outcome {
    if !settings.live && settings.workers > 1 {
        let read = |shards: &mut shards::Shards| divide(source, settings, shards, stop, progress);
        let (mut outcome, counters, failed) = shards::run(settings, &inspector, consumer, read);
        outcome.counters.merge(&counters);
        outcome.output = failed;
        return outcome;
    }
    if !settings.live {
        let mut out = Out::Here { consumer, failed: None };
        let mut outcome = read(source, settings, inspector, &mut out, stop, progress);
        if let Out::Here { consumer, failed } = out {
            outcome.output = failed.or_else(|| consumer.finish().err());
        }
        return outcome;
    }
    let (send, receive) = bounded::<Batch>(QUEUE);
    let (give_back, done) = bounded::<Vec<Record>>(QUEUE);
    thread::scope(|scope| {
        let consuming = scope.spawn(move || consume(consumer, &receive, &give_back));
        let mut outcome = read(source, settings, inspector, &mut Out::Queue { send, done }, stop, progress);
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

impl Out<'_> {
    /// False when the consumer is gone. Leaves `records` empty.
    fn send(
        &mut self,
        records: &mut Vec<Record>,
        watermark: Timestamp,
        worker: &mut Worker,
        counters: &mut Counters,
    ) -> bool {
        match self {
            Out::Here { consumer, failed } => {
                *failed = consumer.records(records, watermark).err();
                worker.recycle(records);
                failed.is_none()
            }
            Out::Queue { send, done } => {
                for mut records in done.try_iter() {
                    worker.recycle(&mut records);
                }
                match send.try_send(Batch { records: std::mem::take(records), watermark }) {
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

fn read(
    source: &mut dyn Source,
    settings: &Settings,
    inspector: Arc<Inspector>,
    out: &mut Out<'_>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&dyn Source, &Counters),
) -> Outcome {
    let mut worker = Worker::new(settings, inspector);
    let mut outcome = Outcome::default();
    let mut records = Vec::with_capacity(BATCH);
    let mut turn = 0;
    loop {
        let quiet = match source.advance() {
            Ok(Advance::Frame) => {
                worker.frame(&source.frame());
                false
            }
            Ok(Advance::Secrets) => {
                settings.keys.add(source.secrets(), worker.front.since());
                false
            }
            Ok(Advance::Idle(now)) => {
                worker.tick(now);
                true
            }
            Ok(Advance::End) => break,
            Err(error) => {
                outcome.errors.push(error);
                false
            }
        };
        turn += 1;
        let look = quiet || turn >= FRAMES_A_TURN;
        if look || worker.waiting() >= BATCH {
            let watermark = worker.drain(&mut records);
            if (!records.is_empty() || quiet) && !out.send(&mut records, watermark, &mut worker, &mut outcome.counters)
            {
                break;
            }
        }
        if look {
            turn = 0;
            progress(source, &worker.front.counters);
            // A live source heeds the flag itself: it still gives what the kernel captured before it was set, so that
            // nothing is lost at the end without being counted.
            if !settings.live && stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    worker.finish(&mut records);
    let end = worker.front.clock.now();
    out.send(&mut records, end, &mut worker, &mut outcome.counters);
    outcome.counters.merge(&worker.counters());
    source.report(&mut outcome.counters);
    settings.keys.report(&mut outcome.counters);
    worker.front.conclude(&mut outcome);
    outcome
}

/// Reads a source for several workers.
fn divide(
    source: &mut dyn Source,
    settings: &Settings,
    shards: &mut shards::Shards,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&dyn Source, &Counters),
) -> Outcome {
    let mut front = Front::new(settings);
    let mut outcome = Outcome::default();
    let mut turn = 0;
    loop {
        let mut full = false;
        let quiet = match source.advance() {
            Ok(Advance::Frame) => {
                let frame = source.frame();
                let now = front.note(&frame);
                if let Some(segment) = front.decoder.decode(&frame, &mut front.counters) {
                    full = shards.push(&segment, now);
                }
                false
            }
            Ok(Advance::Secrets) => {
                settings.keys.add(source.secrets(), front.since());
                false
            }
            Ok(Advance::Idle(now)) => {
                front.clock.observe(now);
                true
            }
            Ok(Advance::End) => break,
            Err(error) => {
                outcome.errors.push(error);
                false
            }
        };
        turn += 1;
        let look = quiet || turn >= FRAMES_A_TURN;
        if (full || look) && !shards.send(front.clock.now(), false) {
            break;
        }
        if look {
            turn = 0;
            progress(source, &front.counters);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    front.decoder.finish(&mut front.counters);
    shards.send(front.clock.now(), true);
    outcome.counters.merge(&front.counters);
    source.report(&mut outcome.counters);
    settings.keys.report(&mut outcome.counters);
    front.conclude(&mut outcome);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Call, Connection, FlowId};

    #[test]
    fn records_of_both_kinds_leave_in_one_order() {
        let time = |second| Timestamp::from_parts(second, 0);
        let call = |second, flow, position| {
            Record::from(Call { end_time: time(second), flow: FlowId(flow), position, ..Call::default() })
        };
        let connection = |second, flow, position| {
            Record::from(Connection { end_time: time(second), flow: FlowId(flow), position, ..Connection::default() })
        };
        let ordered = vec![
            call(1, 9, 0),
            connection(2, 1, 0),
            call(2, 1, 0),
            call(2, 1, 1),
            connection(2, 1, 2),
            call(2, 7, 0),
            connection(3, 1, 2),
        ];
        let mut sequencer = Sequencer::default();
        // As a worker completes them: flows mixed, each flow in its order.
        let mut completed: Vec<Record> = [0, 5, 1, 2, 3, 4, 6].map(|place: usize| ordered[place].clone()).into();
        sequencer.take(&mut completed);
        let mut out = Vec::new();
        sequencer.release(time(2), &mut out);
        assert_eq!(out, ordered[..1], "what is of the watermark's moment may still have others before it");
        sequencer.release(time(3), &mut out);
        sequencer.release(Timestamp::MAX, &mut out);
        assert_eq!(out, ordered);
    }
}
