//! What one sink has yet to deliver: its spool, and behind it a bounded queue in memory for when the disk is full.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::spool::{Damage, Position, Refusal, Spool};

/// How often at most the log says again that the same goes on being wrong.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What a sink has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The sink's name.
    pub name: String,
    /// Its type.
    pub r#type: Cow<'static, str>,
    /// Lines that passed its filter.
    pub taken: u64,
    /// Lines that its receiver has.
    pub delivered: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Lines that the receiver refused for good; they are among the dead letters.
    pub rejected: u64,
    /// Lines lost: spool and queue were full.
    pub dropped: u64,
    /// Bytes of the spool that were cut off or passed over as damaged.
    pub damaged_bytes: u64,
    /// Lines that wait on disk.
    pub spooled: u64,
    /// Lines that wait in memory.
    pub queued: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// Bytes that the spool may have.
    pub spool_limit: u64,
    /// Seconds that the oldest line has waited.
    pub lag_seconds: f64,
    /// What went wrong last, while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Where a batch came from, and so what is done with it afterwards.
#[derive(Debug)]
enum Origin {
    Spool(Position),
    Memory,
}

/// Lines on their way.
#[derive(Debug)]
pub(super) struct Batch {
    /// Each as native JSON, in order.
    pub(super) payloads: Vec<Vec<u8>>,
    origin: Origin,
}

#[derive(Debug)]
struct Inner {
    spool: Option<Spool>,
    memory: VecDeque<(u64, Vec<u8>)>,
    /// The first ones in memory are being delivered: they must not move to the disk.
    in_flight: bool,
    /// When the oldest came that is known of.
    oldest: Option<u64>,
    failure: Option<String>,
    said: Option<SystemTime>,
}

/// One sink's lines between the detector, which puts them in, and the sink's own thread, which takes them out.
#[derive(Debug)]
pub(super) struct Outbox {
    name: String,
    r#type: &'static str,
    queue: usize,
    limit: u64,
    inner: Mutex<Inner>,
    /// Told at each line.
    pub(super) news: Notify,
    /// There will be no more lines.
    pub(super) ending: AtomicBool,
    taken: AtomicU64,
    delivered: AtomicU64,
    retries: AtomicU64,
    rejected: AtomicU64,
    dropped: AtomicU64,
    damaged: AtomicU64,
}

