//! When a checkpoint is written, and how a run goes on from one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Checkpoint, Kept, Learned, Order, Rest, Settings, file};
use crate::call::Record;
use crate::detect::Detector;
use crate::stats::{Counter, Counters};

/// One in how much time the detector may copy its state.
const SHARE: u32 = 50;

/// Keeps the detector's state in a folder. One run at a time has a folder.
pub struct Keeper {
    folder: PathBuf,
    interval: Option<Duration>,
    due: Instant,
    /// The last record that was taken.
    taken: Option<Order>,
    /// Records up to this one are held by the checkpoint that the run began from.
    held: Option<Order>,
    writer: Option<Writer>,
    failing: bool,
    counters: Counters,
    /// Held locked as long as the run lasts.
    _lock: File,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("folder", &self.folder).field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// The thread that writes, one checkpoint at a time.
struct Writer {
    work: SyncSender<Box<Checkpoint>>,
    done: Receiver<io::Result<u64>>,
    busy: bool,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// One for `folder`, which is there.
    ///
    /// # Errors
    ///
    /// A folder that another run has, or that cannot be written to.
    pub fn new(folder: &Path, settings: &Settings) -> io::Result<Keeper> {
        let path = folder.join("detector.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let reason = "another apitap keeps what it learns there; give this one a folder of its own";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, reason));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let interval = (settings.interval_seconds > 0).then(|| Duration::from_secs(settings.interval_seconds));
        Ok(Keeper {
            folder: folder.to_owned(),
            interval,
            due: Instant::now() + interval.unwrap_or_default(),
            taken: None,
            held: None,
            writer: None,
            failing: false,
            counters: Counters::new(),
            _lock: lock,
        })
    }

    /// Gives the detector back what an earlier run had learned, if there is something; gives what else that had learned, none where
    /// there is nothing, and what has to be said of it.
    ///
    /// # Errors
    ///
    /// A checkpoint that is there and cannot be read for another reason than damage.
    pub fn resume(&mut self, detector: &mut Detector) -> io::Result<(Option<Rest>, Vec<String>)> {
        let (kept, mut notes) = file::newest(&self.folder)?;
        let Some(Kept { taken, detector: stored, rest, .. }) = kept else { return Ok((None, notes)) };
        let Some(absent) = detector.restore(stored) else {
            notes.push("what was learned before belongs to another key, and is not used".into());
            return Ok((None, notes));
        };
        if !absent.is_empty() {
            let absent = absent.join(", ");
            notes.push(format!("what was learned before is of another version, and has not all: {absent} begin anew"));
        }
        (self.taken, self.held) = (taken, taken);
        Ok((Some(rest), notes))
    }

    /// Nothing is passed over: time may have been set back since, and a live sensor hears nothing twice.
    pub fn pass_nothing_over(&mut self) {
        self.held = None;
    }

    /// Whether the checkpoint from which the run went on does not hold `record`. They come in order.
    pub fn is_new(&mut self, record: &Record) -> bool {
        let Some(held) = self.held else { return true };
        let new = record.order() > held;
        match new {
            true => self.held = None,
            false => self.counters.count(Counter::RecordsPassedOver),
        }
        new
    }

    /// The detector has taken the records up to `last`, and its alerts are told. Writes a checkpoint of what was learned when one is due;
    /// gives what has to be said, when writing began to fail or does so no more.
    pub fn taken(&mut self, last: Option<&Record>, learned: impl FnOnce() -> Learned) -> Option<String> {
        if let Some(last) = last {
            self.taken = Some(last.order());
        }
        let interval = self.interval?;
        let now = Instant::now();
        if now < self.due {
            return None;
        }
        let note = self.hear();
        if self.writer.as_ref().is_some_and(|writer| writer.busy) {
            return note; // the disk is slow: at the next records
        }
        self.hand_over(learned);
        self.due = now + interval.max(now.elapsed() * SHARE);
        note
    }

    /// Writes the last checkpoint, and waits for it.
    ///
    /// # Errors
    ///
    /// What kept it from being written.
    pub fn finish(&mut self, learned: Learned) -> io::Result<()> {
        if let Some(Writer { work, done, thread, .. }) = self.writer.take() {
            drop(work);
            let _ = thread.join();
            if let Ok(earlier) = done.try_recv() {
                let _ = self.count(earlier); // the last one is what counts
            }
        }
        let checkpoint = Checkpoint { taken: self.taken, learned };
        self.count(file::write(&self.folder, &checkpoint)).map_err(|(error, _)| error)
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hears how the last one went, if it is done.
    fn hear(&mut self) -> Option<String> {
        let writer = self.writer.as_mut()?;
        let result = writer.done.try_recv().ok()?;
        writer.busy = false;
        let failed = self.failing;
        match self.count(result) {
            Ok(()) if failed => Some(format!("{}: checkpoints are written again", self.folder.display())),
            Err((error, true)) => Some(format!(
                "{}: no checkpoint can be written, a restart would forget what was learned since the last: {error}",
                self.folder.display()
            )),
            _ => None,
        }
    }

    /// Counts how one went. A failure comes with whether it is the first in a row.
    fn count(&mut self, result: io::Result<u64>) -> Result<(), (io::Error, bool)> {
        match result {
            Ok(_) => {
                self.counters.count(Counter::CheckpointsWritten);
                self.failing = false;
                Ok(())
            }
            Err(error) => {
                self.counters.count(Counter::CheckpointsFailed);
                Err((error, !std::mem::replace(&mut self.failing, true)))
            }
        }
    }

    fn hand_over(&mut self, learned: impl FnOnce() -> Learned) {
        if self.writer.is_none() {
            self.writer = Writer::start(self.folder.clone()).ok();
        }
        let Some(writer) = &mut self.writer else { return };
        let checkpoint = Box::new(Checkpoint { taken: self.taken, learned: learned() });
        writer.busy = writer.work.try_send(checkpoint).is_ok();
    }
}

impl Writer {
    fn start(folder: PathBuf) -> io::Result<Writer> {
        let (work, orders) = sync_channel::<Box<Checkpoint>>(1);
        let (tell, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(move || {
            for checkpoint in orders {
                if tell.send(file::write(&folder, &checkpoint)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Writer { work, done, busy: false, thread })
    }
}
