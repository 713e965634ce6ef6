//! The highest value that one client reached in the past.

use serde::{Deserialize, Serialize};

use super::{BUCKETS, Window};
use crate::time::Timestamp;

/// A client's own highest value of a window's sum, known with a delay and grown by at most a factor of two a step,
/// so that an attack does not vouch for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extreme {
    epoch: i64,
    current: f64,
    settled: f64,
}

impl Extreme {
    /// Notes `value` at `time`. When an epoch (four windows) has ended, its highest value settles: the settled values
    /// before and after are given, if they differ. `least` is what may settle at once; above it a step is at most a
    /// doubling. A `suspect` settles nothing.
    pub fn note(
        &mut self,
        window: Window,
        time: Timestamp,
        value: f64,
        least: impl FnOnce() -> f64,
        suspect: bool,
    ) -> Option<(f64, f64)> {
        const EPOCH: i64 = 4 * BUCKETS as i64;
        let bucket = window.bucket(time);
        let mut change = None;
        // A division is for when an epoch is over.
        if bucket >= self.epoch.saturating_add(1).saturating_mul(EPOCH) {
            let epoch = bucket / EPOCH;
            let before = self.settled;
            if !suspect {
                self.settled = before.max(self.current.min((2.0 * before).max(least())));
            }
            if self.settled > before {
                change = Some((before, self.settled));
            }
            self.epoch = epoch;
            self.current = 0.0;
        }
        self.current = self.current.max(value);
        change
    }

    /// The settled value; 0 when nothing has settled yet.
    pub fn settled(&self) -> f64 {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settles_late_and_by_doubling() {
        let mut extreme = Extreme::default();
        let at = |epoch: u64| Timestamp::from_parts(240 * epoch, 0);
        assert_eq!(extreme.note(Window::Minute, at(1), 500.0, || 10.0, false), None);
        assert_eq!(extreme.settled(), 0.0, "the present does not vouch for itself");
        assert_eq!(extreme.note(Window::Minute, at(2), 500.0, || 10.0, false), Some((0.0, 10.0)));
        assert_eq!(extreme.note(Window::Minute, at(3), 500.0, || 10.0, true), None, "a suspect settles nothing");
        assert_eq!(extreme.note(Window::Minute, at(4), 5.0, || 10.0, false), Some((10.0, 20.0)));
    }
}
