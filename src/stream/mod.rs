//! From segments to byte runs in order and explicit gaps, per direction.
//!
//! [`Tracker`] keeps one flow a connection and hands what it puts in order to a [`Handler`]. What it
//! holds to, and why:
//!
//! * **In-order data is lent, never copied.** Only data behind a hole is held, in a bounded store.
//! * **The first copy wins**, both against data already handed on (which cannot be taken back) and among held data:
//!   that is what a receiver does with data that it has acknowledged. A later copy with other content is counted and
//!   marked where both copies are at hand.
//! * **A hole becomes a gap** when the receiver has acknowledged it, the sender has sent beyond it, and a short grace
//!   for reordering in the capture is over; or after a time-out (one-sided captures have no acknowledgments); or when
//!   a budget is reached; or when the flow ends. An acknowledgment alone proves nothing: a client could blind the
//!   sensor by acknowledging what was never sent.
//! * **A reset is a claim.** The flow lingers, and data that the other end sends all the same is read.
//! * **A handshake is a claim too.** A SYN into a live flow begins a new one only when the other end answers it or
//!   data follows it.
//! * **Encapsulation is part of the key**, but the two directions of a connection may arrive in different layers
//!   (asymmetric VLANs, a mirror before and behind a router): a segment in other layers joins a flow of the same
//!   addresses and ports when its numbers fit.
//! * **Time is packet time**, and time-outs fall on whole ticks of it, so that they do not depend on what else is
//!   captured.
//! * **A handler can be woken.** A flow is on one wheel of whole seconds, for its time-out or for the moment that its handler
//!   asked for, whichever comes first: who never asks pays nothing, and each moment asked for costs one look.

mod alarm;
mod flow;
mod hold;
mod table;
#[cfg(test)]
mod tests;
mod tracker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{FlowId, Traffic};
use crate::packet::Layer;
use crate::stats::Counters;
use crate::time::Timestamp;

pub use alarm::Alarm;
pub(crate) use flow::hash_ends;
pub use tracker::Tracker;

/// Time-outs fire at whole multiples of this.
pub const TICK: Duration = Duration::from_secs(1);

/// Longest time-out that can be configured: the number of ticks on the timer wheel.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(4095);

/// One of the two directions of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// As the first segment seen.
    Forward,
    /// Against it.
    Backward,
}

impl Direction {
    /// The other one.
    pub const fn opposite(self) -> Direction {
        match self {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        }
    }

    /// 0 or 1, to index pairs.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What is known of a flow.
#[derive(Clone, Debug)]
pub struct FlowInfo {
    /// Its name.
    pub id: FlowId,
    /// Sender of the first segment seen.
    pub source: SocketAddr,
    /// Receiver of the first segment seen.
    pub destination: SocketAddr,
    /// Layers around its first segment.
    pub encapsulation: Arc<[Layer]>,
    /// When its first segment was captured.
    pub start: Timestamp,
    /// The direction of the SYN, when a part of the handshake was seen.
    pub opened_by: Option<Direction>,
    /// Whether data of each direction was seen.
    pub seen: [bool; 2],
    /// What each direction sent so far; bytes as far as they were handed on or given up.
    pub traffic: [Traffic; 2],
    /// Whose data came last.
    pub speaks: Option<Direction>,
    /// Whether the sender of each direction takes nothing, or next to nothing, from the other: its window was closed when it
    /// was last heard.
    pub closed_windows: [bool; 2],
    /// Whether the sender of each direction has said its last word, and all of it was seen or given up.
    pub finished: [bool; 2],
    /// How much of each direction's stream the other end has acknowledged, as an offset there.
    pub acknowledged: [u64; 2],
    /// When its handler is to be woken.
    pub alarm: Alarm,
}

impl FlowInfo {
    /// The stream of a direction has come to `offset`.
    #[inline]
    pub(crate) fn come_to(&mut self, direction: Direction, offset: u64) {
        let sent = &mut self.traffic[direction.index()];
        if offset > sent.bytes {
            sent.bytes = offset;
            sent.turns += u64::from(self.speaks != Some(direction));
            self.speaks = Some(direction);
        }
    }

    /// True when the flow was taken up without its handshake.
    pub fn midstream(&self) -> bool {
        self.opened_by.is_none()
    }

    /// Asks for [`Handler::wake`] at the first whole second of packet time at or after `time`, and later than now. A flow has one such moment:
    /// an earlier one that was asked for stays, a later one is forgotten. So whoever has several things to wait for asks for the next of them
    /// anew whenever it is woken.
    pub fn wake_at(&self, time: Timestamp) {
        self.alarm.set(time);
    }

    /// Sender and receiver of a direction.
    pub fn ends(&self, direction: Direction) -> (SocketAddr, SocketAddr) {
        match direction {
            Direction::Forward => (self.source, self.destination),
            Direction::Backward => (self.destination, self.source),
        }
    }
}

/// Bytes in order. A run never spans two segments, so its beginning is where the sender began to write.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Which way.
    pub direction: Direction,
    /// Position of the first byte in this direction's stream, from 0 at its known beginning; gaps are counted in.
    pub offset: u64,
    /// How much of the other direction's stream its sender had received by then, as an offset there.
    pub acknowledged: Option<u64>,
    /// When the segment was captured.
    pub time: Timestamp,
    /// The traffic's time now; later than `time` when the run was held behind a hole.
    pub now: Timestamp,
    /// At least one byte.
    pub bytes: &'a [u8],
    /// A retransmission of a part of it had other content.
    pub conflicting: bool,
    /// The segment carried urgent data.
    pub urgent: bool,
}

