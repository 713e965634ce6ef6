//! From byte runs to calls: HTTP/1.x on any port, recognised by content.
//!
//! | file | owns |
//! | --- | --- |
//! | `recognise` | what the beginning of an HTTP message looks like |
//! | `quick` | heads as most are, in one pass over vectors of bytes |
//! | `head` | start lines and the headers that a call needs: httparse, then what real servers accept |
//! | `framing` | where a body ends (RFC 9112, section 6), chunks |
//! | `content` | content encodings undone as they stream, and what looks at the result |
//! | `recall` | what bodies that came before came to |
//! | `reader` | one direction: heads and bodies in turn, and finding the next head after a loss |
//! | `conversation` | both directions: which response answers which request |
//!
//! Ambiguity is resolved as the common servers do and marked on the call ([`crate::call::Anomaly`]): it is a finding,
//! never a lost call. After a loss, responses are paired by what the client had acknowledged when it sent its request,
//! not by count; where that leaves a choice, request and response stay two calls, each marked as half seen. A wrong
//! pairing would accuse the wrong client.

mod content;
mod conversation;
mod fill;
mod framing;
mod grpc;
mod grpc_text;
mod gzip;
pub mod h2;
mod head;
mod intern;
mod payload;
mod quick;
mod reader;
mod recall;
mod recognise;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;

use crate::call::Call;
use crate::inspect::{Inspector, KnownCredentials};
use crate::stats::{Counter, Counters};
use crate::stream::{Close, Direction, End, FlowInfo, Gap, Handler, Interest, Run};
use crate::time::Timestamp;

use conversation::Conversation;
pub(crate) use conversation::{community_id, query_names, split_target};
pub(crate) use intern::{Interner, printable_into};

/// Limits of the HTTP stage. Worst-case memory a connection: `head_limit` in each direction, about 1 KiB for each of
/// `pending_limit` requests, and one decoder (up to 8 MiB for zstd's and brotli's windows, 48 KiB for gzip's).
#[derive(Clone, Debug, Deserialize)]
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
    /// decoded and inspected again: the worst case of their memory. 0 remembers none; the calls are the same.
    pub recall_bytes: usize,
    /// Bytes of one gRPC message that are kept until it is whole, so that its fields can be told apart, and that a
    /// compressed one may come to. Of a larger one the rest is inspected as it stands, or not where it is compressed.
    pub grpc_message_bytes: usize,
    /// Bytes of gRPC messages under way that a worker keeps: the worst case of their memory. Beyond, messages that come
    /// in pieces are inspected as they stand.
    pub grpc_held_bytes: usize,
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
            grpc_message_bytes: 256 << 10,
            grpc_held_bytes: 32 << 20,
        }
    }
}

/// Calls that are kept to be used again: 4096 of at most 13 KiB, usually 1 KiB.
const IDLE_CALLS: usize = 4096;

/// What the parts of the HTTP stage share: settings, the inspector, caches, and the calls that are done.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) inspector: Arc<Inspector>,
    pub(crate) texts: intern::Interner,
    pub(crate) credentials: KnownCredentials,
    pub(crate) decoders: content::Decoders,
    pub(crate) calls: Vec<Box<Call>>,
    /// Calls that are done with, to be used again.
    pub(crate) idle: Vec<Box<Call>>,
}

/// The handler of [`crate::stream`] that makes calls of what it is handed.
pub struct Http {
    shared: Shared,
}

impl Http {
    /// Ready for any number of flows.
    pub fn new(settings: Settings, inspector: Arc<Inspector>) -> Self {
        Http {
            shared: Shared {
                decoders: content::Decoders::new(settings.recall_bytes, settings.grpc_held_bytes),
                settings,
                inspector,
                texts: intern::Interner::default(),
                credentials: KnownCredentials::default(),
                calls: Vec::new(),
                idle: Vec::new(),
            },
        }
    }

    /// Takes back calls that are done with, so that their memory is used again; what is too much is freed.
    pub fn recycle(&mut self, calls: &mut Vec<Box<Call>>) {
        let room = IDLE_CALLS.saturating_sub(self.shared.idle.len());
        calls.truncate(room);
        self.shared.idle.append(calls);
    }

    /// The calls that were completed since this was last taken, in the order of completion.
    pub fn calls(&mut self) -> &mut Vec<Box<Call>> {
        &mut self.shared.calls
    }
}

/// What is kept of one flow.
pub struct State(Conversation);

impl Handler for Http {
    type State = State;

    fn data(
        &mut self,
        flow: &FlowInfo,
        state: &mut Option<Box<State>>,
        run: Run<'_>,
        counters: &mut Counters,
    ) -> Interest {
        if state.is_none() && run.offset == 0 && recognise::is_tls(run.bytes) {
            counters.count(Counter::FlowsNotHttp);
            return Interest::Unwanted;
        }
        // A flow that says nothing in HTTP costs this look at the beginning of each run, and no state.
        if state.is_none() && !recognise::may_begin(run.bytes, run.offset == 0) {
            return Interest::Wanted;
        }
        let State(conversation) = &mut **state.get_or_insert_with(|| Box::new(State(Conversation::new(flow))));
        conversation.data(flow, run, &mut self.shared, counters)
    }

    fn gap(&mut self, flow: &FlowInfo, state: &mut Option<Box<State>>, gap: Gap, counters: &mut Counters) {
        if let Some(state) = state {
            state.0.gap(flow, gap, &mut self.shared, counters);
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
        if let Some(state) = state
            && how == Close::Finished
        {
            state.0.close(flow, direction, now, &mut self.shared, counters);
        }
    }

    fn end(&mut self, flow: &FlowInfo, state: Option<Box<State>>, _end: End, now: Timestamp, counters: &mut Counters) {
        match state {
            Some(mut state) => state.0.end(flow, now, &mut self.shared, counters),
            None if flow.seen != [false; 2] => counters.count(Counter::FlowsNotHttp),
            None => {}
        }
    }
}
