//! Bodies that have nothing more to teach: what comes again and again is looked up instead of merged again.

use super::budget::Budget;

/// Any caller.
pub(super) const ANYBODY: u64 = 0;

/// What is at hand while something is learned: from whom, what it may cost, and what is known to teach nothing.
pub(super) struct Learning<'b> {
    /// A keyed hash of the caller.
    pub(super) caller: u64,
    pub(super) budget: &'b mut Budget,
    pub(super) settled: &'b mut Settled,
}

/// Which wordings of bodies teach which schemas nothing any more, from anybody or from one caller. They are kept in pairs, of which the older
/// one gives way: it is merged once more when it comes again.
pub(super) struct Settled {
    pairs: Box<[[u64; 2]]>,
    schemas: u64,
}

impl Settled {
    /// Remembers so many bodies, rounded up to a power of two; at least two.
    pub(super) fn new(bodies: usize) -> Settled {
        Settled { pairs: vec![[0; 2]; bodies.clamp(2, 1 << 30).next_power_of_two() / 2].into(), schemas: 0 }
    }

    /// A number for a schema that has none, never 0. None is given twice: what was known of one that is gone means nothing.
    pub(super) fn number(&mut self) -> u64 {
        self.schemas += 1;
        self.schemas
    }

    /// Whether a wording teaches a schema nothing when it comes from a caller.
    #[inline]
    pub(super) fn has(&self, schema: u64, wording: u64, caller: u64) -> bool {
        let key = key(schema, wording, caller);
        self.pairs.get(self.place(key)).is_some_and(|pair| pair.contains(&key))
    }

    /// It does not.
    pub(super) fn add(&mut self, schema: u64, wording: u64, caller: u64) {
        let key = key(schema, wording, caller);
        let place = self.place(key);
        if let Some(pair) = self.pairs.get_mut(place) {
            *pair = [key, pair[0]];
        }
    }

    /// By the highest bits: they depend on all others.
    #[inline]
    fn place(&self, key: u64) -> usize {
        key.checked_shr(u64::BITS - self.pairs.len().ilog2()).unwrap_or(0) as usize
    }
}

/// Wordings and callers are hashes, and numbers of schemas small: they are told apart as well as 64 bits can.
#[inline]
fn key(schema: u64, wording: u64, caller: u64) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let one = (wording ^ schema.wrapping_mul(MIX)).wrapping_mul(MIX) ^ caller;
    (one ^ one >> 32).wrapping_mul(MIX).max(1) // 0 marks what is free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_so_for_one_schema_and_caller() {
        let mut settled = Settled::new(4096);
        let (one, two) = (settled.number(), settled.number());
        assert!(!settled.has(one, 7, 5));
        settled.add(one, 7, 5);
        assert!(settled.has(one, 7, 5));
        assert!(!settled.has(two, 7, 5) && !settled.has(one, 8, 5) && !settled.has(one, 7, ANYBODY));
        // What has no room any more is not known, and nothing is known that was not said.
        (100..100_000).for_each(|wording| settled.add(two, wording, ANYBODY));
        assert!((100..100_000).filter(|wording| settled.has(two, *wording, ANYBODY)).count() <= 4096);
        assert!((100..100_000).all(|wording| !settled.has(one, wording, ANYBODY)));
    }
}
