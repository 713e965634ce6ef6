//! Both directions of a connection: bytes to frames, and frames to streams.
//!
//! A frame belongs to its stream whatever else was lost, so requests and responses pair by number and never by order.
//! What a loss costs is in its place: within a DATA frame only bytes; within a header block that head, and what later
//! heads refer to in it; elsewhere the boundary of frames, which is found again where it is plausible. A half call is
//! made of a response whose request was lost, never of one that answers what was reset.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::call::{Anomalies, Anomaly, Awaited, Call};
use crate::stats::{Counter, Counters};
use crate::stream::{Direction, FlowInfo, Run};
use crate::time::Timestamp;

use super::super::Shared;
use super::super::slow::{self, UnderWay};
use super::control::{self, Control};
use super::credit::{Allowance, Credit};
use super::frame::{self, HEADER, Header, PREFACE, flag, kind};
use super::hpack::Limits;
use super::reader::{Block, Data, Phase, Reader};
use super::stream::Stream;

/// Bytes that are kept of a frame other than header blocks: all that is looked at in SETTINGS.
const SMALL: usize = 256;

/// SETTINGS_INITIAL_WINDOW_SIZE (section 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

/// SETTINGS_MAX_FRAME_SIZE (section 6.5.2).
const MAX_FRAME_SIZE: u16 = 5;

/// All that is kept of one connection that speaks HTTP/2.
pub(crate) struct Connection {
    pub(super) readers: [Reader; 2],
    /// The direction of requests, once that is known.
    pub(super) client: Option<Direction>,
    pub(super) streams: BTreeMap<u32, Box<Stream>>,
    pub(super) position: u32,
    pub(super) community_id: Option<Arc<str>>,
    pub(super) anomalies: [Anomalies; 2],
    /// Answers without a request that wait for one that may still come.
    pub(super) waiting: Vec<u32>,
    /// Highest stream on which a request was seen.
    pub(super) highest: u32,
    pub(super) requests: u32,
    pub(super) resets: u32,
    pub(super) refused: u32,
    pub(super) reset: VecDeque<u32>,
    /// The highest stream that had to make room: of those up to it no answer is one to a request that was not seen.
    pub(super) evicted: u32,
    /// When the client last sent something of a body.
    pub(super) sent_data: Timestamp,
    /// What was broken off of what came too slowly, and when that was done first.
    pub(super) broken_off: Option<(UnderWay, Timestamp)>,
    /// What is taken now was cut off by a loss.
    pub(super) torn: bool,
    /// Bodies that are being decoded.
    pub(super) decoding: usize,
    /// What the client lets come.
    pub(super) credit: Credit,
    pub(super) allowance: Allowance,
    pub(super) control: Control,
    /// When streams are next looked through for what is to be reported, if that was asked for.
    pub(super) next_report: Option<Timestamp>,
}

impl Connection {
    /// Of a flow that was recognised to speak HTTP/2. `position` is that of its next call.
    pub(crate) fn new(flow: &FlowInfo, position: u32, shared: &Shared, counters: &mut Counters) -> Connection {
        counters.count(Counter::FlowsHttp2);
        let settings = &shared.settings;
        let limits = Limits {
            list_bytes: settings.http2_list_bytes,
            list_fields: settings.header_limit,
            table_bytes: settings.http2_table_bytes,
            table_entries: settings.http2_table_entries,
        };
        let exact = !flow.midstream();
        Connection {
            readers: [Reader::new(exact, limits), Reader::new(exact, limits)],
            client: flow.opened_by,
            streams: BTreeMap::new(),
            position,
            community_id: None,
            anomalies: Default::default(),
            waiting: Vec::new(),
            highest: 0,
            requests: 0,
            resets: 0,
            refused: 0,
            reset: VecDeque::new(),
            evicted: 0,
            sent_data: Timestamp::ZERO,
            broken_off: None,
            torn: false,
            decoding: 0,
            credit: Credit::new(exact),
            allowance: Allowance::new(exact),
            control: Control::default(),
            next_report: None,
        }
    }

