//! How long to wait before what failed is tried again.

use std::time::Duration;

/// Doubles from a least to a most, with equal jitter: half of it is certain, half is drawn, so that many sensors do not
/// come back to a recovering receiver at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    asked_most: Duration,
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration, asked_most: Duration) -> Backoff {
        Backoff { least, most: most.max(least), asked_most, attempts: 0 }
    }

    /// It went well.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The time until the next attempt; at least what the receiver asked for, within reason.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        self.draw(asked, random())
    }

    /// `drawn` is even among all numbers.
    fn draw(&mut self, asked: Option<Duration>, drawn: u64) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.attempts = (self.attempts + 1).min(31);
        let whole = self.least.saturating_mul(factor).min(self.most);
        let share = drawn as f64 / u64::MAX as f64;
        let wait = whole.mul_f64(0.5 + share / 2.0);
        asked.map_or(wait, |asked| asked.min(self.asked_most).max(wait))
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX, // a system without randomness waits the whole time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_bound_and_heeds_the_receiver() {
        let second = Duration::from_secs;
        let mut backoff = Backoff::new(second(1), second(10), second(100));
        let waits: Vec<_> = (0..6).map(|_| backoff.draw(None, u64::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.draw(None, 0), second(5), "half of it is certain");
        assert_eq!(backoff.draw(Some(second(30)), 0), second(30));
        assert_eq!(backoff.draw(Some(second(3_000)), 0), second(100));
        backoff.reset();
        assert_eq!(backoff.draw(None, u64::MAX), second(1));
        for _ in 0..100 {
            assert!(backoff.next(None) <= second(10));
        }
    }
}
