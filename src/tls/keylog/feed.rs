//! Key logs that are files: read whole before a replay, followed as they grow while listening.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{KeyLog, Settings};

/// Bytes read at a time.
const PORTION: usize = 64 << 10;

/// Longest line that is put together from what was read; what is longer is no line of a key log.
const MAX_LINE: usize = 4096;

/// Bytes read of one file before the others have their turn.
const TURN: usize = 4 << 20;

/// A key log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct FeedError {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

/// Reads these files to their ends. One that is a pipe is read until its writer closes it.
///
/// # Errors
///
/// The first that cannot be read.
pub fn read(files: &[PathBuf], keys: &KeyLog) -> Result<(), FeedError> {
    for path in files {
        let whole = || {
            let mut lines = Lines::default();
            let mut file = File::open(path)?;
            while lines.take(&mut file, keys)? > 0 {}
            lines.finish(keys);
            io::Result::Ok(())
        };
        whole().map_err(|error| FeedError { path: path.clone(), error })?;
    }
    Ok(())
}

/// Follows key logs on a thread of its own, until it is dropped.
///
/// What is there at first is read, then what is appended, every [`Settings::poll_milliseconds`]. A file that was
/// replaced or cut is read from its beginning again, which changes nothing where its lines are known; one that is not
/// there, or not readable, is waited for. Nothing here ever waits for a writer: a pipe without one has nothing.
pub struct Follower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts to follow the files of the settings.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(settings: &Settings, keys: Arc<KeyLog>) -> io::Result<Follower> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut files: Vec<_> = settings.files.iter().map(|path| Followed::new(path)).collect();
        let (stopped, pause) = (stop.clone(), Duration::from_millis(u64::from(settings.poll_milliseconds).max(1)));
        for path in settings.files.iter().filter(|path| !path.exists()) {
            tracing::warn!("{}: there is no key log yet; it is waited for", path.display());
        }
        // Before the first packet is looked at, as far as that goes without waiting.
        files.iter_mut().for_each(|file| file.look(&keys));
        let follow = move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(pause);
                files.iter_mut().for_each(|file| file.look(&keys));
            }
        };
        let thread = thread::Builder::new().name("keylog".into()).spawn(follow)?;
        Ok(Follower { stop, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join(); // a panic was printed when it came
        }
    }
}

/// One file, and how far it was read.
struct Followed {
    path: PathBuf,
    file: Option<Opened>,
    lines: Lines,
}

struct Opened {
    file: File,
    /// Device and number, by which a file that took its place is told.
    identity: (u64, u64),
    /// Bytes read; none for a pipe.
    position: Option<u64>,
}

impl Followed {
    fn new(path: &Path) -> Followed {
        Followed { path: path.to_owned(), file: None, lines: Lines::default() }
    }

    /// Reads what is new. An error is as good as nothing new: the file is opened anew the next time.
    fn look(&mut self, keys: &KeyLog) {
        if self.read(keys).is_err() {
            self.file = None;
            self.lines.finish(keys);
        }
    }

    fn read(&mut self, keys: &KeyLog) -> io::Result<()> {
        let opened = match &mut self.file {
            Some(opened) => opened,
            None => self.file.insert(Opened::new(&self.path)?),
        };
        if opened.was_cut()? {
            self.lines.finish(keys);
            opened.file.seek(SeekFrom::Start(0))?;
            opened.position = Some(0);
        }
        let mut left = TURN;
        while left > 0 {
            let count = match self.lines.take(&mut opened.file, keys) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0, // a pipe whose writer has nothing
                Err(error) => return Err(error),
            };
            opened.position = opened.position.map(|position| position + count as u64);
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
        }
        // Only what was read to its end may be left for what took its place.
        if left > 0 && opened.position.is_some() && Opened::identity(&self.path.metadata()?) != opened.identity {
            self.lines.finish(keys);
            self.file = None;
        }
        Ok(())
    }
}

impl Opened {
    fn new(path: &Path) -> io::Result<Opened> {
        // Without waiting: to open a pipe for reading would take a writer.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let kind = metadata.file_type();
        let position = (!kind.is_fifo() && !kind.is_socket() && !kind.is_char_device()).then_some(0);
        Ok(Opened { file, identity: Opened::identity(&metadata), position })
    }

    fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
        (metadata.dev(), metadata.ino())
    }

    /// Whether the file has become shorter than what was read of it.
    fn was_cut(&self) -> io::Result<bool> {
        Ok(match self.position {
            Some(position) => self.file.metadata()?.len() < position,
            None => false,
        })
    }
}

/// Lines out of portions, which may end anywhere.
#[derive(Default)]
struct Lines {
    portion: Vec<u8>,
    /// How much of the portion is the beginning of a line whose end has not come.
    rest: usize,
    /// What comes is still part of a line that is too long.
    overlong: bool,
}

impl Lines {
    /// Reads once, and hands on the lines that are whole; gives how many bytes were read.
    fn take(&mut self, from: &mut impl Read, keys: &KeyLog) -> io::Result<usize> {
        self.portion.resize(PORTION, 0);
        let free = self.portion.get_mut(self.rest..).unwrap_or_default();
        let count = loop {
            match from.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let filled = self.rest + count;
        let bytes = self.portion.get(..filled).unwrap_or_default();
        let mut start = 0;
        if let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') {
            let mut lines = bytes.get(..end).unwrap_or_default();
            if std::mem::take(&mut self.overlong) {
                let first = lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1);
                lines = lines.get(first..).unwrap_or_default();
            }
            keys.add(lines, KeyLog::ALWAYS);
            start = end + 1;
        }
        self.rest = filled - start;
        self.portion.copy_within(start..filled, 0);
        if self.rest > MAX_LINE {
            if !self.overlong {
                keys.add(b"overlong", KeyLog::ALWAYS); // counted as what it is: unreadable
            }
            (self.rest, self.overlong) = (0, true);
        }
        Ok(count)
    }

    /// The file is over: its last line may lack an end.
    fn finish(&mut self, keys: &KeyLog) {
        if !std::mem::take(&mut self.overlong) {
            keys.add(self.portion.get(..self.rest).unwrap_or_default(), KeyLog::ALWAYS);
        }
        self.rest = 0;
    }
}
