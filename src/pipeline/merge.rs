//! The records of several workers, put into their total order and handed on.

use std::io;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::Consumer;
use super::alone;
use super::worker::Answer;
use crate::call::Record;
use crate::time::Timestamp;

/// Records for which there is room at once in what goes back to a worker.
const ROOM: usize = 256;

/// Takes what the workers completed; the consumer gets it in order.
pub(super) struct Merge<'c> {
    consumer: &'c mut dyn Consumer,
    /// The ways back to the workers for what the consumer is done with.
    returns: Vec<Sender<Vec<Record>>>,
    /// How many records of one moment are held.
    limit: usize,
    /// Whether the consumer need not be told of the time without records, by how much of it passed since it was told.
    silent: Box<dyn Fn(Duration) -> bool + Send>,
    /// What each worker's time has come to.
    reached: Vec<Timestamp>,
    /// What is held, each with the worker that made it.
    held: Vec<(Record, u32)>,
    due: Vec<Record>,
    /// Who made those that are due.
    made_by: Vec<u32>,
    told: Timestamp,
    end: Timestamp,
    /// Records that were handed on before they were known to be in their order.
    early: u64,
}

impl<'c> Merge<'c> {
    pub(super) fn new(
        consumer: &'c mut dyn Consumer,
        returns: Vec<Sender<Vec<Record>>>,
        limit: usize,
        silent: Box<dyn Fn(Duration) -> bool + Send>,
    ) -> Merge<'c> {
        Merge {
            consumer,
            reached: vec![Timestamp::ZERO; returns.len()],
            returns,
            limit,
            silent,
            held: Vec::new(),
            due: Vec::new(),
            made_by: Vec::new(),
            told: Timestamp::ZERO,
            end: Timestamp::ZERO,
            early: 0,
        }
    }

    /// Takes an answer, and hands on the records up to the moment that all workers have reached.
    pub(super) fn take(&mut self, answer: Answer) -> io::Result<()> {
        self.held.extend(answer.records.into_iter().map(|record| (record, answer.worker as u32)));
        self.end = self.end.max(answer.now);
        if let Some(reached) = self.reached.get_mut(answer.worker) {
            *reached = if answer.last { Timestamp::MAX } else { answer.now };
        }
        let mut watermark = self.reached.iter().copied().min().unwrap_or(Timestamp::MAX);
        if watermark <= self.told && self.held.len() <= self.limit {
            return Ok(());
        }
        let last = watermark == Timestamp::MAX;
        self.held.sort_by_key(|(record, _)| record.order());
        let (count, unordered) = if last {
            (self.held.len(), 0)
        } else {
            alone::due(&self.held, |(record, _)| record.end_time(), watermark, self.limit)
        };
        self.early += unordered as u64;
        for (record, worker) in self.held.drain(..count) {
            self.due.push(record);
            self.made_by.push(worker);
        }
        if last {
            watermark = self.end;
        } else if self.due.is_empty() && (self.silent)(watermark.since(self.told)) {
            return Ok(());
        }
        self.told = watermark;
        self.consumer.records(&mut self.due, watermark)?;
        // Each gets back what it made, which is next to it already where it is also who hands on.
        let room = self.due.len().min(ROOM);
        let mut done: Vec<_> = self.returns.iter().map(|_| Vec::with_capacity(room)).collect();
        for (record, worker) in self.due.drain(..).zip(self.made_by.drain(..)) {
            if let Some(done) = done.get_mut(worker as usize) {
                done.push(record);
            }
        }
        for (worker, records) in self.returns.iter().zip(done) {
            let _ = worker.try_send(records); // a full queue only means that they are freed
        }
        Ok(())
    }

    /// There are no more: gives how many were handed on too early.
    pub(super) fn finish(self) -> io::Result<u64> {
        self.consumer.finish().map(|()| self.early)
    }
}
