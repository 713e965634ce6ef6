//! Wires the stages to threads; the only place that knows how many there are.
//!
//! Today: one thread reads, decodes, reassembles and makes calls, and takes the calls in their total order
//! ([`Call::order`]) to what the command is about (detects, prints). Live, that is done on a thread of its own, to
//! which batches of calls travel over a bounded queue; a full one drops whole batches, counted, since the wire does
//! not wait. A replay waits, and passing a call to another core and back (some twenty cache lines each way) was
//! measured to cost as much as detecting: a sixth of all CPU, without being done any sooner.
//!
//! What makes runs identical: a call's end time is a moment of packet time at which the worker completed it, so calls
//! leave a worker in ascending end time; the [`Sequencer`] puts those of the same moment in order and lets them go
//! once the watermark, the traffic's time, has passed them. Nothing depends on how batches are cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::call::Call;
use crate::http::{self, Http};
use crate::inspect::Inspector;
use crate::packet::{self, Decoder};
use crate::source::{Advance, Frame, Source, SourceError};
use crate::stats::{Counter, Counters};
use crate::stream::{self, Tracker};
use crate::time::{Clock, Timestamp};

/// Frames between two looks at the stop flag and the progress.
const FRAMES_A_TURN: u32 = 1024;

/// Calls that make a batch full: few enough to stay in the nearest caches.
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
    /// Live: a full queue drops calls instead of holding the reader back.
    pub live: bool,
}

/// Takes the calls in their order. Live, it runs on a thread of its own.
pub trait Consumer: Send {
    /// The next calls, and the traffic's time up to which there will be no more.
    ///
    /// # Errors
    ///
    /// When its output fails; the run ends then.
    fn calls(&mut self, calls: &mut Vec<Box<Call>>, watermark: Timestamp) -> io::Result<()>;

    /// There are no more calls.
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

/// The stages from frame to call, on one thread.
pub struct Worker {
    decoder: Decoder,
    tracker: Tracker<Http>,
    sequencer: Sequencer,
    counters: Counters,
    first: Option<Timestamp>,
    clock: Clock,
}

impl Worker {
    /// Ready for the first frame.
    pub fn new(settings: &Settings, inspector: Arc<Inspector>) -> Worker {
        Worker {
            decoder: Decoder::new(settings.packet.clone()),
            tracker: Tracker::new(settings.stream.clone(), Http::new(settings.http.clone(), inspector)),
            sequencer: Sequencer::default(),
            counters: Counters::new(),
            first: None,
            clock: Clock::default(),
        }
    }

    /// Takes a frame.
    #[inline]
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.counters.count(Counter::Frames);
        self.counters.add(Counter::FrameBytes, frame.data.len() as u64);
        if frame.original_length as usize > frame.data.len() {
            self.counters.count(Counter::FramesSnapped);
        }
        if frame.time < self.clock.now() {
            self.counters.count(Counter::FramesOutOfOrder);
        }
        self.first.get_or_insert(frame.time);
        let now = self.clock.observe(frame.time);
        if let Some(segment) = self.decoder.decode(frame, &mut self.counters) {
            self.tracker.tick(now);
            self.tracker.segment(&segment);
        }
    }

    /// The traffic's time has come to `now` without a frame.
    pub fn tick(&mut self, now: Timestamp) {
        let now = self.clock.observe(now);
        self.tracker.tick(now);
    }

    /// Appends the calls that are due to `calls`, in order, and says up to when.
    pub fn drain(&mut self, calls: &mut Vec<Box<Call>>) -> Timestamp {
        self.tracker.tick(self.clock.now());
        self.sequencer.take(self.tracker.handler().calls());
        self.sequencer.release(self.clock.now(), calls);
        self.clock.now()
    }

    /// Ends all flows and appends what they still gave.
    pub fn finish(&mut self, calls: &mut Vec<Box<Call>>) {
        self.decoder.finish(&mut self.counters);
        self.tracker.tick(self.clock.now());
        self.tracker.finish();
        self.sequencer.take(self.tracker.handler().calls());
        self.sequencer.release(Timestamp::MAX, calls);
    }

