//! What was inspected is not inspected again: pieces of bodies that came before, with what came of them.
//!
//! Clients poll, pages are popular, catalogues change once a day: much of what an API says it has said before. A piece
//! of a body (what one segment carried of it) is compared byte by byte with one that stood at the same place behind the
//! same pieces; where they are equal, decoding and inspection would come to the same, and are left out. The result is the
//! same to the byte in any case, whatever is remembered: a body that parts ways with what is known is done from its
//! beginning, out of the pieces that it was found equal to.
//!
//! Only what is seen for the second time is kept, as in TinyLFU's doorkeeper (Einziger, Friedman, Manes 2017), so that
//! traffic that never repeats pays for a look and no copy. Places come in sets of [`WAYS`], found by a keyed hash of
//! samples of the piece; who chooses bodies that share a set makes them be inspected, no more. In sets of two, a tenth of
//! the pieces of a table half full had to share a set with two others, and a body lacks its findings when it lacks a piece.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use ahash::RandomState;

use super::content::Totals;
use crate::inspect::Findings;

/// Shorter bodies are inspected sooner than looked up. A short piece of a longer one is looked up as any other: without it
/// all of the body would be inspected.
const SHORTEST: usize = 96;

/// Pieces of one body that are remembered, from its beginning.
const DEEPEST: u16 = 64;

/// Bytes of memory for each place.
const A_PLACE: usize = 1024;

/// Places of a set.
const WAYS: usize = 8;

/// Tags of what was seen once, for each place.
const TAGS: usize = 2;

/// Part of the memory that one piece may have.
const LARGEST_PART: usize = 32;

/// Words of a piece that its hash is made of, beside the first two and the last two.
const SAMPLES: usize = 8;

/// Pieces of bodies, with what came of them. A worker has its own.
pub(crate) struct Recall {
    /// A power of two of them, or none.
    sets: Box<[Set]>,
    /// Tags of what was seen once.
    seen_once: Box<[u32]>,
    hasher: RandomState,
    budget: Rc<Budget>,
}

/// Places for pieces whose hashes begin alike. What gives way is found as a clock finds it (Corbató 1968): the hand
/// passes over places that were used since it passed last.
#[derive(Clone, Default)]
struct Set {
    /// Parts of the hashes of the pieces, so that no piece is looked at in vain.
    tags: [u32; WAYS],
    pieces: [Option<Rc<Piece>>; WAYS],
    /// A bit for each place that was used.
    used: u8,
    hand: u8,
}

impl Set {
    #[inline]
    fn find(&mut self, tag: u32, same: impl Fn(&Piece) -> bool) -> Option<Rc<Piece>> {
        for (place, known) in self.tags.iter().enumerate() {
            if *known == tag
                && let Some(Some(piece)) = self.pieces.get(place)
                && same(piece)
            {
                self.used |= 1 << place;
                return Some(piece.clone());
            }
        }
        None
    }

    /// Empties a place, and gives it: one that is empty if there is one and `any` is not asked for.
    fn make_room(&mut self, any: bool) -> usize {
        if !any && let Some(place) = self.pieces.iter().position(Option::is_none) {
            return place;
        }
        loop {
            let place = usize::from(self.hand) % WAYS;
            self.hand = self.hand.wrapping_add(1);
            if self.used & 1 << place == 0 {
                self.pieces[place] = None;
                return place;
            }
            self.used &= !(1 << place);
        }
    }

    fn put(&mut self, place: usize, tag: u32, piece: Rc<Piece>) {
        (self.tags[place], self.pieces[place]) = (tag, Some(piece));
        self.used |= 1 << place;
    }
}

/// Bytes of all pieces that are kept and of those that conversations still stand at, findings included.
struct Budget {
    held: Cell<usize>,
    limit: usize,
}

impl Budget {
    /// False when there is no room.
    fn take(&self, bytes: usize) -> bool {
        let held = self.held.get() + bytes;
        let fits = held <= self.limit;
        if fits {
            self.held.set(held);
        }
        fits
    }
}

/// A piece of a body that was seen before.
pub(crate) struct Piece {
    before: Before,
    bytes: Box<[u8]>,
    last: bool,
    hash: u64,
    depth: u16,
    /// What the body came to with it.
    totals: Totals,
    /// What was found in the body, when it ended here.
    findings: OnceCell<Findings>,
    budget: Rc<Budget>,
}

/// What a piece stands behind.
#[derive(Clone)]
pub(crate) enum Before {
    /// Nothing: the body's beginning. The number tells apart what is done differently from the beginning on.
    Nothing(u8),
    /// The piece before it.
    Piece(Rc<Piece>),
    /// A piece that is not kept: its hash and depth, so that what comes behind it is known to have been seen once.
    Unkept(u64, u16),
}

