//! From byte runs to calls: HTTP/1.x and HTTP/2 on any port, recognised by content.
//!
//! | file | owns |
//! | --- | --- |
//! | `recognise` | what the beginning of an HTTP message looks like |
//! | `quick` | heads as most are, in one pass over vectors of bytes |
//! | `repeat` | heads as those that came before, but for a few values |
//! | `head` | start lines and the headers that a call needs: httparse, then what real servers accept |
//! | `framing` | where a body ends (RFC 9112, section 6), chunks |
//! | `clean`, `cookies` | targets and cookies that came before, and what was found in them |
//! | `fill` | what heads and bodies make of a call, in every version |
//! | [`h2`] | HTTP/2 |
//! | `payload`, `grpc`, `grpc_text` | bodies that carry the messages of gRPC, and their texts |
//! | `operation` | what bodies of GraphQL, JSON-RPC and SOAP ask for |
//! | `websocket` | what goes on as a WebSocket |
//! | `events` | answers that are streams, and the events in them |
//! | `content` | content encodings undone as they stream, and what looks at the result |
//! | `recall` | what bodies that came before came to |
//! | `idle` | the memory of calls that are done with, for those to come |
//! | `reader` | one direction: heads and bodies in turn, and finding the next head after a loss |
//! | `conversation` | both directions: which response answers which request |
//! | `secured` | what is in TLS, and what is told of a flow whose TLS keeps it |
//! | [`slow`] | connections that keep a server waiting |
//!
//! Ambiguity is resolved as the common servers do and marked on the call ([`crate::call::Anomaly`]): it is a finding,
//! never a lost call. After a loss, responses are paired by what the client had acknowledged when it sent its request,
//! not by count; where that leaves a choice, request and response stay two calls, each marked as half seen. A wrong
//! pairing would accuse the wrong client.

mod clean;
mod content;
mod conversation;
mod cookies;
mod events;
mod fill;
mod framing;
mod grpc;
pub mod grpc_text;
mod gzip;
pub mod h2;
mod head;
mod header_values;
mod intern;
mod limits;
mod operation;
mod payload;
mod quick;
mod reader;
mod recall;
mod recognise;
mod repeat;
mod secured;
pub mod slow;
mod target;
#[cfg(test)]
mod tests;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{Awaited, Call, Connection, Record, Shape, Tls};
use crate::idle::Idle;
use crate::inspect::{Inspector, KnownCredentials};
use crate::metrics::Occupancy;
use crate::stats::{Counter, Counters};
use crate::stream::{Close, Direction, End, FlowInfo, Gap, Handler, Interest, Run};
use crate::time::Timestamp;
use crate::tls::{self, keylog::KeyLog};

pub(crate) use conversation::community_id;
use conversation::{Conversation, Upgrade};
pub(crate) use intern::{Interner, printable_into};
use secured::Secured;
use slow::{UnderWay, Watch};
pub(crate) use target::{query_names, split_target};

