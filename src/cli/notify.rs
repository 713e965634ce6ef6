//! What systemd is told of `watch`, by the socket that it names in `NOTIFY_SOCKET` (`sd_notify(3)`); nothing where there is none.
//!
//! The watchdog is fed by the thread behind all others, when it has taken records or heard that nothing came: it is reached only through
//! the reader and the workers, so that one of them that hangs is noticed. A quiet interface tells its time all along.

use std::io;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::call::Record;
use crate::pipeline::Consumer;
use crate::time::Timestamp;

/// All is open, and it listens.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It reads its configuration again; [`ready`] ends that.
pub(super) fn reloading() {
    let now = NotifyState::monotonic_usec_now();
    tell(&[Some(NotifyState::Reloading), now.ok()].into_iter().flatten().collect::<Vec<_>>());
}

/// It has read it again.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd is not told how it goes: {error}");
    }
}

/// Feeds the watchdog whenever the consumer has taken something.
pub(super) struct Watched<'c> {
    consumer: &'c mut dyn Consumer,
    /// Half of the time that systemd waits; none when it does not watch.
    every: Option<Duration>,
    next: Instant,
}

impl<'c> Watched<'c> {
    /// By what systemd says in `WATCHDOG_USEC`.
    pub(super) fn new(consumer: &'c mut dyn Consumer) -> Watched<'c> {
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Watched { consumer, every, next: Instant::now() }
    }
}

impl Consumer for Watched<'_> {
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        self.consumer.records(records, watermark)?;
        if let Some(every) = self.every {
            let now = Instant::now();
            if now >= self.next {
                self.next = now + every;
                tell(&[NotifyState::Watchdog]);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.consumer.finish()
    }
}
