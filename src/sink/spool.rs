//! Alerts on disk until their receiver has them: a log in segments, which is written at its end and read at its beginning.
//!
//! A folder holds `00000000000000000001.spool` and so on, `position`, and `lock`. A segment is a run of frames:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0–4 | `ATS1` |
//! | 4–8 | length of the payload, little endian |
//! | 8–12 | CRC-32 of all that follows |
//! | 12–20 | when it came, in milliseconds since 1970, little endian |
//! | 20– | the payload |
//!
//! A frame is written by one call, so the death of the process leaves whole frames and at most one torn one at the end,
//! which is cut off when the spool is opened. What is damaged in the middle is passed over to the next whole frame. `position` tells
//! which frames are done; it has two places that are written in turn, so that one of them always holds, and it needs no
//! room that a full disk would not have. When it is lost, frames are sent again: receivers know them by their ids.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Begins a frame.
const MAGIC: [u8; 4] = *b"ATS1";

/// Bytes before a payload.
const HEADER: usize = 20;

/// Longest payload. An alert is far smaller.
pub(super) const PAYLOAD_LIMIT: usize = 8 << 20;

/// Largest segment: what is done takes this much room at most until it is given back.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Segments that a spool has at least when it is full.
const SEGMENTS: u64 = 8;

/// Bytes of one of the two places in `position`: generation, segment, offset, CRC-32.
const PLACE: usize = 28;

/// Why a payload was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no room under the cap.
    Full,
    /// It is longer than [`PAYLOAD_LIMIT`].
    TooLarge,
    /// The disk does not take it.
    Disk(io::Error),
}

/// What was found to be wrong when a spool was opened or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Bytes of torn frames that were cut off at the end.
    pub(super) torn_bytes: u64,
    /// Bytes in the middle that were no frames.
    pub(super) damaged_bytes: u64,
    /// `position` was unreadable: what was sent may be sent again.
    pub(super) position_lost: bool,
}

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    segment: u64,
    offset: u64,
}

/// One frame as it is read.
#[derive(Debug)]
pub(super) struct Entry {
    /// The payload.
    pub(super) payload: Vec<u8>,
    /// Milliseconds since 1970 when it came.
    pub(super) came: u64,
    /// The place behind it.
    pub(super) behind: Position,
}

/// A log on disk.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    /// Held for its lock.
    _lock: File,
    position_file: File,
    generation: u64,
    /// The segments that are there, in order, with their lengths. The last one is written.
    segments: Vec<(u64, u64)>,
    writer: Option<File>,
    reader: Option<(u64, File)>,
    position: Position,
    /// Frames that are not done.
    pending: u64,
    limit: u64,
    sync: bool,
    damage: Damage,
}

