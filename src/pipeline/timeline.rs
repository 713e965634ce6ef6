//! The traffic's time where the clock that stamps packets is set.
//!
//! The traffic's time never goes back, and all that waits for time to pass waits for it. When a clock is set back by an hour, the
//! packets that follow would all be late, and nothing would pass for an hour. So times are told as if the clock had run on: what
//! comes then is told that much later. A clock that is set forward looks like a pause in the traffic, and is taken for one
//! ([`Clock`]).
//!
//! A packet that is late alone, or the packets of a second clock that runs behind the first, must not move time for the others.
//! So each difference to the packets' own times is remembered for a while, and a packet is taken to be of the clock by which it comes
//! next to the present: two clocks that differ give one time, and a clock that is set right again is found to be the old one.

use std::time::Duration;

use crate::stats::{Counter, Counters};
use crate::time::{Clock, Timestamp};

/// Packets that come so much behind the others are of a clock that was set back. Taps and mirrors are not as late.
const LATE: Duration = Duration::from_secs(10);

/// A step forward of so much is counted: a long pause, or a clock that was set.
const FAR: Duration = Duration::from_secs(3_600);

/// Differences that are remembered at a time.
const MOST: usize = 4;

/// Time after which a difference is forgotten that no packet had.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// How much later than they are stamped packets are told.
#[derive(Clone, Copy, Debug, Default)]
struct Difference {
    by: Duration,
    used: Timestamp,
}

/// Gives the packets of one source their times.
#[derive(Debug)]
pub(super) struct Timeline {
    clock: Clock,
    differences: Vec<Difference>,
    /// That of the last packet.
    current: usize,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { clock: Clock::default(), differences: vec![Difference::default()], current: 0 }
    }
}

impl Timeline {
    /// The time now.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes a time by the packets' clock; gives it as it is to be told, and moves the time on.
    #[inline]
    pub(super) fn place(&mut self, time: Timestamp, counters: &mut Counters) -> Timestamp {
        let now = self.clock.now();
        if let [only] = self.differences.as_slice()
            && only.by.is_zero()
            && time + LATE >= now
            && time <= now + Clock::JUMP
        {
            self.clock.observe(time);
            return time;
        }
        self.find(time, now, counters)
    }

    /// The same where it is not plain: behind a pause, and once a clock was set.
    fn find(&mut self, time: Timestamp, now: Timestamp, counters: &mut Counters) -> Timestamp {
        let told = |difference: &Difference| time + difference.by;
        let distance = |difference: &Difference| {
            let told = told(difference);
            told.since(now).max(now.since(told))
        };
        let near = |difference: &Difference| told(difference) + LATE >= now && told(difference) <= now + Clock::JUMP;
        let all = || (0..).zip(&self.differences);
        // Of several that do, that of the last packet.
        let nearest =
            all().filter(|(_, it)| near(it)).min_by_key(|&(place, it)| (distance(it), place != self.current, place));
        // Behind a pause nothing is near: the least step is taken.
        let ahead = || all().filter(|(_, it)| told(it) > now).min_by_key(|&(place, it)| (told(it), place));
        let Some((place, _)) = nearest.or_else(ahead) else { return self.set_back(time, now, counters) };
        self.current = place;
        let time = match self.differences.get_mut(place) {
            Some(difference) => {
                difference.used = now;
                time + difference.by
            }
            None => time,
        };
        if self.clock.observe(time).since(now) > FAR && now > Timestamp::ZERO {
            counters.count(Counter::ClockJumpsForward);
        }
        if self.differences.len() > 1 {
            self.forget();
        }
        time
    }

    /// A packet that is late by all clocks: its clock was set back.
    fn set_back(&mut self, time: Timestamp, now: Timestamp, counters: &mut Counters) -> Timestamp {
        counters.count(Counter::ClockJumpsBack);
        if let Some(before) = self.differences.get_mut(self.current) {
            before.used = now; // alone, it does not say so of each packet
        }
        if self.differences.len() >= MOST
            && let Some((oldest, _)) = (0..).zip(&self.differences).min_by_key(|(_, difference)| difference.used)
        {
            self.differences.remove(oldest);
        }
        self.differences.push(Difference { by: now.since(time), used: now });
        self.current = self.differences.len() - 1;
        now
    }

    /// Forgets differences that no packet had for long.
    fn forget(&mut self) {
        let (now, current) = (self.clock.now(), self.current);
        let kept = |place: usize, difference: &Difference| place == current || now.since(difference.used) < FORGOTTEN;
        let mut place = 0..;
        let before = self.differences.iter().take(current).zip(0..).filter(|&(it, at)| kept(at, it)).count();
        self.differences.retain(|difference| place.next().is_some_and(|place| kept(place, difference)));
        self.current = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u64 = 1_772_460_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(BEGIN.saturating_add_signed(seconds), 0)
    }

    /// The times told of these, in seconds, with how often the clock was set back and went forward.
    fn told(stamped: &[i64]) -> (Vec<i64>, u64, u64) {
        let (mut timeline, mut counters) = (Timeline::default(), Counters::new());
        let mut last = Timestamp::ZERO;
        let told = stamped.iter().map(|&seconds| {
            let time = timeline.place(at(seconds), &mut counters);
            assert!(timeline.now() >= last, "time goes on");
            last = timeline.now();
            time.seconds() as i64 - BEGIN as i64
        });
        let told = told.collect();
        (told, counters.value(Counter::ClockJumpsBack), counters.value(Counter::ClockJumpsForward))
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on() {
        assert_eq!(told(&[0, 1, 2, -7_198, -7_197, -7_190, -7_000]), (vec![0, 1, 2, 2, 3, 10, 200], 1, 0));
        // And is set right again.
        assert_eq!(told(&[0, 1, -3_600, -3_599, 4, 5]), (vec![0, 1, 1, 2, 4, 5], 1, 0));
        // And is set back once more.
        assert_eq!(told(&[0, -3_600, -3_590, -9_000, -8_999]), (vec![0, 0, 10, 10, 11], 2, 0));
    }

    #[test]
    fn what_is_late_alone_moves_no_time() {
        assert_eq!(told(&[0, 20, 12, 21, 5, 22, -9_000, 23]), (vec![0, 20, 12, 21, 21, 22, 22, 23], 2, 0));
        let (times, back, _) = told(&(0..900).flat_map(|second| [second, second - 5_000]).collect::<Vec<_>>());
        assert_eq!((times[1_798..].to_vec(), back), (vec![899, 899], 1), "two clocks, one time");
    }

    #[test]
    fn a_clock_that_is_set_forward_is_a_pause() {
        assert_eq!(told(&[0, 1, 7_200, 7_201, 7_202]), (vec![0, 1, 7_200, 7_201, 7_202], 0, 1));
        assert_eq!(told(&[0, 1, 7_200, 2, 3]), (vec![0, 1, 7_200, 2, 3], 0, 0), "one packet is none");
    }

    #[test]
    fn differences_are_forgotten() {
        let late: Vec<i64> = (1..100).flat_map(|step| [step * 100, step * 100 - 5_000 * step]).collect();
        let (mut timeline, mut counters) = (Timeline::default(), Counters::new());
        for &seconds in &late {
            timeline.place(at(seconds), &mut counters);
            assert!(timeline.differences.len() <= MOST && timeline.current < timeline.differences.len());
        }
        for seconds in 9_901..11_000 {
            assert_eq!(timeline.place(at(seconds), &mut counters), at(seconds));
        }
        assert_eq!(timeline.differences.len(), 1);
    }
}
