//! Files of lines that several processes write at their ends.
//!
//! Whoever writes holds the lock of the file (flock) and looks whether it still stands under its name; whoever moves the file
//! away does so with the lock held, or takes it afterwards. So a line is never written to a file that somebody else is done
//! with, and what is behind the last whole line is always what a process that died left, never one that is being written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How long the lock of another process is waited for: it holds it for one write.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is tried.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes that are looked at at once for the end of the last whole line.
const PIECE: u64 = 64 << 10;

/// Takes the lock, which is held until it is given back or the file is closed. A file system without locks has none to wait for.
///
/// # Errors
///
/// Another process that holds it for too long.
pub(super) fn lock(file: &File) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= until {
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds its lock"));
                }
                std::thread::sleep(LOOK);
            }
            _ => return Ok(()),
        }
    }
}

/// Gives the lock back.
pub(super) fn unlock(file: &File) {
    let _ = flock(file, FlockOperation::Unlock); // whoever has none gives none back
}

/// Whether it is this file that a path names.
pub(super) fn stands(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    Ok(fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())))
}

/// Opens the file that a path names, made if need be: locked, and at the end of its last whole line.
///
/// # Errors
///
/// A file that cannot be made, read or locked.
pub(super) fn open(path: &Path, mode: u32) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(mode).open(path)?;
        lock(&file)?;
        if stands(&file, path)? {
            cut_torn(&file, path)?;
            return Ok(file);
        }
    }
}

/// Cuts off a last line that is not whole, and gives the length. The lock must be held.
///
/// # Errors
///
/// A file that cannot be read or cut.
pub(super) fn cut_torn(file: &File, path: &Path) -> io::Result<u64> {
    let held = file.metadata()?;
    let bytes = held.len();
    if !held.is_file() || bytes == 0 {
        return Ok(bytes);
    }
    let whole = last_whole(file, bytes)?;
    if whole < bytes {
        tracing::warn!(file = %path.display(), bytes = bytes - whole, "the file ended in a torn line, which was cut off");
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// Where the last whole line ends.
fn last_whole(file: &File, bytes: u64) -> io::Result<u64> {
    let mut end = bytes;
    let mut piece = Vec::new();
    // As a rule the last byte is the end of a line.
    let mut size = 1;
    while end > 0 {
        let from = end.saturating_sub(size);
        piece.resize((end - from) as usize, 0);
        file.read_exact_at(&mut piece, from)?;
        if let Some(at) = memchr::memrchr(b'\n', &piece) {
            return Ok(from + at as u64 + 1);
        }
        (end, size) = (from, PIECE);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn torn_lines_are_cut_however_long_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines");
        let long = "x".repeat(3 * PIECE as usize);
        for (text, whole) in
            [("", ""), ("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ("torn", ""), (&format!("a\n{long}"), "a\n"), (&long, "")]
        {
            fs::write(&path, text).expect("room");
            let mut file = open(&path, 0o600).expect("a file");
            file.write_all(b"next\n").expect("room");
            assert_eq!(fs::read_to_string(&path).expect("text"), format!("{whole}next\n"));
        }
    }

    #[test]
    fn a_file_that_was_moved_away_while_its_lock_was_waited_for_is_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, aside) = (folder.path().join("lines"), folder.path().join("aside"));
        let held = open(&path, 0o600).expect("a file");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| open(&path, 0o600).and_then(|mut file| file.write_all(b"late\n")));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished(), "the lock is held");
            fs::rename(&path, &aside).expect("a rename");
            drop(held);
            waiting.join().expect("no panic").expect("room");
        });
        assert_eq!(fs::read_to_string(&aside).expect("text"), "");
        assert_eq!(fs::read_to_string(&path).expect("text"), "late\n");
    }
}