/// What came of a look.
pub(crate) struct Sought {
    /// The same piece at the same place.
    pub(crate) piece: Option<Rc<Piece>>,
    hash: u64,
    /// It was seen before, and may be kept.
    again: bool,
}

impl Recall {
    /// Of at most `limit` bytes; none at all where they have no room for one set of places.
    pub(crate) fn new(limit: usize) -> Recall {
        let sets = if limit < WAYS * A_PLACE { 0 } else { 1 << (limit / A_PLACE / WAYS).ilog2() };
        let bytes = sets * (size_of::<Set>() + TAGS * WAYS * size_of::<u32>());
        Recall {
            sets: vec![Set::default(); sets].into_boxed_slice(),
            seen_once: vec![0; TAGS * WAYS * sets].into_boxed_slice(),
            hasher: RandomState::new(),
            budget: Rc::new(Budget { held: Cell::new(bytes), limit }),
        }
    }

    /// Bytes that it has, and may have.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (self.budget.held.get(), self.budget.limit.max(self.budget.held.get()))
    }

    /// True when it never remembers anything.
    pub(crate) fn is_off(&self) -> bool {
        self.sets.is_empty()
    }

    /// Looks for the piece that stands behind `before`. None for one that is not worth it.
    #[inline]
    pub(crate) fn seek(&mut self, before: &Before, bytes: &[u8], last: bool) -> Option<Sought> {
        let depth = before.depth();
        if bytes.len() < SHORTEST && depth == 0 && last || depth >= DEEPEST {
            return None;
        }
        let hash = self.hasher.hash_one(Sample { before: before.hash(), bytes, last });
        let tag = tag(hash);
        let set = hash as usize & self.sets.len().wrapping_sub(1);
        let same = |piece: &Piece| {
            piece.hash == hash && piece.last == last && piece.before.is(before) && *piece.bytes == *bytes
        };
        if let Some(piece) = self.sets.get_mut(set)?.find(tag, same) {
            return Some(Sought { piece: Some(piece), hash, again: true });
        }
        let place = hash as usize & self.seen_once.len().wrapping_sub(1);
        let again = std::mem::replace(self.seen_once.get_mut(place)?, tag) == tag;
        Some(Sought { piece: None, hash, again })
    }

    /// Keeps a piece that was sought, if it was seen before and there is room. Gives what the next stands behind.
    pub(crate) fn keep(&mut self, sought: Sought, before: Before, bytes: &[u8], last: bool, totals: Totals) -> Before {
        if let Some(piece) = sought.piece {
            return Before::Piece(piece);
        }
        let depth = before.depth() + 1;
        let unkept = Before::Unkept(sought.hash, depth);
        let cost = Piece::cost(bytes);
        if !sought.again || cost > self.budget.limit / LARGEST_PART || matches!(before, Before::Unkept(..)) {
            return unkept;
        }
        let number = sought.hash as usize & self.sets.len().wrapping_sub(1);
        let Some(set) = self.sets.get_mut(number) else { return unkept };
        let mut place = set.make_room(false);
        if !self.budget.take(cost) {
            place = set.make_room(true);
            if !self.budget.take(cost) {
                return unkept;
            }
        }
        let piece = Rc::new(Piece {
            depth,
            before,
            bytes: bytes.into(),
            last,
            hash: sought.hash,
            totals,
            findings: OnceCell::new(),
            budget: self.budget.clone(),
        });
        set.put(place, tag(sought.hash), piece.clone());
        Before::Piece(piece)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let findings = self.findings.get().map_or(0, Findings::bytes);
        self.budget.held.set(self.budget.held.get() - Piece::cost(&self.bytes) - findings);
    }
}

impl Piece {
    /// What the body came to with it.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// What was found in a body that ended with it, if that is known.
    pub(crate) fn findings(&self) -> Option<&Findings> {
        self.findings.get()
    }

    /// Remembers what was found in a body that ended with it, if there is room.
    pub(crate) fn conclude(&self, findings: &Findings) {
        if self.findings.get().is_none() && self.budget.take(findings.bytes()) {
            let _ = self.findings.set(findings.clone()); // empty, as just seen
        }
    }

    fn cost(bytes: &[u8]) -> usize {
        bytes.len() + size_of::<Piece>()
    }
}

