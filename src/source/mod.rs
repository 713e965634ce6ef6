//! Where frames come from: capture files, standard input, live interfaces.
//!
//! A source lends one [`Frame`] at a time: its bytes are borrowed from the memory map or the read buffer, so that a
//! packet in order travels from the file to the parser without a copy.

mod error;

pub use error::SourceError;

use crate::stats::Counters;
use crate::time::Timestamp;

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

    /// Adds what the source itself counted (drops of the kernel, skipped blocks) to `counters`; called at the end
    /// and, for live sources, now and then. Counts are totals since the source was opened.
    fn report(&mut self, counters: &mut Counters);

    /// Share of the input consumed, in bytes: (read so far, all), when that is known.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}
