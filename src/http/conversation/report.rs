//! Records of calls whose answers go on.

use std::time::Duration;

use crate::stats::Counters;
use crate::stream::FlowInfo;
use crate::time::Timestamp;

use super::super::{Shared, fill};
use super::{Conversation, Phase, Role};

impl Conversation {
    /// Gives out a record of each stream of which one is due and something came.
    pub(crate) fn report(&mut self, flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
        let period = Duration::from_secs(shared.settings.stream_report_seconds.into());
        let mut streaming = false;
        for reader in &mut self.readers {
            let response = reader.role == Some(Role::Response);
            let Phase::Body(body) = &mut reader.phase else { continue };
            if !body.content.is_stream() || period.is_zero() {
                continue;
            }
            streaming = true;
            let place = body.serial.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            let exchange = place.and_then(|at| self.exchanges.get_mut(at)).filter(|exchange| exchange.has_request);
            let due = now.since(body.reported) >= period && body.content.has_news();
            let Some(exchange) = exchange.filter(|_| due) else { continue };
            body.reported = now;
            let mut record = fill::part(&mut exchange.call, &mut exchange.part);
            body.content.report(&mut record, response, &shared.inspector, &mut shared.decoders);
            record.completeness.request = true;
            record.completeness.response = exchange.has_response;
            fill::emit(flow, record, &mut self.position, now, shared, counters);
        }
        self.streaming = streaming;
    }
}