    /// Takes over from HTTP/1.1 what was upgraded: frames begin at these offsets, and stream 1 is the request.
    pub(crate) fn upgrade(&mut self, flow: &FlowInfo, requests: Direction, mut call: Box<Call>, begin: [u64; 2]) {
        self.client = Some(requests);
        for (reader, begin) in self.readers.iter_mut().zip(begin) {
            reader.next = begin;
            if reader.losses > 0 && flow.midstream() {
                // Without its handshake, yet from its first frame on.
                let limits = reader.decoder.limits();
                *reader = Reader { next: begin, ..Reader::new(true, limits) };
            }
        }
        call.anomalies = Anomalies::default();
        (call.response_time, call.status, call.response) = Default::default();
        let start = call.request_time.unwrap_or_default();
        let mut stream = Stream::new(call, 1, start);
        stream.has_request = true;
        let [request, _] = &mut stream.sides;
        (request.head, request.ended) = (true, true);
        self.highest = 1;
        self.requests = 1;
        self.streams.insert(1, Box::new(stream));
    }

    /// The direction of requests, once that is known.
    pub(crate) fn client(&self) -> Option<Direction> {
        self.client
    }

    /// How many calls were completed.
    pub(crate) fn position(&self) -> u32 {
        self.position
    }

    /// True when something is under way that this direction may have to go on with.
    #[inline]
    pub(crate) fn is_asking(&self, direction: Direction) -> bool {
        self.client == Some(direction) && (self.is_in_head(direction) || !self.streams.is_empty())
    }

    fn is_in_head(&self, direction: Direction) -> bool {
        let reader = &self.readers[direction.index()];
        reader.block.is_some()
            || matches!(&reader.phase, Phase::Preface(_))
            || matches!(&reader.phase, Phase::Gather(header) if header.kind == kind::HEADERS)
    }

    /// What is under way: a head, else the oldest body that is not whole, else the oldest answer. None after a loss.
    pub(crate) fn under_way(&self, flow: &FlowInfo, client: Direction) -> Option<UnderWay> {
        let reader = &self.readers[client.index()];
        if matches!(reader.phase, Phase::Lost) {
            return None;
        }
        if self.is_in_head(client) {
            let since = match (&reader.block, &reader.phase) {
                (Some(block), _) => block.mark.time,
                (None, Phase::Preface(_)) => flow.start,
                _ => reader.mark.time,
            };
            let bytes = reader.block.as_ref().map_or(0, |block| block.bytes.len()) + reader.partial.len();
            return Some(UnderWay::new(Awaited::RequestHead, Some(since), bytes as u64));
        }
        if let Some(held) = self.credit.held {
            let answer = self.streams.values().find_map(|stream| stream.call.response_time);
            let streams = self.credit.stalled.max(1);
            let under_way = UnderWay::new(Awaited::ResponseBody, answer, 0);
            return Some(UnderWay { streams, held: Some(held), closures: self.credit.closures, ..under_way });
        }
        let sends = |stream: &Stream| stream.sends_body(reader.losses) && !self.allowance.holds_up(stream);
        if let Some(stream) = self.streams.values().find(|stream| sends(stream)) {
            let bytes = stream.call.request.wire_bytes;
            let streams = self.streams.values().filter(|stream| sends(stream)).count();
            let under_way = UnderWay::new(Awaited::RequestBody, stream.call.request_time, bytes);
            let streams = u32::try_from(streams).unwrap_or(u32::MAX);
            return Some(UnderWay { streams, ..under_way });
        }
        let Some(stream) = self.streams.values().next() else { return Some(UnderWay::new(Awaited::Idle, None, 0)) };
        let under_way = match stream.has_response {
            true => {
                let Call { response_time, response, .. } = &*stream.call;
                UnderWay::new(Awaited::ResponseBody, *response_time, response.wire_bytes)
            }
            false => UnderWay::new(Awaited::ResponseHead, stream.call.request_time, 0),
        };
        Some(UnderWay { closures: self.credit.closures, ..under_way })
    }

