//! One file of records.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use memchr::memmem;

use super::entry::{Maker, Taken};
use super::lines::{Line, Lines};
use super::{Format, RecordError, Settings, apitap, combined, eve, zeek};
use crate::call::{FlowId, Record};
use crate::source::{self, Input};
use crate::stats::{Counter, Counters};
use crate::time::{Clock, Timestamp};

/// Lines of no known format after which a file is given up.
const RECOGNITION_LINES: u64 = 64;

/// What files share.
pub(super) struct Shared {
    pub(super) maker: Maker,
    pub(super) counters: Counters,
}

/// A file being read.
pub(super) struct File {
    name: String,
    lines: Lines,
    format: Option<Format>,
    header: zeek::Header,
    seconds: combined::Seconds,
    look_ahead: usize,
    look_ahead_time: Duration,
    /// Records that wait for earlier ones.
    held: BinaryHeap<Reverse<Held>>,
    /// How many were held so far.
    serial: u64,
    clock: Clock,
    ended: bool,
    /// The first line that could not be read, and why.
    first_error: Option<(u64, String)>,
    /// The same of a line within which the file ends.
    torn: Option<(u64, String)>,
    /// Lines before the format was recognised.
    unrecognised: u64,
}

/// A record by its place in the order of records; where that is the same, by its place in the file.
struct Held {
    order: (Timestamp, FlowId, u32),
    serial: u64,
    record: Record,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.order, self.serial).cmp(&(other.order, other.serial))
    }
}

impl File {
    /// Opens the file at a path.
    pub(super) fn open(path: &Path, settings: &Settings, source: &source::Settings) -> Result<File, RecordError> {
        let name = path.display().to_string();
        let input = fs::File::open(path)
            .map_err(|error| error.to_string())
            .and_then(|file| Input::from_file(file, source))
            .map_err(|reason| RecordError { name: name.clone(), line: None, reason })?;
        Ok(File::new(name, input, settings))
    }

    pub(super) fn new(name: String, input: Input, settings: &Settings) -> File {
        File {
            name,
            lines: Lines::new(input, settings.line_limit),
            format: settings.format,
            header: zeek::Header::default(),
            seconds: combined::Seconds::default(),
            look_ahead: settings.look_ahead,
            look_ahead_time: Duration::from_secs(settings.look_ahead_seconds),
            held: BinaryHeap::new(),
            serial: 0,
            clock: Clock::default(),
            ended: false,
            first_error: None,
            torn: None,
            unrecognised: 0,
        }
    }

    /// The next record, in order as far as the look-ahead reaches; None at the end.
    pub(super) fn next(&mut self, shared: &mut Shared) -> Option<Record> {
        loop {
            if self.is_due() {
                return self.held.pop().map(|Reverse(held)| held.record);
            }
            if self.ended {
                return None;
            }
            let Some(record) = self.read(shared) else {
                self.ended = true;
                continue;
            };
            // apitap's own lines are in their order, and whoever reads them as they are written waits for alerts.
            if self.format == Some(Format::Apitap) || self.look_ahead == 0 {
                return Some(record);
            }
            self.clock.observe(record.end_time());
            self.serial += 1;
            let held = Held { order: record.order(), serial: self.serial, record };
            self.held.push(Reverse(held));
        }
    }

    /// What made the file, or lines of it, unreadable. To be asked at its end.
    pub(super) fn errors(&mut self) -> Vec<RecordError> {
        let name = &self.name;
        let error = |(line, reason)| RecordError { name: name.clone(), line: Some(line), reason };
        let damage = self.lines.failure().map(|reason| (self.lines.number().max(1), reason));
        self.first_error.take().into_iter().chain(self.torn.take()).chain(damage).map(error).collect()
    }

    fn is_due(&self) -> bool {
        let Some(Reverse(first)) = self.held.peek() else { return false };
        self.ended || self.held.len() > self.look_ahead || first.order.0 + self.look_ahead_time < self.clock.now()
    }

    /// The record of the next line that has one.
    fn read(&mut self, shared: &mut Shared) -> Option<Record> {
        let Shared { maker, counters } = shared;
        loop {
            let number = self.lines.number() + 1;
            let taken = match self.lines.next()? {
                Line::TooLong => Err("longer than line_limit allows".to_owned()),
                Line::Whole(line) => {
                    let trimmed = line.trim_ascii();
                    if trimmed.is_empty() {
                        continue;
                    }
                    if self.format.is_none() {
                        self.format = recognised(trimmed, maker);
                    }
                    match self.format {
                        Some(Format::Apitap) => apitap::read(line).map(Taken::Record),
                        Some(Format::Zeek) => zeek::read(line, &mut self.header, maker),
                        Some(Format::Eve) => eve::read(line, maker),
                        Some(Format::Combined) => combined::read(trimmed, number, &mut self.seconds, maker),
                        None => Err("of no known format; it may be named with --format".to_owned()),
                    }
                }
            };
            match taken {
                Ok(Taken::Record(record)) => {
                    counters.count(Counter::Records);
                    return Some(record);
                }
                Ok(Taken::Skipped(cause)) => {
                    counters.count(Counter::Records);
                    counters.count(cause);
                }
                Ok(Taken::Nothing) => {}
                Err(reason) => {
                    counters.count(Counter::CallsUnreadable);
                    // Whoever writes it has not come to its end.
                    match self.lines.torn() {
                        Some(offset) => {
                            let reason =
                                format!("{reason}; the file ends within this line, which begins at byte {offset}");
                            self.torn = Some((number, reason));
                        }
                        None => {
                            self.first_error.get_or_insert((number, reason));
                        }
                    }
                    self.unrecognised += u64::from(self.format.is_none());
                    if self.unrecognised >= RECOGNITION_LINES {
                        return None;
                    }
                }
            }
        }
    }
}

/// What a line is. The names looked for cannot stand inside a JSON text, where quotes are escaped.
fn recognised(line: &[u8], maker: &mut Maker) -> Option<Format> {
    let has = |name: &str| memmem::find(line, name.as_bytes()).is_some();
    if line.starts_with(b"#separator ") || line.starts_with(b"#fields") {
        return Some(Format::Zeek);
    }
    if line.starts_with(b"{") {
        return if has("\"apitap.call.") || has("\"apitap.connection.") {
            Some(Format::Apitap)
        } else if has("\"event_type\"") {
            Some(Format::Eve)
        } else if has("\"id.orig_h\"") || has("\"id_orig_h\"") {
            Some(Format::Zeek)
        } else {
            None
        };
    }
    let read = combined::read(line, 0, &mut combined::Seconds::default(), maker);
    matches!(read, Ok(Taken::Record(_) | Taken::Skipped(_))).then_some(Format::Combined)
}
