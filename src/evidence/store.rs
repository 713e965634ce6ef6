//! The files: begun, added to, deleted when there are too many.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use hashbrown::HashMap;

use super::pcapng;
use super::ring::Entry;
use super::watch::LineKind;
use crate::source::LinkType;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Bytes of a file that wait to be written together.
const PENDING: usize = 256 << 10;

/// What a file takes of the disk comes in such blocks.
const DISK_BLOCK: u64 = 4096;

/// How long nothing more is said of what fails: a disk that is full fails many times a second.
const PAUSE: Duration = Duration::from_secs(60);

/// Room for the word at the end of a file that is full.
const REMARK: u64 = 256;

/// Makes the folder, if it is not there, for its owner alone.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The name of an incident's file.
pub(super) fn name(incident: &str) -> String {
    format!("{incident}.pcapng")
}

/// A name for a further file of an incident, of which no file is in the folder.
pub(super) fn free_name(folder: &Path, incident: &str) -> String {
    let numbered = |number: u32| format!("{incident}.{number}.pcapng");
    (2..=9_999).map(numbered).find(|name| !folder.join(name).exists()).unwrap_or_else(|| numbered(9_999))
}

/// Whether a file is one of an incident, by its name.
fn is_ours(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".pcapng") else { return false };
    let (incident, number) = stem.split_once('.').unwrap_or((stem, "2"));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    incident.len() == 16 && is_number && incident.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// When the file of an incident may be deleted: those that closed first, in the order in which they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Over {
    /// The incident closed.
    Closed(u64),
    /// It is open, and nothing is added any more.
    Ended(u64),
}

/// A file in the folder.
#[derive(Debug, Default)]
struct Held {
    incident: Arc<str>,
    /// What is on the disk.
    written: u64,
    /// Link types whose interfaces are in the file, or are going to be, and how many of them are on the disk.
    links: Vec<LinkType>,
    written_links: usize,
    /// What is going to be written, and how many packets that has.
    pending: Vec<u8>,
    pending_packets: u64,
    /// It ends with a word on that.
    full: bool,
    over: Option<Over>,
}

impl Held {
    fn size(&self) -> u64 {
        self.written + self.pending.len() as u64
    }
}

fn on_disk(size: u64) -> u64 {
    size.next_multiple_of(DISK_BLOCK)
}

/// All files of the folder.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    incident_bytes: u64,
    total_bytes: u64,
    files: HashMap<Arc<str>, Held, RandomState>,
    /// What they take of the disk.
    total: u64,
    /// Those that may be deleted.
    over: BTreeSet<(Over, Arc<str>)>,
    next: u64,
    /// Those with something to be written.
    pending: BTreeSet<Arc<str>>,
    /// When it was last said that writing fails, and how often it failed since.
    said: Option<Instant>,
    unsaid: u64,
    /// When it was last said that there is no room.
    said_crowded: Option<Instant>,
    counters: Counters,
}

impl Store {
    /// The folder, made if it is not there, with the files of earlier runs.
    pub(super) fn open(folder: PathBuf, incident_bytes: u64, total_bytes: u64) -> Store {
        let mut store = Store {
            folder,
            incident_bytes: incident_bytes.max(DISK_BLOCK),
            total_bytes,
            files: HashMap::default(),
            total: 0,
            over: BTreeSet::new(),
            next: 0,
            pending: BTreeSet::new(),
            said: None,
            unsaid: 0,
            said_crowded: None,
            counters: Counters::new(),
        };
        let made = make_folder(&store.folder);
        if let Err(error) = made.and_then(|()| store.find()) {
            store.failed(&store.folder.clone(), &error);
        }
        store
    }

