//! Both directions of a connection: which response answers which request, and the calls that come of it.

mod bodies;
mod heads;
mod pairing;
mod report;
mod under_way;
mod upgrade;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::call::{Anomalies, Anomaly, Call, Version};
use crate::inspect::Side;
use crate::stats::{Counter, Counters};
use crate::stream::{Direction, FlowInfo, Gap, Interest, Run};
use crate::time::Timestamp;

use super::Shared;
use super::fill::{self, caps};
use super::framing::{Chunks, Framing};
use super::head::{RequestHead, ResponseHead};
use super::reader::{Mark, Phase, Reader};
use super::recognise::Role;
use super::websocket::Agreed;
pub(crate) use upgrade::Upgrade;

/// Unanswered requests that a one-sided flow keeps, for responses that the capture reordered.
const ONE_SIDED_PENDING: usize = 8;

/// A request and its response, as far as they were seen.
struct Exchange {
    call: Box<Call>,
    request: Mark,
    response: Mark,
    has_request: bool,
    request_done: bool,
    has_response: bool,
    response_done: bool,
    /// Nothing more will come of the side that is missing.
    given_up: bool,
    /// What its sender sent right behind it was lost.
    lost_behind: bool,
    upgrade: bool,
    h2c: bool,
    /// Records of it that were given out while it went on.
    part: u32,
}

impl Exchange {
    fn new(call: Box<Call>) -> Exchange {
        Exchange {
            call,
            request: Mark::default(),
            response: Mark::default(),
            has_request: false,
            request_done: false,
            has_response: false,
            response_done: false,
            given_up: false,
            lost_behind: false,
            upgrade: false,
            h2c: false,
            part: 0,
        }
    }
}

/// All that is kept of one connection that speaks HTTP.
pub(crate) struct Conversation {
    readers: [Reader; 2],
    /// The direction of requests, once that is known.
    requests: Option<Direction>,
    exchanges: VecDeque<Exchange>,
    /// How many of them have a response alone.
    unasked: usize,
    /// Serial of the exchange at the front.
    first: u64,
    /// Calls completed.
    position: u32,
    community_id: Option<Arc<str>>,
    /// Where heads as those of either direction are found ([`super::repeat`]).
    places: [Option<u64>; 2],
    /// Oddities of the stream for the next message.
    anomalies: [Anomalies; 2],
    upgraded: bool,
    /// The client has sent a request before the response to the one before had come.
    pipelined: bool,
    /// The server has answered 408 to a request that was not whole.
    timed_out: bool,
    /// Something of the requests was lost since the last one that was seen.
    request_lost: bool,
    /// It goes on in another protocol.
    upgrade: Option<Upgrade>,
    /// A body that may go on for ever has begun, and nobody asked yet to be woken for it.
    streaming: bool,
}

/// How much of a run is left and where it stands.
struct Cursor<'r, 'b> {
    run: &'r Run<'b>,
    used: usize,
}

impl<'b> Cursor<'_, 'b> {
    fn rest(&self) -> &'b [u8] {
        &self.run.bytes[self.used..]
    }
}

impl Conversation {
    /// One that begins; the flow has had `position` calls before.
    pub(crate) fn new(flow: &FlowInfo, position: u32) -> Conversation {
        let midstream = flow.midstream();
        Conversation {
            readers: [Reader::new(midstream), Reader::new(midstream)],
            requests: None,
            exchanges: VecDeque::new(),
            unasked: 0,
            first: 0,
            position,
            community_id: None,
            places: [None; 2],
            anomalies: [Anomalies::default(); 2],
            upgraded: false,
            pipelined: false,
            timed_out: false,
            request_lost: midstream,
            upgrade: None,
            streaming: false,
        }
    }

