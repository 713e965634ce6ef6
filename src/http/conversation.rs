//! Both directions of a connection: which response answers which request, and the calls that come of it.

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
use super::content::{Caps, Content};
use super::fill::{self, caps};
use super::framing::{Chunks, Framing, Step};
use super::head::{self, Fields, Head, Reading, RequestHead, ResponseHead};
use super::intern::Interner;
use super::payload::Payload;
use super::reader::{Body, Mark, Phase, Reader};
use super::recognise::{self, Role, Verdict};
use super::websocket::Agreed;
pub(crate) use upgrade::Upgrade;

/// Most parameter names that are kept of a query.
const QUERY_NAMES: usize = 64;

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

    /// Makes what it can of a head of which the rest will not come: a call, if its first line is whole.
    fn abandon_head(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        now: Timestamp,
        missing: u64,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let partial = std::mem::take(&mut self.readers[d].partial);
        if partial.is_empty() {
            return;
        }
        let first_line = memchr::memchr(b'\n', &partial).is_some();
        if !first_line || !matches!(recognise::judge(&partial, false), Verdict::Head(_)) {
            counters.add(Counter::BytesSkipped, partial.len() as u64);
            self.readers[d].lose();
            return;
        }
        let end = memchr::memrchr(b'\n', &partial).map_or(partial.len(), |at| at + 1);
        let serial = self.read_head(flow, d, &partial[..end], now, shared, counters);
        if let Some(serial) = serial {
            if let Some(message) = self.message(d, serial) {
                message.gap_bytes += missing;
                message.truncated = true;
            }
            if matches!(self.readers[d].phase, Phase::Body(_)) {
                self.finish(d, true, shared, counters);
            }
        }
    }

    /// Looks for the next head after a loss.
    fn search(&mut self, d: usize, cursor: &mut Cursor<'_, '_>, counters: &mut Counters) {
        let bytes = cursor.rest();
        let role = self.readers[d].role;
        let fits = |found: Role| role.is_none_or(|role| role == found);
        let skipped = match recognise::judge(bytes, false) {
            Verdict::Head(found) if fits(found) => 0,
            Verdict::Undecided if cursor.used == 0 && bytes.len() >= 8 => 0,
            _ => match recognise::find_inside(bytes, role) {
                Some(at) => at,
                None => {
                    counters.add(Counter::BytesSkipped, bytes.len() as u64);
                    cursor.used += bytes.len();
                    return;
                }
            },
        };
        counters.add(Counter::BytesSkipped, skipped as u64);
        cursor.used += skipped;
        let reader = &mut self.readers[d];
        reader.phase = Phase::Head;
        if self.upgraded {
            self.anomalies[d].insert(Anomaly::HttpAfterUpgrade);
        }
    }

    /// Reads a head, or keeps its beginning.
    fn head(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        cursor: &mut Cursor<'_, '_>,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let now = cursor.run.now;
        if self.readers[d].partial.is_empty() {
            let trimmed = recognise::skip_line_ends(cursor.rest());
            cursor.used = cursor.run.bytes.len() - trimmed.len();
            if trimmed.is_empty() {
                return;
            }
            let is_api_key = |name: &[u8]| shared.inspector.is_api_key_header(name);
            let role = if trimmed.starts_with(b"HTTP/") { Role::Response } else { Role::Request };
            let is_own = shared.inspector.further_headers(role == Role::Request);
            let reading = Reading { header_limit: shared.settings.header_limit, is_api_key: &is_api_key, is_own };
            if self.readers[d].role.is_none_or(|known| known == role) {
                let heads = &mut shared.heads;
                let place = *self.places[d].get_or_insert_with(|| match (role, flow.ends(direction_of(d))) {
                    (Role::Request, (client, server)) => heads.place_of_requests(client, server),
                    (Role::Response, (server, _)) => heads.place_of_responses(server),
                });
                let mut head = match role {
                    Role::Request => Head::Request(RequestHead::default()),
                    Role::Response => Head::Response(ResponseHead::default()),
                };
                if let Some(end) = head::known(trimmed, &reading, heads, place, &mut head) {
                    self.readers[d].begin_head(cursor.run, cursor.used);
                    cursor.used += end;
                    self.readers[d].end_head(cursor.run, cursor.used);
                    self.take_head(flow, d, Some(&head), end, now, shared, counters);
                    return;
                }
            }
            let in_step = !self.readers[d].disturbed;
            if !self.is_head(d, trimmed, in_step) {
                self.no_head(d, cursor, shared, counters);
                return;
            }
            self.readers[d].begin_head(cursor.run, cursor.used);
            if let Some(end) = head_end(trimmed, 0, false) {
                cursor.used += end;
                self.readers[d].end_head(cursor.run, cursor.used);
                let head = head::read(&trimmed[..end], &reading);
                self.take_head(flow, d, head.as_ref(), end, now, shared, counters);
                return;
            }
        }
        let limit = shared.settings.head_limit.max(1024);
        let rest = cursor.rest();
        let mut partial = std::mem::take(&mut self.readers[d].partial);
        let known = partial.len();
        // All of a long line looked at anew for each segment would be work without end: only what is new is.
        let has_line = known > 0 && self.readers[d].has_line;
        partial.extend_from_slice(&rest[..rest.len().min(limit - known.min(limit))]);
        match head_end(&partial, known, has_line) {
            Some(end) => {
                cursor.used += end - known;
                self.readers[d].end_head(cursor.run, cursor.used);
                self.read_head(flow, d, &partial[..end], now, shared, counters);
            }
            None if partial.len() >= limit => {
                counters.count(Counter::HeadsTooLarge);
                cursor.used += partial.len() - known;
                self.anomalies[d].insert(Anomaly::HeadTooLarge);
                self.readers[d].partial = partial;
                self.abandon_head(flow, d, now, 0, shared, counters);
                self.readers[d].lose();
            }
            None => {
                cursor.used += rest.len();
                let in_step = !self.readers[d].disturbed;
                let ends = !has_line && memchr::memchr(b'\n', &partial[known..]).is_some();
                self.readers[d].has_line = has_line || ends;
                let judged = has_line || (!ends && recognise::is_judged(&partial[..known]));
                if judged || self.is_head(d, &partial, in_step) {
                    self.readers[d].partial = partial;
                } else {
                    counters.add(Counter::BytesSkipped, partial.len() as u64);
                    self.readers[d].lose();
                }
            }
        }
    }

    fn is_head(&self, d: usize, bytes: &[u8], in_step: bool) -> bool {
        match recognise::judge(bytes, in_step) {
            Verdict::Head(found) => self.readers[d].role.is_none_or(|role| role == found),
            Verdict::Undecided => true,
            Verdict::No => false,
        }
    }

    /// What comes is no head: the answer to an HTTP/0.9 request, which has none, or something to skip.
    fn no_head(&mut self, d: usize, cursor: &mut Cursor<'_, '_>, shared: &mut Shared, counters: &mut Counters) {
        let from_server = self.requests.is_some_and(|requests| requests.index() != d);
        let waiting = self.exchanges.iter().position(|exchange| exchange.has_request && !exchange.has_response);
        if let Some(at) = waiting.filter(|_| from_server && !self.readers[d].disturbed)
            && self.exchanges[at].call.version == Version::Http09
        {
            let exchange = &mut self.exchanges[at];
            exchange.has_response = true;
            exchange.call.response_time = Some(cursor.run.time);
            let serial = self.first + at as u64;
            self.readers[d].role = Some(Role::Response);
            self.readers[d].phase = Phase::Body(Body {
                framing: Framing::UntilClose,
                content: Payload::Plain(Content::new(None, None, NO_CAPS, &mut shared.decoders)),
                serial,
                doubtful: false,
                reported: cursor.run.time,
            });
            return;
        }
        if let Some(exchange) = self.exchanges.back_mut().filter(|_| self.readers[d].heads > 0) {
            exchange.call.anomalies.insert(Anomaly::TrailingData);
        }
        counters.add(Counter::BytesSkipped, cursor.rest().len() as u64);
        cursor.used = cursor.run.bytes.len();
        self.readers[d].lose();
    }

    /// Reads a whole head, and takes it.
    fn read_head(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        bytes: &[u8],
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Option<u64> {
        let is_api_key = |name: &[u8]| shared.inspector.is_api_key_header(name);
        let is_own = shared.inspector.further_headers(!bytes.starts_with(b"HTTP/"));
        let reading = Reading { header_limit: shared.settings.header_limit, is_api_key: &is_api_key, is_own };
        let head = head::read(bytes, &reading);
        self.take_head(flow, d, head.as_ref(), bytes.len(), now, shared, counters)
    }

    /// Takes a head, if it was one. Gives the serial of its exchange, none for interim responses and what is no head.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one head")]
    fn take_head(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        head: Option<&Head<'_>>,
        length: usize,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> Option<u64> {
        self.readers[d].heads += 1;
        self.readers[d].phase = Phase::Head;
        let serial = match head {
            Some(Head::Response(head)) => self.response(flow, d, head, length, shared),
            Some(Head::Request(head)) => self.request(flow, d, head, length, shared, counters),
            None => {
                self.readers[d].lose();
                None
            }
        };
        if let Some(serial) = serial {
            let anomalies = std::mem::take(&mut self.anomalies[d]);
            if let Some(exchange) = self.exchange(serial) {
                exchange.call.anomalies.extend(anomalies);
            }
        }
        self.flush(flow, now, shared, counters);
        serial
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
        fill::request(call, head, length as u64, shared);
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
    ) -> Option<u64> {
        let direction = direction_of(d);
        self.requests.get_or_insert(direction.opposite());
        self.readers[d].role = Some(Role::Response);
        if head.status.is_some_and(|status| (100..200).contains(&status) && status != 101) {
            return None;
        }
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
        fill::response(call, head, length as u64, shared);

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

    /// The exchange that a response whose head was just read belongs to; a new one where none fits.
    ///
    /// In step, responses answer requests in order. After a loss, a request can only be meant if the server had its
    /// head and no more, and if its sender had not acknowledged the response before sending it. Of those that are left, a
    /// request that acknowledges more proves that the ones before were answered. If that leaves one, it is meant.
    fn pair(&mut self, flow: &FlowInfo, d: usize, direction: Direction, shared: &mut Shared) -> usize {
        let mark = self.readers[d].mark;
        let disturbed = self.readers.iter().any(|reader| reader.disturbed);
        let waits = |exchange: &Exchange| exchange.has_request && !exchange.has_response && !exchange.given_up;
        let front = self.exchanges.iter().position(waits);
        if !disturbed && let Some(at) = front {
            return at;
        }
        if !self.pipelined {
            // Who does not pipeline has had the answer to a request before it sends more: a response to one who has sent
            // more is that to a later request.
            let seen_until = self.readers[direction.opposite().index()].next;
            for exchange in self.exchanges.iter_mut().filter(|exchange| waits(exchange)) {
                let request = &exchange.call.request;
                let whole = exchange.request_done && !request.truncated && request.gap_bytes == 0;
                // Bytes behind it that were seen, and are no request, belong to it in their odd way.
                let alone = exchange.lost_behind || seen_until <= exchange.request.end;
                let plain = whole && request.wire_bytes == 0 && alone;
                exchange.given_up = plain && mark.acknowledged.is_some_and(|seen| seen > exchange.request.end);
            }
        }
        let possible = |exchange: &Exchange| {
            waits(exchange)
                && exchange.request.acknowledged.is_none_or(|seen| seen <= mark.offset)
                && mark.acknowledged.is_none_or(|seen| seen >= exchange.request.end)
        };
        let latest = self.exchanges.iter().filter(|exchange| possible(exchange)).map(|e| e.request.acknowledged).max();
        let meant = |exchange: &&Exchange| possible(exchange) && Some(exchange.request.acknowledged) == latest;
        // Who pipelines may have sent the requests that were lost together with the one that was seen.
        let hidden = self.pipelined && self.readers[direction.opposite().index()].disturbed;
        let count = self.exchanges.iter().filter(meant).count();
        if count == 1
            && !hidden
            && let Some(at) = self.exchanges.iter().position(|exchange| meant(&exchange))
        {
            // Those before it were answered by what was lost.
            for exchange in self.exchanges.iter_mut().take(at).filter(|exchange| waits(exchange)) {
                exchange.given_up = true;
                exchange.request_done = true;
            }
            return at;
        }
        let mut call = self.new_call(flow, direction.opposite(), shared);
        if count > 0 {
            call.anomalies.insert(Anomaly::UncertainPairing);
        }
        // Responses come in order, so it stands before the requests that still wait.
        let open = |exchange: &Exchange| !exchange.has_response && !exchange.given_up;
        let at = self.exchanges.iter().position(open).unwrap_or(self.exchanges.len());
        self.insert(at, Exchange::new(call))
    }

    /// Before a request is taken: learns whether the client pipelines, and finds the two directions in step again when
    /// the client has had everything that the server said and nothing waits.
    fn note_step(&mut self, d: usize, mark: Mark) {
        let lost = std::mem::take(&mut self.request_lost);
        let waiting = self.exchanges.iter().rev().find(|exchange| exchange.has_request && !exchange.has_response);
        if !lost && waiting.is_some_and(|exchange| exchange.request.acknowledged == mark.acknowledged) {
            self.pipelined = true;
        }
        let server = &self.readers[1 - d];
        let in_step = waiting.is_none() && mark.acknowledged == Some(server.next);
        if in_step && !(lost && self.pipelined) {
            for reader in &mut self.readers {
                reader.disturbed = false;
            }
        }
    }

    /// Inserts an exchange so that no serial in use is shifted: at the end if a body is on its way behind `at`.
    fn insert(&mut self, at: usize, exchange: Exchange) -> usize {
        let serial = self.first + at as u64;
        for reader in &mut self.readers {
            if let Phase::Body(body) = &mut reader.phase
                && body.serial >= serial
            {
                body.serial += 1;
            }
        }
        self.unasked += usize::from(!exchange.has_request);
        self.exchanges.insert(at, exchange);
        at
    }

    #[allow(clippy::too_many_arguments, reason = "all of it describes one body")]
    fn begin_body(
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
        let message = call.map(|call| if side == Side::Response { &call.response } else { &call.request });
        let media = message.and_then(|message| message.content_type.as_deref());
        let operation = call.and_then(|call| call.operation.as_deref());
        let (encoding, messages) = (fields.content_encoding, fields.grpc_encoding);
        let mut content = Payload::new(side, media, encoding, messages, operation, shared);
        self.streaming |= content.is_stream();
        let reported = self.readers[d].mark.time;
        self.readers[d].phase = Phase::Body(Body { framing, content, serial, doubtful, reported });
    }

    /// Reads on in a body.
    fn body(&mut self, d: usize, cursor: &mut Cursor<'_, '_>, shared: &mut Shared, counters: &mut Counters) {
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
    fn finish(&mut self, d: usize, truncated: bool, shared: &mut Shared, counters: &mut Counters) {
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

const NO_CAPS: Caps = Caps { decoded: u64::MAX, ratio: u64::MAX, encodings: 0, message: 0 };

/// Where a head ends: at the empty line, or, for a request without a version and headers, at the end of its line. It is known not to end
/// in the first `known` bytes; whether a line does is `has_line`.
fn head_end(bytes: &[u8], known: usize, has_line: bool) -> Option<usize> {
    if let Some(end) = head::find_end(bytes, known.saturating_sub(3)) {
        return Some(end);
    }
    if has_line {
        return None;
    }
    let line_end = known + memchr::memchr(b'\n', bytes.get(known..)?)? + 1;
    let bare = line_end == bytes.len() && !bytes.starts_with(b"HTTP/") && {
        memchr::memmem::find(bytes, b" HTTP/").is_none() && memchr::memmem::find(bytes, b"\tHTTP/").is_none()
    };
    bare.then_some(line_end)
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

/// Authority, path and query of a target (RFC 9112, section 3.2).
pub(crate) fn split_target(target: &str, connect: bool) -> (Option<&str>, &str, &str) {
    if connect {
        return (Some(target), "", "");
    }
    // As most are.
    if target.starts_with('/') {
        let end = memchr::memchr2(b'?', b'#', target.as_bytes()).unwrap_or(target.len());
        let (path, rest) = target.split_at(end);
        let Some(query) = rest.strip_prefix('?') else { return (None, path, "") };
        return (None, path, memchr::memchr(b'#', query.as_bytes()).map_or(query, |end| &query[..end]));
    }
    let (authority, rest) = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        _ => (None, target),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (authority, if path.is_empty() && authority.is_some() { "/" } else { path }, query)
}

/// The names of a query's parameters, decoded.
pub(crate) fn query_names(query: &str, texts: &mut Interner, names: &mut Vec<Arc<str>>) {
    if query.is_empty() {
        return;
    }
    let parts = query.as_bytes().split(|&byte| byte == b'&').filter(|part| !part.is_empty());
    for part in parts.take(QUERY_NAMES) {
        let end = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
        let name = &part[..end];
        names.push(match memchr::memchr(b'%', name) {
            Some(_) => texts.text(percent_encoding::percent_decode(name).decode_utf8_lossy().as_bytes()),
            None => texts.text(name),
        });
    }
}
