//! What the client lets the server send: the windows of the connection and of each stream (RFC 9113, section 5.2). A client
//! that opens none keeps the server waiting while TCP is well.
//!
//! Windows are known from the beginning of a connection on, until something is lost. Those of the server are followed as well: a client
//! that may not send is not slow.

use crate::stream::FlowInfo;
use crate::time::Timestamp;

use super::connection::Connection;
use super::stream::Stream;

/// Windows at first, of the connection and of streams (RFC 9113, section 6.9.2).
const INITIAL: i64 = 65_535;

/// Bytes below which a window lets next to nothing come.
const CLOSED: i64 = 128;

/// How often a client may change the window of its streams, each of which is looked at then at once: who measures the line does so
/// some twenty times. Beyond, they are looked at after as many changes as there are streams, and when the connection is.
const CHANGES: u32 = 64;

/// The windows of a client.
#[derive(Debug)]
pub(super) struct Credit {
    /// Nothing was lost so far.
    known: bool,
    connection: i64,
    /// Of each new stream.
    initial: i64,
    /// The connection's window is closed while something is to come.
    shut: bool,
    /// Streams of which more is to come, and the windows are closed.
    pub(super) stalled: u32,
    /// Since when one of these is so, and what the server had sent by then.
    pub(super) held: Option<(Timestamp, u64)>,
    /// How often that began.
    pub(super) closures: u32,
    /// How often the window of new streams was changed.
    changes: u32,
    /// Streams were not looked at since the last change.
    stale: bool,
}

impl Credit {
    pub(super) fn new(known: bool) -> Credit {
        Credit {
            known,
            connection: INITIAL,
            initial: INITIAL,
            shut: false,
            stalled: 0,
            held: None,
            closures: 0,
            changes: 0,
            stale: false,
        }
    }

    /// What is known ends here.
    pub(super) fn lose(&mut self) {
        *self = Credit { closures: self.closures, ..Credit::new(false) };
    }
}

/// What one stream of a server has used of its window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    bytes: i64,
    stalled: bool,
}

/// What the server lets the client send: while that is nothing, it is not the client who is slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Nothing was lost so far.
    known: bool,
    connection: i64,
    /// Of each new stream.
    initial: i64,
}

impl Allowance {
    pub(super) fn new(known: bool) -> Allowance {
        Allowance { known, connection: INITIAL, initial: INITIAL }
    }

    /// What is known ends here.
    pub(super) fn lose(&mut self) {
        self.known = false;
    }

    /// The client has sent a frame of so many bytes on a stream, if that is there.
    pub(super) fn spend(&mut self, stream: Option<&mut Box<Stream>>, length: u32) {
        self.connection = self.connection.saturating_sub(length.into());
        if let Some(stream) = stream {
            stream.allowed = stream.allowed.saturating_sub(length.into());
        }
    }

    /// The server lets so many bytes more come, on all streams.
    pub(super) fn grant(&mut self, bytes: u32) {
        self.connection = self.connection.saturating_add(bytes.into());
    }

    /// The server says how much of each stream may come at first.
    pub(super) fn regrant(&mut self, initial: u32) {
        self.initial = initial.into();
    }

    /// Whether the client may send next to nothing of a stream.
    pub(super) fn holds_up(&self, stream: &Stream) -> bool {
        self.known && (self.connection < CLOSED || self.initial.saturating_add(stream.allowed) < CLOSED)
    }
}

impl Connection {
    /// The server has sent a frame of so many bytes on a stream that are to be counted; `last`: it is the last.
    pub(super) fn spend(&mut self, flow: &FlowInfo, id: u32, length: u32, last: bool, now: Timestamp) {
        if !self.credit.known {
            return;
        }
        let length = i64::from(length);
        self.credit.connection = self.credit.connection.saturating_sub(length);
        self.credit.shut |= self.credit.connection < CLOSED && !last;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.used.bytes = stream.used.bytes.saturating_add(length);
            self.credit.weigh(&mut stream.used, !last);
        }
        self.settle_credit(flow, now);
    }

    /// The client lets so many bytes more come, on a stream or, with 0, on all of them.
    pub(super) fn grant(&mut self, flow: &FlowInfo, id: u32, bytes: u32, now: Timestamp) {
        if !self.credit.known {
            return;
        }
        let bytes = i64::from(bytes & 0x7fff_ffff);
        if id == 0 {
            self.credit.connection = self.credit.connection.saturating_add(bytes);
            self.credit.shut &= self.credit.connection < CLOSED;
        } else if let Some(stream) = self.streams.get_mut(&id) {
            stream.used.bytes = stream.used.bytes.saturating_sub(bytes);
            let more = stream.sides[1].head && !stream.sides[1].ended;
            self.credit.weigh(&mut stream.used, more);
        }
        self.settle_credit(flow, now);
    }

    /// The client says how much of each stream may come at first, which changes those that are open.
    pub(super) fn regrant(&mut self, flow: &FlowInfo, initial: u32, now: Timestamp) {
        if !self.credit.known || self.credit.initial == i64::from(initial) {
            return;
        }
        self.credit.initial = initial.into();
        self.credit.changes = self.credit.changes.wrapping_add(1);
        self.credit.stale = true;
        let streams = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        if self.credit.changes <= CHANGES || self.credit.changes.is_multiple_of(streams.max(1)) {
            self.reweigh(flow, now);
        }
    }

    /// Looks at all streams, if their windows have changed since that was done.
    pub(super) fn reweigh(&mut self, flow: &FlowInfo, now: Timestamp) {
        if !std::mem::take(&mut self.credit.stale) {
            return;
        }
        for stream in self.streams.values_mut() {
            let more = stream.sides[1].head && !stream.sides[1].ended;
            self.credit.weigh(&mut stream.used, more);
        }
        self.settle_credit(flow, now);
    }

    /// A stream is over.
    pub(super) fn discharge(&mut self, mut used: Used) {
        self.credit.weigh(&mut used, false);
        self.credit.shut &= !self.streams.is_empty();
        if self.credit.stalled == 0 && !self.credit.shut {
            self.credit.held = None;
        }
    }

    fn settle_credit(&mut self, flow: &FlowInfo, now: Timestamp) {
        let credit = &mut self.credit;
        if credit.stalled == 0 && !credit.shut {
            credit.held = None;
        } else if credit.held.is_none() {
            let server = self.client.map_or(1, |client| client.opposite().index());
            credit.held = Some((now, flow.traffic[server].bytes));
            credit.closures = credit.closures.saturating_add(1);
        }
    }
}

impl Credit {
    /// Whether a stream, of which more is to come or not, is stalled now.
    fn weigh(&mut self, used: &mut Used, more: bool) {
        let stalled = more && self.initial.saturating_sub(used.bytes) < CLOSED;
        if stalled != used.stalled {
            used.stalled = stalled;
            self.stalled = if stalled { self.stalled.saturating_add(1) } else { self.stalled.saturating_sub(1) };
        }
    }
}