impl Outbox {
    /// With a spool, of what an earlier process left; or in memory alone.
    pub(super) fn new(name: &str, r#type: &'static str, queue: usize, limit: u64, spool: Option<Spool>) -> Outbox {
        let outbox = Outbox {
            name: name.to_owned(),
            r#type,
            queue,
            limit,
            inner: Mutex::new(Inner {
                spool,
                memory: VecDeque::new(),
                in_flight: false,
                oldest: None,
                failure: None,
                said: None,
            }),
            news: Notify::new(),
            ending: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        };
        outbox.say_damage(&mut outbox.lock());
        outbox
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked with it left whole lines: each step leaves a state that holds.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line. When this returns it is on disk, or in memory where the disk has no room, or dropped and counted.
    pub(super) fn push(&self, payload: &[u8]) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut guard = self.lock();
        let inner = &mut *guard;
        let now = milliseconds();
        inner.refill();
        let refusal = match &mut inner.spool {
            Some(spool) if inner.memory.is_empty() => spool.append(payload, now).err(),
            _ => Some(Refusal::Full),
        };
        if let Some(refusal) = refusal {
            let without = inner.spool.is_none();
            if inner.memory.len() >= self.queue || matches!(refusal, Refusal::TooLarge) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                let reason = match &refusal {
                    Refusal::TooLarge => "a line is too large to be kept".to_owned(),
                    _ if without => "the queue is full".to_owned(),
                    Refusal::Full => "spool and queue are full".to_owned(),
                    Refusal::Disk(error) => format!("the queue is full, and the spool fails: {error}"),
                };
                inner.complain(&self.name, &format!("{reason}; lines are dropped and counted"));
            } else {
                if let Refusal::Disk(error) = &refusal {
                    inner.complain(&self.name, &format!("the spool fails ({error}); lines wait in memory"));
                } else if !without && inner.memory.is_empty() {
                    inner.complain(&self.name, "the spool is full; lines wait in memory");
                }
                inner.memory.push_back((now, payload.to_vec()));
            }
        }
        drop(guard);
        self.news.notify_one();
    }

    /// The next lines to deliver, up to so many and so many bytes, unless one alone is larger; none when there are none.
    pub(super) fn peek(&self, count: usize, bytes: usize) -> Option<Batch> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if let Some(spool) = inner.spool.as_mut().filter(|spool| spool.pending() > 0) {
            match spool.peek(count, bytes) {
                Ok(entries) => {
                    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                        inner.oldest = Some(first.came);
                        let origin = Origin::Spool(last.behind);
                        return Some(Batch {
                            payloads: entries.into_iter().map(|entry| entry.payload).collect(),
                            origin,
                        });
                    }
                    let passed = spool.pass_over();
                    self.say_damage(inner);
                    if let Err(error) = passed {
                        inner.complain(&self.name, &format!("the spool cannot be written: {error}"));
                    }
                }
                Err(error) => {
                    inner.complain(&self.name, &format!("the spool cannot be read: {error}"));
                    return None;
                }
            }
        }
        let mut payloads: Vec<Vec<u8>> = Vec::new();
        let mut held = 0;
        for (_, payload) in inner.memory.iter().take(count) {
            held += payload.len();
            if held > bytes && !payloads.is_empty() {
                break;
            }
            payloads.push(payload.clone());
        }
        inner.oldest = inner.memory.front().map(|(came, _)| *came);
        if payloads.is_empty() {
            return None;
        }
        inner.in_flight = true;
        Some(Batch { payloads, origin: Origin::Memory })
    }

    /// A batch is done: its receiver has all but the last `rejected` of it, which are among the dead letters.
    pub(super) fn done(&self, batch: &Batch, rejected: u64) {
        let count = batch.payloads.len();
        self.delivered.fetch_add((count as u64).saturating_sub(rejected), Ordering::Relaxed);
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        let mut guard = self.lock();
        let inner = &mut *guard;
        match batch.origin {
            Origin::Spool(behind) => {
                let advanced = inner.spool.as_mut().map_or(Ok(()), |spool| spool.advance(count, behind));
                if let Err(error) = advanced {
                    let text = format!("the spool cannot be written ({error}); what was sent may be sent again");
                    inner.complain(&self.name, &text);
                }
            }
            Origin::Memory => {
                inner.memory.drain(..count.min(inner.memory.len()));
                inner.in_flight = false;
            }
        }
        inner.oldest = None;
        inner.refill();
        if inner.failure.take().is_some() && rejected == 0 {
            inner.said = None;
            tracing::info!(sink = self.name, "delivers again");
        }
    }

    /// A batch was not delivered and will be tried again.
    pub(super) fn failed(&self, batch: &Batch, reason: &str) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.lock();
        if matches!(batch.origin, Origin::Memory) {
            inner.in_flight = false;
        }
        inner.complain(&self.name, reason);
    }

    /// Something is wrong, and the log should say so.
    pub(super) fn complain(&self, reason: &str) {
        self.lock().complain(&self.name, reason);
    }

    /// Lines that wait.
    pub(super) fn waiting(&self) -> u64 {
        let inner = self.lock();
        inner.spool.as_ref().map_or(0, Spool::pending) + inner.memory.len() as u64
    }

    /// Lines that the end of the process would lose: those in memory.
    pub(super) fn unsafe_waiting(&self) -> u64 {
        self.lock().memory.len() as u64
    }

    /// What it has come to.
    pub(super) fn status(&self) -> Status {
        let inner = self.lock();
        let waiting = inner.spool.as_ref().map_or(0, Spool::pending) + inner.memory.len() as u64;
        let oldest = inner.oldest.filter(|_| waiting > 0);
        Status {
            name: self.name.clone(),
            r#type: self.r#type.into(),
            taken: self.taken.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            damaged_bytes: self.damaged.load(Ordering::Relaxed),
            spooled: inner.spool.as_ref().map_or(0, Spool::pending),
            queued: inner.memory.len() as u64,
            spool_bytes: inner.spool.as_ref().map_or(0, Spool::bytes),
            spool_limit: self.limit,
            lag_seconds: oldest.map_or(0.0, |came| milliseconds().saturating_sub(came) as f64 / 1e3),
            failure: inner.failure.clone(),
        }
    }

    fn say_damage(&self, inner: &mut Inner) {
        let Some(spool) = &mut inner.spool else { return };
        let Damage { torn_bytes, damaged_bytes, position_lost } = spool.damage();
        self.damaged.fetch_add(torn_bytes + damaged_bytes, Ordering::Relaxed);
        let sink = self.name.as_str();
        if torn_bytes > 0 {
            tracing::warn!(sink, torn_bytes, "the spool ended in a torn line, which was cut off");
        }
        if damaged_bytes > 0 {
            tracing::warn!(sink, damaged_bytes, "the spool is damaged; these bytes were passed over");
        }
        if position_lost {
            tracing::warn!(sink, "the spool's position is damaged; lines may be sent again");
        }
        if spool.pending() > 0 {
            tracing::info!(sink, lines = spool.pending(), "lines of an earlier run wait in the spool");
        }
    }
}

