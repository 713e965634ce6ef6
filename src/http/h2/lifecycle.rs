//! Streams from their first head to the call that comes of them.

use std::time::Duration;

use crate::call::{Anomaly, Awaited, Call, ResetBy};
use crate::stats::{Counter, Counters};
use crate::stream::{Direction, FlowInfo};
use crate::time::Timestamp;

use super::super::Shared;
use super::super::fill;
use super::super::reader::Mark;
use super::super::slow::{self, UnderWay};
use super::connection::Connection;
use super::credit::Allowance;
use super::frame::kind;
use super::reader::Phase;
use super::stream::Stream;

/// How long a request waits for the first word of a server that was not heard yet; there may be hundreds at once.
const ONE_SIDED_PATIENCE: Duration = Duration::from_secs(10);

/// Streams that were reset lately and of which frames may still come.
const RESET_MEMORY: usize = 256;

/// Error code of a stream that was refused without any processing (RFC 9113, section 7).
const REFUSED_STREAM: u32 = 7;

/// The server breaks a request off, or answers that it took too long: remembered if its body came slowly.
pub(super) fn note_broken_off(
    broken_off: &mut Option<(UnderWay, Timestamp)>,
    stream: &mut Stream,
    flow: &FlowInfo,
    (losses, allowance): (u32, Allowance),
    now: Timestamp,
    settings: &slow::Settings,
) {
    let (Some(since), bytes) = (stream.call.request_time, stream.call.request.wire_bytes) else { return };
    if stream.broken_off
        || allowance.holds_up(stream)
        || !stream.sends_body(losses)
        || !slow::is_slow_body(since, bytes, now, settings)
    {
        return;
    }
    stream.broken_off = true;
    match broken_off {
        Some((under_way, _)) => under_way.streams = under_way.streams.saturating_add(1),
        None => *broken_off = Some((UnderWay::new(Awaited::RequestBody, Some(since), bytes), now)),
    }
    slow::ask(flow, now, settings.first_look());
}

