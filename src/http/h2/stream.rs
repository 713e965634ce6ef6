//! One stream: the call that it carries, as far as it was seen.

use std::sync::Arc;

use crate::call::{Anomaly, Call, Http2, Message};
use crate::inspect::Side as Whose;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use super::super::Shared;
use super::super::fill::{self, caps};
use super::super::payload::Payload;

/// One direction of a stream.
#[derive(Default)]
pub(super) struct Side {
    /// Its head was seen, or a part of it.
    pub(super) head: bool,
    /// Its END_STREAM was seen, or nothing more will come of it.
    pub(super) ended: bool,
    payload: Option<Payload>,
    /// No payload is looked at: a tunnel, or too many bodies are decoded at a time.
    pub(super) opaque: bool,
    /// `Content-Length`.
    pub(super) declared: Option<u64>,
    pub(super) grpc_encoding: Option<Arc<str>>,
    received: u64,
    /// Losses of this direction when the head was seen.
    pub(super) losses: u32,
}

/// A stream. `sides` are the request's and the response's.
pub(super) struct Stream {
    pub(super) call: Box<Call>,
    pub(super) sides: [Side; 2],
    /// Method and target are known.
    pub(super) has_request: bool,
    /// The status is known.
    pub(super) has_response: bool,
    /// Of an answer whose request was not seen: what its sender had of the client's stream.
    pub(super) acknowledged: Option<u64>,
    /// When it began, or was last reported.
    pub(super) reported: Timestamp,
    pub(super) part: u32,
}

impl Stream {
    pub(super) fn new(mut call: Box<Call>, id: u32, now: Timestamp) -> Stream {
        call.version = crate::call::Version::Http2;
        call.http2 = Some(Box::new(Http2 { stream: id, ..Http2::default() }));
        Stream {
            call,
            sides: Default::default(),
            has_request: false,
            has_response: false,
            acknowledged: None,
            reported: now,
            part: 0,
        }
    }

    /// The request's message, or the response's.
    pub(super) fn message(&mut self, response: bool) -> &mut Message {
        if response { &mut self.call.response } else { &mut self.call.request }
    }

    pub(super) fn side(&mut self, response: bool) -> &mut Side {
        let [request, answer] = &mut self.sides;
        if response { answer } else { request }
    }

    /// Content of a DATA frame that is there: `wire` counts its padding too. `decoding` is the number of bodies that this
    /// connection decodes.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one piece")]
    pub(super) fn data(
        &mut self,
        response: bool,
        bytes: &[u8],
        wire: u64,
        last: bool,
        decoding: &mut usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        self.message(response).wire_bytes += wire;
        if bytes.is_empty() {
            return;
        }
        let message = if response { &mut self.call.response } else { &mut self.call.request };
        let side = &mut self.sides[usize::from(response)];
        side.received += bytes.len() as u64;
        if side.opaque {
            return;
        }
        if side.payload.is_none() {
            let encoded = message.content_encoding.is_some();
            if encoded && *decoding >= shared.settings.http2_decoders {
                counters.count(Counter::BodiesNotDecoded);
                side.opaque = true;
                message.capped = true;
                return;
            }
            *decoding += usize::from(encoded);
            let whose = if response { Whose::Response } else { Whose::Request };
            let text = |text: &Option<Arc<str>>| text.clone();
            let (media, encoding) = (text(&message.content_type), text(&message.content_encoding));
            let grpc = side.grpc_encoding.clone();
            let bytes_of = |text: &Option<Arc<str>>| text.as_deref().map(str::as_bytes).map(<[u8]>::to_vec);
            let (encoding, grpc) = (bytes_of(&encoding), bytes_of(&grpc));
            side.payload = Some(Payload::new(whose, media.as_deref(), encoding.as_deref(), grpc.as_deref(), shared));
        }
        if let Some(payload) = &mut side.payload {
            let caps = caps(shared);
            payload.data(bytes, last, &shared.inspector, caps, &mut shared.decoders);
        }
    }

    /// So many bytes of its content were lost; 0 where it is not known whether any were.
    pub(super) fn gap(&mut self, response: bool, length: u64, shared: &mut Shared) {
        let message = self.message(response);
        message.gap_bytes += length;
        message.gap_bytes = message.gap_bytes.max(1);
        message.wire_bytes += length;
        let side = self.side(response);
        side.received += length;
        if let Some(payload) = &mut side.payload {
            let caps = caps(shared);
            payload.gap(length, &shared.inspector, caps, &mut shared.decoders);
        }
    }

    /// Nothing more comes of one side: its body is over, `whole` or not.
    pub(super) fn finish(
        &mut self,
        response: bool,
        whole: bool,
        decoding: &mut usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let side = &mut self.sides[usize::from(response)];
        if side.ended {
            return;
        }
        side.ended = true;
        let (payload, declared, received) = (side.payload.take(), side.declared, side.received);
        let truncated = !whole && (side.head || received > 0);
        let message = self.message(response);
        message.truncated |= truncated;
        if payload.is_some() && message.content_encoding.is_some() {
            *decoding = decoding.saturating_sub(1);
        }
        let bodyless = response && (self.call.method == "HEAD" || self.call.status == Some(304));
        if whole
            && self.message(response).gap_bytes == 0
            && !bodyless
            && declared.is_some_and(|declared| declared != received)
        {
            self.call.anomalies.insert(Anomaly::ContentLengthMismatch);
        }
        match payload {
            Some(payload) => fill::body(&mut self.call, response, payload, truncated, shared, counters),
            None => {
                let message = self.message(response);
                message.body_bytes = message.body_bytes.max(received);
            }
        }
    }

    /// A record of a call that goes on, if it is one of gRPC and messages have come; what comes later is for the next.
    pub(super) fn report(&mut self, now: Timestamp, shared: &mut Shared) -> Option<Box<Call>> {
        let news = |side: &Side| matches!(&side.payload, Some(Payload::Grpc(body)) if body.has_news());
        if !self.has_request || !self.sides.iter().any(news) {
            return None;
        }
        self.reported = now;
        let mut call = self.call.clone();
        for (response, side) in [false, true].into_iter().zip(&mut self.sides) {
            if let Some(Payload::Grpc(body)) = &mut side.payload {
                body.report(&mut call, response, &shared.inspector, &mut shared.decoders);
            }
        }
        call.completeness.open = true;
        call.completeness.part = self.part;
        self.part = self.part.saturating_add(1);
        for message in [&mut self.call.request, &mut self.call.response] {
            (message.head_bytes, message.wire_bytes, message.gap_bytes) = (0, 0, 0);
            message.capped = false;
        }
        self.call.sensitive.request.clear();
        self.call.sensitive.response.clear();
        Some(call)
    }
}