impl Before {
    fn depth(&self) -> u16 {
        match self {
            Before::Nothing(_) => 0,
            Before::Piece(piece) => piece.depth,
            Before::Unkept(_, depth) => *depth,
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Before::Nothing(number) => u64::from(*number),
            Before::Piece(piece) => piece.hash,
            Before::Unkept(hash, _) => *hash,
        }
    }

    fn is(&self, other: &Before) -> bool {
        match (self, other) {
            (Before::Nothing(one), Before::Nothing(two)) => one == two,
            (Before::Piece(one), Before::Piece(two)) => Rc::ptr_eq(one, two),
            _ => false,
        }
    }

    /// The pieces from the body's beginning on: their bytes, and whether each was the last.
    pub(crate) fn replay(&self, mut take: impl FnMut(&[u8], bool)) {
        let mut pieces = Vec::with_capacity(usize::from(self.depth()));
        let mut at = self;
        while let Before::Piece(piece) = at {
            pieces.push(piece);
            at = &piece.before;
        }
        for piece in pieces.iter().rev() {
            take(&piece.bytes, piece.last);
        }
    }
}

/// The part of a hash that tells apart what shares a set; never 0.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

/// Words from all over a piece, instead of all of it: equality is tested later.
struct Sample<'b> {
    before: u64,
    bytes: &'b [u8],
    last: bool,
}

impl std::hash::Hash for Sample<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let word =
            |at: usize| self.bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word));
        let length = self.bytes.len();
        state.write_u64(self.before);
        state.write_u64((length as u64) << 1 | u64::from(self.last));
        for at in [0, 8, length.saturating_sub(16), length.saturating_sub(8)] {
            state.write_u64(word(at));
        }
        let stride = length / (SAMPLES + 1);
        for step in 1..=SAMPLES {
            state.write_u64(word(step * stride));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Fingerprint, Sensitive};

    fn totals(encoded: u64) -> Totals {
        Totals { encoded, decoded: encoded, stopped: None }
    }

    /// Looks a body up piece by piece as `content` does; how many pieces were known before another came.
    fn pass(recall: &mut Recall, pieces: &[&[u8]]) -> usize {
        let (mut before, mut known, mut all) = (Before::Nothing(0), 0, true);
        for (number, bytes) in pieces.iter().enumerate() {
            let last = number + 1 == pieces.len();
            let Some(sought) = recall.seek(&before, bytes, last) else { return known };
            all &= sought.piece.is_some();
            known += usize::from(all);
            before = recall.keep(sought, before, bytes, last, totals(0));
        }
        known
    }

    #[test]
    fn what_comes_a_third_time_is_known_and_equal_in_every_byte() {
        let mut recall = Recall::new(1 << 20);
        recall.hasher = RandomState::with_seeds(1, 2, 3, 4); // no two pieces share a place
        let body: Vec<u8> = (0..3_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let pieces: Vec<&[u8]> = body.chunks(1_448).collect();
        assert_eq!((pass(&mut recall, &pieces), pass(&mut recall, &pieces)), (0, 0));
        assert_eq!(pass(&mut recall, &pieces), pieces.len());
        for changed in (0..body.len()).step_by(97) {
            let mut other = body.clone();
            other[changed] ^= 1;
            let others: Vec<&[u8]> = other.chunks(1_448).collect();
            assert_eq!(pass(&mut recall, &others), changed / 1_448, "byte {changed}");
            // It may have taken a place.
            assert!((0..4).any(|_| pass(&mut recall, &pieces) == pieces.len()));
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut recall = Recall::new(64 << 10);
        let empty = recall.budget.held.get();
        let mut standing = Vec::new();
        let values: Vec<Fingerprint> = (0..64).map(Fingerprint).collect();
        let found = Sensitive { class: "email".into(), count: 64, values: values.into() };
        let findings = Findings { sensitive: vec![found].into(), ..Findings::default() };
        for number in 0..2_000u32 {
            let body = number.to_le_bytes().repeat(300);
            for _ in 0..2 {
                if let Some(sought) = recall.seek(&Before::Nothing(0), &body, true) {
                    standing.push(recall.keep(sought, Before::Nothing(0), &body, true, totals(0)));
                }
                if let Some(Before::Piece(piece)) = standing.last() {
                    piece.conclude(&findings);
                }
            }
            assert!(recall.budget.held.get() <= 64 << 10);
        }
        assert!(recall.budget.held.get() > 32 << 10);
        standing.clear();
        recall.sets.fill(Set::default());
        assert_eq!(recall.budget.held.get(), empty);
        assert!(Recall::new(0).is_off() && Recall::new(0).seek(&Before::Nothing(0), &[7; 500], true).is_none());
    }
}
