//! One worker: the thread that reads does all up to the calls.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::assembly::Assembly;
use super::front::{Front, Taker};
use super::{Consumer, Outcome, Settings};
use crate::call::Call;
use crate::inspect::Inspector;
use crate::packet::Segment;
use crate::source::Source;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Calls that make a batch full: few enough to stay in the nearest caches.
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
    progress: &mut dyn FnMut(&dyn Source, &Counters),
) -> Outcome {
    let mut read = |out: &mut Out<'_>| {
        let mut fronts = Front::several(settings, 1);
        let mut alone =
            Alone { assembly: Assembly::new(settings, inspector, 1), held: Vec::new(), calls: Vec::new(), out };
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
    let (give_back, done) = bounded::<Vec<Box<Call>>>(QUEUE);
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

struct Alone<'o, 'c> {
    assembly: Assembly,
    /// Completed calls, in ascending end time.
    held: Vec<Box<Call>>,
    /// Those that are due, in order.
    calls: Vec<Box<Call>>,
    out: &'o mut Out<'c>,
}

impl Alone<'_, '_> {
    /// Puts the calls that ended before the watermark in order.
    fn release(&mut self, watermark: Timestamp) {
        self.held.append(self.assembly.calls());
        let due = match watermark {
            Timestamp::MAX => self.held.len(),
            _ => self.held.partition_point(|call| call.end_time < watermark),
        };
        let first = self.calls.len();
        self.calls.extend(self.held.drain(..due));
        self.calls[first..].sort_by_key(|call| call.order());
    }

    /// False when the consumer is gone. Leaves `calls` empty.
    fn send(&mut self, watermark: Timestamp, counters: &mut Counters) -> bool {
        match &mut self.out {
            Out::Here { consumer, failed } => {
                *failed = consumer.calls(&mut self.calls, watermark).err();
                self.assembly.recycle(&mut self.calls);
                failed.is_none()
            }
            Out::Queue { send, done } => {
                for mut calls in done.try_iter() {
                    self.assembly.recycle(&mut calls);
                }
                match send.try_send(Batch { calls: std::mem::take(&mut self.calls), watermark }) {
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

impl Taker for Alone<'_, '_> {
    #[inline]
    fn segment(&mut self, segment: Segment<'_>, now: Timestamp) -> bool {
        self.assembly.segment(segment, now);
        self.assembly.calls().len() >= BATCH
    }

    fn hand_on(&mut self, now: Timestamp, quiet: bool, counters: &mut Counters) -> bool {
        self.assembly.tick(now);
        self.release(now);
        (self.calls.is_empty() && !quiet) || self.send(now, counters)
    }

    fn finish(&mut self, now: Timestamp, counters: &mut Counters) {
        self.assembly.tick(now);
        self.assembly.finish();
        self.release(Timestamp::MAX);
        self.send(now, counters);
    }
}
