//! What was found in one message so far.

use std::ops::Range;

use super::Findings;
use super::allow::Allowances;
use super::rules::Compiled;
use crate::call::{Fingerprint, Sensitive};

/// Counts and distinct values by class, and what each rule has to remember to be fair and bounded. One is used for
/// message after message, so that its tables are made once.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By class; empty until something is found for the first time.
    classes: Vec<Found>,
    /// Classes found in this message.
    found: Vec<u16>,
    /// By rule; empty until a rule has something to remember for the first time.
    memory: Vec<Memory>,
    /// Rules that remember something of this message.
    remembering: Vec<u16>,
    /// Where values stood in the message, when asked for: rule and place.
    pub(super) spans: Option<Vec<(u16, Range<u64>)>>,
    pub(super) capped: bool,
}

#[derive(Clone, Debug, Default)]
struct Found {
    count: u32,
    /// At most twice the limit of distinct values, with repetitions.
    values: Vec<Fingerprint>,
}

impl Found {
    /// Leaves the `limit` smallest values, in ascending order.
    fn settle(&mut self, limit: usize) {
        self.values.sort_unstable();
        self.values.dedup();
        self.values.truncate(limit);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// Up to where the last match reaches, in bytes of the message.
    covered: u64,
    failures: u32,
    used: bool,
}

impl Tally {
    /// Forgets the message.
    pub(super) fn clear(&mut self) {
        for class in self.found.drain(..) {
            if let Some(found) = self.classes.get_mut(usize::from(class)) {
                found.count = 0;
                found.values.clear();
            }
        }
        for rule in self.remembering.drain(..) {
            if let Some(memory) = self.memory.get_mut(usize::from(rule)) {
                *memory = Memory::default();
            }
        }
        self.spans = None;
        self.capped = false;
    }

    /// True when a candidate of the rule at `start` is part of its last match.
    #[inline]
    pub(super) fn is_covered(&self, rule: u16, start: u64) -> bool {
        self.memory.get(usize::from(rule)).is_some_and(|memory| start < memory.covered)
    }

    /// True when so many candidates of the rule failed that it looks at no more in this message.
    pub(super) fn is_spent(&mut self, rule: u16, candidate_limit: u32) -> bool {
        let spent = self.memory.get(usize::from(rule)).is_some_and(|memory| memory.failures >= candidate_limit);
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
        let memory = self.memory.get_mut(usize::from(rule))?;
        if !std::mem::replace(&mut memory.used, true) {
            self.remembering.push(rule);
        }
        Some(memory)
    }

    /// A value of the rule was found up to `end`, in bytes of the message.
    pub(super) fn cover(&mut self, rule: u16, end: u64, compiled: &Compiled) {
        if let Some(memory) = self.memory(rule, compiled) {
            memory.covered = end;
        }
    }

    /// One more value of a class; at most `limit` distinct ones are kept, the smallest.
    pub(super) fn add(&mut self, class: u16, value: Fingerprint, compiled: &Compiled, limit: usize) {
        if self.classes.len() <= usize::from(class) {
            // Behind those of the rules come those of fields that are allowed.
            self.classes.resize_with(compiled.classes.len().max(usize::from(class) + 1), Found::default);
        }
        let Some(found) = self.classes.get_mut(usize::from(class)) else { return };
        if found.count == 0 {
            self.found.push(class);
        }
        found.count = found.count.saturating_add(1);
        if found.values.len() >= 2 * limit.max(1) {
            found.settle(limit);
        }
        found.values.push(value);
    }

    /// The classes found, by name.
    pub(super) fn findings(&mut self, compiled: &Compiled, allowances: &Allowances, limit: usize) -> Findings {
        let mut sensitive = Vec::with_capacity(self.found.len());
        for &class in &self.found {
            let known = compiled.classes.get(usize::from(class)).map(|class| &class.name);
            let name = known.or_else(|| allowances.name(class));
            if let (Some(found), Some(name)) = (self.classes.get_mut(usize::from(class)), name) {
                found.settle(limit);
                sensitive.push(Sensitive {
                    class: name.clone(),
                    count: found.count,
                    values: found.values.as_slice().into(),
                });
            }
        }
        sensitive.sort_by(|one: &Sensitive, other| one.class.cmp(&other.class));
        Findings { sensitive: sensitive.into(), capped: self.capped, ..Findings::default() }
    }
}