/// Limits of the HTTP stage. Worst-case memory a connection: `head_limit` in each direction, about 1 KiB for each of
/// `pending_limit` requests, and one decoder (up to 8 MiB for zstd's and brotli's windows, 48 KiB for gzip's).
///
/// A WebSocket keeps about 3 KiB; while a message comes in pieces, up to 20 KiB more in its direction, and of the client's
/// `operation_bytes`; where messages are compressed, a decoder in each direction.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Bytes of a head that are kept. What is longer is read up to here and marked.
    pub head_limit: usize,
    /// Headers of a head that are looked at.
    pub header_limit: usize,
    /// Requests in one connection that may wait for a response; beyond, the oldest is reported as unanswered.
    pub pending_limit: usize,
    /// Decoded bytes of one body; beyond, it is not decoded further.
    pub decoded_limit: u64,
    /// Decoded bytes for each encoded one, once 64 KiB are decoded; beyond, the body is not decoded further.
    pub decoded_ratio: u64,
    /// Content encodings of one body that are undone one behind the other.
    pub encoding_limit: usize,
    /// Bytes of bodies that a worker remembers with what was found in them, so that what comes again need not be
    /// decoded and inspected again: the worst case of their memory. Below 8192, where the first eight places
    /// have no room, none are remembered; the calls are the same.
    pub recall_bytes: usize,
    /// Targets of requests, and header fields of answers, in which nothing sensitive was found that a worker remembers, so that those that come
    /// again need not be inspected again: 8 bytes each, rounded up to a power of two. 0 remembers none; the calls are the same.
    pub known_targets: usize,
    /// `Cookie` headers that a worker remembers with what their cookies look like, where shapes are asked for: at worst 4 KiB each. 0
    /// remembers none; the calls are the same.
    pub known_cookies: usize,
    /// Calls that are done with whose memory a worker keeps for the next, at most; those that were not needed for long are freed. Usually
    /// 1 KiB each, at worst 13 KiB.
    pub idle_calls: usize,
    /// Bytes of one gRPC message that are kept until it is whole, so that its fields can be told apart, and that a
    /// compressed one may come to. Of a larger one the rest is inspected as it stands, or not where it is compressed.
    pub grpc_message_bytes: usize,
    /// Bytes of gRPC messages under way that a worker keeps: the worst case of their memory. Beyond, messages that come
    /// in pieces are inspected as they stand.
    pub grpc_held_bytes: usize,
    /// Bytes of the body of a request in JSON or XML that are kept until it is over, to tell what it asks for in GraphQL,
    /// JSON-RPC or SOAP; as many of a target's query. Of a longer one only what is certain is told. 0 looks at no body. At
    /// worst a connection in HTTP/1 keeps this once, one in HTTP/2 for each open stream.
    pub operation_bytes: usize,
    /// Bytes of such bodies that a worker keeps: the worst case of their memory, with 2 MiB of buffers to be used again.
    /// Beyond, operations are marked as incomplete.
    pub operation_held_bytes: usize,
    /// HTTP/2: bytes of a decoded header list, each field counted with 32 more; fields beyond are left out and the call
    /// marked. At worst a worker keeps as much, once.
    pub http2_list_bytes: usize,
    /// HTTP/2: bytes of a header block before decoding. What is longer is read up to here and marked. At worst this in each
    /// direction of a connection.
    pub http2_block_bytes: usize,
    /// HTTP/2: CONTINUATION frames of one header block; beyond, it is read as far as it came and marked.
    pub http2_continuations: usize,
    /// HTTP/2: bytes of the table of header fields, each entry counted with 32 more, which is about what it takes. Peers
    /// may agree on more; then the oldest entries are forgotten, and what refers to them is unknown. At worst this in each
    /// direction of a connection.
    pub http2_table_bytes: usize,
    /// HTTP/2: entries of that table.
    pub http2_table_entries: usize,
    /// HTTP/2: streams of one connection that are open at a time, about 2 KiB each; beyond, the oldest is reported as far
    /// as it came.
    pub http2_streams: usize,
    /// HTTP/2: bodies of one connection that are decoded at a time, up to 8 MiB each with zstd or brotli, 48 KiB with gzip:
    /// 1 GiB if a server sets out to do so. Others are counted and not decoded.
    pub http2_decoders: usize,
    /// HTTP/2: streams that a client may reset before its calls are marked, if it resets most of what it asks for.
    pub http2_resets: u32,
    /// HTTP/2: SETTINGS, PING, PRIORITY and empty DATA frames of a client in ten seconds; beyond, if they are ten times all
    /// others, they are counted as a flood and the next call marked. 0 counts none.
    pub http2_control_frames: u32,
    /// WebSocket: directions whose messages a worker decompresses at a time, 48 KiB each: 192 MiB at the default. What both
    /// ends let refer to earlier messages takes its decoder until it is over. Messages of others are counted, and not
    /// decoded. In HTTP/2 a connection has at most `http2_decoders` such WebSockets besides.
    pub websocket_decoders: usize,
    /// Seconds of traffic after which a call that goes on is reported, and again after as many: of gRPC, a WebSocket, and
    /// answers that are streams (server-sent events, newline-delimited JSON, JSON text sequences,
    /// `multipart/x-mixed-replace`). 0 reports none before its end.
    pub stream_report_seconds: u32,
    /// Records of calls and connections of one moment that are held until the traffic's time has passed it, since they are told in
    /// order; of all workers together. 2 KiB each in the usual case, 128 MiB at the default, and where targets are long up to
    /// `head_limit` more for each. A clock of packets that stands still, as after it was set back, makes any number of them; beyond,
    /// they are handed on as they are and counted (`records_unordered`): nothing waits until the clock has caught up.
    pub held_records: usize,
    /// From when on a connection that keeps a server waiting is told of.
    pub slow: slow::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            head_limit: 256 << 10,
            header_limit: 512,
            pending_limit: 4096,
            decoded_limit: 64 << 20,
            decoded_ratio: 1100,
            encoding_limit: 4,
            recall_bytes: 4 << 20,
            known_targets: 16_384,
            known_cookies: 4096,
            idle_calls: 4096,
            grpc_message_bytes: 256 << 10,
            grpc_held_bytes: 32 << 20,
            operation_bytes: 64 << 10,
            operation_held_bytes: 32 << 20,
            http2_list_bytes: 256 << 10,
            http2_block_bytes: 128 << 10,
            http2_continuations: 64,
            http2_table_bytes: 64 << 10,
            http2_table_entries: 2048,
            http2_streams: 1024,
            http2_decoders: 128,
            http2_resets: 100,
            http2_control_frames: 1000,
            websocket_decoders: 4096,
            stream_report_seconds: 60,
            held_records: 65_536,
            slow: slow::Settings::default(),
        }
    }
}

