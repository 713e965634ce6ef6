//! Several workers: flows are divided among them, and their records put together again in the order of one.
//!
//! A reader decodes and hands each segment, with the traffic's time, to the worker of its flow: both directions go to
//! the same one, by addresses and ports inside all tunnels, whichever reader they came to. A worker takes the parcels of all
//! readers in the order of their time, up to the moment that all of them have reached, and says with its records up to when
//! there will be no more; the consumer's thread lets records go up to the moment that all workers have reached. So nothing
//! depends on who is faster, and nothing on the number of workers: time-outs fall on whole seconds of packet time
//! whoever looks, and a flow sees only its own segments. What differs is where budgets are reached, since each worker
//! has its part of them; evictions are counted.
//!
//! In a replay who is ahead waits. Live, a reader waits a moment at a full queue, longer if there is no other, which the kernel's
//! buffer bridges, and then drops the parcel; a worker does so with records. Both are counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};

use super::front::{Front, Taker};
use super::merge::Merge;
use super::parcel::Parcel;
use super::worker::{Answer, Lane, Worker};
use super::{Consumer, Outcome, PATIENCE, Progress, Settings};
use crate::idle::Idle;
use crate::inspect::Inspector;
use crate::packet::Segment;
use crate::source::{Source, live};
use crate::stats::{Counter, Counters};
use crate::stream::hash_ends;
use crate::time::Timestamp;

/// Rounds that wait for a worker, and answers of a worker that wait: with [`ROUND_BYTES`] about 1 MiB a worker, which stays in
/// the processor's caches on its way.
const ROUNDS: usize = 4;

/// The same live with one reader, for which their memory is taken at the start: 2 MiB for each worker. What is more waits in the
/// kernel's buffer, which is there already.
const LIVE_ROUNDS: usize = 8;

/// The same live with several readers, where a worker may have to wait for another one: about 20 MiB a reader.
const LIVE_ROUNDS_OF_SEVERAL: usize = 128;

/// Answers of each worker that wait live for the consumer, which a checkpoint may hold up.
const LIVE_ANSWERS: usize = 128;

/// Live, how long one reader waits at a full queue, while its kernel's buffer fills. Several must not wait so long for each other.
const PATIENCE_ALONE: Duration = Duration::from_millis(500);

/// Payload of all workers' parcels together at which a round is full; in a replay by more than two workers as much for each two of
/// them, since each parcel wakes somebody.
const ROUND_BYTES: usize = 128 << 10;

/// Segments of all workers' parcels together at which a round is full; see [`ROUND_BYTES`].
const ROUND_SEGMENTS: usize = 512;

/// The longest payload, which may begin just before a round is full.
const MOST_PAYLOAD: usize = 64 << 10;

/// A reader's side: parcels that are being filled, and the way to the workers.
pub(super) struct Shards {
    live: bool,
    /// Live, how long it waits at a full queue.
    patience: Duration,
    parcels: Vec<Parcel>,
    workers: Vec<Sender<Parcel>>,
    /// Parcels that workers are done with come back to the thread that made them: what is freed in another one stays its.
    done: Receiver<Parcel>,
    idle: Idle<Parcel>,
    made: usize,
    hasher: ahash::RandomState,
    /// What a round has, and bytes and segments at which it is full.
    bytes: usize,
    segments: usize,
    full: (usize, usize),
    /// Tells the workers what this reader's time has come to.
    reached: Arc<AtomicI64>,
}

impl Shards {
    /// Whether a round can be handed on without waiting for a worker, and the rest behind it if it was the last.
    pub(super) fn has_room(&self) -> bool {
        self.workers.iter().all(|worker| worker.capacity().is_none_or(|most| worker.len() + 2 <= most))
    }
}

impl Taker for Shards {
    #[inline]
    fn segment(&mut self, segment: &Segment<'_>, now: Timestamp) -> bool {
        let place = hash_ends(&self.hasher, segment.source, segment.destination) as usize % self.parcels.len().max(1);
        if let Some(parcel) = self.parcels.get_mut(place) {
            parcel.push(segment, now);
        }
        self.bytes += segment.payload.len();
        self.segments += 1;
        self.bytes >= self.full.0 || self.segments >= self.full.1
    }