    /// When something last came of a request's body.
    pub(crate) fn sent_data(&self) -> Timestamp {
        self.sent_data
    }

    /// Requests that the server broke off because their bodies came too slowly, and when it did that first.
    pub(crate) fn broken_off(&self) -> Option<(UnderWay, Timestamp)> {
        self.broken_off
    }

    /// Takes bytes in order.
    pub(crate) fn data(&mut self, flow: &FlowInfo, run: Run<'_>, shared: &mut Shared, counters: &mut Counters) {
        let d = run.direction.index();
        if run.conflicting {
            self.anomalies[d].insert(Anomaly::ConflictingRetransmission);
        }
        if run.urgent {
            self.anomalies[d].insert(Anomaly::UrgentData);
        }
        if run.offset > self.readers[d].next {
            self.lose(flow, d, run.now, shared, counters);
        }
        let mut used = 0;
        while used < run.bytes.len() {
            used += self.step(flow, d, &run, used, shared, counters);
        }
        let reader = &mut self.readers[d];
        reader.next = reader.next.max(run.offset + run.bytes.len() as u64);
        self.after(flow, run.direction, run.now, shared, counters);
    }

    /// Takes the next bytes of a run, at least one; says how many.
    fn step(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        run: &Run<'_>,
        used: usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> usize {
        let rest = &run.bytes[used..];
        match &mut self.readers[d].phase {
            Phase::Start => {
                if rest.first() == PREFACE.first() {
                    self.readers[d].phase = Phase::Preface(0);
                } else {
                    self.readers[d].expect_header();
                }
                0
            }
            Phase::Preface(seen) => {
                let expected = PREFACE.get(*seen..).unwrap_or_default();
                let count = expected.len().min(rest.len());
                if expected.get(..count) != rest.get(..count) {
                    self.readers[d].lose();
                    return 0;
                }
                *seen += count;
                if *seen == PREFACE.len() {
                    self.prefaced(run.direction);
                }
                count
            }
            Phase::Header(bytes, have) => {
                let begin = *have == 0;
                let room = bytes.get_mut(*have..).unwrap_or_default();
                let count = room.len().min(rest.len());
                room[..count].copy_from_slice(&rest[..count]);
                *have += count;
                let header = (*have == HEADER).then(|| Header::parse(bytes));
                if begin {
                    self.readers[d].begin(run, used);
                }
                if let Some(header) = header {
                    self.header(flow, d, header, run, shared, counters);
                }
                count
            }
            Phase::Data(data) => {
                let data = *data;
                self.body(flow, d, data, rest, run.now, shared, counters)
            }
            Phase::Gather(header) => {
                let header = *header;
                self.gather(flow, d, header, run, used, shared, counters)
            }
            Phase::Skip(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= count as u64;
                if *left == 0 {
                    self.readers[d].expect_header();
                }
                count
            }
            Phase::Lost => self.search(d, run, used, counters),
        }
    }

    /// The client has begun a connection.
    fn prefaced(&mut self, direction: Direction) {
        self.client = Some(direction);
        let limits = self.readers[0].decoder.limits();
        let own = &mut self.readers[direction.index()];
        if own.losses > 0 {
            let next = own.next;
            *own = Reader { next, ..Reader::new(true, limits) };
        }
        own.expect_header();
        // Taken up without a handshake, the server's first bytes are nonetheless the first of the connection.
        let other = &mut self.readers[direction.opposite().index()];
        if other.next == 0 {
            *other = Reader::new(true, limits);
        }
    }

    /// Looks for the next frame after a loss.
    fn search(&mut self, d: usize, run: &Run<'_>, used: usize, counters: &mut Counters) -> usize {
        let rest = &run.bytes[used..];
        if used == 0 && rest.starts_with(PREFACE) {
            self.readers[d].phase = Phase::Preface(0);
            return 0;
        }
        let (largest, streams) = (self.readers[d].largest, &self.streams);
        let found = frame::find(rest, largest, &|id| streams.contains_key(&id));
        let skipped = found.unwrap_or(rest.len());
        counters.add(Counter::BytesSkipped, skipped as u64);
        if found.is_some() {
            self.readers[d].expect_header();
        }
        skipped
    }

    /// A frame begins.
    fn header(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        header: Header,
        run: &Run<'_>,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let reader = &mut self.readers[d];
        reader.mark.end = run.offset + run.bytes.len() as u64;
        reader.mark.acknowledged = run.acknowledged;
        if !header.is_valid() {
            self.lose(flow, d, run.now, shared, counters);
            return;
        }
        if let Some(block) = &self.readers[d].block
            && (header.kind != kind::CONTINUATION || header.stream != block.stream)
        {
            // Nothing may stand between the parts of a header block (RFC 9113, section 6.10): the others were lost.
            self.drop_block(flow, d, run.now, shared, counters);
        }
        let length = u64::from(header.length);
        let ours = self.client.is_some_and(|client| client.index() == d);
        if let Some(empty) = control::is_empty(header).filter(|empty| ours || !empty) {
            self.weigh_frame(d, empty, shared.settings.http2_control_frames, run.now, counters);
        }
        let reader = &mut self.readers[d];
        match header.kind {
            kind::WINDOW_UPDATE => reader.phase = Phase::Gather(header),
            kind::DATA => {
                // Without a byte there is no length of the padding either; a peer would end the connection.
                let padded = header.has(flag::PADDED) && length > 0;
                let end = header.has(flag::END_STREAM);
                let data = Data { stream: header.stream, left: length, padding: 0, padded, end, fresh: true };
                reader.phase = Phase::Data(data);
                if !ours {
                    self.spend(flow, header.stream, header.length, end, run.now);
                    self.ask_when_held(flow, run.now, shared);
                } else {
                    self.allowance.spend(self.streams.get_mut(&header.stream), header.length);
                }
                if length == 0 {
                    self.body(flow, d, data, &[], run.now, shared, counters);
                }
            }
            kind::HEADERS
            | kind::PUSH_PROMISE
            | kind::CONTINUATION
            | kind::RST_STREAM
            | kind::SETTINGS
            | kind::GOAWAY
                if length > 0 =>
            {
                reader.phase = Phase::Gather(header);
            }
            kind::CONTINUATION => {
                reader.expect_header();
                self.frame(flow, d, header, &[], true, run.now, shared, counters);
            }
            _ if length > 0 => reader.phase = Phase::Skip(length),
            _ => reader.expect_header(),
        }
    }

    /// Bytes of a DATA frame.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one piece")]
    fn body(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        mut data: Data,
        rest: &[u8],
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> usize {
        let response = self.client.is_none_or(|client| client.index() != d);
        let mut used = 0;
        let mut wire = 0;
        if data.padded
            && let Some(&padding) = rest.first()
        {
            data.padded = false;
            data.left -= 1;
            data.padding = u64::from(padding).min(data.left);
            (used, wire) = (1, 1);
        }
        let rest = &rest[used..];
        let content = usize::try_from(data.left - data.padding).unwrap_or(usize::MAX).min(rest.len());
        let count = usize::try_from(data.left).unwrap_or(usize::MAX).min(rest.len());
        // Behind the content nothing comes but padding.
        let padding = count.saturating_sub(content) as u64;
        data.left -= count as u64;
        data.padding -= padding.min(data.padding);
        used += count;
        wire += count as u64;
        let over = data.left == 0 && !data.padded;
        let last = data.end && data.left == data.padding;
        match self.streams.get_mut(&data.stream) {
            Some(stream) => {
                let bytes = &rest[..content];
                if !response && content > 0 {
                    (self.sent_data, stream.asked) = (now, now);
                }
                stream.data(response, bytes, wire, data.fresh, last, &mut self.decoding, shared, counters);
            }
            None => counters.add(Counter::BytesSkipped, content as u64),
        }
        data.fresh &= content == 0;
        match over {
            true => {
                self.readers[d].expect_header();
                if data.end {
                    self.end_side(flow, data.stream, response, now, shared, counters);
                }
            }
            false => self.readers[d].phase = Phase::Data(data),
        }
        used
    }

    /// Bytes of a frame that is needed whole.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one piece")]
    fn gather(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        header: Header,
        run: &Run<'_>,
        used: usize,
        shared: &mut Shared,
        counters: &mut Counters,
    ) -> usize {
        let rest = &run.bytes[used..];
        let length = header.length as usize;
        let block = matches!(header.kind, kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION);
        let room = length.min(if block { shared.settings.http2_block_bytes.max(1024) + SMALL } else { SMALL });
        let reader = &mut self.readers[d];
        reader.mark.end = run.offset + run.bytes.len() as u64;
        reader.mark.acknowledged = run.acknowledged;
        let have = reader.partial.len();
        let count = (room - have.min(room)).min(rest.len());
        if have + count < room {
            reader.partial.extend_from_slice(&rest[..count]);
            return count;
        }
        let skip = (length - room) as u64;
        reader.phase = Phase::Skip(skip);
        if skip == 0 {
            reader.expect_header();
        }
        let whole = skip == 0 || !block;
        if !whole {
            counters.count(Counter::Http2BlocksTooLarge);
        }
        if have == 0 {
            self.frame(flow, d, header, &rest[..count], whole, run.now, shared, counters);
        } else {
            let mut partial = std::mem::take(&mut reader.partial);
            partial.extend_from_slice(&rest[..count]);
            self.frame(flow, d, header, &partial, whole, run.now, shared, counters);
            partial.clear();
            partial.shrink_to(16 << 10);
            if let Some(reader) = self.readers.get_mut(d)
                && !matches!(reader.phase, Phase::Lost)
            {
                reader.partial = partial;
            }
        }
        count
    }

    /// A frame's payload; only its beginning unless `whole`.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one frame")]
    pub(super) fn frame(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        header: Header,
        payload: &[u8],
        whole: bool,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let ours = self.client.is_some_and(|client| client.index() == d);
        let word = |at: usize| payload.get(at..).and_then(<[u8]>::first_chunk).map(|&four| u32::from_be_bytes(four));
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => {
                let Some((promised, fragment)) = fragment(header, payload, whole) else {
                    self.readers[d].decoder.lose();
                    return;
                };
                let mark = self.readers[d].mark;
                let block = Block {
                    stream: header.stream,
                    promised,
                    end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
                    bytes: Vec::new(),
                    continuations: 0,
                    wire: (HEADER + payload.len()) as u64,
                    mark,
                    overflowed: false,
                    too_long: false,
                };
                if whole && header.has(flag::END_HEADERS) {
                    self.block(flow, d, &block, fragment, now, shared, counters);
                    return;
                }
                self.readers[d].block = Some(block);
                self.extend(flow, d, fragment, whole, header, now, shared, counters);
            }
            kind::CONTINUATION => {
                if let Some(block) = &mut self.readers[d].block {
                    block.continuations += 1;
                    block.wire += (HEADER + payload.len()) as u64;
                    block.mark.end = self.readers[d].mark.end;
                    self.extend(flow, d, payload, whole, header, now, shared, counters);
                } else if self.readers[d].losses == 0 {
                    self.lose(flow, d, now, shared, counters);
                } else {
                    self.readers[d].decoder.lose();
                }
            }
            kind::RST_STREAM => {
                if let Some(code) = word(0) {
                    self.reset_stream(flow, d, header.stream, code, now, shared, counters);
                }
            }
            kind::SETTINGS if !header.has(flag::ACK) => {
                for setting in payload.as_chunks::<6>().0 {
                    let [high, low, value @ ..] = *setting;
                    let value = u32::from_be_bytes(value);
                    match u16::from_be_bytes([high, low]) {
                        MAX_FRAME_SIZE if (1 << 14..1 << 24).contains(&value) => self.readers[1 - d].largest = value,
                        INITIAL_WINDOW_SIZE if ours && value >> 31 == 0 => self.regrant(flow, value, now),
                        INITIAL_WINDOW_SIZE if value >> 31 == 0 => self.allowance.regrant(value),
                        _ => {}
                    }
                }
            }
            kind::WINDOW_UPDATE => {
                let bytes = word(0).unwrap_or_default() & 0x7fff_ffff;
                match self.streams.get_mut(&header.stream) {
                    _ if ours => self.grant(flow, header.stream, bytes, now),
                    _ if header.stream == 0 => self.allowance.grant(bytes),
                    Some(stream) => stream.allowed = stream.allowed.saturating_add(bytes.into()),
                    None => {}
                }
            }
            kind::GOAWAY => {
                if let Some(last) = word(0).filter(|_| !ours && self.client.is_some()) {
                    self.refuse_beyond(last & 0x7fff_ffff, shared, counters);
                }
            }
            _ => {}
        }
    }

    /// Asks for a look at the time when windows that are closed will have been so for too long.
    pub(super) fn ask_when_held(&self, flow: &FlowInfo, now: Timestamp, shared: &Shared) {
        if self.credit.held.is_some_and(|(since, _)| since == now) {
            slow::ask(flow, now, shared.settings.slow.read_seconds);
        }
    }

    /// Adds a part of a header block, and takes the block when it is whole.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one frame")]
    fn extend(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        fragment: &[u8],
        whole: bool,
        header: Header,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let Some(block) = &mut self.readers[d].block else { return };
        if !block.overflowed && block.continuations > shared.settings.http2_continuations {
            counters.count(Counter::Http2Continuations);
            (block.overflowed, block.too_long) = (true, true);
        } else if !block.overflowed {
            let room = shared.settings.http2_block_bytes.saturating_sub(block.bytes.len());
            block.bytes.extend_from_slice(&fragment[..fragment.len().min(room)]);
            if fragment.len() > room {
                counters.count(Counter::Http2BlocksTooLarge);
                (block.overflowed, block.too_long) = (true, true);
            }
        }
        block.overflowed |= !whole;
        if header.has(flag::END_HEADERS)
            && let Some(mut block) = self.readers[d].block.take()
        {
            let bytes = std::mem::take(&mut block.bytes);
            self.block(flow, d, &block, &bytes, now, shared, counters);
        }
    }

    /// Takes what there is of a header block of which the rest will not come.
    pub(super) fn drop_block(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        if let Some(mut block) = self.readers[d].block.take() {
            let bytes = std::mem::take(&mut block.bytes);
            // One that was too long is no torn one: nothing of it was lost.
            self.torn = !block.too_long;
            block.overflowed = true;
            self.block(flow, d, &block, &bytes, now, shared, counters);
            self.torn = false;
        }
    }
}

/// The part of a header block in the payload of HEADERS or PUSH_PROMISE, and the promised stream. None when it is
/// malformed or not there.
fn fragment(header: Header, payload: &[u8], whole: bool) -> Option<(Option<u32>, &[u8])> {
    let mut rest = payload;
    let mut padding = 0;
    if header.has(flag::PADDED) {
        let (&length, behind) = rest.split_first()?;
        (padding, rest) = (usize::from(length), behind);
    }
    let mut promised = None;
    if header.kind == kind::PUSH_PROMISE {
        let (id, behind) = rest.split_first_chunk()?;
        (promised, rest) = (Some(u32::from_be_bytes(*id) & 0x7fff_ffff), behind);
    } else if header.has(flag::PRIORITY) {
        rest = rest.get(5..)?;
    }
    let end = if whole { rest.len().checked_sub(padding)? } else { rest.len() };
    Some((promised, &rest[..end]))
}
