//! Frames in the order in which they were read: those that wait, and behind them those that are held back.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::source::{Frame, LinkType};
use crate::time::Timestamp;

/// Both ends of a connection, the lesser one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ends(SocketAddr, SocketAddr);

impl Ends {
    pub(super) fn new(one: SocketAddr, other: SocketAddr) -> Ends {
        let [one, other] = [one, other].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
        Ends(one.min(other), one.max(other))
    }

    /// Their addresses.
    pub(super) fn addresses(&self) -> [IpAddr; 2] {
        [self.0.ip(), self.1.ip()]
    }
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The traffic's time when it was read.
    pub(super) now: Timestamp,
    /// When it was captured.
    pub(super) time: Timestamp,
    pub(super) ends: Ends,
    pub(super) link: LinkType,
    pub(super) original_length: u32,
    /// Where its bytes are.
    start: u32,
    length: u32,
}

/// What a frame takes beside its bytes.
pub(super) const FRAME_COST: usize = size_of::<Entry>();

impl Entry {
    fn cost(&self) -> usize {
        self.length as usize + FRAME_COST
    }
}

/// Frames that one reader read one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) frames: Vec<Entry>,
    pub(super) bytes: Vec<u8>,
    /// Number of the first one among all frames.
    first: u64,
}

impl Batch {
    pub(super) fn push(&mut self, frame: &Frame<'_>, [source, destination]: [SocketAddr; 2], now: Timestamp) {
        self.frames.push(Entry {
            now,
            time: frame.time,
            ends: Ends::new(source, destination),
            link: frame.link,
            original_length: frame.original_length,
            start: self.bytes.len() as u32,
            length: frame.data.len() as u32,
        });
        self.bytes.extend_from_slice(frame.data);
    }

    fn frame(&self, number: u64) -> Option<(&Entry, &[u8])> {
        let entry = self.frames.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
        let start = entry.start as usize;
        Some((entry, self.bytes.get(start..start + entry.length as usize)?))
    }

    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }
}

/// All frames that are in memory. They have numbers, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Ring {
    batches: VecDeque<Batch>,
    /// The first that is held back.
    oldest: u64,
    /// The first that waits: those before are held back.
    next: u64,
    /// The batch in which it is.
    next_batch: usize,
    end: u64,
    held_bytes: usize,
    waiting_bytes: usize,
}

impl Ring {
    /// Takes frames; they wait.
    pub(super) fn push(&mut self, mut batch: Batch) {
        batch.bytes.shrink_to_fit();
        batch.frames.shrink_to_fit();
        batch.first = self.end;
        self.end = batch.end();
        self.waiting_bytes += batch.frames.iter().map(Entry::cost).sum::<usize>();
        self.batches.push_back(batch);
    }

    /// What waits, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// What is held back, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The numbers of those held back.
    pub(super) fn held(&self) -> std::ops::Range<u64> {
        self.oldest..self.next
    }

    /// The traffic's time of the first that waits.
    pub(super) fn next_time(&self) -> Option<Timestamp> {
        let (entry, _) = self.batches.get(self.next_batch)?.frame(self.next)?;
        Some(entry.now)
    }

    /// The first that waits waits no more, but is held back. Gives its number.
    pub(super) fn pass_on(&mut self) -> Option<u64> {
        let batch = self.batches.get(self.next_batch)?;
        let number = self.next;
        let cost = batch.frame(number)?.0.cost();
        self.waiting_bytes -= cost;
        self.held_bytes += cost;
        self.next += 1;
        if self.next == batch.end() {
            self.next_batch += 1;
        }
        Some(number)
    }

    /// The traffic's time of the first that is held back.
    pub(super) fn oldest_time(&self) -> Option<Timestamp> {
        if self.oldest == self.next {
            return None;
        }
        Some(self.batches.front()?.frame(self.oldest)?.0.now)
    }

    /// The first that is held back is so no more.
    pub(super) fn let_go(&mut self) {
        if self.oldest == self.next {
            return;
        }
        let Some(batch) = self.batches.front() else { return };
        let Some((entry, _)) = batch.frame(self.oldest) else { return };
        self.held_bytes -= entry.cost();
        self.oldest += 1;
        if self.oldest == batch.end() {
            self.batches.pop_front();
            self.next_batch = self.next_batch.saturating_sub(1);
        }
    }

    /// All that are held back.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let first = self.batches.front().map_or(self.oldest, |batch| batch.first);
        let all =
            self.batches.iter().flat_map(|batch| (batch.first..batch.end()).filter_map(|number| batch.frame(number)));
        all.skip((self.oldest - first) as usize).take((self.next - self.oldest) as usize)
    }

    /// A frame by its number.
    pub(super) fn frame(&self, number: u64) -> Option<(&Entry, &[u8])> {
        let place = self.batches.partition_point(|batch| batch.end() <= number);
        self.batches.get(place)?.frame(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(frames: u64) -> Batch {
        let mut batch = Batch::default();
        for number in 0..frames {
            let data = [number as u8];
            let frame = Frame { time: Timestamp::ZERO, link: LinkType(1), data: &data, original_length: 1 };
            let end = SocketAddr::from(([10, 0, 0, 1], 80));
            batch.push(&frame, [end, end], Timestamp::from_nanos(number as i64));
        }
        batch
    }

    #[test]
    fn frames_wait_then_are_held_back_then_leave() {
        let mut ring = Ring::default();
        for frames in [1, 3, 2] {
            ring.push(batch(frames));
        }
        let each = 1 + FRAME_COST;
        assert_eq!((ring.waiting_bytes(), ring.held_bytes(), ring.oldest_time()), (6 * each, 0, None));
        // What the documentation of the settings says.
        assert_eq!(FRAME_COST, 96);
        for number in 0..5 {
            assert_eq!(ring.pass_on(), Some(number));
        }
        assert_eq!((ring.waiting_bytes(), ring.held_bytes()), (each, 5 * each));
        ring.let_go();
        ring.let_go();
        assert_eq!(ring.held(), 2..5);
        assert!(ring.all_held().map(|(_, data)| data[0]).eq([1, 2, 0]));
        assert!(ring.frame(1).is_none_or(|(_, data)| data == [0]), "its batch is still there");
        assert_eq!(ring.frame(0).map(|(_, data)| data), None);
        while ring.oldest_time().is_some() {
            ring.let_go();
        }
        assert_eq!((ring.held(), ring.next_time()), (5..5, Some(Timestamp::from_nanos(1))));
        assert_eq!((ring.pass_on(), ring.pass_on()), (Some(5), None));
        ring.let_go();
        assert_eq!((ring.held(), ring.held_bytes(), ring.waiting_bytes()), (6..6, 0, 0));
        ring.push(batch(1));
        assert_eq!(ring.pass_on(), Some(6));
        assert!(ring.batches.len() == 1 && ring.next_batch == 1);
    }
}
