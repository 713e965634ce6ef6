//! Logarithms and exponentials that are asked for more often than they change.

use std::sync::LazyLock;

/// The logarithm of one plus the last number that it was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logarithm {
    of: f64,
    // The default is right: ln(1 + 0) = 0.
    logarithm: f64,
}

impl Logarithm {
    /// ln(1 + `number`).
    #[inline]
    pub fn ln_1p(&mut self, number: f64) -> f64 {
        if self.of != number {
            *self = Logarithm { of: number, logarithm: number.ln_1p() };
        }
        self.logarithm
    }
}

/// One less than the exponential of the last number that it was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exponential {
    of: f64,
    // The default is right: e^0 - 1 = 0.
    exponential: f64,
}

impl Exponential {
    /// e^`number` - 1.
    #[inline]
    pub fn exp_m1(&mut self, number: f64) -> f64 {
        if self.of != number {
            *self = Exponential { of: number, exponential: number.exp_m1() };
        }
        self.exponential
    }
}

/// Counts whose logarithms are at hand.
const COUNTS: usize = 4096;

/// ln(1 + `count`).
#[inline]
pub fn ln_1p(count: u64) -> f64 {
    static LOGARITHMS: LazyLock<[f64; COUNTS]> = LazyLock::new(|| std::array::from_fn(|count| (count as f64).ln_1p()));
    LOGARITHMS.get(count as usize).copied().unwrap_or_else(|| (count as f64).ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_would_be_worked_out() {
        let (mut logarithm, mut exponential) = (Logarithm::default(), Exponential::default());
        for number in [0.0, 1.5, 1.5, 0.0, 1e9, f64::INFINITY] {
            assert_eq!(logarithm.ln_1p(number), number.ln_1p());
            assert_eq!(exponential.exp_m1(number), number.exp_m1());
        }
        for count in [0, 1, 4095, 4096, u64::MAX] {
            assert_eq!(ln_1p(count), (count as f64).ln_1p());
        }
    }
}
