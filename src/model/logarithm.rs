//! Logarithms that are asked for more often than they change.

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

/// Counts whose logarithms are at hand.
const COUNTS: usize = 1024;

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
        let mut logarithm = Logarithm::default();
        for number in [0.0, 1.5, 1.5, 0.0, 1e9, f64::INFINITY] {
            assert_eq!(logarithm.ln_1p(number), number.ln_1p());
        }
        for count in [0, 1, 1023, 1024, u64::MAX] {
            assert_eq!(ln_1p(count), (count as f64).ln_1p());
        }
    }
}
