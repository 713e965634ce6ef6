//! Frames that carry nothing: SETTINGS, PING and PRIORITY, and DATA without a byte that ends nothing. A server has work with
//! each and the client next to none, so many of them are a flood (CVE-2019-9512, -9513, -9515, -9518).
//!
//! Who takes much data may send a PING with each piece of it, to measure the line: such frames count only where they are
//! many times the others.

use std::time::Duration;

use crate::call::Anomaly;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

use super::connection::Connection;
use super::frame::{Header, flag, kind};

/// The time in which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// How many times the frames that carry something they have to be.
const MULTIPLE: u32 = 10;

/// Frames on a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Control {
    since: Timestamp,
    /// From the client, and carrying nothing.
    empty: u32,
    /// From either end, and carrying something.
    full: u32,
    told: bool,
}

/// Whether a frame carries nothing; none of what answers another or lets more come.
pub(super) fn is_empty(header: Header) -> Option<bool> {
    match header.kind {
        kind::SETTINGS | kind::PING if header.has(flag::ACK) => None,
        kind::SETTINGS | kind::PING | kind::PRIORITY => Some(true),
        kind::DATA => Some(header.length == 0 && !header.has(flag::END_STREAM)),
        kind::HEADERS => Some(false),
        _ => None,
    }
}

impl Connection {
    /// Counts a frame; `empty`: it is the client's and carries nothing. `limit` is the number of these that are well, 0
    /// counts none.
    #[inline]
    pub(super) fn weigh_frame(&mut self, d: usize, empty: bool, limit: u32, now: Timestamp, counters: &mut Counters) {
        let control = &mut self.control;
        if !empty {
            control.full = control.full.saturating_add(1);
            return;
        }
        if now.since(control.since) >= WINDOW {
            *control = Control { since: now, ..Control::default() };
        }
        control.empty = control.empty.saturating_add(1);
        let many = limit > 0 && control.empty > limit && control.empty / MULTIPLE > control.full;
        if many && !std::mem::replace(&mut control.told, true) {
            counters.count(Counter::Http2ControlFloods);
            self.anomalies[d].insert(Anomaly::ControlFlood);
        }
    }
}
