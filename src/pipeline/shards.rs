//! Several workers: flows are divided among them, and their records put together again in the order of one.
//!
//! The reader decodes (fragments and packets mirrored twice concern many flows) and hands each segment, with the
//! traffic's time, to the worker of its flow: both directions go to the same one, by addresses and ports inside all
//! tunnels. Parcels go round by round: each worker gets one, empty perhaps, with the time that the traffic has come to
//! by then, and answers with the records that it completed. The consumer's thread takes one answer of each worker a
//! round. So nothing depends on who is faster, and nothing on the number of workers: time-outs fall on whole seconds
//! of packet time whoever looks, and a flow sees only its own segments. What differs is where budgets are reached, since each
//! worker has its part of them; evictions are counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Consumer, Settings};
use crate::call::Record;
use crate::http::Http;
use crate::inspect::Inspector;
use crate::packet::{Encapsulation, Flags, Segment};
use crate::stats::Counters;
use crate::stream::{self, Tracker};
use crate::time::Timestamp;

/// Rounds that wait for a worker, and answers of a worker that wait: with [`ROUND_BYTES`] about 4 MiB a worker.
const ROUNDS: usize = 4;

/// Payload of all workers' parcels together at which a round is full.
const ROUND_BYTES: usize = 512 << 10;

/// Segments of all workers' parcels together at which a round is full.
const ROUND_SEGMENTS: usize = 2_048;

/// Segments for one worker.
#[derive(Default)]
struct Parcel {
    entries: Vec<Entry>,
    payloads: Vec<u8>,
    /// What was around them; many in a row have the same.
    encapsulations: Vec<Encapsulation>,
    /// What the traffic's time has come to.
    now: Timestamp,
    /// The capture is over.
    last: bool,
}

/// A segment whose payload lies in the parcel.
struct Entry {
    now: Timestamp,
    time: Timestamp,
    source: SocketAddr,
    destination: SocketAddr,
    encapsulation: u32,
    sequence: u32,
    acknowledgment: u32,
    flags: Flags,
    window: u16,
    urgent: u16,
    from: u32,
    to: u32,
    missing: u32,
}

impl Parcel {
    fn push(&mut self, segment: &Segment<'_>, now: Timestamp) {
        let same =
            |held: &Encapsulation| held == segment.encapsulation && held.layers().eq(segment.encapsulation.layers());
        if !self.encapsulations.last().is_some_and(same) {
            self.encapsulations.push(segment.encapsulation.clone());
        }
        let from = self.payloads.len() as u32;
        self.payloads.extend_from_slice(segment.payload);
        self.entries.push(Entry {
            now,
            time: segment.time,
            source: segment.source,
            destination: segment.destination,
            encapsulation: self.encapsulations.len() as u32 - 1,
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            flags: segment.flags,
            window: segment.window,
            urgent: segment.urgent,
            from,
            to: self.payloads.len() as u32,
            missing: segment.missing,
        });
    }

    /// The segments, each with the traffic's time when it was captured.
    fn segments(&self) -> impl Iterator<Item = (Timestamp, Segment<'_>)> {
        self.entries.iter().filter_map(|entry| {
            let segment = Segment {
                time: entry.time,
                source: entry.source,
                destination: entry.destination,
                encapsulation: self.encapsulations.get(entry.encapsulation as usize)?,
                sequence: entry.sequence,
                acknowledgment: entry.acknowledgment,
                flags: entry.flags,
                window: entry.window,
                urgent: entry.urgent,
                payload: self.payloads.get(entry.from as usize..entry.to as usize)?,
                missing: entry.missing,
            };
            Some((entry.now, segment))
        })
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.payloads.clear();
        self.encapsulations.clear();
        self.last = false;
    }
}

/// What a worker completed in a round.
struct Answer {
    records: Vec<Record>,
    /// What the traffic's time has come to.
    now: Timestamp,
    /// The capture is over.
    last: bool,
}

/// The reader's side: parcels that are being filled, and the way to the workers.
pub(super) struct Shards {
    parcels: Vec<Parcel>,
    workers: Vec<Sender<Parcel>>,
    empty: Receiver<Parcel>,
    hasher: ahash::RandomState,
    bytes: usize,
    segments: usize,
}

impl Shards {
    /// Takes a segment; true when a round is full.
    #[inline]
    pub(super) fn push(&mut self, segment: &Segment<'_>, now: Timestamp) -> bool {
        let ends = (segment.source.min(segment.destination), segment.source.max(segment.destination));
        let place = self.hasher.hash_one(ends) as usize % self.parcels.len().max(1);
        if let Some(parcel) = self.parcels.get_mut(place) {
            parcel.push(segment, now);
        }
        self.bytes += segment.payload.len();
        self.segments += 1;
        self.bytes >= ROUND_BYTES || self.segments >= ROUND_SEGMENTS
    }