impl Inner {
    /// Moves what waits in memory to the disk, as far as that has room again.
    fn refill(&mut self) {
        let Some(spool) = &mut self.spool else { return };
        while !self.in_flight
            && let Some((came, payload)) = self.memory.front()
        {
            if spool.append(payload, *came).is_err() {
                return;
            }
            self.memory.pop_front();
        }
    }

    /// Says it when it is news, and else once a minute.
    fn complain(&mut self, name: &str, reason: &str) {
        let now = SystemTime::now();
        let silent = self.said.is_some_and(|said| now.duration_since(said).is_ok_and(|passed| passed < SAY_AGAIN));
        if self.failure.as_deref() != Some(reason) || !silent {
            tracing::warn!(sink = name, "{reason}");
            self.said = Some(now);
        }
        self.failure = Some(reason.to_owned());
    }
}

/// Milliseconds since 1970.
pub(super) fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// An error of the disk that says which.
pub(super) fn at(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(batch: &Batch) -> Vec<u32> {
        batch
            .payloads
            .iter()
            .map(|text| String::from_utf8_lossy(text).trim_start_matches('0').parse().unwrap_or(0))
            .collect()
    }

    #[test]
    fn order_holds_over_a_full_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        // Room for about ten of a hundred.
        let spool = Spool::open(folder.path(), 700, false).expect("a spool");
        let outbox = Outbox::new("a", "file", 60, 700, Some(spool));
        let (mut pushed, mut got) = (0_u32, Vec::new());
        let mut round = 0;
        while got.len() < 100 {
            for _ in 0..7 {
                if pushed < 100 && outbox.waiting() < 60 {
                    pushed += 1;
                    outbox.push(format!("{pushed:050}").as_bytes());
                }
            }
            round += 1;
            let batch = outbox.peek(5, usize::MAX).expect("something waits");
            if round % 3 == 0 {
                outbox.failed(&batch, "down");
                continue;
            }
            // What comes while a batch is on its way does not get in its way.
            if pushed < 100 {
                pushed += 1;
                outbox.push(format!("{pushed:050}").as_bytes());
            }
            got.extend(numbers(&batch));
            outbox.done(&batch, 0);
        }
        assert_eq!(got, (1..=100).collect::<Vec<_>>());
        let status = outbox.status();
        assert_eq!((status.taken, status.delivered, status.dropped, status.spooled), (100, 100, 0, 0));
    }

    #[test]
    fn the_newest_is_dropped_when_all_is_full() {
        let outbox = Outbox::new("a", "file", 3, 0, None);
        for number in 1..=5 {
            outbox.push(number.to_string().as_bytes());
        }
        let batch = outbox.peek(9, usize::MAX).expect("three");
        assert_eq!(numbers(&batch), [1, 2, 3]);
        assert_eq!(outbox.status().dropped, 2);
        assert!(outbox.status().failure.is_some_and(|reason| reason.contains("full")));
        outbox.done(&batch, 1);
        let status = outbox.status();
        assert_eq!((status.delivered, status.rejected, status.queued), (2, 1, 0));
    }
}
