//! One direction of a connection: where the reader stands between frames.

use crate::stream::Run;

use super::super::reader::Mark;
use super::frame::{HEADER, Header, INITIAL_FRAME_SIZE};
use super::hpack::{Decoder, Limits};

/// What comes next.
pub(super) enum Phase {
    /// The beginning of the stream: the client's preface, or the server's first frame.
    Start,
    /// The rest of the preface, of which so many bytes have come.
    Preface(usize),
    /// A frame's header, of which so many bytes have come.
    Header([u8; HEADER], usize),
    /// The payload of a DATA frame.
    Data(Data),
    /// The payload of a frame that is needed whole, in [`Reader::partial`] so far.
    Gather(Header),
    /// So many bytes that do not matter.
    Skip(u64),
    /// Something was lost: the next frame, wherever it is.
    Lost,
}

/// A DATA frame on its way.
#[derive(Clone, Copy)]
pub(super) struct Data {
    pub(super) stream: u32,
    /// Bytes left, padding included.
    pub(super) left: u64,
    pub(super) padding: u64,
    /// The byte with the length of the padding is still to come.
    pub(super) padded: bool,
    pub(super) end: bool,
    /// No byte of its content has come.
    pub(super) fresh: bool,
}

/// A header block on its way: HEADERS or PUSH_PROMISE and the CONTINUATIONs behind it.
pub(super) struct Block {
    pub(super) stream: u32,
    /// The stream that a PUSH_PROMISE announces.
    pub(super) promised: Option<u32>,
    pub(super) end_stream: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) continuations: usize,
    /// Bytes on the wire, frame headers included.
    pub(super) wire: u64,
    pub(super) mark: Mark,
    /// What comes from here on is not kept: it is too much.
    pub(super) overflowed: bool,
    /// It is longer than configured.
    pub(super) too_long: bool,
}

/// One direction.
pub(super) struct Reader {
    pub(super) phase: Phase,
    pub(super) partial: Vec<u8>,
    pub(super) block: Option<Block>,
    pub(super) decoder: Decoder,
    /// Where the frame under way began.
    pub(super) mark: Mark,
    /// Offset behind everything read or given up.
    pub(super) next: u64,
    /// How often frames may have been lost; the unseen beginning counts.
    pub(super) losses: u32,
    /// Largest frame that the other end has allowed, as far as that was seen.
    pub(super) largest: u32,
}

impl Reader {
    /// `exact`: at the beginning of the stream.
    pub(super) fn new(exact: bool, limits: Limits) -> Reader {
        let mut reader = Reader {
            phase: Phase::Start,
            partial: Vec::new(),
            block: None,
            decoder: Decoder::new(limits),
            mark: Mark::default(),
            next: 0,
            losses: 0,
            largest: INITIAL_FRAME_SIZE,
        };
        if !exact {
            reader.lose();
        }
        reader
    }

    /// What comes next cannot be told.
    pub(super) fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.partial = Vec::new();
        self.decoder.lose();
        self.losses = self.losses.saturating_add(1);
    }

    /// A frame's header is next.
    pub(super) fn expect_header(&mut self) {
        self.phase = Phase::Header([0; HEADER], 0);
    }

    /// Notes that a frame begins: `used` bytes into the run.
    pub(super) fn begin(&mut self, run: &Run<'_>, used: usize) {
        let offset = run.offset + used as u64;
        self.mark = Mark { offset, end: offset, acknowledged: run.acknowledged, time: run.time };
    }
}
