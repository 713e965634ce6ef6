//! Content encodings undone as the body streams; nothing is held but the decoders' windows.

use std::io::Write;

use flate2::{Decompress, FlushDecompress, Status};

use super::Settings;
use super::events::Events;
use super::gzip::Gzip;
use super::operation::{self, Answer, Tap};
use super::recall::{Before, Piece, Recall};
use crate::inspect::{Findings, Inspector, Scan, Scans};

/// Bytes that are decoded at a time.
const PIECE: usize = 32 << 10;

/// Largest window that a zstd frame may ask for, as a power of two (8 MiB, what RFC 8878 asks decoders to support).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Media type of a stream, as far as inspection is concerned.
const STREAM: &str = "text/event-stream";

/// One content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// zlib, or, against the standard and as many servers do, raw deflate.
    Deflate,
    Brotli,
    Zstd,
}

/// Decoders that are done, to be used again, and what bodies came to before.
pub(crate) struct Decoders {
    gzip: Vec<Box<Gzip>>,
    scratch: Vec<Vec<u8>>,
    pub(crate) scans: Scans,
    pub(crate) grpc: super::grpc::Scratch,
    pub(super) operations: operation::Pool,
    pub(super) websocket: super::websocket::Scratch,
    recall: Recall,
}

impl Decoders {
    /// Bytes of what bodies came to before, and how many these may be.
    pub(crate) fn recalled(&self) -> (usize, usize) {
        self.recall.bytes()
    }

    /// With the budgets of these settings.
    pub(crate) fn new(settings: &Settings) -> Decoders {
        Decoders {
            gzip: Vec::new(),
            scratch: Vec::new(),
            scans: Scans::default(),
            grpc: super::grpc::Scratch::new(settings.grpc_held_bytes),
            operations: operation::Pool::new(settings.operation_bytes, settings.operation_held_bytes),
            websocket: super::websocket::Scratch::new(settings.websocket_decoders),
            recall: Recall::new(settings.recall_bytes),
        }
    }
}

enum Decoder {
    Gzip(Box<Gzip>),
    Zlib(Decompress),
    Raw(Decompress),
    /// Not yet known which of the two.
    Deflate,
    Brotli(Box<brotli_decompressor::DecompressorWriter<Vec<u8>>>),
    Zstd(Zstd),
    /// Behind its end; what follows is not decoded.
    Finished,
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// More output than configured.
    Limit,
    /// More output for each byte of input than configured.
    Ratio,
    /// The bytes are not of the encoding, or the encoding of the body is not known.
    Damaged,
    /// Messages are in a coding that is not undone here.
    Unknown,
}

/// The body of one message on its way through decoders to inspection.
pub(crate) struct Content {
    decoders: Vec<Decoder>,
    scan: Option<Box<Scan>>,
    tap: Option<Box<Tap>>,
    /// It answers an operation.
    answer: Option<Box<Answer>>,
    /// It is a stream of these.
    events: Option<Box<Events>>,
    totals: Totals,
    /// Where the body stands in [`Recall`], as long as it keeps to what can be remembered.
    known: Option<Before>,
    /// The body was decoded and inspected up to here. Until then all of it was known.
    begun: bool,
}

/// What a body has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Bytes before decoding, holes included.
    pub(crate) encoded: u64,
    /// Bytes after it.
    pub(crate) decoded: u64,
    /// Why it is not decoded any further.
    pub(crate) stopped: Option<Stopped>,
}

/// What was found in a body.
pub(crate) enum Found {
    /// By looking into it.
    New(Findings),
    /// By knowing it.
    Known(std::rc::Rc<Piece>),
}

impl Found {
    /// The findings; none of a body that was not looked at.
    pub(crate) fn findings(&self) -> Option<&Findings> {
        match self {
            Found::New(findings) => Some(findings),
            Found::Known(piece) => piece.findings(),
        }
    }
}

/// The caps of [`Content`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) decoded: u64,
    pub(crate) ratio: u64,
    pub(crate) encodings: usize,
    /// Bytes of one gRPC message that are kept until it is whole.
    pub(crate) message: usize,
}

