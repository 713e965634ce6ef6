//! Cookies that came before: a client sends the same with each request, and what they look like is worked out once.

use std::sync::Arc;

use ahash::RandomState;

use crate::call::NamedShape;

/// Places of a set, what was used last first: of five hundred sessions hardly any five share one.
const WAYS: usize = 4;

/// Bytes of the longest header that is remembered.
const LONGEST: usize = 1024;

/// A header with its hash, and what its cookies look like.
struct Seen {
    hash: u64,
    header: Box<[u8]>,
    shapes: Arc<[NamedShape]>,
}

/// What the cookies of the last requests look like. A worker has its own.
pub(crate) struct Cookies {
    hasher: RandomState,
    /// Sets that there are once the first header comes.
    count: usize,
    sets: Vec<[Option<Seen>; WAYS]>,
}

impl Cookies {
    /// Remembers up to `headers`, rounded up to whole sets; none for none.
    pub(crate) fn new(headers: usize) -> Cookies {
        Cookies { hasher: RandomState::new(), count: headers.div_ceil(WAYS), sets: Vec::new() }
    }

    /// What the cookies of a header look like, as it was made before or as `make` makes it.
    pub(crate) fn shapes(&mut self, header: &[u8], make: impl FnOnce() -> Vec<NamedShape>) -> Arc<[NamedShape]> {
        if header.len() > LONGEST || self.count == 0 {
            return make().into();
        }
        if self.sets.is_empty() {
            self.sets.resize_with(self.count, Default::default);
        }
        let hash = self.hasher.hash_one(header);
        let Some(set) = self.sets.get_mut(hash as usize % self.count) else { return make().into() };
        let same = |seen: &Seen| seen.hash == hash && *seen.header == *header;
        let place = set.iter().position(|seen| seen.as_ref().is_some_and(same));
        let place = place.unwrap_or_else(|| {
            let seen = Seen { hash, header: header.into(), shapes: make().into() };
            set[WAYS - 1] = Some(seen);
            WAYS - 1
        });
        if place > 0 {
            set[..=place].rotate_right(1);
        }
        set[0].as_ref().map(|seen| seen.shapes.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_header_is_looked_at_once_and_each_has_its_own() {
        let (mut cookies, made) = (Cookies::new(4096), Cell::new(0));
        let mut shapes = |header: &[u8]| {
            let found = cookies.shapes(header, || {
                made.set(made.get() + 1);
                vec![NamedShape { name: String::from_utf8_lossy(header).into(), ..NamedShape::default() }]
            });
            assert_eq!(found[0].name.as_bytes(), header);
        };
        (0..300).for_each(|_| shapes(b"sid=4711; theme=dark"));
        assert_eq!(made.get(), 1);
        let long = vec![b'a'; LONGEST + 1];
        (0..2).for_each(|_| shapes(&long));
        assert_eq!(made.get(), 3, "what is too long is not kept");
        (0..20_000).for_each(|number| shapes(number.to_string().as_bytes()));
    }
}
