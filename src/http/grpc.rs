//! The messages of gRPC and gRPC-Web in a body.
//!
//! Each has a byte of flags and four of length before it (gRPC over HTTP/2, "Length-Prefixed-Message"). What a message
//! holds is inspected as texts ([`super::grpc_text`]), which takes it whole: one that comes in pieces is kept within
//! [`Caps::message`], and all of them within the budget of the worker. gRPC-Web puts the trailers behind the last message,
//! as one with the highest flag, and may put all of it in base64 (PROTOCOL-WEB.md of gRPC).

use std::cell::Cell;
use std::rc::Rc;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::Operation;

use crate::call::{Call, Grpc, GrpcMessages};
use crate::inspect::{Inspector, Scan};

use super::content::{Caps, Decoders, Found, Stopped, Totals, Zstd, unzstd, zstd_decoder};
use super::gzip::Gzip;
use super::intern::Interner;

/// Flag of a compressed message.
const COMPRESSED: u8 = 0x01;

/// Flag of the trailers of gRPC-Web.
const TRAILERS: u8 = 0x80;

/// Bytes that are decompressed at a time.
const PIECE: usize = 16 << 10;

/// Which of the protocols a media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Grpc,
    Web,
    /// gRPC-Web in base64.
    WebText,
}

impl Kind {
    pub(crate) fn of(media: &str) -> Option<Kind> {
        let rest = media.strip_prefix("application/grpc")?;
        match rest.strip_prefix("-web") {
            Some(rest) if rest.starts_with("-text") => Some(Kind::WebText),
            Some("") => Some(Kind::Web),
            Some(rest) if rest.starts_with('+') => Some(Kind::Web),
            None if rest.is_empty() || rest.starts_with(['+', ';']) => Some(Kind::Grpc),
            _ => None,
        }
    }
}

/// What a worker's messages share.
pub(crate) struct Scratch {
    /// Bytes of messages that are kept, and how many may be.
    held: Rc<Cell<usize>>,
    limit: usize,
    gzip: Gzip,
    /// Made when the first message needs it; it keeps its window, up to 8 MiB.
    zstd: Option<Zstd>,
    inflated: Vec<u8>,
    texts: Vec<u8>,
    buffer: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new(limit: usize) -> Scratch {
        Scratch {
            held: Rc::default(),
            limit,
            gzip: Gzip::default(),
            zstd: None,
            inflated: Vec::new(),
            texts: Vec::new(),
            buffer: Vec::new(),
        }
    }
}

/// How messages are compressed (`grpc-encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Zstd,
    /// None was said.
    None,
    /// Another, as client and server have agreed on.
    Unknown,
}

#[derive(Debug)]
enum Part {
    /// In the five bytes before a message.
    Prefix { bytes: [u8; 5], have: usize },
    /// In a message.
    Message { left: u64, flags: u8, damaged: bool },
    /// After a loss between messages, or where this is no gRPC: where the next begins is not known.
    Lost,
}

const START: Part = Part::Prefix { bytes: [0; 5], have: 0 };

/// One direction of a call.
pub(crate) struct Body {
    kind: Kind,
    coding: Coding,
    part: Part,
    /// The beginning of the message under way.
    kept: Vec<u8>,
    held: Rc<Cell<usize>>,
    /// The rest of it goes to inspection as it comes.
    overflowed: bool,
    tally: GrpcMessages,
    status: Option<u32>,
    /// Bits of base64 that make no byte yet, and how many.
    base64: (u32, u32),
    scan: Option<Box<Scan>>,
    totals: Totals,
}

