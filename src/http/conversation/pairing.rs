//! Which response answers which request, in step and after a loss.

use crate::call::Anomaly;
use crate::stream::{Direction, FlowInfo};

use super::super::Shared;
use super::super::reader::{Mark, Phase};
use super::{Conversation, Exchange};

impl Conversation {
    /// The exchange that a response whose head was just read belongs to; a new one where none fits.
    ///
    /// In step, responses answer requests in order. After a loss, a request can only be meant if the server had its
    /// head and no more, and if its sender had not acknowledged the response before sending it. Of those that are left, a
    /// request that acknowledges more proves that the ones before were answered. If that leaves one, it is meant.
    pub(super) fn pair(&mut self, flow: &FlowInfo, d: usize, direction: Direction, shared: &mut Shared) -> usize {
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
    pub(super) fn note_step(&mut self, d: usize, mark: Mark) {
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
    pub(super) fn insert(&mut self, at: usize, exchange: Exchange) -> usize {
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
}
