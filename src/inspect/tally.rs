//! What was found in one message so far.

use std::ops::Range;

use super::rules::Compiled;
use super::{Findings, Settings};
use crate::call::{Fingerprint, Sensitive};
use crate::key::Key;

/// Counts and distinct values by class, and what each rule has to remember to be fair and bounded.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By class; empty until something is found.
    classes: Vec<Found>,
    /// By rule; empty until a rule has something to remember.
    memory: Vec<Memory>,
    /// Where values stood, when asked for: rule and place.
    pub(super) spans: Option<Vec<(u16, Range<usize>)>>,
    pub(super) capped: bool,
}

#[derive(Clone, Debug, Default)]
struct Found {
    count: u32,
    /// Ascending, the smallest ones.
    values: Vec<Fingerprint>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    /// Up to where the last match reaches, in bytes of the message.
    covered: u64,
    failures: u32,
}

impl Tally {
    /// True when a candidate of the rule at `start` is part of its last match.
    #[inline]
    pub(super) fn is_covered(&self, rule: u16, start: u64) -> bool {
        self.memory.get(usize::from(rule)).is_some_and(|memory| start < memory.covered)
    }

    /// True when so many candidates of the rule failed that it looks at no more in this message.
    pub(super) fn is_spent(&mut self, rule: u16, settings: &Settings) -> bool {
        let spent =
            self.memory.get(usize::from(rule)).is_some_and(|memory| memory.failures >= settings.candidate_limit);
        self.capped |= spent;
        spent
    }

    /// A candidate of the rule was none.
    pub(super) fn fail(&mut self, rule: u16, compiled: &Compiled) {
        if let Some(memory) = self.memory(rule, compiled) {
            memory.failures = memory.failures.saturating_add(1);
        }
    }

    fn memory(&mut self, rule: u16, compiled: &Compiled) -> Option<&mut Memory> {
        if self.memory.is_empty() {
            self.memory = vec![Memory::default(); compiled.rules.len()];
        }
        self.memory.get_mut(usize::from(rule))
    }

    /// A value of the rule was found up to `end`, in bytes of the message.
    pub(super) fn cover(&mut self, rule: u16, end: u64, compiled: &Compiled) {
        if let Some(memory) = self.memory(rule, compiled) {
            memory.covered = end;
        }
    }

    /// One more value of a class.
    pub(super) fn add(&mut self, class: u16, value: Fingerprint, compiled: &Compiled, settings: &Settings) {
        if self.classes.is_empty() {
            self.classes = vec![Found::default(); compiled.classes.len()];
        }
        let Some(found) = self.classes.get_mut(usize::from(class)) else { return };
        found.count = found.count.saturating_add(1);
        let full = found.values.len() >= settings.distinct_limit;
        if full && found.values.last().is_none_or(|&largest| value >= largest) {
            return;
        }
        if let Err(place) = found.values.binary_search(&value) {
            if full {
                found.values.pop();
            }
            found.values.insert(place, value);
        }
    }

    /// The same, of a value that is not hashed yet.
    #[inline]
    pub(super) fn add_value(&mut self, class: u16, value: &[u8], key: &Key, compiled: &Compiled, settings: &Settings) {
        if let Some(name) = compiled.classes.get(usize::from(class)) {
            self.add(class, key.fingerprint(&name.name, value), compiled, settings);
        }
    }

    /// The classes found, by name.
    pub(super) fn findings(self, compiled: &Compiled) -> Findings {
        let mut sensitive: Vec<Sensitive> = self
            .classes
            .into_iter()
            .zip(&compiled.classes)
            .filter(|(found, _)| found.count > 0)
            .map(|(found, class)| Sensitive { class: class.name.clone(), count: found.count, values: found.values })
            .collect();
        sensitive.sort_by(|one, other| one.class.cmp(&other.class));
        Findings { sensitive, capped: self.capped }
    }
}
