//! Several captures as one, merged by packet time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::PathBuf;

use super::reader::{Reader, Step};
use super::{Advance, Frame, LinkType, Settings, Source, SourceError};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Order of the merge: time of the frame, then rank of the capture. Captures are ranked by the time of their first
/// frame, then by their place among the arguments: where one slice of a capture ends at the very time at which the next
/// begins, the frames keep their order however the shell sorted the names.
type Key = (Timestamp, usize);

/// One or many captures, opened for reading; see [`super::open`].
///
/// Each capture is opened when the merge comes to its first frame and closed at its end, so that a folder of slices in
/// time holds one or two open at once, however many there are. Within one capture the order of its frames stays.
pub struct Opened {
    /// Captures not begun, in order of their rank.
    waiting: VecDeque<Waiting>,
    /// How many were taken from there: the rank of the next.
    begun: usize,
    active: Vec<Option<Active>>,
    /// The frame that each active capture stands at, apart from the current one: its key and place in `active`.
    heads: BinaryHeap<Reverse<(Key, usize)>>,
    /// Place in `active` of the capture that was advanced last.
    current: Option<usize>,
    /// As long as its frames come before this, the current capture goes on without a look at the others.
    bound: Option<Key>,
    failures: VecDeque<SourceError>,
    /// Secrets before the first frame of the capture that was opened last.
    secrets: Vec<u8>,
    settings: Settings,
    /// Blocks skipped in captures that are over.
    skipped: u64,
    /// Bytes of captures that are over.
    finished: u64,
    /// Bytes of all captures, unless one of them is a stream.
    total: Option<u64>,
}

/// A capture that the merge has not come to.
pub(super) struct Waiting {
    pub(super) first_time: Timestamp,
    pub(super) size: u64,
    pub(super) origin: Origin,
}

/// Where its frames are to come from.
pub(super) enum Origin {
    /// To be opened.
    Path(PathBuf),
    /// Opened already and standing at its first frame, because it cannot be opened twice.
    Held(Box<Reader>),
}

struct Active {
    reader: Box<Reader>,
    rank: usize,
    size: u64,
}

impl Opened {
    /// Of one capture, of which nothing was read.
    pub(super) fn single(reader: Reader, size: Option<u64>, settings: &Settings) -> Opened {
        let mut opened = Opened::merged(Vec::new(), VecDeque::new(), size, settings);
        let active = Active { reader: Box::new(reader), rank: 0, size: size.unwrap_or(0) };
        opened.current = Some(opened.begin(active));
        opened
    }

    /// Of `captures` in order of the arguments, with what made others unreadable.
    pub(super) fn merged(
        mut captures: Vec<Waiting>,
        failures: VecDeque<SourceError>,
        total: Option<u64>,
        settings: &Settings,
    ) -> Opened {
        captures.sort_by_key(|capture| capture.first_time); // stable
        Opened {
            waiting: captures.into(),
            begun: 0,
            active: Vec::new(),
            heads: BinaryHeap::new(),
            current: None,
            bound: None,
            failures,
            secrets: Vec::new(),
            settings: settings.clone(),
            skipped: 0,
            finished: 0,
            total,
        }
    }

    /// Counts what belongs to captures that were looked at and will not be read.
    pub(super) fn passed(&mut self, skipped: u64, bytes: u64) {
        self.skipped += skipped;
        self.finished += bytes;
    }

    /// Captures open now.
    pub(super) fn open_count(&self) -> usize {
        self.active.iter().flatten().count()
    }

    /// The capture with the next frame, when it is not known to be the current one.
    #[cold]
    fn choose(&mut self) -> Result<Advance, SourceError> {
        self.secrets.clear();
        while self.next_rank_is_first() {
            self.begin_next()?;
            if !self.secrets.is_empty() {
                return Ok(Advance::Secrets);
            }
        }
        let Some(Reverse((_, place))) = self.heads.pop() else { return Ok(Advance::End) };
        self.current = Some(place);
        let head = self.heads.peek().map(|&Reverse((key, _))| key);
        self.bound = [head, self.next_key()].into_iter().flatten().min();
        Ok(Advance::Frame)
    }

