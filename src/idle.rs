//! What is done with and waits to be used again, and no more of it than was needed lately: a burst that made much of it
//! is not kept in memory for ever.

/// Takes between two looks at how much is needed.
const TURN: u32 = 1 << 14;

/// A stack of what may be used again. Of what lay at its bottom all through a turn half is freed, the last in memory first:
/// what a burst made lies behind what was there before it, and an allocator gives back pages that are free as a whole.
pub(crate) struct Idle<T> {
    held: Vec<T>,
    /// Where one lies in memory, or anything that is larger for what was made later.
    place: fn(&T) -> usize,
    /// So many are kept whether they are needed or not.
    kept: usize,
    /// The fewest that were held since the turn began.
    fewest: usize,
    taken: u32,
}

impl<T> Idle<Box<T>> {
    /// A stack of objects of their own.
    pub(crate) fn of_boxes() -> Idle<Box<T>> {
        Idle::by_place(|one| std::ptr::from_ref::<T>(one).addr())
    }
}

impl<T> Idle<T> {
    pub(crate) fn by_place(place: fn(&T) -> usize) -> Idle<T> {
        Idle { held: Vec::new(), place, kept: 0, fewest: 0, taken: 0 }
    }

    /// Adds one that is kept whether it is needed or not.
    pub(crate) fn keep(&mut self, one: T) {
        self.held.push(one);
        self.kept += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// One to be used again, if there is any.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        self.taken += 1;
        if self.taken >= TURN {
            self.turn();
        }
        let one = self.held.pop();
        self.fewest = self.fewest.min(self.held.len());
        one
    }

    #[inline]
    pub(crate) fn put(&mut self, one: T) {
        self.held.push(one);
    }

    pub(crate) fn extend(&mut self, more: impl Iterator<Item = T>) {
        self.held.extend(more);
    }

    #[cold]
    fn turn(&mut self) {
        self.held.sort_unstable_by_key(|one| std::cmp::Reverse((self.place)(one)));
        let most = self.held.len().saturating_sub(self.kept);
        self.held.drain(..self.fewest.div_ceil(2).min(most));
        (self.fewest, self.taken) = (self.held.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_for_long_is_freed() {
        let mut idle = Idle::by_place(|&place| place);
        idle.extend(0..4_000);
        let use_some = |idle: &mut Idle<usize>| {
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
        let mut idle = Idle::by_place(|&place| place);
        // They come back in the order in which others are done with them.
        idle.extend((0..1_000).map(|number| number * 7 % 1_000));
        for _ in 0..20 * TURN {
            let taken = [idle.take(), idle.take(), idle.take()];
            idle.extend(taken.into_iter().flatten());
        }
        let mut left = idle.held.clone();
        left.sort_unstable();
        assert!(left.len() < 10, "{left:?}");
        assert!(left.iter().copied().eq(0..left.len()), "{left:?}");
    }

    #[test]
    fn what_is_kept_stays_though_it_is_not_needed() {
        let mut idle = Idle::by_place(|&place| place);
        (0..40).for_each(|place| idle.keep(place));
        idle.extend(40..1_000);
        for _ in 0..20 * TURN {
            let taken = idle.take();
            idle.extend(taken.into_iter());
        }
        assert!((40..50).contains(&idle.len()), "{}", idle.len());
    }
}
