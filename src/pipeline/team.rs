//! Several workers and no other threads: who has nothing else to do reads, or hands records on.
//!
//! A replay is not held up by the wire, so that nobody has to wait at it. A thread for the reader and one for the consumer
//! beside the workers would be more threads than processors; each waits for another one most of the time, and what one of
//! them wrote is seldom in the caches of the next. So the reader and the consumer are places here, each free or taken by one
//! worker: with as many workers as processors all are busy, whichever stage costs most (leader and followers: Schmidt et al.,
//! Pattern-Oriented Software Architecture, volume 2).
//!
//! What each place does is what a thread of its own would do, in the same order, so that nothing else than who does it differs
//! from `shards`: rounds are read one after the other, each worker takes its parcels in their order, and the records go on in
//! theirs.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use super::front::Front;
use super::merge::Merge;
use super::shards::{self, Shards};
use super::worker::{Answer, Step, Worker};
use super::{Consumer, Outcome, Progress, Settings};
use crate::inspect::Inspector;
use crate::source::Source;
use crate::stats::{Counter, Counters};

/// Answers of each worker that may wait for somebody to hand their records on.
const ANSWERS: usize = 4;

/// The place of the reader.
struct Reading<'t> {
    front: Front,
    source: &'t mut dyn Source,
    /// The ways to the workers; none when there will be no more.
    shards: Option<Shards>,
    settings: &'t Settings,
    stop: &'t AtomicBool,
    progress: &'t mut Progress<'t>,
}

impl Reading<'_> {
    /// Reads a round for all; false when that was the last.
    fn round(&mut self) -> bool {
        let Some(shards) = &mut self.shards else { return false };
        if self.front.round(self.source, shards, self.settings, self.stop, self.progress) {
            return true;
        }
        self.front.end(self.source, shards);
        self.shards = None;
        false
    }
}

/// The place of the consumer.
struct Handing<'t> {
    merge: Merge<'t>,
    failed: Option<io::Error>,
}

/// What the workers share.
struct Team<'t> {
    reading: Mutex<Reading<'t>>,
    handing: Mutex<Handing<'t>>,
    answers: Receiver<Answer>,
    /// How many workers there are.
    count: usize,
    /// So many answers may wait.
    most: usize,
    /// The source gives what it has when it has it: how long it is nobody knows.
    waits: bool,
    /// All was read.
    is_read: AtomicBool,
    /// Nobody wants the records, or a worker panicked.
    is_ended: AtomicBool,
    waiting: Mutex<usize>,
    changed: Condvar,
    /// Whether anybody waits, to be looked at without the lock.
    has_waiting: AtomicBool,
}

impl Team<'_> {
    /// Works until all is read and handed on.
    fn work(&self, mut worker: Worker) -> Counters {
        let alarm = Alarm(self);
        let (reads, hands_on) = (worker.number() == 0, worker.number() + 1 == self.count);
        while !self.is_ended.load(Ordering::Relaxed) {
            // Who waits for a source keeps nothing back meanwhile.
            if reads && !(self.waits && worker.has_parcel()) && self.read() {
                continue;
            }
            if hands_on && self.answers.len() >= self.most / 4 && self.hand_on() {
                continue;
            }
            if self.has_room() {
                match worker.step() {
                    Step::Taken => {
                        self.tell_one();
                        continue;
                    }
                    Step::Waiting => {}
                    Step::Over => break,
                }
            }
            if !self.read() && !self.hand_on() {
                self.wait(&worker);
            }
        }
        // Its last answer is handed on by who is at it, or here.
        if !self.is_ended.load(Ordering::Relaxed) {
            self.hand_on_all(&mut locked(&self.handing));
            self.tell(); // there is room again
        }
        drop(alarm);
        worker.counters()
    }

    fn has_room(&self) -> bool {
        self.answers.len() < self.most
    }

    /// Reads a round, if nobody else does and there is room for it.
    fn read(&self) -> bool {
        let Some(mut reading) = free(&self.reading) else { return false };
        if !reading.shards.as_ref().is_some_and(Shards::has_room) {
            return false;
        }
        if !reading.round() {
            self.is_read.store(true, Ordering::Release);
        }
        drop(reading);
        self.tell();
        true
    }

    /// Hands on the records that wait, if nobody else does.
    fn hand_on(&self) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let Some(mut handing) = free(&self.handing) else { return false };
        self.hand_on_all(&mut handing);
        drop(handing);
        self.tell();
        true
    }

    fn hand_on_all(&self, handing: &mut Handing<'_>) {
        for _ in 0..2 * self.most {
            let Ok(answer) = self.answers.try_recv() else { return };
            if let Err(error) = handing.merge.take(answer) {
                handing.failed.get_or_insert(error);
                self.end();
                return;
            }
        }
    }

    /// Waits until there may be something to do.
    fn wait(&self, worker: &Worker) {
        let mut waiting = locked(&self.waiting);
        *waiting += 1;
        self.has_waiting.store(true, Ordering::Relaxed);
        // Either what is done meanwhile is seen here, or that somebody waits is seen there.
        fence(Ordering::SeqCst);
        if !self.has_work(worker) {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        *waiting -= 1;
        if *waiting == 0 {
            self.has_waiting.store(false, Ordering::Relaxed);
        }
    }

    fn has_work(&self, worker: &Worker) -> bool {
        let may_take = || self.has_room() && (worker.has_parcel() || self.is_read.load(Ordering::Acquire));
        let may_read =
            || free(&self.reading).is_some_and(|reading| reading.shards.as_ref().is_some_and(Shards::has_room));
        let may_hand_on = || !self.answers.is_empty() && free(&self.handing).is_some();
        self.is_ended.load(Ordering::Relaxed) || may_take() || may_hand_on() || may_read()
    }

    /// Tells those that wait that something changed.
    fn tell(&self) {
        if self.has_waiting() {
            self.changed.notify_all();
        }
    }

    /// Tells one of them that there is room again, or an answer: what any of them may do something about.
    fn tell_one(&self) {
        if self.has_waiting() {
            self.changed.notify_one();
        }
    }

    fn has_waiting(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.has_waiting.load(Ordering::Relaxed) {
            return false;
        }
        drop(locked(&self.waiting)); // who is about to wait does
        true
    }

    /// All are to end.
    fn end(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
        self.tell();
    }
}