impl Settings {
    /// Time after which a call that goes on is reported; zero for never.
    fn report_period(&self) -> Duration {
        Duration::from_secs(self.stream_report_seconds.into())
    }
}

/// What the parts of the HTTP stage share: settings, the inspector, caches, and the records that are done.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) inspector: Arc<Inspector>,
    pub(crate) texts: intern::Interner,
    pub(crate) credentials: KnownCredentials,
    pub(crate) heads: repeat::Heads,
    pub(crate) decoders: content::Decoders,
    pub(crate) header_list: h2::hpack::List,
    /// What is to cross the seam.
    pub(crate) records: Vec<Record>,
    /// Calls that are done with, to be used again.
    pub(crate) idle: Idle<Box<Call>>,
    /// Their shapes.
    pub(crate) idle_shapes: Idle<Box<Shape>>,
    pub(crate) clean: clean::Clean,
    pub(crate) cookies: cookies::Cookies,
    /// What is known of the TLS around what is read at present.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// The handler of [`crate::stream`] that makes calls of what it is handed.
pub struct Http {
    shared: Shared,
    tls: secured::Common,
}

impl Http {
    /// Ready for any number of flows.
    pub fn new(settings: Settings, inspector: Arc<Inspector>) -> Self {
        Http {
            shared: Shared {
                decoders: content::Decoders::new(&settings),
                clean: clean::Clean::new(settings.known_targets),
                cookies: cookies::Cookies::new(settings.known_cookies),
                settings,
                inspector,
                texts: intern::Interner::default(),
                credentials: KnownCredentials::default(),
                heads: repeat::Heads::default(),
                header_list: h2::hpack::List::default(),
                records: Vec::new(),
                idle: Idle::of_boxes(),
                idle_shapes: Idle::of_boxes(),
                tls: None,
            },
            tls: secured::Common::new(tls::Settings::default(), Arc::default()),
        }
    }

    /// The same with these settings of TLS and the secrets of its connections.
    pub fn with_tls(mut self, settings: tls::Settings, keys: Arc<KeyLog>) -> Http {
        self.tls = secured::Common::new(settings, keys);
        self
    }

