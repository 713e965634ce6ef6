//! Where frames come from: capture files, standard input, live interfaces.
//!
//! A source lends one [`Frame`] at a time: its bytes are borrowed from the read buffer or the memory map, so that a
//! packet in order travels from there to the parser without a copy.

mod ahead;
mod binding;
mod decompress;
mod error;
mod fanout;
mod files;
mod input;
pub mod live;
mod map;
mod merge;
mod pcap;
mod pcapng;
mod reader;
#[cfg(test)]
mod tests;

pub use error::SourceError;
pub use files::{from_bytes, from_reader, open};
pub(crate) use input::Input;
pub use live::{Interface, Live, interfaces};
pub use merge::Opened;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::Counters;
use crate::time::Timestamp;

/// How captures are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Largest block of a capture in bytes; what claims more is a damaged file. The read buffer grows to at most twice
    /// this, and only for blocks that really are as large.
    pub max_block_bytes: usize,
    /// Most captures open at once, which is how many may overlap in time. Those beyond are left out, each with an error.
    /// Each takes a read buffer of 256 KiB, a gzip one 110 KiB more, a zstd one as much more as `zstd_window_log` allows,
    /// both `decompress_ahead_bytes` and a thread once they have given 1 MiB.
    pub max_open_files: usize,
    /// Most captures to be read as one, at about 200 bytes each. Those beyond are left out, each with an error; a folder
    /// with more is left out as a whole.
    pub max_files: usize,
    /// Most interfaces in a section of a pcapng capture, at 48 bytes each; what declares more ends with an error.
    pub max_interfaces: usize,
    /// Largest window of a zstd capture as a power of two, from 10 to 31; 27, which `zstd --long` uses, takes 128 MiB.
    pub zstd_window_log: u32,
    /// How far the thread that decompresses a capture runs ahead of the reader, in bytes; below 128 KiB the reader
    /// decompresses itself.
    pub decompress_ahead_bytes: usize,
    /// Map plain files into memory rather than read them. Off, as it was found to be faster by a fifth at best (every
    /// byte looked at, an idle machine) and slower by half at worst (headers alone, a busy one); and whoever truncates
    /// a mapped file while it is read, as a capture that rotates in place does, ends the process (SIGBUS).
    pub memory_map: bool,
    /// How interfaces are listened to.
    pub live: live::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_block_bytes: (16 << 20) + (64 << 10),
            max_open_files: 256,
            max_files: 100_000,
            max_interfaces: 65_536,
            zstd_window_log: 27,
            decompress_ahead_bytes: 1 << 20,
            memory_map: false,
            live: live::Settings::default(),
        }
    }
}

/// The link layer that a frame begins with, as numbered in the `LINKTYPE_` registry of pcap files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// What its bytes begin with.
    pub link: LinkType,
    /// The captured bytes, from the link layer on.
    pub data: &'a [u8],
    /// Its length on the wire in bytes, at least `data.len()`.
    pub original_length: u32,
}

/// What [`Source::advance`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// The next frame is there: [`Source::frame`] lends it.
    Frame,
    /// Before the next frame the capture has secrets of TLS: [`Source::secrets`] lends them.
    Secrets,
    /// A live source is quiet; its clock has come to this time.
    Idle(Timestamp),
    /// There will be no more frames.
    End,
}

/// A stream of frames.
pub trait Source: Send {
    /// Moves on to the next frame.
    ///
    /// # Errors
    ///
    /// What made (a part of) the input unreadable. It may be called again: the other parts of a merged source go
    /// on, and a source that is at its end answers [`Advance::End`].
    fn advance(&mut self) -> Result<Advance, SourceError>;

    /// The frame that the last [`Advance::Frame`] spoke of; an empty frame before the first.
    fn frame(&self) -> Frame<'_>;

    /// The secrets that [`Advance::Secrets`] spoke of, as lines of a key log ([`crate::tls::keylog`]), until the source
    /// is advanced again.
    fn secrets(&self) -> &[u8] {
        &[]
    }

    /// Writes what the source itself counted (drops of the kernel, skipped blocks) to `counters`; called at the end
    /// and, for live sources, now and then. Counts are totals since the source was opened and replace those there.
    fn report(&mut self, counters: &mut Counters);

    /// Share of the input consumed, in bytes: (read so far, all), when that is known.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}

/// Where the next frame, or what else is handed on, lies in the window of an input.
#[derive(Clone, Copy, Debug)]
struct Record {
    kind: Kind,
    time: Timestamp,
    link: LinkType,
    original_length: u32,
    /// Where its bytes begin and end.
    start: usize,
    end: usize,
    /// Bytes from the beginning of the window to the next record.
    length: usize,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Frame,
    /// Lines of a key log.
    Secrets,
}

/// What is wrong with a capture: a [`SourceError`] without the name.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) offset: Option<u64>,
    pub(crate) reason: String,
}
