//! Several files as one, merged by the time of their records.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::Maker;
use super::file::{File, Shared};
use super::{RecordError, Settings};
use crate::call::{FlowId, Record};
use crate::inspect::Inspector;
use crate::source::{self, Input};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Order of the merge: that of the records, then the place of the file among the arguments.
type Key = ((Timestamp, FlowId, u32), usize);

/// One or many files of records, opened for reading; see [`Records::open`].
///
/// Of several files each is opened when the merge comes to its first record and closed at its end, so that rotated logs hold
/// one or two open at once, however many there are.
pub struct Records {
    settings: Settings,
    source: source::Settings,
    shared: Shared,
    /// Files not begun, by the time of their first record.
    waiting: VecDeque<Waiting>,
    active: Vec<Option<Active>>,
    /// The record that each active file stands at: its key and place in `active`.
    heads: BinaryHeap<Reverse<(Key, usize)>>,
    /// A file that is alone: its first record need not be known before it is read.
    only: Option<Box<File>>,
    failures: VecDeque<RecordError>,
    current: Option<Record>,
    latest: Timestamp,
}

struct Waiting {
    first_time: Timestamp,
    rank: usize,
    origin: Origin,
}

enum Origin {
    /// To be opened.
    Path(PathBuf),
    /// Opened already and standing at this record, because it cannot be opened twice.
    Held(Box<File>, Record),
}

struct Active {
    file: Box<File>,
    head: Record,
    rank: usize,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Records {
    /// Opens files to be read as one, `-` for standard input. gzip and zstd are told by content. Where records have the same
    /// place in their order, those of the earlier argument come first.
    ///
    /// `source` says how compressed files are read. The `inspector` masks targets and makes credentials' fingerprints.
    pub fn open(
        paths: &[PathBuf],
        settings: &Settings,
        source: &source::Settings,
        inspector: Arc<Inspector>,
    ) -> Records {
        let mut records = Records::new(settings, source, inspector);
        let (alone, mut standard_input) = (paths.len() == 1, false);
        for (rank, path) in paths.iter().enumerate() {
            let file = if path == Path::new("-") {
                if std::mem::replace(&mut standard_input, true) {
                    records.fail(path, "standard input is named twice");
                    continue;
                }
                let input = Input::from_reader(Box::new(std::io::stdin()), source);
                Ok(File::new("-".into(), input, settings))
            } else {
                File::open(path, settings, source)
            };
            match file {
                Ok(file) if alone => records.only = Some(Box::new(file)),
                Ok(file) => records.look(file, Some(path).filter(|path| path.is_file()), rank),
                Err(failure) => records.failures.push_back(failure),
            }
        }
        records.waiting.make_contiguous().sort_by_key(|waiting| (waiting.first_time, waiting.rank));
        records
    }

    /// One stream, called `name` in errors.
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
        settings: &Settings,
        source: &source::Settings,
        inspector: Arc<Inspector>,
    ) -> Records {
        let mut records = Records::new(settings, source, inspector);
        let input = Input::from_reader(Box::new(reader), source);
        records.only = Some(Box::new(File::new(name.to_owned(), input, settings)));
        records
    }

    fn new(settings: &Settings, source: &source::Settings, inspector: Arc<Inspector>) -> Records {
        Records {
            settings: settings.clone(),
            source: source.clone(),
            shared: Shared { maker: Maker::new(inspector), counters: Counters::new() },
            waiting: VecDeque::new(),
            active: Vec::new(),
            heads: BinaryHeap::new(),
            only: None,
            failures: VecDeque::new(),
            current: None,
            latest: Timestamp::ZERO,
        }
    }

    /// The next record; None at the end of all files.
    ///
    /// # Errors
    ///
    /// What made a file, or lines of it, unreadable: each failure once, of lines the first of a file. It does not stop the
    /// others: to be called again.
    #[allow(clippy::should_implement_trait, reason = "it lends")]
    pub fn next(&mut self) -> Result<Option<&Record>, RecordError> {
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        let record = match &mut self.only {
            Some(file) => {
                let record = file.next(&mut self.shared);
                if record.is_none() {
                    self.failures.extend(file.errors());
                    self.only = None;
                }
                record
            }
            None => self.merged(),
        };
        match (record, self.failures.pop_front()) {
            (Some(record), failure) => {
                self.failures.extend(failure); // of another file, for the next time
                let end_time = record.end_time();
                if end_time < self.latest {
                    self.shared.counters.count(Counter::RecordsLate);
                }
                self.latest = self.latest.max(end_time);
                Ok(Some(self.current.insert(record)))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(None),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    fn fail(&mut self, path: &Path, reason: &str) {
        self.failures.push_back(RecordError {
            name: path.display().to_string(),
            line: None,
            reason: reason.to_owned(),
        });
    }

    /// Finds the time of a file's first record, by which the merge decides when to begin it.
    fn look(&mut self, mut file: File, path: Option<&PathBuf>, rank: usize) {
        let before = self.shared.counters.clone();
        match (file.next(&mut self.shared), path) {
            (Some(first), Some(path)) => {
                // It will be counted when it is read.
                self.shared.counters = before;
                let origin = Origin::Path(path.clone());
                self.waiting.push_back(Waiting { first_time: first.end_time(), rank, origin });
            }
            (Some(first), None) => {
                let first_time = first.end_time();
                self.waiting.push_back(Waiting { first_time, rank, origin: Origin::Held(Box::new(file), first) });
            }
            (None, _) => self.failures.extend(file.errors()),
        }
    }

    /// The first record of all files.
    fn merged(&mut self) -> Option<Record> {
        while self.next_waiting_is_first() {
            self.begin_next();
        }
        let Reverse((_, place)) = self.heads.pop()?;
        let slot = self.active.get_mut(place)?;
        let active = slot.as_mut()?;
        match active.file.next(&mut self.shared) {
            Some(next) => {
                self.heads.push(Reverse(((next.order(), active.rank), place)));
                Some(std::mem::replace(&mut active.head, next))
            }
            None => {
                self.failures.extend(active.file.errors());
                slot.take().map(|active| active.head)
            }
        }
    }

    fn next_waiting_is_first(&self) -> bool {
        match (self.waiting.front(), self.heads.peek()) {
            (Some(waiting), Some(Reverse(((order, _), _)))) => waiting.first_time <= order.0,
            (waiting, None) => waiting.is_some(),
            (None, _) => false,
        }
    }

    /// Opens the first file that waits.
    fn begin_next(&mut self) {
        let Some(Waiting { rank, origin, .. }) = self.waiting.pop_front() else { return };
        let open = self.active.iter().flatten().count();
        let (file, head) = match origin {
            Origin::Held(file, head) => (file, head),
            Origin::Path(path) if open >= self.settings.max_open_files.max(1) => {
                let reason =
                    format!("left out: it overlaps in time with {open} other files, as many as max_open_files");
                return self.fail(&path, &reason);
            }
            Origin::Path(path) => match File::open(&path, &self.settings, &self.source) {
                Ok(mut file) => match file.next(&mut self.shared) {
                    Some(head) => (Box::new(file), head),
                    None => return self.failures.extend(file.errors()),
                },
                Err(failure) => return self.failures.push_back(failure),
            },
        };
        let place = self.active.iter().position(Option::is_none).unwrap_or(self.active.len());
        self.heads.push(Reverse(((head.order(), rank), place)));
        let active = Some(Active { file, head, rank });
        match self.active.get_mut(place) {
            Some(slot) => *slot = active,
            None => self.active.push(active),
        }
    }
}