    /// Ends a round: each worker gets its parcel. False when they are gone.
    pub(super) fn send(&mut self, now: Timestamp, last: bool) -> bool {
        (self.bytes, self.segments) = (0, 0);
        for (parcel, worker) in self.parcels.iter_mut().zip(&self.workers) {
            (parcel.now, parcel.last) = (now, last);
            let next = self.empty.try_recv().unwrap_or_default();
            if worker.send(std::mem::replace(parcel, next)).is_err() {
                return false;
            }
        }
        true
    }
}

/// Runs `read` on this thread, workers and the consumer on their own. Gives what `read` gave, with the workers' counters, and
/// why the output failed, if it did.
pub(super) fn run<T>(
    settings: &Settings,
    inspector: &Arc<Inspector>,
    consumer: &mut dyn Consumer,
    read: impl FnOnce(&mut Shards) -> T,
) -> (T, Counters, Option<io::Error>) {
    let count = settings.workers.max(1);
    thread::scope(|scope| {
        let (give_empty, empty) = bounded(2 * ROUNDS * count);
        let mut shards = Shards {
            parcels: Vec::new(),
            workers: Vec::new(),
            empty,
            hasher: ahash::RandomState::new(),
            bytes: 0,
            segments: 0,
        };
        let (mut answers, mut returns, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..count {
            let (send, parcels) = bounded(ROUNDS);
            let (answer, answered) = bounded(ROUNDS);
            let (give_back, done) = bounded(2 * ROUNDS);
            shards.parcels.push(Parcel::default());
            shards.workers.push(send);
            answers.push(answered);
            returns.push(give_back);
            let give_empty = give_empty.clone();
            threads.push(start(scope, format!("worker-{number}"), move || {
                work(settings, inspector, &parcels, &answer, &give_empty, &done)
            }));
        }
        let consuming = start(scope, "consumer".to_owned(), move || consume(consumer, &answers, &returns));
        let given = read(&mut shards);
        drop(shards);
        let mut counters = Counters::new();
        for thread in threads {
            match thread.join() {
                Ok(counted) => counters.merge(&counted),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        match consuming.join() {
            Ok(result) => (given, counters, result.err()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Starts a thread that has a name in the system's tools.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    run: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    #[allow(clippy::expect_used, reason = "as with thread::spawn: a system without threads left can go on in no way")]
    thread::Builder::new().name(name).spawn_scoped(scope, run).expect("a thread")
}

/// A worker's part of the budgets.
fn part(settings: &stream::Settings, of: usize) -> stream::Settings {
    let each = |whole: usize, least: usize| (whole / of).max(least);
    stream::Settings {
        max_flows: each(settings.max_flows as usize, 1) as u32,
        max_half_open: each(settings.max_half_open as usize, 1) as u32,
        held_total: each(settings.held_total, settings.held_per_direction.min(settings.held_total)),
        ..settings.clone()
    }
}

fn work(
    settings: &Settings,
    inspector: &Arc<Inspector>,
    parcels: &Receiver<Parcel>,
    answers: &Sender<Answer>,
    empty: &Sender<Parcel>,
    done: &Receiver<Vec<Record>>,
) -> Counters {
    let http = Http::new(settings.http.clone(), inspector.clone());
    let mut tracker = Tracker::new(part(&settings.stream, settings.workers.max(1)), http);
    for mut parcel in parcels {
        for mut records in done.try_iter() {
            tracker.handler().recycle(&mut records);
        }
        for (now, segment) in parcel.segments() {
            tracker.tick(now);
            tracker.segment(&segment);
        }
        tracker.tick(parcel.now);
        if parcel.last {
            tracker.finish();
        }
        let records = std::mem::take(tracker.handler().records());
        if answers.send(Answer { records, now: parcel.now, last: parcel.last }).is_err() {
            break;
        }
        parcel.clear();
        let _ = empty.try_send(parcel); // a full queue only means that it is freed
    }
    tracker.counters().clone()
}

/// Puts the records of all workers into their total order, round by round.
fn consume(
    consumer: &mut dyn Consumer,
    answers: &[Receiver<Answer>],
    returns: &[Sender<Vec<Record>>],
) -> io::Result<()> {
    let (mut held, mut due) = (Vec::<Record>::new(), Vec::new());
    'rounds: loop {
        let (mut watermark, mut last) = (Timestamp::MAX, false);
        for worker in answers {
            let Ok(answer) = worker.recv() else { break 'rounds };
            held.extend(answer.records);
            watermark = watermark.min(answer.now);
            last |= answer.last; // of one worker, and so of all
        }
        held.sort_by_key(|record| record.order());
        let count = if last { held.len() } else { held.partition_point(|record| record.end_time() < watermark) };
        due.extend(held.drain(..count));
        if due.is_empty() && !last {
            continue;
        }
        consumer.records(&mut due, watermark)?;
        let each = due.len().div_ceil(returns.len().max(1));
        for worker in returns {
            let records = due.drain(..each.min(due.len())).collect();
            let _ = worker.try_send(records); // a full queue only means that they are freed
        }
    }
    consumer.finish()
}
