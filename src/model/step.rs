//! When a value that grows has to be tested again.

use serde::{Deserialize, Serialize};

/// Remembers the value that was tested last, so that a test is made again only once the value has grown by a
/// sixteenth. A busy client makes thousands of calls between two counts that differ in what they prove, and the
/// tails are dear. The delay is at most a sixteenth of the count; counts below 16 are all tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step(u64);

impl Step {
    /// True when `value` is to be tested; it is then remembered. A value that has fallen by as much starts anew.
    #[inline]
    pub fn due(&mut self, value: u64) -> bool {
        let tested = self.0;
        let grown = value > tested.saturating_add(tested / 16);
        if grown || value < tested - tested / 16 {
            self.0 = value;
        }
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_made_a_sixteenth_apart() {
        let mut step = Step::default();
        let due: Vec<u64> = (1..=40).filter(|&value| step.due(value)).collect();
        assert_eq!(
            due,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32, 35, 38]
        );
        assert!(!step.due(39));
        assert!(!step.due(20), "a lower value proves less");
        assert!(step.due(22), "and is where it starts from then");
    }
}