    /// What flows share.
    pub fn tables(&self) -> [Occupancy; 3] {
        let (entries, limit, bytes, budget) = self.shared.texts.occupancy();
        let [(recalled, recall), (waiting, may_wait)] = [self.shared.decoders.recalled(), self.tls.waiting()];
        let of_bytes = |table, bytes: usize, budget: usize| Occupancy {
            table,
            bytes: bytes as u64,
            budget: budget as u64,
            ..Occupancy::default()
        };
        [
            Occupancy { entries: entries as u64, limit: limit as u64, ..of_bytes("texts", bytes, budget) },
            of_bytes("recalled_bodies", recalled, recall),
            of_bytes("waiting_for_keys", waiting, may_wait),
        ]
    }

    /// Has memory for so many calls at hand, as far as `idle_calls` allows, whether it is needed or not.
    pub(crate) fn reserve_calls(&mut self, count: usize) {
        for _ in self.shared.idle.len()..count.min(self.shared.settings.idle_calls) {
            self.shared.idle.keep(Box::default());
        }
    }

    /// Takes back records that are done with, so that the memory of calls is used again; what is too much is freed.
    pub fn recycle(&mut self, records: &mut Vec<Record>) {
        let room = self.shared.settings.idle_calls.saturating_sub(self.shared.idle.len());
        self.shared.idle.extend(records.drain(..).filter_map(Record::into_call).take(room));
    }

    /// What is known of a flow, as a record of a connection at `now`; the client is who opened it, else who sent the first
    /// segment.
    pub fn connection(flow: &FlowInfo, now: Timestamp) -> Connection {
        slow::connection(flow, flow.opened_by.unwrap_or(Direction::Forward), now)
    }

    /// What was completed since this was last taken, in the order of completion.
    pub fn records(&mut self) -> &mut Vec<Record> {
        &mut self.shared.records
    }
}

/// What is kept of one flow.
pub struct State {
    speaks: Speaks,
    /// There once it was looked at whether it keeps a server waiting.
    watch: Option<Box<Watch>>,
    /// When the client last sent something of what it had begun.
    asked: Timestamp,
    /// When either end last sent anything.
    spoken: Timestamp,
}

/// What a flow speaks. Most flows speak HTTP/1: what the others keep does not make these larger.
#[allow(clippy::large_enum_variant, reason = "what most flows speak is kept without a box of its own")]
enum Speaks {
    Http1(Conversation),
    Http2(Box<h2::Connection>),
    WebSocket(Box<websocket::Connection>),
    Tls(Box<Secured>),
}

impl Speaks {
    /// Who asks, and what is under way; none where that is unknown, or another protocol has taken over.
    fn under_way(&self, flow: &FlowInfo) -> Option<(Direction, UnderWay)> {
        let client = self.client().or(flow.opened_by)?;
        let under_way = match self {
            Speaks::Http1(conversation) => conversation.under_way(client),
            Speaks::Http2(connection) => connection.under_way(flow, client),
            Speaks::WebSocket(_) | Speaks::Tls(_) => None,
        };
        Some((client, under_way?))
    }

    /// The direction of requests, once that is known.
    fn client(&self) -> Option<Direction> {
        match self {
            Speaks::Http1(conversation) => conversation.client(),
            Speaks::Http2(connection) => connection.client(),
            Speaks::WebSocket(_) | Speaks::Tls(_) => None,
        }
    }

    /// How many calls were completed.
    fn position(&self) -> u32 {
        match self {
            Speaks::Http1(conversation) => conversation.position(),
            Speaks::Http2(connection) => connection.position(),
            Speaks::WebSocket(connection) => connection.position(),
            Speaks::Tls(_) => 0,
        }
    }
}

impl Handler for Http {
    type State = State;