impl Drop for Body {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Body {
    pub(super) fn new(kind: Kind, encoding: Option<&[u8]>, scan: Option<Box<Scan>>, scratch: &Scratch) -> Body {
        let coding = match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
            Some(b"gzip") => Coding::Gzip,
            Some(b"deflate") => Coding::Deflate,
            Some(b"zstd") => Coding::Zstd,
            None | Some(b"" | b"identity") => Coding::None,
            Some(_) => Coding::Unknown,
        };
        Body {
            kind,
            coding,
            part: START,
            kept: Vec::new(),
            held: scratch.held.clone(),
            overflowed: false,
            tally: GrpcMessages::default(),
            status: None,
            base64: (0, 0),
            scan,
            totals: Totals::default(),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn data(&mut self, bytes: &[u8], inspector: &Inspector, caps: Caps, scratch: &mut Scratch) {
        self.totals.encoded += bytes.len() as u64;
        if self.kind != Kind::WebText {
            self.totals.decoded += bytes.len() as u64;
            return self.messages(bytes, inspector, caps, scratch);
        }
        let mut plain = std::mem::take(&mut scratch.buffer);
        for piece in bytes.chunks(PIECE) {
            plain.clear();
            self.undo_base64(piece, &mut plain);
            self.totals.decoded += plain.len() as u64;
            self.messages(&plain, inspector, caps, scratch);
        }
        scratch.buffer = plain;
    }

    /// Bytes were lost. Within a message that spoils only this one.
    pub(super) fn gap(&mut self, length: u64, inspector: &Inspector) {
        self.totals.encoded += length;
        self.totals.decoded += length;
        self.forget();
        if let Some(scan) = &mut self.scan {
            inspector.gap(scan);
        }
        if let Part::Message { flags, damaged: false, .. } = self.part
            && !self.overflowed
        {
            self.tally.undecoded += u64::from(flags & COMPRESSED);
        }
        self.part = match self.part {
            Part::Message { left, flags, .. } if (1..=left).contains(&length) && self.kind != Kind::WebText => {
                if left == length { START } else { Part::Message { left: left - length, flags, damaged: true } }
            }
            _ => Part::Lost,
        };
    }

    /// Writes what the messages came to on the call.
    pub(super) fn tell(&self, call: &mut Call, response: bool) {
        let grpc = call.grpc.get_or_insert_default();
        grpc.web |= self.kind != Kind::Grpc;
        *(if response { &mut grpc.response } else { &mut grpc.request }) = self.tally;
        grpc.status = grpc.status.or(self.status);
    }

    /// True in the middle of the first message since the last report.
    pub(super) fn is_within_first(&self) -> bool {
        match self.part {
            Part::Prefix { have, .. } => have > 0 && self.tally.messages == 0,
            Part::Message { .. } => self.tally.messages == 1,
            Part::Lost => false,
        }
    }

    /// True when a message was begun since the last report.
    pub(super) fn has_news(&self) -> bool {
        self.tally.messages > 0
    }

    /// Ends what was found so far for a report, and begins anew.
    pub(super) fn report(&mut self, call: &mut Call, response: bool, inspector: &Inspector, pool: &mut Decoders) {
        self.tell(call, response);
        self.tally = GrpcMessages::default();
        let message = if response { &mut call.response } else { &mut call.request };
        message.body_bytes = std::mem::take(&mut self.totals).decoded;
        let Some(scan) = self.scan.take() else { return };
        let side = scan.side();
        let findings = inspector.finish(scan, &mut pool.scans);
        message.capped |= findings.capped;
        let list = if response { &mut call.sensitive.response } else { &mut call.sensitive.request };
        inspector.merge(list, &findings.sensitive);
        self.scan = inspector.begin(side, Some("application/grpc"), &mut pool.scans);
    }

    pub(super) fn finish(mut self, inspector: &Inspector, pool: &mut Decoders) -> Option<Found> {
        if !self.kept.is_empty() {
            // The beginning of a message of which the rest will not come.
            let kept = std::mem::take(&mut self.kept);
            self.held.set(self.held.get().saturating_sub(kept.len()));
            let flags = if let Part::Message { flags, .. } = self.part { flags } else { 0 };
            let caps = Caps { decoded: 0, ratio: 0, encodings: 0, message: kept.len().max(PIECE) };
            self.message(flags, &kept, inspector, caps, &mut pool.grpc);
        }
        Some(Found::New(inspector.finish(self.scan.take()?, &mut pool.scans)))
    }

    /// Takes bytes of messages.
    fn messages(&mut self, mut bytes: &[u8], inspector: &Inspector, caps: Caps, scratch: &mut Scratch) {
        while !bytes.is_empty() {
            match &mut self.part {
                Part::Lost => {
                    self.show(bytes, inspector);
                    return;
                }
                Part::Prefix { bytes: prefix, have } => {
                    let room = prefix.get_mut(*have..).unwrap_or_default();
                    let count = room.len().min(bytes.len());
                    room[..count].copy_from_slice(&bytes[..count]);
                    *have += count;
                    bytes = &bytes[count..];
                    if *have == prefix.len() {
                        let [flags, a, b, c, d] = *prefix;
                        self.begin(flags, u32::from_be_bytes([a, b, c, d]));
                    }
                }
                Part::Message { left, flags, damaged } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (piece, behind) = bytes.split_at(count);
                    *left -= count as u64;
                    let (whole, flags, damaged) = (*left == 0, *flags, *damaged);
                    bytes = behind;
                    if whole && self.kept.is_empty() && !self.overflowed && !damaged {
                        self.message(flags, piece, inspector, caps, scratch);
                    } else {
                        self.keep(piece, flags, damaged, whole, inspector, caps, scratch);
                    }
                    if whole {
                        self.part = START;
                        self.overflowed = false;
                    }
                }
            }
        }
    }