impl Connection {
    /// One side of a stream has ended as it should.
    pub(super) fn end_side(
        &mut self,
        flow: &FlowInfo,
        id: u32,
        response: bool,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.finish(response, true, &mut self.decoding, shared, counters);
            self.settle(flow, id, now, shared, counters);
        }
    }

    /// Gives a stream out if it is over.
    pub(super) fn settle(
        &mut self,
        flow: &FlowInfo,
        id: u32,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let Some(client) = self.client else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let reader = &self.readers[client.index()];
        let [request, response] = &stream.sides;
        if !response.ended {
            return;
        }
        let over = match request.head {
            // After a loss the end of the request may have been in it.
            true => request.ended || request.losses != reader.losses,
            false => {
                let silent = !flow.seen[client.index()];
                silent || stream.acknowledged.is_none_or(|seen| reader.next >= seen)
            }
        };
        if over {
            self.give_out(flow, id, now, shared, counters);
        } else if !request.head && !stream.waiting {
            stream.waiting = true;
            self.waiting.push(id);
        }
    }

    /// A stream was reset.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one frame")]
    pub(super) fn reset_stream(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        id: u32,
        code: u32,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let Some(client) = self.client else { return };
        self.reset.push_back(id);
        if self.reset.len() > RESET_MEMORY {
            self.reset.pop_front();
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let by_client = client.index() == d;
        if stream.sides[1].ended && !by_client {
            // It has answered, and wants no more of the request (RFC 9113, section 8.1).
            stream.finish(false, true, &mut self.decoding, shared, counters);
            self.give_out(flow, id, now, shared, counters);
            return;
        }
        if code == REFUSED_STREAM && !by_client && !stream.has_response {
            self.refuse(id, shared, counters);
            return;
        }
        // A line that broke off sends no reset, or sent nothing for long before it; who sent nothing at all waited.
        let sent = stream.call.request.wire_bytes > 0 && now.since(stream.asked) <= slow::LATELY;
        if !by_client || sent {
            let losses = self.readers[client.index()].losses;
            let by = (losses, self.allowance);
            note_broken_off(&mut self.broken_off, stream, flow, by, now, &shared.settings.slow);
        }
        // A pushed stream was not asked for: to refuse it is thrift.
        if by_client && id % 2 == 1 {
            self.resets = self.resets.saturating_add(1);
            counters.count(Counter::Http2Resets);
            if self.resets > shared.settings.http2_resets && self.resets > self.requests / 2 {
                stream.call.anomalies.insert(Anomaly::RapidReset);
            }
        }
        if let Some(http2) = &mut stream.call.http2 {
            http2.reset_by = Some(if by_client { ResetBy::Client } else { ResetBy::Server });
            http2.reset_code = Some(code);
        }
        self.give_out(flow, id, now, shared, counters);
    }

    /// The server has not processed this request and will not.
    pub(super) fn refuse(&mut self, id: u32, shared: &mut Shared, counters: &mut Counters) {
        if let Some(mut stream) = self.streams.remove(&id) {
            self.discharge(stream.used);
            self.refused = self.refused.saturating_add(1);
            counters.count(Counter::Http2Refused);
            for response in [false, true] {
                stream.finish(response, false, &mut self.decoding, shared, counters);
            }
            shared.idle.put(stream.call);
        }
    }

    /// The server processes no stream of the client beyond `last` (RFC 9113, section 6.8).
    pub(super) fn refuse_beyond(&mut self, last: u32, shared: &mut Shared, counters: &mut Counters) {
        let open = self.streams.range(last.saturating_add(1)..);
        let refused: Vec<u32> = open
            .filter(|(id, stream)| **id % 2 == 1 && !stream.has_response && !stream.sides[1].head)
            .map(|(id, _)| *id)
            .collect();
        for id in refused {
            self.refuse(id, shared, counters);
        }
    }

    /// Gives a stream out as a call, as far as it came.
    pub(super) fn give_out(
        &mut self,
        flow: &FlowInfo,
        id: u32,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        self.discharge(stream.used);
        let reset = stream.call.http2.as_ref().is_some_and(|http2| http2.reset_by.is_some());
        let ended = reset || stream.sides.iter().any(|side| side.ended);
        for response in [false, true] {
            stream.finish(response, false, &mut self.decoding, shared, counters);
        }
        stream.close_websocket(ended, &mut self.decoding, shared);
        let Stream { mut call, has_request, has_response, part, .. } = *stream;
        if !has_request && !has_response && call.method.is_empty() {
            counters.count(Counter::Http2StreamsUnknown);
            shared.idle.put(call);
            return;
        }
        call.completeness.request = has_request;
        call.completeness.response = has_response;
        call.completeness.part = part;
        self.send(flow, call, now, shared, counters);
    }

    pub(super) fn send(
        &mut self,
        flow: &FlowInfo,
        mut call: Box<Call>,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        if let Some(http2) = &mut call.http2 {
            (http2.client_resets, http2.refused) = (self.resets, self.refused);
        }
        counters.add(Counter::Http2FieldsUnknown, call.completeness.unknown_fields.into());
        fill::emit(flow, call, &mut self.position, now, shared, counters);
    }

    /// A stream of this number, new if there is none yet; room is made for it.
    pub(super) fn open(
        &mut self,
        flow: &FlowInfo,
        id: u32,
        mark: Mark,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Option<&mut Stream> {
        let client = self.client?;
        if !self.streams.contains_key(&id) {
            while self.streams.len() >= shared.settings.http2_streams.max(1) {
                let Some(oldest) = self.streams.keys().next().copied() else { break };
                counters.count(Counter::Http2StreamsEvicted);
                if let Some(stream) = self.streams.get_mut(&oldest) {
                    stream.call.anomalies.insert(Anomaly::StreamEvicted);
                }
                // Those that the server pushes have numbers of their own.
                self.evicted = self.evicted.max(if oldest % 2 == 1 { oldest } else { 0 });
                self.give_out(flow, oldest, now, shared, counters);
            }
            let call = fill::new_call(flow, client, &mut self.community_id, shared);
            self.streams.insert(id, Box::new(Stream::new(call, id, mark.time)));
        }
        self.streams.get_mut(&id).map(|stream| &mut **stream)
    }

    /// Counts a request.
    pub(super) fn note_request(&mut self, id: u32) {
        self.highest = self.highest.max(id);
        self.requests = self.requests.saturating_add(1);
    }

    /// True when a response may be that to a request that was not seen.
    pub(super) fn may_answer_unseen(&self, flow: &FlowInfo, id: u32, mark: Mark) -> bool {
        let Some(client) = self.client.map(Direction::index) else { return false };
        let reader = &self.readers[client];
        let missed = reader.losses > 0 || !flow.seen[client];
        let ahead = mark.acknowledged.is_none_or(|seen| seen > reader.next);
        id % 2 == 1 && id > self.evicted && (missed || ahead) && !self.reset.contains(&id)
    }

    /// What is due after each piece of a direction.
    pub(super) fn after(
        &mut self,
        flow: &FlowInfo,
        direction: Direction,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        if self.client == Some(direction) && !self.waiting.is_empty() {
            for id in std::mem::take(&mut self.waiting) {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.waiting = false;
                }
                self.settle(flow, id, now, shared, counters);
            }
        }
        if self.client.is_some_and(|client| !flow.seen[client.opposite().index()]) {
            // The first is the oldest.
            while let Some((&id, stream)) = self.streams.first_key_value()
                && stream.sides[0].ended
                && now.since(stream.reported) >= ONE_SIDED_PATIENCE
            {
                self.give_out(flow, id, now, shared, counters);
            }
        }
        if self.next_report.is_none() && !self.streams.is_empty() {
            self.expect_report(flow, now + shared.settings.report_period(), shared);
        }
    }

    /// Asks to be woken when streams are to be looked through.
    fn expect_report(&mut self, flow: &FlowInfo, time: Timestamp, shared: &Shared) {
        if shared.settings.stream_report_seconds > 0 {
            self.next_report = Some(time);
            flow.wake_at(time);
        }
    }

    /// The flow was woken: reports what has gone on for long.
    pub(crate) fn wake(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        self.reweigh(flow, now);
        let Some(next) = self.next_report else { return };
        if now < next {
            flow.wake_at(next); // it was for something else
            return;
        }
        self.next_report = None;
        let period = shared.settings.report_period();
        let due: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| now.since(stream.reported) >= period).map(|(id, _)| *id).collect();
        for id in due {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let has_response = stream.has_response;
            if let Some(mut call) = stream.report(now, shared) {
                call.completeness.request = true;
                call.completeness.response = has_response;
                self.send(flow, call, now, shared, counters);
            }
        }
        // Of those that have had their time and nothing to tell, in as much time again.
        let again = |stream: &Stream| Some(stream.reported + period).filter(|&time| time > now).unwrap_or(now + period);
        if let Some(time) = self.streams.values().map(|stream| again(stream)).min() {
            self.expect_report(flow, time, shared);
        }
    }

    /// A direction is finished.
    pub(crate) fn close(
        &mut self,
        flow: &FlowInfo,
        direction: Direction,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let d = direction.index();
        self.drop_block(flow, d, now, shared, counters);
        if self.client == Some(direction.opposite()) {
            // The server has said its last word.
            while let Some(id) = self.streams.keys().next().copied() {
                self.give_out(flow, id, now, shared, counters);
            }
        }
    }

    /// The flow is over.
    pub(crate) fn end(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        for d in [0, 1] {
            if let Phase::Gather(header) = self.readers[d].phase {
                let partial = std::mem::take(&mut self.readers[d].partial);
                if matches!(header.kind, kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION) {
                    self.torn = true;
                    self.frame(flow, d, header, &partial, false, now, shared, counters);
                    self.torn = false;
                }
            }
            self.drop_block(flow, d, now, shared, counters);
        }
        while let Some(id) = self.streams.keys().next().copied() {
            self.give_out(flow, id, now, shared, counters);
        }
    }
}
