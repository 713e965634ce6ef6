//! From what the operator names to captures: files, the files of a folder, standard input.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::input::Input;
use super::merge::{Opened, Origin, Waiting};
use super::reader::Reader;
use super::{Settings, SourceError};

/// Opens captures to be read as one, merged by packet time.
///
/// Each path is a file, a folder (its files, in order of their names with numbers in them taken as such; hidden files
/// and folders in it are passed over), or `-` for standard input. Formats and compression are told by content, never by
/// name. Where frames have the same time, those of the capture that began earlier come first, then those of the earlier
/// argument.
///
/// What cannot be read is told by [`super::Source::advance`], each failure once, and does not stop the others.
///
/// A file that grows meanwhile is read up to where it ends when the reader comes there, unless
/// [`Settings::memory_map`] is true: then only as far as it went when it was opened.
pub fn open(paths: &[PathBuf], settings: &Settings) -> Opened {
    let mut listing = Listing::new(settings);
    for path in paths {
        listing.add(path);
    }
    listing.open()
}

/// A capture that is in memory, in any format that [`open`] knows; `name` is what errors call it.
pub fn from_bytes(name: &str, bytes: impl Into<Cow<'static, [u8]>>, settings: &Settings) -> Opened {
    let bytes = bytes.into();
    let size = bytes.len() as u64;
    let reader = Reader::new(name.to_owned(), Input::from_bytes(bytes, settings), settings);
    Opened::single(reader, Some(size), settings)
}

/// A capture that comes as a stream, in any format that [`open`] knows; `name` is what errors call it.
///
/// Nothing is read before the first [`super::Source::advance`], and then never more than the next frame needs.
pub fn from_reader(name: &str, reader: impl Read + Send + 'static, settings: &Settings) -> Opened {
    let reader = Reader::from_reader(name.to_owned(), Box::new(reader), settings);
    Opened::single(reader, None, settings)
}

/// The captures found, in order of the arguments.
struct Listing<'a> {
    settings: &'a Settings,
    captures: Vec<Named>,
    failures: VecDeque<SourceError>,
}

enum Named {
    File(PathBuf, Metadata),
    StandardInput,
}

impl<'a> Listing<'a> {
    fn new(settings: &'a Settings) -> Listing<'a> {
        Listing { settings, captures: Vec::new(), failures: VecDeque::new() }
    }

    fn add(&mut self, path: &Path) {
        if path == Path::new("-") {
            if self.captures.iter().any(|capture| matches!(capture, Named::StandardInput)) {
                return self.fail(path, "standard input is named twice".into());
            }
            return self.push(path, Named::StandardInput);
        }
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => self.add_folder(path),
            Ok(metadata) => self.push(path, Named::File(path.to_owned(), metadata)),
            Err(error) => self.fail(path, format!("cannot be opened: {error}")),
        }
    }

    fn add_folder(&mut self, folder: &Path) {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) => return self.fail(folder, format!("cannot be listed: {error}")),
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) => self.fail(folder, format!("cannot be listed: {error}")),
            }
            if names.len() > self.settings.max_files {
                // None rather than some: which come first in a folder is up to the file system.
                return self.fail(folder, format!("left out: more files than max_files ({})", self.settings.max_files));
            }
        }
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        names.sort_by(|one, other| natural_order(one.as_encoded_bytes(), other.as_encoded_bytes()));
        let mut found = false;
        for name in names {
            let path = folder.join(name);
            match path.metadata() {
                Ok(metadata) if metadata.is_file() => self.push(&path, Named::File(path.clone(), metadata)),
                Ok(_) => continue,
                Err(error) => self.fail(&path, format!("cannot be opened: {error}")),
            }
            found = true;
        }
        if !found {
            self.fail(folder, "is a folder without files".into());
        }
    }

    fn push(&mut self, path: &Path, capture: Named) {
        let most = self.settings.max_files;
        match self.captures.len().cmp(&most) {
            Ordering::Less => self.captures.push(capture),
            _ => self.fail(path, format!("left out: more files than max_files ({most})")),
        }
    }

    fn fail(&mut self, path: &Path, reason: String) {
        self.failures.push_back(SourceError { name: path.display().to_string(), offset: None, reason });
    }

    fn open(mut self) -> Opened {
        let sizes = self.captures.iter().map(Named::size);
        let total = sizes.sum::<Option<u64>>();
        if let [only] = self.captures.as_slice()
            && self.failures.is_empty()
        {
            return match only.reader(self.settings) {
                Ok(reader) => Opened::single(reader, total, self.settings),
                Err(failure) => Opened::merged(Vec::new(), VecDeque::from([failure]), total, self.settings),
            };
        }
        let (mut captures, mut skipped, mut passed) = (Vec::new(), 0, 0);
        for capture in std::mem::take(&mut self.captures) {
            let size = capture.size().unwrap_or(0);
            match self.look(capture, &mut skipped) {
                Some(waiting) => captures.push(waiting),
                None => passed += size,
            }
        }
        let mut opened = Opened::merged(captures, self.failures, total, self.settings);
        opened.passed(skipped, passed);
        opened
    }

    /// Finds the time of the first frame, by which the merge decides when to open the capture.
    fn look(&mut self, capture: Named, skipped: &mut u64) -> Option<Waiting> {
        let mut reader = match capture.reader(self.settings) {
            Ok(reader) => Box::new(reader),
            Err(failure) => {
                self.failures.push_back(failure);
                return None;
            }
        };
        match reader.advance_to_frame() {
            Ok(true) => {
                let (first_time, size) = (reader.time(), capture.size().unwrap_or(0));
                let origin = match capture {
                    Named::File(path, metadata) if metadata.is_file() => Origin::Path(path),
                    _ => Origin::Held(reader),
                };
                return Some(Waiting { first_time, size, origin });
            }
            Ok(false) => {}
            Err(failure) => self.failures.push_back(failure),
        }
        *skipped += reader.skipped();
        None
    }
}

impl Named {
    /// Bytes of a regular file.
    fn size(&self) -> Option<u64> {
        match self {
            Named::File(_, metadata) => metadata.is_file().then_some(metadata.len()),
            Named::StandardInput => None,
        }
    }

    fn reader(&self, settings: &Settings) -> Result<Reader, SourceError> {
        match self {
            Named::File(path, _) => Reader::open(path, settings),
            Named::StandardInput => Ok(Reader::from_reader("-".into(), Box::new(std::io::stdin()), settings)),
        }
    }
}

/// Orders names so that `part9` comes before `part10`: runs of digits by their value, all else by bytes.
fn natural_order(one: &[u8], other: &[u8]) -> Ordering {
    tokens(one).cmp(tokens(other)).then_with(|| one.cmp(other))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Token<'a> {
    /// Digits without leading zeros, behind their number: the longer is the larger.
    Number(usize, &'a [u8]),
    Byte(u8),
}

fn tokens(mut name: &[u8]) -> impl Iterator<Item = Token<'_>> {
    std::iter::from_fn(move || {
        let (&first, behind) = name.split_first()?;
        if !first.is_ascii_digit() {
            name = behind;
            return Some(Token::Byte(first));
        }
        let (digits, rest) = name.split_at(name.iter().take_while(|byte| byte.is_ascii_digit()).count());
        name = rest;
        let value = digits.get(digits.iter().take_while(|&&digit| digit == b'0').count()..).unwrap_or_default();
        Some(Token::Number(value.len(), value))
    })
}