    /// Begins a message.
    fn begin(&mut self, flags: u8, length: u32) {
        let trailers = flags & TRAILERS != 0 && self.kind != Kind::Grpc;
        if flags & !(COMPRESSED | TRAILERS) != 0 || (flags & TRAILERS != 0 && !trailers) {
            self.part = Part::Lost;
            return;
        }
        if !trailers {
            self.tally.messages += 1;
            self.tally.bytes += u64::from(length);
            self.tally.largest = self.tally.largest.max(u64::from(length));
            self.tally.compressed += u64::from(flags & COMPRESSED);
        }
        self.part = match length {
            0 => START,
            _ => Part::Message { left: length.into(), flags, damaged: false },
        };
    }

    /// Takes a piece of a message that does not come at once.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one piece")]
    fn keep(
        &mut self,
        piece: &[u8],
        flags: u8,
        damaged: bool,
        whole: bool,
        inspector: &Inspector,
        caps: Caps,
        scratch: &mut Scratch,
    ) {
        if self.overflowed || damaged {
            if flags & COMPRESSED == 0 {
                self.show(piece, inspector);
            }
            return;
        }
        let held = scratch.held.get() + piece.len();
        if self.kept.len() + piece.len() > caps.message || held > scratch.limit {
            // What there is of it is looked at now, the rest as it comes.
            let mut kept = std::mem::take(&mut self.kept);
            scratch.held.set(scratch.held.get().saturating_sub(kept.len()));
            let room = caps.message.saturating_sub(kept.len()).min(piece.len());
            let (first, rest) = piece.split_at(room);
            kept.extend_from_slice(first);
            self.overflowed = true;
            self.tally.undecoded += u64::from(flags & COMPRESSED);
            self.message(flags, &kept, inspector, caps, scratch);
            // Its texts are not told apart any more, which shows on the call and in the counters.
            self.totals.stopped.get_or_insert(Stopped::Limit);
            if flags & COMPRESSED == 0 {
                self.show(rest, inspector);
            }
            return;
        }
        scratch.held.set(held);
        self.kept.extend_from_slice(piece);
        if whole {
            let kept = std::mem::take(&mut self.kept);
            scratch.held.set(scratch.held.get().saturating_sub(kept.len()));
            self.message(flags, &kept, inspector, caps, scratch);
        }
    }

    fn forget(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.held.set(self.held.get().saturating_sub(kept.len()));
    }

    /// Looks at a message, whole or as far as it is there.
    fn message(&mut self, flags: u8, bytes: &[u8], inspector: &Inspector, caps: Caps, scratch: &mut Scratch) {
        let mut inflated = std::mem::take(&mut scratch.inflated);
        inflated.clear();
        let mut plain = bytes;
        if flags & COMPRESSED != 0 {
            if let Err(stopped) = self.decompress(bytes, &mut inflated, caps.message, scratch) {
                self.totals.stopped.get_or_insert(stopped);
                self.tally.undecoded += u64::from(!self.overflowed);
            }
            plain = &inflated;
        }
        if flags & TRAILERS != 0 {
            self.status = self.status.or_else(|| status_of(plain));
        } else if self.scan.is_some() {
            scratch.texts.clear();
            super::grpc_text::texts(plain, &mut scratch.texts);
            self.show(&scratch.texts, inspector);
        }
        scratch.inflated = inflated;
        scratch.inflated.shrink_to(1 << 20);
        scratch.texts.shrink_to(1 << 20);
    }