impl Content {
    /// For a body with this `Content-Encoding`, to be looked at by `scan`.
    pub(crate) fn new(encoding: Option<&[u8]>, scan: Option<Box<Scan>>, caps: Caps, pool: &mut Decoders) -> Content {
        let mut content = Content {
            decoders: Vec::new(),
            scan,
            tap: None,
            answer: None,
            events: None,
            totals: Totals::default(),
            known: None,
            begun: false,
        };
        for name in encoding.unwrap_or_default().split(|&byte| byte == b',') {
            let coding = match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" | b"none" | b"utf-8" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                _ => {
                    content.totals.stopped = Some(Stopped::Unknown);
                    return content;
                }
            };
            if content.decoders.len() >= caps.encodings {
                content.totals.stopped = Some(Stopped::Limit);
                return content;
            }
            match decoder(coding, pool) {
                Some(decoder) => content.decoders.insert(0, decoder), // the last one named is undone first
                None => content.totals.stopped = Some(Stopped::Damaged),
            }
        }
        content.known = content.beginning(pool);
        content
    }

    /// Keeps the beginning of what is decoded. To be said before the first bytes.
    pub(super) fn tap(&mut self, tap: Tap) {
        if !self.decoders.is_empty() {
            self.known = None; // what is known is not decoded
        }
        self.tap = Some(Box::new(tap));
    }

    /// Reads in what is decoded how an operation came out. To be said before the first bytes.
    pub(super) fn answer(&mut self, answer: Answer) {
        if !self.decoders.is_empty() {
            self.known = None;
        }
        self.answer = Some(Box::new(answer));
    }

    /// Counts these in what is decoded. To be said before the first bytes.
    pub(super) fn watch(&mut self, events: Events) {
        self.known = None; // what has no end is not remembered
        self.events = Some(Box::new(events));
    }

    /// The events of a stream.
    pub(super) fn events(&mut self) -> Option<&mut Events> {
        self.events.as_deref_mut()
    }

    /// Ends what was found so far for a report, and begins anew; gives what there was.
    pub(super) fn part(&mut self, inspector: &Inspector, pool: &mut Decoders) -> (Totals, Option<Findings>) {
        let totals = self.totals;
        self.totals = Totals { stopped: totals.stopped, ..Totals::default() };
        let Some(scan) = self.scan.take() else { return (totals, None) };
        let side = scan.side();
        let findings = inspector.finish(scan, &mut pool.scans);
        // Only streams are told in parts, and what one is made of does not begin anew with each.
        self.scan = inspector.begin(side, Some(STREAM), &mut pool.scans);
        (totals, Some(findings))
    }

    /// What was kept of it.
    pub(super) fn take_tap(&mut self) -> Option<Box<Tap>> {
        self.tap.take()
    }

    /// What was read of an answer.
    pub(super) fn take_answer(&mut self) -> Option<Box<Answer>> {
        self.answer.take()
    }

    /// Where it stands in [`Recall`]; none for what is seldom or cheap.
    fn beginning(&self, pool: &Decoders) -> Option<Before> {
        let scan = self.scan.as_ref().filter(|scan| scan.is_plain())?;
        let encoded = match self.decoders.as_slice() {
            [] => 0,
            [Decoder::Gzip(_)] => 1,
            _ => return None,
        };
        (!pool.recall.is_off())
            .then(|| Before::Nothing(8 * scan.reads() + 4 * u8::from(scan.walks()) + 2 * encoded + scan.side() as u8))
    }

    /// What the body has come to so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// The next bytes of the body, chunking undone; `last` when it is known that there are no more.
    pub(crate) fn data(&mut self, bytes: &[u8], last: bool, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        if self.decoders.is_empty() && self.totals.stopped.is_none() {
            if let Some(tap) = &mut self.tap {
                tap.data(bytes, last);
            }
            if let Some(answer) = &mut self.answer {
                answer.data(bytes, last);
            }
        }
        let Some(before) = self.known.take() else {
            self.begun = true;
            return self.work(bytes, last, inspector, caps, pool);
        };
        let sought = pool.recall.seek(&before, bytes, last);
        if let Some(piece) = sought.as_ref().and_then(|sought| sought.piece.as_ref())
            && !self.begun
        {
            self.totals = piece.totals();
            self.known = Some(Before::Piece(piece.clone()));
            return;
        }
        self.begin(&before, inspector, caps, pool);
        self.work(bytes, last, inspector, caps, pool);
        self.known = sought.map(|sought| pool.recall.keep(sought, before, bytes, last, self.totals));
    }

    /// Does what was left out as known.
    fn begin(&mut self, before: &Before, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.totals = Totals::default();
        before.replay(|bytes, last| self.work(bytes, last, inspector, caps, pool));
    }

    /// Decodes and inspects.
    fn work(&mut self, bytes: &[u8], last: bool, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        self.totals.encoded += bytes.len() as u64;
        if self.totals.stopped.is_some() {
            return;
        }
        if self.decoders.is_empty() {
            self.totals.decoded += bytes.len() as u64;
            if let Some(events) = &mut self.events {
                events.data(bytes);
            }
            if let Some(scan) = &mut self.scan {
                inspector.data(scan, bytes, last);
            }
            return;
        }
        let Content { decoders, scan, tap, answer, events, totals: Totals { encoded, decoded, stopped }, .. } = self;
        let mut sink = |piece: &[u8]| {
            if let Some(tap) = tap {
                tap.data(piece, false);
            }
            if let Some(answer) = answer {
                answer.data(piece, false);
            }
            if let Some(events) = events {
                events.data(piece);
            }
            *decoded += piece.len() as u64;
            if let Some(scan) = scan {
                inspector.data(scan, piece, false);
            }
            if *decoded > caps.decoded {
                return Err(Stopped::Limit);
            }
            if *decoded > 64 << 10 && *decoded / caps.ratio.max(1) > *encoded {
                return Err(Stopped::Ratio);
            }
            Ok(())
        };
        if let Err(reason) = push(decoders, bytes, pool, &mut sink) {
            *stopped = Some(reason);
            self.stop(pool);
        }
    }

    /// Bytes were lost: an encoded body cannot be decoded beyond.
    pub(crate) fn gap(&mut self, length: u64, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        if let Some(before) = self.known.take() {
            self.begin(&before, inspector, caps, pool);
        }
        self.totals.encoded += length;
        if self.decoders.is_empty() {
            self.totals.decoded += length;
        } else {
            self.totals.stopped = Some(Stopped::Damaged);
        }
        if let Some(scan) = &mut self.scan {
            inspector.gap(scan);
        }
        if let Some(tap) = &mut self.tap {
            tap.gap();
        }
        if let Some(answer) = &mut self.answer {
            answer.gap();
        }
    }

    /// Gives the decoders back, and out what was found.
    pub(crate) fn finish(mut self, inspector: &Inspector, caps: Caps, pool: &mut Decoders) -> Option<Found> {
        let known = self.known.take();
        if let Some(Before::Piece(piece)) = &known
            && piece.findings().is_some()
        {
            let piece = piece.clone();
            self.give_back(pool);
            if let Some(scan) = self.scan.take() {
                pool.scans.give_back(scan);
            }
            return Some(Found::Known(piece));
        }
        if let Some(before) = &known {
            self.begin(before, inspector, caps, pool);
        }
        self.give_back(pool);
        let findings = inspector.finish(self.scan.take()?, &mut pool.scans);
        if let Some(Before::Piece(piece)) = known {
            piece.conclude(&findings);
        }
        Some(Found::New(findings))
    }

    fn give_back(&mut self, pool: &mut Decoders) {
        for decoder in self.decoders.drain(..) {
            if let Decoder::Gzip(gzip) = decoder
                && pool.gzip.len() < 64
            {
                pool.gzip.push(gzip);
            }
        }
    }

    /// Decodes no further.
    fn stop(&mut self, pool: &mut Decoders) {
        self.give_back(pool);
        self.decoders.push(Decoder::Finished); // so that the rest counts as encoded, not as decoded
    }
}

