//! One message on its way: decompressed, looked at, and kept only as far as it may name an operation.

use crate::inspect::{Findings, Inspector, Scan, Side};

use super::super::content::{Caps, Decoders, Stopped};
use super::super::operation::Tap;
use super::inflate::{Inflater, TAIL};
use super::text::Utf8;

/// Bytes that are decompressed or unmasked at a time.
pub(super) const PIECE: usize = 16 << 10;

/// Media type of messages that may name an operation.
const JSON: &str = "application/json";

/// What it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nature {
    pub(super) text: bool,
    pub(super) compressed: bool,
    /// Its beginning was lost.
    pub(super) torn: bool,
}

/// A message under way.
pub(super) struct Message {
    pub(super) nature: Nature,
    /// Bytes after compression is undone, holes included.
    pub(super) plain: u64,
    /// Bytes before.
    pub(super) encoded: u64,
    /// Why not all of it is decoded.
    pub(super) stopped: Option<Stopped>,
    /// Bytes of it were lost.
    holed: bool,
    utf8: Option<Utf8>,
    scan: Option<Box<Scan>>,
    tap: Option<Box<Tap>>,
}

/// What came of a message.
pub(super) struct Outcome {
    pub(super) findings: Option<Findings>,
    pub(super) tap: Option<Box<Tap>>,
    /// Nothing of it is missing.
    pub(super) whole: bool,
    pub(super) invalid: bool,
}

impl Message {
    /// `verbatim`: no unknown extension may have changed it.
    pub(super) fn begin(
        side: Side,
        nature: Nature,
        verbatim: bool,
        inspector: &Inspector,
        pool: &mut Decoders,
    ) -> Message {
        let text = nature.text && verbatim && !nature.torn;
        let tap = (text && side == Side::Request).then(|| Tap::new(Some(JSON), &pool.operations)).flatten();
        Message {
            nature,
            plain: 0,
            encoded: 0,
            stopped: None,
            holed: nature.torn,
            utf8: text.then(Utf8::default),
            // A message is no body whose values are told.
            scan: inspector.begin(side, Some("text/plain"), &mut pool.scans),
            tap: tap.map(Box::new),
        }
    }

    /// The next bytes of the payload; `last` when there are no more.
    pub(super) fn data(
        &mut self,
        bytes: &[u8],
        last: bool,
        inflater: &mut Option<Inflater>,
        inspector: &Inspector,
        caps: Caps,
        pool: &mut Decoders,
    ) {
        self.encoded += bytes.len() as u64;
        if !self.nature.compressed {
            self.plain += bytes.len() as u64;
            self.show(bytes, last, inspector);
        } else if self.stopped.is_none() {
            self.inflate(bytes, inflater, inspector, caps, pool);
        }
    }

    fn show(&mut self, bytes: &[u8], last: bool, inspector: &Inspector) {
        if let Some(utf8) = &mut self.utf8 {
            utf8.data(bytes);
        }
        if let Some(tap) = &mut self.tap {
            tap.data(bytes, last);
        }
        if let Some(scan) = &mut self.scan {
            inspector.data(scan, bytes, last);
        }
    }

    fn inflate(
        &mut self,
        bytes: &[u8],
        inflater: &mut Option<Inflater>,
        inspector: &Inspector,
        caps: Caps,
        pool: &mut Decoders,
    ) {
        if inflater.is_none() {
            *inflater = pool.websocket.pool.take();
        }
        let Some(decoder) = inflater else {
            self.stopped = Some(Stopped::Limit);
            return;
        };
        let mut scratch = std::mem::take(&mut pool.websocket.inflated);
        scratch.resize(PIECE, 0);
        let result = decoder.data(bytes, &mut scratch, &mut |piece| {
            self.plain += piece.len() as u64;
            self.show(piece, false, inspector);
            if self.plain > caps.decoded {
                return Err(Stopped::Limit);
            }
            if self.plain > 64 << 10 && self.plain / caps.ratio.max(1) > self.encoded {
                return Err(Stopped::Ratio);
            }
            Ok(())
        });
        pool.websocket.inflated = scratch;
        if let Err(reason) = result {
            self.stop(reason, inflater);
        }
    }

    /// What comes is not decoded; what comes later is, by a decoder that begins anew.
    pub(super) fn stop(&mut self, reason: Stopped, inflater: &mut Option<Inflater>) {
        self.stopped.get_or_insert(reason);
        *inflater = None;
    }

    /// So many bytes of the payload were lost.
    pub(super) fn gap(&mut self, length: u64, inflater: &mut Option<Inflater>, inspector: &Inspector) {
        self.encoded += length;
        self.holed = true;
        self.utf8 = None;
        if self.nature.compressed {
            self.stop(Stopped::Damaged, inflater);
        } else {
            self.plain += length;
        }
        if let Some(tap) = &mut self.tap {
            tap.gap();
        }
        if let Some(scan) = &mut self.scan {
            inspector.gap(scan);
        }
    }

    /// The end of it; `whole` unless the rest was lost.
    pub(super) fn end(
        &mut self,
        whole: bool,
        inflater: &mut Option<Inflater>,
        inspector: &Inspector,
        caps: Caps,
        pool: &mut Decoders,
    ) -> Outcome {
        self.holed |= !whole;
        if self.nature.compressed && self.stopped.is_none() {
            match whole {
                true => self.inflate(&TAIL, inflater, inspector, caps, pool),
                false => self.stop(Stopped::Damaged, inflater),
            }
        }
        let whole = !self.holed && self.stopped.is_none();
        let invalid = whole && self.utf8.is_some_and(|utf8| !utf8.is_whole());
        let findings = self.scan.take().map(|scan| inspector.finish(scan, &mut pool.scans));
        Outcome { findings, tap: self.tap.take(), whole, invalid }
    }

    /// Bytes of it were lost.
    pub(super) fn is_holed(&self) -> bool {
        self.holed
    }
}
