//! One direction: between and within frames, and behind a loss.
//!
//! Within a frame whose header was seen a loss costs only its bytes. Elsewhere the next frame has to be found, and nothing in
//! the bytes says where one begins. Senders write whole frames, mostly, so where one began to write and all up to where
//! it stopped are whole frames, one behind the other, something is said for it ([`frame::evidence`]); it is believed when
//! enough was said in a row. Long messages in many segments say nothing, and are passed over and counted.

use crate::call::{Anomalies, Anomaly, Call, Operation, SensitiveClasses, WebSocketMessages};
use crate::inspect::{Inspector, Side};
use crate::stats::{Counter, Counters};

use super::super::Shared;
use super::super::content::{Caps, Decoders, Stopped};
use super::super::fill::caps;
use super::super::operation::{self, Asked};
use super::frame::{self, HEADER, Header, Key, LONGEST_CONTROL, Manner, opcode};
use super::message::{Message, Nature, PIECE};

/// Bits of evidence at which it is certain that bytes are frames.
const CERTAIN: u32 = 48;

/// Code of a Close frame without one (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;

enum Phase {
    /// In a header, of which so many bytes have come.
    Header([u8; HEADER], usize),
    /// In the payload of a frame.
    Payload(Payload),
    /// Something was lost: the next frame, wherever it is.
    Lost,
    /// Behind a Close frame nothing is to come.
    Over,
}

const BETWEEN: Phase = Phase::Header([0; HEADER], 0);

/// A payload on its way.
#[derive(Clone, Copy)]
struct Payload {
    of: Of,
    key: Option<Key>,
    /// Bytes that have come.
    at: u64,
    left: u64,
}

/// Whose payload it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// That of a message, and the last of it or not.
    Message {
        last: bool,
    },
    Close,
    /// That of a Close frame of which the beginning was lost.
    TornClose,
    /// Nothing that is looked at.
    Other,
}

/// What came since the last record.
#[derive(Default)]
pub(super) struct Share {
    pub(super) tally: WebSocketMessages,
    /// Bytes of frames, their headers included.
    pub(super) wire: u64,
    /// Bytes of messages, after compression is undone as far as it was.
    pub(super) body: u64,
    pub(super) gaps: u64,
    pub(super) capped: bool,
    pub(super) anomalies: Anomalies,
    pub(super) sensitive: SensitiveClasses,
    asked: Option<Box<Asked>>,
}

/// One direction.
pub(super) struct Reader {
    side: Side,
    manner: Manner,
    /// Messages are compressed each for itself.
    alone: bool,
    /// Messages are decompressed; otherwise too many are.
    pub(super) decodes: bool,
    phase: Phase,
    message: Option<Message>,
    inflater: Option<super::inflate::Inflater>,
    /// The decoder does not know all that was sent.
    forgetful: bool,
    /// What comes may be the rest of a message that began in a loss.
    torn: bool,
    evidence: u32,
    close: Vec<u8>,
    pub(super) code: Option<u16>,
    /// Something was lost.
    pub(super) lossy: bool,
    pub(super) share: Share,
}

/// What a direction works with.
struct Bench<'s> {
    inspector: &'s Inspector,
    caps: Caps,
    pool: &'s mut Decoders,
    texts: &'s mut super::super::Interner,
    counters: &'s mut Counters,
}

impl Reader {
    pub(super) fn new(side: Side, manner: Manner, alone: bool) -> Reader {
        Reader {
            side,
            manner,
            alone,
            decodes: true,
            phase: BETWEEN,
            message: None,
            inflater: None,
            forgetful: false,
            torn: false,
            evidence: 0,
            close: Vec::new(),
            code: None,
            lossy: false,
            share: Share::default(),
        }
    }

