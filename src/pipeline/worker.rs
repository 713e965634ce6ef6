//! A worker among several: takes the parcels of all readers in the order of time, and gives records.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, SendTimeoutError, Sender, TryRecvError};

use super::assembly::Assembly;
use super::parcel::Parcel;
use super::{PATIENCE, Settings};
use crate::call::Record;
use crate::inspect::Inspector;
use crate::metrics::{Board, Publisher};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// How long a worker that has segments of one reader waits for another to say how far its time has come.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a worker completed.
pub(super) struct Answer {
    /// Which worker.
    pub(super) worker: usize,
    pub(super) records: Vec<Record>,
    /// What the traffic's time has come to.
    pub(super) now: Timestamp,
    /// There will be no more.
    pub(super) last: bool,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was taken.
    Taken,
    /// Nothing is there to be taken.
    Waiting,
    /// There will be no more, or nobody wants the records.
    Over,
}

/// The way from one reader to one worker.
pub(super) struct Lane {
    parcels: Receiver<Parcel>,
    give_back: Sender<Parcel>,
    /// What the reader's time has come to; all segments before it are in `parcels`.
    reached: Arc<AtomicI64>,
    parcel: Parcel,
    /// The next segment in the parcel.
    next: usize,
    /// Up to when the reader's segments are known.
    now: Timestamp,
    open: bool,
}

impl Lane {
    pub(super) fn new(parcels: Receiver<Parcel>, give_back: Sender<Parcel>, reached: Arc<AtomicI64>) -> Lane {
        Lane { parcels, give_back, reached, parcel: Parcel::default(), next: 0, now: Timestamp::ZERO, open: true }
    }

    /// The time of the next segment, if it is there.
    #[inline]
    fn next_time(&self) -> Option<Timestamp> {
        self.parcel.time_at(self.next)
    }

    /// No segment before this time will come of this lane.
    #[inline]
    fn bound(&self) -> Timestamp {
        self.next_time().unwrap_or(if self.open { self.now } else { Timestamp::MAX })
    }

    /// Fetches the next parcel when the one before is done with.
    fn refill(&mut self) {
        while self.open && self.next_time().is_none() {
            // Looked at before the queue: what it speaks of is in there by then.
            let reached = Timestamp::from_nanos(self.reached.load(Ordering::Acquire));
            match self.parcels.try_recv() {
                Ok(parcel) => {
                    let mut done = std::mem::replace(&mut self.parcel, parcel);
                    if done.number > 0 {
                        done.clear();
                        let _ = self.give_back.try_send(done); // a full queue only means that it is freed
                    }
                    self.next = 0;
                    self.settle();
                }
                Err(TryRecvError::Empty) => {
                    self.now = self.now.max(reached);
                    return;
                }
                Err(TryRecvError::Disconnected) => self.open = false,
            }
        }
    }

    /// A parcel that is done with tells up to when all is known.
    fn settle(&mut self) {
        if self.next_time().is_none() {
            self.now = self.now.max(self.parcel.now);
        }
    }
}