    /// Takes bytes in order.
    pub(crate) fn data(
        &mut self,
        flow: &FlowInfo,
        run: Run<'_>,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Interest {
        let d = run.direction.index();
        if run.conflicting {
            self.anomalies[d].insert(Anomaly::ConflictingRetransmission);
        }
        if run.urgent {
            self.anomalies[d].insert(Anomaly::UrgentData);
        }
        let mut cursor = Cursor { run: &run, used: 0 };
        while cursor.used < run.bytes.len() {
            let before = cursor.used;
            let was_body = matches!(self.readers[d].phase, Phase::Body(_));
            match self.readers[d].phase {
                Phase::Ignored => break,
                Phase::Lost => self.search(d, &mut cursor, counters),
                Phase::Head => self.head(flow, d, &mut cursor, shared, counters),
                Phase::Body(_) => self.body(d, &mut cursor, shared, counters),
            }
            let still_body = matches!(self.readers[d].phase, Phase::Body(_));
            if cursor.used == before && was_body == still_body && !matches!(self.readers[d].phase, Phase::Head) {
                break; // no progress: never expected, and never to be a loop
            }
        }
        self.readers[d].next = run.offset + run.bytes.len() as u64;
        if std::mem::take(&mut self.streaming) {
            self.expect_report(flow, run.now, shared);
        }
        self.flush(flow, run.now, shared, counters);
        let over = self.readers.iter().all(|reader| matches!(reader.phase, Phase::Ignored));
        if over && self.exchanges.is_empty() { Interest::Unwanted } else { Interest::Wanted }
    }

    /// The bytes of a direction of which no head was made yet, if nothing else has come of it.
    pub(crate) fn unread(&self, direction: Direction) -> Option<&[u8]> {
        let reader = &self.readers[direction.index()];
        (reader.heads == 0 && reader.next == reader.partial.len() as u64).then_some(&reader.partial[..])
    }

    /// Nothing is known that should come in this direction.
    pub(crate) fn is_free(&self, direction: Direction) -> bool {
        matches!(self.readers[direction.index()].phase, Phase::Lost | Phase::Ignored)
    }