impl Spool {
    /// Opens or makes the spool in `folder`, of `limit` bytes. Reads it once, whole.
    ///
    /// # Errors
    ///
    /// A folder or file that cannot be made or read; `WouldBlock` when another process has it open.
    pub(super) fn open(folder: &Path, limit: u64, sync: bool) -> io::Result<Spool> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let private = |name: &str| {
            let path = folder.join(name);
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
        };
        let lock = private("lock")?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        let position_file = private("position")?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".spool")).and_then(|name| name.parse().ok());
            if let Some(number) = number {
                segments.push((number, entry.metadata()?.len()));
            }
        }
        segments.sort_unstable();
        let first = segments.first().map_or(1, |&(number, _)| number);
        let (read, lost) = read_position(&position_file);
        let mut spool = Spool {
            folder: folder.to_owned(),
            _lock: lock,
            position_file,
            generation: read.map_or(0, |(generation, _)| generation),
            segments,
            writer: None,
            reader: None,
            position: read.map_or(Position { segment: first, offset: 0 }, |(_, position)| position),
            pending: 0,
            limit,
            sync,
            damage: Damage { position_lost: lost, ..Damage::default() },
        };
        spool.recover()?;
        Ok(spool)
    }

    /// Cuts off what is torn, gives back what is done, and counts what is not.
    fn recover(&mut self) -> io::Result<()> {
        while let Some(&(number, _)) = self.segments.first()
            && number < self.position.segment
        {
            fs::remove_file(self.path(number))?;
            self.segments.remove(0);
        }
        let first = self.segments.first().map_or(self.position.segment, |&(number, _)| number);
        if self.position.segment < first {
            self.position = Position { segment: first, offset: 0 };
        }
        let last = self.segments.len().saturating_sub(1);
        for (at, (number, length)) in self.segments.clone().into_iter().enumerate() {
            let bytes = fs::read(self.path(number))?;
            let mut offset =
                if number == self.position.segment { self.position.offset.min(length) as usize } else { 0 };
            if number == self.position.segment {
                self.position.offset = offset as u64;
            }
            loop {
                match next_frame(&bytes, offset) {
                    Some(frame) => {
                        self.damage.damaged_bytes += (frame.start - offset) as u64;
                        self.pending += 1;
                        offset = frame.end;
                    }
                    None if at == last => {
                        self.damage.torn_bytes += (bytes.len() - offset) as u64;
                        if offset < bytes.len() {
                            OpenOptions::new().write(true).open(self.path(number))?.set_len(offset as u64)?;
                        }
                        if let Some((_, length)) = self.segments.get_mut(at) {
                            *length = offset as u64;
                        }
                        break;
                    }
                    None => {
                        self.damage.damaged_bytes += (bytes.len() - offset) as u64;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// What was wrong since it was asked last.
    pub(super) fn damage(&mut self) -> Damage {
        std::mem::take(&mut self.damage)
    }

    /// Frames that are not done.
    pub(super) fn pending(&self) -> u64 {
        self.pending
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|&(_, length)| length).sum()
    }

    /// Adds a payload at the end. A refused one leaves everything as it was.
    pub(super) fn append(&mut self, payload: &[u8], came: u64) -> Result<(), Refusal> {
        if payload.len() > PAYLOAD_LIMIT {
            return Err(Refusal::TooLarge);
        }
        let length = (HEADER + payload.len()) as u64;
        if self.bytes() + length > self.limit {
            return Err(Refusal::Full);
        }
        let segment_limit = (self.limit / SEGMENTS).clamp(1, SEGMENT_BYTES);
        let fits = self.segments.last().is_some_and(|&(_, held)| held == 0 || held + length <= segment_limit);
        if !fits {
            let number = self.segments.last().map_or(self.position.segment, |&(number, _)| number + 1);
            let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(number));
            self.writer = Some(file.map_err(Refusal::Disk)?);
            self.segments.push((number, 0));
        }
        let Some((number, held)) = self.segments.last().copied() else { return Err(Refusal::Full) };
        let file = match &mut self.writer {
            Some(file) => file,
            empty => {
                let path = self.folder.join(segment_name(number));
                empty.insert(OpenOptions::new().append(true).open(path).map_err(Refusal::Disk)?)
            }
        };
        let frame = frame(payload, came);
        let written =
            io::Write::write_all(file, &frame).and_then(|()| if self.sync { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // What a full disk took of it is taken back, which needs no room.
            if file.set_len(held).is_err() {
                self.writer = None;
            }
            return Err(Refusal::Disk(error));
        }
        if let Some((_, held)) = self.segments.last_mut() {
            *held += length;
        }
        self.pending += 1;
        Ok(())
    }

    /// The oldest payloads that are not done: up to `count`, and `bytes` of them unless the first is larger.
    ///
    /// # Errors
    ///
    /// A segment that cannot be read.
    pub(super) fn peek(&mut self, count: usize, bytes: usize) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut held = 0;
        let mut position = self.position;
        while entries.len() < count {
            let Some(&(_, length)) = self.segments.iter().find(|&&(number, _)| number == position.segment) else {
                break;
            };
            match self.read(position, length)? {
                Some(entry) => {
                    held += entry.payload.len();
                    if held > bytes && !entries.is_empty() {
                        break;
                    }
                    position = entry.behind;
                    entries.push(entry);
                }
                None => {
                    // The next segment that is there, though one between were lost.
                    match self.segments.iter().find(|&&(number, _)| number > position.segment) {
                        Some(&(number, _)) => position = Position { segment: number, offset: 0 },
                        None => break,
                    }
                }
            }
        }
        Ok(entries)
    }

    /// The first whole frame from a position on in its segment of `length` bytes.
    fn read(&mut self, position: Position, length: u64) -> io::Result<Option<Entry>> {
        if position.offset >= length {
            return Ok(None);
        }
        let path = self.path(position.segment);
        let file = match &mut self.reader {
            Some((number, file)) if *number == position.segment => file,
            held => &mut held.insert((position.segment, File::open(path)?)).1,
        };
        let mut header = [0; HEADER];
        let room = length - position.offset;
        if room >= HEADER as u64 {
            file.read_exact_at(&mut header, position.offset)?;
            let size = word(&header, 4) as usize;
            if header.starts_with(&MAGIC) && size <= PAYLOAD_LIMIT && (HEADER + size) as u64 <= room {
                let mut payload = vec![0; size];
                file.read_exact_at(&mut payload, position.offset + HEADER as u64)?;
                if word(&header, 8) == checksum(&header, &payload) {
                    let offset = position.offset + (HEADER + size) as u64;
                    let behind = Position { offset, ..position };
                    return Ok(Some(Entry { payload, came: came(&header), behind }));
                }
            }
        }
        // Damage: the rest of the segment, which is bounded, is looked through for the next frame.
        let mut bytes = vec![0; room as usize];
        file.read_exact_at(&mut bytes, position.offset)?;
        Ok(next_frame(&bytes, 0).map(|frame| Entry {
            payload: bytes.get(frame.start + HEADER..frame.end).unwrap_or_default().to_vec(),
            came: came(bytes.get(frame.start..).unwrap_or_default()),
            behind: Position { offset: position.offset + frame.end as u64, ..position },
        }))
    }

    /// The first `count` payloads that [`Spool::peek`] gave, up to the place behind them, are done. Segments that hold
    /// nothing else are removed.
    ///
    /// # Errors
    ///
    /// A disk that takes neither; the frames are done in this process all the same, and would be sent again by the next.
    pub(super) fn advance(&mut self, count: usize, behind: Position) -> io::Result<()> {
        self.position = behind;
        self.pending = self.pending.saturating_sub(count as u64);
        let written_out = self.pending == 0;
        if written_out && let Some(&(number, _)) = self.segments.last() {
            self.position = Position { segment: number + 1, offset: 0 };
        }
        self.store_position()?;
        while let Some(&(number, _)) = self.segments.first()
            && number < self.position.segment
        {
            fs::remove_file(self.path(number))?;
            self.segments.remove(0);
        }
        if self.segments.is_empty() {
            self.writer = None;
        }
        if self.reader.as_ref().is_some_and(|(number, _)| *number < self.position.segment) {
            self.reader = None;
        }
        Ok(())
    }

    /// What is left was damaged since the spool was opened, and no frame can be found in it: it is passed over and counted.
    ///
    /// # Errors
    ///
    /// As [`Spool::advance`].
    pub(super) fn pass_over(&mut self) -> io::Result<()> {
        let left = self.segments.iter().filter(|&&(number, _)| number >= self.position.segment);
        let bytes: u64 = left.map(|&(_, length)| length).sum();
        self.damage.damaged_bytes += bytes.saturating_sub(self.position.offset);
        self.pending = 0;
        self.advance(0, self.position)
    }

    fn store_position(&mut self) -> io::Result<()> {
        self.generation += 1;
        let mut place = [0; PLACE];
        for (at, value) in [self.generation, self.position.segment, self.position.offset].into_iter().enumerate() {
            if let Some(bytes) = place.get_mut(at * 8..at * 8 + 8) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
        }
        let sum = crc32fast::hash(place.get(..24).unwrap_or_default());
        if let Some(bytes) = place.get_mut(24..) {
            bytes.copy_from_slice(&sum.to_le_bytes());
        }
        self.position_file.write_all_at(&place, (self.generation % 2) * PLACE as u64)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(segment_name(number))
    }
}

fn segment_name(number: u64) -> String {
    format!("{number:020}.spool")
}

/// The later of the two places that holds, with its generation; and whether there was something that does not.
fn read_position(file: &File) -> (Option<(u64, Position)>, bool) {
    let mut bytes = [0; 2 * PLACE];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..)
        && let Ok(count @ 1..) = file.read_at(rest, filled as u64)
    {
        filled += count;
    }
    let number = |place: &[u8], at: usize| {
        place.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    let held = bytes.chunks_exact(PLACE).filter(|place| {
        let sum = crc32fast::hash(place.get(..24).unwrap_or_default());
        word(place, 24) == sum && number(place, 0) > 0
    });
    let latest = held.max_by_key(|place| number(place, 0));
    let position =
        latest.map(|place| (number(place, 0), Position { segment: number(place, 8), offset: number(place, 16) }));
    (position, position.is_none() && filled > 0)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn came(header: &[u8]) -> u64 {
    header.get(12..20).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header.get(12..HEADER).unwrap_or_default());
    hasher.update(payload);
    hasher.finalize()
}

fn frame(payload: &[u8], came: u64) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&came.to_le_bytes());
    let sum = checksum(&frame, payload);
    if let Some(bytes) = frame.get_mut(8..12) {
        bytes.copy_from_slice(&sum.to_le_bytes());
    }
    frame.extend_from_slice(payload);
    frame
}

