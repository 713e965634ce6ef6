//! Records that wait for their keys, in the order in which they came.

use std::collections::VecDeque;

use super::record::{Header, Mark};
use crate::time::Timestamp;

/// What a record takes beside its bytes.
const BOOKKEEPING: usize = size_of::<Record>();

/// One of them.
#[derive(Debug)]
pub(super) struct Record {
    /// Its place among those of both directions.
    pub(super) serial: u64,
    pub(super) header: Header,
    pub(super) body: Vec<u8>,
    pub(super) mark: Mark,
    /// Since when it waits.
    pub(super) since: Timestamp,
}

/// Those of both directions.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: [VecDeque<Record>; 2],
    serial: u64,
    bytes: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Nothing of this direction waits.
    pub(super) fn is_clear(&self, d: usize) -> bool {
        self.queues[d].is_empty()
    }

    /// Bytes that wait, with what they take beside.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the oldest waits.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.queues.iter().filter_map(|queue| Some(queue.front()?.since)).min()
    }

    pub(super) fn push(&mut self, d: usize, header: Header, body: &[u8], mark: Mark, since: Timestamp) {
        self.bytes += body.len() + BOOKKEEPING;
        self.queues[d].push_back(Record { serial: self.serial, header, body: body.to_vec(), mark, since });
        self.serial += 1;
    }

    /// The directions that have one, that of the older one first.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let serial = |d: usize| self.queues[d].front().map(|record| record.serial);
        let order = match (serial(0), serial(1)) {
            (None, None) => [None, None],
            (Some(_), None) => [Some(0), None],
            (None, Some(_)) => [Some(1), None],
            (Some(first), Some(second)) if first < second => [Some(0), Some(1)],
            _ => [Some(1), Some(0)],
        };
        order.into_iter().flatten()
    }

    pub(super) fn pop(&mut self, d: usize) -> Option<Record> {
        let record = self.queues[d].pop_front()?;
        self.bytes -= record.body.len() + BOOKKEEPING;
        Some(record)
    }

    /// The content of the header of the oldest in this direction.
    pub(super) fn peek(&self, d: usize) -> Option<Header> {
        Some(self.queues[d].front()?.header)
    }

    /// Drops all of them; tells how many they were.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.queues.iter().map(VecDeque::len).sum();
        *self = Waiting::default();
        count
    }
}