    /// A CONNECT was accepted: what follows may be anything.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.upgraded && self.readers.iter().all(|reader| matches!(reader.phase, Phase::Lost))
    }

    /// How many calls were completed.
    pub(crate) fn position(&self) -> u32 {
        self.position
    }

    /// Bytes were lost.
    pub(crate) fn gap(&mut self, flow: &FlowInfo, gap: Gap, shared: &mut Shared, counters: &mut Counters) {
        let d = gap.direction.index();
        let caps = caps(shared);
        self.request_lost |= self.readers[d].role != Some(Role::Response);
        let next = self.readers[d].next;
        if self.requests == Some(gap.direction)
            && let Some(exchange) = self.exchanges.back_mut()
        {
            exchange.lost_behind |= exchange.has_request && exchange.request.end == next;
        }
        match &mut self.readers[d].phase {
            Phase::Ignored | Phase::Lost => self.readers[d].disturbed = true,
            Phase::Head => {
                self.abandon_head(flow, d, gap.now, gap.length, shared, counters);
                self.readers[d].lose();
            }
            Phase::Body(body) => {
                let serial = body.serial;
                body.doubtful = false;
                let inside = match &mut body.framing {
                    Framing::Length(left) => {
                        let inside = gap.length.min(*left);
                        *left -= inside;
                        inside
                    }
                    Framing::Chunked(Chunks::Data(left)) if gap.length < *left => {
                        *left -= gap.length;
                        gap.length
                    }
                    Framing::Chunked(_) => 0,
                    Framing::UntilClose => gap.length,
                };
                body.content.gap(inside, &shared.inspector, caps, &mut shared.decoders);
                let finished = matches!(body.framing, Framing::Length(0));
                let broken = inside < gap.length;
                if let Some(message) = self.message(d, serial) {
                    message.gap_bytes += inside.max(u64::from(broken));
                    message.wire_bytes += inside;
                }
                if finished || broken {
                    self.finish(d, !finished, shared, counters);
                }
                if broken {
                    self.readers[d].lose();
                }
            }
        }
        self.readers[d].pass(&gap);
        self.flush(flow, gap.now, shared, counters);
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
        self.close_reader(flow, d, true, now, shared, counters);
        if self.requests == Some(direction.opposite()) && !self.readers[d].disturbed {
            // The server has said its last word: whoever still waits, waits in vain.
            for exchange in self.exchanges.iter_mut().filter(|exchange| !exchange.has_response) {
                exchange.given_up = exchange.request_done;
            }
        }
        self.flush(flow, now, shared, counters);
    }

    /// The flow is over.
    pub(crate) fn end(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        for d in [0, 1] {
            self.close_reader(flow, d, false, now, shared, counters);
        }
        while let Some(exchange) = self.exchanges.pop_front() {
            self.first += 1;
            self.emit(flow, exchange, now, shared, counters);
        }
        if self.upgraded {
            counters.count(Counter::FlowsUpgraded);
        }
    }

    fn close_reader(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        finished: bool,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        match &self.readers[d].phase {
            Phase::Body(body) => {
                let whole = finished && body.framing == Framing::UntilClose;
                self.finish(d, !whole, shared, counters);
            }
            Phase::Head => self.abandon_head(flow, d, now, 0, shared, counters),
            Phase::Lost | Phase::Ignored => {}
        }
    }

    fn request(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        head: &RequestHead<'_>,
        length: usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Option<u64> {
        let direction = direction_of(d);
        self.requests = Some(direction);
        self.readers[d].role = Some(Role::Request);
        let mark = self.readers[d].mark;
        self.note_step(d, mark);
        // A response that the server began after it had the head of this request, and that found no request then.
        let waits = |exchange: &Exchange| {
            !exchange.has_request
                && exchange.response.acknowledged.is_some_and(|seen| seen >= mark.end)
                && mark.acknowledged.is_none_or(|seen| seen <= exchange.response.offset)
        };
        // Thousands of requests may wait, and none of them is looked at for each that comes.
        let waiting = if self.unasked > 0 { self.exchanges.iter().position(waits) } else { None };
        let at = match waiting {
            Some(at) => {
                self.unasked -= 1;
                at
            }
            None => {
                if self.exchanges.len() >= shared.settings.pending_limit.max(1) {
                    counters.count(Counter::PendingRequestsDropped);
                    self.exchanges[0].given_up = true;
                    self.exchanges[0].request_done = true;
                    // It is given out as soon as this head is taken.
                    self.exchanges[0].response_done |= self.exchanges[0].has_response;
                }
                let call = self.new_call(flow, direction, shared);
                if self.exchanges.capacity() == 0 {
                    // Most connections have one request at a time, and a million of them may be open: room for four
                    // would be a quarter of all that is held.
                    self.exchanges.reserve_exact(1);
                }
                self.exchanges.push_back(Exchange::new(call));
                self.exchanges.len() - 1
            }
        };
        let serial = self.first + at as u64;
        let exchange = &mut self.exchanges[at];
        exchange.has_request = true;
        exchange.request = mark;
        exchange.upgrade = head.fields.upgrade;
        exchange.h2c = head.fields.h2c;
        let call = &mut *exchange.call;
        call.request_time = Some(mark.time);
        fill::request(call, head, length as u64, shared, counters);
        let framing = match (head.fields.chunked_somewhere, head.fields.content_length) {
            (true, _) => Some(Framing::Chunked(Chunks::default())),
            (false, Some(length)) if length > 0 => Some(Framing::Length(length)),
            _ => None,
        };
        let no_body = head.version == Version::Http09;
        match framing.filter(|_| !no_body) {
            Some(framing) => self.begin_body(d, framing, serial, Side::Request, &head.fields, false, shared),
            None => self.exchanges[at].request_done = true,
        }
        Some(serial)
    }

    fn response(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        head: &ResponseHead<'_>,
        length: usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Option<u64> {
        let direction = direction_of(d);
        self.requests.get_or_insert(direction.opposite());
        self.readers[d].role = Some(Role::Response);
        if head.status.is_some_and(|status| (100..200).contains(&status) && status != 101) {
            return None;
        }
        self.timed_out |= head.status == Some(408) && self.is_asking(direction.opposite());
        let at = self.pair(flow, d, direction, shared);
        let serial = self.first + at as u64;
        let mark = self.readers[d].mark;
        let exchange = &mut self.exchanges[at];
        if exchange.has_request && !exchange.request_done {
            exchange.call.anomalies.insert(Anomaly::EarlyResponse);
        }
        exchange.has_response = true;
        exchange.response = mark;
        let (has_request, upgrade) = (exchange.has_request, exchange.upgrade);
        let h2c = exchange.h2c && head.fields.h2c;
        let call = &mut *exchange.call;
        call.response_time = Some(mark.time);
        if !has_request {
            call.version = head.version;
        }
        fill::response(call, head, length as u64, shared, counters);

        let success = head.status.is_some_and(|status| (200..300).contains(&status));
        let tunnel = call.method == "CONNECT" && success;
        let switched = head.status == Some(101) && (upgrade || !has_request);
        let bodyless = call.method == "HEAD" || matches!(head.status, Some(101 | 204 | 304)) || tunnel;
        let framing = match (head.fields.chunked, head.fields.unframed, head.fields.content_length) {
            (true, _, _) => Framing::Chunked(Chunks::default()),
            (_, false, Some(length)) => Framing::Length(length),
            _ => Framing::UntilClose,
        };
        if bodyless || framing == Framing::Length(0) {
            self.exchanges[at].response_done = true;
        } else {
            self.begin_body(d, framing, serial, Side::Response, &head.fields, !has_request, shared);
        }
        if tunnel || switched {
            self.upgraded = true;
            if h2c && switched {
                self.begin_http2(d, at);
            } else if head.fields.websocket && switched {
                self.begin_websocket(d, at, Agreed::of(&head.fields, false, shared));
            }
            for reader in &mut self.readers {
                // Behind CONNECT there may be HTTP in clear; what was upgraded to speaks its own language.
                reader.phase = if tunnel { Phase::Lost } else { Phase::Ignored };
                reader.partial = Vec::new();
            }
            for exchange in self.exchanges.iter_mut().filter(|exchange| exchange.has_request) {
                exchange.request_done = true;
            }
            if matches!(self.upgrade, Some(Upgrade::WebSocket(_))) {
                return None;
            }
        }
        Some(serial)
    }

    fn exchange(&mut self, serial: u64) -> Option<&mut Exchange> {
        self.exchanges.get_mut(usize::try_from(serial.checked_sub(self.first)?).ok()?)
    }

    /// The message of this direction in an exchange.
    fn message(&mut self, d: usize, serial: u64) -> Option<&mut crate::call::Message> {
        let response = self.readers[d].role == Some(Role::Response);
        let call = &mut self.exchange(serial)?.call;
        Some(if response { &mut call.response } else { &mut call.request })
    }

    /// Gives out the calls at the front that are over.
    fn flush(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        let client_next = self.requests.map_or(u64::MAX, |direction| self.readers[direction.index()].next);
        let silent = self.requests.is_some_and(|direction| !flow.seen[direction.opposite().index()]);
        loop {
            let many = silent && self.exchanges.len() > ONE_SIDED_PENDING;
            let over = self.exchanges.front().is_some_and(|exchange| {
                if exchange.has_request {
                    exchange.request_done && (exchange.response_done || exchange.given_up || many)
                } else {
                    exchange.response_done
                        && exchange.response.acknowledged.is_none_or(|seen| client_next >= seen || exchange.given_up)
                }
            });
            if !over {
                return;
            }
            let Some(exchange) = self.exchanges.pop_front() else { return };
            self.unasked -= usize::from(!exchange.has_request);
            self.first += 1;
            self.emit(flow, exchange, now, shared, counters);
        }
    }

    fn emit(
        &mut self,
        flow: &FlowInfo,
        exchange: Exchange,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let mut call = exchange.call;
        call.completeness.request = exchange.has_request;
        call.completeness.response = exchange.has_response;
        call.completeness.part = exchange.part;
        fill::emit(flow, call, &mut self.position, now, shared, counters);
    }

    fn new_call(&mut self, flow: &FlowInfo, requests: Direction, shared: &mut Shared) -> Box<Call> {
        fill::new_call(flow, requests, &mut self.community_id, shared)
    }
}

/// The direction of this number.
fn direction_of(d: usize) -> Direction {
    if d == 0 { Direction::Forward } else { Direction::Backward }
}

/// The Community ID of a TCP connection, by whichever end.
pub(crate) fn community_id(source: SocketAddr, destination: SocketAddr) -> Arc<str> {
    const TCP: u8 = 6;
    community_id::calculate_community_id(
        0,
        source.ip(),
        destination.ip(),
        Some(source.port()),
        Some(destination.port()),
        TCP,
        false,
    )
    .map_or_else(|_| Arc::from(""), Arc::from)
}
