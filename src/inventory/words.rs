//! Which words a field or parameter takes: an enumeration, if the set is closed and nobody is behind one of them.

use serde::{Deserialize, Serialize};

use super::budget::Budget;

/// Words of an enumeration.
const WORDS: usize = 16;

/// Callers that each word must have come from or gone to: what so many share is no secret of one of them.
const CALLERS: usize = 5;

/// Words seen, for each of the set, before the set is believed to be closed.
const SEEN: u64 = 8;

/// A word, and hashes of the first callers that it came from or went to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Word {
    text: Box<str>,
    callers: [u32; CALLERS],
}

/// From whom a word teaches nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Settling {
    /// From nobody that it is known of.
    Open,
    /// From this caller.
    Caller,
    /// From anybody.
    Everybody,
}

/// What is kept of a caller; 0 marks what is free.
fn mark(caller: u64) -> u32 {
    (caller as u32).max(1)
}

/// The words so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Words {
    words: Vec<Word>,
    seen: u64,
}

impl Words {
    /// What they took of the budget.
    pub(super) fn bytes(&self) -> usize {
        self.words.iter().map(|word| word.text.len() + size_of::<Word>()).sum()
    }

    /// Whether nothing more is to be learned from a word when it comes from a caller: it is known from it, or to be shared;
    /// then from nobody.
    pub(super) fn is_settled(&self, word: &str, caller: u64) -> Settling {
        let Some(known) = self.words.iter().find(|known| *known.text == *word) else { return Settling::Open };
        match () {
            () if self.seen < SEEN * WORDS as u64 => Settling::Open,
            () if known.callers.iter().all(|held| *held != 0) => Settling::Everybody,
            () if known.callers.contains(&mark(caller)) => Settling::Caller,
            () => Settling::Open,
        }
    }

    /// One more word of a caller, by its keyed hash. False when there are too many: it is no enumeration.
    #[inline]
    pub(super) fn note(&mut self, word: &str, caller: u64, budget: &mut Budget) -> bool {
        self.seen = self.seen.saturating_add(1);
        let place = match self.words.iter().position(|known| *known.text == *word) {
            Some(place) => place,
            None => {
                // Budget is not given back: of a closed set nothing leaves, and an open one is small change.
                if self.words.len() >= WORDS || !budget.take(word.len() + size_of::<Word>()) {
                    return false;
                }
                self.words.push(Word { text: word.into(), callers: [0; CALLERS] });
                self.words.len() - 1
            }
        };
        let hash = mark(caller);
        if let Some(known) = self.words.get_mut(place)
            && let Some(free) = known.callers.iter_mut().find(|held| **held == 0 || **held == hash)
        {
            *free = hash;
        }
        true
    }

    /// Adds those of another field or parameter that is the same one. False as above.
    pub(super) fn absorb(&mut self, other: &Words, budget: &mut Budget) -> bool {
        let before = self.seen;
        for word in &other.words {
            for &caller in word.callers.iter().filter(|caller| **caller != 0) {
                if !self.note(&word.text, u64::from(caller), budget) {
                    return false;
                }
            }
        }
        self.seen = before.saturating_add(other.seen);
        true
    }

    /// The words, sorted, if they are all and many callers have each. One alone is no choice, and no more than what was seen.
    pub(super) fn closed(&self) -> Option<Vec<String>> {
        let shared = |word: &Word| word.callers.iter().all(|caller| *caller != 0);
        let enough = self.seen >= SEEN * self.words.len() as u64;
        if self.words.len() < 2 || !enough || !self.words.iter().all(shared) {
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

    fn words(of: &[(&str, std::ops::Range<u64>)]) -> Option<Vec<String>> {
        let (mut words, mut budget) = (Words::default(), Budget::new(10_000));
        for (word, callers) in of {
            for caller in callers.clone() {
                if !words.note(word, caller + 1, &mut budget) {
                    return None;
                }
            }
        }
        words.closed()
    }

    #[test]
    fn an_enumeration_is_closed_and_shared() {
        assert_eq!(words(&[("paid", 0..9), ("open", 0..9)]), Some(vec!["open".into(), "paid".into()]));
        assert_eq!(words(&[("paid", 0..90), ("ada", 7..8)]), None, "one caller alone");
        assert_eq!(words(&[("paid", 0..5), ("open", 0..5)]), None, "too few");
        assert_eq!(words(&[("paid", 0..90)]), None, "always the same");
        let many: Vec<_> = (0..17).map(|number| format!("w{number}")).collect();
        let many: Vec<_> = many.iter().map(|word| (word.as_str(), 0..9)).collect();
        assert_eq!(words(&many), None, "too many");
    }
}
