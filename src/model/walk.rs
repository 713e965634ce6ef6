//! A sequential test: evidence that adds up call by call, whatever the pace.

use serde::{Deserialize, Serialize};

/// A cumulative sum of log-likelihood ratios that restarts at zero (Page 1954), of trials that fail with at most
/// `p0` among honest clients. Both probabilities are fixed before the outcome is looked at and from this client's past only,
/// so that its exponential is an e-detector (Shin, Ramdas, Rinaldo 2022): the mean number of trials to a false alarm
/// at a threshold of h nats is at least e^h, however often one looks. Time does not appear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    nats: f64,
    failures: f64,
    trials: f64,
}

/// Share of trials that fail with who is not known, and with nobody less: what went well so far says that the next will, too, but
/// not that they do not fail together.
pub const ORDINARY: f64 = 0.06 / 2.06;

impl Walk {
    /// One trial that counts `weight` (0 to 1); `ceiling` is the highest failure rate that a client may have for
    /// itself and still be honest. Gives the evidence after it.
    pub fn step(&mut self, failed: bool, weight: f64, ceiling: f64) -> f64 {
        let honest = ((0.06 + self.failures) / (2.06 + self.trials)).max(ORDINARY).min(ceiling);
        let hostile = ((self.failures + 2.1) / (self.trials + 3.0)).clamp((2.5 * ceiling).min(0.9), 0.92);
        self.advance(failed, weight, honest, hostile)
    }

    /// One trial with the two probabilities given.
    pub fn advance(&mut self, failed: bool, weight: f64, honest: f64, hostile: f64) -> f64 {
        // What speaks against suspicion changes nothing where there is none: no logarithm is needed.
        let nothing = !failed && self.nats == 0.0 && honest <= hostile && honest < 1.0;
        if !nothing {
            let ratio = if failed { hostile / honest } else { (1.0 - hostile) / (1.0 - honest) };
            self.nats = (self.nats + weight * ratio.ln()).max(0.0);
        }
        self.trials += weight;
        if failed {
            self.failures += weight;
        }
        self.nats
    }

    /// The evidence in nats, 0 or more.
    pub fn nats(&self) -> f64 {
        self.nats
    }

    /// Weighted failures so far.
    pub fn failures(&self) -> f64 {
        self.failures
    }

    /// Weighted trials so far.
    pub fn trials(&self) -> f64 {
        self.trials
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    #[test]
    fn a_prober_is_found_in_few_calls_and_honest_clients_seldom() {
        let mut walk = Walk::default();
        let calls = (1..).find(|_| walk.step(true, 1.0, 0.12) > 12.0);
        assert!(calls.is_some_and(|calls| calls <= 7), "{calls:?}");

        let mut random = StdRng::seed_from_u64(7);
        let mut alarms = 0;
        for _ in 0..2_000 {
            let mut walk = Walk::default();
            let own = random.random_range(0.0..0.08);
            alarms += u32::from((0..100).any(|_| walk.step(random.random_bool(own), 1.0, 0.12) > 12.0));
        }
        // 200,000 trials at e^12: about one.
        assert!(alarms <= 3, "{alarms} alarms");
    }
}
