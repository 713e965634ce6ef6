//! Where values stood in a body, so that what is sensitive there is known of its field.

use std::collections::VecDeque;
use std::ops::Range;

use super::super::find::BEFORE;

/// Bytes of the shortest value whose place is remembered: no sensitive value is shorter.
const SHORTEST: u64 = 6;

/// Places of values that are remembered until what is sensitive is known up to there; 24 bytes each.
const PLACES: usize = 4096;

/// Sensitive values that wait for the end of the value that they lie in, 24 bytes each. Beyond, one is told of the body alone.
const WAITING: usize = 64;

/// Places of values, in bytes of the body as it is searched, ascending.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// First byte, the one behind the last, node.
    known: VecDeque<(u64, u64, u32)>,
    /// What lies behind all of these: the value that it is in goes on.
    waiting: Vec<(u16, Range<u64>)>,
    closed: bool,
}

impl Spans {
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.waiting.clear();
        self.closed = false;
    }

    /// From here on places are not known any more.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
        self.closed = true;
    }

    /// A value of a node ends, behind all that came before.
    #[inline]
    pub(super) fn add(&mut self, begin: u64, end: u64, node: u32) {
        if self.closed || end.saturating_sub(begin) < SHORTEST {
            return;
        }
        if self.known.len() >= PLACES {
            self.known.pop_front();
        }
        self.known.push_back((begin, end, node));
    }

    /// Sensitive values were found at these places, and will not be before `done` any more: tells nodes and classes.
    pub(super) fn mark(
        &mut self,
        found: impl Iterator<Item = (u16, Range<u64>)>,
        done: u64,
        mut tell: impl FnMut(u32, u16),
    ) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.drain(..).for_each(|(class, range)| self.look_up(class, range, &mut tell));
        if self.waiting.is_empty() {
            self.waiting = waiting; // keeps its room
        }
        found.for_each(|(class, range)| self.look_up(class, range, &mut tell));
        let settled = self.known.partition_point(|&(_, end, _)| end + (BEFORE as u64) < done);
        self.known.drain(..settled);
    }

    fn look_up(&mut self, class: u16, range: Range<u64>, tell: &mut impl FnMut(u32, u16)) {
        let place = self.known.partition_point(|&(_, end, _)| end <= range.start);
        match self.known.get(place) {
            Some(&(start, _, node)) if start < range.end => tell(node, class),
            None if !self.closed && self.waiting.len() < WAITING => self.waiting.push((class, range)),
            Some(_) | None => {}
        }
    }
}