/// Where a frame stands in some bytes.
struct Frame {
    start: usize,
    end: usize,
}

/// The first whole frame from `offset` on. Each place where one could begin costs at most its own payload, and a payload
/// that looked whole and was not is passed over by its first bytes only, so work is bounded by the segment's length times
/// the number of feigned frames in it; a spool is written by this program alone.
fn next_frame(bytes: &[u8], mut offset: usize) -> Option<Frame> {
    loop {
        let rest = bytes.get(offset..)?;
        let start = offset + memchr::memmem::find(rest, &MAGIC)?;
        let header = bytes.get(start..start + HEADER)?;
        let length = word(header, 4) as usize;
        let payload = bytes.get(start + HEADER..).and_then(|rest| rest.get(..length));
        match payload.filter(|payload| word(header, 8) == checksum(header, payload)) {
            Some(_) => return Some(Frame { start, end: start + HEADER + length }),
            None => offset = start + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(spool: &mut Spool, count: usize) -> Vec<String> {
        let entries = spool.peek(count, usize::MAX).expect("readable");
        entries.into_iter().map(|entry| String::from_utf8(entry.payload).expect("text")).collect()
    }

    fn done(spool: &mut Spool, count: usize) {
        let entries = spool.peek(count, usize::MAX).expect("readable");
        assert_eq!(entries.len(), count);
        spool.advance(count, entries.last().expect("some").behind).expect("writable");
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .filter(|name| name.ends_with(".spool"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_done_is_there_again() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        for number in 0..10 {
            spool.append(format!("alert {number}").as_bytes(), number).expect("room");
        }
        assert_eq!(texts(&mut spool, 2), ["alert 0", "alert 1"]);
        done(&mut spool, 3);
        assert_eq!(Spool::open(folder.path(), 1 << 20, false).expect_err("locked").kind(), io::ErrorKind::WouldBlock);
        drop(spool);
        let mut spool = Spool::open(folder.path(), 1 << 20, true)?;
        assert_eq!((spool.pending(), spool.damage()), (7, Damage::default()));
        assert_eq!(texts(&mut spool, 1), ["alert 3"]);
        assert_eq!(spool.peek(1, 9)?.first().map(|entry| entry.came), Some(3));
        done(&mut spool, 7);
        assert_eq!((spool.bytes(), names(folder.path())), (0, Vec::new()));
        spool.append(b"later", 1).expect("room");
        drop(spool);
        assert_eq!(texts(&mut Spool::open(folder.path(), 1 << 20, false)?, 9), ["later"]);
        Ok(())
    }

    #[test]
    fn the_oldest_stay_when_it_is_full() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::open(folder.path(), 1_000, false)?;
        let mut taken = 0;
        while spool.append(&[b'a'; 80], 0).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 10);
        assert!(matches!(spool.append(&[b'b'; 80], 0), Err(Refusal::Full)));
        assert!(names(folder.path()).len() > 5, "segments that can be given back one by one");
        done(&mut spool, 3);
        assert!(spool.append(&[b'b'; 80], 0).is_ok());
        assert_eq!(spool.peek(1, 0)?.len(), 1, "one in any case");
        assert!(matches!(spool.append(&vec![0; PAYLOAD_LIMIT + 1], 0), Err(Refusal::TooLarge)));
        Ok(())
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_is_torn() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        spool.append(b"whole", 1).expect("room");
        spool.append(b"torn", 2).expect("room");
        drop(spool);
        let path = folder.path().join(segment_name(1));
        let bytes = fs::read(&path)?;
        let whole = HEADER + 5;
        for length in whole..bytes.len() {
            fs::write(&path, bytes.get(..length).expect("a part"))?;
            let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
            assert_eq!(spool.damage().torn_bytes, (length - whole) as u64, "{length}");
            spool.append(b"next", 3).expect("room");
            assert_eq!(texts(&mut spool, 9), ["whole", "next"], "{length}");
        }
        Ok(())
    }

    #[test]
    fn every_flipped_bit_costs_its_own_frame_only() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        for text in ["one", "two", "three"] {
            spool.append(text.as_bytes(), 7).expect("room");
        }
        drop(spool);
        let path = folder.path().join(segment_name(1));
        let bytes = fs::read(&path)?;
        for at in HEADER + 3..2 * HEADER + 6 {
            let mut damaged = bytes.clone();
            *damaged.get_mut(at).expect("inside") ^= 0x10;
            fs::write(&path, &damaged)?;
            let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
            assert_eq!(texts(&mut spool, 9), ["one", "three"], "{at}");
            assert_eq!((spool.pending(), spool.damage().damaged_bytes), (2, (HEADER + 3) as u64), "{at}");
        }
        Ok(())
    }

    #[test]
    fn damage_while_it_is_open_holds_nothing_up() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        spool.append(b"one", 1).expect("room");
        let path = folder.path().join(segment_name(1));
        let length = fs::read(&path)?.len();
        fs::write(&path, vec![0; length])?;
        assert!(spool.peek(9, 99)?.is_empty() && spool.pending() == 1);
        spool.pass_over()?;
        assert_eq!((spool.pending(), spool.damage().damaged_bytes), (0, length as u64));
        spool.append(b"two", 2).expect("room");
        assert_eq!(texts(&mut spool, 9), ["two"]);
        Ok(())
    }

    #[test]
    fn a_damaged_position_sends_again_and_loses_nothing() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        for text in ["one", "two", "three"] {
            spool.append(text.as_bytes(), 7).expect("room");
        }
        done(&mut spool, 1);
        done(&mut spool, 1);
        drop(spool);
        let path = folder.path().join("position");
        let mut bytes = fs::read(&path)?;
        // The second position stands in the first place: without it the first position holds.
        *bytes.get_mut(9).expect("inside") ^= 1;
        fs::write(&path, &bytes)?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        assert_eq!(
            (texts(&mut spool, 9), spool.damage()),
            (vec!["two".to_owned(), "three".to_owned()], Damage::default())
        );
        drop(spool);
        fs::write(&path, b"nonsense")?;
        let mut spool = Spool::open(folder.path(), 1 << 20, false)?;
        assert!(spool.damage().position_lost);
        assert_eq!(texts(&mut spool, 9), ["one", "two", "three"]);
        Ok(())
    }
}