    /// Files of earlier runs, the one that was written to first being the first to be deleted.
    fn find(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().filter(|name| is_ours(name)).map(Arc::<str>::from) else {
                continue;
            };
            if let Ok(metadata) = entry.metadata() {
                found.push((metadata.mtime(), metadata.mtime_nsec(), name, metadata.len()));
            }
        }
        found.sort_unstable();
        for (_, _, name, size) in found {
            self.total += on_disk(size);
            self.files.insert(name.clone(), Held { written: size, full: true, ..Held::default() });
            self.close(&name);
        }
        Ok(())
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Packets of an incident are going to come.
    pub(super) fn begin(&mut self, name: &Arc<str>, incident: &Arc<str>, kind: LineKind) {
        if kind == LineKind::Opens && self.files.contains_key(name) {
            // A run that reads the same traffic again tells the same.
            self.delete(name);
        }
        if let Some(held) = self.files.get_mut(name) {
            if let Some(over) = held.over.take() {
                self.over.remove(&(over, name.clone()));
            }
            return;
        }
        self.files.insert(name.clone(), Held { incident: incident.clone(), ..Held::default() });
        if kind != LineKind::Remembered && self.make_room(name, DISK_BLOCK) {
            self.head(name);
        }
    }

    /// The beginning of a file.
    fn head(&mut self, name: &Arc<str>) {
        let Some(held) = self.files.get_mut(name) else { return };
        pcapng::section(&mut held.pending, &format!("apitap incident {}", held.incident));
        self.total += on_disk(held.size());
        self.pending.insert(name.clone());
    }

    /// Adds a packet to a file.
    pub(super) fn add(&mut self, name: &Arc<str>, entry: &Entry, data: &[u8]) {
        let Some(held) = self.files.get(name) else {
            // It was deleted, there being too many.
            return self.counters.count(Counter::EvidencePacketsLeftOut);
        };
        if held.full {
            return self.counters.count(Counter::EvidencePacketsLeftOut);
        }
        let known = held.links.iter().position(|&link| link == entry.link);
        let size = held.size();
        let growth = pcapng::packet_length(data.len()) as u64
            + if known.is_none() { pcapng::INTERFACE_LENGTH as u64 } else { 0 }
            + if size == 0 { REMARK } else { 0 };
        if size + growth + REMARK > self.incident_bytes {
            return self.fill(name, entry.time);
        }
        if !self.make_room(name, on_disk(size + growth).saturating_sub(on_disk(size))) {
            return self.counters.count(Counter::EvidencePacketsLeftOut);
        }
        if size == 0 {
            self.head(name);
        }
        let Some(held) = self.files.get_mut(name) else { return };
        let before = on_disk(held.size());
        let interface = known.unwrap_or_else(|| {
            pcapng::interface(&mut held.pending, entry.link);
            held.links.push(entry.link);
            held.links.len() - 1
        });
        pcapng::packet(&mut held.pending, interface as u32, entry.time, entry.original_length, data);
        held.pending_packets += 1;
        self.total += on_disk(held.size()) - before;
        let much = held.pending.len() >= PENDING;
        self.pending.insert(name.clone());
        if much {
            self.write(name);
        }
    }

    /// The file is full, and says so.
    fn fill(&mut self, name: &Arc<str>, time: Timestamp) {
        self.counters.count(Counter::EvidencePacketsLeftOut);
        let limit = self.incident_bytes;
        let Some(held) = self.files.get_mut(name) else { return };
        held.full = true;
        tracing::warn!("{name}: the packets of incident {} beyond {limit} bytes are left out", held.incident);
        if held.links.is_empty() {
            return;
        }
        let before = on_disk(held.size());
        let comment = format!(
            "apitap incident {}: the limit of {limit} bytes was reached; packets from here on are left out",
            held.incident
        );
        pcapng::remark(&mut held.pending, time, &comment);
        self.total += on_disk(held.size()) - before;
        self.pending.insert(name.clone());
    }

    /// Deletes what is over until there is room for `growth` more bytes; false when there is none.
    fn make_room(&mut self, name: &Arc<str>, growth: u64) -> bool {
        while self.total + growth > self.total_bytes {
            let Some(first) = self.over.iter().map(|(_, held)| held).find(|&held| held != name).cloned() else {
                if self.said_crowded.is_none_or(|said| said.elapsed() >= PAUSE) {
                    self.said_crowded = Some(Instant::now());
                    let (folder, total) = (self.folder.display(), self.total_bytes);
                    tracing::warn!(
                        "{folder}: no room for more packets in `total_bytes` = {total}: all incidents go on"
                    );
                }
                return false;
            };
            let is_there = self.files.get(&first).is_some_and(|held| held.size() > 0);
            self.counters.add(Counter::EvidenceFilesDeleted, u64::from(is_there));
            self.delete(&first);
        }
        true
    }