/// Ends the others when a worker panics: they would wait for it.
struct Alarm<'w, 't>(&'w Team<'t>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

/// What a panic left is not looked at: [`Alarm`] ends the run.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place, if nobody has it.
fn free<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    mutex.try_lock().ok()
}

/// Runs a source through all stages into `consumer`; the first worker on this thread.
pub(super) fn run<'t>(
    source: &'t mut dyn Source,
    settings: &'t Settings,
    inspector: &Arc<Inspector>,
    consumer: &'t mut dyn Consumer,
    stop: &'t AtomicBool,
    progress: &'t mut Progress<'t>,
) -> Outcome {
    let count = settings.workers.max(1);
    let (mut shards, lanes) = shards::connect(settings, 1, count);
    let most = ANSWERS * count;
    // Who sees room for one may give two, which is at the end.
    let (answer, answers) = bounded(most + 2 * count);
    let (returns, done): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(most)).unzip();
    let mut fronts = Front::several(settings, 1);
    let every_step = settings.evidence.is_some();
    let merge = Merge::new(consumer, returns, settings.http.held_records, Box::new(move |_| !every_step));
    let Some(front) = fronts.pop() else { return Outcome::default() };
    let waits = source.progress().is_none();
    let team = Team {
        reading: Mutex::new(Reading { front, source, shards: shards.pop(), settings, stop, progress }),
        handing: Mutex::new(Handing { merge, failed: None }),
        answers,
        count,
        most,
        waits,
        is_read: AtomicBool::new(false),
        is_ended: AtomicBool::new(false),
        waiting: Mutex::new(0),
        changed: Condvar::new(),
        has_waiting: AtomicBool::new(false),
    };
    let mut counted = Vec::new();
    thread::scope(|scope| {
        let team = &team;
        let mut places = lanes.into_iter().zip(done).enumerate().map(|(number, (lanes, done))| {
            let answer = answer.clone();
            // What a worker has stays on its thread.
            move || team.work(Worker::new(number, settings, inspector, lanes, answer, done))
        });
        let here = places.next();
        let others: Vec<_> =
            (1..).zip(places).map(|(number, work)| shards::start(scope, format!("worker-{number}"), work)).collect();
        counted.extend(here.map(|work| work()));
        counted.extend(others.into_iter().map(shards::joined));
    });
    let Team { reading, handing, .. } = team;
    let mut reading = reading.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(mut shards) = reading.shards.take() {
        // Nobody wants more: what was counted is told all the same.
        reading.front.end(reading.source, &mut shards);
    }
    let handing = handing.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut outcome = Front::conclude(vec![reading.front]);
    for counted in &counted {
        outcome.counters.merge(counted);
    }
    match handing.failed.map_or_else(|| handing.merge.finish(), Err) {
        Ok(early) => outcome.counters.add(Counter::RecordsUnordered, early),
        Err(error) => outcome.output = Some(error),
    }
    outcome
}
