//! Which words a field or parameter takes: an enumeration, if the set is closed and nobody is behind one of them.

use super::budget::Budget;

/// Words of an enumeration.
const WORDS: usize = 16;

/// Callers that each word must have come from or gone to: what so many share is no secret of one of them.
const CALLERS: usize = 5;

/// Words seen, for each of the set, before the set is believed to be closed.
const SEEN: u64 = 8;

/// A word, and hashes of the first callers that it came from or went to.
#[derive(Clone, Debug)]
struct Word {
    text: Box<str>,
    callers: [u32; CALLERS],
}

/// The words so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    words: Vec<Word>,
    seen: u64,
    /// There are too many, or what is no word.
    open: bool,
}

impl Words {
    /// It is no enumeration.
    pub(super) fn give_up(&mut self) {
        self.open = true;
        self.words = Vec::new();
    }

    /// Nothing more is to be learned from this word: it is known to be shared, or nothing is kept.
    pub(super) fn is_settled(&self, word: &str) -> bool {
        self.open
            || (self.seen >= SEEN * WORDS as u64
                && self.words.iter().any(|known| *known.text == *word && known.callers.iter().all(|held| *held != 0)))
    }

    /// One more word of a caller, by its keyed hash.
    #[inline]
    pub(super) fn note(&mut self, word: &str, caller: u64, budget: &mut Budget) {
        if self.open {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        let place = match self.words.iter().position(|known| *known.text == *word) {
            Some(place) => place,
            None => {
                // Budget is not given back: of a closed set nothing leaves, and an open one is small change.
                if self.words.len() >= WORDS || !budget.take(word.len() + size_of::<Word>()) {
                    return self.give_up();
                }
                self.words.push(Word { text: word.into(), callers: [0; CALLERS] });
                self.words.len() - 1
            }
        };
        let hash = (caller as u32).max(1);
        if let Some(known) = self.words.get_mut(place)
            && let Some(free) = known.callers.iter_mut().find(|held| **held == 0 || **held == hash)
        {
            *free = hash;
        }
    }

    /// Adds those of another field or parameter that is the same one.
    pub(super) fn absorb(&mut self, other: &Words, budget: &mut Budget) {
        if other.open {
            return self.give_up();
        }
        for word in &other.words {
            for &caller in word.callers.iter().filter(|caller| **caller != 0) {
                self.note(&word.text, u64::from(caller), budget);
            }
        }
        self.seen = self.seen.saturating_add(other.seen);
    }

    /// The words, sorted, if they are all and many callers have each.
    pub(super) fn closed(&self) -> Option<Vec<String>> {
        let shared = |word: &Word| word.callers.iter().all(|caller| *caller != 0);
        let enough = self.seen >= SEEN * self.words.len() as u64;
        if self.open || self.words.is_empty() || !enough || !self.words.iter().all(shared) {
            return None;
        }
        let mut all: Vec<_> = self.words.iter().map(|word| word.text.to_string()).collect();
        all.sort_unstable();
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(of: &[(&str, std::ops::Range<u64>)]) -> Words {
        let (mut words, mut budget) = (Words::default(), Budget::new(10_000));
        for (word, callers) in of {
            callers.clone().for_each(|caller| words.note(word, caller + 1, &mut budget));
        }
        words
    }

    #[test]
    fn an_enumeration_is_closed_and_shared() {
        assert_eq!(words(&[("paid", 0..9), ("open", 0..9)]).closed(), Some(vec!["open".into(), "paid".into()]));
        assert_eq!(words(&[("paid", 0..90), ("ada", 7..8)]).closed(), None, "one caller alone");
        assert_eq!(words(&[("paid", 0..5)]).closed(), None, "too few");
        let many: Vec<_> = (0..17).map(|number| format!("w{number}")).collect();
        let many: Vec<_> = many.iter().map(|word| (word.as_str(), 0..9)).collect();
        assert_eq!(words(&many).closed(), None, "too many");
    }
}