    /// Deletes a file.
    fn delete(&mut self, name: &Arc<str>) {
        let Some(held) = self.files.remove(name) else { return };
        self.pending.remove(name);
        if let Some(over) = held.over {
            self.over.remove(&(over, name.clone()));
        }
        self.total = self.total.saturating_sub(on_disk(held.size()));
        let path = self.folder.join(&**name);
        match std::fs::remove_file(&path) {
            Err(error) if held.written > 0 && error.kind() != io::ErrorKind::NotFound => self.failed(&path, &error),
            _ => {}
        }
    }

    /// The incident of a file closed.
    pub(super) fn close(&mut self, name: &Arc<str>) {
        self.is_over(name, Over::Closed);
    }

    /// Nothing is added to a file any more.
    pub(super) fn end(&mut self, name: &Arc<str>) {
        if self.files.get(name).is_some_and(|held| held.over.is_none()) {
            self.is_over(name, Over::Ended);
        }
    }

    fn is_over(&mut self, name: &Arc<str>, over: impl Fn(u64) -> Over) {
        let Some(held) = self.files.get_mut(name) else { return };
        let over = over(self.next);
        self.next += 1;
        if let Some(before) = held.over.replace(over) {
            self.over.remove(&(before, name.clone()));
        }
        self.over.insert((over, name.clone()));
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) {
        while let Some(name) = self.pending.first().cloned() {
            self.write(&name);
        }
    }

    fn write(&mut self, name: &Arc<str>) {
        self.pending.remove(name);
        let path = self.folder.join(&**name);
        let Some(held) = self.files.get_mut(name) else { return };
        let begins = held.written == 0;
        match append(&path, begins, held.written, &held.pending) {
            Ok(()) => {
                self.counters.add(Counter::EvidenceFiles, u64::from(begins));
                self.counters.add(Counter::EvidenceBytes, held.pending.len() as u64);
                self.counters.add(Counter::EvidencePackets, held.pending_packets);
                held.written = held.size();
                held.written_links = held.links.len();
            }
            Err(error) => {
                self.counters.add(Counter::EvidencePacketsDropped, held.pending_packets);
                self.total = self.total.saturating_sub(on_disk(held.size()) - on_disk(held.written));
                held.links.truncate(held.written_links);
                if error.kind() == io::ErrorKind::NotFound && !begins {
                    // Somebody took the file away: another one begins with the next packet.
                    self.total = self.total.saturating_sub(on_disk(held.written));
                    (held.written, held.written_links) = (0, 0);
                    held.links.clear();
                }
                held.full = false;
                self.failed(&path, &error);
            }
        }
        if let Some(held) = self.files.get_mut(name) {
            held.pending = Vec::new();
            held.pending_packets = 0;
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        self.counters.count(Counter::EvidenceWritesFailed);
        self.unsaid += 1;
        if self.said.is_some_and(|said| said.elapsed() < PAUSE) {
            return;
        }
        self.said = Some(Instant::now());
        let times = std::mem::take(&mut self.unsaid);
        tracing::warn!("{}: the packets of incidents cannot be kept ({times} times): {error}", path.display());
    }
}

/// Writes to the end of a file of `length` bytes, which stays as it was when that fails.
fn append(path: &Path, begins: bool, length: u64, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = if begins {
        // Whatever stands under this name, a link perhaps, is not written to.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => options.write(true).create_new(true).mode(0o600).open(path)?,
        }
    } else {
        options.append(true).custom_flags(libc::O_NOFOLLOW).open(path)?
    };
    let result = file.write_all(bytes);
    if result.is_err() {
        let _ = undo(&file, path, begins, length);
    }
    result
}

/// Takes back the part of a block that was written.
fn undo(file: &File, path: &Path, begins: bool, length: u64) -> io::Result<()> {
    if begins { std::fs::remove_file(path) } else { file.set_len(length) }
}
