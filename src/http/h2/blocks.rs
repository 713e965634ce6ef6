//! Header blocks to heads, trailers and promises, each to its stream.

use crate::call::Anomaly;
use crate::stats::{Counter, Counters};
use crate::stream::{Direction, FlowInfo};
use crate::time::Timestamp;

use super::super::Shared;
use super::super::fill;
use super::super::head::Reading;
use super::super::intern::printable_into;
use super::super::websocket::Agreed;
use super::connection::Connection;
use super::heads::{self, Lines};
use super::hpack::{Error, List};
use super::lifecycle;
use super::reader::Block;

impl Connection {
    /// Takes a header block; only its beginning if it says that it overflowed.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one block")]
    pub(super) fn block(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        block: &Block,
        bytes: &[u8],
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let mut list = std::mem::take(&mut shared.header_list);
        list.clear();
        self.list(flow, d, block, bytes, &mut list, now, shared, counters);
        shared.header_list = list;
    }

    #[allow(clippy::too_many_arguments, reason = "all of it describes one block")]
    fn list(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        block: &Block,
        bytes: &[u8],
        list: &mut List,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let decoder = &mut self.readers[d].decoder;
        let mut partly = block.overflowed;
        match decoder.decode(bytes, list) {
            Ok(()) => {}
            Err(Error::Truncated) if block.overflowed => {}
            Err(_) => {
                counters.count(Counter::Http2BlocksMalformed);
                self.anomalies[d].insert(Anomaly::MalformedHeaderBlock);
                partly = true;
            }
        }
        if partly {
            // What the rest would have inserted into the table is not known.
            decoder.lose();
        }
        if block.overflowed && !self.torn {
            self.anomalies[d].insert(Anomaly::HeadTooLarge);
        }
        for (counter, holds) in [(Counter::Http2ListsCut, list.cut), (Counter::Http2TablesCut, list.forgotten)] {
            if holds {
                counters.count(counter);
            }
        }
        let cookies = heads::cookies(list);
        let is_api_key = |name: &[u8]| shared.inspector.is_api_key_header(name);
        let direction = if d == 0 { Direction::Forward } else { Direction::Backward };
        let is_own = shared.inspector.further_headers(self.client.is_none_or(|client| client == direction));
        let reading = Reading { header_limit: shared.settings.header_limit, is_api_key: &is_api_key, is_own };
        let mut lines = Lines::read(list, cookies.as_deref(), &reading);
        lines.unknown += u32::from(partly);
        let client = match self.client {
            Some(client) => client,
            None if lines.is_request() && block.promised.is_none() => direction,
            None if lines.is_request() || lines.status.is_some() => direction.opposite(),
            None => return,
        };
        self.client = Some(client);
        match (client == direction, block.promised) {
            (true, None) => self.request(flow, d, block, lines, now, shared, counters),
            (false, None) => self.response(flow, d, block, lines, now, shared, counters),
            (false, Some(id)) => self.promise(flow, d, id, block, lines, now, shared, counters),
            (true, Some(_)) => {} // clients cannot push
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of it describes one head")]
    fn request(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        block: &Block,
        lines: Lines<'_>,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let id = block.stream;
        let known = self.streams.get(&id).is_some_and(|stream| stream.sides[0].head);
        if !known {
            // Numbers count up, so what is below was over, or was lost (RFC 9113, section 5.1.1).
            if id.is_multiple_of(2) || id <= self.highest {
                return;
            }
            self.note_request(id);
            self.take_request(flow, d, id, block, lines, now, shared, counters);
        }
        if block.end_stream {
            self.end_side(flow, id, false, now, shared, counters);
        }
        if !known {
            self.settle(flow, id, now, shared, counters);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of it describes one head")]
    fn promise(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        id: u32,
        block: &Block,
        lines: Lines<'_>,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        if id == 0 || id % 2 == 1 || self.streams.contains_key(&id) {
            return;
        }
        self.take_request(flow, d, id, block, lines, now, shared, counters);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.sides[0].ended = true;
            if let Some(http2) = &mut stream.call.http2 {
                http2.pushed = true;
            }
        }
    }

    /// Takes the head of a request, as far as it is known.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one head")]
    fn take_request(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        id: u32,
        block: &Block,
        lines: Lines<'_>,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let (anomalies, losses, torn) = (std::mem::take(&mut self.anomalies[d]), self.readers[d].losses, self.torn);
        let Some(stream) = self.open(flow, id, block.mark, now, shared, counters) else { return };
        let call = &mut *stream.call;
        call.request_time = Some(block.mark.time);
        call.anomalies.extend(anomalies);
        call.completeness.unknown_fields += lines.unknown;
        call.request.gap_bytes += u64::from(block.overflowed && torn);
        let side = &mut stream.sides[0];
        side.head = true;
        side.losses = losses;
        side.declared = lines.fields.content_length;
        side.grpc_encoding = lines.fields.grpc_encoding.map(|value| shared.texts.lower(value));
        let method = lines.method;
        let tunnel = method == Some(b"CONNECT");
        let websocket = lines.protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        match lines.request() {
            Some(head) => {
                fill::request(call, &head, block.wire, shared, counters);
                stream.has_request = true;
            }
            // Without its method a request cannot be told from others; without its target it has no place.
            None => printable_into(method.unwrap_or_default(), &mut call.method),
        }
        if tunnel {
            // Another protocol from here on: the one that is asked for (RFC 8441), where the server agrees.
            stream.offers_websocket = websocket;
            for side in &mut stream.sides {
                side.opaque = true;
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of it describes one head")]
    fn response(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        block: &Block,
        lines: Lines<'_>,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let id = block.stream;
        if lines.status.is_some_and(|status| (100..200).contains(&status)) {
            return; // interim; the final one follows
        }
        if !self.streams.contains_key(&id) {
            if lines.status.is_none() || !self.may_answer_unseen(flow, id, block.mark) {
                return;
            }
            if let Some(stream) = self.open(flow, id, block.mark, now, shared, counters) {
                stream.acknowledged = block.mark.acknowledged;
            }
        }
        let (losses, asked, torn) = (self.readers[d].losses, self.readers[1 - d].losses, self.torn);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let seen = stream.sides[1].head;
        // After a loss the end of the request may have been in it.
        let going_on = stream.sides[0].head && stream.sides[0].losses == asked;
        let is_head = !seen && (lines.status.is_some() || !block.end_stream || lines.fields.content_type.is_some());
        let call = &mut *stream.call;
        call.completeness.unknown_fields += lines.unknown;
        call.response.gap_bytes += u64::from(block.overflowed && torn);
        call.anomalies.extend(std::mem::take(&mut self.anomalies[d]));
        if is_head {
            let side = &mut stream.sides[1];
            side.head = true;
            side.losses = losses;
            side.declared = lines.fields.content_length;
            side.grpc_encoding = lines.fields.grpc_encoding.map(|value| shared.texts.lower(value));
            if going_on && !stream.sides[0].ended && call.grpc.is_none() && call.method != "CONNECT" {
                call.anomalies.insert(Anomaly::EarlyResponse);
            }
            call.response_time = Some(block.mark.time);
            if lines.status == Some(408) {
                let by = (asked, self.allowance);
                lifecycle::note_broken_off(&mut self.broken_off, stream, flow, by, now, &shared.settings.slow);
            }
            let call = &mut *stream.call;
            stream.has_response = lines.status.is_some();
            let opens = stream.offers_websocket && lines.status.is_some_and(|status| (200..300).contains(&status));
            let (unknown, answer) = (lines.unknown, lines.response());
            fill::response(call, &answer, block.wire, shared, counters);
            if opens {
                let agreed = Agreed::of(&answer.fields, unknown > 0, shared);
                stream.open_websocket(agreed, &mut self.decoding, shared, counters);
            }
        } else if let Some(status) = lines.fields.grpc_status {
            fill::grpc_status(call, status);
        }
        if block.end_stream {
            self.end_side(flow, id, true, now, shared, counters);
        } else if is_head {
            // Its window may be closed from the beginning on.
            self.spend(flow, id, 0, false, now);
            self.ask_when_held(flow, now, shared);
        }
    }
}