    #[inline]
    fn data(
        &mut self,
        flow: &FlowInfo,
        state: &mut Option<Box<State>>,
        run: Run<'_>,
        counters: &mut Counters,
    ) -> Interest {
        if secured::may_begin(run.bytes) {
            self.secure(flow, state, &run, counters);
        }
        match state.as_deref_mut() {
            Some(State { speaks: Speaks::Tls(secured), .. }) => {
                secured.data(flow, run, &mut self.shared, &mut self.tls, counters)
            }
            _ => data(flow, state, run, 0, &mut self.shared, counters),
        }
    }

    fn gap(&mut self, flow: &FlowInfo, state: &mut Option<Box<State>>, gap: Gap, counters: &mut Counters) {
        let Some(state) = state else { return };
        match &mut state.speaks {
            Speaks::Tls(secured) => secured.gap(flow, gap, &mut self.shared, &mut self.tls, counters),
            _ => lose(flow, state, gap, &mut self.shared, counters),
        }
    }

    fn close(
        &mut self,
        flow: &FlowInfo,
        state: &mut Option<Box<State>>,
        direction: Direction,
        how: Close,
        now: Timestamp,
        counters: &mut Counters,
    ) {
        let Some(state) = state else { return };
        match &mut state.speaks {
            Speaks::Tls(secured) => {
                secured.close(flow, direction, how, now, &mut self.shared, counters);
                if how == Close::Reset && secured.under_way(flow).is_some() {
                    state.watch.get_or_insert_default().close(flow, direction, how);
                }
            }
            _ => close(flow, state, direction, how, now, &mut self.shared, counters),
        }
    }

    fn opened(&mut self, flow: &FlowInfo, now: Timestamp) {
        slow::ask(flow, now, self.shared.settings.slow.unused_seconds);
    }

    fn window_closed(&mut self, flow: &FlowInfo, state: &mut Option<Box<State>>, direction: Direction, now: Timestamp) {
        if let Some(watch) = watch_of(flow, state, direction) {
            watch.window_closed(flow, direction, now, &self.shared.settings.slow);
        }
    }

    fn repeated(&mut self, flow: &FlowInfo, state: &mut Option<Box<State>>, direction: Direction, now: Timestamp) {
        if let Some(watch) = watch_of(flow, state, direction.opposite()) {
            watch.repeated(flow, direction, now, &self.shared.settings.slow);
        }
    }

    fn wake(&mut self, flow: &FlowInfo, state: &mut Option<Box<State>>, now: Timestamp, counters: &mut Counters) {
        let Some(state) = state else {
            slow::unused(flow, now, &mut self.shared, counters);
            return;
        };
        match &mut state.speaks {
            Speaks::Tls(secured) => {
                secured.wake(flow, now, &mut self.shared, &mut self.tls, counters);
                if let Some(under_way) = secured.under_way(flow) {
                    let watch = state.watch.get_or_insert_default();
                    if watch.is_over(flow, under_way.0, under_way.1.awaited) {
                        return;
                    }
                    // What it was used for is not seen: one call is allowed for.
                    if let Some(wait) = watch.look(flow, under_way, 1, now, &self.shared.settings.slow) {
                        counters.count(Counter::Connections);
                        secured.tell(flow, None, Some(wait), now, &mut self.shared);
                    }
                }
            }
            _ => wake(flow, state, now, &mut self.shared, counters),
        }
    }

    /// What compression, keys, and messages that are under way need is in what came before.
    fn cannot_resume(&self, state: Option<&State>) -> bool {
        state.is_some_and(|state| matches!(state.speaks, Speaks::Http2(_) | Speaks::WebSocket(_) | Speaks::Tls(_)))
    }

    fn end(&mut self, flow: &FlowInfo, state: Option<Box<State>>, end: End, now: Timestamp, counters: &mut Counters) {
        let Some(mut state) = state else {
            if flow.seen != [false; 2] {
                counters.count(Counter::FlowsNotHttp);
            }
            return;
        };
        match &mut state.speaks {
            Speaks::Tls(secured) => secured.end(flow, end, now, &mut self.shared, &mut self.tls, counters),
            _ => finish(flow, &mut state, end, now, &mut self.shared, counters),
        }
    }
}