fn decoder(coding: Coding, pool: &mut Decoders) -> Option<Decoder> {
    Some(match coding {
        Coding::Gzip => {
            let mut gzip = pool.gzip.pop().unwrap_or_default();
            gzip.reset();
            Decoder::Gzip(gzip)
        }
        Coding::Deflate => Decoder::Deflate,
        Coding::Brotli => Decoder::Brotli(Box::new(brotli_decompressor::DecompressorWriter::new(Vec::new(), 4096))),
        Coding::Zstd => Decoder::Zstd(zstd_decoder()?),
    })
}

pub(super) type Zstd = Box<zstd::stream::raw::Decoder<'static>>;

/// A decoder whose window is bounded.
pub(super) fn zstd_decoder() -> Option<Zstd> {
    let mut zstd = zstd::stream::raw::Decoder::new().ok()?;
    zstd.set_parameter(zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
    Some(Box::new(zstd))
}

/// Undoes zstd through `scratch` into `sink`.
pub(super) fn unzstd(zstd: &mut Zstd, bytes: &[u8], scratch: &mut [u8], sink: &mut Sink<'_>) -> Result<(), Stopped> {
    use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
    let mut input = InBuffer::around(bytes);
    loop {
        let mut output = OutBuffer::around(&mut *scratch);
        let hint = zstd.run(&mut input, &mut output).map_err(|_| Stopped::Damaged)?;
        let written = output.pos();
        if written > 0 {
            sink(&scratch[..written])?;
        }
        if input.pos() == bytes.len() && (hint == 0 || written < scratch.len()) {
            return Ok(());
        }
    }
}

pub(super) type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), Stopped> + 's;

