//! Where heads begin and end in a direction, and what is skipped on the way to the next.

use crate::call::{Anomaly, Version};
use crate::stats::{Counter, Counters};
use crate::stream::FlowInfo;
use crate::time::Timestamp;

use super::super::Shared;
use super::super::content::{Caps, Content};
use super::super::framing::Framing;
use super::super::head::{self, Head, Reading, RequestHead, ResponseHead};
use super::super::payload::Payload;
use super::super::reader::{Body, Phase};
use super::super::recognise::{self, Role, Verdict};
use super::{Conversation, Cursor, direction_of};

const NO_CAPS: Caps = Caps { decoded: u64::MAX, ratio: u64::MAX, encodings: 0, message: 0 };

impl Conversation {
    /// Makes what it can of a head of which the rest will not come: a call, if its first line is whole.
    pub(super) fn abandon_head(
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
    pub(super) fn search(&mut self, d: usize, cursor: &mut Cursor<'_, '_>, counters: &mut Counters) {
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
    pub(super) fn head(
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

    pub(super) fn is_head(&self, d: usize, bytes: &[u8], in_step: bool) -> bool {
        match recognise::judge(bytes, in_step) {
            Verdict::Head(found) => self.readers[d].role.is_none_or(|role| role == found),
            Verdict::Undecided => true,
            Verdict::No => false,
        }
    }

    /// What comes is no head: the answer to an HTTP/0.9 request, which has none, or something to skip.
    pub(super) fn no_head(
        &mut self,
        d: usize,
        cursor: &mut Cursor<'_, '_>,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
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
                content: Payload::of(Content::new(None, None, NO_CAPS, &mut shared.decoders)),
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
    pub(super) fn read_head(
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
    pub(super) fn take_head(
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
            Some(Head::Response(head)) => self.response(flow, d, head, length, shared, counters),
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
}

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