impl Http {
    /// Has TLS take over where it begins: of a flow of which nothing is known yet, and behind CONNECT.
    #[cold]
    fn secure(&mut self, flow: &FlowInfo, state: &mut Option<Box<State>>, run: &Run<'_>, counters: &mut Counters) {
        let position = match state.as_deref_mut() {
            None => 0,
            Some(State { speaks: Speaks::Http1(conversation), .. }) if conversation.is_tunnel() => {
                conversation.position()
            }
            Some(_) => return,
        };
        let Some(secured) = Secured::begin(flow, run, position, counters) else { return };
        if let Some(State { speaks: Speaks::Http1(conversation), .. }) = state.as_deref_mut() {
            conversation.end(flow, run.now, &mut self.shared, counters);
        }
        *state = Some(Box::new(State {
            speaks: Speaks::Tls(Box::new(secured)),
            watch: None,
            asked: run.now,
            spoken: run.now,
        }));
    }
}

/// Takes bytes in clear, or of which the protection is undone; the flow has had `position` calls before.
fn data(
    flow: &FlowInfo,
    state: &mut Option<Box<State>>,
    run: Run<'_>,
    position: u32,
    shared: &mut Shared,
    counters: &mut Counters,
) -> Interest {
    // A flow that says nothing in HTTP costs this look at the beginning of each run, and no state.
    if state.is_none() {
        let http2 = h2::may_begin(run.bytes);
        if !http2 && !recognise::may_begin(run.bytes, run.offset == 0) {
            return Interest::Wanted;
        }
        let speaks = match http2 {
            true => Speaks::Http2(Box::new(h2::Connection::new(flow, position, shared, counters))),
            false => Speaks::Http1(Conversation::new(flow, position)),
        };
        *state = Some(Box::new(State { speaks, watch: None, asked: run.now, spoken: run.now }));
    }
    let Some(state) = state else { return Interest::Wanted };
    state.spoken = run.now;
    match &mut state.speaks {
        Speaks::Http1(conversation) => {
            if let Some(begun) =
                h2::preface_begun(conversation.is_free(run.direction), conversation.unread(run.direction), &run)
            {
                let mut connection = replace(flow, conversation, run.now, shared, counters);
                let before = Run { offset: run.offset - begun.len() as u64, bytes: &begun, ..run };
                if !begun.is_empty() {
                    connection.data(flow, before, shared, counters);
                }
                connection.data(flow, run, shared, counters);
                state.speaks = Speaks::Http2(Box::new(connection));
                return Interest::Wanted;
            }
            let interest = conversation.data(flow, run, shared, counters);
            if conversation.is_asking(run.direction) {
                state.asked = run.now;
                slow::ask(flow, run.now, shared.settings.slow.first_look());
            }
            if !conversation.is_upgraded() {
                return interest;
            }
            take_over(flow, &mut state.speaks, Some(run), run.now, shared, counters);
            Interest::Wanted
        }
        Speaks::WebSocket(connection) => connection.data(run, shared, counters),
        Speaks::Http2(connection) => {
            connection.data(flow, run, shared, counters);
            if connection.is_asking(run.direction) {
                state.asked = run.now;
                slow::ask(flow, run.now, shared.settings.slow.first_look());
            }
            Interest::Wanted
        }
        Speaks::Tls(_) => Interest::Unwanted, // TLS within TLS is not followed
    }
}

/// What is remembered of whether the client, if this is its direction, keeps a server waiting.
fn watch_of<'s>(flow: &FlowInfo, state: &'s mut Option<Box<State>>, client: Direction) -> Option<&'s mut Watch> {
    let State { speaks, watch, .. } = &mut **state.as_mut()?;
    let (client_known, watch) = match speaks {
        Speaks::Tls(secured) => match secured.client_and_inside(flow) {
            (_, Some(State { speaks, watch, .. })) => (speaks.client().or(flow.opened_by), watch),
            (known, None) => (Some(known), watch),
        },
        _ => (speaks.client().or(flow.opened_by), watch),
    };
    (client_known == Some(client)).then(|| &mut **watch.get_or_insert_default())
}

