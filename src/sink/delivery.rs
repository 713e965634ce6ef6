//! The thread of one sink: takes lines out of its outbox, in order, and sees to it that their receiver has them.
//!
//! Each sink has a thread and a runtime of its own, so that none waits for another: not for its name to be resolved, its
//! disk to answer, or its receiver to come back. What a receiver has is not done before it says so; what it does not
//! have is tried again, later and later; what it refuses for good is a dead letter.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::format::Notice;
use super::letters::DeadLetters;
use super::outbox::{Batch, Outbox};
use super::settings::Settings;
use super::target::Target;
use super::told::Message;

/// How soon one that waits for its receiver sees that it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Why a batch was not delivered.
#[derive(Debug, PartialEq)]
pub(super) enum Trouble {
    /// It may go well later; the receiver may have asked for how much later.
    Later {
        /// What happened.
        reason: String,
        /// What the receiver asked for.
        after: Option<Duration>,
    },
    /// The receiver will never take it, or some of it.
    Never {
        /// What the receiver said.
        reason: String,
        /// Which of the batch; the others were delivered. None: it is not known which.
        which: Option<Vec<usize>>,
    },
}

impl Trouble {
    pub(super) fn later(reason: impl Into<String>) -> Trouble {
        Trouble::Later { reason: reason.into(), after: None }
    }

    pub(super) fn never(reason: impl Into<String>) -> Trouble {
        Trouble::Never { reason: reason.into(), which: None }
    }
}

/// A sink at work.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) outbox: Arc<Outbox>,
    /// When it has to be over, once `ending` is set.
    deadline: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Delivery {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system has no thread or no runtime to give.
    pub(super) fn start(
        outbox: Arc<Outbox>,
        target: Target,
        letters: DeadLetters,
        settings: &Settings,
    ) -> io::Result<Delivery> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deadline = Arc::new(Mutex::new(None));
        let mut courier = Courier {
            outbox: outbox.clone(),
            target,
            letters,
            backoff: Backoff::new(
                Duration::from_millis(settings.retry_milliseconds),
                Duration::from_secs(settings.retry_max_seconds),
                Duration::from_secs(settings.retry_after_max_seconds),
            ),
            batch: settings.batch(),
            batch_bytes: settings.batch_bytes,
            timeout: Duration::from_secs(u64::from(settings.timeout_seconds)),
            singly: 0,
            deadline: deadline.clone(),
        };
        let name = format!("sink-{}", settings.name());
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            runtime.block_on(courier.run());
            runtime.shutdown_background(); // a name that is still being resolved is not waited for
        })?;
        Ok(Delivery { outbox, deadline, thread: Some(thread) })
    }

    /// There will be no more lines: it may go on until `deadline`, and no longer than there is something to do.
    pub(super) fn end(&self, deadline: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.outbox.ending.store(true, Ordering::Release);
        self.outbox.news.notify_one();
    }

    /// Waits until it is over; at most a second beyond its deadline, since a file system may hang for ever.
    pub(super) fn join(&mut self) {
        let deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now);
        let finished = |thread: &mut JoinHandle<()>| {
            while !thread.is_finished() && Instant::now() < deadline + Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(2));
            }
            thread.is_finished()
        };
        if let Some(thread) = self.thread.take_if(finished) {
            let _ = thread.join();
        }
    }

    /// Whether it was waited for to its end.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_none()
    }

    /// One that was told to end and has not yet is to go on after all.
    pub(super) fn go_on(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.outbox.ending.store(false, Ordering::Release);
    }
}

