//! Mean and variance over clients.

use serde::{Deserialize, Serialize};

/// First and second moments over clients. Each client holds one place, whose value it may replace: influence is per
/// client, not per call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    /// A prior belief: as if `weight` clients of this mean and variance had been seen.
    pub fn prior(weight: f64, mean: f64, variance: f64) -> Moments {
        Moments { count: weight, sum: weight * mean, squares: weight * (variance + mean * mean) }
    }

    /// A client takes its place with `value`.
    pub fn enter(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    /// A client that is there goes from `old` to `new`.
    pub fn replace(&mut self, old: f64, new: f64) {
        self.sum += new - old;
        self.squares += new * new - old * old;
    }

    /// The population without a client that holds `value`.
    pub fn without(&self, value: f64) -> Moments {
        Moments { count: self.count - 1.0, sum: self.sum - value, squares: self.squares - value * value }
    }

    /// Adds another population.
    pub fn merge(&mut self, other: &Moments) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// How many clients there are.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// The mean; 0 of nobody.
    pub fn mean(&self) -> f64 {
        if self.count > 0.0 { self.sum / self.count } else { 0.0 }
    }

    /// The variance, never negative; 0 of nobody.
    pub fn variance(&self) -> f64 {
        if self.count > 0.0 { (self.squares / self.count - self.mean() * self.mean()).max(0.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn replacing_and_merging_agree_with_the_values(values in prop::collection::vec((0.0f64..100.0, 0.0f64..100.0), 1..50), split in 0usize..50) {
            let mut parts = [Moments::default(); 2];
            for (position, &(old, new)) in values.iter().enumerate() {
                let part = &mut parts[usize::from(position < split)];
                part.enter(old);
                part.replace(old, new);
            }
            let [mut whole, other] = parts;
            whole.merge(&other);
            let count = values.len() as f64;
            let mean = values.iter().map(|value| value.1).sum::<f64>() / count;
            let variance = values.iter().map(|value| (value.1 - mean).powi(2)).sum::<f64>() / count;
            prop_assert_eq!(whole.count(), count);
            prop_assert!((whole.mean() - mean).abs() < 1e-9);
            prop_assert!((whole.variance() - variance).abs() < 1e-6);
        }
    }
}
