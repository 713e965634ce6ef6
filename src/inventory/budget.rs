//! Bytes that the schemas of all endpoints may take together.

/// What is held, and what may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    held: usize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Budget {
        Budget { held: 0, limit }
    }

    /// False when there is no room; nothing is taken then.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let held = self.held.saturating_add(bytes);
        let fits = held <= self.limit;
        if fits {
            self.held = held;
        }
        fits
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// So much is held, be it more than may be.
    pub(super) fn restore(&mut self, held: usize) {
        self.held = held;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }
}