/// Bytes in clear, or of which the protection would have been undone, were lost.
fn lose(flow: &FlowInfo, state: &mut State, gap: Gap, shared: &mut Shared, counters: &mut Counters) {
    match &mut state.speaks {
        Speaks::Http1(conversation) => conversation.gap(flow, gap, shared, counters),
        Speaks::Http2(connection) => connection.gap(flow, gap, shared, counters),
        Speaks::WebSocket(connection) => connection.gap(gap, shared, counters),
        Speaks::Tls(_) => {}
    }
    take_over(flow, &mut state.speaks, None, gap.now, shared, counters);
}

/// A direction in clear, or of which the protection is undone, has ended.
fn close(
    flow: &FlowInfo,
    state: &mut State,
    direction: Direction,
    how: Close,
    now: Timestamp,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    note_unfinished(flow, state, direction, how, now, shared);
    if how == Close::Reset {
        state.watch.get_or_insert_default().close(flow, direction, how);
    }
    if how != Close::Finished {
        return;
    }
    match &mut state.speaks {
        Speaks::Http1(conversation) => conversation.close(flow, direction, now, shared, counters),
        Speaks::Http2(connection) => connection.close(flow, direction, now, shared, counters),
        Speaks::WebSocket(connection) => connection.close(flow, direction, now, shared, counters),
        Speaks::Tls(_) => {}
    }
    take_over(flow, &mut state.speaks, None, now, shared, counters);
}

/// The moment has come that was asked for.
fn wake(flow: &FlowInfo, state: &mut State, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
    match &mut state.speaks {
        Speaks::Http1(conversation) => conversation.report(flow, now, shared, counters),
        Speaks::Http2(connection) => connection.wake(flow, now, shared, counters),
        Speaks::WebSocket(connection) => return connection.wake(flow, now, shared, counters),
        Speaks::Tls(_) => return,
    }
    let position = state.speaks.position();
    if let Speaks::Http2(connection) = &state.speaks
        && let (Some(broken_off), Some(client)) = (connection.broken_off(), connection.client())
    {
        let watch = state.watch.get_or_insert_default();
        if let Some(wait) = watch.look_back(flow, broken_off, now, &shared.settings.slow) {
            watch.tell(flow, client, position, wait, now, shared, counters);
        }
    }
    let Some((client, mut under_way)) = state.speaks.under_way(flow) else { return };
    if under_way.awaited == Awaited::Idle {
        under_way.since = Some(state.spoken);
    }
    let under_way = (client, under_way);
    let watch = state.watch.get_or_insert_default();
    if watch.is_over(flow, client, under_way.1.awaited) {
        return;
    }
    if let Some(wait) = watch.look(flow, under_way, position, now, &shared.settings.slow) {
        watch.tell(flow, under_way.0, position, wait, now, shared, counters);
    }
}

/// A flow in clear, or of which the protection is undone, is over.
fn finish(flow: &FlowInfo, state: &mut State, end: End, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
    let client = state.speaks.client().or(flow.opened_by);
    let under_way = state.watch.as_ref().and_then(|_| state.speaks.under_way(flow)).map(|(_, under_way)| under_way);
    if let Speaks::Http1(conversation) = &mut state.speaks {
        conversation.end(flow, now, shared, counters);
        // The last head may have been that of an upgrade.
        if let Some(Upgrade::WebSocket(opening)) = conversation.take_upgrade() {
            let position = conversation.position();
            let connection = websocket::Connection::new(opening, flow, position, shared, counters);
            state.speaks = Speaks::WebSocket(Box::new(connection));
        }
    }
    match &mut state.speaks {
        Speaks::Http1(_) | Speaks::Tls(_) => {}
        Speaks::Http2(connection) => {
            // It may be open still, at the end of the capture or when it is silent for too long.
            if let Some((under_way, then)) = connection.broken_off() {
                state.watch.get_or_insert_default().note_broken_off(under_way, then);
            }
            connection.end(flow, now, shared, counters);
        }
        Speaks::WebSocket(connection) => connection.end(flow, end, now, shared, counters),
    }
    if let (Some(watch), Some(client)) = (&mut state.watch, client) {
        watch.end(flow, (client, under_way), state.speaks.position(), end, now, shared, counters);
    }
}