    /// Takes back calls that are done with; leaves the vector empty.
    pub fn recycle(&mut self, calls: &mut Vec<Box<Call>>) {
        self.tracker.handler().recycle(calls);
    }

    /// How many completed calls wait to be drained.
    #[inline]
    fn waiting(&mut self) -> usize {
        self.tracker.handler().calls().len()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.merge(self.tracker.counters());
        counters
    }
}

/// Puts the calls of one worker into their total order.
#[derive(Default)]
pub struct Sequencer {
    held: Vec<Box<Call>>,
}

impl Sequencer {
    /// Takes completed calls, in ascending end time.
    pub fn take(&mut self, calls: &mut Vec<Box<Call>>) {
        self.held.append(calls);
    }

    /// Appends all calls that ended before the watermark to `out`, in order.
    pub fn release(&mut self, watermark: Timestamp, out: &mut Vec<Box<Call>>) {
        let due = match watermark {
            Timestamp::MAX => self.held.len(),
            _ => self.held.partition_point(|call| call.end_time < watermark),
        };
        let first = out.len();
        out.extend(self.held.drain(..due));
        out[first..].sort_by_key(|call| call.order());
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
    if !settings.live {
        let mut out = Out::Here { consumer, failed: None };
        let mut outcome = read(source, settings, inspector, &mut out, stop, progress);
        if let Out::Here { consumer, failed } = out {
            outcome.output = failed.or_else(|| consumer.finish().err());
        }
        return outcome;
    }
    let (send, receive) = bounded::<Batch>(QUEUE);
    let (give_back, done) = bounded::<Vec<Box<Call>>>(QUEUE);
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
    calls: Vec<Box<Call>>,
    watermark: Timestamp,
}

fn consume(
    consumer: &mut dyn Consumer,
    batches: &Receiver<Batch>,
    give_back: &Sender<Vec<Box<Call>>>,
) -> io::Result<()> {
    for mut batch in batches {
        consumer.calls(&mut batch.calls, batch.watermark)?;
        let _ = give_back.try_send(batch.calls); // a full return queue only means that they are freed
    }
    consumer.finish()
}

/// Where the calls go.
enum Out<'c> {
    /// To the consumer, on this thread.
    Here { consumer: &'c mut dyn Consumer, failed: Option<io::Error> },
    /// To the consumer's thread, and back when it is done with them.
    Queue { send: Sender<Batch>, done: Receiver<Vec<Box<Call>>> },
}

impl Out<'_> {
    /// False when the consumer is gone. Leaves `calls` empty.
    fn send(
        &mut self,
        calls: &mut Vec<Box<Call>>,
        watermark: Timestamp,
        worker: &mut Worker,
        counters: &mut Counters,
    ) -> bool {
        match self {
            Out::Here { consumer, failed } => {
                *failed = consumer.calls(calls, watermark).err();
                worker.recycle(calls);
                failed.is_none()
            }
            Out::Queue { send, done } => {
                for mut calls in done.try_iter() {
                    worker.recycle(&mut calls);
                }
                match send.try_send(Batch { calls: std::mem::take(calls), watermark }) {
                    Ok(()) => true,
                    Err(TrySendError::Full(batch)) => {
                        counters.add(Counter::CallsDropped, batch.calls.len() as u64);
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
    let mut calls = Vec::with_capacity(BATCH);
    let mut turn = 0;
    loop {
        let quiet = match source.advance() {
            Ok(Advance::Frame) => {
                worker.frame(&source.frame());
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
            let watermark = worker.drain(&mut calls);
            if (!calls.is_empty() || quiet) && !out.send(&mut calls, watermark, &mut worker, &mut outcome.counters) {
                break;
            }
        }
        if look {
            turn = 0;
            progress(source, &worker.counters);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    worker.finish(&mut calls);
    let end = worker.clock.now();
    out.send(&mut calls, end, &mut worker, &mut outcome.counters);
    outcome.counters.merge(&worker.counters());
    source.report(&mut outcome.counters);
    outcome.unknown_links = worker
        .decoder
        .unknown_link_types()
        .into_iter()
        .map(|unknown| (unknown.name.into_owned(), unknown.frames))
        .collect();
    outcome.span = worker.first.map(|first| (first, worker.clock.now()));
    outcome
}
