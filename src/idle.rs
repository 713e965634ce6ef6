//! What is done with and waits to be used again, and no more of it than was needed lately: a burst that made much of it
//! is not kept in memory for ever.

/// Takes between two looks at how much is needed.
const TURN: u32 = 1 << 14;

/// A stack of what may be used again. Of what lay at its bottom all through a turn half is freed.
pub(crate) struct Idle<T> {
    held: Vec<T>,
    /// The fewest that were held since the turn began.
    fewest: usize,
    taken: u32,
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Idle { held: Vec::new(), fewest: 0, taken: 0 }
    }
}

impl<T> Idle<T> {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// One to be used again, if there is any.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        let one = self.held.pop();
        self.fewest = self.fewest.min(self.held.len());
        self.taken += 1;
        if self.taken >= TURN {
            self.turn();
        }
        one
    }

    #[inline]
    pub(crate) fn put(&mut self, one: T) {
        self.held.push(one);
    }

    pub(crate) fn extend(&mut self, more: impl Iterator<Item = T>) {
        self.held.extend(more);
    }

    /// Adds some, and from now on gives those with the smallest key first and frees those with the largest: when the key
    /// is the order in which they were made, a burst's own are freed and those before it stay, so that the allocator has
    /// whole pages to give back.
    pub(crate) fn extend_in_order<K: Ord>(&mut self, more: impl Iterator<Item = T>, key: impl Fn(&T) -> K) {
        let before = self.held.len();
        self.held.extend(more);
        if self.held.len() > before {
            self.held.sort_by_key(|one| std::cmp::Reverse(key(one))); // nearly in order already
        }
    }

    #[cold]
    fn turn(&mut self) {
        self.held.drain(..self.fewest.div_ceil(2));
        (self.fewest, self.taken) = (self.held.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_for_long_is_freed() {
        let mut idle = Idle::default();
        idle.extend(0..4_000);
        let use_some = |idle: &mut Idle<i32>| {
            for _ in 0..TURN / 50 {
                let taken: Vec<_> = (0..100).filter_map(|_| idle.take()).collect();
                assert_eq!(taken.len(), 100, "what is needed is there");
                taken.into_iter().for_each(|one| idle.put(one));
            }
        };
        (0..20).for_each(|_| use_some(&mut idle));
        assert!((100..110).contains(&idle.len()), "{}", idle.len());
    }

    #[test]
    fn what_a_burst_made_is_freed_and_not_what_was_there_before() {
        let mut idle = Idle::default();
        // They come back in the order in which others are done with them.
        idle.extend_in_order((0..1_000).map(|number| number * 7 % 1_000), |&number| number);
        for _ in 0..20 * TURN {
            let taken = [idle.take(), idle.take()];
            assert_eq!(taken, [Some(0), Some(1)]);
            idle.extend_in_order(taken.into_iter().flatten(), |&number| number);
        }
        let mut left = idle.held.clone();
        left.reverse();
        assert!(left.len() < 10, "{left:?}");
        assert!(left.iter().copied().eq(0..left.len() as i32), "{left:?}");
    }
}