    fn show(&mut self, text: &[u8], inspector: &Inspector) {
        if let Some(scan) = &mut self.scan
            && !text.is_empty()
        {
            inspector.data(scan, text, false);
        }
    }

    fn decompress(&self, bytes: &[u8], out: &mut Vec<u8>, limit: usize, scratch: &mut Scratch) -> Result<(), Stopped> {
        let mut piece = std::mem::take(&mut scratch.texts);
        piece.resize(PIECE, 0);
        let result = match self.coding {
            Coding::Gzip => {
                scratch.gzip.reset();
                scratch.gzip.decode(bytes, &mut piece, &mut |plain| append(out, plain, limit))
            }
            Coding::Deflate => inflate(bytes, out, limit, &mut piece),
            Coding::Zstd => {
                if scratch.zstd.is_none() {
                    scratch.zstd = zstd_decoder();
                }
                // What the last message left in it is of no use to this one.
                match scratch.zstd.as_mut().and_then(|zstd| zstd.reinit().ok().map(|()| zstd)) {
                    Some(zstd) => unzstd(zstd, bytes, &mut piece, &mut |plain| append(out, plain, limit)),
                    None => Err(Stopped::Unknown),
                }
            }
            Coding::None => Err(Stopped::Damaged),
            Coding::Unknown => Err(Stopped::Unknown),
        };
        scratch.texts = piece;
        result
    }

    /// Undoes base64, in which groups with padding may stand anywhere (PROTOCOL-WEB.md).
    fn undo_base64(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let (mut bits, mut count) = self.base64;
        for &byte in text {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => {
                    (bits, count) = (0, 0);
                    continue;
                }
            };
            bits = (bits << 6 | u32::from(six)) & 0xffff;
            count += 6;
            if count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
            }
        }
        self.base64 = (bits, count);
    }
}

/// Takes what a message came to, within so many bytes.
fn append(out: &mut Vec<u8>, plain: &[u8], limit: usize) -> Result<(), Stopped> {
    let room = limit.saturating_sub(out.len());
    out.extend_from_slice(&plain[..plain.len().min(room)]);
    if plain.len() > room { Err(Stopped::Limit) } else { Ok(()) }
}

/// zlib, which gRPC calls deflate.
fn inflate(bytes: &[u8], out: &mut Vec<u8>, limit: usize, piece: &mut [u8]) -> Result<(), Stopped> {
    let mut inflate = Decompress::new(true);
    loop {
        let (read, written) = (inflate.total_in() as usize, inflate.total_out() as usize);
        let rest = bytes.get(read..).unwrap_or_default();
        let status = inflate.decompress(rest, piece, FlushDecompress::None).map_err(|_| Stopped::Damaged)?;
        let plain = piece.get(..inflate.total_out() as usize - written).unwrap_or_default();
        append(out, plain, limit)?;
        if status == Status::StreamEnd || plain.len() < piece.len() {
            return Ok(());
        }
    }
}

/// `grpc-status` among the trailers of gRPC-Web, which are written as in HTTP/1.
fn status_of(trailers: &[u8]) -> Option<u32> {
    trailers.split(|&byte| byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        if !name.trim_ascii().eq_ignore_ascii_case(b"grpc-status") {
            return None;
        }
        parse_status(value.get(1..)?)
    })
}

/// The number of a `grpc-status`.
pub(super) fn parse_status(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

/// What the target of a gRPC call says: `/service/method`.
pub(super) fn named(path: &str, kind: Kind, texts: &mut Interner) -> Box<Grpc> {
    let (service, method) = path.strip_prefix('/').unwrap_or(path).rsplit_once('/').unwrap_or_default();
    Box::new(Grpc {
        service: texts.text(service.as_bytes()),
        method: texts.text(method.as_bytes()),
        web: kind != Kind::Grpc,
        ..Grpc::default()
    })
}
