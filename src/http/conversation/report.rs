//! Records of calls whose answers go on.

use crate::stats::Counters;
use crate::stream::FlowInfo;
use crate::time::Timestamp;

use super::super::{Shared, fill};
use super::{Conversation, Phase, Role};

impl Conversation {
    /// A stream has begun: asks to be woken when its first record is due.
    pub(super) fn expect_report(&self, flow: &FlowInfo, now: Timestamp, shared: &Shared) {
        let period = shared.settings.report_period();
        if !period.is_zero() {
            flow.wake_at(now + period);
        }
    }

    /// The flow was woken: gives out a record of each stream of which one is due and something came.
    pub(crate) fn report(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        let period = shared.settings.report_period();
        for reader in &mut self.readers {
            let response = reader.role == Some(Role::Response);
            let Phase::Body(body) = &mut reader.phase else { continue };
            if !body.content.is_stream() || period.is_zero() {
                continue;
            }
            if now < body.reported + period {
                flow.wake_at(body.reported + period);
                continue;
            }
            flow.wake_at(now + period);
            body.reported = now;
            let place = body.serial.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            let exchange = place.and_then(|at| self.exchanges.get_mut(at)).filter(|exchange| exchange.has_request);
            let Some(exchange) = exchange.filter(|_| body.content.has_news()) else { continue };
            let mut record = fill::part(&mut exchange.call, &mut exchange.part);
            body.content.report(&mut record, response, &shared.inspector, &mut shared.decoders);
            record.completeness.request = true;
            record.completeness.response = exchange.has_response;
            fill::emit(flow, record, &mut self.position, now, shared, counters);
        }
    }
}
