//! A body from the end of its head to its own.

use crate::call::Anomaly;
use crate::inspect::Side;
use crate::stats::Counters;

use super::super::Shared;
use super::super::fill::{self, caps};
use super::super::framing::{Chunks, Framing, Step};
use super::super::head::Fields;
use super::super::payload::Payload;
use super::super::reader::{Body, Phase};
use super::super::recognise::{self, Role, Verdict};
use super::{Conversation, Cursor};

impl Conversation {
    #[allow(clippy::too_many_arguments, reason = "all of it describes one body")]
    pub(super) fn begin_body(
        &mut self,
        d: usize,
        framing: Framing,
        serial: u64,
        side: Side,
        fields: &Fields<'_>,
        doubtful: bool,
        shared: &mut Shared,
    ) {
        let call = self.exchange(serial).map(|exchange| &*exchange.call);
        let mut content = Payload::new(side, call, fields.content_encoding, fields.grpc_encoding, shared);
        self.streaming |= content.is_stream();
        let reported = self.readers[d].mark.time;
        self.readers[d].phase = Phase::Body(Body { framing, content, serial, doubtful, reported });
    }

    /// Reads on in a body.
    pub(super) fn body(&mut self, d: usize, cursor: &mut Cursor<'_, '_>, shared: &mut Shared, counters: &mut Counters) {
        let Phase::Body(body) = &mut self.readers[d].phase else { return };
        let bytes = cursor.rest();
        let at_start = cursor.used == 0;
        let serial = body.serial;
        if at_start || body.doubtful {
            let status_line = || recognise::judge(bytes, false) == Verdict::Head(Role::Response);
            let others_wait = || self.exchanges.iter().any(|exchange| exchange.has_request && !exchange.has_response);
            let over = match body.framing {
                // The request may have been a HEAD that nobody saw.
                Framing::Length(_) => body.doubtful && status_line(),
                // A server that does not close where it should, and answers the next request.
                Framing::UntilClose => at_start && others_wait() && status_line(),
                Framing::Chunked(_) => false,
            };
            body.doubtful = false;
            if over {
                self.finish(d, false, shared, counters);
                return;
            }
        }
        let caps = caps(shared);
        let Shared { inspector, decoders, .. } = shared;
        let mut malformed = false;
        let (used, finished) = match &mut body.framing {
            Framing::Length(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= now as u64;
                let finished = *left == 0;
                body.content.data(&bytes[..now], finished, inspector, caps, decoders);
                (now, finished)
            }
            Framing::UntilClose => {
                body.content.data(bytes, false, inspector, caps, decoders);
                (bytes.len(), false)
            }
            Framing::Chunked(chunks) => {
                let mut used = 0;
                while used < bytes.len() && *chunks != Chunks::Done && !malformed {
                    match chunks.step(&bytes[used..]) {
                        Step::Framing(length) => used += length,
                        Step::Data(length) => {
                            body.content.data(&bytes[used..used + length], false, inspector, caps, decoders);
                            used += length;
                        }
                        Step::Malformed => malformed = true,
                    }
                }
                (used, *chunks == Chunks::Done)
            }
        };
        cursor.used += used;
        if let Some(message) = self.message(d, serial) {
            message.wire_bytes += used as u64;
        }
        if malformed {
            if let Some(exchange) = self.exchange(serial) {
                exchange.call.anomalies.insert(Anomaly::MalformedChunk);
            }
            self.finish(d, true, shared, counters);
            self.readers[d].lose();
        } else if finished {
            self.finish(d, false, shared, counters);
        }
    }

    /// The body in this direction is over.
    pub(super) fn finish(&mut self, d: usize, truncated: bool, shared: &mut Shared, counters: &mut Counters) {
        let Phase::Body(body) = std::mem::replace(&mut self.readers[d].phase, Phase::Head) else { return };
        let response = self.readers[d].role == Some(Role::Response);
        let Some(exchange) = self.exchange(body.serial) else {
            body.content.discard(shared);
            return;
        };
        fill::body(&mut exchange.call, response, body.content, truncated, shared, counters);
        if response {
            exchange.response_done = true;
        } else {
            exchange.request_done = true;
        }
    }
}