/// Bytes that will not come.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Which way.
    pub direction: Direction,
    /// Position of the first missing byte.
    pub offset: u64,
    /// How many are missing, at least one.
    pub length: u64,
    /// The traffic's time.
    pub now: Timestamp,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// All its data was seen or given up, and then its FIN.
    Finished,
    /// A reset; the flow may go on if the other end ignores it.
    Reset,
}

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions closed, or a reset that nobody contradicted.
    Closed,
    /// Nothing came for the configured time.
    TimedOut,
    /// A new connection took its addresses and ports.
    Reused,
    /// The table was full.
    Evicted,
    /// The capture ended.
    CaptureEnded,
}

/// Whether the rest of a flow is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Go on.
    Wanted,
    /// Nothing in this flow will be of interest: it is tracked, but not reassembled any more.
    Unwanted,
}

/// Takes what [`Tracker`] puts in order. `State` is what it keeps for a flow, made when it needs it.
pub trait Handler {
    /// Kept for each flow that has some, boxed.
    type State;

    /// Bytes in order.
    fn data(
        &mut self,
        flow: &FlowInfo,
        state: &mut Option<Box<Self::State>>,
        run: Run<'_>,
        counters: &mut Counters,
    ) -> Interest;

    /// Bytes that will not come.
    fn gap(&mut self, flow: &FlowInfo, state: &mut Option<Box<Self::State>>, gap: Gap, counters: &mut Counters);

    /// A direction ended.
    fn close(
        &mut self,
        flow: &FlowInfo,
        state: &mut Option<Box<Self::State>>,
        direction: Direction,
        how: Close,
        now: Timestamp,
        counters: &mut Counters,
    );

    /// The handshake is over; no data came yet. Called for each connection, so it should do no more than to ask to be
    /// woken, which is free here.
    fn opened(&mut self, _flow: &FlowInfo, _now: Timestamp) {}

    /// The sender of a direction takes no more for now: its window has closed.
    fn window_closed(
        &mut self,
        _flow: &FlowInfo,
        _state: &mut Option<Box<Self::State>>,
        _direction: Direction,
        _now: Timestamp,
    ) {
    }

    /// The sender of a direction sends again what was not acknowledged.
    fn repeated(
        &mut self,
        _flow: &FlowInfo,
        _state: &mut Option<Box<Self::State>>,
        _direction: Direction,
        _now: Timestamp,
    ) {
    }

    /// The moment has come that was asked for with [`FlowInfo::wake_at`].
    fn wake(
        &mut self,
        _flow: &FlowInfo,
        _state: &mut Option<Box<Self::State>>,
        _now: Timestamp,
        _counters: &mut Counters,
    ) {
    }

    /// Whether what is known of a flow cannot be learned again from what comes later, so that a long silence should not end it.
    fn cannot_resume(&self, _state: Option<&Self::State>) -> bool {
        false
    }

    /// The flow is over; nothing more will come of it.
    fn end(
        &mut self,
        flow: &FlowInfo,
        state: Option<Box<Self::State>>,
        end: End,
        now: Timestamp,
        counters: &mut Counters,
    );
}

/// Limits of reassembly. Worst-case memory: `max_flows` × about 500 bytes (and what the handler keeps), plus
/// `held_total`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Flows kept at a time, about 500 bytes each: 500 MiB at the default. Beyond, the one nearest to its time-out
    /// among a few is evicted and counted.
    pub max_flows: u32,
    /// Flows kept that have not come past the handshake: 32 MiB at the default. Beyond, the oldest is evicted.
    pub max_half_open: u32,
    /// Flows kept of the same addresses and ports, which differ in the layers around them (VLANs, tunnels) alone; they are looked through
    /// one by one. Costs no memory. Beyond, one that was quiet for long is evicted, first of those seen in one direction alone.
    pub max_flows_alike: u32,
    /// Bytes held behind holes in one direction of one flow, with 64 bytes of bookkeeping a segment. Beyond, the hole
    /// is given up.
    pub held_per_direction: usize,
    /// Bytes held behind holes in all flows. Beyond, the oldest hole is given up.
    pub held_total: usize,
    /// Seconds without a segment after which a flow is over.
    pub idle_timeout: u32,
    /// The same for a flow in the middle of which nobody can begin to read (TLS, HTTP/2, WebSocket), of which both ends were heard and
    /// neither has hung up. One below `idle_timeout` counts as that.
    pub long_idle_timeout: u32,
    /// Seconds after which a flow that has not come past the handshake is forgotten.
    pub half_open_timeout: u32,
    /// Seconds that a closed or reset flow lingers, so that late segments still find it.
    pub close_timeout: u32,
    /// Milliseconds that a hole may stand though acknowledged, for segments that the capture reordered.
    pub reorder_grace: u32,
    /// Seconds after which a hole with data behind it is given up in any case.
    pub hole_timeout: u32,
}

impl Settings {
    /// Checks that time-outs are what they can be.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let most = MAX_TIMEOUT.as_secs();
        let all = [
            ("idle_timeout", self.idle_timeout),
            ("long_idle_timeout", self.long_idle_timeout),
            ("half_open_timeout", self.half_open_timeout),
            ("close_timeout", self.close_timeout),
            ("hole_timeout", self.hole_timeout),
        ];
        match all.iter().find(|(_, seconds)| u64::from(*seconds) > most) {
            Some((name, seconds)) => Err(format!("stream.{name} = {seconds}: {most} seconds at most")),
            None => Ok(()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_flows: 1_048_576,
            max_half_open: 65_536,
            max_flows_alike: 64,
            held_per_direction: 1 << 20,
            held_total: 64 << 20,
            idle_timeout: 300,
            long_idle_timeout: 3_600,
            half_open_timeout: 30,
            close_timeout: 5,
            reorder_grace: 20,
            hole_timeout: 5,
        }
    }
}
