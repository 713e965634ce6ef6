//! One capture, whatever its format.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::input::Input;
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::{Damage, Frame, Kind, LinkType, Record, Settings, SourceError};
use crate::time::Timestamp;

/// The frames of one file or stream.
pub(super) struct Reader {
    name: String,
    input: Input,
    format: Format,
    record: Record,
    settings: Settings,
    /// Secrets that were passed over on the way to a frame, and blocks of them for which there was no room.
    held: Vec<u8>,
    not_held: u64,
}

/// What [`Reader::advance`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Frame,
    /// Lines of a key log.
    Secrets,
    End,
}

enum Format {
    Undetected,
    Pcap(Pcap),
    Pcapng(Box<Pcapng>),
}

const NO_RECORD: Record = Record {
    kind: Kind::Frame,
    time: Timestamp::ZERO,
    link: LinkType(0),
    original_length: 0,
    start: 0,
    end: 0,
    length: 0,
};

impl Reader {
    /// Opens a file; nothing is read of it yet but its magic.
    pub(super) fn open(path: &Path, settings: &Settings) -> Result<Reader, SourceError> {
        let name = path.display().to_string();
        let opened = File::open(path).map_err(|error| format!("cannot be opened: {error}"));
        match opened.and_then(|file| Input::from_file(file, settings)) {
            Ok(input) => Ok(Reader::new(name, input, settings)),
            Err(reason) => Err(SourceError { name, offset: None, reason }),
        }
    }

    /// Over a stream.
    pub(super) fn from_reader(name: String, reader: Box<dyn Read + Send>, settings: &Settings) -> Reader {
        Reader::new(name, Input::from_reader(reader, settings), settings)
    }

    /// Over an input that nothing was read of.
    pub(super) fn new(name: String, input: Input, settings: &Settings) -> Reader {
        Reader {
            name,
            input,
            format: Format::Undetected,
            record: NO_RECORD,
            settings: settings.clone(),
            held: Vec::new(),
            not_held: 0,
        }
    }

    /// Moves on to the next frame, or to secrets before it.
    ///
    /// # Errors
    ///
    /// What is wrong with the rest of the capture, which is lost: the reader has no more to give.
    pub(super) fn advance(&mut self) -> Result<Step, SourceError> {
        let result = match self.next() {
            Ok(Some(record)) => {
                self.record = record;
                return Ok(match record.kind {
                    Kind::Frame => Step::Frame,
                    Kind::Secrets => Step::Secrets,
                });
            }
            Ok(None) => self.input.failure().map_or(Ok(Step::End), Err),
            Err(damage) => Err(damage),
        };
        self.record = NO_RECORD;
        result.map_err(|Damage { offset, reason }| SourceError { name: self.name.clone(), offset, reason })
    }

    /// Moves on to the next frame; false when there is none. Secrets before it are held, up to `max_block_bytes`; blocks
    /// beyond count as skipped.
    ///
    /// # Errors
    ///
    /// As [`Reader::advance`].
    pub(super) fn advance_to_frame(&mut self) -> Result<bool, SourceError> {
        loop {
            match self.advance()? {
                Step::Frame => return Ok(true),
                Step::End => return Ok(false),
                Step::Secrets => {
                    let secrets = self.input.window().get(self.record.start..self.record.end).unwrap_or_default();
                    if self.held.len() + secrets.len() < self.settings.max_block_bytes {
                        self.held.extend_from_slice(secrets);
                        self.held.push(b'\n');
                    } else {
                        self.not_held += 1;
                    }
                }
            }
        }
    }

    /// Takes the secrets held.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, Damage> {
        self.input.consume(self.record.length);
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.input),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.input),
            Format::Undetected => {
                self.format = detect(&mut self.input, &self.settings)?;
                self.record.length = 0;
                self.next()
            }
        }
    }

    /// The frame that the last successful [`Reader::advance`] moved on to; of secrets, their bytes.
    #[inline]
    pub(super) fn frame(&self) -> Frame<'_> {
        let Record { time, link, original_length, start, end, .. } = self.record;
        Frame { time, link, original_length, data: self.input.window().get(start..end).unwrap_or_default() }
    }

    /// When that frame was captured.
    #[inline]
    pub(super) fn time(&self) -> Timestamp {
        self.record.time
    }

    /// Blocks of unknown kind skipped so far.
    pub(super) fn skipped(&self) -> u64 {
        match &self.format {
            Format::Pcapng(pcapng) => pcapng.skipped() + self.not_held,
            _ => 0,
        }
    }

    /// Bytes of the file used so far, before decompression.
    pub(super) fn taken(&self) -> u64 {
        self.input.taken()
    }
}

fn detect(input: &mut Input, settings: &Settings) -> Result<Format, Damage> {
    let window = input.fill(4);
    let Some(&head) = window.first_chunk::<4>() else {
        let empty = window.is_empty();
        return Err(match input.failure() {
            Some(failure) => failure,
            None if empty => Damage { offset: None, reason: "is empty".into() },
            None => input.damage("is no capture: it has less than four bytes".into()),
        });
    };
    if Pcap::is_magic(head) {
        Pcap::begin(input, settings).map(Format::Pcap)
    } else if Pcapng::is_magic(head) {
        Ok(Format::Pcapng(Box::new(Pcapng::new(settings))))
    } else {
        Err(input.damage(foreign(head)))
    }
}

/// What to say of a file that is neither pcap nor pcapng.
fn foreign(head: [u8; 4]) -> String {
    match head {
        [0xfd, b'7', b'z', b'X'] => "is compressed by xz: decompress it first, or pipe it in and give -".into(),
        [b'B', b'Z', b'h', _] => "is compressed by bzip2: decompress it first, or pipe it in and give -".into(),
        [0x04, 0x22, 0x4d, 0x18] => "is compressed by lz4: decompress it first, or pipe it in and give -".into(),
        [b'P', b'K', 3, 4] => "is a zip archive: unpack it first".into(),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => "is compressed twice: decompress it once".into(),
        [b's', b'n', b'o', b'o'] => "is a snoop capture: convert it to pcap first".into(),
        [a, b, c, d] => format!("is no pcap or pcapng capture: it begins with {a:02x} {b:02x} {c:02x} {d:02x}"),
    }
}