    /// Ends a round. In a replay each worker gets a parcel, empty perhaps, since it waits for one; live, what is empty
    /// need not wake a worker.
    fn hand_on(&mut self, now: Timestamp, _: bool, counters: &mut Counters) -> bool {
        (self.bytes, self.segments) = (0, 0);
        self.idle.extend(self.done.try_iter());
        let mut deadline = None;
        for (parcel, worker) in self.parcels.iter_mut().zip(&self.workers) {
            if self.live && parcel.len() == 0 {
                continue;
            }
            parcel.now = now;
            let next = self.idle.take().unwrap_or_else(|| make(&mut self.made));
            let full = std::mem::replace(parcel, next);
            let refused = match self.live {
                false => worker.send(full).map_err(|_| None),
                true => offer(worker, full, &mut deadline, self.patience),
            };
            match refused {
                Ok(()) => {}
                Err(None) => return false,
                Err(Some(mut dropped)) => {
                    counters.add(Counter::SegmentsDropped, dropped.len() as u64);
                    dropped.clear();
                    self.idle.put(std::mem::replace(parcel, dropped));
                }
            }
        }
        self.reached.store(now.nanos(), Ordering::Release);
        true
    }

    fn finish(&mut self, now: Timestamp, counters: &mut Counters) {
        self.hand_on(now, false, counters);
    }
}

/// A parcel with room for a round.
fn make(made: &mut usize) -> Parcel {
    *made += 1;
    Parcel::with_room(ROUND_SEGMENTS, ROUND_BYTES + MOST_PAYLOAD, *made)
}

/// Waits at a full queue for a moment, all workers of a round together. Gives back a parcel for which there is no room,
/// and nothing when the worker is gone.
fn offer(
    worker: &Sender<Parcel>,
    parcel: Parcel,
    deadline: &mut Option<Instant>,
    patience: Duration,
) -> Result<(), Option<Parcel>> {
    let parcel = match worker.try_send(parcel) {
        Ok(()) => return Ok(()),
        Err(TrySendError::Full(parcel)) => parcel,
        Err(TrySendError::Disconnected(_)) => return Err(None),
    };
    let until = *deadline.get_or_insert_with(|| Instant::now() + patience);
    worker.send_deadline(parcel, until).map_err(|error| match error {
        SendTimeoutError::Timeout(parcel) => Some(parcel),
        SendTimeoutError::Disconnected(_) => None,
    })
}

/// Rounds that wait for a worker.
fn rounds(live: bool, readers: usize) -> usize {
    match (live, readers) {
        (false, _) => ROUNDS,
        (true, 1) => LIVE_ROUNDS,
        (true, _) => LIVE_ROUNDS_OF_SEVERAL,
    }
}

/// The ways between `readers` and `workers`: the readers' ends, and the lanes of each worker.
pub(super) fn connect(settings: &Settings, readers: usize, workers: usize) -> (Vec<Shards>, Vec<Vec<Lane>>) {
    let rounds = rounds(settings.live, readers);
    let alone = readers == 1;
    let times = if settings.live { 1 } else { workers.div_ceil(2).max(1) };
    let hasher = ahash::RandomState::new();
    let mut lanes: Vec<Vec<Lane>> = (0..workers).map(|_| Vec::new()).collect();
    let reader = |_| {
        // Room for all that can be on the way: those that wait, one in each worker's hands, one being filled for each.
        let (give_back, done) = bounded((rounds + 2) * workers);
        let reached = Arc::new(AtomicI64::new(0));
        let mut shards = Shards {
            live: settings.live,
            patience: if alone { PATIENCE_ALONE } else { PATIENCE },
            parcels: Vec::new(),
            workers: Vec::new(),
            done,
            idle: Idle::by_place(|parcel: &Parcel| parcel.number),
            made: 0,
            hasher: hasher.clone(),
            bytes: 0,
            segments: 0,
            full: (ROUND_BYTES * times, ROUND_SEGMENTS * times),
            reached: reached.clone(),
        };
        if settings.live && alone {
            // What a burst needs is there before it comes, and nothing is left behind by it.
            for _ in 0..(rounds + 2) * workers {
                let mut parcel = make(&mut shards.made);
                parcel.reserve(ROUND_SEGMENTS, ROUND_BYTES);
                shards.idle.keep(parcel);
            }
        }
        for lanes in &mut lanes {
            let (send, parcels) = bounded(rounds);
            shards.parcels.push(shards.idle.take().unwrap_or_else(|| make(&mut shards.made)));
            shards.workers.push(send);
            lanes.push(Lane::new(parcels, give_back.clone(), reached.clone()));
        }
        shards
    };
    let shards = (0..readers).map(reader).collect();
    (shards, lanes)
}