/// A worker.
pub(super) struct Worker {
    number: usize,
    live: bool,
    lanes: Vec<Lane>,
    assembly: Assembly,
    answers: Sender<Answer>,
    /// Records that the consumer is done with.
    done: Receiver<Vec<Record>>,
    counters: Counters,
    /// What the consumer knows of the time.
    told: Timestamp,
    publisher: Option<Publisher>,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        settings: &Settings,
        inspector: &Arc<Inspector>,
        lanes: Vec<Lane>,
        answers: Sender<Answer>,
        done: Receiver<Vec<Record>>,
    ) -> Worker {
        Worker {
            number,
            live: settings.live,
            lanes,
            assembly: Assembly::new(settings, inspector, settings.workers),
            answers,
            done,
            counters: Counters::new(),
            told: Timestamp::ZERO,
            publisher: settings.board.as_ref().map(Board::publisher),
        }
    }

    /// Works until all readers are done, or nobody wants the records. Gives what was counted.
    pub(super) fn run(mut self) -> Counters {
        loop {
            match self.step() {
                Step::Taken => {}
                Step::Waiting => self.wait(),
                Step::Over => return self.counters(),
            }
        }
    }

    /// What was counted.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.assembly.counters();
        counters.merge(&self.counters);
        counters
    }

    /// Its place among the workers.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Whether a parcel waits for it.
    pub(super) fn has_parcel(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.parcels.is_empty())
    }

    /// Takes what can be taken.
    pub(super) fn step(&mut self) -> Step {
        self.lanes.iter_mut().for_each(Lane::refill);
        // Of two segments of one moment, that of the first reader comes first.
        let bounds = self.lanes.iter().map(Lane::bound);
        let Some((bound, earliest)) = bounds.zip(0..).min() else { return Step::Over };
        let others = self.lanes.iter().zip(0..).filter(|&(_, place)| place != earliest);
        let limit = others.map(|(lane, place)| (lane.bound(), place)).min().unwrap_or((Timestamp::MAX, usize::MAX));
        let Some(lane) = self.lanes.get_mut(earliest) else { return Step::Over };
        if lane.next_time().is_some() {
            while let Some(now) = lane.next_time().filter(|&now| (now, earliest) < limit) {
                if let Some(segment) = lane.parcel.segment(lane.next) {
                    self.assembly.segment(&segment, now);
                }
                lane.next += 1;
            }
            lane.settle();
            let is_wanted = lane.next_time().is_some() || self.answer(false);
            return if is_wanted { Step::Taken } else { Step::Over };
        }
        if lane.open {
            let is_wanted = bound == self.told || self.answer(false);
            return if is_wanted { Step::Waiting } else { Step::Over };
        }
        self.answer(true);
        Step::Over
    }

    /// Gives the records completed so far, and says what the time has come to; false when nobody wants them.
    fn answer(&mut self, last: bool) -> bool {
        let open = self.lanes.iter().filter(|lane| lane.open || lane.next_time().is_some());
        let now = match last {
            false => open.map(Lane::bound).min().unwrap_or(self.told),
            true => self.lanes.iter().map(|lane| lane.now).max().unwrap_or(self.told),
        };
        self.assembly.tick(now);
        self.publish();
        if last {
            self.assembly.finish();
        }
        if self.live && !last && self.assembly.records().is_empty() && now < self.told + PATIENCE {
            return true;
        }
        self.told = now;
        for mut records in self.done.try_iter() {
            self.assembly.recycle(&mut records);
        }
        let records = std::mem::take(self.assembly.records());
        let answer = Answer { worker: self.number, records, now, last };
        if !self.live || last {
            return self.answers.send(answer).is_ok();
        }
        match self.answers.send_timeout(answer, PATIENCE) {
            Ok(()) => true,
            Err(SendTimeoutError::Timeout(answer)) => {
                self.counters.add(Counter::CallsDropped, answer.records.len() as u64);
                true
            }
            Err(SendTimeoutError::Disconnected(_)) => false,
        }
    }

    /// Tells what was counted so far.
    fn publish(&mut self) {
        let Some(publisher) = Publisher::due(&mut self.publisher) else { return };
        let mut counters = self.assembly.counters();
        counters.merge(&self.counters);
        publisher.publish(&counters);
        publisher.publish_tables(self.assembly.tables());
    }

    /// Waits for a parcel of a reader of whom there is none.
    fn wait(&self) {
        let mut select = Select::new();
        for lane in self.lanes.iter().filter(|lane| lane.open && lane.next_time().is_none()) {
            select.recv(&lane.parcels);
        }
        if self.live {
            let is_held_up = self.lanes.iter().any(|lane| lane.next_time().is_some());
            let _ = select.ready_timeout(if is_held_up { LOOK_AGAIN } else { PATIENCE });
        } else {
            select.ready();
        }
    }
}
