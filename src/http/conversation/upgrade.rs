//! What takes over from HTTP/1 when a connection is upgraded.

use crate::call::Call;

use super::super::websocket::{Agreed, Opening};
use super::{Conversation, Exchange, direction_of};

/// What takes over from HTTP/1.
pub(crate) enum Upgrade {
    /// HTTP/2.
    Http2 {
        /// The request, which is answered there.
        call: Box<Call>,
        /// Where frames begin in each direction.
        begin: [u64; 2],
    },
    /// A WebSocket.
    WebSocket(Opening),
}

impl Conversation {
    /// Another protocol takes over.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgrade.is_some()
    }

    /// What another protocol takes over, once it does.
    pub(crate) fn take_upgrade(&mut self) -> Option<Upgrade> {
        self.upgrade.take()
    }

    /// Direction `d` has answered the request at `at` with the upgrade to HTTP/2.
    pub(super) fn begin_http2(&mut self, d: usize, at: usize) {
        let begin = self.frames_begin(d);
        if let Some(exchange) = self.exchanges.get(at) {
            self.upgrade = Some(Upgrade::Http2 { call: exchange.call.clone(), begin });
        }
    }

    /// Direction `d` has answered with an upgrade: where frames begin.
    fn frames_begin(&mut self, d: usize) -> [u64; 2] {
        let mut begin = [0; 2];
        begin[d] = self.readers[d].mark.end;
        // The client goes on behind what it has sent so far: it waits for the answer.
        begin[1 - d] = self.readers[1 - d].next;
        // So that the flow does not count as one that goes on in an unknown protocol.
        self.upgraded = false;
        begin
    }

    /// Direction `d` has answered the request at `at` with the upgrade to a WebSocket, which takes its call with it.
    pub(super) fn begin_websocket(&mut self, d: usize, at: usize, agreed: Agreed) {
        let mut begin = self.frames_begin(d);
        let acknowledged = self.readers[d].mark.acknowledged;
        let Some(Exchange { mut call, request, has_request, .. }) = self.exchanges.remove(at) else { return };
        self.unasked -= usize::from(!has_request);
        begin[1 - d] = match acknowledged {
            _ if has_request => request.end + call.request.wire_bytes,
            // Where the request was lost, the server says how long it was.
            Some(seen) => seen,
            None => begin[1 - d],
        };
        call.anomalies.extend(std::mem::take(&mut self.anomalies[d]));
        let requests = direction_of(1 - d);
        self.upgrade = Some(Upgrade::WebSocket(Opening { call, has_request, agreed, requests, begin }));
    }
}
