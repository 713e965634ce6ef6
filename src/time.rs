//! The traffic's time: every moment in apitap is one at which a packet was captured.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A capture time: nanoseconds since 1970-01-01T00:00:00Z, from 1970 to the year 2262.
///
/// Printed and parsed as RFC 3339 in UTC with nine digits of a second, so that text sorts as time does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The beginning of time; before every captured packet.
    pub const ZERO: Timestamp = Timestamp(0);

    /// The latest moment that can be expressed.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From nanoseconds since the epoch; negative values become [`Timestamp::ZERO`].
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(if nanos < 0 { 0 } else { nanos })
    }

    /// From whole seconds and a fraction in nanoseconds; saturates at [`Timestamp::MAX`].
    pub const fn from_parts(seconds: u64, nanos: u64) -> Self {
        let seconds = if seconds > i64::MAX as u64 { i64::MAX } else { seconds as i64 };
        let nanos = if nanos > i64::MAX as u64 { i64::MAX } else { nanos as i64 };
        Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, fraction included; for display and statistics, not for ordering.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time passed since `earlier`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// The first multiple of `step` at or after this moment.
    pub fn round_up(self, step: Duration) -> Timestamp {
        let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
        match self.0 % step {
            0 => self,
            rest => Timestamp(self.0.saturating_add(step - rest)),
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, duration: Duration) -> Timestamp {
        Timestamp::from_nanos(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The traffic's clock: the latest time of the packets so far, never going back.
///
/// One packet from far in the future (a damaged capture, a corrupt header) must not time everything out: a jump of
/// more than [`Clock::JUMP`] is believed when the next packet confirms it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    now: Timestamp,
    claimed: Option<Timestamp>,
}

impl Clock {
    /// Largest step that a single packet can make.
    pub const JUMP: Duration = Duration::from_secs(60);

    /// The time now.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Takes the time of the next packet and gives the time now.
    #[inline]
    pub fn observe(&mut self, time: Timestamp) -> Timestamp {
        if time <= self.now + Clock::JUMP || self.now == Timestamp::ZERO {
            self.now = self.now.max(time);
            self.claimed = None;
        } else {
            match self.claimed {
                Some(claimed) if time + Clock::JUMP >= claimed => {
                    self.now = time.min(claimed);
                    self.claimed = None;
                    return self.observe(time);
                }
                _ => self.claimed = Some(time),
            }
        }
        self.now
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(moment) => write!(f, "{moment:.9}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000000000Z"),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = String;

    /// Any RFC 3339 moment, or seconds since the epoch with an optional fraction.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            let nanos = i64::try_from(moment.as_nanosecond()).map_err(|_| format!("{text}: after the year 2262"))?;
            return Ok(Timestamp::from_nanos(nanos));
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(format!("{text}: neither an RFC 3339 time nor seconds since 1970"));
        }
        let seconds: u64 = whole.parse().map_err(|_| format!("{text}: out of range"))?;
        let nanos: u64 = format!("{fraction:0<9.9}").parse().unwrap_or(0);
        Ok(Timestamp::from_parts(seconds, nanos))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses() {
        let moment = Timestamp::from_parts(1_772_460_000, 360_700_000);
        assert_eq!(moment.to_string(), "2026-03-02T14:00:00.360700000Z");
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert_eq!("1772460000.3607".parse(), Ok(moment));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn one_packet_from_the_future_moves_no_clock() {
        let at = |seconds| Timestamp::from_parts(seconds, 0);
        let mut clock = Clock::default();
        assert_eq!(clock.observe(at(100)), at(100));
        assert_eq!(clock.observe(at(99)), at(100));
        assert_eq!(clock.observe(at(9_000_000)), at(100));
        assert_eq!(clock.observe(at(101)), at(101));
        assert_eq!(clock.observe(at(5_000)), at(101)); // a pause in the traffic,
        assert_eq!(clock.observe(at(5_001)), at(5_001)); // confirmed
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::from_nanos(5).round_up(Duration::from_nanos(4)), Timestamp::from_nanos(8));
        assert_eq!(Timestamp::from_nanos(8).round_up(Duration::from_nanos(4)), Timestamp::from_nanos(8));
    }
}