    /// The key of the first frame of the first capture that waits.
    fn next_key(&self) -> Option<Key> {
        self.waiting.front().map(|waiting| (waiting.first_time, self.begun))
    }

    fn next_rank_is_first(&self) -> bool {
        match (self.next_key(), self.heads.peek()) {
            (Some(next), Some(&Reverse((head, _)))) => next < head,
            (next, None) => next.is_some(),
            (None, _) => false,
        }
    }

    /// Opens the first capture that waits.
    fn begin_next(&mut self) -> Result<(), SourceError> {
        let Some(Waiting { size, origin, .. }) = self.waiting.pop_front() else { return Ok(()) };
        let rank = self.begun;
        self.begun += 1;
        let mut reader = match origin {
            Origin::Held(reader) => reader,
            Origin::Path(path) => match self.open(&path) {
                Ok(Some(reader)) => reader,
                other => {
                    self.finished += size;
                    return other.map(|_| ());
                }
            },
        };
        self.secrets = reader.take_held();
        let key = (reader.time(), rank);
        let place = self.begin(Active { reader, rank, size });
        self.heads.push(Reverse((key, place)));
        Ok(())
    }

    /// Opens a capture and moves to its first frame; none when it has lost all frames since it was looked at.
    fn open(&self, path: &std::path::Path) -> Result<Option<Box<Reader>>, SourceError> {
        if self.open_count() >= self.settings.max_open_files {
            let most = self.settings.max_open_files;
            return Err(SourceError {
                name: path.display().to_string(),
                offset: None,
                reason: format!("left out: it overlaps in time with {most} other captures, as many as max_open_files"),
            });
        }
        let mut reader = Box::new(Reader::open(path, &self.settings)?);
        Ok(reader.advance_to_frame()?.then_some(reader))
    }

    fn begin(&mut self, active: Active) -> usize {
        match self.active.iter().position(Option::is_none) {
            Some(free) => {
                if let Some(place) = self.active.get_mut(free) {
                    *place = Some(active);
                }
                free
            }
            None => {
                self.active.push(Some(active));
                self.active.len() - 1
            }
        }
    }

    fn end(&mut self, place: usize) {
        if let Some(Active { reader, size, .. }) = self.active.get_mut(place).and_then(Option::take) {
            self.skipped += reader.skipped();
            self.finished += size;
        }
    }
}

impl Source for Opened {
    #[inline]
    fn advance(&mut self) -> Result<Advance, SourceError> {
        if let Some(place) = self.current
            && let Some(Some(Active { reader, rank, .. })) = self.active.get_mut(place)
        {
            match reader.advance() {
                Ok(Step::Frame) => {
                    let key = (reader.time(), *rank);
                    if self.bound.is_none_or(|bound| key < bound) {
                        return Ok(Advance::Frame);
                    }
                    self.heads.push(Reverse((key, place)));
                }
                Ok(Step::Secrets) => return Ok(Advance::Secrets),
                over => {
                    self.current = None;
                    self.end(place);
                    over?;
                }
            }
        }
        self.current = None;
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        self.choose()
    }

    #[inline]
    fn frame(&self) -> Frame<'_> {
        match self.current.and_then(|place| self.active.get(place)) {
            Some(Some(active)) => active.reader.frame(),
            _ => Frame { time: Timestamp::ZERO, link: LinkType(0), data: &[], original_length: 0 },
        }
    }

    fn secrets(&self) -> &[u8] {
        match self.current {
            Some(_) => self.frame().data,
            None => &self.secrets,
        }
    }

    fn report(&mut self, counters: &mut Counters) {
        let open: u64 = self.active.iter().flatten().map(|active| active.reader.skipped()).sum();
        counters.set(Counter::BlocksSkipped, self.skipped + open);
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let total = self.total?;
        let open: u64 = self.active.iter().flatten().map(|active| active.reader.taken().min(active.size)).sum();
        Some(((self.finished + open).min(total), total))
    }
}
