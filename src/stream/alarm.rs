//! When the handler of a flow wants to be called though nothing comes.

use std::cell::Cell;
use std::time::Duration;

use crate::time::Timestamp;

/// One moment at most; none until somebody asks. Shared, so that the handler, to which a flow is lent, can ask.
#[derive(Clone, Debug)]
pub struct Alarm {
    time: Cell<Timestamp>,
    /// It was set since the tracker last looked.
    fresh: Cell<bool>,
}

impl Default for Alarm {
    fn default() -> Self {
        Alarm { time: Cell::new(Timestamp::MAX), fresh: Cell::new(false) }
    }
}

impl Alarm {
    /// Sets it to `time`, unless it goes off before that.
    pub(super) fn set(&self, time: Timestamp) {
        if time < self.time.get() {
            self.time.set(time);
            self.fresh.set(true);
        }
    }

    /// When it goes off; [`Timestamp::MAX`] for never.
    #[inline]
    pub(super) fn time(&self) -> Timestamp {
        self.time.get()
    }

    /// Whether it was set since this was last asked. What lies in the past becomes the next tick after `now`.
    #[inline]
    pub(super) fn take_fresh(&self, now: Timestamp) -> bool {
        if !self.fresh.get() {
            return false;
        }
        self.fresh.set(false);
        self.time.set(self.time.get().max(now + Duration::from_nanos(1)));
        true
    }

    /// Whether it goes off now, and then not again.
    pub(super) fn ring(&self, now: Timestamp) -> bool {
        if self.time.get() > now {
            return false;
        }
        self.time.set(Timestamp::MAX);
        true
    }
}