/// Runs the sources, which are parts of the same traffic, through all stages into `consumer`; the first one on this thread.
pub(super) fn run(
    sources: &mut [Box<dyn Source>],
    settings: &Settings,
    inspector: &Arc<Inspector>,
    consumer: &mut dyn Consumer,
    stop: &AtomicBool,
    progress: &mut Progress<'_>,
) -> Outcome {
    let workers = settings.workers.max(1);
    let (shards, lanes) = connect(settings, sources.len(), workers);
    let mut places = Places { cpus: &settings.cpus, threads: sources.len() + workers + 1, next: 0 };
    thread::scope(|scope| {
        let waiting = if settings.live { LIVE_ANSWERS } else { ROUNDS };
        let (answer, answers) = bounded(waiting * workers);
        let (mut returns, mut working) = (Vec::new(), Vec::new());
        for (number, lanes) in lanes.into_iter().enumerate() {
            let (give_back, done) = bounded(waiting);
            returns.push(give_back);
            let answer = answer.clone();
            working.push(places.start(scope, format!("worker-{number}"), move || {
                Worker::new(number, settings, inspector, lanes, answer, done).run()
            }));
        }
        drop(answer);
        let (live, every_step) = (settings.live, settings.evidence.is_some());
        let silent = move |passed| !(every_step || live && passed >= PATIENCE);
        let merge = Merge::new(consumer, returns, settings.http.held_records, Box::new(silent));
        let consuming = places.start(scope, "consumer".to_owned(), move || consume(merge, &answers));
        let fronts = Front::several(settings, sources.len());
        let mut parts = sources.iter_mut().zip(shards).zip(fronts);
        let here = parts.next();
        let mut reading = Vec::new();
        for (number, ((source, mut shards), mut front)) in parts.enumerate() {
            reading.push(places.start(scope, format!("reader-{}", number + 1), move || {
                front.read(source.as_mut(), &mut shards, settings, stop, &mut |_, _| {});
                front
            }));
        }
        let mut fronts = Vec::new();
        if let Some(((source, mut shards), mut front)) = here {
            places.settle_here();
            front.read(source.as_mut(), &mut shards, settings, stop, progress);
            fronts.push(front);
        }
        fronts.extend(reading.into_iter().map(joined));
        let mut outcome = Front::conclude(fronts);
        for counted in working.into_iter().map(joined) {
            outcome.counters.merge(&counted);
        }
        match joined(consuming) {
            Ok(early) => outcome.counters.add(Counter::RecordsUnordered, early),
            Err(error) => outcome.output = Some(error),
        }
        outcome
    })
}

/// What a thread gave; its panic goes on here.
pub(super) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Where the threads run: a processor each when enough are named; otherwise the system moves them among those.
struct Places<'p> {
    cpus: &'p [u16],
    threads: usize,
    next: usize,
}

impl Places<'_> {
    fn next(&mut self) -> Option<u16> {
        let cpu = self.cpus.get(self.next).copied().filter(|_| self.cpus.len() >= self.threads);
        self.next += 1;
        cpu
    }

    /// Moves this thread to the next place. That it could run there was seen when the processors were chosen.
    fn settle_here(&mut self) {
        if let Some(cpu) = self.next() {
            let _ = live::pin(&[cpu]);
        }
    }

    /// Starts a thread at the next place.
    fn start<'scope, T: Send + 'scope>(
        &mut self,
        scope: &'scope thread::Scope<'scope, '_>,
        name: String,
        run: impl FnOnce() -> T + Send + 'scope,
    ) -> thread::ScopedJoinHandle<'scope, T> {
        let cpu = self.next();
        start(scope, name, move || {
            if let Some(cpu) = cpu {
                let _ = live::pin(&[cpu]);
            }
            run()
        })
    }
}

/// Starts a thread that has a name in the system's tools.
pub(super) fn start<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    run: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    #[allow(clippy::expect_used, reason = "as with thread::spawn: a system without threads left can go on in no way")]
    thread::Builder::new().name(name).spawn_scoped(scope, run).expect("a thread")
}

/// Hands on the answers of the workers as they come; gives how many were handed on too early.
fn consume(mut merge: Merge<'_>, answers: &Receiver<Answer>) -> io::Result<u64> {
    for answer in answers {
        merge.take(answer)?;
    }
    merge.finish()
}