struct Courier {
    outbox: Arc<Outbox>,
    target: Target,
    letters: DeadLetters,
    backoff: Backoff,
    batch: usize,
    batch_bytes: usize,
    timeout: Duration,
    /// So many are to be delivered one by one: there is one among them that is refused.
    singly: usize,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Courier {
    async fn run(&mut self) {
        loop {
            let ending = self.outbox.ending.load(Ordering::Acquire);
            if ending && self.remaining().is_some_and(|left| left.is_zero()) {
                break;
            }
            let count = if self.singly > 0 { 1 } else { self.batch };
            let Some(batch) = self.outbox.peek(count, self.batch_bytes) else {
                if ending {
                    break;
                }
                // A spool that could not be read, or a disk that had no room, is looked at again without news, too.
                let _ = timeout(Duration::from_secs(1), self.outbox.news.notified()).await;
                match timeout(self.timeout, self.target.idle()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => self.outbox.complain(&reason),
                    Err(_) => self.target.reset(),
                }
                continue;
            };
            self.deliver(&batch).await;
        }
        self.target.close().await;
    }

    async fn deliver(&mut self, batch: &Batch) {
        // What is no line of this version (a later one wrote the spool) cannot be put into a format.
        let mut messages = Vec::with_capacity(batch.payloads.len());
        for payload in &batch.payloads {
            match Message::read(payload) {
                Ok(message) => messages.push(message),
                Err(_) if batch.payloads.len() > 1 => {
                    self.singly = batch.payloads.len();
                    return self.outbox.failed(batch, "a line in the spool cannot be read");
                }
                Err(reason) => return self.bury(batch, &[0], &reason).await,
            }
        }
        let notices: Vec<Notice<'_>> = messages.iter().map(|message| message.told().into()).collect();
        let outcome = tokio::select! {
            biased;
            outcome = timeout(self.timeout, self.target.deliver(&notices, &batch.payloads)) => {
                outcome.map_err(|_| format!("no answer within {} s", self.timeout.as_secs_f64()))
            }
            () = over(&self.deadline) => Err("no answer before the end".to_owned()),
        };
        let outcome = outcome.unwrap_or_else(|reason| {
            self.target.reset();
            Err(Trouble::later(reason))
        });
        match outcome {
            Ok(()) => {
                self.outbox.done(batch, 0);
                self.singly = self.singly.saturating_sub(batch.payloads.len());
                self.backoff.reset();
            }
            Err(Trouble::Later { reason, after }) => {
                self.outbox.failed(batch, &reason);
                self.wait(after).await;
            }
            Err(Trouble::Never { reason, which: Some(which) }) => self.bury(batch, &which, &reason).await,
            Err(Trouble::Never { reason, which: None }) => match batch.payloads.len() {
                1 => self.bury(batch, &[0], &reason).await,
                count => self.singly = count,
            },
        }
    }

    /// Writes dead letters; they are done only when they are on disk.
    async fn bury(&mut self, batch: &Batch, which: &[usize], reason: &str) {
        let dead: Vec<&[u8]> = which.iter().filter_map(|&at| batch.payloads.get(at)).map(Vec::as_slice).collect();
        match self.letters.write(&dead, reason) {
            Ok(()) => {
                self.outbox.done(batch, dead.len() as u64);
                self.outbox.complain(&format!(
                    "{reason}; the line is among the dead letters in {}",
                    self.letters.path().display()
                ));
                self.singly = self.singly.saturating_sub(batch.payloads.len());
                self.backoff.reset();
            }
            Err(error) => {
                self.outbox
                    .failed(batch, &format!("refused ({reason}), and its dead letter cannot be written: {error}"));
                self.wait(None).await;
            }
        }
    }

    async fn wait(&mut self, after: Option<Duration>) {
        let until = Instant::now() + self.backoff.next(after);
        // The end may come meanwhile; and it leaves less time.
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.remaining().is_some_and(|remaining| remaining.is_zero()) {
                return;
            }
            sleep(left.min(LOOK)).await;
        }
    }

    /// The time that is left, once there is an end.
    fn remaining(&self) -> Option<Duration> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// Comes when there is a deadline and it has passed, be it set only meanwhile.
async fn over(deadline: &Mutex<Option<Instant>>) {
    loop {
        let end = *deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return;
        }
        sleep(left.map_or(LOOK, |left| left.min(LOOK))).await;
    }
}
