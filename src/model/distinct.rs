//! How many different values were seen: exact while there are few, a sketch beyond.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Up to this many values are counted exactly.
pub const EXACT_LIMIT: usize = 64;

/// Registers of the sketch, a power of two: a standard error of 1.04 / √256, 6.5 percent.
const REGISTERS: usize = 256;

/// Counts distinct values by their hashes. The hashes must be keyed when the values come from outside: who knows the
/// hash can choose values that all fall into one register.
///
/// HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) with the small-range correction beyond [`EXACT_LIMIT`];
/// 64-bit hashes need no correction for large ranges. Worst case 512 bytes, reached just before the sketch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distinct {
    /// The hashes, ascending.
    Exact(Vec<u64>),
    /// Beyond.
    Sketch(Sketch),
}

/// The registers of a HyperLogLog, with the sums that its estimate needs kept up to date: counting costs no walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// The longest run of zeros, plus one, seen in each register.
    ranks: Vec<u8>,
    /// The sum of 2^-rank over all registers, times 2^[`SCALE`].
    sum: u64,
    /// Registers that have seen nothing.
    empty: u16,
    /// What these come to: asked for far more often than they change.
    estimate: u64,
}

/// Exponent of the fixed-point sums; ranks beyond it (one value in 2^44) count as if they were it.
const SCALE: u8 = 44;

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Exact(Vec::new())
    }
}

impl Distinct {
    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        match self {
            Distinct::Exact(values) => values.capacity() * size_of::<u64>(),
            Distinct::Sketch(sketch) => sketch.ranks.capacity(),
        }
    }

    /// Reads a word of each line of memory in which a value may have its place.
    #[inline]
    pub fn warm(&self) -> u64 {
        /// Bytes of a line.
        const LINE: usize = 64;
        match self {
            Distinct::Exact(hashes) => hashes.iter().step_by(LINE / size_of::<u64>()).fold(0, |sum, hash| sum ^ hash),
            Distinct::Sketch(sketch) => sketch.ranks.iter().step_by(LINE).fold(0, |sum, &rank| sum ^ u64::from(rank)),
        }
    }

    /// Adds a value; true when it is certainly new (exact) or moved the sketch.
    #[inline]
    pub fn insert(&mut self, hash: u64) -> bool {
        match self {
            Distinct::Exact(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return false };
                self.insert_new(place, hash);
                true
            }
            Distinct::Sketch(sketch) => sketch.insert(hash),
        }
    }

    /// Adds a value that is not among those counted exactly, and belongs to `place` there.
    fn insert_new(&mut self, place: usize, hash: u64) {
        let Distinct::Exact(hashes) = self else { return };
        if hashes.len() < EXACT_LIMIT {
            hashes.insert(place, hash);
        } else {
            *self = Distinct::Sketch(Sketch::of(hashes.iter().copied().chain([hash])));
        }
    }

    /// How many there are; an estimate beyond [`EXACT_LIMIT`].
    #[inline]
    pub fn count(&self) -> u64 {
        match self {
            Distinct::Exact(hashes) => hashes.len() as u64,
            Distinct::Sketch(sketch) => sketch.estimate,
        }
    }

    /// Adds all that `other` has seen.
    pub fn merge(&mut self, other: &Distinct) {
        match other {
            Distinct::Exact(hashes) => hashes.iter().for_each(|&hash| {
                self.insert(hash);
            }),
            Distinct::Sketch(theirs) => {
                if let Distinct::Exact(hashes) = self {
                    *self = Distinct::Sketch(Sketch::of(hashes.iter().copied()));
                }
                if let Distinct::Sketch(mine) = self {
                    for (register, &rank) in theirs.ranks.iter().enumerate() {
                        mine.raise(register, rank);
                    }
                }
            }
        }
    }
}

impl Sketch {
    fn of(hashes: impl Iterator<Item = u64>) -> Sketch {
        let (empty, sum) = (REGISTERS as u16, (REGISTERS as u64) << SCALE);
        let mut sketch = Sketch { ranks: vec![0; REGISTERS], sum, empty, estimate: 0 };
        for hash in hashes {
            sketch.insert(hash);
        }
        sketch
    }

    /// The lowest byte chooses the register, the highest bits make the rank.
    #[inline]
    fn insert(&mut self, hash: u64) -> bool {
        self.raise(hash as usize % REGISTERS, (hash | 1).leading_zeros() as u8 + 1)
    }

    #[inline]
    fn raise(&mut self, register: usize, rank: u8) -> bool {
        // `get`, as a restored state may lie.
        let raised = self.ranks.get(register).is_some_and(|known| *known < rank);
        if raised {
            self.set(register, rank);
        }
        raised
    }

    fn set(&mut self, register: usize, rank: u8) {
        let term = |rank: u8| 1u64 << (SCALE - rank.min(SCALE));
        // Saturation for the same reason.
        if let Some(known) = self.ranks.get_mut(register) {
            self.sum = self.sum.saturating_sub(term(*known)).saturating_add(term(rank));
            self.empty = self.empty.saturating_sub(u16::from(*known == 0));
            *known = rank;
            self.reckon();
        }
    }

    fn reckon(&mut self) {
        let size = REGISTERS as f64;
        let sum = self.sum.max(1) as f64 / (1u64 << SCALE) as f64;
        let raw = 0.7213 / (1.0 + 1.079 / size) * size * size / sum;
        let few = raw <= 2.5 * size && self.empty > 0;
        let estimate = if few { counted(self.empty) } else { raw };
        // The sketch begins with one value more than the exact set can hold.
        self.estimate = (estimate.round() as u64).max(EXACT_LIMIT as u64 + 1);
    }
}

/// How many values leave so many registers empty (linear counting).
fn counted(empty: u16) -> f64 {
    static COUNTS: LazyLock<[f64; REGISTERS + 1]> = LazyLock::new(|| std::array::from_fn(|empty| linear(empty as f64)));
    COUNTS.get(usize::from(empty)).copied().unwrap_or_else(|| linear(f64::from(empty)))
}

fn linear(empty: f64) -> f64 {
    let size = REGISTERS as f64;
    size * (size / empty).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(value: u64) -> u64 {
        use std::hash::Hasher;
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write_u64(value);
        hasher.finish()
    }

    proptest! {
        #[test]
        fn exact_to_the_limit_and_near_beyond(count in 0u64..5_000, offset in any::<u32>()) {
            let mut distinct = Distinct::default();
            for value in 0..count {
                distinct.insert(hash(u64::from(offset) + value));
                distinct.insert(hash(u64::from(offset) + value));
            }
            let found = distinct.count();
            if count <= EXACT_LIMIT as u64 {
                prop_assert_eq!(found, count);
            } else {
                let error = found as f64 / count as f64 - 1.0;
                prop_assert!(error.abs() < 0.35, "{} for {}", found, count);
            }
        }

        #[test]
        fn merging_is_seeing_all(one in prop::collection::vec(0u64..300, 0..200), two in prop::collection::vec(0u64..300, 0..200)) {
            let of = |values: &mut dyn Iterator<Item = &u64>| {
                let mut distinct = Distinct::default();
                values.for_each(|&value| { distinct.insert(hash(value)); });
                distinct
            };
            let whole = of(&mut one.iter().chain(&two));
            let (mut left, mut right) = (of(&mut one.iter()), of(&mut two.iter()));
            let kept = left.clone();
            left.merge(&right);
            right.merge(&kept);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&right, &whole);
        }
    }
}