/// Sends bytes through the decoders in turn, in pieces of at most [`PIECE`] at each.
fn push(decoders: &mut [Decoder], bytes: &[u8], pool: &mut Decoders, sink: &mut Sink<'_>) -> Result<(), Stopped> {
    let Some((first, rest)) = decoders.split_first_mut() else { return sink(bytes) };
    let mut scratch = pool.scratch.pop().unwrap_or_default();
    scratch.resize(PIECE, 0);
    let result = first.decode(bytes, &mut scratch, &mut |piece| push(rest, piece, pool, sink));
    pool.scratch.push(scratch);
    result
}

impl Decoder {
    fn decode(&mut self, mut bytes: &[u8], scratch: &mut [u8], sink: &mut Sink<'_>) -> Result<(), Stopped> {
        if let Decoder::Deflate = self
            && let Some(&first) = bytes.first()
        {
            // A zlib header has method 8 in the low bits of its first byte (RFC 1950); raw deflate hardly ever.
            *self = match first & 0x0f {
                8 => Decoder::Zlib(Decompress::new(true)),
                _ => Decoder::Raw(Decompress::new(false)),
            };
        }
        match self {
            Decoder::Gzip(gzip) => gzip.decode(bytes, scratch, sink),
            Decoder::Zlib(inflate) | Decoder::Raw(inflate) => loop {
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(bytes, scratch, FlushDecompress::None).map_err(|_| Stopped::Damaged)?;
                let read = (inflate.total_in() - read) as usize;
                let written = (inflate.total_out() - written) as usize;
                bytes = bytes.get(read..).unwrap_or_default();
                if written > 0 {
                    sink(&scratch[..written])?;
                }
                if status == Status::StreamEnd {
                    *self = Decoder::Finished;
                    return Ok(());
                }
                if written < scratch.len() && (bytes.is_empty() || read == 0) {
                    return Ok(());
                }
            },
            Decoder::Brotli(brotli) => {
                // The writer holds what it decodes; small pieces in bound what that can be.
                for piece in bytes.chunks(256) {
                    let result = brotli.write_all(piece);
                    let output = brotli.get_mut();
                    if !output.is_empty() {
                        let done = sink(output);
                        output.clear();
                        done?;
                    }
                    result.map_err(|_| Stopped::Damaged)?;
                }
                Ok(())
            }
            Decoder::Zstd(zstd) => unzstd(zstd, bytes, scratch, sink),
            Decoder::Deflate | Decoder::Finished => Ok(()),
        }
    }
}
