//! What is under way on a connection, for who asks whether it keeps the server waiting.

use crate::call::{Awaited, Call};
use crate::stream::Direction;

use super::super::slow::UnderWay;
use super::{Conversation, Phase, Role};

impl Conversation {
    /// The direction of requests, once that is known.
    pub(in crate::http) fn client(&self) -> Option<Direction> {
        self.requests
    }

    /// True when this direction is in the middle of a message, which may be a request.
    #[inline]
    pub(in crate::http) fn is_asking(&self, direction: Direction) -> bool {
        let reader = &self.readers[direction.index()];
        let inside = matches!(reader.phase, Phase::Body(_)) || !reader.partial.is_empty();
        inside && reader.role != Some(Role::Response)
    }

    /// The server had no more patience with what is under way (RFC 9110, section 15.5.9).
    pub(in crate::http) fn is_timed_out(&self) -> bool {
        self.timed_out
    }

    /// What is under way; none where that is unknown, or another protocol has taken over.
    pub(in crate::http) fn under_way(&self, client: Direction) -> Option<UnderWay> {
        let reader = &self.readers[client.index()];
        match &reader.phase {
            Phase::Head if !reader.partial.is_empty() => {
                let bytes = reader.partial.len() as u64;
                return Some(UnderWay::new(Awaited::RequestHead, Some(reader.mark.time), bytes));
            }
            Phase::Body(body) => {
                let place = usize::try_from(body.serial.checked_sub(self.first)?).ok()?;
                let bytes = self.exchanges.get(place)?.call.request.wire_bytes;
                return Some(UnderWay::new(Awaited::RequestBody, Some(reader.mark.time), bytes));
            }
            Phase::Head => {}
            Phase::Lost | Phase::Ignored => return None,
        }
        let Some(exchange) = self.exchanges.front() else { return Some(UnderWay::new(Awaited::Idle, None, 0)) };
        let Call { request_time, response_time, response, .. } = &*exchange.call;
        Some(match exchange.has_response {
            true => UnderWay::new(Awaited::ResponseBody, *response_time, response.wire_bytes),
            false => UnderWay::new(Awaited::ResponseHead, *request_time, 0),
        })
    }
}
