//! How improbable a value that high is, in nats: minus the natural logarithm of the upper tail's probability.

use statrs::distribution::{ContinuousCDF, DiscreteCDF, NegativeBinomial, Normal, Poisson};

/// The largest answer: beyond it doubles have no probability left to take a logarithm of.
pub const CAP: f64 = 700.0;

/// A count of at least `count`, when the rate differs among clients as a gamma distribution with this mean and the
/// counts' variance is `variance`: the negative binomial (Greenwood and Yule 1920). A variance not above the mean
/// is that of one common rate, and gives the Poisson tail.
pub fn count(count: u64, mean: f64, variance: f64) -> f64 {
    if count == 0 || mean.is_nan() || mean <= 0.0 || variance.is_nan() {
        return 0.0;
    }
    if variance <= mean * 1.001 {
        return Poisson::new(mean).map_or(0.0, |poisson| nats(poisson.sf(count - 1)));
    }
    // mean = r (1 - p) / p and variance = mean / p, in the meaning that statrs gives to r and p.
    let (shape, success) = (mean * mean / (variance - mean), mean / variance);
    NegativeBinomial::new(shape, success).map_or(0.0, |tail| nats(tail.sf(count - 1)))
}

/// A value of at least `value` under a normal distribution; for volumes, of their logarithms.
pub fn normal(value: f64, mean: f64, deviation: f64) -> f64 {
    if !(value.is_finite() && value > mean) {
        return 0.0;
    }
    Normal::new(mean, deviation).map_or(0.0, |normal| nats(normal.sf(value)))
}

/// Whether [`normal`] may come to `nats` or more: what lies within two deviations has a probability above 2 percent, and
/// less than four nats. Saves the tail where it is of no account.
#[inline]
pub fn may_reach(nats: f64, value: f64, mean: f64, deviation: f64) -> bool {
    nats < 4.0 || value > mean + 2.0 * deviation
}

fn nats(probability: f64) -> f64 {
    if probability > 0.0 { (-probability.ln()).clamp(0.0, CAP) } else { CAP }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tails() {
        // Poisson(1): P(X >= 1) = 1 - e^-1.
        assert!((count(1, 1.0, 1.0) + (1.0 - (-1.0f64).exp()).ln()).abs() < 1e-9);
        // r = 1 is the geometric distribution: P(X >= k) = (1 - p)^k, here with mean 9 and p = 0.1.
        assert!((count(50, 9.0, 90.0) + 50.0 * 0.9f64.ln()).abs() < 1e-6);
        assert!((normal(1.0, 0.0, 1.0) - 1.841).abs() < 1e-3);
    }

    #[test]
    fn far_tails_are_capped_and_nonsense_is_no_evidence() {
        assert_eq!(count(1_000_000, 1.0, 1.0), CAP);
        assert_eq!(normal(1e9, 0.0, 1.0), CAP);
        for wrong in [f64::NAN, -1.0, 0.0] {
            assert_eq!(count(5, wrong, 1.0), 0.0);
            assert_eq!(normal(wrong, 1.0, 1.0), 0.0);
        }
        assert_eq!(normal(5.0, 1.0, 0.0), 0.0);
    }

    #[test]
    fn what_may_not_reach_does_not() {
        for step in 0..100 {
            let value = f64::from(step) * 0.05;
            assert!(may_reach(4.0, value, 1.0, 0.7) || normal(value, 1.0, 0.7) < 4.0, "{value}");
        }
    }

    #[test]
    fn higher_is_never_likelier() {
        let tails: Vec<f64> = (0..2_000).map(|value| count(value, 12.0, 150.0)).collect();
        assert!(tails.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
    }
}
