//! Sliding windows on the traffic's time, as rings of buckets that are rolled when they are touched.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Buckets in a ring. A sum covers the bucket that is being filled and the five before it, so between five sixths of
/// the window and the whole of it: never more than was asked, at a sixth of the window's precision.
pub const BUCKETS: usize = 6;

/// The length of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Ten seconds.
    TenSeconds,
    /// One minute.
    Minute,
    /// Ten minutes.
    TenMinutes,
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// One week.
    Week,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Window; 6] =
        [Window::TenSeconds, Window::Minute, Window::TenMinutes, Window::Hour, Window::Day, Window::Week];

    /// Its length in seconds.
    pub const fn seconds(self) -> u64 {
        match self {
            Window::TenSeconds => 10,
            Window::Minute => 60,
            Window::TenMinutes => 600,
            Window::Hour => 3_600,
            Window::Day => 86_400,
            Window::Week => 604_800,
        }
    }

    /// The number of the bucket that `time` falls into, counted from the epoch.
    #[inline]
    pub const fn bucket(self, time: Timestamp) -> i64 {
        const fn length(window: Window) -> i64 {
            window.seconds() as i64 * 1_000_000_000 / BUCKETS as i64
        }
        // Written out so that each division is by a constant.
        match self {
            Window::TenSeconds => time.nanos() / const { length(Window::TenSeconds) },
            Window::Minute => time.nanos() / const { length(Window::Minute) },
            Window::TenMinutes => time.nanos() / const { length(Window::TenMinutes) },
            Window::Hour => time.nanos() / const { length(Window::Hour) },
            Window::Day => time.nanos() / const { length(Window::Day) },
            Window::Week => time.nanos() / const { length(Window::Week) },
        }
    }
}

/// A sum over a sliding window. The window's length is the owner's to know and to give again with each use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    newest: i64,
    buckets: [u64; BUCKETS],
    /// The sum of the buckets; what does not fit is cut off, in the buckets too.
    total: u64,
}

impl Ring {
    /// Adds `amount` at `time` and gives the sum over the window that ends there. What is older than the window
    /// that was already reached is left out.
    #[inline]
    pub fn add(&mut self, window: Window, time: Timestamp, amount: u64) -> u64 {
        let bucket = window.bucket(time);
        self.roll(bucket);
        if self.newest - bucket < BUCKETS as i64 {
            self.put(bucket, amount);
        }
        self.total
    }

    #[inline]
    fn put(&mut self, bucket: i64, amount: u64) {
        let amount = amount.min(u64::MAX - self.total);
        self.total += amount;
        self.buckets[slot(bucket)] += amount;
    }

    /// The sum over the window that ends at `time`.
    #[inline]
    pub fn sum(&mut self, window: Window, time: Timestamp) -> u64 {
        self.roll(window.bucket(time));
        self.total
    }

    /// Reads it, for whoever needs it soon.
    #[inline]
    pub fn warm(&self) -> u64 {
        self.newest as u64
    }

    /// Whether it grew steadily over the window that ends at `time`: each third of it has half as much again as the one
    /// before, and the first something.
    pub fn rises(&mut self, window: Window, time: Timestamp) -> bool {
        let bucket = window.bucket(time);
        self.roll(bucket);
        // The bucket that is being filled is left out.
        let third = |back: i64| self.buckets[slot(bucket - back)] + self.buckets[slot(bucket - back - 1)];
        let (last, middle, first) = (self.buckets[slot(bucket - 1)] * 2, third(2), third(4));
        first > 0 && middle * 2 >= first * 3 && last * 2 >= middle * 3
    }

    /// Adds what `other`, a ring of the same window, has counted.
    pub fn merge(&mut self, other: &Ring) {
        self.roll(other.newest);
        for back in 0..BUCKETS as i64 {
            let bucket = other.newest - back;
            if self.newest - bucket < BUCKETS as i64 {
                self.put(bucket, other.buckets[slot(bucket)]);
            }
        }
    }

    /// Empties the buckets that lie between the newest and `bucket`; nothing when `bucket` is not newer.
    #[inline]
    fn roll(&mut self, bucket: i64) {
        if bucket <= self.newest {
            return;
        }
        if bucket - self.newest >= BUCKETS as i64 {
            self.buckets = [0; BUCKETS];
            self.total = 0;
        } else {
            for passed in self.newest + 1..=bucket {
                self.total -= std::mem::take(&mut self.buckets[slot(passed)]);
            }
        }
        self.newest = bucket;
    }
}

/// Where a bucket lies in the ring: always below [`BUCKETS`], as the remainder of a division that is never negative.
#[inline]
const fn slot(bucket: i64) -> usize {
    bucket.rem_euclid(BUCKETS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = Vec<(u32, u8)>> {
        prop::collection::vec((0u32..400, any::<u8>()), 0..60)
    }

    fn at(second: u32) -> Timestamp {
        Timestamp::from_parts(u64::from(second), 0)
    }

    proptest! {
        #[test]
        fn a_sum_covers_the_window_to_a_bucket(mut events in events()) {
            events.sort_by_key(|&(second, _)| second);
            let mut ring = Ring::default();
            for (position, &(second, amount)) in events.iter().enumerate() {
                let sum = ring.add(Window::Minute, at(second), u64::from(amount));
                let within = |length: u32| -> u64 {
                    events[..=position].iter().filter(|&&(other, _)| other + length > second).map(|&(_, a)| u64::from(a)).sum()
                };
                prop_assert!(within(50) <= sum && sum <= within(60), "{} {} {}", within(50), sum, within(60));
            }
        }

        #[test]
        fn merging_is_counting_together(mut events in events(), split in any::<u64>()) {
            events.sort_by_key(|&(second, _)| second);
            let (mut whole, mut parts) = (Ring::default(), [Ring::default(); 2]);
            for (position, &(second, amount)) in events.iter().enumerate() {
                whole.add(Window::Minute, at(second), u64::from(amount));
                parts[(split >> (position % 64)) as usize & 1].add(Window::Minute, at(second), u64::from(amount));
            }
            let [mut one, mut two] = parts;
            let kept = one;
            one.merge(&two);
            two.merge(&kept);
            prop_assert_eq!(one, whole);
            prop_assert_eq!(two, whole);
        }
    }

    #[test]
    fn what_rises_is_told_from_what_is_there() {
        let counts = |of: [u64; 6]| {
            let mut ring = Ring::default();
            for (bucket, count) in (0..).zip(of) {
                ring.add(Window::Minute, at(1_000 * 60 + 10 * bucket), count);
            }
            ring.rises(Window::Minute, at(1_000 * 60 + 10 * 5))
        };
        assert!(counts([1, 1, 2, 2, 4, 0]));
        assert!(!counts([2, 2, 2, 2, 2, 2]));
        assert!(!counts([0, 0, 0, 0, 9, 9]), "what has just begun has not risen");
    }
}