    /// The next bytes; `begin`: here the sender began to write.
    pub(super) fn data(&mut self, bytes: &[u8], begin: bool, shared: &mut Shared, counters: &mut Counters) {
        let caps = caps(shared);
        let Shared { inspector, decoders, texts, .. } = shared;
        let mut bench = Bench { inspector, caps, pool: decoders, texts, counters };
        self.share.wire += bytes.len() as u64;
        if matches!(self.phase, Phase::Lost) && !self.finds(bytes, begin, &mut bench) {
            self.share.tally.skipped += bytes.len() as u64;
            bench.counters.add(Counter::BytesSkipped, bytes.len() as u64);
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = self.step(rest, &mut bench);
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Whether it is certain by now that frames begin with these bytes.
    fn finds(&mut self, bytes: &[u8], begin: bool, bench: &mut Bench<'_>) -> bool {
        let found = match begin {
            true => frame::evidence(bytes, self.manner, &mut bench.pool.websocket.plain),
            false => None,
        };
        self.evidence = found.map_or(0, |bits| self.evidence.saturating_add(bits));
        let certain = self.evidence >= CERTAIN;
        if certain {
            self.phase = BETWEEN;
        }
        certain
    }

    /// Takes the next bytes, at least one; says how many.
    fn step(&mut self, rest: &[u8], bench: &mut Bench<'_>) -> usize {
        match &mut self.phase {
            Phase::Header(bytes, have) => {
                let before = *have;
                let room = bytes.get_mut(before..).unwrap_or_default();
                let count = room.len().min(rest.len());
                room[..count].copy_from_slice(&rest[..count]);
                match Header::parse(&bytes[..before + count]) {
                    Some(header) => {
                        self.begin(header, bench);
                        header.size.saturating_sub(before).max(1)
                    }
                    None => {
                        *have += count;
                        count
                    }
                }
            }
            Phase::Payload(payload) => {
                let count = usize::try_from(payload.left).unwrap_or(usize::MAX).min(rest.len());
                let now = *payload;
                payload.at += count as u64;
                payload.left -= count as u64;
                let over = payload.left == 0;
                self.payload(&rest[..count], now, bench);
                if over {
                    self.end_frame(now.of, bench);
                }
                count
            }
            Phase::Lost => {
                // A frame that cannot be has come: what is behind it cannot be told.
                self.share.tally.skipped += rest.len() as u64;
                bench.counters.add(Counter::BytesSkipped, rest.len() as u64);
                rest.len()
            }
            Phase::Over => {
                self.share.anomalies.insert(Anomaly::TrailingData);
                bench.counters.add(Counter::BytesSkipped, rest.len() as u64);
                rest.len()
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, header: Header, bench: &mut Bench<'_>) {
        self.share.anomalies.extend(header.oddities(self.manner));
        if header.is_endless() {
            self.lose(bench);
            return;
        }
        let of = match header.opcode {
            opcode::CONTINUATION | opcode::TEXT | opcode::BINARY => {
                self.begin_fragment(header, bench);
                Of::Message { last: header.last }
            }
            opcode::CLOSE => Of::Close,
            opcode::PING => {
                self.share.tally.pings += 1;
                Of::Other
            }
            opcode::PONG => {
                self.share.tally.pongs += 1;
                Of::Other
            }
            _ => Of::Other,
        };
        self.phase = Phase::Payload(Payload { of, key: header.key, at: 0, left: header.length });
        if header.length == 0 {
            self.end_frame(of, bench);
        }
    }

    /// A frame of a message begins, or goes on with it.
    fn begin_fragment(&mut self, header: Header, bench: &mut Bench<'_>) {
        let goes_on = header.opcode == opcode::CONTINUATION;
        let torn = std::mem::take(&mut self.torn) && goes_on;
        if goes_on != self.message.is_some() && !torn {
            self.share.anomalies.insert(Anomaly::OddFragmentation);
        }
        if goes_on && self.message.is_some() {
            return;
        }
        self.end_message(false, bench);
        // Whether what is torn is compressed stood where it began.
        let compressed = self.manner.deflate && (header.is_compressed() || torn);
        let nature = Nature { text: header.opcode == opcode::TEXT, compressed, torn };
        let mut message = Message::begin(self.side, nature, !self.manner.others, bench.inspector, bench.pool);
        if compressed && (torn || !self.decodes) {
            message.stop(if torn { Stopped::Damaged } else { Stopped::Limit }, &mut self.inflater);
        }
        self.message = Some(message);
    }

    fn payload(&mut self, bytes: &[u8], payload: Payload, bench: &mut Bench<'_>) {
        let last = matches!(payload.of, Of::Message { last: true }) && payload.left == bytes.len() as u64;
        match (payload.of, payload.key) {
            (Of::Other | Of::TornClose, _) => {}
            (_, None) => self.plain(bytes, payload.of, last, bench),
            (_, Some(key)) => {
                let mut buffer = std::mem::take(&mut bench.pool.websocket.plain);
                let mut at = payload.at;
                let mut left = bytes.len();
                for piece in bytes.chunks(PIECE) {
                    frame::unmask(piece, key, at, &mut buffer);
                    at += piece.len() as u64;
                    left -= piece.len();
                    self.plain(&buffer, payload.of, last && left == 0, bench);
                }
                bench.pool.websocket.plain = buffer;
            }
        }
    }

    /// Bytes of a payload without its mask.
    fn plain(&mut self, bytes: &[u8], of: Of, last: bool, bench: &mut Bench<'_>) {
        if of == Of::Close {
            let room = (LONGEST_CONTROL as usize).saturating_sub(self.close.len());
            self.close.extend_from_slice(&bytes[..bytes.len().min(room)]);
        } else if let Some(message) = &mut self.message {
            let before = message.plain;
            message.data(bytes, last, &mut self.inflater, bench.inspector, bench.caps, bench.pool);
            self.share.body += message.plain - before;
        }
    }

    fn end_frame(&mut self, of: Of, bench: &mut Bench<'_>) {
        self.phase = BETWEEN;
        match of {
            Of::Message { last: true } => self.end_message(true, bench),
            Of::Message { last: false } | Of::Other => {}
            Of::Close => {
                let close = std::mem::take(&mut self.close);
                self.code = Some(close.first_chunk().map_or(NO_CODE, |&code| u16::from_be_bytes(code)));
                if std::str::from_utf8(close.get(2..).unwrap_or_default()).is_err() {
                    self.share.anomalies.insert(Anomaly::InvalidUtf8);
                }
                self.phase = Phase::Over;
            }
            Of::TornClose => self.phase = Phase::Over,
        }
    }

    /// The message under way is over; `whole` unless its end was lost or never came.
    fn end_message(&mut self, whole: bool, bench: &mut Bench<'_>) {
        let Some(mut message) = self.message.take() else { return };
        let before = message.plain;
        let outcome = message.end(whole, &mut self.inflater, bench.inspector, bench.caps, bench.pool);
        self.share.body += message.plain - before;
        if self.alone {
            self.inflater = None;
        }
        if outcome.invalid {
            self.share.anomalies.insert(Anomaly::InvalidUtf8);
        }
        self.count(&message, bench.counters);
        if let Some(findings) = outcome.findings {
            if findings.capped {
                self.share.capped = true;
                bench.counters.count(Counter::InspectionTruncated);
            }
            bench.inspector.merge(&mut self.share.sensitive, &findings.sensitive);
        }
        if let Some(tap) = outcome.tap
            && let Some((_, bytes, missing)) = tap.read(outcome.whole)
            && let Some(found) = operation::of_message(bytes, missing, bench.texts)
        {
            match &mut self.share.asked {
                Some(asked) => asked.add(found, bench.texts),
                none => *none = Some(Box::new(Asked::new(found))),
            }
        }
    }

    fn count(&mut self, message: &Message, counters: &mut Counters) {
        let tally = &mut self.share.tally;
        let undecoded = message.stopped.is_some();
        let bytes = if undecoded { message.encoded.max(message.plain) } else { message.plain };
        tally.bytes += bytes;
        tally.largest = tally.largest.max(bytes);
        if message.nature.torn {
            return; // it was counted where it began
        }
        counters.count(Counter::WebSocketMessages);
        tally.messages += 1;
        tally.text += u64::from(message.nature.text);
        tally.compressed += u64::from(message.nature.compressed);
        tally.undecoded += u64::from(undecoded);
        let Some(reason) = message.stopped else { return };
        counters.count(Counter::WebSocketMessagesUndecoded);
        match reason {
            Stopped::Limit => self.share.capped = true,
            Stopped::Ratio => {
                self.share.capped = true;
                self.share.anomalies.insert(Anomaly::ExpansionRatio);
            }
            // What it refers to may have been lost, which is nobody's fault.
            Stopped::Damaged if !self.forgetful && !message.is_holed() => {
                self.share.anomalies.insert(Anomaly::MalformedEncoding);
            }
            Stopped::Damaged | Stopped::Unknown => {}
        }
        self.forgetful |= !self.alone;
    }

    /// So many bytes were lost; 0 where it is not known how many.
    pub(super) fn gap(&mut self, length: u64, shared: &mut Shared, counters: &mut Counters) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        let caps = caps(shared);
        let Shared { inspector, decoders, texts, .. } = shared;
        let mut bench = Bench { inspector, caps, pool: decoders, texts, counters };
        self.lossy = true;
        self.share.wire += length;
        self.share.gaps += length.max(1);
        if matches!(self.phase, Phase::Lost) {
            self.evidence = 0;
            return;
        }
        let Phase::Payload(payload) = &mut self.phase else { return self.lose(&mut bench) };
        if length == 0 || length > payload.left {
            return self.lose(&mut bench);
        }
        payload.at += length;
        payload.left -= length;
        if payload.of == Of::Close && self.close.len() < 2 {
            payload.of = Of::TornClose;
        }
        let (of, over) = (payload.of, payload.left == 0);
        if let (Of::Message { .. }, Some(message)) = (of, &mut self.message) {
            let before = message.plain;
            message.gap(length, &mut self.inflater, bench.inspector);
            self.share.body += message.plain - before;
            self.forgetful |= message.nature.compressed && !self.alone;
        }
        if over {
            self.end_frame(of, &mut bench);
        }
    }

    /// Where the next frame begins is not known any more.
    fn lose(&mut self, bench: &mut Bench<'_>) {
        bench.counters.count(Counter::WebSocketsLost);
        self.end_message(false, bench);
        self.phase = Phase::Lost;
        self.inflater = None;
        self.forgetful = self.manner.deflate && !self.alone;
        self.torn = true;
        self.evidence = 0;
        self.close.clear();
    }

    /// Nothing is known of what came before: frames have to be found.
    pub(super) fn begin_lost(&mut self) {
        self.phase = Phase::Lost;
        self.lossy = true;
        self.forgetful = self.manner.deflate && !self.alone;
        self.torn = true;
    }

    /// Gives back what a message under way holds; it is no message any more.
    pub(super) fn discard(&mut self, shared: &mut Shared) {
        self.inflater = None;
        if let Some(mut message) = self.message.take() {
            let caps = caps(shared);
            let Shared { inspector, decoders, .. } = shared;
            message.stop(Stopped::Damaged, &mut self.inflater);
            let outcome = message.end(false, &mut self.inflater, inspector, caps, decoders);
            if let Some(findings) = outcome.findings {
                self.share.capped |= findings.capped;
                inspector.merge(&mut self.share.sensitive, &findings.sensitive);
            }
        }
    }

    /// Writes on the call what came since the last record, and begins anew.
    pub(super) fn tell(&mut self, call: &mut Call, inspector: &Inspector) {
        let response = self.side == Side::Response;
        let share = std::mem::take(&mut self.share);
        let (message, found) = match response {
            true => (&mut call.response, &mut call.sensitive.response),
            false => (&mut call.request, &mut call.sensitive.request),
        };
        message.wire_bytes += share.wire;
        message.body_bytes += share.body;
        message.gap_bytes += share.gaps;
        message.capped |= share.capped;
        inspector.merge(found, &share.sensitive);
        call.anomalies.extend(share.anomalies);
        if let Some(asked) = share.asked {
            call.operation = Some(Box::new(Operation::from(*asked)));
        }
        let websocket = call.websocket.get_or_insert_default();
        *(if response { &mut websocket.response } else { &mut websocket.request }) = share.tally;
    }
}
