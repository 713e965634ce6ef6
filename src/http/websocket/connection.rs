//! The connection of HTTP/1 that became a WebSocket.

use crate::call::{Anomaly, Call};
use crate::stats::Counters;
use crate::stream::{Direction, End, FlowInfo, Gap, Interest, Run};
use crate::time::Timestamp;

use super::super::{Shared, fill};
use super::handshake::Agreed;
use super::session::Session;

/// What it takes over from HTTP/1.
pub(crate) struct Opening {
    /// The call of the upgrade.
    pub(crate) call: Box<Call>,
    pub(crate) has_request: bool,
    pub(crate) agreed: Agreed,
    /// The direction of the client.
    pub(crate) requests: Direction,
    /// Where frames begin in each direction.
    pub(crate) begin: [u64; 2],
}

/// All that is kept of one.
pub(crate) struct Connection {
    call: Option<Box<Call>>,
    has_request: bool,
    requests: Direction,
    session: Session,
    /// Offset behind everything read or given up, in each direction.
    next: [u64; 2],
    closed: [bool; 2],
    position: u32,
    part: u32,
    /// When it is to be looked at for what came since it was opened, or since it was last looked at.
    due: Timestamp,
}

impl Connection {
    /// How many calls were completed on its flow.
    pub(in crate::http) fn position(&self) -> u32 {
        self.position
    }

    /// `position` is that of its next call.
    pub(crate) fn new(
        opening: Opening,
        flow: &FlowInfo,
        position: u32,
        shared: &Shared,
        counters: &mut Counters,
    ) -> Connection {
        let Opening { call, has_request, agreed, requests, begin } = opening;
        let mut connection = Connection {
            due: Timestamp::ZERO,
            call: Some(call),
            has_request,
            requests,
            session: Session::new(agreed, counters),
            next: begin,
            closed: [false; 2],
            position,
            part: 0,
        };
        let opened = connection.call.as_ref().and_then(|call| call.response_time).unwrap_or_default();
        connection.expect_report(flow, opened, shared);
        connection
    }

    /// Asks to be woken when the time of a record has passed from `time` on.
    fn expect_report(&mut self, flow: &FlowInfo, time: Timestamp, shared: &Shared) {
        let period = shared.settings.report_period();
        if !period.is_zero() {
            self.due = time + period;
            flow.wake_at(self.due);
        }
    }

    /// Takes bytes in order.
    pub(crate) fn data(&mut self, run: Run<'_>, shared: &mut Shared, counters: &mut Counters) -> Interest {
        let Some(call) = &mut self.call else { return Interest::Unwanted };
        if run.conflicting {
            call.anomalies.insert(Anomaly::ConflictingRetransmission);
        }
        if run.urgent {
            call.anomalies.insert(Anomaly::UrgentData);
        }
        let response = run.direction != self.requests;
        let next = &mut self.next[run.direction.index()];
        if run.offset > *next {
            self.session.gap(response, run.offset - *next, shared, counters);
        }
        // What was read as HTTP before it was known that it is none.
        let used = usize::try_from(next.saturating_sub(run.offset)).unwrap_or(usize::MAX);
        let rest = run.bytes.get(used..).unwrap_or_default();
        *next = (*next).max(run.offset + run.bytes.len() as u64);
        if !rest.is_empty() {
            self.session.data(response, rest, true, shared, counters);
        }
        Interest::Wanted
    }

    /// Bytes were lost.
    pub(crate) fn gap(&mut self, gap: Gap, shared: &mut Shared, counters: &mut Counters) {
        let next = &mut self.next[gap.direction.index()];
        let end = gap.offset + gap.length;
        if end > *next {
            let length = end - *next;
            *next = end;
            self.session.gap(gap.direction != self.requests, length, shared, counters);
        }
    }

    /// The flow was woken: gives out a record if one is due and something came.
    pub(crate) fn wake(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        let Some(call) = &mut self.call else { return };
        if now < self.due {
            flow.wake_at(self.due); // it was for something else
            return;
        }
        if self.session.has_news() {
            let mut record = fill::part(call, &mut self.part);
            self.session.tell(&mut record, shared);
            self.emit(flow, record, now, shared, counters);
        }
        self.expect_report(flow, now, shared);
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
        self.closed[direction.index()] = true;
        if self.closed == [true; 2] {
            self.finish(flow, true, now, shared, counters);
        }
    }

    /// The flow is over.
    pub(crate) fn end(
        &mut self,
        flow: &FlowInfo,
        how: End,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        self.finish(flow, how == End::Closed, now, shared, counters);
    }

    fn finish(&mut self, flow: &FlowInfo, ended: bool, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        let Some(mut call) = self.call.take() else { return };
        self.session.finish(&mut call, ended, shared);
        call.completeness.part = self.part;
        self.emit(flow, call, now, shared, counters);
    }

    fn emit(
        &mut self,
        flow: &FlowInfo,
        mut call: Box<Call>,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        call.completeness.request = self.has_request;
        call.completeness.response = true;
        fill::emit(flow, call, &mut self.position, now, shared, counters);
    }
}