/// A direction ends: remembers it if that is in the middle of a request.
fn note_unfinished(
    flow: &FlowInfo,
    state: &mut State,
    direction: Direction,
    how: Close,
    now: Timestamp,
    shared: &Shared,
) {
    let State { speaks, watch, asked, .. } = state;
    let Some(client) = speaks.client().or(flow.opened_by) else { return };
    if direction != client && how != Close::Reset {
        return;
    }
    let (under_way, timed_out) = match speaks {
        Speaks::Http1(conversation) => (conversation.under_way(client), conversation.is_timed_out()),
        Speaks::Http2(connection) => {
            if let Some((under_way, then)) = connection.broken_off() {
                watch.get_or_insert_default().note_broken_off(under_way, then);
            }
            // Frames of other kinds are no part of what is awaited.
            *asked = connection.sent_data();
            (connection.under_way(flow, client), false)
        }
        Speaks::WebSocket(_) | Speaks::Tls(_) => return,
    };
    let Some(under_way) = under_way else { return };
    if slow::is_unfinished(&under_way, timed_out, *asked, now, &shared.settings.slow) {
        watch.get_or_insert_default().unfinished(under_way, now);
    }
}

/// Ends a conversation in HTTP/1.1, which goes on in HTTP/2.
fn replace(
    flow: &FlowInfo,
    conversation: &mut Conversation,
    now: Timestamp,
    shared: &mut Shared,
    counters: &mut Counters,
) -> h2::Connection {
    conversation.end(flow, now, shared, counters);
    h2::Connection::new(flow, conversation.position(), shared, counters)
}

/// Lets the protocol take over to which the connection was upgraded, if it was. `run` is what was read last; what of it
/// is behind the upgrade is read by the other protocol.
fn take_over(
    flow: &FlowInfo,
    speaks: &mut Speaks,
    run: Option<Run<'_>>,
    now: Timestamp,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    let Speaks::Http1(conversation) = speaks else { return };
    let begin;
    *speaks = match conversation.take_upgrade() {
        None => return,
        Some(Upgrade::Http2 { call, begin: frames }) => {
            begin = frames;
            let mut connection = replace(flow, conversation, now, shared, counters);
            let requests = call.client == flow.source.into();
            let requests = if requests { Direction::Forward } else { Direction::Backward };
            connection.upgrade(flow, requests, call, begin);
            Speaks::Http2(Box::new(connection))
        }
        Some(Upgrade::WebSocket(opening)) => {
            begin = opening.begin;
            conversation.end(flow, now, shared, counters);
            let position = conversation.position();
            let connection = websocket::Connection::new(opening, flow, position, shared, counters);
            Speaks::WebSocket(Box::new(connection))
        }
    };
    let Some(run) = run else { return };
    let used = begin[run.direction.index()].saturating_sub(run.offset);
    let bytes = run.bytes.get(usize::try_from(used).unwrap_or(usize::MAX)..).unwrap_or_default();
    let rest = Run { offset: run.offset + used, bytes, ..run };
    match speaks {
        _ if bytes.is_empty() => {}
        Speaks::Http1(_) | Speaks::Tls(_) => {}
        Speaks::Http2(connection) => connection.data(flow, rest, shared, counters),
        Speaks::WebSocket(connection) => {
            connection.data(rest, shared, counters);
        }
    }
}
