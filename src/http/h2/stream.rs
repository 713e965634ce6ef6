//! One stream: the call that it carries, as far as it was seen.

use std::sync::Arc;

use crate::call::{Anomaly, Call, Http2, Message};
use crate::inspect::Side as Whose;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use super::super::Shared;
use super::super::fill::{self, caps};
use super::super::payload::Payload;
use super::super::websocket::{Agreed, Session};
use super::credit::Used;

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
    /// It is among those of which the request is waited for.
    pub(super) waiting: bool,
    /// When something last came of its request's body.
    pub(super) asked: Timestamp,
    /// It is among those that were broken off.
    pub(super) broken_off: bool,
    /// When it began, or was last reported.
    pub(super) reported: Timestamp,
    pub(super) part: u32,
    /// What the server has used of its window.
    pub(super) used: Used,
    /// Bytes that the client may send more, or less, than of a new stream.
    pub(super) allowed: i64,
    /// Its WebSocket is among the bodies that the connection decodes.
    decodes: bool,
    /// The client has asked to go on as a WebSocket (RFC 8441).
    pub(super) offers_websocket: bool,
    /// It has become one.
    pub(super) websocket: Option<Box<Session>>,
}

impl Stream {
    /// The client has yet to send of a body. Streams of messages (gRPC) are open for as long as both ends like, but not in the middle
    /// of the first; so are tunnels. A head that the server sends early says that it is ready.
    /// What was lost since its head may have been its end: `losses` of the client's direction so far.
    pub(super) fn sends_body(&self, losses: u32) -> bool {
        let [request, response] = &self.sides;
        let within = || self.part == 0 && request.payload.as_ref().is_some_and(Payload::is_within_first_message);
        request.head
            && !request.ended
            && request.losses == losses
            && response.received == 0
            && !response.ended
            && !request.opaque
            && self.websocket.is_none()
            && (self.call.grpc.is_none() || within())
    }

    pub(super) fn new(mut call: Box<Call>, id: u32, now: Timestamp) -> Stream {
        call.version = crate::call::Version::Http2;
        call.http2 = Some(Box::new(Http2 { stream: id, ..Http2::default() }));
        Stream {
            call,
            sides: Default::default(),
            has_request: false,
            has_response: false,
            acknowledged: None,
            waiting: false,
            asked: now,
            broken_off: false,
            reported: now,
            part: 0,
            used: Used::default(),
            allowed: 0,
            decodes: false,
            offers_websocket: false,
            websocket: None,
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

    /// Content of a DATA frame that is there: `wire` counts its padding too. `begin`: from its beginning on. `decoding` is the number of bodies that this
    /// connection decodes.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one piece")]
    pub(super) fn data(
        &mut self,
        response: bool,
        bytes: &[u8],
        wire: u64,
        begin: bool,
        last: bool,
        decoding: &mut usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        if let Some(websocket) = &mut self.websocket {
            self.sides[usize::from(response)].received += bytes.len() as u64;
            websocket.data(response, bytes, begin, shared, counters);
            return;
        }
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
            let encoding = message.content_encoding.clone();
            let encoding = encoding.as_deref().map(str::as_bytes);
            let grpc = side.grpc_encoding.as_deref().map(str::as_bytes);
            side.payload = Some(Payload::new(whose, Some(&self.call), encoding, grpc, shared));
        }
        if let Some(payload) = &mut side.payload {
            let caps = caps(shared);
            payload.data(bytes, last, &shared.inspector, caps, &mut shared.decoders);
        }
    }

    /// So many bytes of its content were lost; 0 where it is not known whether any were.
    pub(super) fn gap(&mut self, response: bool, length: u64, shared: &mut Shared, counters: &mut Counters) {
        if let Some(websocket) = &mut self.websocket {
            self.sides[usize::from(response)].received += length;
            websocket.gap(response, length, shared, counters);
            return;
        }
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

    /// The server has agreed to go on as a WebSocket (RFC 8441, section 5).
    pub(super) fn open_websocket(
        &mut self,
        agreed: Agreed,
        decoding: &mut usize,
        shared: &Shared,
        counters: &mut Counters,
    ) {
        let mut session = Session::new(agreed, counters);
        if session.is_compressed() {
            if *decoding >= shared.settings.http2_decoders {
                counters.count(Counter::BodiesNotDecoded);
                session.leave_compressed();
            } else {
                *decoding += 1;
                self.decodes = true;
            }
        }
        // A client that does not wait for the answer has sent what nobody took for frames.
        for (response, side) in [false, true].into_iter().zip(&self.sides) {
            if side.received > 0 {
                session.begin_lost(response);
            }
        }
        self.websocket = Some(Box::new(session));
    }

    /// No more comes of a WebSocket; `ended` when the stream is known to have ended.
    pub(super) fn close_websocket(&mut self, ended: bool, decoding: &mut usize, shared: &mut Shared) {
        if let Some(mut websocket) = self.websocket.take() {
            websocket.finish(&mut self.call, ended, shared);
            if std::mem::take(&mut self.decodes) {
                *decoding = decoding.saturating_sub(1);
            }
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
            None if self.websocket.is_some() => {}
            None => {
                let message = self.message(response);
                message.body_bytes = message.body_bytes.max(received);
            }
        }
    }

    /// A record of a call that goes on, if it is a stream of which something came; what comes later is for the next.
    pub(super) fn report(&mut self, now: Timestamp, shared: &mut Shared) -> Option<Box<Call>> {
        let news = self.websocket.as_ref().is_some_and(|websocket| websocket.has_news())
            || self.sides.iter_mut().any(|side| side.payload.as_mut().is_some_and(Payload::has_news));
        if !self.has_request || !news {
            return None;
        }
        self.reported = now;
        let mut call = fill::part(&mut self.call, &mut self.part);
        for (response, side) in [false, true].into_iter().zip(&mut self.sides) {
            if let Some(payload) = &mut side.payload {
                payload.report(&mut call, response, &shared.inspector, &mut shared.decoders);
            }
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.tell(&mut call, shared);
        }
        Some(call)
    }
}
